"""Two axes of a sweep as a grid of cells: a metric as color, or what each point is bound by as color and hatch."""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.palette import BOTTLENECKS
from socsim.plots.axes import CHARACTER_IN, add_legend, legend_lines, log_axis, sheet
from socsim.plots.columns import VIRIDIS, Column, add_color_bar, category_looks, color_norm, fit_labels, names_of, short
from socsim.plots.style import STYLE, WIDTH_IN, check_columns

Array = NDArray[Any]

CELL_IN, LEAST_IN, MOST_IN = 0.24, 1.9, 3.6
"""Height of a row of cells, and of a panel."""
AXIS_IN = 1.1
"""What a panel's width loses to its vertical axis and the colors."""
NAMED = 12
"""Values of an axis up to which each is written beside its cells."""
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++", "oooo", "||||")
"""Of categories side by side, which grey alone would not tell apart."""
CELL_SIZE = 6.5
MISSING: dict[str, Any] = {"facecolor": "#F2F2F2", "edgecolor": "#A0A0A0", "hatch": "xxxxxxx", "linewidth": 0.0}
LINE = 12
"""Characters in a line of a name on the vertical axis."""


class Cells(NamedTuple):
    """Where the cells of an axis lie: their edges, of which cell each point is, and their names or None where numbers are a scale."""

    edges: Array
    place: NDArray[np.int64]
    names: list[str] | None


def cells_of(column: Column) -> Cells:
    """Return the cells of an axis: its groups, one for each of its few values, or of many evenly spaced ones."""
    if column.edges is not None:
        place = np.clip(np.searchsorted(column.edges, column.values, side="right") - 1, 0, len(column.edges) - 2)
        return Cells(column.edges, place, None)
    if column.is_text:
        names = names_of(column.values)
        order = [name for name in column.names if name in set(names)]
        return Cells(np.arange(len(order) + 1) - 0.5, np.array([order.index(name) for name in names]), order)
    values, place = np.unique(column.values, return_inverse=True)
    if len(values) <= NAMED:
        return Cells(np.arange(len(values) + 1) - 0.5, place, [short(value) for value in values.tolist()])
    scaled = np.log(values) if column.log else values.astype(np.float64)
    middles = (scaled[1:] + scaled[:-1]) / 2.0
    edges = np.r_[2.0 * scaled[0] - middles[0], middles, 2.0 * scaled[-1] - middles[-1]]
    return Cells(np.exp(edges) if column.log else edges, place, None)


def heat_map(x: Column, y: Column, color: Column, *, columns: int = 1) -> Figure:
    """Draw numbers as the color of cells, and write them in where there is room.

    Parameters
    ----------
    x, y
        Where each point is; a cell has at most one.
    color
        The metric.
    columns
        Width of the figure in columns of a paper.

    Raises
    ------
    SocsimError
        There are no points, or the width is unknown.
    """
    across, up = _grid("heat_map", x, y, columns)
    missing = _missing(across, up)
    with matplotlib.style.context(STYLE):
        figure, (ax,) = sheet(1, 1, _height(up), columns, 1 if missing.any() else 0)
        _set_axes(ax, across, up, x, y, WIDTH_IN[columns])
        grid = np.full(missing.shape, np.nan)
        grid[up.place, across.place] = color.values
        norm = color_norm(color)
        drawn = ax.pcolormesh(across.edges, up.edges, np.ma.masked_invalid(grid), cmap=VIRIDIS, norm=norm, rasterized=grid.size > 2000)
        _mark_missing(ax, across, up, missing)
        add_color_bar(figure, ax, drawn, color)
        if missing.any():
            add_legend(figure, [Patch(label="no point", **MISSING)], columns)
        fit_labels(figure)
        _write_values(figure, ax, across, up, color, VIRIDIS(norm(color.values)))
    return figure


def category_map(x: Column, y: Column, category: Column, *, columns: int = 1) -> Figure:
    """Draw names, such as what bounds each point, as color and hatch of cells.

    Parameters
    ----------
    x, y
        Where each point is; a cell has at most one.
    category
        The names, which may be numbers.
    columns
        Width of the figure in columns of a paper.

    Raises
    ------
    SocsimError
        There are no points, more names than can be told apart, or the width is unknown.
    """
    across, up = _grid("category_map", x, y, columns)
    looks, names, missing = category_looks(category), np.array(names_of(category.values)), _missing(across, up)
    order = list(BOTTLENECKS) if set(looks) <= set(BOTTLENECKS) else category.names
    styles: dict[str, dict[str, Any]] = {}
    for name, look in looks.items():
        edge = "white" if luminance(look.color) < 0.35 else "black"
        styles[name] = {"facecolor": look.color, "hatch": HATCHES[order.index(name)], "edgecolor": edge, "linewidth": 0.3}
    handles = [Patch(label=name, **style) for name, style in styles.items()]
    handles += [Patch(label="no point", **MISSING)] if missing.any() else []
    labels = [str(handle.get_label()) for handle in handles]
    with matplotlib.style.context(STYLE):
        figure, (ax,) = sheet(1, 1, _height(up), columns, legend_lines(labels, columns) + 1)
        _set_axes(ax, across, up, x, y, WIDTH_IN[columns])
        for name, style in styles.items():
            own = names == name
            ax.add_collection(PatchCollection(_boxes(across, up, across.place[own], up.place[own]), **style))
        _mark_missing(ax, across, up, missing)
        add_legend(figure, handles, columns)
        figure.legends[0].set_title(category.label)
        fit_labels(figure)
    return figure


def luminance(color: Any) -> float:
    """Return how light a color is in grey, from 0 to 1."""
    return float(np.dot(to_rgb(color), (0.299, 0.587, 0.114)))


def _grid(what: str, x: Column, y: Column, columns: int) -> tuple[Cells, Cells]:
    check_columns(what, columns)
    if not len(x.values):
        raise SocsimError(f"{what}: there are no points to draw")
    return cells_of(x), cells_of(y)


def _height(up: Cells) -> float:
    return float(np.clip(CELL_IN * (len(up.edges) - 1) + 0.5, LEAST_IN, MOST_IN))


def _missing(across: Cells, up: Cells) -> NDArray[np.bool_]:
    missing = np.ones((len(up.edges) - 1, len(across.edges) - 1), dtype=np.bool_)
    missing[up.place, across.place] = False
    return missing


def _boxes(across: Cells, up: Cells, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> list[Rectangle]:
    """Return some cells."""
    left, below, wide, high = across.edges[:-1], up.edges[:-1], np.diff(across.edges), np.diff(up.edges)
    return [Rectangle((left[i], below[j]), wide[i], high[j]) for i, j in zip(columns.tolist(), rows.tolist(), strict=True)]


def _mark_missing(ax: Axes, across: Cells, up: Cells, missing: NDArray[np.bool_]) -> None:
    rows, columns = np.nonzero(missing)
    if len(rows):
        ax.add_collection(PatchCollection(_boxes(across, up, columns, rows), **MISSING))


def _set_axes(ax: Axes, across: Cells, up: Cells, x: Column, y: Column, width_in: float) -> None:
    """Name the cells, all or as many as fit, or let numbers be a scale."""
    for axis, cells, column in ((ax.xaxis, across, x), (ax.yaxis, up, y)):
        axis.set_label_text(column.label)
        if cells.names is None:
            _set_scale(axis, cells, column)
    room = (width_in - AXIS_IN) / (len(across.edges) - 1)
    if across.names is not None:
        longest = max(map(len, across.names))
        slanted = x.is_text and longest * CHARACTER_IN > room
        step = 1 if x.is_text else int(np.ceil((longest + 1) * CHARACTER_IN / room))
        ax.set_xticks(range(0, len(across.names), step), across.names[::step])
        if slanted:
            for label in ax.get_xticklabels():
                label.set(rotation=30, ha="right", rotation_mode="anchor")
    if up.names is not None:
        ax.set_yticks(range(len(up.names)), [textwrap.fill(name, LINE, break_long_words=False) for name in up.names])
    ax.set(xlim=(across.edges[0], across.edges[-1]), ylim=(up.edges[0], up.edges[-1]))
    ax.tick_params(length=0 if across.names and up.names else 2.5)


def _set_scale(axis: Any, cells: Cells, column: Column) -> None:
    """Let numbers be a scale, logarithmic where they are spaced so."""
    if column.log:
        log_axis(axis, [cells.edges[0], cells.edges[-1]], 1.0)
    else:
        axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _write_values(figure: Figure, ax: Axes, across: Cells, up: Cells, color: Column, colors: Array) -> None:
    """Write the number into each cell, if all fit."""
    figure.draw_without_rendering()  # which settles how large the cells are
    texts = [short(value) for value in color.values.tolist()]
    pixel = figure.dpi
    wide, high = ax.bbox.width / (len(across.edges) - 1) / pixel, ax.bbox.height / (len(up.edges) - 1) / pixel
    if across.names is None or up.names is None or max(map(len, texts)) * CHARACTER_IN * 0.85 > wide or high < 0.12:
        return
    for text, column, row, face in zip(texts, across.place.tolist(), up.place.tolist(), colors, strict=True):
        ink = "black" if luminance(face[:3]) > 0.45 else "white"
        ax.text(column, row, text, ha="center", va="center", fontsize=CELL_SIZE, color=ink).set_in_layout(False)
