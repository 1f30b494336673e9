"""Seconds and bytes of work on one processor.

A subgraph starts with the processor's launch overhead, then its operators compute one after the other while its DRAM
bytes stream alongside; it ends when both have ended, and then its processor spends the work of handing results over.

* Products follow `socsim.specs.Throughput`: a fixed time, multiplications padded to the tile at a rate that grows with
  the rows, and the layout of the left operand.
* Attention runs at the same rate, that of the activation type, as one product for all heads.
* Conversions of weights and group sums run at the product's rate where the processor's kernels fuse them, else as
  element-wise work.
* Element-wise operators are bound by the bytes they read and write.
* Weights and KV cache are streamed once; activations reach DRAM at the borders of a subgraph, inside it only beyond the
  processor's on-chip memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from socsim.errors import SocsimError, unknown_name
from socsim.graph import DATA_TYPE_BYTES, Operator, Work

if TYPE_CHECKING:  # the simulator itself needs no descriptions, and starts faster without pydantic
    from socsim.specs import Engine, Processor, Run, SoC


def product_s(
    processor: Processor,
    data_type: str,
    rows: int,
    inner: int,
    columns: int,
    *,
    macs: int | None = None,
    count: int = 1,
    weight_width: float = 1.0,
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
    weight_width
        Stored over multiplied width of a weight: what it takes to bring the weights in shrinks with it.
    speedup
        Factor on all rates, by threads and clock.

    Raises
    ------
    SocsimError
        The processor has no throughput for the data type.
    """
    throughput = processor.throughput.get(data_type)  # type: ignore[call-overload]
    if throughput is None:
        raise SocsimError(f"throughput has no '{data_type}', which the work placed here needs; it has: {', '.join(processor.throughput)}")
    padded = [-(-size // processor.tile) * processor.tile for size in (rows, inner, columns)]
    total = float(rows * inner * columns * count if macs is None else macs)
    for size, whole in zip((rows, inner, columns), padded, strict=True):
        total *= whole / size
    seconds = 2.0 * total * (1.0 + throughput.half_rate_rows * weight_width / padded[0]) / throughput.peak_ops_per_s
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
        total += operator.output_bytes if index == last or operator.leaves else max(0.0, operator.output_bytes - kept)
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
        cores = len(self.processors["cpu"].core_speeds)
        if engine.cpu_threads is not None and engine.cpu_threads > cores:
            raise SocsimError(f"engine.cpu_threads {engine.cpu_threads} exceeds the cores of {soc.name}; allowed: 1 to {cores}")
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
            seconds = product_s(
                processor,
                operator.data_type,
                operator.rows,
                operator.inner,
                operator.columns,
                macs=operator.macs,
                count=operator.count,
                weight_width=operator.weight_width if processor.fuses_conversions else 1.0,
                speedup=speedup,
            )
        except SocsimError as error:
            raise SocsimError(f"{self.soc.name}: processors.{name}: {error}") from None
        if operator.conversion_ops and processor.fuses_conversions:
            rate = processor.throughput[operator.data_type].peak_ops_per_s  # type: ignore[index] # product_s has checked it
            return seconds + operator.conversion_ops / (rate * speedup)
        return seconds + operator.conversion_bytes / (processor.vector_bytes_per_s * speedup)

    def parts(self, work: Work, name: str) -> tuple[dict[str, float], float]:
        """Return the time of work on a processor by part (``launch``, ``linear``, ``attention``, ``float``), and its DRAM bytes."""
        processor = self.processor(name)
        times = {"launch": processor.launch_overhead_s, "linear": 0.0, "attention": 0.0, "float": 0.0}
        for operator in work.operators:
            part = {"product": "linear", "attention": "attention"}.get(operator.kind, "float")
            times[part] += self.operator_s(operator, name)
        return times, subgraph_dram_bytes(work, processor.on_chip_memory_bytes)

    def hand_over_s(self, output_bytes: int, targets: int) -> float:
        """Return the producer's work of handing a result of some bytes to other processors."""
        if not targets:
            return 0.0
        cache = 0.0 if self.mechanism.cache_bytes_per_s is None else output_bytes / self.mechanism.cache_bytes_per_s
        return targets * self.mechanism.launch_work_s + cache
