"""The script on accuracy: units, what was published, and how schemes rank."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from paper import Paper

SCRIPT = Path(__file__).parents[2] / "experiments" / "accuracy.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def row(label: str, kl: float, change: float, scales: str = "channel") -> dict[str, Any]:
    return {"label": label, "kl": kl, "perplexity_change_percent": change, "weight_scales": scales}


def test_shares_are_in_percent(script: dict[str, Any]) -> None:
    record = dict.fromkeys(("perplexity", "kl_se", "kept_linears", "outlier_channels", "fetched_channels"), 1.0) | row("mine", 0.1, 2.0)
    record |= {"top1_agreement": 0.9, "top1_agreement_se": 0.01, "shadow_mac_share": 0.03}
    record |= {"last_word_accuracy": None, "last_word_accuracy_se": None}
    shown = script["measures"](record)
    assert (shown["top1_agreement_percent"], shown["shadow_mac_share_percent"]) == pytest.approx((90.0, 3.0))
    assert shown["last_word_accuracy_percent"] is None
    assert shown["kl_nats_per_token"] == 0.1


def test_published_loss_is_that_of_the_mean_over_benchmarks(script: dict[str, Any]) -> None:
    rows = script["published_losses"]()
    assert len(rows) == 5 * 5
    found = next(row for row in rows if (row["model"], row["scheme"]) == ("qwen1.5-1.8b", "SmoothQuant"))
    assert found["mean_percent"] == pytest.approx((65.6 + 40.9 + 51.0 + 23.0 + 27.9) / 5)
    assert found["loss_points"] == pytest.approx((71.1 + 43.8 + 58.3 + 28.8 + 29.7) / 5 - found["mean_percent"])
    assert {row["loss_points"] for row in rows if row["scheme"] == "FP16"} == {0.0}


def test_ranks_are_by_divergence_here_and_by_mean_loss_there(script: dict[str, Any]) -> None:
    paper = Paper()
    rows = [
        row("smoothquant", 0.7, 93.0),
        row("per-group", 0.003, 0.3, "group of 32"),
        row("per-group", 0.9, 1.0, "tensor"),
        row("f", 0, 0),
    ]
    published = [{"scheme": "K-Quant", "model": "a", "loss_points": 6.0}, {"scheme": "SmoothQuant", "model": "a", "loss_points": 2.0}]
    published += [{"scheme": "K-Quant", "model": "b", "loss_points": 5.0}, {"scheme": "llm.npu", "model": "b", "loss_points": 0.1}]
    script["judge"](paper, rows, published, "mine")
    assert "per-group +0.3 %, smoothquant +93.0 %." in paper.text
    assert "the like of K-Quant, SmoothQuant (the same order)" in paper.text
    assert "mean over 2 models" in paper.text
    assert "SmoothQuant +2.0, K-Quant +5.5." in paper.text
    assert paper.claims == {}  # of other models
