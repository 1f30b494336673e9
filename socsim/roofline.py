"""Seconds and bytes of work on one processor.

A subgraph starts with the processor's launch overhead, then its operators compute one after the other while its DRAM
bytes stream alongside; it ends when both have ended, and then its processor spends the work of handing results over.

* Products follow `socsim.specs.Throughput`: a fixed time, the layout of an input from outside, and multiplications padded to
  the tile with the weights beside or between them; one row is bound by its weights.
* Attention multiplies at the rate of the activation type, as one product for all heads.
* Groups of weights with a scale each are sub-products with the overhead of one, and float sums, unless kernels add them in
  registers; so are narrow weights widened as element-wise work or at the product's rate.
* Element-wise operators are bound by the bytes they read and write, or by their operations.
* Weights and KV cache are streamed once; activations reach DRAM at the borders of a subgraph, and inside it the tensors that
  do not fit the processor's on-chip memory, which also take time of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError, unknown_name
from socsim.graph import DATA_TYPE_BYTES, Operator, Work

if TYPE_CHECKING:  # the simulator itself needs no descriptions, and starts faster without pydantic
    from socsim.specs import Efficiency, Engine, Processor, Run, SoC, Throughput


def product_s(
    processor: Processor,
    data_type: str,
    rows: int,
    inner: int,
    columns: int,
    *,
    weight_bytes: float = 0.0,
    macs: int | None = None,
    count: int = 1,
    enters: bool = True,
    square_inputs: bool = True,
    speedup: float = 1.0,
    efficiency: Efficiency | None = None,
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
    weight_bytes
        Stored bytes of the right operands of all products together; 0 where they are no weights (attention).
    macs
        MACs of all products together where that is not M K N each (attention).
    count
        Number of products.
    enters
        Whether the left operand comes from outside the subgraph and has to be laid out.
    square_inputs
        Whether the rows are arranged near-square; else all rows lie in one line.
    speedup
        Factor on all rates, by threads and clock.
    efficiency
        Factors on the rates by the engine's kernels; default: 1.

    Raises
    ------
    SocsimError
        The processor has no throughput for the data type.
    """
    rates, data_type = processor.rates(data_type), processor.multiplied_type(data_type)
    linear = 1.0 if efficiency is None else efficiency.linear
    if rows == 1 and processor.row_bytes_per_s is not None and weight_bytes:
        return rates.overhead_s * count + _row_s(processor, weight_bytes, efficiency) / speedup
    total = float(rows * inner * columns * count if macs is None else macs)
    for size in (rows, inner, columns):
        total *= -(-size // processor.tile) * processor.tile / size
    multiply_s = 2.0 * total / (rates.peak_ops_per_s * linear)
    width = DATA_TYPE_BYTES[data_type]
    weights_s = _weights_s(processor, rates, inner * columns * count * width, weight_bytes, efficiency) if weight_bytes else 0.0
    seconds = max(multiply_s, weights_s) if rates.overlaps_weights else multiply_s + weights_s
    if enters and rates.input_bytes_per_s is not None:
        seconds += rows * inner * count * width / (rates.input_bytes_per_s * linear)
    flat = processor.flat_input_slowdown if rows > 1 and not square_inputs else 1.0
    return (seconds / speedup + rates.overhead_s * count) * flat


def _weights_s(processor: Processor, rates: Throughput, wide_bytes: float, weight_bytes: float, efficiency: Efficiency | None) -> float:
    """Return the time in which weights come in for several rows: as wide as multiplied, else as stored at the rate of one row."""
    if rates.weight_bytes_per_s is None:
        return _row_s(processor, weight_bytes, efficiency)
    return wide_bytes / (rates.weight_bytes_per_s * (1.0 if efficiency is None else efficiency.weights or efficiency.linear))


def _row_s(processor: Processor, weight_bytes: float, efficiency: Efficiency | None) -> float:
    """Return the time of a matrix-vector product, which its weights' bytes take; 0 where the processor has no such path."""
    rate = processor.row_bytes_per_s
    return 0.0 if rate is None else weight_bytes / (rate * (1.0 if efficiency is None else efficiency.row))


def spilled_bytes(work: Work, on_chip_memory_bytes: float) -> float:
    """Return the bytes of tensors between two operators that are larger than the on-chip memory: each is written and read again."""
    inside = (operator for operator in work.operators[:-1] if not operator.leaves)
    return float(sum(2 * operator.output_bytes for operator in inside if operator.output_bytes > on_chip_memory_bytes * operator.count))


def subgraph_dram_bytes(work: Work, on_chip_memory_bytes: float) -> float:
    """Return the bytes that a subgraph moves from and to DRAM.

    Weights and KV cache once, input and output of the subgraph, and tensors between two operators that exceed the on-chip
    memory in one execution, written and read again.
    """
    return work.outer_bytes + spilled_bytes(work, on_chip_memory_bytes)


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
        self.efficiency = {str(name): efficiency for name, efficiency in engine.efficiency.items()}
        self.square_inputs = engine.square_inputs
        self.mechanism = soc.synchronization[engine.synchronization]
        scale = {str(name): rate for name, rate in soc.operating_points[run.operating_point].rate_scale.items()}
        cores = len(self.processors["cpu"].core_speeds)
        if engine.cpu_threads is not None and engine.cpu_threads > cores:
            raise SocsimError(f"engine.cpu_threads {engine.cpu_threads} exceeds the cores of {soc.name}; allowed: 1 to {cores}")
        self.speedup = {
            name: processor.thread_speedup((engine.cpu_threads if name == "cpu" else None) or processor.reference_threads)
            * scale.get(name, 1.0)
            * processor.speed
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
        efficiency = self.efficiency.get(name)
        linear = speedup if efficiency is None else speedup * efficiency.linear
        if operator.kind == "fetch":
            return operator.weight_bytes / self.soc.flash.random_read_bytes_per_s
        if operator.kind == "vector":
            return self._vector_s(processor, operator.input_bytes + operator.output_bytes, operator.ops) / speedup
        try:
            if operator.kind == "attention":
                return product_s(
                    processor,
                    operator.data_type,
                    operator.rows,
                    operator.inner,
                    operator.columns,
                    macs=operator.macs,
                    count=operator.count,
                    enters=False,
                    speedup=speedup * (1.0 if efficiency is None else efficiency.attention),
                )
            seconds = product_s(
                processor,
                operator.data_type,
                operator.rows,
                operator.inner,
                operator.columns,
                weight_bytes=operator.weight_bytes,
                count=operator.count,
                enters=operator.enters,
                square_inputs=self.square_inputs,
                speedup=speedup,
                efficiency=efficiency,
            )
        except SocsimError as error:
            raise SocsimError(f"{self.soc.name}: processors.{name}: {error}") from None
        if processor.fuses_conversions:
            if operator.rows == 1 and processor.row_bytes_per_s is not None:
                return seconds  # its weights' bytes take longer than converting them
            return seconds + operator.conversion_ops / (processor.rates(operator.data_type).peak_ops_per_s * linear)
        # Each group is a sub-product with the overhead of one; its float sum stays on chip.
        seconds += processor.rates(operator.data_type).overhead_s * operator.count * (operator.groups - 1)
        return seconds + self._vector_s(processor, operator.conversion_bytes, operator.conversion_ops) / linear

    @staticmethod
    def _vector_s(processor: Processor, moved_bytes: int, ops: int) -> float:
        """Return the time of element-wise work: of its bytes or of its operations, whichever takes longer."""
        by_ops = 0.0 if processor.vector_ops_per_s is None else ops / processor.vector_ops_per_s
        return max(moved_bytes / processor.vector_bytes_per_s, by_ops)

    def parts(self, work: Work, name: str) -> tuple[dict[str, float], float]:
        """Return the time of work on a processor by part (``launch``, ``linear``, ``attention``, ``float``), and its DRAM bytes."""
        processor = self.processor(name)
        times = {"launch": processor.launch_overhead_s, "linear": 0.0, "attention": 0.0, "float": 0.0}
        for operator in work.operators:
            part = {"product": "linear", "attention": "attention"}.get(operator.kind, "float")
            times[part] += self.operator_s(operator, name)
        if processor.spill_bytes_per_s is not None:
            spilled = spilled_bytes(work, processor.on_chip_memory_bytes)
            times["linear"] += spilled / (processor.spill_bytes_per_s * self.speedup[name])
        return times, subgraph_dram_bytes(work, processor.on_chip_memory_bytes)

    def hand_over_s(self, output_bytes: NDArray[np.int64] | int, targets: NDArray[np.int64] | int) -> NDArray[np.float64]:
        """Return the producers' work of handing results of some bytes to so many other processors each, as many as there are results."""
        cache = 0.0 if self.mechanism.cache_bytes_per_s is None else output_bytes / self.mechanism.cache_bytes_per_s
        return np.where(targets > 0, targets * self.mechanism.launch_work_s + cache, 0.0)
