"""What the script on memory says of footprints and shared graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripts import claims, load_script, publish, run_quick, table

import socsim
from socsim.experiments.publication import read_record


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return load_script("memory")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the short version, with what is shipped."""
    folder = tmp_path_factory.mktemp("memory")
    run_quick("memory", folder)
    return folder


def variants(script: dict[str, Any], model: str) -> dict[str, dict[str, Any]]:
    return {
        name: script["footprint"]("snapdragon-8-gen-3", model, "llm-npu", 1024, name, each) for name, each in script["VARIANTS"].items()
    }


def peak(engine: str) -> float:
    memory: float = socsim.run("snapdragon-8-gen-2", "gemma-2b", engine, prompt_tokens=512).record["peak_memory_bytes"]
    return memory / 1e9


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


def test_claims_of_figure_17_and_of_shared_graphs(out: Path) -> None:
    found = claims(read_record(out) or {})
    place = "Xu et al. 2025 (arXiv 2407.05858v2), Fig 17"
    for engine, published in (("llama.cpp-cpu", 2.832), ("tflite-gpu", 3.136), ("llm-npu", 3.664)):
        expected = (published, pytest.approx(peak(engine), rel=1e-3), place, False)
        assert found.pop(f"peak memory of {engine} (gemma-2b, 512 tokens)") == expected
    floats = socsim.make_case("snapdragon-8-gen-2", "gemma-2b", "llm-npu", prompt_tokens=512).footprint.shadow_weights_bytes / 1e9
    what = "float weights of outlier channels (gemma-2b, 512 tokens)"
    assert found.pop(what) == (0.096, pytest.approx(floats, rel=1e-3), place, False)
    (row,) = [row for row in table(out / "sharing.csv") if row["model"] == "qwen1.5-1.8b"]
    ((what, saving),) = found.items()
    assert what == "graph memory that sharing saves (qwen1.5-1.8b, 1,024 tokens)"
    assert saving == (7.2, pytest.approx(float(row["saved_gb"]), rel=1e-3), "llm.npu (ASPLOS'25) https://arxiv.org/abs/2407.05858", False)


def test_what_is_said_of_shared_graphs_and_totals(out: Path) -> None:
    totals, sharing, channels = (read_record(out) or {})["conclusions"]
    assert "Of 3 published totals the simulation is off by" in totals
    assert "chunks share 120 of 144 subgraphs of qwen1.5-1.8b (published: 120 of 144): 4 chunks need 62.5 % fewer graphs" in sharing
    copies = 3 * 24 * (4 * 2048 * 2048 + 3 * 2048 * 5504) / 1e9
    assert f"7.2 GB is {7.2 / copies:.1f} times the int8 weights of all further copies ({copies:.1f} GB)" in sharing
    assert channels.endswith("where 96 MB were published.")


def test_totals_that_were_not_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, tmp_path)
    record = run_quick("memory", tmp_path / "out")
    assert [what.partition(" (")[0] for what in claims(record)] == ["float weights of outlier channels", "graph memory that sharing saves"]
    assert record["conclusions"][0].endswith("No published totals are at hand to compare them with.")


def test_another_total_is_taken_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = "snapdragon-8-gen-2,gemma-2b,{},512,1,,peak_memory_gb,{},GB,{},calibration"
    publish(monkeypatch, tmp_path, row.format("mnn-cpu", 5, "a book"), row.format("mnn-cpu", 3, "the paper's Fig 17"))
    published, simulated, source, fitted = claims(run_quick("memory", tmp_path / "out"))["peak memory of mnn-cpu (gemma-2b, 512 tokens)"]
    assert (published, source, fitted) == (3.0, "the paper's Fig 17", False)
    assert simulated == pytest.approx(peak("mnn-cpu"), rel=1e-3)


def test_figures_of_engines_that_are_not_described_stand_alone(out: Path) -> None:
    (row,) = [row for row in table(out / "memory.csv") if not row["peak_memory_gb"]]
    assert (row["engine"], row["published_peak_memory_gb"]) == ("tflite-cpu", "3.072")
