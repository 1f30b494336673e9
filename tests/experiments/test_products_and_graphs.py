"""Scripts on matrix products and on NPU graphs: speed-ups and break-evens, against those found the long way."""

from __future__ import annotations

import runpy
from math import prod
from pathlib import Path
from typing import Any

import pytest
from paper import Paper

import socsim
from socsim.experiments.publication import read_record
from socsim.measurements import load_operator_rows, load_table
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
    named = {"shape": shape, "processor": way[0], "data_type": way[1], "source": "Table 3", "fitted": way[1] == "int8"}
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
    assert {(row["source"], row["fitted"]) for row in found} == {("Table 3", True)}
    elsewhere = [row | {"source": "another"} if row["processor"] == "cpu" else row for row in rows]
    assert [row["data_type"] for row in products["speed_ups"](elsewhere)] == ["fp16", "software-2024"] * 2


def test_claims_of_table_3_are_what_its_rows_say(products: dict[str, Any]) -> None:
    measured = [row for row in load_operator_rows() if row.where.startswith(products["TABLE"])]
    validated = validate_operators(measured)
    rows = [products["product"](row) for row in validated.to_dict("records")]
    paper = Paper()
    products["judge"](paper, rows, products["speed_ups"](rows))

    def latencies_s(processor: str, data_type: str, column: str) -> list[float]:
        return list(validated[(validated.processor == processor) & (validated.data_type == data_type)][column])

    expected = []
    for way in (("cpu", "int8"), ("gpu", "fp16"), ("npu", "software-2024")):
        for column in ("measured_s", "predicted_s"):
            pairs = zip(latencies_s(*way, column), latencies_s("npu", "int8", column), strict=True)
            expected.append(prod(slow / fast for slow, fast in pairs) ** (1 / 6))
    assert [value for claim in paper.claims.values() for value in claim] == pytest.approx(expected)
    assert expected[0] == pytest.approx(4.76, abs=0.01)
    assert [what.split(" over ")[1][:8] for what in paper.claims] == ["CPU int8", "GPU fp16", "NPU fp16"]
    assert {*paper.fitted.values()} == {True}
    assert {*paper.sources.values()} == {measured[0].source}
    assert f"In int8 the NPU multiplies {expected[1]:.1f} times as fast as CPU int8 (published: {expected[0]:.1f})," in paper.text
    mean = validated.error_percent.abs().mean()
    assert f"Of 24 published latencies of products the simulation is off by {mean:.0f} % on average" in paper.text
    assert paper.text.endswith("The model is fitted to 24 of them.")


def test_products_that_are_not_fitted_are_no_fitted_claims(products: dict[str, Any]) -> None:
    rows = [latency("1x2x3", way, 4.0, 6.0) | {"fitted": False} for way in (products["CPU"], products["NPU"])]
    paper = Paper()
    products["judge"](paper, rows, products["speed_ups"](rows))
    assert [*paper.fitted.values()] == [False]
    assert paper.text.endswith("The model is fitted to 0 of them.")


def test_without_measured_products_there_is_the_roofline(products: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(products["main"].__globals__, "load_operator_rows", list)
    products["main"](tmp_path, True, ())
    record = read_record(tmp_path) or {}
    assert [table["file"] for table in record["tables"]] == ["subgraphs.csv"]
    assert record["claims"] == []
    assert record["conclusions"][0] == "No published latencies of products are at hand to compare them with."


def test_the_nearest_to_its_roof_is_told(products: dict[str, Any]) -> None:
    def point(engine: str, stage: str, processor: str, percent: float) -> dict[str, Any]:
        named = {"engine": engine, "stage": stage, "processor": processor, "data_type": "int8"}
        return named | {"attained_percent": percent, "intensity_ops_per_byte": 10 * percent}

    points = [point("llm-npu", "qkv", "npu", 11.0), point("llm-npu", "ffn_up", "npu", 17.0), point("llm-npu", "decode", "cpu", 43.0)]
    told = products["nearest"]([*points, point("mlc-gpu", "qkv", "npu", 90.0)])
    assert "ffn_up comes nearest to its roof: it attains 17 % of what its 170 operations a byte allow." in told
    assert told.endswith("A decode step on the CPU attains 43 % at 430.0.")


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
    published = {
        row["phase"]: float(row["latency_ms"]) for row in load_table("llm_npu_fig2_npu_graph_ms") if row["model"] == "qwen1.5-1.8b"
    }
    run = socsim.run("snapdragon-8-gen-3", "qwen1.5-1.8b", "npu-chunk", prompt_tokens=256, overrides=graphs["PER_TENSOR"])
    on_npu = [subgraph.processor == "npu" for subgraph in run.timeline.graph.subgraphs]
    simulated = {
        "build": 1e3 * graphs["life_cycle"]().build_s_per_subgraph * 24 * 3,  # 24 blocks of QKV, output projection, FFN
        "optimize": 1e3 * run.case.preparation.optimize_s,
        "execute": 1e3 * float(run.case.costs.parts_s[on_npu].sum()),
    }
    assert [what.partition(" an NPU graph (qwen1.5-1.8b")[0] for what in paper.claims] == [*simulated]
    for phase, (said, modeled) in zip(simulated, paper.claims.values(), strict=True):
        assert said == published[phase]
        assert modeled == pytest.approx(simulated[phase], rel=1e-3)
    assert [*paper.fitted.values()] == [True, True, False]
    assert {source[-5:] for source in paper.sources.values()} == {"Fig 2"}
    whole_ms = sum(simulated.values()) + published["setup"] + published["free"]  # these two are taken over
    assert paper.text.startswith(f"Optimizing is {100 * simulated['optimize'] / whole_ms:.0f} % of a graph's life. Of 3 published times")
    assert [row["fitted"] for row in graphs["phases"]("phi-2")] == [None] * 5


def test_prompts_are_counted_by_model_and_length(graphs: dict[str, Any]) -> None:
    def cost(length: int, built: int, padded: float, own: int | None) -> dict[str, Any]:
        pays = {"break_even_prompts_built": built, "break_even_prompts_loaded": 0, "own_graph_pays_from_prompts": own}
        return {"model": "m", "prompt_tokens": length, "padded_percent": padded} | pays

    costs = [cost(100, 3, 22.0, 60), cost(300, 4, 41.0, 49), cost(1024, 3, 0.0, None)]
    assert "graphs of llm-npu for at most 3 to 4 prompts, and than loading them for at most 0." in graphs["rebuilding"](costs)
    told = graphs["own_graphs"](costs)
    assert "pays in 2 of 3 cases, in which 22 to 41 % of rows would be padding, and from 49 prompts of that length on (m, 300" in told
    assert graphs["own_graphs"](costs[2:]).endswith("pays in 0 of 1 cases.")


def test_without_published_phases_there_are_simulated_ones(graphs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(graphs["main"].__globals__, "load_table", lambda _: [])
    graphs["main"](tmp_path, True, ())
    record = read_record(tmp_path) or {}
    assert record["claims"] == []
    assert "No published times to build, optimize and execute are at hand" in record["conclusions"][0]
    assert "hollow" not in record["figures"][0]["caption"]
