"""What pruning shadow outliers costs in accuracy: the measured curve of a real model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from socsim.measurements import load_table
from socsim.specs import Engine

CURVE = "smollm2_pruning_curve"
MODEL = "SmolLM2-135M"
"""The model on which the curve was measured."""
OUTLIER_BUDGET = "20"
"""Outlier channels of the curve's points; others were measured at one rate only."""
STEPS = 100


def accuracy_loss(engine: Engine, rate: float) -> float | None:
    """Return how much perplexity rises over float32 (%) at a pruning rate; None where the engine keeps no outliers.

    The curve is that of the engine's kind of weight scales, smoothed or not, linear between measured rates; where noise has it fall with
    more pruning, it stays at what less pruning costs.
    """
    if not engine.shadow_outliers:
        return None
    rates, losses = _curve(engine)
    return float(np.interp(rate, rates, losses))


def largest_rate(engine: Engine, most: float) -> float | None:
    """Return the largest pruning rate, in hundredths, that loses no more than `most` %; None where even no pruning does."""
    rates, losses = _curve(engine)
    allowed = [step / STEPS for step in range(STEPS + 1) if float(np.interp(step / STEPS, rates, losses)) <= most + 1e-9]
    return max(allowed, default=None)


def _curve(engine: Engine) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rates of the curve and what each loses (%)."""
    scheme, scales = ("shadow", engine.precision.weight_scales) if engine.smoothing is None else ("shadow-plus", "channel")
    rows = [
        (float(row["pruning_rate"]), float(row["perplexity_change_percent"]))
        for row in load_table(CURVE)
        if (row["scheme"], row["weight_scales"], row["outlier_budget"]) == (scheme, scales, OUTLIER_BUDGET)
    ]
    rates, losses = np.array(sorted(rows)).T
    return rates, np.maximum.accumulate(losses)
