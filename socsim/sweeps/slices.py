"""Some points of a sweep: those at which axes have certain values, and the best of them for each choice of a few axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.specs import Axis
from socsim.sweeps.analysis import best_points, levels
from socsim.sweeps.plan import full_path
from socsim.sweeps.results import SweepResult

Array = NDArray[Any]

MANY = 40
"""Values of an axis up to which each stands for itself, rather than for a group."""
MANY_SAMPLED = 12
"""The same where they were sampled, so that hardly two points have one in common."""


@dataclass(frozen=True, eq=False)
class Slice:
    """Points of a sweep that did not fail, those where some axes have certain values."""

    result: SweepResult
    fixed: Mapping[str, Any]

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Which points are in the slice."""
        columns = self.result.values(["point", *self.fixed])
        mask = np.ones(len(columns["point"]), dtype=np.bool_)
        for axis, value in self.fixed.items():
            mask &= np.asarray(columns[axis] == value)
        return mask

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """Descriptions of the axes by column."""
        return {axis.column: axis for axis in self.result.plan.spec.axes}

    def values(self, column: str) -> Array:
        """Return a column of the points in the slice."""
        if column not in self._columns:
            self._columns[column] = self.result.values([column])[column][self.mask]
        return self._columns[column]

    @cached_property
    def _columns(self) -> dict[str, Array]:
        return {}

    def levels(self, axis: str) -> list[Any]:
        """Return the values that an axis has in the slice."""
        return levels(self.values(axis))[0]

    @cached_property
    def varying(self) -> list[str]:
        """Axes that have several values in the slice; of linked ones the first."""
        dimensions, found, seen = self.result.plan.dimensions, list[str](), set[int]()
        for name, axis in self.axes.items():
            place = next(place for place, each in enumerate(dimensions) if name in each.values)
            if (axis.sampled or place not in seen) and len(self.levels(name)) > 1:
                found.append(name)
                seen.add(place)
        return found

    def companions(self, axis: str) -> tuple[str, ...]:
        """Return the axes that advance with one, and itself."""
        if self.axes[axis].sampled:
            return (axis,)
        return tuple(next(each.values for each in self.result.plan.dimensions if axis in each.values))

    def is_workload(self, axis: str) -> bool:
        """Return whether an axis, or one that advances with it, says what is run rather than how it is built or run."""
        paths = (path for each in self.companions(axis) for path in self.axes[each].paths)
        return any(full_path(path).partition(".")[0] in ("model", "run") for path in paths)

    def is_log(self, axis: str) -> bool:
        """Return whether the values of an axis are numbers that are equal factors apart."""
        if self.axes[axis].values is None:
            return self.axes[axis].spacing == "log"
        return self.values(axis).dtype.kind in "if" and log_spaced(self.levels(axis))

    def has_values(self, metric: str) -> bool:
        """Return whether a metric is there at some point of the slice."""
        values = self.values(metric)
        return bool((values == values).any())  # NaN differs from itself

    def known(self, columns: Sequence[str], rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return those rows, of some or of all, that have all of some columns.

        Raises
        ------
        SocsimError
            There are none.
        """
        rows = np.arange(int(self.mask.sum())) if rows is None else rows
        for name in columns:
            values = self.values(name)[rows]
            rows = rows[~np.isnan(values)] if values.dtype.kind == "f" else rows
            if not len(rows):
                raise SocsimError(f"{self.result.folder}: '{name}' has no value at any of the points")
        return rows


class Best:
    """The best point for each combination of values of some axes; those with many numbers are put in groups.

    `rows` are these points, and `edges` those of the groups, by axis.

    Parameters
    ----------
    points
        Where they are looked for.
    axes
        Those axes.
    metric
        By which a point is best.

    Raises
    ------
    SocsimError
        An axis has too many names, which cannot be grouped.
    """

    def __init__(self, points: Slice, axes: Sequence[str], metric: str) -> None:
        self.points, self.axes, self.metric = points, tuple(axes), metric
        self.edges = {axis: edges for axis in axes if (edges := self._edges_of(axis)) is not None}
        self.rows = best_points([self._key(axis) for axis in axes], metric, points.values(metric))

    def by(self, axes: Sequence[str]) -> list[int]:
        """Return the best of these points for each value of some axes, or of all."""
        keys, values = ([self.points.values(name)[self.rows] for name in names] for names in (axes, [self.metric]))
        found: list[int] = self.rows[best_points(keys, self.metric, values[0])].tolist()
        return found

    def values(self, axis: str) -> Array:
        """Return the value of an axis at each of these points, or the middle of its group."""
        if axis not in self.edges:
            return self.points.values(axis)[self.rows]
        edges = self.edges[axis]
        middles = np.sqrt(edges[1:] * edges[:-1]) if self.points.is_log(axis) else (edges[1:] + edges[:-1]) / 2.0
        return np.asarray(middles[self._key(axis)[self.rows]])

    @property
    def others(self) -> list[str]:
        """Axes whose best value is taken."""
        fixed = {each for axis in self.axes for each in self.points.companions(axis)}
        return [axis for axis in self.points.varying if axis not in fixed]

    def _key(self, axis: str) -> Array:
        """Return of each point the value of an axis, or its group."""
        values, edges = self.points.values(axis), self.edges.get(axis)
        return values if edges is None else np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)

    def _edges_of(self, axis: str) -> Array | None:
        """Return the edges of the groups of an axis; None: each value stands for itself."""
        values, count = self.points.values(axis), len(self.points.levels(axis))
        if count <= (MANY_SAMPLED if self.points.axes[axis].sampled else MANY):
            return None
        if values.dtype.kind not in "if":
            raise SocsimError(f"{self.points.result.folder}: axis '{axis}' has {count} names at these points; allowed: at most {MANY}")
        groups = int(np.clip((count / 4.0) ** 0.5 if len(self.axes) > 1 else count / 8.0, 4, 16))
        ends = (float(values.min()), float(values.max()), groups + 1)
        return np.geomspace(*ends) if self.points.is_log(axis) else np.linspace(*ends)


def log_spaced(values: Sequence[float]) -> bool:
    """Return whether rising numbers, at least three, are about equal factors apart rather than equal differences."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 3 or array.min() <= 0.0:
        return False
    steps, factors = np.diff(array), np.diff(np.log(array))
    return bool(factors.std() / factors.mean() < 0.9 * steps.std() / steps.mean())
