"""Predictions of measured rows: micro-benchmarks by hand on a phone of round numbers, and figures of small runs."""

from __future__ import annotations

from typing import Any

import pytest

import socsim
from socsim.catalog import load_engine, load_soc
from socsim.errors import SocsimError
from socsim.measurements import METRIC_UNITS, OperatorRow, SystemRow, load_operator_rows, parse_products
from socsim.prediction import METRICS, predict_latency, predict_run, predict_value
from socsim.specs import SoC

TOY = load_soc("toy-phone")
"""NPU: 1 ms to launch, 1e12 int8 and 1e11 fp16 operations a second, element-wise work at 1e9 bytes/s."""
LAUNCH_S = 1e-3


def toy(**npu: Any) -> SoC:
    return TOY.override({f"processors.npu.{path}": value for path, value in npu.items()}, "toy")


def row(products: str, data_type: str = "int8", **fields: Any) -> OperatorRow:
    given: dict[str, Any] = {"where": "mine.csv:3", "soc": "toy-phone", "processor": "npu", "path": None, "weight_bits": None}
    given |= {"square_inputs": True, "latency_s": 1.0, "source": "test", "split": "calibration"} | fields
    return OperatorRow(data_type=data_type, products=parse_products(products), **given)


def run_row(metric: str = "prefill_tokens_per_s", **fields: Any) -> SystemRow:
    given: dict[str, Any] = {"prompt_tokens": 40, "output_tokens": 3, "engine": "llm-npu", "model": "smollm2-135m", "overrides": {}}
    given |= {"where": "mine.csv:4", "soc": "toy-phone", "value": 1.0, "source": "test", "split": "calibration"} | fields
    return SystemRow(metric=metric, **given)


def test_one_product_takes_its_launch_and_its_operations() -> None:
    assert predict_latency(row("100x200x300"), TOY) == pytest.approx(LAUNCH_S + 2 * 100 * 200 * 300 / 1e12)
    assert predict_latency(row("100x200x300", "fp16"), TOY) == pytest.approx(LAUNCH_S + 2 * 100 * 200 * 300 / 1e11)


def test_call_measured_alone_takes_its_time_once() -> None:
    alone = toy(isolated_call_s=0.5)
    assert predict_latency(row("10x20x30+10x20x30"), alone) == pytest.approx(0.5 + predict_latency(row("10x20x30+10x20x30"), TOY))


def test_products_beside_each_other_add_up() -> None:
    npu = toy(**{"throughput.int8.overhead_s": 0.1, "throughput.int8.input_bytes_per_s": 1e6})
    # Each has its overhead and lays out its own 200 bytes of input; nothing is between them.
    expected = LAUNCH_S + 2 * (0.1 + 200 / 1e6) + 2 * 10 * 20 * (30 + 40) / 1e12
    assert predict_latency(row("10x20x30+10x20x40"), npu) == pytest.approx(expected)


def test_dependent_product_has_element_wise_work_before_it_and_no_layout() -> None:
    npu = toy(**{"throughput.int8.input_bytes_per_s": 1e6})
    # Combine: two outputs of 10 x 30 in fp16 in, 10 x 30 in fp16 out; quantize: these in, 300 bytes out.
    moved = 2 * (10 * 30 * 2) + 600 + 600 + 300
    expected = LAUNCH_S + moved / 1e9 + 2 * 200 / 1e6 + 2 * (10 * 20 * 60 + 10 * 30 * 20) / 1e12
    assert predict_latency(row("10x20x30+10x20x30>10x30x20"), npu) == pytest.approx(expected, rel=1e-12)


def test_chain_of_floats_is_not_quantized() -> None:
    moved = 10 * 30 * 2 + 10 * 30 * 2
    expected = LAUNCH_S + moved / 1e9 + 2 * (10 * 20 * 30 + 10 * 30 * 20) / 1e11
    assert predict_latency(row("10x20x30>10x30x20", "fp16"), TOY) == pytest.approx(expected, rel=1e-12)


def test_chain_of_three_hands_on_the_last_output_only() -> None:
    """What the first product made was used up by the second."""
    moved = (10 * 30 * 2 + 10 * 30 * 2) + (10 * 40 * 2 + 10 * 40 * 2)
    expected = LAUNCH_S + moved / 1e9 + 2 * 10 * (20 * 30 + 30 * 40 + 40 * 50) / 1e11
    assert predict_latency(row("10x20x30>10x30x40>10x40x50", "fp16"), TOY) == pytest.approx(expected, rel=1e-12)


def test_tensors_between_products_spill_when_they_exceed_the_chip() -> None:
    chain = row("10x20x30>10x30x20")
    inside, beyond = (toy(on_chip_memory_bytes=size, spill_bytes_per_s=1e3) for size in (600, 599))
    assert predict_latency(chain, inside) == pytest.approx(predict_latency(chain, TOY))
    # The first output and what it is combined to have 600 bytes each, written and read again; the 300 quantized ones fit.
    assert predict_latency(chain, beyond) == pytest.approx(predict_latency(chain, TOY) + 4 * 600 / 1e3)
    free = toy(on_chip_memory_bytes=0.0)  # without a rate of its own, what spills is bound by DRAM elsewhere
    assert predict_latency(chain, free) == pytest.approx(predict_latency(chain, TOY))


def test_output_does_not_spill() -> None:
    npu = toy(on_chip_memory_bytes=0.0, spill_bytes_per_s=1e3)
    assert predict_latency(row("10x20x30"), npu) == pytest.approx(predict_latency(row("10x20x30"), TOY))


def test_speed_is_on_all_rates_but_not_on_fixed_times() -> None:
    rates: dict[str, Any] = {
        "on_chip_memory_bytes": 0.0,
        "spill_bytes_per_s": 1e3,
        "isolated_call_s": 0.25,
        "throughput.int8.overhead_s": 0.125,
    }
    fixed = 0.25 + 2 * 0.125 + LAUNCH_S
    slow, fast = (predict_latency(row("10x20x30>10x30x20"), toy(**rates, speed=speed)) for speed in (1.0, 4.0))
    assert fast - fixed == pytest.approx((slow - fixed) / 4)


def test_path_takes_the_place_of_the_usual_way() -> None:
    npu = toy(paths={"slow": {"peak_ops_per_s": 1e6}, "other": {"peak_ops_per_s": 1e9}})
    assert predict_latency(row("10x20x30", path="slow"), npu) == pytest.approx(LAUNCH_S + 2 * 10 * 20 * 30 / 1e6)
    assert predict_latency(row("10x20x30"), npu) == pytest.approx(LAUNCH_S + 2 * 10 * 20 * 30 / 1e12)


def test_path_can_compute_a_type_that_the_processor_has_no_other_way_for() -> None:
    npu = toy(paths={"wide": {"peak_ops_per_s": 1e6}})
    assert predict_latency(row("10x20x30", "fp32", path="wide"), npu) == pytest.approx(LAUNCH_S + 2 * 10 * 20 * 30 / 1e6)


@pytest.mark.parametrize(
    ("data_type", "weight_bits", "stored"), [("int8", None, 600), ("int8", 4, 300), ("fp16", None, 1200), ("fp16", 4, 300)]
)
def test_one_row_takes_the_stored_bytes_of_its_weights(data_type: str, weight_bits: int | None, stored: int) -> None:
    npu = toy(row_bytes_per_s=1e3)
    assert predict_latency(row("1x20x30", data_type, weight_bits=weight_bits), npu) == pytest.approx(LAUNCH_S + stored / 1e3)


def test_several_rows_bring_weights_in_as_wide_as_multiplied() -> None:
    npu = toy(**{"throughput.fp16.weight_bytes_per_s": 1e3})
    narrow, wide = (predict_latency(row("2x20x30", "fp16", weight_bits=bits), npu) for bits in (4, None))
    assert narrow == wide == pytest.approx(LAUNCH_S + 1200 / 1e3)


def test_input_in_one_line_is_slower() -> None:
    npu = toy(flat_input_slowdown=1.5)
    flat, square = (predict_latency(row("100x200x300", square_inputs=square), npu) - LAUNCH_S for square in (False, True))
    assert flat == pytest.approx(1.5 * square)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"path": "matrix-engin"},
            r"mine.csv:3: unknown path of processors.npu of snapdragon-8-gen-3 'matrix-engin' \(did you mean 'matrix-eng",
        ),
        ({"data_type": "fp32"}, r"mine.csv:3: snapdragon-8-gen-3: processors.npu: throughput has no 'fp32'.*it has: fp16, int8"),
    ],
)
def test_errors_name_the_row(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SocsimError, match=message):
        predict_latency(row("10x20x30", **fields), load_soc("snapdragon-8-gen-3"))


def test_missing_processor_is_an_error_that_names_the_row() -> None:
    soc = TOY.model_copy(update={"processors": {"cpu": TOY.processors["cpu"]}})
    with pytest.raises(SocsimError, match=r"mine.csv:3: processor 'npu' is not in toy-phone; it has: cpu"):
        predict_latency(row("10x20x30"), soc)


def test_every_shipped_micro_benchmark_can_be_predicted() -> None:
    rows = load_operator_rows()
    assert all(predict_latency(each, load_soc(each.soc)) > 0.0 for each in {(each.soc, each.products): each for each in rows}.values())


def test_metrics_are_those_of_the_run() -> None:
    record = socsim.run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=40, output_tokens=3).record
    preparation = predict_run(run_row()).case.preparation
    expected = {
        "prefill_tokens_per_s": record["prefill_tokens_per_s"],
        "decode_s": record["e2e_s"] - record["ttft_s"],
        "ttft_s": record["ttft_s"],
        "e2e_s": record["e2e_s"],
        "prefill_share": record["ttft_s"] / record["e2e_s"],
        "npu_bubble_rate": record["npu_bubble_rate"],
        "prefill_energy_j": record["prefill_energy_j"],
        "peak_memory_gb": record["peak_memory_bytes"] / 1e9,
        "graph_build_s": preparation.build_s,
        "graph_optimize_s": preparation.optimize_s,
    }
    assert {metric: predict_value(run_row(metric)) for metric in METRICS} == pytest.approx(expected)
    assert all(value > 0.0 for value in expected.values())


def test_every_metric_that_files_may_hold_can_be_predicted() -> None:
    assert set(METRICS) == set(METRIC_UNITS)


def test_graphs_are_built_and_optimized_by_what_they_hold() -> None:
    """On the toy phone 1 ms a subgraph and 1 ns a byte of int8 weights of the blocks."""
    blocks = 30 * (576 * (576 + 2 * 192) + 576 * 576 + 3 * 576 * 1536)
    assert predict_value(run_row("graph_optimize_s")) == pytest.approx(1e-9 * blocks, rel=1e-3)
    build_s = predict_value(run_row("graph_build_s"))
    assert build_s / 1e-3 == pytest.approx(round(build_s / 1e-3))
    assert build_s >= 30e-3


def test_row_with_settings_is_run_with_them() -> None:
    changed = run_row(overrides={"engine.outlier_pruning_rate": 1.0, "engine.cpu_threads": 1})
    expected = socsim.run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=40, output_tokens=3, overrides=changed.overrides)
    assert predict_value(changed) == expected.record["prefill_tokens_per_s"] != predict_value(run_row())
    assert predict_run(changed).case.overrides == changed.overrides


def test_other_descriptions_and_overrides_may_be_given() -> None:
    soc = TOY.override({"processors.cpu.launch_overhead_s": 0.1}, "x")
    slow = predict_value(run_row(), soc)
    assert slow == predict_value(run_row(), overrides={"soc.processors.cpu.launch_overhead_s": 0.1}) < predict_value(run_row())
    cpu = predict_value(run_row(), engine=load_engine("cpu-only"))
    assert cpu == predict_value(run_row(engine="cpu-only")) != predict_value(run_row())
    # What the caller sets wins over the row.
    over = run_row(overrides={"engine.cpu_threads": 1})
    assert predict_value(over, overrides={"engine.cpu_threads": 4}) == predict_value(run_row())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "smollm"}, r"mine.csv:4: unknown model 'smollm' \(did you mean 'smollm2-135m'\?\)"),
        ({"overrides": {"engine.threads": 2}}, r"mine.csv:4: engine: unknown field 'threads'.*'cpu_threads'"),
        ({"prompt_tokens": 10**9}, r"mine.csv:4: "),
    ],
)
def test_runs_that_are_not_possible_name_the_row(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SocsimError, match=message):
        predict_value(run_row(**fields))
