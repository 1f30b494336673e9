"""The real model of experiments: on how much text it is measured, and its simulation with the outliers that were met."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from socsim.numerics.accuracy import Study
from socsim.numerics.profiles import CALIBRATION_TOKENS, Calibration, calibration
from socsim.numerics.texts import default_text
from socsim.numerics.weights import load_weights

TOKENS, QUICK_TOKENS = 4096, 512
"""On which schemes are measured."""
QUICK_CALIBRATION_TOKENS = 1024
"""From which scales and outliers follow; the long version takes as many as commands do."""


def real_calibration(quick: bool) -> Calibration:
    """Return what the profile of the real model is made of.

    Raises
    ------
    SocsimError
        The weights are not in the cache.
    """
    return calibration(load_weights(), tokens=QUICK_CALIBRATION_TOKENS if quick else CALIBRATION_TOKENS)


def real_study(quick: bool) -> Study:
    """Return the real model with the texts on which it is calibrated and measured.

    Raises
    ------
    SocsimError
        The weights are not in the cache.
    """
    made_of = real_calibration(quick)
    return Study(made_of.weights, default_text("evaluation"), QUICK_TOKENS if quick else TOKENS, made_of)


def texts_of(study: Study) -> str:
    """Return for captions on what a study rests."""
    return f"on {study.tokens:,} tokens, scales and outliers from {study.calibration.tokens:,} other tokens"


def met_outliers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that simulate the outlier channels that a scheme met, and the share of them that was fetched from flash.

    Parameters
    ----------
    measured
        ``outlier_channels`` and ``fetched_channels``, means over linears that keep outliers; none were met: the engine's settings stay.
    """
    met = float(measured["outlier_channels"])
    if met <= 0.0:
        return {}
    cold = float(measured["fetched_channels"]) / met
    return {"engine.outlier_channels": max(round(met), 1), "engine.cold_outlier_fraction": cold}
