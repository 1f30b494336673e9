"""The script on scales per group: costs against `socsim validate`, and what is set against them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from paper import Paper

import socsim
from socsim.validation import per_group_slowdowns

SCRIPT = Path(__file__).parents[2] / "experiments" / "per_group_quantization.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


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


def test_what_groups_and_shadow_outliers_buy(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    paper, names = Paper(), [variant.name for variant in script["VARIANTS"]]
    known = [
        {"scheme": name, "weight_scales": scales, "perplexity_change_percent": 100.0 - 10.0 * place, "ttft_s": 1.0 + place}
        for place, name in enumerate(names)
        for scales in ("channel", "tensor")
    ]
    script["judge"](paper, rows, known)
    published = {what: value for what, (value, _) in paper.claims.items()}
    assert published == {
        f"NPU time per group over per tensor ({each.model}, {each.soc})": each.measured for each in per_group_slowdowns().itertuples()
    }
    assert "+100 % with scales per tensor, by +50.0 % for 6.0x the time to the first token with groups of 32" in paper.text
    assert "+80.0 % for 3.0x the time to the first token with shadow outliers of all linears" in paper.text
    assert "+90.0 % for 2.0x the time to the first token with those of 15 % of them" in paper.text
