"""The script on pruning: rows against single runs and the held-out figure, and what is said of both."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from paper import Paper

import socsim

SCRIPT = Path(__file__).parents[2] / "experiments" / "outlier_pruning.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def rows(script: dict[str, Any]) -> list[dict[str, Any]]:
    known = script["published_accuracies"]()
    found: list[dict[str, Any]] = script["speeds"]([0.0, 0.5, *list(known)[1:]], known)
    return found


def test_rows_are_runs_beside_published_speed_and_accuracy(rows: list[dict[str, Any]]) -> None:
    assert [row["pruned_percent"] for row in rows] == pytest.approx([0.0, 50.0, 43.1, 81.3, 93.1, 100.0])
    assert [row["published_prefill_tokens_per_s"] for row in rows] == [156.0, None, 364.0, 544.0, 578.0, 596.0]
    assert [row["published_hellaswag_percent"] for row in rows] == [44.7, None, 43.2, 42.2, 42.0, 29.3]
    overrides = {"engine.outlier_pruning_rate": 0.431}
    record = socsim.run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=256, overrides=overrides).record
    assert rows[2]["prefill_tokens_per_s"] == record["prefill_tokens_per_s"]
    assert rows[2]["error_percent"] == pytest.approx(100.0 * (record["prefill_tokens_per_s"] / 364.0 - 1.0))


def test_claims_are_speed_ups_over_nothing_pruned_and_shares(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    paper = Paper()
    script["judge"](paper, rows)
    speeds = {row["pruned_percent"]: row["prefill_tokens_per_s"] for row in rows}
    energies = {row["pruned_percent"]: row["prefill_energy_j"] for row in rows}
    assert paper.claims["speed with 81.3 % pruned over none pruned (qwen1.5-1.8b, 256 tokens)"] == pytest.approx(
        (544 / 156, speeds[81.3] / speeds[0.0])
    )
    time, energy = (value for what, value in paper.claims.items() if "share of prefill" in what)
    assert time == pytest.approx((29.7, 100.0 * (1.0 / speeds[0.0] - 1.0 / speeds[100.0]) * speeds[0.0]))
    assert energy == pytest.approx((20.1, 100.0 * (energies[0.0] - energies[100.0]) / energies[0.0]))
    assert len(paper.claims) == 6
    assert f"{speeds[100.0] / speeds[0.0]:.1f} times as fast in the simulation, but 3.8 times as published" in paper.text


def test_real_model_is_simulated_with_its_outliers(script: dict[str, Any]) -> None:
    measured = script["real_rows"]()
    assert {row["outlier_budget"] for row in measured} == {20.0}
    row = next(row for row in measured if (row["scheme"], row["weight_scales"], row["pruning_rate"]) == ("shadow", "tensor", 0.85))
    overrides = {
        "engine.outlier_pruning_rate": 0.85, "engine.outlier_channels": round(row["outlier_channels"]),
        "engine.cold_outlier_fraction": row["fetched_channels"] / row["outlier_channels"],
    }  # fmt: skip
    record = socsim.run("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", prompt_tokens=256, overrides=overrides).record
    assert script["real_speed"](row, 256) == record["prefill_tokens_per_s"]
    (shown,) = script["real_table"]([row], {"smollm2-135m, 256 tokens": [1.5]})
    assert shown["256_tokens_prefill_tokens_per_s"] == 1.5
    assert shown["pruned_percent"] == 85.0


def test_losses_are_over_the_linears_of_each_model(script: dict[str, Any]) -> None:
    losses = [(row["series"], round(row["pruned_percent"], 2), row["loss_percent"]) for row in script["published_losses"]()]
    assert ("llama-2-7b, HellaSwag", round(100 * 214 / 225, 2), 2.6) in losses
    assert ("qwen1.5-1.8b, WinoGrande", 100.0, 8.9) in losses
    (own,) = script["real_losses"]([{"scheme": "shadow", "weight_scales": "tensor", "pruning_rate": 0.85, "top1_agreement": 0.75}])
    assert own["loss_percent"] == pytest.approx(25.0)
