"""The real model of experiments: outliers that were met, as settings, and how much text there is in each version."""

from __future__ import annotations

import pytest

import socsim
from socsim.experiments.real_model import met_outliers, real_study, texts_of
from socsim.numerics.weights import Weights


def test_met_outliers_are_settings_that_the_simulator_takes() -> None:
    met = met_outliers({"outlier_channels": "19.6", "fetched_channels": "4.9"})  # as tables have them
    assert met == {"engine.outlier_channels": 20, "engine.cold_outlier_fraction": 0.25}
    engine = socsim.make_case("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", prompt_tokens=64, overrides=met).engine
    assert (engine.outlier_channels, engine.cold_outlier_fraction) == (20, 0.25)


@pytest.mark.parametrize(("met", "channels"), [(0.0, None), (0.2, 1)])
def test_few_outliers(met: float, channels: int | None) -> None:
    assert met_outliers({"outlier_channels": met, "fetched_channels": 0.0}).get("engine.outlier_channels") == channels


def test_short_version_takes_less_text(weights: Weights) -> None:
    short, full = real_study(True), real_study(False)
    assert (short.weights.sha256, full.weights.sha256) == (weights.sha256,) * 2
    assert short.tokens < full.tokens
    assert short.calibration.tokens < full.calibration.tokens
    assert texts_of(short) == "on 512 tokens, scales and outliers from 1,024 other tokens"
