"""Figures of design spaces: what all of them share, curves over an axis, and all points with their Pareto front."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.palette import BOTTLENECKS, SERIES, Look, looks
from socsim.plots.axes import CHARACTER_IN, TICKS, add_legend, legend_lines, log_axis, sheet
from socsim.plots.charts import bars, lines
from socsim.plots.style import STYLE, check_columns

Array = NDArray[Any]

HEIGHT_IN = 2.4
WIDE = 10.0
"""Values that differ by more than this factor stand on a logarithmic axis."""
MANY = 2000
"""Points and lines from which on they are drawn as an image, also in files of vectors."""
VIRIDIS = colormaps["viridis"]
DARK = ListedColormap(VIRIDIS(np.linspace(0.0, 0.92, 256)), "viridis without its lightest end")
"""Colors of points and lines on white."""
GREY, FRONT = "#999999", "#D55E00"
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++", "oooo", "||||")
"""Of categories side by side, which grey alone would not tell apart."""
OTHERS: dict[str, Any] = {"s": 5.0, "linewidths": 0.0, "zorder": 2}
BEST: dict[str, Any] = {"s": 18.0, "linewidths": 0.6, "edgecolors": "black", "zorder": 4}
ALPHAS = (0.5, 0.25)
"""Of points that are not on the front: few, and many."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a design space as a figure shows it: numbers or texts of some points, name and unit.

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


def log_spaced(values: Sequence[float]) -> bool:
    """Return whether rising numbers, at least three, are about equal factors apart rather than equal differences."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 3 or array.min() <= 0.0:
        return False
    steps, factors = np.diff(array), np.diff(np.log(array))
    return bool(factors.std() / factors.mean() < 0.9 * steps.std() / steps.mean())


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


def curves(x: Column, y: Column, series: Column | None = None, *, columns: int = 1) -> Figure:
    """Draw a line for each series over an axis; bars where the axis has names.

    Raises
    ------
    SocsimError
        There are no points, more series than can be told apart, or the width is unknown.
    """
    if series is not None:
        category_looks(series)
    names = [""] * len(y.values) if series is None else names_of(series.values)
    order = np.argsort([series.names.index(name) for name in names], kind="stable") if series is not None else np.arange(len(names))
    if x.is_text:
        order = order[np.argsort([x.names.index(name) for name in np.array(names_of(x.values))[order].tolist()], kind="stable")]
    places = names_of(x.values) if x.is_text else x.values.tolist()
    rows = [{"x": places[row], "y": float(y.values[row]), "series": names[row]} for row in order]
    options: dict[str, Any] = {"x": "x", "y": "y", "series": "series", "x_label": x.label, "y_label": y.label, "columns": columns}
    if x.is_text:
        figure = bars(rows, **options, height_in=HEIGHT_IN)
    else:
        figure = lines(rows, **options, log_x=x.log, height_in=HEIGHT_IN)
        figure.axes[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    if figure.legends and series is not None:
        with matplotlib.style.context(STYLE):
            figure.legends[0].set_title(series.label)
    fit_labels(figure)
    return figure


def pareto(
    x: Column, y: Column, front: NDArray[np.bool_], *, color: Column | None = None, step: str | None = None, columns: int = 1
) -> Figure:
    """Draw all points small and light, and those of the Pareto front large.

    Parameters
    ----------
    x, y
        Two objectives.
    front
        Which points are on the front.
    color
        Third objective or an axis.
    step
        How the front is joined: ``post``, where less of `x` is better, or ``pre``; None: it is not, as in more than two dimensions.
    columns
        Width of the figure in columns of a paper.

    Raises
    ------
    SocsimError
        There are no points, more categories than can be told apart, or the width is unknown.
    """
    check_columns("pareto", columns)
    if not len(front):
        raise SocsimError("pareto: there are no points to draw")
    styles = category_looks(color) if color is not None and color.is_text else {}
    colors, markers = _points_looks(front, color, styles)
    handles = _pareto_legend(front, color, styles, joined=step is not None)
    with matplotlib.style.context(STYLE):
        lines_of_legend = legend_lines([str(handle.get_label()) for handle in handles], columns)
        figure, (ax,) = sheet(1, 1, HEIGHT_IN, columns, lines_of_legend)
        number_axis(ax.xaxis, x)
        number_axis(ax.yaxis, y)
        if step:
            order = np.lexsort((y.values[front], x.values[front]))
            ax.plot(x.values[front][order], y.values[front][order], drawstyle=f"steps-{step}", color=FRONT, linewidth=0.9, zorder=3)
        for part, style in ((~front, OTHERS), (front, BEST)):
            alpha = ALPHAS[int(part.sum()) > MANY] if style is OTHERS else 1.0
            for marker in dict.fromkeys(markers[part].tolist()):
                own = part & (markers == marker)
                options = {"rasterized": int(part.sum()) > MANY, "alpha": alpha, **style}
                ax.scatter(x.values[own], y.values[own], c=colors[own], marker=marker, **options)
        if color is not None and not styles:
            add_color_bar(figure, ax, ScalarMappable(color_norm(color), DARK), color)
        add_legend(figure, handles, columns)
        fit_labels(figure)
    return figure


def _points_looks(front: NDArray[np.bool_], color: Column | None, styles: Mapping[str, Look]) -> tuple[Array, Array]:
    """Return color and marker of each point."""
    markers = np.full(len(front), "o")
    if color is None:
        return np.where(front[:, None], to_rgba(FRONT), to_rgba(GREY)), markers
    if not styles:
        return np.asarray(DARK(color_norm(color)(color.values))), markers
    names = names_of(color.values)
    return np.array([to_rgba(styles[name].color) for name in names]), np.array([styles[name].marker for name in names])


def _pareto_legend(front: NDArray[np.bool_], color: Column | None, styles: Mapping[str, Look], *, joined: bool) -> list[Artist]:
    """Return the entries of the legend: front, others, categories."""
    count, others = int(front.sum()), int((~front).sum())
    face: dict[str, Any] = {"markerfacecolor": FRONT if color is None else "white", "markeredgecolor": "black", "markeredgewidth": 0.6}
    line: dict[str, Any] = {"color": FRONT, "linewidth": 0.9} if joined else {"linestyle": ""}
    handles: list[Artist] = [
        Line2D([], [], marker="o", markersize=4.2, label=f"front: {count:,} point{'s' if count > 1 else ''}", **face, **line)
    ]
    plain_point: dict[str, Any] = {"linestyle": "", "markeredgewidth": 0.0}
    if others:
        handles.append(
            Line2D([], [], marker="o", markersize=2.2, color=GREY, label=f"{others:,} other{'s' if others > 1 else ''}", **plain_point)
        )
    for name, look in styles.items():
        handles.append(Line2D([], [], marker=look.marker, markersize=3.6, color=look.color, label=name, **plain_point))
    return handles
