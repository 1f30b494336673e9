"""What the script on prefill speeds claims, against runs and figures of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripts import claims, publish, run_quick

import socsim

FIGURE_14 = "Xu et al. 2025 (arXiv 2407.05858v2), Fig 14"
RUN = "snapdragon-8-gen-3,qwen1.5-1.8b,{},256,1,,prefill_tokens_per_s,{},tokens/s,{},validation"


def simulated(engine: str, prompt: int, model: str = "qwen1.5-1.8b") -> float:
    speed: float = socsim.run("snapdragon-8-gen-3", model, engine, prompt_tokens=prompt).record["prefill_tokens_per_s"]
    return speed


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-3)  # claims have four digits


def test_claims_of_figure_14(tmp_path: Path) -> None:
    record = run_quick("prefill_speed", tmp_path)
    found = claims(record)
    fastest = found.pop("fastest prefill of llm-npu (qwen1.5-1.8b, 1,024 tokens, snapdragon-8-gen-3)")
    assert fastest == (1106.0, near(simulated("llm-npu", 1024)), FIGURE_14, True)
    over_mnn = found.pop("prefill of llm-npu over mnn-cpu, geometric mean of 3 runs")
    ratios = [simulated("llm-npu", prompt) / simulated("mnn-cpu", prompt) for prompt in (64, 256, 1024)]
    said = (333 / 197 * 564 / 202 * 1106 / 151) ** (1 / 3)
    assert over_mnn == (near(said), near((ratios[0] * ratios[1] * ratios[2]) ** (1 / 3)), FIGURE_14, True)
    assert [what.split()[4].rstrip(",") for what in found] == ["llama.cpp-cpu", "tflite-gpu", "mlc-gpu"]
    assert "Of 24 published speeds the simulation is off by" in record["conclusions"][0]


def test_a_ratio_of_two_figures_is_no_claim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    speeds = (("llm-npu", 500, "Fig 19"), ("llm-npu", 600, "Fig 14"), ("llama.cpp-cpu", 60, "Fig 14"), ("mnn-cpu", 200, "Fig 19"))
    publish(monkeypatch, tmp_path, *(RUN.format(*each) for each in speeds))
    record = run_quick("prefill_speed", tmp_path / "out")
    ours = simulated("llm-npu", 256)
    assert claims(record) == {
        "fastest prefill of llm-npu (qwen1.5-1.8b, 256 tokens, snapdragon-8-gen-3)": (600.0, near(ours), "Fig 14", False),
        "prefill of llm-npu over llama.cpp-cpu, geometric mean of 1 run": (
            10.0,
            near(ours / simulated("llama.cpp-cpu", 256)),
            "Fig 14",
            False,
        ),
    }
    assert "Of 3 published speeds" in record["conclusions"][0]


def test_without_published_speeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, tmp_path)
    record = run_quick("prefill_speed", tmp_path / "out")
    assert record["claims"] == []
    ratios = [
        (simulated("llm-npu", prompt) * simulated("llm-npu", prompt, "gemma-2b"))
        / (simulated(engine, prompt) * simulated(engine, prompt, "gemma-2b"))
        for prompt in (64, 256, 1024)
        for engine in ("llama.cpp-cpu", "mnn-cpu", "tflite-gpu", "mlc-gpu", "powerinfer2-npu")
    ]
    assert record["conclusions"] == [
        f"llm-npu prefills {min(ratios) ** 0.5:.1f} to {max(ratios) ** 0.5:.1f} times as fast as the other engines, by phone, engine and "
        "prompt length. No published speeds are at hand to compare them with."
    ]
