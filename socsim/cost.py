"""Seconds and bytes of each subgraph on its processor.

A subgraph starts with the processor's launch overhead, then its operators compute one after the other while its DRAM
bytes stream alongside; it ends when both have ended, and then its processor spends the work of handing results over.

* Products follow `socsim.specs.Throughput`: a fixed time, multiplications padded to the tile at a rate that grows with
  the rows, and the layout of the left operand.
* Attention runs at the same rate, that of the activation type, as one product for each head.
* Element-wise operators are bound by the bytes they read and write.
* Weights and KV cache are streamed once; activations reach DRAM at the borders of a subgraph, inside it only beyond the
  processor's on-chip memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError, unknown_name
from socsim.graph import DATA_TYPE_BYTES, Operator, TaskGraph, Work

if TYPE_CHECKING:  # the simulator itself needs no descriptions, and starts faster without pydantic
    from socsim.specs import Engine, Processor, Run, SoC

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PARTS = ("launch", "linear", "attention", "float", "synchronization")
"""Parts of a subgraph's own time: launch, linears, attention products, element-wise work and outlier fetches, hand-over."""

NANOSECONDS = 1_000_000_000
PER_NS = 1e-9


@dataclass(frozen=True, eq=False)
class Costs:
    """Cost of every subgraph of one task graph, and the bandwidths that bound its flows.

    `parts_s` has shape (subgraphs, 5), one column for each of `PARTS`; `dram_bytes` has shape (subgraphs,).
    `bandwidth_bytes_per_s` and `hand_over_latency_s` follow the graph's sorted processors; the latency has shape
    (producers, consumers).
    """

    graph: TaskGraph
    parts_s: Floats
    dram_bytes: Floats
    bandwidth_bytes_per_s: Floats
    achievable_bytes_per_s: float
    hand_over_latency_s: Floats

    @cached_property
    def fixed_ns(self) -> list[int]:
        """Duration of each subgraph apart from waiting for DRAM, in whole nanoseconds."""
        total: list[int] = np.rint(self.parts_s.sum(axis=1) * NANOSECONDS).astype(np.int64).tolist()
        return total

    @cached_property
    def expected_ns(self) -> list[int]:
        """Duration of each subgraph when nothing else uses DRAM: what profiling would show."""
        caps = np.minimum(self.bandwidth_bytes_per_s, self.achievable_bytes_per_s) * PER_NS
        stream = np.rint(self.dram_bytes / caps[np.array(self.graph.processor_index, dtype=np.int64)])
        expected: list[int] = np.maximum(stream, np.maximum(self.fixed_ns, 1)).astype(np.int64).tolist()
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
        return replace(
            self,
            parts_s=parts_s,
            dram_bytes=np.where(rows & dram, 0.0, self.dram_bytes),
            hand_over_latency_s=self.hand_over_latency_s * (0.0 if latency else 1.0),
        )


def product_s(
    processor: Processor,
    data_type: str,
    rows: int,
    inner: int,
    columns: int,
    *,
    macs: int | None = None,
    count: int = 1,
    speedup: float = 1.0,
) -> float:
    """Return the computing time of `count` matrix products (rows x inner) . (inner x columns) on one processor.

    Parameters
    ----------
    processor
        The processor; it must have a throughput for the data type.
    data_type
        ``int8``, ``fp16`` or ``fp32``.
    rows, inner, columns
        Dimensions M, K, N of each product.
    macs
        MACs of all products together where that is not M K N each (attention).
    count
        Number of products.
    speedup
        Factor on all rates, by threads and clock.

    Raises
    ------
    SocsimError
        The processor has no throughput for the data type.
    """
    throughput = processor.throughput.get(data_type)  # type: ignore[call-overload]
    if throughput is None:
        raise unknown_name("data type of a product on this processor", data_type, processor.throughput)
    padded = [-(-size // processor.tile) * processor.tile for size in (rows, inner, columns)]
    total = float(rows * inner * columns * count if macs is None else macs)
    for size, whole in zip((rows, inner, columns), padded, strict=True):
        total *= whole / size
    seconds = 2.0 * total * (1.0 + throughput.half_rate_rows / padded[0]) / throughput.peak_ops_per_s
    if throughput.input_bytes_per_s is not None:
        seconds += rows * inner * count * DATA_TYPE_BYTES[data_type] / throughput.input_bytes_per_s
    return float(seconds / speedup + throughput.overhead_s * count)


def subgraph_dram_bytes(work: Work, on_chip_memory_bytes: float) -> float:
    """Return the bytes that a subgraph moves from and to DRAM.

    Weights and KV cache once, input and output of the subgraph, and of each tensor between two operators what exceeds
    the on-chip memory in one execution, written and read again.
    """
    total = float(work.weight_bytes + work.kv_bytes)
    last = len(work.operators) - 1
    for index, operator in enumerate(work.operators):
        kept = on_chip_memory_bytes * operator.count
        total += operator.input_bytes if index == 0 else max(0.0, operator.input_bytes - kept)
        total += operator.output_bytes if index == last else max(0.0, operator.output_bytes - kept)
    return total


class CostModel:
    """Costs of work on the processors of a SoC under one engine and operating point.

    Raises
    ------
    SocsimError
        The SoC lacks a processor, a synchronization mechanism or an operating point that is asked for.
    """

    def __init__(self, soc: SoC, engine: Engine, run: Run) -> None:
        if engine.synchronization not in soc.synchronization:
            raise unknown_name(f"synchronization of {soc.name}", engine.synchronization, soc.synchronization)
        if run.operating_point not in soc.operating_points:
            raise unknown_name(f"operating point of {soc.name}", run.operating_point, soc.operating_points)
        self.soc = soc
        self.processors: dict[str, Processor] = {str(name): processor for name, processor in soc.processors.items()}
        self.mechanism = soc.synchronization[engine.synchronization]
        scale = {str(name): rate for name, rate in soc.operating_points[run.operating_point].rate_scale.items()}
        self.speedup = {
            name: processor.thread_speedup((engine.cpu_threads if name == "cpu" else None) or processor.reference_threads)
            * scale.get(name, 1.0)
            for name, processor in self.processors.items()
        }

    def processor(self, name: str) -> Processor:
        """Return a processor of the SoC by name."""
        if name not in self.processors:
            raise unknown_name(f"processor of {self.soc.name}", name, self.processors)
        return self.processors[name]

    def operator_s(self, operator: Operator, name: str) -> float:
        """Return the computing time of an operator on a processor."""
        processor, speedup = self.processor(name), self.speedup[name]
        if operator.kind == "fetch":
            return operator.weight_bytes / self.soc.flash.random_read_bytes_per_s
        if operator.kind == "vector":
            return (operator.input_bytes + operator.output_bytes) / (processor.vector_bytes_per_s * speedup)
        try:
            return product_s(
                processor,
                operator.data_type,
                operator.rows,
                operator.inner,
                operator.columns,
                macs=operator.macs,
                count=operator.count,
                speedup=speedup,
            )
        except SocsimError as error:
            raise SocsimError(f"{self.soc.name}: processors.{name}: {error}") from None

    def parts(self, work: Work, name: str) -> tuple[list[float], float]:
        """Return the time of each of `PARTS` but the last, and the DRAM bytes, of work on a processor."""
        processor = self.processor(name)
        times = dict.fromkeys(PARTS, 0.0)
        times["launch"] = processor.launch_overhead_s
        for operator in work.operators:
            part = {"product": "linear", "attention": "attention"}.get(operator.kind, "float")
            times[part] += self.operator_s(operator, name)
        return list(times.values()), subgraph_dram_bytes(work, processor.on_chip_memory_bytes)

    def hand_over_s(self, output_bytes: int, targets: int) -> float:
        """Return the producer's work of handing a result of some bytes to other processors."""
        if not targets:
            return 0.0
        cache = 0.0 if self.mechanism.cache_bytes_per_s is None else output_bytes / self.mechanism.cache_bytes_per_s
        return targets * self.mechanism.launch_work_s + cache


def graph_costs(graph: TaskGraph, soc: SoC, engine: Engine, run: Run) -> Costs:
    """Return the cost of every subgraph of a task graph.

    Raises
    ------
    SocsimError
        The SoC lacks a processor, data type, synchronization mechanism or operating point that is asked for.
    """
    model = CostModel(soc, engine, run)
    names = graph.processors
    known: dict[tuple[int, str], tuple[list[float], float]] = {}
    targets = _foreign_consumers(graph)
    parts_s = np.zeros((len(graph), len(PARTS)))
    dram_bytes = np.zeros(len(graph))
    for index, subgraph in enumerate(graph.subgraphs):
        key = (id(subgraph.work), subgraph.processor)
        if key not in known:
            known[key] = model.parts(subgraph.work, subgraph.processor)
        parts_s[index], dram_bytes[index] = known[key]
        if targets[index]:
            parts_s[index, -1] = model.hand_over_s(subgraph.work.output_bytes, targets[index])
    latency = np.full((len(names), len(names)), model.mechanism.latency_s)
    np.fill_diagonal(latency, 0.0)
    return Costs(
        graph,
        parts_s,
        dram_bytes,
        np.array([model.processor(name).bandwidth_bytes_per_s for name in names]),
        soc.dram.achievable_bytes_per_s,
        latency,
    )


def _foreign_consumers(graph: TaskGraph) -> list[int]:
    """Return for each subgraph the number of other processors that consume its result."""
    processor = graph.processor_index
    targets: list[set[int]] = [set() for _ in processor]
    for index, followers in enumerate(graph.successors):
        for follower in followers:
            if processor[follower] != processor[index]:
                targets[index].add(processor[follower])
    for prefix in graph.prefixes:
        waiting = {processor[waiter] for waiters in prefix.waiters for waiter in waiters}
        for member in prefix.members:
            targets[member] |= waiting - {processor[member]}
    return [len(found) for found in targets]
