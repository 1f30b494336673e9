"""The script on outlier channels: counts and concentration on a profile made by hand, and what was published."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paper import Paper

from socsim.numerics.profile import BINS, TENSORS, TensorProfile

SCRIPT = Path(__file__).parents[2] / "experiments" / "outlier_channels.py"
CHANNELS, CHUNKS = 100, 4


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


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


def test_kept_linears_are_the_most_important_of_each_model(script: dict[str, Any]) -> None:
    found = [
        {"layer": f"{layer}", "linear": linear, "importance": f"{10 * layer + (linear == 'o')}"} for layer in range(10) for linear in "qo"
    ]
    ranks = script["importance"](found, "mine", "me")
    assert [(row["layer"], row["linear"]) for row in ranks if row["kept"]] == [(8, "o_proj"), (9, "q_proj"), (9, "o_proj")]
    assert script["kept_by_linear"](ranks) == [{"model": "mine", "q_proj": 1, "o_proj": 2}]


def test_published_values_come_from_traces(script: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert script["published_hot_share"]() == 80.0
    counts = script["published_counts"]()
    assert len(counts) == 4 * 24
    assert counts[0]["outlier_channels"] == 3.67
    assert counts[-1]["relative_depth"] == 1.0
    monkeypatch.setitem(script["published_hot_share"].__globals__, "load_table", lambda _: [])
    assert script["published_hot_share"]() is None


def test_claim_is_the_share_of_all_linears_together(script: dict[str, Any], profile: Any) -> None:
    paper, hot = Paper(), script["concentration"](profile)
    kept = [{"model": "a", "o_proj": 1, "down_proj": 2, "q_proj": 1}, {"model": "b", "o_proj": 0, "down_proj": 0, "q_proj": 2}]
    script["judge"](paper, script["layer_counts"](profile), hot, kept)
    ((what, (published, simulated)),) = paper.claims.items()
    assert "smollm2-135m" in what  # another model than the paper's
    assert published == 80.0
    assert simulated == pytest.approx(100.0 * 7 / 9)
    assert "3 of 4 in a, but 0 of 2 in b" in paper.text
