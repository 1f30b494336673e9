"""The script on accuracy: units, what was published, and how schemes rank."""

from __future__ import annotations

from typing import Any

import pytest
from paper import Paper
from scripts import load_script


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return load_script("accuracy")


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


OWN = [
    row("smoothquant", 0.7, 93.0),
    row("per-group", 0.003, 0.3, "group of 32"),
    row("per-group", 0.9, 1.0, "tensor"),
    row("shadow, 85 % pruned", 0.2, 16.0),
    row("float32", 0, 0),
]


def test_ranks_are_by_divergence_here_and_by_mean_loss_there(script: dict[str, Any]) -> None:
    paper = Paper()
    losses = (("K-Quant", "a", 6.0), ("K-Quant", "b", 5.0), ("SmoothQuant", "a", 2.0), ("llm.npu", "b", 0.1), ("LLM.int8()", "a", 9.0))
    script["judge"](paper, OWN, [dict(zip(("scheme", "model", "loss_points"), each, strict=True)) for each in losses], "mine")
    assert "per-group +0.3 %, shadow, 85 % pruned +16.0 %, smoothquant +93.0 %." in paper.text
    assert "the like of K-Quant, llm.npu, SmoothQuant, from" in paper.text  # LLM.int8() was not measured here
    assert "they lose +5.5, +0.1, +2.0 points of accuracy, mean over 2 models" in paper.text
    assert "1 of 3 pairs have the same order" in paper.text  # llm.npu before SmoothQuant
    assert paper.claims == {}  # of other models


def test_without_published_accuracies(script: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(script["judge"].__globals__, "load_table", lambda _: [])
    paper = Paper()
    assert script["published_losses"]() == []
    script["judge"](paper, OWN, [], "mine")
    assert "smoothquant +93.0 %" in paper.text
    assert "the like of" not in paper.text
