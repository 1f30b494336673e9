"""What the script on memory says of footprints and shared graphs."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import socsim


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "experiments" / "memory.py"))


def variants(script: dict[str, Any], model: str) -> dict[str, dict[str, Any]]:
    return {
        name: script["footprint"]("snapdragon-8-gen-3", model, "llm-npu", 1024, name, each) for name, each in script["VARIANTS"].items()
    }


def test_parts_make_the_peak_of_a_run(script: dict[str, Any]) -> None:
    row = script["footprint"]("snapdragon-8-gen-2", "gemma-2b", "llm-npu", 512)
    record = socsim.run("snapdragon-8-gen-2", "gemma-2b", "llm-npu", prompt_tokens=512).record
    assert row["peak_memory_gb"] == record["peak_memory_bytes"] / 1e9
    assert sum(row[part] for part in script["PARTS"]) == pytest.approx(row["peak_memory_gb"])
    assert row["note"] == ""


def test_what_a_phone_has_no_room_for_is_noted(script: dict[str, Any]) -> None:
    row = variants(script, "llama-2-7b")["per chunk, hot"]
    assert row["peak_memory_gb"] > 24.0
    assert row["note"] == "more than the 24 GB of the phone"


def test_shared_graphs_of_a_model_of_24_blocks(script: dict[str, Any]) -> None:
    own = variants(script, "qwen1.5-1.8b")
    row = script["shared_graphs"]("qwen1.5-1.8b", list(own.values()))
    assert (row["chunks"], row["subgraphs"], row["shared_subgraphs"]) == (4, 24 * 6, 24 * 5)
    assert (row["graphs_shared"], row["graphs_per_chunk"]) == (120 + 4 * 24, 4 * 144)
    assert row["fewer_graphs_percent"] == pytest.approx(62.5)
    assert row["saved_percent"] == pytest.approx(75.0)
    linears = 24 * (4 * 2048 * 2048 + 3 * 2048 * 5504)  # int8: one byte each, three copies saved; the rest are inputs and outputs
    tensors = 3 * own["shared, hot"]["graph_buffers_gb"]
    assert row["saved_gb"] == pytest.approx(3 * linears / 1e9 + tensors, rel=0.001)


def test_all_channels_take_the_float_weights_of_kept_linears(script: dict[str, Any]) -> None:
    own = variants(script, "qwen1.5-1.8b")
    hot, full = own["shared, hot"]["shadow_weights_gb"], own["shared, all"]["shadow_weights_gb"]
    assert hot / full == pytest.approx(0.03, rel=0.02)  # hot_channel_fraction, rounded up
    assert own["shared, all"]["weights_gb"] == own["shared, hot"]["weights_gb"]


def test_published_sharing_is_read_from_the_facts(script: dict[str, Any]) -> None:
    said = script["published_sharing"]()
    assert (said["total"], said["shared"], said["mem_saved_GB"]) == (144.0, 120.0, 7.2)


def test_figures_of_engines_that_are_not_described_stand_alone(script: dict[str, Any]) -> None:
    others = script["load_table"]("llm_npu_fig17_other_memory_gb")
    (row,) = [script["unsimulated"](each) for each in others if script["is_engine"](each)]
    assert (row["engine"], row["peak_memory_gb"], row["published_peak_memory_gb"]) == ("tflite-cpu", None, 3.072)
