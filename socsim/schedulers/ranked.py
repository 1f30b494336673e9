"""Policies with one number for each subgraph: a free processor takes the ready subgraph of the lowest rank."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from socsim.bounds import tails
from socsim.graph import TaskGraph
from socsim.schedulers.view import Choose, Prepare, Rehearse, View

SLOPES = (0, 1, 2, 3, 4, 5, 6, 8, 12, 20)
"""Places in a chunk by which `wavefront` lets each chunk lag behind the one before: none, up to three blocks or so."""


def by_rank(graph: TaskGraph, rank: Sequence[float]) -> Choose:
    """Return the choice of the ready subgraph with the lowest rank; among equals, of the lowest chunk."""
    order = sorted(range(len(graph)), key=rank.__getitem__)
    turn = [0] * len(order)
    for place, index in enumerate(order):
        turn[index] = place
    heaps: list[list[int]] = [[] for _ in graph.processors]
    place_of, seen = graph.processor_index, 0

    def choose(ready: Sequence[int], view: View) -> int:
        nonlocal seen
        released = view.released
        if seen < len(released):
            for index in released[seen:]:
                heappush(heaps[place_of[index]], turn[index])
            seen = len(released)
        return order[heappop(heaps[view.processor])]

    return choose


def ranked(rank: Sequence[float]) -> Prepare:
    """Return the policy of `by_rank`."""
    return lambda graph, _expected_ns, _seed: by_rank(graph, rank)


def ways_to_end(graph: TaskGraph, expected_ns: Sequence[int]) -> list[int]:
    """Return for each subgraph the longest chain of expected durations from its start to the end of the prefill (ns); 0 for decode steps.

    Decode steps count for nothing, as no order makes them shorter: work that the first token needs should not depend on how many follow.
    """
    free = [[0] * len(graph.processors) for _ in graph.processors]  # policies are not told what hand-overs take
    duration = expected_ns[: graph.prefill_count]
    ways = [behind + own for behind, own in zip(tails(graph, duration, free), duration, strict=True)]
    return ways + [0] * (len(graph) - len(ways))


def staggered(graph: TaskGraph, ways_ns: Sequence[int], stagger: float) -> list[float]:
    """Return ranks of the longest way to the end first, with each chunk held back against the one before by some share of a block."""
    blocks = max((subgraph.block for subgraph in graph.subgraphs[: graph.prefill_count]), default=0)
    held_ns = stagger * max(ways_ns, default=0) / max(blocks, 1)
    return [held_ns * subgraph.chunk - way for subgraph, way in zip(graph.subgraphs, ways_ns, strict=True)]


def critical_path(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Take the subgraph with the longest way to the end of the prefill.

    Wins where the NPU has far more work than the CPU, or where a block computes attention and FFN side by side: any order then keeps the
    NPU busy until the end, where the longest way matters. Loses where processors have about as much work: all chunks stay at the same
    place, want the same processor at the same time, and leave the other one idle.

    Notes
    -----
    Source: level or highest-level-first scheduling; Adam, Chandy and Dickson, A comparison of list schedules for parallel processing
    systems, CACM 17(12), 1974.
    """
    return by_rank(graph, staggered(graph, ways_to_end(graph, expected_ns), 0.0))


def wavefront(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
    """Take the earliest place in a chunk, with each chunk b places behind the one before; b is chosen by simulation.

    Wins where a fixed distance between chunks lets the FFN of one run on the NPU while the CPU computes the attention of another, and
    needs no duration but to choose b. Loses a little where stages differ much in length, as places are no times, and at the end, where the
    last chunk has the processors to itself.
    """
    ranks = [sloped(graph, slope) for slope in SLOPES]
    return by_rank(graph, min(ranks, key=lambda rank: rehearse(ranked(rank)).makespan_ns))


def sloped(graph: TaskGraph, slope: float) -> list[float]:
    """Return ranks of the earliest place in a chunk first, with each chunk some places behind the one before."""
    return [subgraph.position + slope * subgraph.chunk for subgraph in graph.subgraphs]
