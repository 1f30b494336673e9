"""Bounded robust least squares on log ratios: what was predicted over what was measured.

Every parameter is positive and fitted as its logarithm. Rows weigh the same; a soft L1 loss keeps a single odd row from
deciding. A parameter with a prior is pulled towards it, as if the prior had been measured once with `prior_sigma`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from socsim.errors import SocsimError

Floats = NDArray[np.float64]

SCATTER = 0.05
"""Log residual that is nothing unusual: from here the loss grows linearly, and priors weigh as much as a row that scatters so."""
STEP = 0.05
"""Relative step of the finite differences: larger than what whole nanoseconds and scheduling anomalies blur."""
WEAK_SIGMA = 0.5
"""A direction whose log standard deviation is larger than this is not determined by the data."""
UNSEEN = 1e-6
"""Largest change of a log prediction with a log parameter at which no row depends on it."""
AT_BOUND = STEP


@dataclass(frozen=True)
class Parameter:
    """One fitted number: where it is written, where the search starts and ends, and what was plausible before."""

    path: str
    initial: float
    lower: float
    upper: float
    prior_sigma: float | None = None
    """Standard deviation of the logarithm around `initial`; none: no prior."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fit with what it leaves open; `jacobian` is of log predictions by log parameters, of shape (rows, parameters)."""

    parameters: tuple[Parameter, ...]
    values: Floats
    measured: Floats
    predicted: Floats
    jacobian: Floats
    converged: bool

    @property
    def residuals(self) -> Floats:
        """Log of measured over predicted, of shape (rows,)."""
        residuals: Floats = np.log(self.measured / self.predicted)
        return residuals

    @property
    def mean_absolute_error(self) -> float:
        """Mean absolute error of the predictions, as a share of what was measured."""
        return float(np.mean(np.abs(self.predicted / self.measured - 1.0)))

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether any row depends on each parameter, of shape (parameters,)."""
        seen: NDArray[np.bool_] = np.abs(self.jacobian).max(axis=0, initial=0.0) > UNSEEN
        return seen

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """Paths of parameters that ended at a bound of their search."""
        return tuple(
            parameter.path
            for parameter, value in zip(self.parameters, self.values, strict=True)
            if min(np.log(value / parameter.lower), np.log(parameter.upper / value)) < AT_BOUND
        )

    @property
    def information(self) -> Floats:
        """What rows and priors together say about the log parameters: the inverse of their covariance, but for the noise."""
        matrix = self.jacobian.T @ self.jacobian
        for place, parameter in enumerate(self.parameters):
            if parameter.prior_sigma is not None:
                matrix[place, place] += (SCATTER / parameter.prior_sigma) ** 2
        return matrix

    def undetermined(self) -> list[dict[str, float]]:
        """Return the directions in which the rows, without priors, leave the log parameters open: path to share."""
        if not self.parameters:
            return []
        noise = max(float(np.sqrt(np.mean(self.residuals**2))), 0.01)
        values, vectors = np.linalg.eigh(self.jacobian.T @ self.jacobian)
        weak = [vector for value, vector in zip(values, vectors.T, strict=True) if noise > WEAK_SIGMA * np.sqrt(max(value, 0.0))]
        return [
            {parameter.path: float(abs(share)) for parameter, share in zip(self.parameters, vector, strict=True) if abs(share) > 0.3}
            for vector in weak
        ]

    def bootstrap(self, draws: int, random: np.random.Generator) -> Floats:
        """Return parameter sets that are as plausible, of shape (draws, parameters), by resampled residuals.

        Residuals are drawn with replacement, priors scatter as far as they reach, and the fit is repeated in linear
        approximation; sets end at the bounds.
        """
        centered = self.residuals - self.residuals.mean()
        drawn = centered[random.integers(0, len(centered), (draws, len(centered)))]
        pull = np.array([0.0 if each.prior_sigma is None else SCATTER / each.prior_sigma for each in self.parameters])
        priors = pull * SCATTER * random.standard_normal((draws, len(pull)))
        steps = np.linalg.lstsq(self.information, self.jacobian.T @ drawn.T + priors.T, rcond=None)[0].T
        lower, upper = ([getattr(parameter, side) for parameter in self.parameters] for side in ("lower", "upper"))
        sets: Floats = np.clip(self.values * np.exp(steps), lower, upper)
        return sets


def fit(
    parameters: Sequence[Parameter],
    measured: Sequence[float],
    predict: Callable[[Floats], Sequence[float]],
    what: str,
    starts: Sequence[float] = (0.0,),
) -> Fit:
    """Fit parameters so that predictions come close to what was measured.

    Parameters
    ----------
    parameters
        What may change.
    measured
        Values above 0, of shape (rows,).
    predict
        Function from parameter values to predictions above 0 in the order of `measured`.
    what
        What is fitted, for the error message.
    starts
        Logs over the initial values at which a search starts; the best end counts.

    Raises
    ------
    SocsimError
        There are fewer rows than parameters without a prior.
    """
    free = sum(parameter.prior_sigma is None for parameter in parameters)
    if len(measured) < free:
        names = ", ".join(parameter.path for parameter in parameters if parameter.prior_sigma is None)
        raise SocsimError(f"{what}: {len(measured)} measured rows are too few for {free} parameters ({names})")
    target = np.log(np.asarray(measured, dtype=np.float64))
    start, lower, upper = (np.log([getattr(each, side) for each in parameters]) for side in ("initial", "lower", "upper"))
    pull = np.array([0.0 if each.prior_sigma is None else SCATTER / each.prior_sigma for each in parameters])

    def residuals(point: Floats) -> Floats:
        return np.concatenate((np.log(predict(np.exp(point))) - target, pull * (point - start)))

    def jacobian(point: Floats) -> Floats:
        columns = []
        for place in range(len(point)):
            step = np.zeros(len(point))
            step[place] = STEP
            high, low = np.minimum(point + step, upper), np.maximum(point - step, lower)
            columns.append((residuals(high) - residuals(low)) / (high - low).sum())
        return np.stack(columns, axis=1)

    if not len(parameters):
        return Fit((), np.empty(0), np.exp(target), np.asarray(predict(np.empty(0))), np.empty((len(target), 0)), True)
    searches = [
        least_squares(residuals, inside, jacobian, (lower, upper), loss="soft_l1", f_scale=SCATTER, xtol=1e-5, ftol=1e-6, max_nfev=60)
        for inside in (np.clip(start + offset, lower + STEP, upper - STEP) for offset in starts)
    ]
    found = min(searches, key=lambda search: float(search.cost))
    values = np.array([float(f"{value:.4g}") for value in np.exp(found.x)])
    rows = slice(0, len(target))
    return Fit(
        tuple(parameters), values, np.exp(target), np.asarray(predict(values)), jacobian(np.log(values))[rows], bool(found.status > 0)
    )
