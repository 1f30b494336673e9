"""How a prompt is best split into chunks: one prebuilt length for all, or lengths that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.cost import NANOSECONDS, Costs
from socsim.errors import SocsimError
from socsim.specs import LLM, Engine

Floats = NDArray[np.float64]
Plan = tuple[int, ...]
"""Lengths of the chunks of a prompt, in order (tokens)."""

MOST_SHORT = 2
"""Chunks of a plan that are shorter than its others: with three, what padding they saved has been lost on shorter chunks."""
SPLITS = 2
"""Splits of which plans are made: a third has brought a few thousandths, for half as many simulations again."""


class Attempt(NamedTuple):
    """A way to split a prompt, and what is known of it."""

    plan: Plan
    work_s: Floats
    """Time (s) of a chunk's work on each processor, from `mean_chunk_work_s`."""
    least_ttft_s: float
    """Time (s) that the first token takes at least."""
    ttft_s: Callable[[], float]
    """Simulates it, and returns the time to first token (s)."""


def best_chunk_tokens(tokens: int, lengths: Sequence[int], attempt: Callable[[int | Plan], Attempt]) -> int | Plan:
    """Return the length of all chunks, or of each, that gives the least TTFT; what cannot be better is not simulated.

    Ties go to the fewest chunks, then to the longest first.

    Parameters
    ----------
    tokens
        To prefill.
    lengths
        That chunks may have, rising, from `usable_lengths`.
    attempt
        Builds the prefill with one length for all chunks, or with one for each.
    """
    best: int | Plan = lengths[-1]
    least: tuple[float, ...] = (float("inf"),)
    work_s = {}

    def consider(chunk_tokens: int | Plan) -> Attempt:
        nonlocal best, least
        found = attempt(chunk_tokens)
        if (found.least_ttft_s, *_rank(found.plan)) < least:
            known = (found.ttft_s(), *_rank(found.plan))
            best, least = (chunk_tokens, known) if known < least else (best, least)
        return found

    for length in reversed(lengths):
        work_s[length] = consider(length).work_s
    for plan in mixed_plans(tokens, work_s, least[0]):
        consider(plan)
    return best


def usable_lengths(llm: LLM, engine: Engine, tokens: int) -> list[int]:
    """Return the prebuilt lengths that chunks may have, rising: within the context, and none beyond the first that holds all tokens.

    Raises
    ------
    SocsimError
        There is none.
    """
    known, context = list(engine.prebuilt_chunk_tokens), llm.max_position_embeddings
    enough = next((length for length in known if length >= tokens), None)
    lengths = [c for c in known if c <= context and (enough is None or c <= enough)]
    if not lengths:
        raise SocsimError(f"engine.prebuilt_chunk_tokens {known} has no length within the context of {llm.name}, {context}")
    return lengths


def mean_chunk_work_s(costs: Costs) -> Floats:
    """Return the time (s) of a chunk's work on each processor, waiting for DRAM left out, as the mean of all chunks of a prefill."""
    graph, count = costs.graph, costs.graph.prefill_count
    busy_ns = np.bincount(graph.places[:count], costs.fixed_ns[:count], minlength=len(graph.processors))
    return busy_ns / NANOSECONDS / (graph.subgraphs[count - 1].chunk + 1)


def busiest_work_s(costs: Costs) -> float:
    """Return the time (s) that a prefill takes at least: that of all the work of the processor that has the most."""
    count = costs.graph.prefill_count
    busy_ns = np.bincount(costs.graph.places[:count], costs.fixed_ns[:count])  # whole nanoseconds, as they are simulated
    return float(busy_ns.max()) / NANOSECONDS


def mixed_plans(tokens: int, work_s: Mapping[int, Floats], below_s: float) -> list[Plan]:
    """Return plans of unequal chunks that are worth simulating.

    Most chunks are of one length; one or two shorter ones hold the rest with little padding. For each length of most, the split counts
    that leaves the busiest processor the least work. Where the short chunks stand decides how soon each processor has something to do,
    and what the last one does alone: each may stand first, behind the first long chunk, or last.

    Parameters
    ----------
    tokens
        To prefill.
    work_s
        For each length that chunks may have, the work of one on each processor, from `mean_chunk_work_s`.
    below_s
        Splits that leave the busiest processor as much work (s), or more, are left out.

    Returns
    -------
    list
        Plans of the best splits, the fewest chunks first, then the longest chunks first.
    """
    best: dict[int, tuple[float, tuple[int, ...], Plan]] = {}
    for split in _splits(sorted(work_s), tokens):
        busiest_s = float(np.sum([work_s[length] for length in split], axis=0).max())
        rated = (busiest_s, _rank(split), split)
        if busiest_s < below_s and rated < best.get(split[0], (below_s,)):
            best[split[0]] = rated
    chosen = {plan for _, _, split in sorted(best.values())[:SPLITS] for plan in _orders(split)}
    return sorted(chosen, key=_rank)


def _rank(plan: Plan) -> tuple[int, ...]:
    """Return what is the least for the best of plans that are equally fast: the one of the fewest chunks, then with the longest first."""
    return (len(plan), *(-length for length in plan))


def _splits(lengths: Sequence[int], tokens: int) -> Iterator[Plan]:
    """Yield lengths that hold some tokens, the longest first; none of the short ones could be left out."""
    for place, long in enumerate(lengths):
        full = tokens // long
        for count in range(max(full - 1, 1), full + 1):
            rest = tokens - count * long
            for size in range(1, MOST_SHORT + 1):
                for short in combinations_with_replacement(lengths[:place], size):
                    if sum(short) - short[0] < rest <= sum(short):
                        yield (long,) * count + short[::-1]


def _orders(split: Plan) -> Iterator[Plan]:
    """Yield a split with its short chunks at all places where they may stand."""
    count = split.count(split[0])
    short = split[count:]
    for places in product((0, 1, count), repeat=len(short)):
        first, second, last = (tuple(length for length, at in zip(short, places, strict=True) if at == place) for place in (0, 1, count))
        yield first + split[:1] + (second + split[1:count] if count > 1 else ()) + last
