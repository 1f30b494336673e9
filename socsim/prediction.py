"""What the simulator says to a measured row: the latency of a micro-benchmark, or one figure of a whole run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from socsim.errors import SocsimError, unknown_name
from socsim.graph import DATA_TYPE_BYTES, Operator, Work
from socsim.measurements import OperatorRow, SystemRow
from socsim.roofline import product_s, spilled_bytes
from socsim.runs import Result, make_case, run_case
from socsim.specs import Engine, Processor, SoC

ACTIVATION_BYTES = 2
"""Bytes of an activation between products (fp16)."""


def predict_latency(row: OperatorRow, soc: SoC) -> float:
    """Return the latency of a micro-benchmark: one call of a graph of products, measured alone.

    Beside its products it takes what an isolated call takes, the launch, and between dependent products the element-wise
    work that makes the input of one from the outputs of those before, which may not fit on chip.

    Raises
    ------
    SocsimError
        The SoC lacks the processor, the data type or the path.
    """
    if row.processor not in soc.processors:
        raise SocsimError(f"{row.where}: processor '{row.processor}' is not in {soc.name}; it has: {', '.join(sorted(soc.processors))}")
    processor = soc.processors[row.processor]
    if row.path is not None:
        if row.path not in processor.paths:
            raise SocsimError(
                f"{row.where}: {unknown_name(f'path of processors.{row.processor} of {soc.name}', row.path, processor.paths)}"
            )
        processor = processor.model_copy(update={"throughput": {row.data_type: row.path}})
    try:
        products = sum(_product_s(row, place, processor) for place in range(len(row.products)))
    except SocsimError as error:
        raise SocsimError(f"{row.where}: {soc.name}: processors.{row.processor}: {error}") from None
    work = Work(tuple(_between(row)))
    moved = sum(operator.input_bytes + operator.output_bytes for operator in work.operators if operator.kind == "vector")
    seconds = products + moved / (processor.vector_bytes_per_s * processor.speed)
    if processor.spill_bytes_per_s is not None:
        seconds += spilled_bytes(work, processor.on_chip_memory_bytes) / (processor.spill_bytes_per_s * processor.speed)
    return seconds + processor.launch_overhead_s + processor.isolated_call_s


def _product_s(row: OperatorRow, place: int, processor: Processor) -> float:
    product = row.products[place]
    width = DATA_TYPE_BYTES[row.data_type]
    return product_s(
        processor,
        row.data_type,
        product.rows,
        product.inner,
        product.columns,
        weight_bytes=product.inner * product.columns * (row.weight_bits or 8 * width) / 8,
        enters=product.enters,
        square_inputs=row.square_inputs,
        speedup=processor.speed,
    )


def _between(row: OperatorRow) -> list[Operator]:
    """Return the products of a chain with the element-wise operators between dependent ones: combine, then quantize."""
    operators: list[Operator] = []
    outputs = 0
    for product in row.products:
        if not product.enters:
            made, width = product.rows * product.inner, DATA_TYPE_BYTES[row.data_type]
            operators.append(Operator("combine", "vector", "fp16", 0, input_bytes=outputs, output_bytes=made * ACTIVATION_BYTES))
            if width < ACTIVATION_BYTES:
                operators.append(Operator("quantize", "vector", "fp16", 0, input_bytes=made * ACTIVATION_BYTES, output_bytes=made * width))
            outputs = 0
        made = product.rows * product.columns * ACTIVATION_BYTES
        outputs += made
        operators.append(Operator("product", "product", row.data_type, 0, output_bytes=made, enters=product.enters))
    return operators


METRICS: Mapping[str, Callable[[Result], float]] = {
    "prefill_tokens_per_s": lambda result: result.record["prefill_tokens_per_s"],
    "decode_s": lambda result: result.record["tpot_s"] * (result.case.run.output_tokens - 1),
    "ttft_s": lambda result: result.record["ttft_s"],
    "e2e_s": lambda result: result.record["e2e_s"],
    "prefill_share": lambda result: result.record["ttft_s"] / result.record["e2e_s"],
    "npu_bubble_rate": lambda result: result.record["npu_bubble_rate"],
    "prefill_energy_j": lambda result: result.record["prefill_energy_j"],
    "peak_memory_gb": lambda result: result.record["peak_memory_bytes"] / 1e9,
    "graph_build_s": lambda result: result.case.preparation.build_s,
    "graph_optimize_s": lambda result: result.case.preparation.optimize_s,
}
"""How each measured metric is read from a simulated run; graphs are those of one chunk length."""


def predict_run(row: SystemRow, soc: SoC | None = None, engine: Engine | None = None, overrides: Mapping[str, Any] | None = None) -> Result:
    """Simulate the run of a measured row, on its own SoC and engine or the ones given instead.

    Raises
    ------
    SocsimError
        The row names something that is not known, or a combination that is not allowed.
    """
    try:
        case = make_case(
            soc or row.soc,
            row.model,
            engine or row.engine,
            prompt_tokens=row.prompt_tokens,
            output_tokens=row.output_tokens,
            overrides={**row.overrides, **(overrides or {})},
        )
    except SocsimError as error:
        raise SocsimError(f"{row.where}: {error}") from None
    return run_case(case)


def predict_value(
    row: SystemRow, soc: SoC | None = None, engine: Engine | None = None, overrides: Mapping[str, Any] | None = None
) -> float:
    """Return the prediction of a measured row's metric, in its SI unit."""
    return METRICS[row.metric](predict_run(row, soc, engine, overrides))
