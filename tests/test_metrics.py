"""Metrics of a small timeline, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from random_graphs import Row, hand_costs

from socsim.catalog import load_engine, load_soc
from socsim.errors import SocsimError
from socsim.metrics import PowerModel, busy_s, power_model, power_steps, summarize
from socsim.simulator import simulate
from socsim.specs import Run
from socsim.timeline import Timeline

MS = 1_000_000
ALL = {"cpu": 1.0, "gpu": 1.0, "npu": 1.0}
POWER = PowerModel("test", 2.0, {"cpu": 0.1, "gpu": 0.2, "npu": 0.2}, {"cpu": 2.0, "gpu": 3.0, "npu": 5.0}, ALL, 1e-9)
"""2 W all the time, 1.5 of them for neither processor; 1 W more at 1e9 bytes/s."""


def timeline() -> Timeline:
    """NPU 0-10 ms (streaming 0-5) and 30-40, CPU 10-30; then decode steps on the CPU, 40-50 and 50-60."""
    rows: list[Row] = [
        ("npu", 10 * MS, 5 * MS, []),
        ("cpu", 20 * MS, 0, [0]),
        ("npu", 10 * MS, 0, [1]),
        ("cpu", 10 * MS, 0, [2]),
        ("cpu", 10 * MS, 0, [3]),
    ]
    costs = hand_costs(rows, prefill_count=3)
    return simulate(costs.graph, costs, "fifo")


def approximately(values: dict[str, Any]) -> dict[str, Any]:
    return {name: pytest.approx(value) if isinstance(value, float) else value for name, value in values.items()}


def test_metrics_by_hand() -> None:
    assert summarize(timeline(), POWER, Run(prompt_tokens=100, output_tokens=3)) == approximately(
        {
            "ttft_s": 0.04,
            "makespan_s": 0.04,
            "prefill_tokens_per_s": 100 / 0.04,
            "tpot_s": 0.01,
            "decode_tokens_per_s": 100.0,
            "e2e_s": 0.06,
            "prefill_energy_j": 2.0 * 0.04 + 5.0 * 0.02 + 2.0 * 0.02 + 0.005,
            "e2e_energy_j": 2.0 * 0.06 + 5.0 * 0.02 + 2.0 * 0.04 + 0.005,
            "mean_power_w": 0.305 / 0.06,
            "peak_power_w": 2.0 + 5.0 + 1.0,
            "dram_bytes": 5e6,
            "cpu_utilization": 0.5,
            "cpu_bubble_rate": 0.0,
            "cpu_energy_j": 0.1 * 0.06 + 2.0 * 0.04,
            "gpu_utilization": 0.0,
            "gpu_bubble_rate": 0.0,
            "gpu_energy_j": 0.2 * 0.06,
            "npu_utilization": 0.5,
            "npu_bubble_rate": 0.5,
            "npu_energy_j": 0.2 * 0.06 + 5.0 * 0.02,
            "dram_energy_j": 0.005,
            "base_energy_j": 1.5 * 0.06,
        }
    )


def test_power_from_each_instant_on() -> None:
    when, watts = power_steps(timeline(), POWER)
    assert list(zip((when / MS).tolist(), watts.tolist(), strict=True)) == [
        (0.0, 8.0), (5.0, 7.0), (10.0, 4.0), (30.0, 7.0), (40.0, 4.0), (50.0, 4.0), (60.0, 2.0),
    ]  # fmt: skip


def test_busy_time_of_a_part() -> None:
    assert list(busy_s(timeline(), slice(0, 3))) == pytest.approx([0.02, 0.02])
    assert list(busy_s(timeline(), slice(None))) == pytest.approx([0.04, 0.02])


def test_preparation_that_the_prompt_waits_for() -> None:
    metrics = summarize(timeline(), POWER, Run(prompt_tokens=100, output_tokens=3, cached_tokens=20), preparation_s=0.04)
    expected = {
        "ttft_s": 0.08,
        "makespan_s": 0.04,
        "prefill_tokens_per_s": 80 / 0.08,
        "tpot_s": 0.01,
        "e2e_s": 0.1,
        "cpu_energy_j": 0.1 * 0.1 + 2.0 * (0.04 + 0.04),
        "e2e_energy_j": 2.0 * 0.1 + 5.0 * 0.02 + 2.0 * 0.08 + 0.005,
    }
    assert {name: metrics[name] for name in expected} == approximately(expected)


def test_no_decode_has_no_time_per_output_token() -> None:
    costs = hand_costs([("cpu", 10 * MS, 0, [])])
    metrics = summarize(simulate(costs.graph, costs, "fifo"), POWER, Run(prompt_tokens=10))
    assert (metrics["tpot_s"], metrics["decode_tokens_per_s"], metrics["e2e_s"]) == (None, None, 0.01)


def test_bubble_rate_counts_idle_time_between_first_and_last_subgraph_only() -> None:
    # The CPU works 10-20 and 50-60: 30 of its 50 ms are a bubble. Before 10 and behind 60 it has none.
    rows: list[Row] = [
        ("npu", 10 * MS, 0, []),
        ("cpu", 10 * MS, 0, [0]),
        ("npu", 40 * MS, 0, []),
        ("cpu", 10 * MS, 0, [2]),
        ("npu", 30 * MS, 0, [3]),
    ]
    costs = hand_costs(rows)
    metrics = summarize(simulate(costs.graph, costs, "fifo"), POWER, Run(prompt_tokens=10))
    assert metrics["cpu_bubble_rate"] == pytest.approx(0.6)
    assert metrics["npu_bubble_rate"] == pytest.approx(1 - 80 / 90)
    assert metrics["cpu_utilization"] == pytest.approx(20 / 90)


def test_power_model_of_a_soc() -> None:
    soc = load_soc("snapdragon-8-gen-3").override(
        {"power.whole-device.processors.cpu.idle_w": 0.1, "power.whole-device.processors.gpu.idle_w": 5.0}, "soc"
    )
    engine = load_engine("llm-npu")
    cpu = soc.power["whole-device"].processors["cpu"].active_w
    for threads, active in ((1, cpu[0]), (3, cpu[2]), (4, cpu[3]), (6, cpu[5])):
        power = power_model(soc, engine.override({"cpu_threads": threads}, "engine"), Run(prompt_tokens=1))
        assert power.extra_w["cpu"] == pytest.approx(active - 0.1)
    with pytest.raises(SocsimError, match=r"active_w of snapdragon-8-gen-3 has no value for 7 threads .*; allowed: 1 to 6"):
        power_model(soc, engine.override({"cpu_threads": 7}, "engine"), Run(prompt_tokens=1))
    assert power.idle_w == {"cpu": 0.1, "gpu": 5.0, "npu": 0.0}
    assert power.extra_w["gpu"] == 0.0  # a processor never draws less for working
    assert power.constant_w == pytest.approx(soc.power["whole-device"].base_w + 5.1)
    assert (power.calibration, power.dram_j_per_byte) == ("whole-device", 40e-12)


def test_power_follows_operating_point_and_calibration() -> None:
    soc, engine = load_soc("snapdragon-8-gen-3"), load_engine("llm-npu")
    burst = power_model(soc, engine, Run(prompt_tokens=1))
    sustained = power_model(soc, engine, Run(prompt_tokens=1, operating_point="sustained"))
    scale = soc.operating_points["sustained"].active_power_scale
    assert sustained.extra_w == {name: pytest.approx(burst.extra_w[name] * scale[name]) for name in ("cpu", "gpu", "npu")}
    rail = power_model(soc, engine, Run(prompt_tokens=1, power_calibration="battery-rail"))
    own = soc.power["battery-rail"]
    assert (rail.calibration, rail.constant_w, rail.dram_j_per_byte) == ("battery-rail", own.base_w, own.dram_j_per_byte)
    assert rail.extra_w["npu"] == own.processors["npu"].active_w[0] != burst.extra_w["npu"]
    assert rail.memory_bound_share == {name: power.memory_bound_share for name, power in own.processors.items()}
    with pytest.raises(SocsimError, match=r"unknown power calibration of snapdragon-8-gen-3 'rail'.*; allowed: battery-rail, whole-device"):
        power_model(soc, engine, Run(prompt_tokens=1, power_calibration="rail"))


@pytest.mark.parametrize("spinning", [0, 1, 3, 9])
def test_cpu_that_spins_for_results_draws_that_all_the_time(spinning: int) -> None:
    engine = load_engine("llm-npu").override({"synchronization": "polling", "cpu_threads": 4}, "engine")
    soc = load_soc("snapdragon-8-gen-3").override({"synchronization.polling.waiting_threads": spinning}, "soc")
    watts = soc.power["whole-device"].processors["cpu"].active_w
    power = power_model(soc, engine, Run(prompt_tokens=1))
    idle = watts[min(spinning, len(watts)) - 1] if spinning else 0.0
    assert power.idle_w == {"cpu": idle, "gpu": 0.0, "npu": 0.0}
    # Working threads take the place of those that spin; more of these than of those leave nothing to add.
    assert power.extra_w["cpu"] == pytest.approx(max(0.0, watts[3] - idle))
    assert power.constant_w == pytest.approx(soc.power["whole-device"].base_w + idle)


def stalled_timeline(memory: str = "shared") -> Timeline:
    """CPU 0-20 ms, of which it multiplies 10 and waits for DRAM 10; NPU 20-30, of which it multiplies all; CPU 30-60, none."""
    costs = hand_costs([("cpu", 10 * MS, 20 * MS, []), ("npu", 10 * MS, 0, [0]), ("cpu", 30 * MS, 0, [1])], prefill_count=2)
    parts_s = costs.parts_s.copy()
    parts_s[2] = [0.01, 0.0, 0.0, 0.02, 0.0]
    costs = replace(costs, parts_s=parts_s)
    return simulate(costs.graph, costs, "fifo", memory=memory)


def test_a_share_of_active_power_without_multiplications_by_hand() -> None:
    power = replace(POWER, memory_bound_share={"cpu": 0.25, "gpu": 0.0, "npu": 0.0}, dram_j_per_byte=0.0)
    found = summarize(stalled_timeline(), power, Run(prompt_tokens=10, output_tokens=2))
    prefill, decode = 2.0 * (0.01 + 0.25 * 0.01), 2.0 * 0.25 * 0.03
    assert found["cpu_energy_j"] == pytest.approx(0.1 * 0.06 + prefill + decode)
    assert found["npu_energy_j"] == pytest.approx(0.2 * 0.06 + 5.0 * 0.01)
    assert found["prefill_energy_j"] == pytest.approx(2.0 * 0.03 + prefill + 5.0 * 0.01)
    assert found["e2e_energy_j"] == pytest.approx(2.0 * 0.06 + prefill + decode + 5.0 * 0.01)
    when, watts = power_steps(stalled_timeline(), power)
    assert list(zip((when / MS).tolist(), watts.tolist(), strict=True)) == [
        (0.0, pytest.approx(2 + 2 * 0.625)),
        (20.0, pytest.approx(2 + 5)),
        (30.0, pytest.approx(2 + 2 * 0.25)),
        (60.0, pytest.approx(2.0)),
    ]
    assert found["peak_power_w"] == pytest.approx(7.0)


def test_energy_lies_between_that_of_no_share_and_that_of_all() -> None:
    def energy(share: float) -> float:
        power = replace(POWER, memory_bound_share=dict.fromkeys(POWER.memory_bound_share, share))
        return float(summarize(stalled_timeline(), power, Run(prompt_tokens=10, output_tokens=2))["e2e_energy_j"] or 0.0)

    assert energy(0.0) < energy(0.5) < energy(1.0)
    assert energy(0.5) == pytest.approx((energy(0.0) + energy(1.0)) / 2)
