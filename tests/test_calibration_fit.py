"""Robust least squares on log ratios: what it finds, what rows leave open, and sets that are as plausible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from socsim.calibration.fit import SCATTER, Fit, Parameter, fit
from socsim.errors import SocsimError

Floats = NDArray[np.float64]

RATE = Parameter("rate", 1e9, 1e6, 1e13)
FIXED = Parameter("fixed", 1e-3, 1e-7, 1e-1)
SIZES = np.logspace(5, 10, 12)
"""Operations of the synthetic rows: the fixed time decides the small ones, the rate the large ones."""


def times(values: Floats) -> Floats:
    """Return the time of each size at a rate and a fixed time."""
    return np.asarray(values[1] + SIZES / values[0])


def line(measured: Sequence[float] | Floats, **options: Sequence[float]) -> Fit:
    return fit((RATE, FIXED), list(measured), lambda values: list(times(values)), "line", **options)


def noisy(seed: int = 1, sigma: float = 0.05) -> Floats:
    """Return rows of a rate of 3.217e10 and a fixed time of 4.444e-4 with some scatter."""
    exact = times(np.array([3.217e10, 4.444e-4]))
    return np.asarray(exact * np.exp(np.random.default_rng(seed).normal(0.0, sigma, len(exact))))


def flat(measured: Sequence[float], *parameters: Parameter) -> Fit:
    """Fit rows that all are the product of the parameters."""
    return fit(parameters, measured, lambda values: [float(np.prod(values))] * len(measured), "flat")


@pytest.mark.parametrize("known", [(3.217e10, 4.444e-4), (1.234e8, 2.5e-5), (7.777e11, 9.876e-2)])
def test_known_parameters_come_back_with_four_significant_digits(known: tuple[float, float]) -> None:
    found = line(times(np.array(known)))
    assert found.values.tolist() == list(known)
    assert found.converged
    assert found.mean_absolute_error < 1e-6
    assert found.residuals == pytest.approx(0.0, abs=1e-6)


def test_noisy_rows_are_fitted_within_their_noise() -> None:
    found = line(noisy())
    assert np.log(found.values / [3.217e10, 4.444e-4]) == pytest.approx(0.0, abs=0.05)
    assert 0.01 < found.mean_absolute_error < 0.06


def test_residuals_are_logs_of_measured_over_predicted() -> None:
    found = fit((), [2.0, 1.0], lambda _: [1.0, 1.25], "nothing")
    assert found.residuals == pytest.approx([np.log(2.0), -np.log(1.25)])
    assert found.mean_absolute_error == pytest.approx((0.5 + 0.25) / 2)


def test_values_have_four_significant_digits_and_are_what_was_predicted_with() -> None:
    found = line(noisy())
    assert found.values.tolist() == [float(f"{value:.4g}") for value in found.values]
    assert found.predicted == pytest.approx(times(found.values), rel=1e-12)


def test_one_wild_row_does_not_decide() -> None:
    measured = times(np.array([3.217e10, 4.444e-4]))
    measured[-1] *= 20.0
    assert np.log(line(measured).values / [3.217e10, 4.444e-4]) == pytest.approx(0.0, abs=0.05)


def test_prior_holds_where_rows_say_nothing() -> None:
    prior = Parameter("unseen", 5e-6, 1e-9, 1.0, prior_sigma=0.5)
    found = fit((RATE, prior), [1.0, 2.0], lambda values: [1e9 / values[0], 2e9 / values[0]], "prior", (0.3,))
    assert found.values.tolist() == [1e9, 5e-6]
    assert found.seen.tolist() == [True, False]


def test_prior_pulls_as_one_row_of_its_spread() -> None:
    """One row says 1.04, the prior 1.0 with the scatter of a row: small residuals weigh the same, so the mean of the logs is best."""
    assert flat([1.04], Parameter("x", 1.0, 0.1, 10.0, prior_sigma=SCATTER)).values == pytest.approx([1.04**0.5], rel=1e-3)
    assert flat([1.04], Parameter("x", 1.0, 0.1, 10.0, prior_sigma=50.0)).values == pytest.approx([1.04], rel=1e-3)
    assert flat([1.01] * 9, Parameter("x", 1.0, 0.1, 10.0, prior_sigma=SCATTER)).values == pytest.approx([1.01**0.9], rel=2e-4)


@pytest.mark.parametrize(("measured", "bound"), [(1e3, 10.0), (1e-3, 0.1)])
def test_parameters_at_a_bound_are_named(measured: float, bound: float) -> None:
    found = flat([measured, measured], Parameter("x", 1.0, 0.1, 10.0))
    assert found.values == pytest.approx([bound], rel=1e-3)
    assert found.at_bounds == ("x",)
    assert flat([2.0, 2.0], Parameter("x", 1.0, 0.1, 10.0)).at_bounds == ()


def test_search_that_does_not_end_is_reported() -> None:
    """A narrow curved valley, far away: two steps in it are small, so that the search gives up before its end."""

    def valley(values: Floats) -> list[float]:
        x, y = np.log(values)
        return [float(np.exp(each)) for each in (x / 20.0, 50.0 * (y - x * x * x))]

    parameters = Parameter("x", np.exp(-3.0), np.exp(-4.0), np.exp(4.0)), Parameter("y", np.exp(-27.0), np.exp(-70.0), np.exp(70.0))
    assert not fit(parameters, [np.exp(0.15), 1.0], valley, "valley").converged


def test_best_of_several_starts_counts() -> None:
    """A step in the predictions stops the search from 1; the one from further up gets over it."""

    def step(values: Floats) -> list[float]:
        return [float(values[0]) if values[0] > 1.5 else 1.0 / (1.0 + float(values[0]))]

    parameter = Parameter("x", 1.0, 0.2, 5.0)
    assert fit((parameter,), [2.0], step, "step").values[0] < 1.0
    for starts in ((0.0, 0.6), (0.6, 0.0)):
        assert fit((parameter,), [2.0], step, "step", starts).values.tolist() == [2.0]


def test_too_few_rows_are_an_error_that_names_the_figures() -> None:
    with pytest.raises(SocsimError, match=r"line: 1 measured rows are too few for 2 parameters \(rate, fixed\)"):
        line([1.0])


def test_parameters_with_a_prior_need_no_rows_of_their_own() -> None:
    prior = Parameter("x", 1.0, 0.1, 10.0, prior_sigma=0.5)
    assert flat([2.0], prior, prior).converged


def test_figure_that_no_row_shows_is_undetermined() -> None:
    found = fit((RATE, FIXED), [1.0, 2.0, 3.0], lambda values: [1e9 / values[0], 2e9 / values[0], 3e9 / values[0]], "one of two")
    assert found.seen.tolist() == [True, False]
    assert found.undetermined() == [{"fixed": pytest.approx(1.0)}]


def test_figures_that_appear_only_together_are_undetermined_together() -> None:
    found = flat([2.0, 2.02, 1.98], Parameter("a", 1.0, 0.01, 100.0), Parameter("b", 1.0, 0.01, 100.0))
    assert found.seen.tolist() == [True, True]
    assert found.undetermined() == [{"a": pytest.approx(0.5**0.5), "b": pytest.approx(0.5**0.5)}]


def test_priors_do_not_make_rows_say_more() -> None:
    sure = Parameter("a", 1.0, 0.01, 100.0, prior_sigma=0.1)
    assert len(flat([2.0, 2.0], sure, sure).undetermined()) == 1


def test_what_rows_show_is_not_undetermined() -> None:
    assert line(noisy()).undetermined() == []
    assert fit((), [1.0], lambda _: [1.0], "nothing").undetermined() == []


def test_jacobian_is_of_logs() -> None:
    found = line(times(np.array([3.217e10, 4.444e-4])))
    share = 4.444e-4 / times(np.array([3.217e10, 4.444e-4]))
    assert found.jacobian == pytest.approx(np.stack((share - 1.0, share), axis=1), abs=1e-3)


def test_bootstrap_is_decided_by_its_seed() -> None:
    found = line(noisy())
    first, again, other = (found.bootstrap(5, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.tolist() == again.tolist() != other.tolist()
    assert first.shape == (5, 2)


def test_bootstrap_spreads_as_the_mean_of_noisy_rows() -> None:
    """Of n rows with scatter s, one factor has a standard deviation of s over the root of n."""
    measured = np.exp(np.random.default_rng(5).normal(0.0, 0.04, 64))
    found = flat(measured.tolist(), Parameter("x", 1.0, 0.1, 10.0))
    spread = np.std(np.log(found.bootstrap(4000, np.random.default_rng(0))))
    assert spread == pytest.approx(np.std(np.log(measured)) / 8.0, rel=0.05)


def test_bootstrap_of_fits_covers_what_other_noise_would_have_given() -> None:
    """Fitting many noisy sets of rows is the experiment that the bootstrap of one of them replaces."""
    fits = np.log([line(noisy(seed)).values for seed in range(10, 50)])
    drawn = np.log(line(noisy()).bootstrap(2000, np.random.default_rng(0)))
    assert np.std(drawn, axis=0) == pytest.approx(np.std(fits, axis=0), rel=0.5)


def test_bootstrap_scatters_as_a_prior_does_where_rows_say_little() -> None:
    prior = Parameter("b", 1.0, 0.01, 100.0, prior_sigma=0.2)
    found = fit((RATE, prior), [1.0, 2.0, 3.0], lambda values: [1e9 / values[0], 2e9 / values[0], 3e9 / values[0]], "one of two")
    assert np.std(np.log(found.bootstrap(4000, np.random.default_rng(0))[:, 1])) == pytest.approx(0.2, rel=0.05)


def test_jacobian_is_taken_inside_the_bounds() -> None:
    tried = []

    def predict(values: np.ndarray) -> list[float]:
        tried.append(float(values[0]))
        return [float(values[0])]

    fit((Parameter("x", 1.0, 0.9, 1.1),), [5.0], predict, "at a bound")
    assert min(tried) >= 0.9 * (1 - 1e-12)
    assert max(tried) <= 1.1 * (1 + 1e-12)


def test_bootstrap_ends_at_the_bounds() -> None:
    found = flat([1.0, 1.9, 0.5, 1.2, 0.8], Parameter("x", 1.0, 0.95, 1.05))
    drawn = found.bootstrap(200, np.random.default_rng(0))
    assert (drawn.min(), drawn.max()) == (0.95, 1.05)


def test_bootstrap_leaves_what_no_row_shows() -> None:
    found = fit((RATE, FIXED), [1.0, 2.2, 2.9], lambda values: [1e9 / values[0], 2e9 / values[0], 3e9 / values[0]], "one of two")
    drawn = found.bootstrap(20, np.random.default_rng(0))
    assert drawn[:, 1].tolist() == [found.values[1]] * 20
    assert len(set(drawn[:, 0].tolist())) > 5
