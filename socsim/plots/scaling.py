"""Curves over a factor, each point marked by what bounds the run there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2
from typing import Any

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from socsim.errors import SocsimError
from socsim.palette import Look
from socsim.plots.axes import add_legend, legend_lines, plain, sheet
from socsim.plots.style import STYLE, check_columns

Row = Mapping[str, Any]

LINES: tuple[Any, ...] = ("-", (0, (3.5, 1.3)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)))
GREY = "#555555"
HEIGHT_IN = 1.75  # of a panel


def marked_lines(
    rows: Sequence[Row], *, x: str, y: Mapping[str, str], series: str, panel: str, mark: str, marks: Mapping[str, Look], x_label: str,
    unmarked: Sequence[str] = (), columns: int = 2, height_in: float = HEIGHT_IN,
) -> Figure:  # fmt: skip
    """Draw grey lines whose points have the marker and the color of a name: a row of panels for each quantity.

    Parameters
    ----------
    rows
        Points; those of a line are joined by rising `x`.
    x
        Column of a factor; its axis is logarithmic, with 0 a step left of the least other value. Powers of 2 are labeled.
    y
        Columns of the quantities with the names of their axes, which all panels of a row share from 0 on.
    series, panel
        Columns that tell lines, by their pattern, and panels, side by side.
    mark
        Column with names of `marks`.
    marks
        Look of each name, in the order of the legend, which has those that occur; later ones are drawn above earlier ones.
    x_label
        Name of the axis.
    unmarked
        Quantities whose points are plain dots, as the name is not about them.
    columns, height_in
        Width of the figure in columns of a paper, and the height of a panel.

    Raises
    ------
    SocsimError
        There is nothing to draw, there are more lines than patterns, or the width is unknown.
    """
    check_columns("marked_lines", columns)
    names, titles = _values(rows, series), _values(rows, panel)
    if not rows or not y or len(names) > len(LINES):
        found = f"there are {len(rows)} rows, {len(y)} quantities and {len(names)} lines"
        raise SocsimError(f"marked_lines: {found}; allowed: 1 to {len(LINES)} lines")
    patterns = dict(zip(names, LINES, strict=False))
    handles = _legend(rows, patterns, mark, marks)
    with matplotlib.style.context(STYLE):
        labels = [str(handle.get_label()) for handle in handles]
        figure, axes = sheet(len(y) * len(titles), len(titles), height_in, columns, legend_lines(labels, columns))
        add_legend(figure, handles, columns)
        for place, ax in enumerate(axes):
            quantity, title = list(y)[place // len(titles)], titles[place % len(titles)]
            part = [row for row in rows if row[panel] == title and row[quantity] is not None]
            looks = {name: Look("black", "o") for name in marks} if quantity in unmarked else marks
            _draw(ax, part, x, quantity, series, patterns, mark, looks)
            _scale(ax, rows, x, quantity)
            ax.set_title(title if place < len(titles) else "")
            ax.set_xlabel(x_label if place >= len(titles) * (len(y) - 1) else "")
            ax.set_ylabel(y[quantity] if place % len(titles) == 0 else "")
    return figure


def positions(values: Sequence[float]) -> dict[float, float]:
    """Return where factors stand on a logarithmic axis; 0 is one step of 2 left of the least other one."""
    rising = sorted(set(values))
    least = next((value for value in rising if value > 0.0), 1.0)
    return {value: log2(value) if value > 0.0 else log2(least) - 1.0 for value in rising}


def _values(rows: Sequence[Row], column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in rows))


def _legend(rows: Sequence[Row], patterns: Mapping[str, Any], mark: str, marks: Mapping[str, Look]) -> list[Artist]:
    seen = {row[mark] for row in rows}
    handles: list[Artist] = [Line2D([], [], color=GREY, linestyle=pattern, label=str(name)) for name, pattern in patterns.items()]
    return handles + [
        Line2D([], [], color=look.color, marker=look.marker, markersize=4.5, linestyle="", label=f"bound by {name}")
        for name, look in marks.items()
        if name in seen
    ]


def _draw(
    ax: Axes, rows: Sequence[Row], x: str, y: str, series: str, patterns: Mapping[str, Any], mark: str, marks: Mapping[str, Look]
) -> None:
    place = positions([row[x] for row in rows])
    for name, pattern in patterns.items():
        own = sorted((row for row in rows if row[series] == name), key=lambda row: row[x])
        ax.plot([place[row[x]] for row in own], [row[y] for row in own], color=GREY, linestyle=pattern, linewidth=0.9)
        for row in own:
            look, above = marks[row[mark]], 3 + list(marks).index(row[mark])
            ax.plot(place[row[x]], row[y], marker=look.marker, color=look.color, markersize=3.8, markeredgewidth=0, zorder=above)


def _scale(ax: Axes, rows: Sequence[Row], x: str, y: str) -> None:
    """Mark each factor, and let the vertical axis hold the values of all panels of its row."""
    place = positions([row[x] for row in rows])
    ax.set_xticks(list(place.values()), [plain(value) if at.is_integer() else "" for value, at in place.items()])
    if 0.0 in place:  # no step of 2: a line that says so
        ax.axvline(place[0.0] + 0.5, color=GREY, linewidth=0.5, linestyle=":")
    ax.set_ylim(0, 1.1 * max(row[y] for row in rows if row[y] is not None))
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
