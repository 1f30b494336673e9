"""Does every order that a scheduler chooses compute the right thing? A real prompt, simulated and computed.

Schedulers are compared under the engine's quantization. Chunks are compared with the unsplit prompt without it: which channels have
outliers is decided chunk by chunk, so that the rounding of a quantized prompt depends on how it is split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.cost import NANOSECONDS
from socsim.errors import SocsimError
from socsim.numerics.decoder import Array, Decoder, Shadow, Site
from socsim.numerics.forward import hidden_states
from socsim.numerics.profile import Profile
from socsim.numerics.replay import kept_linears_of, replay
from socsim.numerics.schemes import Float32, PerGroup, Scheme, Static
from socsim.numerics.weights import Weights
from socsim.runs import Case, make_case, run_case
from socsim.specs import Engine
from socsim.timeline import Timeline

SEQUENTIAL = "sequential"
FLOAT64_TOLERANCE = 1e-9
"""Largest difference between chunked and unsplit hidden states in float64, over the largest of them: a mistake is far larger."""
FLOAT32_TOLERANCE = 1e-4
"""The same in float32, whose rounding adds up over the blocks of a model."""


@dataclass(frozen=True, eq=False)
class Replayed:
    """One scheduler: its simulated run, and what came out of computing it."""

    scheduler: str
    ttft_s: float
    moved: int
    """Subgraphs that start at another place than in the sequential order."""
    logits: Array
    """Of the last token, of shape (vocabulary,)."""
    identical: bool
    """Whether the logits are those of the sequential order, bit by bit."""
    measured_ttft_s: float | None
    """TTFT with the outlier channels and fetches that occurred; none: not asked for."""


def shadow_s(case: Case) -> float:
    """Return the expected time of all shadow work of a case together."""
    graph = case.costs.graph
    times = zip(graph.subgraphs, case.costs.expected_ns, strict=True)
    return sum(time for subgraph, time in times if subgraph.stage.startswith("shadow")) / NANOSECONDS


@dataclass(frozen=True, eq=False)
class Verification:
    """What `verify` found."""

    case: Case
    schedulers: tuple[Replayed, ...]
    float64_difference: float
    """Largest difference between chunked and unsplit hidden states without quantization, over the largest of them, in float64."""
    float32_difference: float
    float32_logits: Array
    """Of the last token, not quantized, of shape (vocabulary,)."""
    split_token_equal: bool
    """Whether the chunked and the unsplit prompt, not quantized, have the same next token."""
    outliers: dict[Site, list[Shadow]]
    """Float work of each kept linear in each chunk."""
    measured: Case | None
    """The case with the outlier channels and fetches that occurred; none: not asked for."""

    @property
    def passed(self) -> bool:
        """Whether every scheduler's logits are the sequential ones and splitting the prompt changes nothing."""
        split = self.float64_difference <= FLOAT64_TOLERANCE and self.float32_difference <= FLOAT32_TOLERANCE
        return split and self.split_token_equal and all(each.identical for each in self.schedulers)


def engine_scheme(engine: Engine, keep: frozenset[Site]) -> Scheme:
    """Return the quantization scheme of an engine whose task graph has shadow work for some linears."""
    precision = engine.precision
    if precision.quantization == "none":
        return Float32()
    if precision.quantization == "per-group":
        return PerGroup(group_size=precision.group_size or 1)
    return Static(
        "shadow",
        weight_scales=precision.weight_scales,
        keep=keep,
        outlier_channels=float(max(engine.outlier_channels, 1)),
        pruned_fallback=engine.pruned_fallback,
        smoothing=engine.smoothing,
        hot_fraction=engine.hot_channel_fraction,
    )


def verify(
    weights: Weights,
    profile: Profile,
    tokens: NDArray[np.integer[Any]],
    case: Case,
    schedulers: Sequence[str],
    *,
    measured_outliers: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Simulate and compute a prompt under every scheduler, and compare.

    Parameters
    ----------
    weights, profile
        The model and the statistics on which its static scales rest.
    tokens
        Token ids, of shape (tokens,).
    case
        What is simulated, from `real_case`; the engine's precision decides how linears are quantized, its graph which keep their
        outliers.
    schedulers
        Names; the sequential order is computed in any case.
    measured_outliers
        Simulate again with the outlier channels and fetches that occurred.
    progress
        Called with what is computed next.

    Raises
    ------
    SocsimError
        A name is unknown, or a schedule reads what is not written.
    """
    decoder = Decoder(weights, engine_scheme(case.engine, kept_linears_of(case.costs.graph)).linears(weights, profile))
    outliers: dict[Site, list[Shadow]] = {site: [] for site in decoder.linears if site in decoder.kept}
    progress(SEQUENTIAL)
    first = run_case(case, SEQUENTIAL)
    reference = replay(first.timeline, decoder, tokens, lambda site, _, found: outliers[site].append(found))
    remeasured = measured_case(case, outliers) if measured_outliers else None
    results = []
    for name in schedulers:
        if name != SEQUENTIAL:
            progress(name)
        result = first if name == SEQUENTIAL else run_case(case, name)
        logits = reference if name == SEQUENTIAL else replay(result.timeline, decoder, tokens)
        again = None if remeasured is None else run_case(remeasured, name).record["ttft_s"]
        moved, identical = _moved(result.timeline, first.timeline), logits.tobytes() == reference.tobytes()
        results.append(Replayed(name, result.record["ttft_s"], moved, logits, identical, again))
    progress("chunked and unsplit, not quantized")
    plan = [chunk.tokens for chunk in case.chunks]
    (difference64, _, _), (difference32, chunked, unsplit) = (
        _split_difference(Decoder(weights, dtype=dtype), tokens, plan) for dtype in (np.float64, np.float32)
    )
    same = int(chunked.argmax()) == int(unsplit.argmax())
    return Verification(case, tuple(results), difference64, difference32, unsplit, same, outliers, remeasured)


def _moved(one: Timeline, other: Timeline) -> int:
    """Return how many subgraphs start at another place of the order."""
    orders = (np.lexsort((np.arange(len(each.start_ns)), each.start_ns)) for each in (one, other))
    return int(np.count_nonzero(np.not_equal(*orders)))


def real_case(weights: Weights, soc: str, engine: str, prompt_tokens: int, **options: Any) -> Case:
    """Return what is to be simulated for a real model; the options are those of `socsim.make_case`.

    Raises
    ------
    SocsimError
        A name or value is not allowed, the model is to be another than the weights are of, or tokens are cached.
    """
    case = make_case(soc, weights.llm, engine, prompt_tokens=prompt_tokens, **options)
    if case.run.cached_tokens:
        raise SocsimError("run.cached_tokens: a prompt is computed as a whole here; allowed: 0")
    if case.llm != weights.llm:
        raise SocsimError("overrides of the model would compute another one than the weights are of")
    return case


def _split_difference(decoder: Decoder, tokens: NDArray[np.integer[Any]], plan: Sequence[int]) -> tuple[float, Array, Array]:
    """Return the largest relative difference between chunked and unsplit hidden states, and the last token's logits of both."""
    chunked, unsplit = hidden_states(decoder, tokens, plan), hidden_states(decoder, tokens)
    difference = float(np.abs(chunked - unsplit).max() / np.abs(unsplit).max())
    return difference, decoder.logits(chunked[-1:])[0], decoder.logits(unsplit[-1:])[0]


def outlier_means(outliers: dict[Site, list[Shadow]]) -> tuple[float, float]:
    """Return the mean outlier channels of a kept linear in a chunk, and the share of them that was fetched."""
    found = [each for shadows in outliers.values() for each in shadows]
    channels, fetched = sum(len(each.channels) for each in found), sum(each.fetched for each in found)
    return (channels / len(found) if found else 0.0), (fetched / channels if channels else 0.0)


def measured_case(case: Case, outliers: dict[Site, list[Shadow]]) -> Case:
    """Return a case whose shadow work has the mean outlier channels and the share of fetches that occurred."""
    if not outliers:
        return case
    channels, cold = outlier_means(outliers)
    of_run = {path: value for path, value in case.overrides.items() if path.startswith("run.")}
    engine = case.engine.override({"outlier_channels": max(round(channels), 1), "cold_outlier_fraction": cold}, "engine")
    return make_case(case.soc, case.llm, engine, prompt_tokens=case.run.prompt_tokens, overrides=of_run)
