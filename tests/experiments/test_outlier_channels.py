"""The script on outlier channels: counts and concentration on a profile made by hand, and what was published."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paper import Paper
from scripts import load_script

from socsim.catalog import load_engine, load_model
from socsim.measurements import load_table
from socsim.numerics.profile import BINS, TENSORS, TensorProfile
from socsim.outliers import kept_linears

CHANNELS, CHUNKS = 100, 4


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return load_script("outlier_channels")


def tensor(outliers: dict[int, int]) -> TensorProfile:
    """Return a buffer of ones, in which some channels reach 100 in their first chunks; nearly all values are below 2."""
    largest = np.ones((CHUNKS, CHANNELS), dtype=np.float32)
    for channel, chunks in outliers.items():
        largest[:chunks, channel] = 100.0
    histogram = np.zeros(len(BINS) - 1, dtype=np.int64)
    histogram[np.searchsorted(BINS, 1.0)] = 10**6
    return TensorProfile(largest, np.ones(CHANNELS, dtype=np.float32), histogram, {}, {})


@pytest.fixture(scope="module")
def profile() -> dict[tuple[int, str], TensorProfile]:
    """Two blocks: channel 7 is always an outlier in the first, five channels once in the second."""
    once = tensor(dict.fromkeys(range(5), 1))
    return {(block, name): tensor({7: CHUNKS}) if block == 0 else once for block in range(2) for name in TENSORS}


def test_counts_are_means_over_chunks(script: dict[str, Any], profile: Any) -> None:
    rows = [row for row in script["layer_counts"](profile) if row["linear"] == "down_proj"]
    found = {(row["rule"], row["layer"]): row["outlier_channels"] for row in rows}
    for rule in ("99.99th percentile", "10 x RMS", "budget of 20 channels"):
        assert [found[rule, layer] for layer in (0, 1)] == [1.0, 1.25]
    assert [row["relative_depth"] for row in rows[:2]] == [0.0, 1.0]


def test_concentration_is_that_of_all_layers_together(script: dict[str, Any], profile: Any) -> None:
    row = next(row for row in script["concentration"](profile) if row["rule"] == script["MAIN_RULE"])
    assert (row["channels"], row["hot_channels"]) == (CHANNELS, 3)
    assert row["outlier_channels"] == pytest.approx((1.0 + 1.25) / 2)
    assert row["hot_share_percent"] == pytest.approx(100.0 * (4 + 3) / (4 + 5))  # three of the five channels of the second
    assert row["hot_share_at_most_percent"] is None
    budget = next(row for row in script["concentration"](profile) if row["rule"] == "budget of 20 channels")
    assert budget["hot_share_at_most_percent"] == pytest.approx(15.0)


def test_hot_channels_are_chosen_on_the_other_half(script: dict[str, Any]) -> None:
    over = np.zeros((4, 10), dtype=np.bool_)
    over[:2, 7], over[2:, 8], over[:, 9] = True, True, True
    assert script["outliers_in_hot"](over, 1) == 0  # 7 and 8, the earlier of each half, never occur in the other
    assert script["outliers_in_hot"](over, 2) == 4  # 9, in both halves
    assert script["outliers_in_hot"](over, 10) == 8


def test_kept_linears_are_counted_by_model(script: dict[str, Any]) -> None:
    found = [{"layer": f"{layer}", "linear": linear, "importance": "1.5"} for layer in range(3) for linear in "qo"]
    ranks = script["importance"](found, "mine", "me", {(2, "o_proj"), (1, "o_proj"), (2, "q_proj"), (9, "q_proj")})
    assert [(row["layer"], row["linear"]) for row in ranks if row["kept"]] == [(1, "o_proj"), (2, "q_proj"), (2, "o_proj")]
    assert [row["relative_depth"] for row in ranks[::2]] == [0.0, 0.5, 1.0]
    assert script["kept_by_linear"](ranks) == [{"model": "mine", "q_proj": 1, "o_proj": 2}]
    assert script["importance"]([], "mine", "me", set()) == []


@pytest.mark.usefixtures("weights")
def test_as_many_linears_are_kept_as_in_the_measured_table(script: dict[str, Any], tmp_path: Path) -> None:
    script["main"](tmp_path, True, ())
    with (tmp_path / "kept_linears.csv").open(encoding="utf-8", newline="") as file:
        kept = {row.pop("model"): sum(map(int, row.values())) for row in csv.DictReader(file)}
    measured = next(row for row in load_table("smollm2_pruning_curve") if (row["scheme"], row["pruning_rate"]) == ("shadow", "0.85"))
    assert kept["smollm2-135m"] == int(measured["kept_linears"])
    assert kept["qwen1.5-1.8b"] == len(kept_linears(load_model("qwen1.5-1.8b"), load_engine("llm-npu")))


def test_published_values_come_from_traces(script: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert script["published_hot_share"]() == 80.0
    counts = script["published_counts"]()
    assert len(counts) == 4 * 24
    assert counts[0]["outlier_channels"] == 3.67
    assert counts[-1]["relative_depth"] == 1.0
    monkeypatch.setitem(script["published_hot_share"].__globals__, "load_table", lambda _: [])
    assert script["published_hot_share"]() is None


KEPT = [{"model": "a", "q_proj": 1, "o_proj": 1, "down_proj": 2}, {"model": "b", "q_proj": 2, "o_proj": 0, "down_proj": 0}]


def test_the_share_is_that_of_all_linears_together(script: dict[str, Any], profile: Any) -> None:
    paper, hot = Paper(), script["concentration"](profile)
    script["judge"](paper, script["layer_counts"](profile), hot, KEPT)
    assert not paper.claims  # the paper gives a bound, of other models
    assert "carry 78 % of the outliers of the other, 78 % by linear; the paper says over 80 % of its models." in paper.text  # 7 of 9
    assert "4 of a (2 down_proj, 1 q_proj, 1 o_proj) and 2 of b (2 q_proj)." in paper.text


def test_the_linear_that_reads_most_is_named(script: dict[str, Any], profile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [row | {"outlier_channels": 6.0 if row["linear"] == "o_proj" else 2.0} for row in script["layer_counts"](profile)]
    paper = Paper()
    script["judge"](paper, counts, script["concentration"](profile), KEPT)
    assert "in smollm2-135m o_proj (3.0 times as many" in paper.text
    published = load_table("llm_npu_fig10_outlier_channels")
    by_linear = [[float(row["mean_outlier_channels"]) for row in published if row["linear"] == name] for name in script["LINEARS"]]
    *others, down = (sum(each) / len(each) for each in by_linear)
    assert f"in qwen1.5-1.8b (Fig 10) down_proj ({3 * down / sum(others):.1f} times as many" in paper.text


def test_without_published_tables(script: dict[str, Any], profile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(script["judge"].__globals__, "load_table", lambda _: [])
    paper = Paper()
    assert script["published_counts"]() == script["published_importance"]() == []
    assert script["rank_figure"](profile).axes
    script["judge"](paper, script["layer_counts"](profile), script["concentration"](profile), KEPT[:1])
    assert "the paper says" not in paper.text
    assert "qwen1.5-1.8b" not in paper.text
