"""What-ifs: overrides, bottlenecks, energies and what is said of them, against runs made one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import socsim
from socsim.bounding import NOTHING, RESOURCES, bound_of, ttft_without
from socsim.errors import SocsimError
from socsim.experiments import Publication
from socsim.experiments.energy import energies
from socsim.experiments.publication import read_record, read_table
from socsim.experiments.scaling import anomalies, moves, publish_scaling, scaled, scaling_rows
from socsim.measurements import load_system_rows

SOC = "snapdragon-8-gen-3"
BASE: dict[str, Any] = {"soc": SOC, "model": "smollm2-135m", "engine": "llm-npu", "prompt_tokens": 300, "output_tokens": 2}


def row(factor: float, ttft_s: float, bottleneck: str = "NPU", model: str = "a") -> dict[str, Any]:
    return {"model": model, "prompt_tokens": 256, "factor": factor, "ttft_s": ttft_s, "bottleneck": bottleneck}


def test_scaled_multiplies_figures_and_leaves_the_usual_phone_alone() -> None:
    soc = socsim.load_soc(SOC)
    paths = ["dram.peak_bytes_per_s", "processors.npu.speed"]
    assert scaled(soc, paths, 0.5) == {"soc.dram.peak_bytes_per_s": 34e9, "soc.processors.npu.speed": 0.5}
    assert scaled(soc, paths, 1.0) == {}
    for path in ("processors.npu.sped", "dram", "description.x"):
        with pytest.raises(SocsimError, match=f"{SOC}: '{path}' is no figure"):
            scaled(soc, [path], 2.0)


def test_rows_are_those_of_runs_made_one_by_one() -> None:
    points = {1.0: {}, 4.0: {"soc.processors.npu.speed": 4.0}}
    rows = scaling_rows(BASE, points)
    for found, overrides in zip(rows, points.values(), strict=True):
        result = socsim.run(**BASE, overrides=overrides)
        without = ttft_without(result, "out-of-order")
        best = min(without, key=lambda name: without[name])
        assert found["ttft_s"] == result.record["ttft_s"]
        assert found["decode_tokens_per_s"] == result.record["decode_tokens_per_s"]
        assert found["bottleneck"] == RESOURCES[best].name
        assert found["gain_if_free"] == result.record["ttft_s"] / without[best]
        assert found["without_synchronization_ttft_s"] == without["synchronization"]
    assert rows[1]["speed_up"] == pytest.approx(rows[0]["ttft_s"] / rows[1]["ttft_s"])
    assert rows[1]["speed_up"] > 1.0


def test_a_run_that_no_resource_makes_faster_is_bound_by_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_help(result: socsim.Result, _: str) -> dict[str, float]:
        return dict.fromkeys(RESOURCES, result.record["ttft_s"] / 1.004)

    monkeypatch.setattr("socsim.bounding.ttft_without", no_help)
    assert scaling_rows(BASE, {1.0: {}})[0]["bottleneck"] == NOTHING


def test_an_explanation_calls_a_gain_what_a_sweep_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.bounding.LEAST_GAIN", 1e6)
    result = socsim.run(**BASE)
    assert bound_of(result).bottleneck == NOTHING
    assert socsim.explain(result).conclusion.startswith("Bound by no single resource: ")


@pytest.mark.parametrize("calibration", ["battery-rail", "whole-device"])
def test_energies_are_those_of_runs_with_each_calibration(calibration: str) -> None:
    found = energies(socsim.run(**BASE))
    record = socsim.run(**BASE, overrides={"run.power_calibration": calibration}).record
    prefix = calibration.replace("-", "_")
    assert found[f"{prefix}_prefill_energy_j"] == record["prefill_energy_j"]
    assert found[f"{prefix}_decode_j_per_token"] == pytest.approx(record["e2e_energy_j"] - record["prefill_energy_j"])
    assert energies(socsim.run(**{**BASE, "output_tokens": 1}))[f"{prefix}_decode_j_per_token"] is None


def test_moves_tell_where_the_bottleneck_changes_and_put_like_runs_together() -> None:
    rows = [row(factor, 1.0, bound, model) for model in "abc" for factor, bound in ((4.0, "CPU work"), (1.0, "NPU"), (2.0, "CPU work"))]
    rows += [row(factor, 1.0, "NPU", "d") for factor in (1.0, 2.0)]
    assert moves(rows) == "What bounds the prefill, by rising factor: NPU, then CPU work from x2 on (3 runs); NPU (d at 256 tokens)."


def test_anomalies_are_steps_that_should_help_and_do_not() -> None:
    rows = [row(1.0, 1.0), row(2.0, 0.9), row(4.0, 0.99), row(8.0, 0.9905)]
    assert "1 of 3 makes it slower instead, by up to 10.0 % (a at 256 tokens, from x2 to x4)" in anomalies(rows, faster=True)
    assert "1 of 3 makes it slower instead, by up to 11.1 % (a at 256 tokens, from x2 to x1)" in anomalies(rows, faster=False)
    assert "2 of 6 make it slower instead" in anomalies([*rows, *(each | {"model": "b"} for each in rows)], faster=True)
    assert anomalies(rows[:2], faster=True).endswith("should help a prefill, 0 of 1 make it slower.")


def test_what_bounds_a_run_is_what_makes_it_fastest_if_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(result: socsim.Result, _: str) -> dict[str, float]:
        return {
            name: result.record["ttft_s"] / gain for name, gain in (("npu_compute", 1.2), ("weight_streaming", 1.5), ("contention", 1.4))
        }

    monkeypatch.setattr("socsim.bounding.ttft_without", without)
    bound = bound_of(socsim.run(**BASE))
    assert bound.bottleneck == "DRAM"
    assert bound.gain_if_free == pytest.approx(1.5)


def test_results_and_bottlenecks_are_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = [each for each in load_system_rows() if each.metric == "prefill_tokens_per_s" and not each.overrides]
    elsewhere = [each._replace(value=1.0, source="Fig 19") for each in speeds]
    monkeypatch.setattr("socsim.experiments.published.load_system_rows", lambda: elsewhere + speeds)
    rows = scaling_rows({**BASE, "model": "qwen1.5-1.8b", "prompt_tokens": 256}, {1.0: {}, 2.0: {"soc.processors.npu.speed": 2.0}})
    with Publication(tmp_path, __file__, quick=True, formats=("svg",)) as paper:
        known = publish_scaling(paper, "npu", rows, "rates of the NPU", {"ttft_s": "TTFT (s)"})
    assert [each["published_prefill_tokens_per_s"] for each in known] == [564.0, None]
    assert [each["fitted"] for each in known] == [True, None]
    assert known[0]["source"].endswith("Fig 14")
    record = read_record(tmp_path)
    assert record is not None
    assert [table["file"] for table in record["tables"]] == ["npu.csv", "bottlenecks.csv"]
    assert record["figures"][0]["files"] == ["npu.svg"]
    columns, _ = read_table(tmp_path / "bottlenecks.csv")
    assert columns[:5] == ["model", "prompt_tokens", "factor", "bottleneck", "gain_if_free"]
    assert "without_npu_compute_ttft_s" in columns
    assert "without_npu_compute_ttft_s" not in read_table(tmp_path / "npu.csv")[0]
