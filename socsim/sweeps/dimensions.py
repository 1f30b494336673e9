"""The dimensions of a sweep: each is a list of levels that one axis has, or several that advance or are sampled together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.specs import Axis, Sample, SweepSpec

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Dimension:
    """Values of some axes, by column; level i is the i-th value of each."""

    values: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))


def dimensions(spec: SweepSpec, whole: Mapping[str, bool], where: str) -> list[Dimension]:
    """Return the dimensions of a sweep in the order of its axes; a linked or sampled one stands where its first axis does.

    Parameters
    ----------
    spec
        The sweep.
    whole
        For each column with a range: whether its field takes whole numbers only.
    where
        What to call the sweep in error messages.

    Raises
    ------
    SocsimError
        Linked axes differ in length, or a range of whole numbers has fewer of them than points.
    """
    groups: dict[str, list[Axis]] = {}
    for axis in spec.axes:
        # Words of users have a prefix, so that none can be that of sampled axes or of an axis alone.
        key = "sample" if axis.sampled else f"link {axis.link}" if axis.link is not None else f"alone {axis.column}"
        groups.setdefault(key, []).append(axis)
    result = []
    for key, axes in groups.items():
        if key == "sample" and spec.sample is not None:
            result.append(Dimension(_sampled(axes, spec.sample, whole)))
            continue
        values = {axis.column: _listed(axis, whole.get(axis.column, False), where) for axis in axes}
        lengths = {column: len(listed) for column, listed in values.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{column} {length}" for column, length in lengths.items())
            raise SocsimError(f"{where}: axes linked by '{axes[0].link}' should have as many values each, not {found}")
        result.append(Dimension(values))
    return result


def _listed(axis: Axis, whole: bool, where: str) -> Array:
    """Return the values of an axis that lists them, or has a range with points."""
    if axis.values is not None:
        return as_array(axis.values)
    start, stop, count = axis.start or 0, axis.stop or 0, axis.points or 0
    values = np.geomspace(start, stop, count) if axis.spacing == "log" else np.linspace(start, stop, count)
    if not whole:
        return values
    rounded = np.rint(values).astype(np.int64)
    if len(np.unique(rounded)) < count:
        available = abs(int(stop) - int(start)) + 1
        raise SocsimError(
            f"{where}: axis '{axis.column}': {count} points between {start:g} and {stop:g} are not all different whole numbers; "
            f"allowed: fewer points (there are {available} numbers), or values"
        )
    return rounded


def _sampled(axes: Sequence[Axis], sample: Sample, whole: Mapping[str, bool]) -> dict[str, Array]:
    """Draw values of some axes together."""
    unit = _unit_sample(sample, len(axes))
    result: dict[str, Array] = {}
    for place, axis in enumerate(axes):
        start, stop, share = float(axis.start or 0), float(axis.stop or 0), unit[:, place]
        if whole.get(axis.column, False):  # each number between the ends, and the ends, is as likely
            low, high = sorted((start, stop))
            scaled = _between(low - 0.5, high + 0.5, share, log=False) if axis.spacing == "linear" else _between(low, high, share, log=True)
            result[axis.column] = np.clip(np.rint(scaled), low, high).astype(np.int64)
        else:
            result[axis.column] = _between(start, stop, share, log=axis.spacing == "log")
    return result


def _between(start: float, stop: float, share: Array, *, log: bool) -> Array:
    values: Array = start * (stop / start) ** share if log else start + (stop - start) * share
    return np.clip(values, min(start, stop), max(start, stop))  # which rounding could exceed


def _unit_sample(sample: Sample, width: int) -> Array:
    """Return points of the unit cube, of shape (points, width); for saltelli (points * (width + 2), width)."""
    from scipy.stats import qmc  # takes half a second, which sweeps without samples need not spend

    if sample.method == "saltelli":
        from SALib.sample import sobol

        problem = {"num_vars": width, "names": [str(place) for place in range(width)], "bounds": [[0.0, 1.0]] * width}
        drawn: Array = sobol.sample(problem, sample.points, calc_second_order=False, seed=sample.seed)
        return drawn
    if sample.method == "random":
        return np.random.default_rng(sample.seed).random((sample.points, width))
    if sample.method == "sobol":
        points: Array = qmc.Sobol(width, rng=sample.seed).random(sample.points)
        return points
    latin: Array = qmc.LatinHypercube(width, rng=sample.seed).random(sample.points)
    return latin


def as_array(values: Sequence[Any]) -> Array:
    """Return values as numbers if all are, else as objects."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.array(values, dtype=np.bool_)
    if kinds == {int}:
        return np.array(values, dtype=np.int64)
    if kinds <= {int, float}:
        return np.array(values, dtype=np.float64)
    result = np.empty(len(values), dtype=object)
    result[:] = [as_plain(value) for value in values]
    return result


def as_plain(value: Any) -> Any:
    """Return a value as descriptions have it: lists instead of tuples, and None for ``"null"``."""
    return list(value) if isinstance(value, tuple) else None if value == "null" else value
