"""The script on scales per group: costs against `socsim validate`, and what is set against them."""

from __future__ import annotations

from typing import Any

import pytest
from paper import Paper
from scripts import load_script

import socsim
from socsim.validation import per_group_slowdowns


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return load_script("per_group_quantization")


@pytest.fixture(scope="module")
def rows(script: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for model in ("qwen1.5-1.8b", "llama-2-7b", "gemma-2b") for row in script["costs"](model)]


def test_ratios_are_those_of_the_validation(rows: list[dict[str, Any]]) -> None:
    found = {row["model"]: row for row in rows if row["published_npu_over_per_tensor"] is not None}
    slowdowns = per_group_slowdowns()
    assert set(found) == set(slowdowns.model)
    for _, model, measured, predicted, error in slowdowns.itertuples(index=False):
        row = found[model]
        assert (row["published_npu_over_per_tensor"], row["npu_over_per_tensor"]) == pytest.approx((measured, predicted))
        assert row["error_percent"] == pytest.approx(error)


def test_smaller_groups_cost_more_and_shadow_work_costs_less_than_any(rows: list[dict[str, Any]]) -> None:
    own = {row["scheme"]: row for row in rows if row["model"] == "gemma-2b"}
    order = ["per tensor", "shadow, 85 % pruned", "shadow, 0 % pruned", "groups of 128", "groups of 64", "groups of 32"]
    for column in ("npu_s", "ttft_s"):
        assert [own[name][column] for name in order] == sorted(row[column] for row in own.values())
    record = socsim.run("snapdragon-8-gen-3", "gemma-2b", "npu-chunk", prompt_tokens=256).record
    assert own["groups of 64"]["ttft_s"] == record["ttft_s"]  # the shipped engine
    assert own["per tensor"]["npu_over_per_tensor"] == own["per tensor"]["ttft_over_per_tensor"] == 1.0


def test_figure_has_published_values_on_the_npu_only(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    npu, ttft = script["cost_figure"](rows).axes
    markers = [[line.get_ydata()[0] for line in ax.lines if line.get_marker() == "D"] for ax in (npu, ttft)]
    assert markers == [[10.72, 8.06], []]


def accuracies(script: dict[str, Any]) -> list[dict[str, Any]]:
    """Return measured rows: perplexity falls by 10 % and time grows by 1 s from each variant to the next."""
    return [
        {"scheme": variant.name, "weight_scales": scales, "perplexity_change_percent": 100.0 - 10.0 * place, "ttft_s": 1.0 + place}
        for place, variant in enumerate(script["VARIANTS"])
        for scales in ("channel", "tensor")
    ]


def test_claims_are_those_of_the_validation(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    paper, slowdowns = Paper(), per_group_slowdowns()
    script["judge"](paper, rows, accuracies(script))
    found = {
        f"NPU time per group over per tensor ({each.model}, {each.soc}; groups of 64 assumed)": each for each in slowdowns.itertuples()
    }
    assert set(paper.claims) == set(found)
    for what, each in found.items():
        assert paper.claims[what] == pytest.approx((each.measured, each.predicted))
    assert set(paper.fitted.values()) == {False}  # nothing is fitted to this figure
    assert all(source.endswith("Fig 4") for source in paper.sources.values())
    mean = slowdowns.error_percent.abs().mean()
    assert f"Of 2 published slow-downs the simulation is off by {mean:.0f} % on average" in paper.text
    ratios = [row["npu_s"] / own[0]["npu_s"] for own in (rows[:6], rows[6:12], rows[12:]) for row in own[3:]]
    assert f"the NPU takes {min(ratios):.1f} to {max(ratios):.1f} times as long" in paper.text


def test_what_groups_and_shadow_outliers_buy(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    paper = Paper()
    script["judge"](paper, rows, accuracies(script))
    assert "+100.0 % with scales per tensor; +50.0 % with groups of 32, for 6.0 times the time to the first token" in paper.text
    assert "+80.0 % with shadow, 0 % pruned, for 3.0 times the time to the first token" in paper.text
    assert "+90.0 % with shadow, 85 % pruned, for 2.0 times the time to the first token" in paper.text


def test_without_published_slowdowns(script: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(script["costs"].__globals__, "load_table", lambda _: [])
    paper, rows = Paper(), script["costs"]("gemma-2b") + script["costs"]("qwen1.5-1.8b")
    script["judge"](paper, rows, accuracies(script))
    assert paper.claims == {}
    assert "No published slow-downs" in paper.text
    assert script["cost_figure"](rows).axes
