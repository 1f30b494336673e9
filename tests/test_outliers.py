"""Which linears keep their outliers."""

from __future__ import annotations

import csv

import pytest

from socsim.catalog import list_models, load_engine, load_model, trace_path
from socsim.outliers import DEPTH_BINS, kept_linears, outlier_importance
from socsim.specs import LINEARS


def measured() -> dict[tuple[int, str], float]:
    lines = trace_path("llm_npu_fig12_outlier_importance.csv").read_text().splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {(int(row["layer"]), row["linear"] + "_proj"): float(row["importance"]) for row in rows if row["layer"]}


def test_measured_model_has_its_own_ranking() -> None:
    importance = outlier_importance(load_model("qwen1.5-1.8b"))
    assert importance == measured()
    assert len(importance) == 24 * 7


def test_other_depths_and_models_take_averages_by_relative_depth() -> None:
    values = measured()
    importance = outlier_importance(load_model("qwen1.5-1.8b").override({"num_hidden_layers": DEPTH_BINS}, "model"))
    for block in range(DEPTH_BINS):
        three = [values[3 * block + i, "down_proj"] for i in range(3)]
        assert importance[block, "down_proj"] == pytest.approx(sum(three) / 3)


@pytest.mark.parametrize("model", list_models())
def test_every_linear_of_every_model_has_an_importance(model: str) -> None:
    llm = load_model(model)
    linears = [name for name in LINEARS if name in llm.linear_shapes]
    assert set(outlier_importance(llm)) == {(block, name) for block in range(llm.num_hidden_layers) for name in linears}


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 168), (0.85, 25), (0.5, 84), (1.0, 0)])
def test_pruning_keeps_the_most_important(rate: float, kept: int) -> None:
    llm = load_model("qwen1.5-1.8b")
    chosen = kept_linears(llm, load_engine("llm-npu").override({"outlier_pruning_rate": rate}, "engine"))
    importance = outlier_importance(llm)
    assert len(chosen) == kept
    rest = [importance[key] for key in importance if key not in chosen]
    assert min((importance[key] for key in chosen), default=1e9) >= max(rest, default=0.0)


def test_ties_go_to_the_earlier_block_then_linear() -> None:
    # One depth bin for two blocks of 16: they tie in every linear; down_proj of the first bin is the most important.
    llm = load_model("smollm2-135m").override({"num_hidden_layers": 16}, "model")
    importance = outlier_importance(llm)
    ranked = sorted(importance, key=lambda key: (-importance[key], key[0], LINEARS.index(key[1])))
    for count in (1, 2, 3, 10):
        engine = load_engine("llm-npu").override({"outlier_pruning_rate": 1 - count / 112}, "engine")
        assert kept_linears(llm, engine) == set(ranked[:count])
    assert importance[0, "down_proj"] == importance[1, "down_proj"]


def test_only_linears_on_the_npu_are_candidates() -> None:
    engine = load_engine("llm-npu").override({"outlier_pruning_rate": 0.0, "placement.operators": {"q_proj": "cpu"}}, "engine")
    kept = kept_linears(load_model("smollm2-135m"), engine)
    assert {name for _, name in kept} == set(LINEARS) - {"q_proj"}


def test_engine_without_shadow_outliers_keeps_none() -> None:
    assert (
        kept_linears(load_model("qwen1.5-1.8b"), load_engine("npu-chunk").override({"outlier_pruning_rate": 0.0}, "engine")) == frozenset()
    )
