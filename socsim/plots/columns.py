"""What figures of sweeps share: a column with its name and unit, how its numbers and names are written, scaled and colored."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.palette import BOTTLENECKS, SERIES, Look, looks
from socsim.plots.axes import CHARACTER_IN, TICKS, log_axis

Array = NDArray[Any]

HEIGHT_IN = 2.4
"""Height of a panel."""
WIDE = 10.0
"""Values that differ by more than this factor stand on a logarithmic axis."""
MANY = 2000
"""Points and lines from which on they are drawn as an image, also in files of vectors."""
VIRIDIS = colormaps["viridis"]
DARK = ListedColormap(VIRIDIS(np.linspace(0.0, 0.92, 256)), "viridis without its lightest end")
"""Colors of points and lines on white."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a sweep as a figure shows it: numbers or texts of some points, name and unit.

    `log` tells whether numbers stand on a logarithmic axis, `edges` are those of the groups that numbers were put in, `order` has all texts
    that there may be, in their order; none: as they come.
    """

    label: str
    values: Array
    log: bool = False
    edges: Array | None = None
    order: tuple[Any, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether its values are names, or true and false."""
        return self.values.dtype.kind in "Ob"

    @property
    def names(self) -> list[str]:
        """Its values as text, each once, in their order."""
        values = self.values if self.values.dtype == object else np.sort(self.values)
        return list(dict.fromkeys(_names([*self.order, *values.tolist()])))


def wide(values: Array) -> bool:
    """Return whether numbers differ so much that they belong on a logarithmic axis."""
    return bool(len(values) and values.min() > 0.0 and values.max() > WIDE * values.min())


def short(value: float) -> str:
    """Return a number with three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def fit_labels(figure: Figure) -> None:
    """Break names of axes and legends that would run out of the figure into lines."""
    for legend in figure.legends:
        title = legend.get_title()
        title.set_text(textwrap.fill(title.get_text(), int(0.95 * figure.get_size_inches()[0] / CHARACTER_IN)))
    figure.draw_without_rendering()  # which settles how long the axes are
    for ax in figure.axes:
        for axis, pixels in ((ax.xaxis, ax.bbox.width), (ax.yaxis, ax.bbox.height)):
            box = axis.label.get_window_extent()
            if box.x0 < 0.0 or box.y0 < 0.0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1:
                axis.set_label_text(textwrap.fill(axis.get_label_text(), max(int(pixels / figure.dpi / CHARACTER_IN), 8)))


def names_of(values: Array) -> list[str]:
    """Return categories as text."""
    return _names(values.tolist())


def _names(values: Sequence[Any]) -> list[str]:
    return [
        str(value).lower() if isinstance(value, bool) else short(value) if isinstance(value, (int, float)) else str(value)
        for value in values
    ]


def category_looks(column: Column) -> dict[str, Look]:
    """Return the look of each category, in the order of bottlenecks, of rising numbers, or as they come.

    Raises
    ------
    SocsimError
        There are more than can be told apart.
    """
    names, there = column.names, set(names_of(column.values))
    if len(names) > len(SERIES):
        raise SocsimError(f"'{column.label}' has {len(names)} values; at most {len(SERIES)} can be told apart by color")
    styles = BOTTLENECKS if there <= set(BOTTLENECKS) else looks(names)
    return {name: look for name, look in styles.items() if name in there}


def color_norm(column: Column) -> Normalize:
    """Return how numbers become colors."""
    low, high = float(column.values.min()), float(column.values.max())
    return LogNorm(low, high) if column.log else Normalize(low, high if high > low else low + (abs(low) or 1.0))


def add_color_bar(figure: Figure, ax: Axes, mappable: Any, column: Column) -> None:
    """Draw what the colors stand for beside a panel."""
    bar = figure.colorbar(mappable, ax=ax, pad=0.02, aspect=25, label=column.label)
    if column.log:
        decades = np.log10(mappable.norm.vmax / mappable.norm.vmin)
        bar.locator = LogLocator(subs=TICKS[2] if decades < 3 else TICKS[0])
    else:
        bar.locator = MaxNLocator(5)
    bar.formatter = FuncFormatter(lambda value, _: short(value))
    bar.update_ticks()
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.outline.set_linewidth(0.4)


def number_axis(axis: Any, column: Column) -> None:
    """Set up an axis for some numbers, with room beyond them."""
    low, high = float(column.values.min()), float(column.values.max())
    if column.log:
        log_axis(axis, [low, high], (high / low) ** 0.06)
    else:
        room = 0.06 * (high - low or abs(high) or 1.0)
        axis.axes.set(**{f"{axis.axis_name}lim": (low - room, high + room)})
        axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_label_text(column.label)
