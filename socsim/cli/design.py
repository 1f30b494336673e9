"""A sweep as the figures see it: columns by name, a slice of its points, and the best of those that fall together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from socsim.cli.labels import scaled
from socsim.cli.sweep import metric_text, values_text
from socsim.errors import SocsimError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

    from socsim.plots.columns import Column
    from socsim.sweeps import SweepResult

FAVORITES = ("ttft_s", "prefill_energy_j", "peak_memory_bytes")
"""Metrics that figures show unless told otherwise."""
MANY = 40
"""Values of an axis up to which figures do not group them."""
MANY_SAMPLED = 12
"""The same where they were sampled, so that hardly two points have one in common."""
SAME = 1e-3
"""How near a number has to come to a value of an axis, relatively: as near as tables print it."""


@dataclass(frozen=True, eq=False)
class Design:
    """Points of a sweep that did not fail, those where some axes have certain values."""

    result: SweepResult
    fixed: dict[str, Any]

    @classmethod
    def of(cls, result: SweepResult, at: Sequence[str]) -> Design:
        """Return the points at which axes have the values that ``AXIS=VALUE`` gives them."""
        whole = cls(result, {})
        fixed: dict[str, Any] = {}
        for text in at:
            name, sign, value = text.partition("=")
            if not sign:
                raise SocsimError(f"--at '{text}': should be AXIS=VALUE, such as {result.axes[0]}={whole.text_of(result.axes[0], 0)}")
            axis = whole.resolve("--at", name, result.axes)
            if axis in fixed:
                raise SocsimError(f"--at '{text}': axis '{axis}' is fixed already, at {values_text([fixed[axis]])}")
            fixed[axis] = whole.level(axis, value, text)
        design = cls(result, fixed)
        if not design.mask.any():
            raise SocsimError(f"{result.folder}: there is no point" + (f" at {', '.join(at)}" if at else "") + " that did not fail")
        return design

    @cached_property
    def mask(self) -> NDArray[Any]:
        """Which points are in the slice."""
        import numpy as np

        columns = self.result.values(["point", *self.fixed])
        mask = np.ones(len(columns["point"]), dtype=np.bool_)
        for axis, value in self.fixed.items():
            mask &= np.asarray(columns[axis] == value)
        return mask

    def values(self, column: str) -> NDArray[Any]:
        """Return a column of the points in the slice."""
        if column not in self._columns:
            self._columns[column] = self.result.values([column])[column][self.mask]
        return self._columns[column]

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        return {}

    def levels(self, axis: str) -> list[Any]:
        """Return the values that an axis has in the slice."""
        from socsim.sweeps.analysis import levels

        return levels(self.values(axis))[0]

    @cached_property
    def varying(self) -> list[str]:
        """Axes that have several values in the slice; of linked ones the first."""
        plan, found, seen = self.result.plan, list[str](), set[int]()
        for axis in plan.spec.axes:
            place = next(place for place, each in enumerate(plan.dimensions) if axis.column in each.values)
            if (axis.sampled or place not in seen) and len(self.levels(axis.column)) > 1:
                found.append(axis.column)
                seen.add(place)
        return found

    def companions(self, axis: str) -> tuple[str, ...]:
        """Return the axes that advance with one, and itself."""
        if next(each for each in self.result.plan.spec.axes if each.column == axis).sampled:
            return (axis,)
        return tuple(next(each.values for each in self.result.plan.dimensions if axis in each.values))

    @property
    def favorites(self) -> list[str]:
        """Metrics to show where none was named: the usual ones, or the first ones, that have values in the slice."""
        known = [name for name in self.result.numbers if self.has_values(name)]
        return [name for name in FAVORITES if name in known] or known[:2]

    def has_values(self, metric: str) -> bool:
        """Return whether a metric is there at some point of the slice."""
        values = self.values(metric)
        return bool((values == values).any())  # NaN differs from itself

    def resolve(self, option: str, name: str, allowed: Sequence[str]) -> str:
        """Return the column that a name means: the whole of it, or its last parts if no other column has these."""
        near = [column for column in allowed if column == name] or [column for column in allowed if column.endswith(f".{name}")]
        if not near:
            raise unknown_name(f"{option} of {self.result.folder}:", name, [*allowed, *(each.rpartition(".")[2] for each in allowed)])
        if len(near) > 1:
            raise SocsimError(f"{option} '{name}': is the end of {' and '.join(near)}; name the whole column")
        return near[0]

    def axis(self, option: str, name: str | None, taken: Sequence[str]) -> str:
        """Return the axis that a name means, or the first of several values that is not taken."""
        if name is not None:
            return self.resolve(option, name, self.result.axes)
        free = [axis for axis in self.varying if axis not in taken]
        if not free:
            raise SocsimError(f"{option}: {self.result.folder} has no other axis with several values; it has {', '.join(self.varying)}")
        return free[0]

    def number(self, option: str, name: str | None) -> str:
        """Return the metric that a name means, or the usual one; it has values at some points."""
        if name is None and not self.favorites:
            raise SocsimError(f"{self.result.folder}: no metric has numbers; it has {', '.join(self.result.metrics)}")
        metric = self.favorites[0] if name is None else self.resolve(option, name, self.result.numbers)
        self.known([metric])
        return metric

    def known(self, columns: Sequence[str], rows: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return those rows, of some or of all, that have all of some columns."""
        import numpy as np

        rows = np.arange(int(self.mask.sum())) if rows is None else rows
        for name in columns:
            values = self.values(name)[rows]
            rows = rows[~np.isnan(values)] if values.dtype.kind == "f" else rows
            if not len(rows):
                raise SocsimError(f"{self.result.folder}: '{name}' has no value at any of the points")
        return rows

    def level(self, axis: str, value: str, text: str) -> Any:
        """Return the value of an axis that a text means."""
        listed = self.levels(axis)
        for each in listed:
            if isinstance(each, (int, float)) and not isinstance(each, bool):
                try:
                    if abs(float(value) - each) <= SAME * abs(each):
                        return each
                except ValueError:
                    break
            elif value == axis_text(each):
                return each
        shown = values_text(listed) if len(listed) > MANY else ", ".join(axis_text(each).replace(",", "") for each in listed)
        raise SocsimError(f"--at '{text}': axis '{axis}' has no value '{value}'; allowed: {shown}")

    def text_of(self, column: str, row: int) -> str:
        """Return a value of a point in the slice with its unit."""
        value = self.values(column)[row]
        return metric_text(column, float(value)) if column in self.result.numbers else axis_text(value)

    def at(self, row: int, axes: Sequence[str]) -> str:
        """Return where a point is."""
        return ", ".join(f"{self.short_name(axis)} {self.text_of(axis, row)}" for axis in axes)

    def short_name(self, axis: str) -> str:
        """Return the last parts of an axis' name that tell it from other columns."""
        every, parts = (*self.result.axes, *self.result.metrics), axis.split(".")
        ends = (".".join(parts[place:]) for place in range(len(parts) - 1, 0, -1))
        return next((end for end in ends if not any(each == end or each.endswith(f".{end}") for each in every if each != axis)), axis)

    def is_log(self, axis: str) -> bool:
        """Return whether the values of an axis are numbers that are equal factors apart."""
        from socsim.plots.columns import log_spaced

        spec = next(each for each in self.result.plan.spec.axes if each.column == axis)
        if spec.values is None:
            return spec.spacing == "log"
        values = self.values(axis)
        return values.dtype.kind in "if" and log_spaced(self.levels(axis))

    def column(self, name: str, rows: NDArray[Any], *, log: bool | None = None) -> Column:
        """Return a column of some points of the slice as a figure shows it; `log` tells whether, where it is not for it to decide."""
        from socsim.plots.columns import Column, wide

        values = self.values(name)[rows]
        number = values.dtype.kind in "if"
        if log is None:
            log = number and (self.is_log(name) if name in self.result.axes else wide(values))
        log = bool(log and number and len(values) and values.min() > 0)
        label, factor = scaled(name, values, {axis.column: axis for axis in self.result.plan.spec.axes}, log=log)
        order = tuple(self.levels(name)) if not number else ()
        return Column(label, values / factor if factor != 1.0 else values, log, None, order)


class Grid:
    """The best point for each combination of the axes that a figure has; axes of many numbers are put in groups.

    Parameters
    ----------
    design
        Where the points are.
    drawn
        Those axes.
    color
        What the figure shows: which point is best is by this metric, or by the usual one if it is none with numbers.
    """

    def __init__(self, design: Design, drawn: Sequence[str], color: str) -> None:
        from socsim.sweeps.analysis import best_points

        self.design, self.drawn = design, drawn
        self.metric = color if color in design.result.numbers else design.number("--color", None)
        self._edges = {axis: edges for axis in drawn if (edges := self._edges_of(axis)) is not None}
        self.rows = best_points([self._key(axis) for axis in drawn], self.metric, design.values(self.metric))

    def best(self, by: Sequence[str]) -> list[int]:
        """Return the best point for each combination of some axes, or of all."""
        from socsim.sweeps.analysis import best_points

        keys, values = ([self.design.values(name)[self.rows] for name in names] for names in (by, [self.metric]))
        found: list[int] = self.rows[best_points(keys, self.metric, values[0])].tolist()
        return found

    def column(self, axis: str) -> Column:
        """Return a drawn axis as the figure shows it."""
        from socsim.plots.columns import Column

        column = self.design.column(axis, self.rows, log=self.design.is_log(axis))
        if axis not in self._edges:
            return column
        edges = self._edges[axis] / (self.design.values(axis)[self.rows][0] / column.values[0])
        middles = (edges[1:] * edges[:-1]) ** 0.5 if column.log else (edges[1:] + edges[:-1]) / 2.0
        return Column(column.label, middles[self._key(axis)[self.rows]], column.log, edges)

    def tell(self, console: Console) -> None:
        """Print what the figure leaves out."""
        from socsim.sweeps.metrics import LARGER_IS_BETTER

        for axis, edges in self._edges.items():
            console.print(f"{axis} in {len(edges) - 1} groups", soft_wrap=True)
        fixed = {each for axis in self.drawn for each in self.design.companions(axis)}
        over = [axis for axis in self.design.varying if axis not in fixed] + [f"each group of {axis}" for axis in self._edges]
        if over:
            way = "most" if self.metric in LARGER_IS_BETTER else "least"
            console.print(f"best over {', '.join(over)}: {way} {self.metric}", soft_wrap=True)

    def _key(self, axis: str) -> NDArray[Any]:
        """Return of each point the value of an axis, or its group."""
        import numpy as np

        values, edges = self.design.values(axis), self._edges.get(axis)
        return values if edges is None else np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)

    def _edges_of(self, axis: str) -> NDArray[Any] | None:
        """Return the edges of the groups of an axis; None: each value stands for itself."""
        import numpy as np

        sampled = next(each.sampled for each in self.design.result.plan.spec.axes if each.column == axis)
        values, count = self.design.values(axis), len(self.design.levels(axis))
        if count <= (MANY_SAMPLED if sampled else MANY):
            return None
        if values.dtype.kind not in "if":
            raise SocsimError(f"axis '{axis}' has {count} names; a figure has room for {MANY}, choose some with --at")
        groups = int(np.clip((count / 4.0) ** 0.5 if len(self.drawn) > 1 else count / 8.0, 4, 16))
        ends = (float(values.min()), float(values.max()), groups + 1)
        return np.geomspace(*ends) if self.design.is_log(axis) else np.linspace(*ends)


def axis_text(value: Any) -> str:
    """Return one value of an axis."""
    return values_text([value.item() if hasattr(value, "item") else value])
