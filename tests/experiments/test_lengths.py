"""Scripts on chunk length and on long prompts: padding, sums, bounds, and what cannot run."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from paper import Paper

import socsim
from socsim.errors import SocsimError
from socsim.experiments.publication import read_record
from socsim.measurements import load_operator_rows, load_system_rows, parse_products
from socsim.prediction import predict_latency

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def chunks() -> dict[str, Any]:
    return runpy.run_path(str(EXPERIMENTS / "chunk_length.py"))


@pytest.fixture(scope="module")
def prompts() -> dict[str, Any]:
    return runpy.run_path(str(EXPERIMENTS / "long_prompts.py"))


def test_graphs_are_told_by_their_widths(chunks: dict[str, Any]) -> None:
    row = next(row for row in load_operator_rows() if row.products[0] == (64, 2048, 16384, True) and len(row.products) == 3)
    found = chunks["block_graph"](row)
    assert (found["model"], found["graph"], found["chunk_tokens"]) == ("gemma-2b", "FFN", 64)
    assert found["published_latency_ms_per_token"] == pytest.approx(4.43 / 64)
    with pytest.raises(SocsimError, match=r"operators_llm_npu_fig8.csv:\d+: these products are no QKV or FFN of"):
        chunks["block_graph"](row._replace(products=parse_products("64x2048x16+64x2048x16")))


def test_claims_of_figure_8_are_what_its_rows_say(chunks: dict[str, Any]) -> None:
    measured = [row for row in load_operator_rows() if row.where.startswith(chunks["TABLE"])]
    paper, graphs = Paper(), [chunks["block_graph"](row) for row in measured]
    best = [{"model": "m", "prompt_tokens": 300, "best_chunk_tokens": 128, "longer_percent": 7.0}]
    chunks["judge"](paper, chunks["with_sums"](graphs), best)
    both = "of QKV and FFN"
    assert paper.claims[f"chunk length with the least latency per token {both} (gemma-2b)"] == (256, 256)
    assert paper.claims[f"chunk length with the least latency per token {both} (qwen1.5-1.8b)"] == (1024, 1024)
    predicted_s = [predict_latency(row, socsim.load_soc("snapdragon-8-gen-3")) for row in measured]
    # Qwen's QKV stands in the first four rows, its FFN in the next four, each with 16, 64, 256 and 1,024 tokens.
    per_token = {rows: (predicted_s[place] + predicted_s[place + 4]) / rows for rows, place in ((64, 1), (256, 2))}
    said, simulated = paper.claims[f"latency per token {both} at 64 over 256 tokens (qwen1.5-1.8b)"]
    assert said == pytest.approx((1.7 + 3.02) / 64 / ((3.0 + 5.34) / 256))
    assert simulated == pytest.approx(per_token[64] / per_token[256])
    assert len(paper.claims) == 6
    assert {*paper.fitted.values()} == {True}
    assert {*paper.sources.values()} == {measured[0].source}
    assert "with chunks of 1,024 tokens for qwen1.5-1.8b (published: 1,024) and 256 tokens for gemma-2b (published: 256)." in paper.text
    errors = [abs(100 * (s / row.latency_s - 1)) for s, row in zip(predicted_s, measured, strict=True)]
    assert f"Of 16 published latencies of such graphs the simulation is off by {sum(errors) / 16:.0f} % on average" in paper.text
    assert "in 0 of 1 cases, and at most 7 % later" in paper.text


def test_graphs_are_compared_within_a_source_and_summed_if_whole(chunks: dict[str, Any]) -> None:
    def graph(name: str, length: int, modeled: float, measured: float, **other: Any) -> dict[str, Any]:
        row = chunks["compared"]({"soc": "s", "model": "m", "graph": name, "chunk_tokens": length}, modeled, measured)
        return {**row, "source": "one", "fitted": False, **other}

    rows = [graph("QKV", 64, 1.0, 2.0), graph("FFN", 64, 5.0, 6.0), graph("QKV", 256, 1.0, 1.0), graph("FFN", 256, 1.0, 3.0)]
    sums = chunks["with_sums"]([*rows, graph("QKV", 1024, 1.0, 1.0)])[5:]
    assert [(row["chunk_tokens"], row["latency_ms_per_token"], row["published_latency_ms_per_token"]) for row in sums] == [
        (64, 6.0, 8.0),
        (256, 2.0, 4.0),
    ]
    paper, longer = Paper(), graph("QKV and FFN", 1024, 4.0, 3.0)
    assert chunks["claim_lengths"](paper, "m", [*sums, longer]) == "256 tokens for m (published: 1,024)"
    assert [*paper.claims.values()] == [(1024, 256), (2.0, 3.0), (0.75, 2.0)]
    assert {*paper.fitted.values()} == {False}
    paper = Paper()
    chunks["claim_lengths"](paper, "m", [sums[0] | {"source": "two", "fitted": True}, sums[1]])
    assert list(paper.fitted.values()) == [True]  # no ratio of both


def test_without_measured_graphs_prompts_are_left(chunks: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = chunks["main"].__globals__
    monkeypatch.setitem(main, "load_operator_rows", list)
    monkeypatch.setitem(main, "LENGTHS", (256, 1024))
    chunks["main"](tmp_path, True, ())
    record = read_record(tmp_path) or {}
    assert [table["file"] for table in record["tables"]] == ["chunk_length.csv", "best_length.csv"]
    assert record["claims"] == []
    assert record["conclusions"][0].startswith("No published latencies of such graphs")


def test_all_chunks_have_one_length(chunks: dict[str, Any]) -> None:
    row = chunks["prefill"]("qwen1.5-1.8b", 100, 1024)
    assert (row["chunks"], row["padded_percent"]) == (1, pytest.approx(100 * (1 - 100 / 1024)))
    row = chunks["prefill"]("qwen1.5-1.8b", 300, 256)
    assert (row["chunks"], row["padded_percent"]) == (2, pytest.approx(100 * (1 - 300 / 512)))
    assert row["ttft_s"] == socsim.run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=300).metrics["ttft_s"]


def test_the_longest_of_equal_lengths_is_best(chunks: dict[str, Any]) -> None:
    times = {64: 3.0, 128: 1.0, 256: 1.5, 512: 1.0}
    rows = [{"model": "m", "prompt_tokens": 9, "chunk_tokens": length, "padded_percent": 0.0, "ttft_s": s} for length, s in times.items()]
    best = chunks["best_length"](rows, "m", 9)
    assert (best["best_chunk_tokens"], best["longer_percent"]) == (512, pytest.approx(50.0))


def test_a_run_beyond_the_context_is_another_run(prompts: dict[str, Any]) -> None:
    within, beyond = (prompts["prefill"]("tflite-gpu", length) for length in (1024, 16384))
    assert (within["overrides"], within["note"]) == ({}, None)
    assert (beyond["overrides"], beyond["note"]) == ({"model.max_position_embeddings": 16384}, "beyond the model's context")
    assert within["prefill_tokens_per_s"] == pytest.approx(1024 / within["ttft_s"])
    assert within["energy_j_per_token"] == pytest.approx(within["prefill_energy_j"] / 1024)
    assert within["npu_bubble_percent"] is None


def test_what_does_not_fit_is_a_row_with_a_note(prompts: dict[str, Any]) -> None:
    row = prompts["prefill"]("llama.cpp-cpu", 2**21)
    assert row["prefill_tokens_per_s"] is None
    assert "allowed: 24 GB" in row["note"]


def test_the_bottleneck_is_what_what_ifs_call_it_with_the_heaviest_work(prompts: dict[str, Any]) -> None:
    row = prompts["prefill"]("llm-npu", 256)
    assert (row["bottleneck"], row["heaviest_work"]) == ("NPU", "linears")
    result = socsim.run("snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=256)
    free_s = socsim.explain(result).without["npu_compute"]
    assert row["gain_if_free"] == pytest.approx(result.record["ttft_s"] / free_s)
    parts = result.case.costs.parts_s.sum(axis=0)
    assert [row[column] for column in ("linear_s", "attention_s", "float_s")] == pytest.approx(parts[1:4].tolist())
    in_order = prompts["prefill"]("llm-npu in order", 256)
    assert "bottleneck" not in in_order
    assert in_order["overrides"] == {"engine.scheduler": "in-order"}


def test_a_bottleneck_that_is_no_processor_has_no_heaviest_work(prompts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.bounding.ttft_without", lambda result, _: {"weight_streaming": result.record["ttft_s"] / 2})
    row = prompts["prefill"]("llm-npu", 256)
    assert (row["bottleneck"], row["heaviest_work"], row["gain_if_free"]) == ("DRAM", None, 2.0)


def test_places_are_told_as_they_are(prompts: dict[str, Any]) -> None:
    where = prompts["where"]
    rows = {length: {"length": length} for length in (1, 2, 4, 2048)}
    assert where(rows, lambda row: row["length"] > 2) == "from 4 tokens on"
    assert where(rows, lambda row: True) == "from 1 tokens on"
    assert where(rows, lambda row: row["length"] in (1, 2048)) == "with 1 and 2,048 tokens"
    assert where(rows, lambda row: row["length"] == 2) == "with 2 tokens"
    assert where(rows, lambda row: False) == "at no length"


def made_up() -> list[dict[str, Any]]:
    """Return two lengths of each system; where llm-npu was published in two places, so was no other."""
    speeds = {"llm-npu": (400.0, 800.0), "llm-npu in order": (200.0, 1000.0), "tflite-gpu": (300.0, 900.0), "llama.cpp-cpu": (40.0, 30.0)}
    rows = []
    for system, both in speeds.items():
        for length, speed in zip((256, 1024), both, strict=True):
            published = {"llm-npu": speed / 2 + 50.0, "tflite-gpu": speed}.get(system)
            source = published and f"place of {length if system == 'tflite-gpu' else system}"
            row = {"system": system, "prompt_tokens": length, "prefill_tokens_per_s": speed, "energy_j_per_token": length / 1e5}
            row |= {"published_prefill_tokens_per_s": published, "source": source, "fitted": published and length == 256}
            row |= {"error_percent": 100.0 * (speed / published - 1.0) if published else None}
            bounds = {"bottleneck": "NPU" if length == 256 else "DRAM", "heaviest_work": "linears" if length == 256 else None}
            rows.append(row | bounds | {"peak_memory_gb": 2.0, "npu_bubble_percent": 3.0, "attention_s": float(length), "linear_s": 512.0})
    return rows


def test_growth_is_claimed_where_both_speeds_are_published_in_one_place(prompts: dict[str, Any]) -> None:
    paper = Paper()
    prompts["judge"](paper, made_up())
    what = "prefill speed of llm-npu at 1,024 over 256 tokens (gemma-2b)"
    assert paper.claims == {what: (450.0 / 250.0, 2.0)}
    assert (paper.fitted[what], paper.sources[what]) == (True, "place of llm-npu")
    assert "fastest with 1,024 tokens, at 800 tokens/s and 10.2 mJ a token. With 1,024, the longest prompt" in paper.text
    assert "by rising length from 256 tokens on: NPU (linears), then DRAM from 1,024 on." in paper.text
    assert "all linears from 1,024 tokens on (llama.cpp-cpu, tflite-gpu, llm-npu)." in paper.text
    assert "changes the speed of in-order by -20 to +100 %. tflite-gpu is faster than llm-npu from 1,024 tokens on." in paper.text
    assert "Of 4 published speeds the simulation is off by 34 % on average and by +78 % at worst (llm-npu, 1,024 tokens)." in paper.text
    assert paper.text.endswith("All beyond 1,024 tokens is extrapolated.")


def test_speeds_of_figure_14_count(prompts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = [row for row in load_system_rows() if row.metric == "prefill_tokens_per_s" and row.engine == "llm-npu"]
    elsewhere = [row._replace(value=1.0, source="Fig 19") for row in shipped]
    monkeypatch.setattr("socsim.experiments.published.load_system_rows", lambda: elsewhere + shipped)
    prompts["main"](tmp_path, True, ())
    (claim,) = (read_record(tmp_path) or {})["claims"]
    speed = {
        length: socsim.run("snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=length).record["prefill_tokens_per_s"]
        for length in (256, 1024)
    }
    assert claim["what"] == "prefill speed of llm-npu at 1,024 over 256 tokens (gemma-2b)"
    assert claim["published"] == pytest.approx(769 / 420, rel=1e-3)
    assert claim["simulated"] == pytest.approx(speed[1024] / speed[256], rel=1e-3)
    assert claim["fitted"]
    assert claim["source"].endswith("Fig 14")


def test_without_published_speeds_nothing_is_claimed(prompts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.experiments.published.load_system_rows", list)
    prompts["main"](tmp_path, True, ())
    record = read_record(tmp_path) or {}
    assert record["claims"] == []
    assert record["conclusions"][-1] == "No published speeds are at hand to compare them with."
    assert not any("hollow" in figure["caption"] for figure in record["figures"])
