"""Scripts on matrix products and on NPU graphs: speed-ups and break-evens, against those found the long way."""

from __future__ import annotations

import runpy
from math import prod
from pathlib import Path
from typing import Any

import pytest
from paper import Paper

import socsim
from socsim.measurements import load_operator_rows
from socsim.validation import validate_operators

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def products() -> dict[str, Any]:
    return runpy.run_path(str(EXPERIMENTS / "matmul_latency.py"))


@pytest.fixture(scope="module")
def graphs() -> dict[str, Any]:
    return runpy.run_path(str(EXPERIMENTS / "npu_graph_lifecycle.py"))


def latency(shape: str, way: tuple[str, str], modeled: float, measured: float) -> dict[str, Any]:
    error = 100 * (modeled / measured - 1)
    named = {"shape": shape, "processor": way[0], "data_type": way[1]}
    return named | {"latency_ms": modeled, "published_latency_ms": measured, "error_percent": error}


def test_speed_ups_are_of_the_same_product(products: dict[str, Any]) -> None:
    cpu, gpu, npu, slow = (products[name] for name in ("CPU", "GPU", "NPU", "SLOW"))
    rows = [
        latency(shape, way, modeled * size, measured * size)
        for shape, size in (("1x2x3", 1.0), ("4x5x6", 10.0))
        for way, modeled, measured in ((cpu, 4.0, 6.0), (gpu, 2.0, 2.0), (slow, 500.0, 400.0), (npu, 0.5, 1.0))
    ]
    found = products["speed_ups"](rows)
    assert [(row["shape"], row["data_type"], row["speed_up"], row["published_speed_up"]) for row in found[:3]] == [
        ("1x2x3", "int8", 8.0, 6.0),
        ("1x2x3", "fp16", 4.0, 2.0),
        ("1x2x3", "software-2024", 1000.0, 400.0),
    ]
    assert found[1]["error_percent"] == 100.0
    assert [row["speed_up"] for row in found[3:]] == [8.0, 4.0, 1000.0]


def test_claims_of_table_3_are_what_its_rows_say(products: dict[str, Any]) -> None:
    measured = [row for row in load_operator_rows() if row.where.startswith(products["TABLE"])]
    rows = [products["product"](row) for row in validate_operators(measured).to_dict("records")]
    paper, points = Paper(), products["subgraphs"]("llm-npu", 256)
    products["judge"](paper, rows, products["speed_ups"](rows), points)
    npu = [row.latency_s for row in measured if (row.processor, row.data_type) == ("npu", "int8")]
    cpu = [row.latency_s for row in measured if row.processor == "cpu"]
    published, modeled = paper.claims["NPU int8 products over CPU int8, geometric mean of 6 products"]
    assert published == pytest.approx(prod(slow / fast for slow, fast in zip(cpu, npu, strict=True)) ** (1 / 6))
    assert published == pytest.approx(4.76, abs=0.01)
    assert modeled == pytest.approx(published, rel=0.2)
    assert len(paper.claims) == 3


@pytest.mark.parametrize("engine", ["llm-npu", "llama.cpp-cpu", "mlc-gpu"])
def test_no_subgraph_is_above_its_roof(products: dict[str, Any], engine: str) -> None:
    points = products["subgraphs"](engine, 256)
    assert max(row["attained_percent"] for row in points) <= 100.0
    assert [row["stage"] for row in points][-1] == "decode"
    for row in points:
        assert row["achieved_tops"] == pytest.approx(row["gops"] / row["latency_ms"])
        assert row["intensity_ops_per_byte"] == pytest.approx(1e3 * row["gops"] / row["dram_mb"])


def test_processors_have_a_roof_for_each_type_that_they_multiply(products: dict[str, Any]) -> None:
    roofs = {(row["processor"], row["data_type"]): row for row in products["peaks"]()}
    assert set(roofs) == {("npu", "int8"), ("npu", "fp16"), ("cpu", "int8"), ("cpu", "fp16"), ("cpu", "fp32"), ("gpu", "fp16")}
    rates = socsim.load_soc("snapdragon-8-gen-3").processors["npu"]
    assert roofs["npu", "fp16"]["peak_tops"] == rates.paths["matrix-engine"].peak_ops_per_s / 1e12
    assert roofs["npu", "fp16"]["bandwidth_gb_per_s"] == rates.bandwidth_bytes_per_s / 1e9


def test_qkv_stands_where_its_shape_puts_it(products: dict[str, Any]) -> None:
    qkv = next(row for row in products["subgraphs"]("llm-npu", 256) if row["stage"] == "qkv")
    assert qkv["gops"] == pytest.approx((2 * 2048 + 1) * 256 * 3 * 2048 / 1e9)  # with the bias of Qwen
    assert qkv["dram_mb"] == pytest.approx((3 * 2048**2 + 256 * 2048 + 2 * 3 * 256 * 2048) / 1e6, rel=0.01)
    bandwidth = socsim.load_soc("snapdragon-8-gen-3").processors["npu"].bandwidth_bytes_per_s
    assert qkv["attainable_tops"] == pytest.approx(bandwidth * qkv["intensity_ops_per_byte"] / 1e12)  # below the NPU's ridge


def test_phases_of_a_published_and_another_model(graphs: dict[str, Any]) -> None:
    rows = graphs["phases"]("gemma-2b") + graphs["phases"]("phi-2")
    build = rows[1]
    assert (build["phase"], build["published_latency_ms"]) == ("build", 360.0)
    each_s = graphs["life_cycle"]().build_s_per_subgraph
    assert build["latency_ms"] == pytest.approx(1e3 * each_s * 18 * 3)  # 18 blocks of QKV, output projection, FFN
    assert build["error_percent"] == pytest.approx(100 * (build["latency_ms"] / 360 - 1))
    known, unknown = graphs["totals"](rows)
    assert known["published_s"] == pytest.approx(12.608)
    assert sum(known[f"{phase}_s"] for phase in graphs["PHASES"]) == pytest.approx(sum(row["latency_ms"] for row in rows[:5]) / 1e3)
    assert unknown["published_s"] is None


def test_rebuilding_pays_as_long_as_it_takes_less_time(graphs: dict[str, Any]) -> None:
    cost = graphs["preparation"]("qwen1.5-1.8b", 300)
    times: dict[str, dict[int, float]] = {}
    for row in graphs["cumulative"](cost):
        times.setdefault(row["graphs"], {})[row["prompts"]] = row["time_s"]
    rebuilt, built, loaded = times.values()
    pays = cost["break_even_prompts_built"]
    assert rebuilt[pays] <= built[pays]
    assert rebuilt[pays + 1] > built[pays + 1]
    more_s = cost["graph_freed_s"] + cost["graph_rebuilt_s"] + cost["graph_executed_s"]
    assert rebuilt[5] - rebuilt[4] == pytest.approx(more_s)
    assert rebuilt[1] > loaded[1]
    assert cost["break_even_prompts_loaded"] == 0
    run = socsim.run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=300)
    assert built[1] == pytest.approx(run.record["preparation_s"] + run.record["ttft_s"])


def test_a_graph_of_its_own_pays_where_much_is_padded(graphs: dict[str, Any]) -> None:
    padded, full = (graphs["preparation"]("qwen1.5-1.8b", length) for length in (300, 1024))
    uses, price = padded["own_graph_pays_from_prompts"], padded["graph_rebuilt_s"] + padded["graph_freed_s"]
    saved = padded["chunks_executed_s"] - padded["graph_executed_s"]
    assert (uses - 1) * saved < price <= uses * saved
    assert padded["padded_percent"] == pytest.approx(100 * (1 - 300 / 512))
    assert (full["padded_percent"], full["own_graph_pays_from_prompts"]) == (0.0, None)


def test_phases_that_are_taken_over_are_no_claims(graphs: dict[str, Any]) -> None:
    paper = Paper()
    rows = graphs["phases"]("qwen1.5-1.8b")
    graphs["judge"](paper, rows, [graphs["preparation"]("qwen1.5-1.8b", 300)])
    assert [what.partition(" an NPU graph")[0] for what in paper.claims] == ["build", "optimize", "execute"]
    assert paper.claims["optimize an NPU graph (qwen1.5-1.8b)"][0] == 3300.0
    assert [*paper.fitted.values()] == [True, True, False]
