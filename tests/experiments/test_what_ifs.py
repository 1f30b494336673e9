"""Scripts of what-ifs: what they scale, and what they conclude."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import socsim

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXPERIMENTS / f"{name}.py"))


def test_doubling_pays_up_to_the_last_factor_that_brought_a_tenth() -> None:
    pays_up_to = script("npu_scaling")["pays_up_to"]
    speeds = {1.0: 100.0, 1.5: 130.0, 2.0: 150.0, 4.0: 166.0, 8.0: 180.0}
    assert pays_up_to([{"factor": factor, "prefill_tokens_per_s": speed} for factor, speed in speeds.items()]) == 4.0
    speeds = {1.0: 100.0, 2.0: 109.0, 4.0: 200.0}
    assert pays_up_to([{"factor": factor, "prefill_tokens_per_s": speed} for factor, speed in speeds.items()]) == 1.0


def test_synchronization_is_free_at_factor_0_but_for_the_caches() -> None:
    module = script("sync_cost")
    free, usual = module["simulate"](["qwen1.5-1.8b"], (0.0, 1.0), "rpc")[:2]
    assert free["overrides"] == {"soc.synchronization.rpc.latency_s": 0.0, "soc.synchronization.rpc.launch_work_s": 0.0}
    assert usual["overrides"] == {}
    assert usual["without_synchronization_ttft_s"] < free["ttft_s"] < usual["ttft_s"]  # cache maintenance is left
    assert free["speed_up"] == pytest.approx(usual["ttft_s"] / free["ttft_s"])


def test_all_bandwidths_are_scaled_together() -> None:
    module = script("bandwidth_scaling")
    rows = module["simulate"](["qwen1.5-1.8b"], (0.25, 1.0))
    dram, npu = socsim.load_soc(module["SOC"]).dram, socsim.load_soc(module["SOC"]).processors["npu"]
    slow = rows[0]["overrides"]
    assert slow["soc.dram.achievable_bytes_per_s"] == dram.achievable_bytes_per_s / 4
    assert slow["soc.processors.npu.bandwidth_bytes_per_s"] == npu.bandwidth_bytes_per_s / 4
    assert {f"soc.processors.{name}.bandwidth_bytes_per_s" for name in ("cpu", "gpu")} < set(slow)
    # Decode streams weights at what DRAM gives now, where kernels set the pace before.
    ratio = npu.bandwidth_bytes_per_s / 4 / (socsim.load_soc(module["SOC"]).processors["cpu"].row_bytes_per_s or 0.0)
    assert rows[0]["decode_tokens_per_s"] / rows[1]["decode_tokens_per_s"] == pytest.approx(ratio, rel=0.03)
    assert "DRAM bounds decode below x0.42 only" in module["conclusion"](rows)
