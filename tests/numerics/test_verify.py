"""Verification: passes for right schedules, says what differs for wrong ones, and counts the float work."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from socsim.catalog import load_engine
from socsim.errors import SocsimError
from socsim.numerics.decoder import Decoder, Shadow
from socsim.numerics.profile import profile_text
from socsim.numerics.random_model import random_weights
from socsim.numerics.schemes import Float32, PerGroup, Static
from socsim.numerics.verify import FLOAT64_TOLERANCE, Verification, engine_scheme, outlier_means, real_case, shadow_s, verify
from socsim.schedulers import SCHEDULERS

WEIGHTS = random_weights()
TOKENS = np.random.default_rng(0).integers(0, 128, 100)
PROFILE = profile_text(Decoder(WEIGHTS), [TOKENS])
SOC = "snapdragon-8-gen-3"


@pytest.fixture(scope="module")
def found() -> Verification:
    overrides = {"engine.outlier_pruning_rate": 0.5, "engine.outlier_channels": 6, "run.memory": "private"}
    case = real_case(WEIGHTS, SOC, "llm-npu", len(TOKENS), chunk_tokens=30, overrides=overrides)
    return verify(WEIGHTS, PROFILE, TOKENS, case, list(SCHEDULERS), measured_outliers=True)


def test_every_shipped_scheduler_passes(found: Verification) -> None:
    assert found.passed
    assert [each.scheduler for each in found.schedulers] == list(SCHEDULERS)
    assert all(each.identical for each in found.schedulers)
    moved = {each.scheduler: each.moved for each in found.schedulers}
    assert moved["sequential"] == 0
    assert moved["out-of-order"] > 0
    assert 0.0 < found.float64_difference <= FLOAT64_TOLERANCE


def test_chunks_of_unequal_length_pass() -> None:
    case = real_case(WEIGHTS, SOC, "llm-npu", len(TOKENS), chunk_tokens=[15, 62, 32])
    unequal = verify(WEIGHTS, PROFILE, TOKENS, case, ["out-of-order"])
    assert [chunk.tokens for chunk in unequal.case.chunks] == [15, 62, 23]
    assert unequal.passed
    assert 0.0 < unequal.float64_difference <= FLOAT64_TOLERANCE


def test_what_differs_does_not_pass(found: Verification) -> None:
    wrong = dataclasses.replace(found.schedulers[-1], identical=False)
    for change in (
        {"schedulers": (*found.schedulers[:-1], wrong)},
        {"float64_difference": 2e-9},
        {"float32_difference": 2e-4},
        {"split_token_equal": False},
    ):
        assert not dataclasses.replace(found, **change).passed


def test_float_work_is_counted_for_each_kept_linear_and_chunk(found: Verification) -> None:
    assert len(found.outliers) == 10
    assert {len(shadows) for shadows in found.outliers.values()} == {4}
    channels, cold = outlier_means(found.outliers)
    assert channels > 0.0
    assert 0.0 <= cold <= 1.0


def test_means_by_hand() -> None:
    def shadow(channels: int, fetched: int) -> Shadow:
        return Shadow(None, np.arange(channels), fetched, 0)

    assert outlier_means({(0, "q_proj"): [shadow(4, 1), shadow(0, 0)], (1, "down_proj"): [shadow(5, 2)]}) == (3.0, 1 / 3)
    assert outlier_means({}) == (0.0, 0.0)


def test_measured_outliers_change_what_shadows_cost(found: Verification) -> None:
    times = {each.scheduler: (each.ttft_s, each.measured_ttft_s) for each in found.schedulers}
    channels, cold = outlier_means(found.outliers)
    assert 0 < channels < 6
    before, after = times["sequential"]
    assert after is not None
    assert after != before
    assert found.measured is not None
    assert shadow_s(found.measured) != shadow_s(found.case) > 0.0
    case = real_case(
        WEIGHTS,
        SOC,
        "llm-npu",
        len(TOKENS),
        chunk_tokens=30,
        overrides={
            "engine.outlier_pruning_rate": 0.5,
            "engine.outlier_channels": round(channels),
            "engine.cold_outlier_fraction": cold,
            "run.memory": "private",
        },
    )
    again = verify(WEIGHTS, PROFILE, TOKENS, case, ["sequential"])
    assert again.schedulers[0].ttft_s == after


@pytest.mark.parametrize(
    ("engine", "overrides", "scheme"),
    [
        (
            "llm-npu-plus",
            {},
            Static("shadow", keep=frozenset(), outlier_channels=28.0, smoothing=0.7, weight_scales="channel"),
        ),
        ("npu-chunk", {}, PerGroup(group_size=64)),
        ("gpu-only", {}, Float32()),
        (
            "llm-npu",
            {"pruned_fallback": "clip"},
            Static("shadow", keep=frozenset(), outlier_channels=6.0, pruned_fallback="clip", weight_scales="tensor"),
        ),
    ],
)
def test_scheme_follows_the_engine(engine: str, overrides: dict[str, str], scheme: object) -> None:
    assert engine_scheme(load_engine(engine).override(overrides, "engine"), frozenset()) == scheme


@pytest.mark.parametrize("engine", ["npu-chunk", "gpu-only", "npu-naive", "llm-npu-two-subgraphs"])
def test_other_engines_pass(engine: str) -> None:
    assert verify(WEIGHTS, PROFILE, TOKENS[:20], real_case(WEIGHTS, SOC, engine, 20), ["sequential", "fifo"]).passed


def test_another_shape_than_that_of_the_weights_is_refused() -> None:
    with pytest.raises(SocsimError, match="overrides of the model"):
        real_case(WEIGHTS, SOC, "llm-npu", 100, overrides={"model.num_hidden_layers": 2})
