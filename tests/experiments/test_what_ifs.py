"""Scripts of what-ifs: what they scale, and what they conclude, against runs made one by one."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import socsim
from socsim.experiments.publication import read_record, read_table
from socsim.experiments.scaling import simulate

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SOC, MODEL = "snapdragon-8-gen-3", "qwen1.5-1.8b"


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXPERIMENTS / f"{name}.py"))


def record(prompt: int, overrides: dict[str, float], output_tokens: int = 1) -> dict[str, Any]:
    return socsim.run(SOC, MODEL, "llm-npu", prompt_tokens=prompt, output_tokens=output_tokens, overrides=overrides).record


def ttft_s(prompt: int, overrides: dict[str, float]) -> float:
    return float(record(prompt, overrides)["ttft_s"])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", ["sync_cost", "npu_scaling", "bandwidth_scaling"])
def test_published_speeds_stand_beside_what_was_not_changed(
    name: str, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not known:
        monkeypatch.setattr("socsim.experiments.published.load_system_rows", list)
    script(name)["main"](tmp_path, True, ())
    columns, rows = read_table(tmp_path / f"{name}.csv")
    factor, published, fitted = (columns.index(column) for column in ("factor", "published_prefill_tokens_per_s", "fitted"))
    expected = [("1", "564", "true"), ("1", "1106", "true")] if known else []
    assert [(row[factor], row[published], row[fitted]) for row in rows if row[published]] == expected
    record = read_record(tmp_path) or {}
    assert len(record["conclusions"]) == 3
    assert record["claims"] == []


def test_doubling_pays_up_to_the_last_factor_that_brought_a_tenth() -> None:
    pays_up_to = script("npu_scaling")["pays_up_to"]
    speeds = {1.0: 100.0, 1.5: 130.0, 2.0: 150.0, 4.0: 166.0, 8.0: 180.0}
    assert pays_up_to([{"factor": factor, "prefill_tokens_per_s": speed} for factor, speed in speeds.items()]) == 4.0
    speeds = {1.0: 100.0, 2.0: 109.0, 4.0: 200.0}
    assert pays_up_to([{"factor": factor, "prefill_tokens_per_s": speed} for factor, speed in speeds.items()]) == 1.0


def test_a_faster_npu_is_compared_with_the_usual_one() -> None:
    module, speed = script("npu_scaling"), "soc.processors.npu.speed"
    rows = simulate([MODEL], module["points"]((1.0, 8.0)))
    said = module["conclusion"](rows)
    for prompt in (256, 1024):
        assert f"at {prompt:,} tokens prefill is {ttft_s(prompt, {}) / ttft_s(prompt, {speed: 8.0}):.2f} times as fast" in said
    assert said.startswith("With an NPU 8 times as fast, at 256 tokens prefill is 1.")
    rates = {"soc.processors.npu.launch_overhead_s": 0.0, "soc.processors.npu.throughput.int8.overhead_s": 0.0, speed: 8.0}
    gains = sorted(ttft_s(prompt, {speed: 8.0}) / ttft_s(prompt, rates) for prompt in (256, 1024))
    assert f"At x8 prefill is {gains[0]:.2f} to {gains[1]:.2f} times as fast without" in module["fixed"](rows)
    assert gains[0] > 1.01


def test_synchronization_is_free_at_factor_0_but_for_the_caches() -> None:
    module = script("sync_cost")
    free, usual = simulate([MODEL], module["points"]("rpc", (0.0, 1.0)))[:2]
    assert free["overrides"] == {"soc.synchronization.rpc.latency_s": 0.0, "soc.synchronization.rpc.launch_work_s": 0.0}
    assert usual["overrides"] == {}
    assert usual["without_synchronization_ttft_s"] < free["ttft_s"] < usual["ttft_s"]  # cache maintenance is left
    assert free["speed_up"] == pytest.approx(usual["ttft_s"] / free["ttft_s"])


def test_free_hand_overs_are_faster_and_dear_ones_slower() -> None:
    module = script("sync_cost")
    said = module["conclusion"](simulate([MODEL], module["points"]("rpc", (0.0, 1.0, 16.0))), 100.0)
    assert said.startswith("A hand-over has a latency of 100 µs; at 256 tokens")
    for prompt in (256, 1024):
        free_s, usual_s, dear_s = (
            ttft_s(prompt, {"soc.synchronization.rpc.latency_s": 1e-4 * factor, "soc.synchronization.rpc.launch_work_s": 1.3e-5 * factor})
            for factor in (0, 1, 16)
        )
        expected = f"{usual_s / free_s:.2f} times as fast with x0, and takes {dear_s / usual_s:.2f} times as long with x16"
        assert f"at {prompt:,} tokens prefill is {expected}" in said
        assert free_s < usual_s < dear_s


def test_all_bandwidths_are_scaled_together() -> None:
    module = script("bandwidth_scaling")
    rows = simulate([MODEL], module["points"]((0.25, 1.0)), output_tokens=2)
    dram, npu = socsim.load_soc(SOC).dram, socsim.load_soc(SOC).processors["npu"]
    slow = rows[0]["overrides"]
    assert slow["soc.dram.achievable_bytes_per_s"] == dram.achievable_bytes_per_s / 4
    assert slow["soc.processors.npu.bandwidth_bytes_per_s"] == npu.bandwidth_bytes_per_s / 4
    assert {f"soc.processors.{name}.bandwidth_bytes_per_s" for name in ("cpu", "gpu")} < set(slow)
    # Decode streams weights at what DRAM gives now, where kernels set the pace before.
    cpu = socsim.load_soc(SOC).processors["cpu"]
    ratio = cpu.bandwidth_bytes_per_s / 4 / (cpu.row_bytes_per_s or 0.0)
    assert rows[0]["decode_tokens_per_s"] / rows[1]["decode_tokens_per_s"] == pytest.approx(ratio, rel=0.03)
    said = module["conclusion"](rows)
    kept = {}
    for metric in ("prefill_tokens_per_s", "decode_tokens_per_s"):
        shares = sorted(record(prompt, slow, 2)[metric] / record(prompt, {}, 2)[metric] for prompt in (256, 1024))
        kept[metric] = f"{shares[0]:.2f} to {shares[1]:.2f}"
        assert shares[1] < 1.0
    assert f"x0.25 prefill keeps {kept['prefill_tokens_per_s']} of its speed and decode {kept['decode_tokens_per_s']};" in said
    assert "x1 makes prefill 1.00 and decode 1.00 times as fast" in said
    below = (npu.rates("int8").weight_bytes_per_s or 0.0) / npu.bandwidth_bytes_per_s, 0.25 / ratio
    assert f"DRAM gives less than that below x{below[0]:.2f} and x{below[1]:.2f}." in said
