"""What the points of a sweep say: Pareto fronts, sensitivity indices, swings, and the best point for each choice of some axes."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError, unknown_name
from socsim.sweeps.metrics import LARGER_IS_BETTER
from socsim.sweeps.results import SweepResult

Array = NDArray[Any]
Mask = NDArray[np.bool_]

COMPARED = 64
"""Points up to which each is compared with each."""
BINS = 10
"""Groups of an axis with many values."""
CONFIDENCE = 0.95


def pareto_front(objectives: Array) -> Mask:
    """Return which points no other point is better than: in no objective worse, and in one better.

    Parameters
    ----------
    objectives
        Of shape (points, objectives); less is better. Points that are equal are all on the front or all off it; those with NaN
        are off it.
    """
    values = np.asarray(objectives, dtype=np.float64) + 0.0  # no negative zeros
    number = np.flatnonzero(~np.isnan(values).any(axis=1))
    order = number[np.lexsort(values[number].T[::-1])]
    front = np.zeros(len(values), dtype=np.bool_)
    if not len(order):
        return front
    rising = values[order]
    new = np.r_[True, (rising[1:] != rising[:-1]).any(axis=1)]
    distinct = rising[new]
    best = np.zeros(len(distinct), dtype=np.bool_)
    best[_front(distinct, np.arange(len(distinct)))] = True
    front[order] = best[np.cumsum(new) - 1]
    return front


def _front(values: Array, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of some rows that are on their front; rows rise, differ, and stand in the order of their first difference.

    So only what stands before a row can be better, and is not larger in the first column.
    """
    if len(rows) <= COMPARED:
        return np.asarray(rows[~_beaten(values[rows], values[rows], itself=True)])
    half = len(rows) // 2
    first, second = _front(values, rows[:half]), _front(values, rows[half:])
    return np.concatenate([first, second[~_covered(values[first, 1:], values[second, 1:])]])


def _beaten(some: Array, others: Array, *, itself: bool = False) -> Mask:
    """Return for which of the others one of some is in no column larger; with `itself`, another one than itself."""
    smaller = np.ones((len(some), len(others)), dtype=np.bool_)
    for column in range(some.shape[1]):
        smaller &= np.less_equal.outer(some[:, column], others[:, column])
    if itself:
        np.fill_diagonal(smaller, val=False)
    return np.asarray(smaller.any(axis=0))


def _covered(some: Array, others: Array) -> Mask:
    """Return for which of the others one of some is in no column larger, by halves of the first column."""
    if not len(some) or not len(others):
        return np.zeros(len(others), dtype=np.bool_)
    width = some.shape[1]
    if width == 0:
        return np.ones(len(others), dtype=np.bool_)
    if width == 1:
        return np.asarray(others[:, 0] >= some[:, 0].min())
    if width == 2:
        rising = some[np.argsort(some[:, 0], kind="stable")]
        least = np.r_[np.inf, np.minimum.accumulate(rising[:, 1])]
        place = np.searchsorted(rising[:, 0], others[:, 0], side="right")
        return np.asarray((place > 0) & (least[place] <= others[:, 1]))
    if len(some) * len(others) <= COMPARED**2:
        return _beaten(some, others)
    every = np.sort(np.r_[some[:, 0], others[:, 0]])
    if every[0] == every[-1]:
        return _covered(some[:, 1:], others[:, 1:])
    middle = every[(len(every) - 1) // 2]
    if middle == every[-1]:
        middle = every[np.searchsorted(every, middle) - 1]
    low, below = some[:, 0] <= middle, others[:, 0] <= middle
    covered = np.empty(len(others), dtype=np.bool_)
    covered[below] = _covered(some[low], others[below])
    above = _covered(some[~low], others[~below])
    covered[~below] = above | _covered(some[low][:, 1:], others[~below][:, 1:])
    return covered


class Index(NamedTuple):
    """Which share of a metric's variance an axis explains: alone, and with all that it does together with others.

    Either has half the width of its 95 % confidence interval beside it.
    """

    axis: str
    first: float
    first_margin: float
    total: float
    total_margin: float


def sensitivity(result: SweepResult, metric: str) -> list[Index]:
    """Return the sensitivity indices of a metric for all axes of a sweep with ``[sample] method = "saltelli"``.

    Raises
    ------
    SocsimError
        The sweep has other points than those from which the indices are computed, or the metric is none or does not vary.
    """
    spec, where = result.plan.spec, str(result.folder)
    if metric not in result.numbers:
        raise unknown_name(f"metric of {where}", metric, result.numbers)
    if spec.sample is None or spec.sample.method != "saltelli":
        found = "no [sample]" if spec.sample is None else f'method = "{spec.sample.method}"'
        raise SocsimError(f'{where}: the sweep has {found}; sensitivity indices need [sample] method = "saltelli"')
    values = result.values([metric])[metric].astype(np.float64)
    done, failed = result.counts()
    missing = int(np.isnan(values).sum())
    if failed or missing or done < result.plan.raw_count:
        found = f"{done:,} are done, {failed:,} of these failed" + (f", and {missing:,} have no {metric}" if missing else "")
        raise SocsimError(f"{where}: sensitivity indices need all {result.plan.raw_count:,} points; {found}")
    try:
        return indices(values, result.axes, spec.sample.seed)
    except SocsimError as error:
        raise SocsimError(f"{where}: {metric} {error}") from None


def indices(values: Array, axes: Sequence[str], seed: int = 0) -> list[Index]:
    """Return sensitivity indices from values at the points of ``saltelli``, in their order.

    Parameters
    ----------
    values
        At (axes + 2) times a power of 2 points.
    axes
        Names of what was sampled.
    seed
        Of the samples behind the confidence intervals.

    Raises
    ------
    SocsimError
        The values do not vary enough.
    """
    if np.ptp(values) == 0.0:
        raise SocsimError(f"is {values[0]:g} at all points, so that no axis has a share in its variance")
    from SALib.analyze import sobol  # takes a second

    problem = {"num_vars": len(axes), "names": list(axes), "bounds": [[0.0, 1.0]] * len(axes)}
    few = SocsimError("varies at too few points for sensitivity indices; needs more points in [sample]")
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")  # that of points that are all alike
            # A seed of 0 would be none there.
            found = sobol.analyze(problem, values, calc_second_order=False, conf_level=CONFIDENCE, seed=seed + 1)
    except UserWarning:
        raise few from None
    columns = np.array([found[name] for name in ("S1", "S1_conf", "ST", "ST_conf")])
    if not np.isfinite(columns).all():
        raise few
    return [Index(axis, *map(float, column)) for axis, column in zip(axes, columns.T, strict=True)]


@dataclass(frozen=True)
class Swing:
    """The least and the largest mean of a metric among the values of an axis, and where they are.

    A place is a pair: the ends of a group of values, which are the same where the axis has few.
    """

    axis: str
    least: float
    least_at: tuple[Any, Any]
    largest: float
    largest_at: tuple[Any, Any]
    points: int

    @property
    def width(self) -> float:
        """How far the metric moves."""
        return self.largest - self.least


def swings(axes: Mapping[str, Array], values: Array, crossed: Collection[str] = ()) -> list[Swing]:
    """Return how far a metric moves with each axis by itself, on average over the others; the farthest first.

    Each has the number of points that were compared.

    Parameters
    ----------
    axes
        Values of each axis at all points. Those with more than twenty different numbers are grouped into ten, about as many points in
        each; an axis with one value is left out.
    values
        The metric at these points; those where it is NaN do not count.
    crossed
        Axes whose values all stand with the same combinations of the others, but for points that are missing. Only combinations that are
        there for all values count, else a value would be judged by what is left beside it; an axis without any is left out.
    """
    known = ~np.isnan(values)
    leveled = {name: levels(column[known]) for name, column in axes.items()}
    found = list[Swing]()
    for name, column in axes.items():
        others = [level for other, level in leveled.items() if other != name]
        kept = known.copy()
        if name in crossed:
            kept[known] = _complete(len(leveled[name][0]), leveled[name][1], others)
        places, group = _groups(column[kept])
        if len(places) < 2:
            continue
        means = np.bincount(group, weights=values[kept]) / np.bincount(group)
        low, high = int(np.argmin(means)), int(np.argmax(means))
        found.append(Swing(name, float(means[low]), places[low], float(means[high]), places[high], len(group)))
    return sorted(found, key=lambda swing: -swing.width)


def _complete(count: int, level: NDArray[np.int64], others: Sequence[tuple[list[Any], NDArray[np.int64]]]) -> Mask:
    """Return which points are of combinations of other axes that are there for all values of one."""
    combination = np.zeros(len(level), dtype=np.int64)
    for listed, each in others:
        combination = np.unique(combination * max(len(listed), 1) + each, return_inverse=True)[1]
    there = np.unique(combination * max(count, 1) + level) // max(count, 1)
    return np.asarray(np.bincount(there, minlength=1)[combination] == count)


def _groups(column: Array) -> tuple[list[tuple[Any, Any]], NDArray[np.int64]]:
    """Return the values or, where they are many numbers, ranges of values, and to which each point belongs."""
    listed, level = levels(column)
    if len(listed) <= 2 * BINS or column.dtype == object:
        return [(value, value) for value in listed], level
    rising = np.sort(column)
    begins = np.unique(rising[[place * len(rising) // BINS for place in range(BINS)]])  # equal values stay together
    group = np.searchsorted(begins, column, side="right") - 1
    parts = [column[group == place] for place in range(len(begins))]
    return [(part.min().item(), part.max().item()) for part in parts], group


def levels(column: Array) -> tuple[list[Any], NDArray[np.int64]]:
    """Return the values of a column, numbers rising and texts as they come, and for each point which it has."""
    if column.dtype != object:
        numbers, level = np.unique(column, return_inverse=True)
        return numbers.tolist(), level
    place: dict[Any, int] = {}
    level = np.fromiter((place.setdefault(value, len(place)) for value in column.tolist()), np.int64, len(column))
    return list(place), level


def best_points(keys: Sequence[Array], metric: str, values: Array) -> NDArray[np.int64]:
    """Return the point with the best value of a metric for each combination of keys; the first of those that are as good.

    Parameters
    ----------
    keys
        Columns of values, such as axes; none: the best of all points.
    metric
        Its name, which tells whether more or less is better.
    values
        The metric; where it is NaN, a point is no candidate.
    """
    rows = np.flatnonzero(~np.isnan(values))
    group = np.zeros(len(rows), dtype=np.int64)
    for key in keys:
        listed, level = levels(key[rows])
        group = np.unique(group * max(len(listed), 1) + level, return_inverse=True)[1]
    order = np.lexsort((rows, to_minimize(metric, values[rows]), group))
    first = np.r_[True, np.diff(group[order]) > 0] if len(order) else np.zeros(0, dtype=np.bool_)
    return rows[order[first]]


def to_minimize(metric: str, values: Array) -> Array:
    """Return values of which less is better: those of a metric of which more is, negated."""
    return -values if metric in LARGER_IS_BETTER else values
