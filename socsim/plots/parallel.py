"""Parallel coordinates: a vertical axis for each column of a sweep, a line for each point."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.plots.axes import sheet
from socsim.plots.columns import DARK, MANY, Column, add_color_bar, color_norm, fit_labels, names_of, short
from socsim.plots.style import STYLE, WIDTH_IN, check_columns

HEIGHT_IN = 2.7
MOST = {1: 5, 2: 10}
"""Vertical axes that fit, by columns of a paper."""
NAMED = 6
"""Values of an axis up to which each is written."""
TICKS = 5
BEST = 10
"""Lines that stand out."""
INK = 60.0
"""Lines of which all may be opaque; more share as much ink."""
TEXT_SIZE, CHARACTER_IN = 6.5, 0.058
BAR_IN = 0.9
TICK_IN, TEXT_IN = 0.025, 0.045
"""Length of a tick, and how far its number is from the axis."""


def parallel(shown: Sequence[Column], color: Column, *, larger_is_better: bool = False, columns: int = 2) -> Figure:
    """Draw a line for each point through its values, colored by a metric; the best are above all others, and dark.

    Parameters
    ----------
    shown
        What the vertical axes have, from left to right.
    color
        The metric.
    larger_is_better
        Whether the best points have the largest values of it.
    columns
        Width of the figure in columns of a paper.

    Raises
    ------
    SocsimError
        There are no points, too few or too many axes, or the width is unknown.
    """
    check_columns("parallel", columns)
    if not 2 <= len(shown) <= MOST[columns] or not len(color.values):
        found = f"{len(shown)} columns and {len(color.values)} points"
        raise SocsimError(f"parallel: there are {found}; allowed: 2 to {MOST[columns]} columns")
    heights, ticks = zip(*map(_heights, shown), strict=True)
    lines = np.stack([np.broadcast_to(np.arange(len(shown), dtype=np.float64), (len(color.values), len(shown))), np.stack(heights, 1)], 2)
    worst_first = np.argsort(color.values if larger_is_better else -color.values, kind="stable")
    colormap, norm = DARK.reversed() if larger_is_better else DARK, color_norm(color)
    count = len(worst_first)
    with matplotlib.style.context(STYLE):
        figure, (ax,) = sheet(1, 1, HEIGHT_IN, columns, 0)
        for rows, style in (
            (worst_first[:-BEST], {"alpha": float(np.clip(INK / count, 0.06, 0.7)), "linewidths": 0.6, "zorder": 2}),
            (worst_first[-BEST:], {"alpha": 1.0, "linewidths": 1.3, "zorder": 3}),
        ):
            ax.add_collection(
                LineCollection(list(lines[rows]), colors=colormap(norm(color.values[rows])), rasterized=len(rows) > MANY, **style)
            )
        _set_axes(ax, shown, ticks, columns)
        add_color_bar(figure, ax, ScalarMappable(norm, colormap), color)
        fit_labels(figure)
    return figure


def _heights(column: Column) -> tuple[NDArray[Any], list[tuple[float, str]]]:
    """Return where values stand on their axis, from 0 to 1, and what is written beside it."""
    if column.is_text:
        names = names_of(column.values)
        there = set(names)
        order = [name for name in column.names if name in there]
        last = max(len(order) - 1, 1)
        return np.array([order.index(name) / last for name in names]), [(place / last, name) for place, name in enumerate(order)]
    scaled = np.log(column.values) if column.log else column.values.astype(np.float64)
    low, span = scaled.min(), float(np.ptp(scaled)) or 1.0
    values = np.unique(scaled)
    if len(values) > NAMED:
        values = np.linspace(low, low + span, TICKS)
    written = [(float((value - low) / span), short(float(np.exp(value)) if column.log else float(value))) for value in values]
    return (scaled - low) / span, written


def _set_axes(ax: Axes, shown: Sequence[Column], ticks: Sequence[Sequence[tuple[float, str]]], columns: int) -> None:
    """Draw the vertical axes with their numbers, and their names above them."""
    last = len(shown) - 1
    ax.set(xlim=(-0.02 * last, last * (1.0 + 0.1)), ylim=(-0.04, 1.04), yticks=[])
    room = (WIDTH_IN[columns] - BAR_IN) / (len(shown) + 0.2)
    unit = (WIDTH_IN[columns] - BAR_IN) / (1.12 * last)  # inches from an axis to the next
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.xaxis.tick_top()
    ax.set_xticks(range(len(shown)), [textwrap.fill(each.label, max(int(room / CHARACTER_IN), 4)) for each in shown], fontsize=7)
    ax.tick_params(axis="x", length=0)
    for place, written in enumerate(ticks):
        ax.axvline(place, color="black", linewidth=0.6, zorder=4)
        for height, text in written:
            ax.plot([place, place + TICK_IN / unit], [height, height], color="black", linewidth=0.6, zorder=4)
            box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0.0, "pad": 0.6}
            fitting = textwrap.fill(text, max(int(0.8 * room / CHARACTER_IN), 4))
            ax.text(place + TEXT_IN / unit, height, fitting, fontsize=TEXT_SIZE, va="center", ha="left", zorder=5, bbox=box)
