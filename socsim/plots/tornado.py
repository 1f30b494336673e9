"""How much each axis of a sweep matters: how far it moves a metric, or its share in the metric's variance."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from socsim.errors import SocsimError
from socsim.palette import SERIES
from socsim.plots.axes import add_legend, sheet
from socsim.plots.charts import EDGE
from socsim.plots.columns import fit_labels, short
from socsim.plots.style import STYLE, check_columns

ROW_IN, AROUND_IN = 0.26, 0.55
"""Height of a bar with the space to the next, and of what is above and below all bars."""
NAME = {1: 20, 2: 40}
"""Characters in a line of an axis' name, by columns of a paper."""
TEXT_SIZE = 6.5
GAP_IN = 0.04
COLOR = "#56B4E9"
FIRST, TOTAL = SERIES[0], SERIES[5]


class Bar(NamedTuple):
    """One axis: the least and the largest mean of a metric, and at which values of the axis they are."""

    name: str
    least: float
    least_at: str
    largest: float
    largest_at: str


class Share(NamedTuple):
    """One axis: its shares in the variance of a metric, alone and together with others, and half the widths of their intervals."""

    name: str
    first: float
    first_margin: float
    total: float
    total_margin: float


def tornado(bars: Sequence[Bar], mean: float | None, label: str, *, columns: int = 1) -> Figure:
    """Draw how far each axis moves a metric around its mean, the farthest on top, with values of the axis at both ends.

    There is no mean where bars are averages of different points.

    Raises
    ------
    SocsimError
        There are no bars, or the width is unknown.
    """
    figure, ax = _rows("tornado", [bar.name for bar in bars], [bar.largest - bar.least for bar in bars], columns, 1, 0)
    ranked = sorted(bars, key=lambda bar: -(bar.largest - bar.least))
    with matplotlib.style.context(STYLE):
        for row, bar in enumerate(ranked):
            ax.barh(row, bar.largest - bar.least, left=bar.least, height=0.62, facecolor=COLOR, **EDGE)
        if mean is not None:
            ax.axvline(mean, color="black", linewidth=0.8)
        ax.set_xlabel(f"average {label}")
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        means = [] if mean is None else [mean]
        low, high = min([*means, *(bar.least for bar in ranked)]), max([*means, *(bar.largest for bar in ranked)])
        fit_labels(figure)  # which settles how wide the panel is
        ends: list[list[float]] = [[], []]
        for row, bar in enumerate(ranked):
            for side, (at, text) in enumerate(((bar.least, bar.least_at), (bar.largest, bar.largest_at))):
                away = (-1 if side == 0 else 1) * 72.0 * GAP_IN
                where: dict[str, Any] = {"textcoords": "offset points", "fontsize": TEXT_SIZE, "va": "center"}
                written = ax.annotate(text, (at, row), (away, 0), ha=("right", "left")[side], **where)
                written.set_in_layout(False)
                ends[side].append(written.get_window_extent().width / figure.dpi + 2.0 * GAP_IN)
        width = ax.bbox.width / figure.dpi
        left, right = max(ends[0]), max(ends[1])
        per_inch = ((high - low) or abs(high) or 1.0) / max(width - left - right, 0.25 * width)
        ends_at = (low - left * per_inch, high + right * per_inch)
        ax.set_xlim(ends_at)
        if low >= 0.0:  # nothing is said about numbers below 0
            ax.set_xticks([tick for tick in ax.get_xticks() if max(0.0, ends_at[0]) <= tick <= ends_at[1]])
    return figure


def shares(axes: Sequence[Share], label: str, *, columns: int = 1) -> Figure:
    """Draw sensitivity indices with their confidence intervals, the largest total on top.

    Raises
    ------
    SocsimError
        There are no axes, or the width is unknown.
    """
    figure, ax = _rows("shares", [each.name for each in axes], [each.total for each in axes], columns, 1.4, 1)
    ranked = sorted(axes, key=lambda each: -each.total)
    with matplotlib.style.context(STYLE):
        error = {"elinewidth": 0.8, "capsize": 2.0, "capthick": 0.8}
        for row, each in enumerate(ranked):
            for value, margin, at, look in (
                (each.first, each.first_margin, row - 0.19, FIRST),
                (each.total, each.total_margin, row + 0.19, TOTAL),
            ):
                ax.barh(at, value, xerr=margin, height=0.38, facecolor=look.color, hatch=look.hatch, error_kw=error, **EDGE)
        low = min(0.0, *(each.first - each.first_margin for each in ranked), *(each.total - each.total_margin for each in ranked))
        high = max(1.0, *(each.total + each.total_margin for each in ranked), *(each.first + each.first_margin for each in ranked))
        ax.set_xlim(1.05 * low, 1.05 * high)
        if low < 0.0:  # the line at 0 is the axis
            ax.spines["left"].set_visible(False)
            ax.axvline(0.0, color="black", linewidth=0.6)
        ax.set_xlabel(f"share in the variance of {label}")
        handles = [
            Patch(facecolor=look.color, hatch=look.hatch, label=name, **EDGE) for name, look in (("alone", FIRST), ("in total", TOTAL))
        ]
        add_legend(figure, handles, columns)
        fit_labels(figure)
    return figure


def _rows(what: str, names: Sequence[str], ranks: Sequence[float], columns: int, rows_in: float, legend: int) -> tuple[Figure, Any]:
    """Return a figure with a row for each name, the highest rank on top."""
    check_columns(what, columns)
    if not names:
        raise SocsimError(f"{what}: there are no axes to draw")
    order = np.argsort([-rank for rank in ranks], kind="stable")
    with matplotlib.style.context(STYLE):
        written = [textwrap.fill(names[place], NAME[columns]) for place in order]
        lines = max(text.count("\n") + 1 for text in written)
        height = len(names) * max(ROW_IN * rows_in, 0.15 * lines) + AROUND_IN
        figure, (ax,) = sheet(1, 1, height, columns, legend)
        ax.set_yticks(range(len(names)), written)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
    return figure, ax
