"""The cost of every subgraph of a task graph, as the simulator, the policies and the metrics read it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.roofline import CostModel

if TYPE_CHECKING:  # the simulator itself needs no descriptions, and starts faster without pydantic
    from socsim.specs import Engine, Run, SoC

Floats = NDArray[np.float64]

PARTS = ("launch", "linear", "attention", "float", "synchronization")
"""Parts of a subgraph's own time: launch, linears, attention products, element-wise work and outlier fetches, hand-over."""

NANOSECONDS = 1_000_000_000
PER_NS = 1e-9
LONGEST_RUN_S = 1e9
"""Work of a run that the clock holds with room to spare: it ends at 9.2e9 s."""


class Later(NamedTuple):
    """Costs of subgraphs that start at some time (ns) of a run or after it, where only their own times are others."""

    from_ns: int
    costs: Costs


@dataclass(frozen=True, eq=False)
class Costs:
    """Cost of every subgraph of one task graph, and the bandwidths that bound its flows.

    `parts_s` has shape (subgraphs, 5), one column for each of `PARTS`; `dram_bytes` has shape (subgraphs,).
    `bandwidth_bytes_per_s` and `hand_over_latency_s` follow the graph's sorted processors; the latency has shape
    (producers, consumers). `later` are the costs of what starts after some time, if these are others.
    """

    graph: TaskGraph
    parts_s: Floats
    dram_bytes: Floats
    bandwidth_bytes_per_s: Floats
    achievable_bytes_per_s: float
    hand_over_latency_s: Floats
    later: Later | None = None

    def __post_init__(self) -> None:
        """Refuse costs that whole nanoseconds in 64 bits cannot hold."""
        stream_s = self.dram_bytes / self.alone_bytes_per_s
        seconds = self.parts_s.sum(axis=1) + stream_s
        total = float(seconds.sum()) + float(self.hand_over_latency_s.max(initial=0.0)) * len(self.graph)
        if not total < LONGEST_RUN_S:
            worst = self.graph.subgraphs[int(np.argmax(seconds))]
            raise SocsimError(
                f"the run would take {total:.3g} s of work, allowed: {LONGEST_RUN_S:g}; "
                f"the longest subgraph is {worst.stage} on the {worst.processor} with {seconds.max():.3g} s"
            )

    @cached_property
    def alone_bytes_per_s(self) -> Floats:
        """DRAM bandwidth of each subgraph when nothing else streams: its processor's cap, at most what DRAM achieves."""
        caps = np.minimum(self.bandwidth_bytes_per_s, self.achievable_bytes_per_s)
        return caps[self.graph.places]

    @cached_property
    def _fixed(self) -> NDArray[np.int64]:
        fixed: NDArray[np.int64] = np.rint(self.parts_s.sum(axis=1) * NANOSECONDS).astype(np.int64)
        return fixed

    @cached_property
    def fixed_ns(self) -> list[int]:
        """Duration of each subgraph apart from waiting for DRAM, in whole nanoseconds."""
        total: list[int] = self._fixed.tolist()
        return total

    @cached_property
    def expected_ns(self) -> list[int]:
        """Duration of each subgraph when nothing else uses DRAM: what profiling would show."""
        stream = np.rint(self.dram_bytes / (self.alone_bytes_per_s * PER_NS))
        expected: list[int] = np.maximum(stream, np.maximum(self._fixed, 1)).astype(np.int64).tolist()
        return expected

    @cached_property
    def latency_ns(self) -> list[list[int]]:
        """Hand-over latency from one processor to another in whole nanoseconds, by the graph's processors."""
        latency: list[list[int]] = np.rint(self.hand_over_latency_s * NANOSECONDS).astype(np.int64).tolist()
        return latency

    @cached_property
    def flow_bytes(self) -> list[float]:
        """`dram_bytes` as a list, which the simulator reads faster."""
        flow: list[float] = self.dram_bytes.tolist()
        return flow

    def with_noise(self, sigma: float, seed: int) -> Costs:
        """Return costs whose own times are multiplied by log-normal factors of median 1.

        Policies that were given the original `expected_ns` then plan with estimates that are off.
        """
        if sigma == 0:
            return self
        factors = np.random.default_rng(seed).lognormal(0.0, sigma, len(self.graph))
        return replace(self, parts_s=self.parts_s * factors[:, None])

    def with_slowdown(self, processor: str, from_s: float, factor: float) -> Costs:
        """Return costs in which own times on one processor are `factor` times as long for all that starts at a time or later.

        Raises
        ------
        SocsimError
            No subgraph runs on the processor.
        """
        if processor not in self.graph.processors:
            raise SocsimError(f"run.slowed_processor '{processor}' has no work in this run; allowed: {', '.join(self.graph.processors)}")
        rows = np.array([subgraph.processor == processor for subgraph in self.graph.subgraphs], dtype=bool)
        slowed = replace(self, parts_s=np.where(rows[:, None], factor, 1.0) * self.parts_s, later=None)
        return replace(self, later=Later(round(from_s * NANOSECONDS), slowed))

    def as_started(self, start_ns: NDArray[np.int64]) -> Costs:
        """Return the costs that subgraphs had that started at some times, of shape (subgraphs,)."""
        if self.later is None:
            return self
        late = start_ns >= self.later.from_ns
        return replace(self, parts_s=np.where(late[:, None], self.later.costs.parts_s, self.parts_s), later=None)

    def without(self, *, parts: tuple[str, ...] = (), processor: str | None = None, dram: bool = False, latency: bool = False) -> Costs:
        """Return costs in which some resource is free, to see what it costs now.

        Parameters
        ----------
        parts
            Which of `PARTS` take no time.
        processor
            Only on this processor; none: on all.
        dram
            Whether moving bytes takes no time.
        latency
            Whether hand-overs have no latency.
        """
        rows = np.array([processor in (None, subgraph.processor) for subgraph in self.graph.subgraphs], dtype=bool)
        parts_s = self.parts_s.copy()
        for part in parts:
            parts_s[rows, PARTS.index(part)] = 0.0
        later = self.later
        if later is not None:
            later = later._replace(costs=later.costs.without(parts=parts, processor=processor, dram=dram, latency=latency))
        return replace(
            self,
            parts_s=parts_s,
            dram_bytes=np.where(rows & dram, 0.0, self.dram_bytes),
            hand_over_latency_s=self.hand_over_latency_s * (0.0 if latency else 1.0),
            later=later,
        )


def graph_costs(graph: TaskGraph, soc: SoC, engine: Engine, run: Run) -> Costs:
    """Return the cost of every subgraph of a task graph.

    Raises
    ------
    SocsimError
        The SoC lacks a processor, data type, synchronization mechanism or operating point that is asked for, or the work
        takes longer than the clock can hold.
    """
    model = CostModel(soc, engine, run)
    names, (kinds, kind) = graph.processors, graph.kinds
    known = [model.parts(work, processor) for work, processor in kinds]
    parts_s = np.zeros((len(graph), len(PARTS)))
    parts_s[:, :-1] = np.array([list(times.values()) for times, _ in known])[kind]
    output_bytes = np.array([work.output_bytes for work, _ in kinds], dtype=np.int64)[kind]
    parts_s[:, -1] = model.hand_over_s(output_bytes, graph.foreign_consumers)
    latency = np.full((len(names), len(names)), model.mechanism.latency_s)
    np.fill_diagonal(latency, 0.0)
    return Costs(
        graph,
        parts_s,
        np.array([dram_bytes for _, dram_bytes in known])[kind],
        np.array([model.processor(name).bandwidth_bytes_per_s for name in names]),
        soc.dram.achievable_bytes_per_s,
        latency,
    )


def true_costs(costs: Costs, run: Run) -> Costs:
    """Return costs with the noise and the slowdown of a run, which policies do not see.

    Raises
    ------
    SocsimError
        No subgraph runs on the processor that slows down.
    """
    noisy = costs.with_noise(run.duration_noise, run.seed)
    return noisy if run.slowed_processor is None else noisy.with_slowdown(run.slowed_processor, run.slowed_from_s, run.slowdown_factor)
