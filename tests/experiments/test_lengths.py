"""Scripts on chunk length and on long prompts: padding, sums, bounds, and what cannot run."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from paper import Paper

import socsim
from socsim.errors import SocsimError
from socsim.measurements import load_operator_rows, parse_products

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
    graphs = [chunks["block_graph"](row) for row in load_operator_rows() if row.where.startswith(chunks["TABLE"])]
    paper = Paper()
    best = [{"model": "m", "prompt_tokens": 300, "best_chunk_tokens": 128, "longer_percent": 7.0}]
    chunks["judge"](paper, chunks["with_sums"](graphs), best)
    both = "of QKV and FFN"
    assert paper.claims[f"chunk length with the least latency per token {both} (gemma-2b)"][0] == 256
    assert paper.claims[f"chunk length with the least latency per token {both} (qwen1.5-1.8b)"][0] == 1024
    said = paper.claims[f"latency per token {both} at 64 over 256 tokens (qwen1.5-1.8b)"][0]
    assert said == pytest.approx((1.7 + 3.02) / 64 / ((3.0 + 5.34) / 256))
    assert "in 0 of 1 cases, and at most 7 % later" in paper.text


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


def test_the_bottleneck_is_the_heaviest_work_of_what_helps_most(prompts: dict[str, Any]) -> None:
    row = prompts["prefill"]("llm-npu", 256)
    assert row["bottleneck"] == "NPU linears"
    assert row["speed_up_if_free"] > 1.0
    result = socsim.run("snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=256)
    parts = result.case.costs.parts_s.sum(axis=0)
    assert [row[column] for column in ("linear_s", "attention_s", "float_s")] == pytest.approx(parts[1:4].tolist())
    in_order = prompts["prefill"]("llm-npu in order", 256)
    assert "bottleneck" not in in_order
    assert in_order["overrides"] == {"engine.scheduler": "in-order"}


def test_from_a_length_on_means_at_all_longer_ones(prompts: dict[str, Any]) -> None:
    first = prompts["first_length"]
    rows = {length: {"length": length} for length in (1, 2, 4, 8)}
    assert first(rows, lambda row: row["length"] in (1, 4, 8)) == 4
    assert first(rows, lambda row: True) == 1
    assert first(rows, lambda row: row["length"] < 8) is None


def test_growth_is_claimed_where_both_speeds_are_published(prompts: dict[str, Any]) -> None:
    def row(system: str, length: int, speed: float, published: float | None) -> dict[str, Any]:
        named = {"system": system, "prompt_tokens": length, "prefill_tokens_per_s": speed, "published_prefill_tokens_per_s": published}
        costs = {"energy_j_per_token": 1.0, "peak_memory_gb": 2.0, "npu_bubble_percent": 3.0, "bottleneck": f"NPU {length}"}
        return named | costs | {"attention_s": float(length), "linear_s": 512.0}

    speeds = {"llm-npu": (400.0, 800.0), "llm-npu in order": (200.0, 1000.0), "tflite-gpu": (300.0, 900.0), "llama.cpp-cpu": (40.0, 30.0)}
    rows = [
        row(system, length, speed, speed / 2 if system == "llm-npu" or length == 256 else None)
        for system, both in speeds.items()
        for length, speed in zip((256, 1024), both, strict=True)
    ]
    paper = Paper()
    prompts["judge"](paper, rows)
    assert paper.claims == {"prefill speed of llm-npu at 1,024 over 256 tokens (gemma-2b)": (2.0, 2.0)}
    assert "With 256 tokens it is bound by NPU 256, from 1,024 on by NPU 1024." in paper.text
    assert "from 1,024 (llama.cpp-cpu), 1,024 (tflite-gpu), 1,024 (llm-npu) tokens on" in paper.text
    assert "changes the speed of in-order by -20 to +100 %. tflite-gpu is faster than llm-npu from 1,024 tokens on" in paper.text
