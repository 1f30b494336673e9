"""The script on pruning: rows against single runs and the held-out figure, and what is said of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from paper import Paper
from scripts import load_script, publish
from short import run_short

import socsim
from socsim.measurements import load_table

PUBLISHED = {0.0: 156.0, 43.1: 364.0, 81.3: 544.0, 93.1: 578.0, 100.0: 596.0}
"""Speeds of Fig 16 by percentage of pruned linears."""


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return load_script("outlier_pruning")


@pytest.fixture(scope="module")
def rows(script: dict[str, Any]) -> list[dict[str, Any]]:
    known = script["published_accuracies"]()
    found: list[dict[str, Any]] = script["speeds"]([0.0, 0.5, 0.85, *list(known)[1:]], known)
    return found


def test_rows_are_runs_beside_published_speed_and_accuracy(rows: list[dict[str, Any]]) -> None:
    assert [row["pruned_percent"] for row in rows] == pytest.approx([0.0, 50.0, 85.0, 43.1, 81.3, 93.1, 100.0])
    assert [row["published_prefill_tokens_per_s"] for row in rows] == [156.0, None, 564.0, 364.0, 544.0, 578.0, 596.0]
    assert [row["published_hellaswag_percent"] for row in rows] == [44.7, None, None, 43.2, 42.2, 42.0, 29.3]
    overrides = {"engine.outlier_pruning_rate": 0.431}
    record = socsim.run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=256, overrides=overrides).record
    assert rows[3]["prefill_tokens_per_s"] == record["prefill_tokens_per_s"]
    assert rows[3]["error_percent"] == pytest.approx(100.0 * (record["prefill_tokens_per_s"] / 364.0 - 1.0))


def pruned(percent: float) -> dict[str, Any]:
    """Return the record of a run with some of the linears pruned."""
    settings = {"engine.outlier_pruning_rate": percent / 100.0}
    found: dict[str, Any] = socsim.run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=256, overrides=settings).record
    return found


def test_claims_are_speed_ups_over_nothing_pruned(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    paper = Paper()
    script["judge"](paper, rows)
    speeds = {percent: pruned(percent)["prefill_tokens_per_s"] for percent in PUBLISHED}
    assert len(paper.claims) == 4  # without 85 %, which is another figure's
    for percent in (43.1, 81.3, 93.1, 100.0):
        what = f"speed with {percent:.3g} % pruned over none pruned (qwen1.5-1.8b, 256 tokens)"
        assert paper.claims[what] == pytest.approx((PUBLISHED[percent] / 156.0, speeds[percent] / speeds[0.0]))
        assert not paper.fitted[what]
        assert paper.sources[what].endswith("Fig 16")
    errors = [100.0 * (speeds[percent] / known - 1.0) for percent, known in PUBLISHED.items()]
    assert f"{speeds[100.0] / speeds[0.0]:.1f} times as fast in the simulation" in paper.text
    said = f"fitted the simulation is off by {sum(map(abs, errors)) / 5:.0f} % on average and by {errors[0]:+.0f} % at worst (0 % pruned)"
    assert said in paper.text


def test_shares_of_outliers_are_told_beside_published_ones(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    paper, none, every = Paper(), pruned(0.0), pruned(100.0)
    script["judge"](paper, rows)
    time = 100.0 * (1.0 - every["ttft_s"] / none["ttft_s"])
    energy = 100.0 * (none["prefill_energy_j"] - every["prefill_energy_j"]) / none["prefill_energy_j"]
    assert f"Outliers take {time:.0f} % of the simulated time and {energy:.0f} % of the simulated energy" in paper.text
    assert f"published speeds make it {100 * (1 - 156 / 596):.0f} % of the time" in paper.text
    assert "synchronization alone is published as 29.7 % of the time and 20.1 % of the energy" in paper.text
    assert not any("share" in what for what in paper.claims)


def test_claims_say_whether_they_are_fitted(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    paper = Paper()
    script["judge"](paper, [row | {"fitted": True, "source": "a book"} if row["source"] else row for row in rows])
    assert set(paper.fitted.values()) == {True}
    assert set(paper.sources.values()) == {"a book"}
    assert len(paper.claims) == 5


def test_without_anything_published(script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, tmp_path)
    own = {"load_table": lambda name: load_table(name) if name.startswith("smollm2") else []}
    record = run_short(script, tmp_path / "out", monkeypatch, **own)
    assert record["claims"] == []
    assert "No published speeds" in record["conclusions"][0]
    assert record["conclusions"][1].endswith("of the simulated energy with nothing pruned.")
    assert [figure["caption"] for figure in record["figures"] if "Accuracy as published" in figure["caption"]] == []


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
