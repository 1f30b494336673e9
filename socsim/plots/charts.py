"""Bars, stacked bars and lines from tidy tables: simulated values, with published ones as hollow markers.

Rows are mappings; `x`, `y`, `series`, `panel` and `published` name their columns. Panels and groups stand in the order in which
they come, engines in that of `socsim.palette`; a row whose value is None is left out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from socsim.errors import SocsimError
from socsim.palette import SERIES, Look, looks
from socsim.plots.axes import CHARACTER_IN, add_legend, legend_lines, log_axis, plain, sheet
from socsim.plots.style import STYLE, WIDTH_IN, check_columns

Row = Mapping[str, Any]

GROUP = 0.8  # width of a group of bars; groups are 1 apart
PER_ROW = {1: 1, 2: 3}  # panels side by side, by columns of a paper
HEIGHT_IN = 1.9  # of a panel
AXIS_IN = 0.55  # what a panel's width loses to its vertical axis
PUBLISHED = "published"
HOLLOW: dict[str, Any] = {"marker": "D", "markersize": 3.2, "markerfacecolor": "white", "markeredgecolor": "black", "markeredgewidth": 0.7}
EDGE: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.3}


def bars(
    rows: Sequence[Row], *, x: str, y: str, series: str, y_label: str, x_label: str = "", panel: str | None = None,
    published: str | None = None, log: bool = False, share_y: bool = False,
    columns: int = 2, across: int | None = None, height_in: float = HEIGHT_IN,
) -> Figure:  # fmt: skip
    """Draw bars side by side: a group for each value of `x`, a bar for each series, a panel for each value of `panel`.

    Parameters
    ----------
    rows
        At most one for each panel, group and series.
    x, y, series, panel, published
        Names of columns.
    y_label, x_label
        Names of the axes, with unit.
    log
        Whether the vertical axis is logarithmic.
    share_y
        Whether it is the same in all panels.
    columns, across, height_in
        Width of the figure in columns of a paper, panels side by side, and the height of each.

    Raises
    ------
    SocsimError
        There is nothing to draw, or the width is unknown.
    """
    panels = _panels("bars", rows, y, panel, columns)
    styles = looks(row[series] for part in panels.values() for row in part)
    handles: list[Artist] = [Patch(facecolor=look.color, hatch=look.hatch, label=name, **EDGE) for name, look in styles.items()]
    handles += _published_key(panels, published)
    with matplotlib.style.context(STYLE):
        figure, axes = _chart(panels, handles, columns, across, height_in, (x_label, y_label))
        for ax, part in zip(axes, panels.values(), strict=True):
            groups = _values(part, x)
            own = [name for name in styles if any(row[series] == name for row in part)]
            width = GROUP / len(own)
            for row in part:
                look, place = styles[row[series]], groups.index(row[x]) - GROUP / 2 + (own.index(row[series]) + 0.5) * width
                ax.bar(place, row[y], width, facecolor=look.color, hatch=look.hatch, **EDGE)
                if published and row.get(published) is not None:
                    ax.plot(place, row[published], **HOLLOW)
            _name_groups(ax, groups, columns, _across(len(panels), across, columns))
            numbers = _numbers(rows if share_y else part, y, published)
            _scale(ax.yaxis, numbers, log=log)
            if not log:
                ax.set_ylim(1.08 * min(0.0, *numbers), 1.08 * max(0.0, *numbers) or 1.0)
    return figure


def stacked_bars(
    rows: Sequence[Row], *, x: str, parts: Mapping[str, str], y_label: str, x_label: str = "", panel: str | None = None,
    published: str | None = None, colors: Mapping[str, Look] | None = None, columns: int = 2, across: int | None = None,
    height_in: float = HEIGHT_IN,
) -> Figure:  # fmt: skip
    """Draw one bar for each row, its parts on top of each other.

    Parameters
    ----------
    rows
        At most one for each panel and group.
    parts
        Columns that are stacked, the lowest first, with their names in the legend.
    published
        Column of what was published of the whole bar.
    colors
        Look of each part by its column; default: the usual series.
    x, y_label, x_label, panel, columns, across, height_in
        As in `bars`.

    Raises
    ------
    SocsimError
        There is nothing to draw, or the width is unknown.
    """
    panels = _panels("stacked_bars", rows, next(iter(parts), "parts"), panel, columns)
    styles = dict(zip(parts, SERIES, strict=False)) if colors is None else dict(colors)
    handles: list[Artist] = [
        Patch(facecolor=styles[part].color, hatch=styles[part].hatch, label=label, **EDGE) for part, label in parts.items()
    ]
    handles += _published_key(panels, published)
    with matplotlib.style.context(STYLE):
        figure, axes = _chart(panels, handles, columns, across, height_in, (x_label, y_label))
        for ax, part in zip(axes, panels.values(), strict=True):
            groups = _values(part, x)
            for row in part:
                place, below = groups.index(row[x]), 0.0
                for name, look in styles.items():
                    ax.bar(place, row[name] or 0.0, 0.7, bottom=below, facecolor=look.color, hatch=look.hatch, **EDGE)
                    below += row[name] or 0.0
                if published and row.get(published) is not None:
                    ax.plot(place, row[published], **HOLLOW)
            _name_groups(ax, groups, columns, _across(len(panels), across, columns))
            ax.yaxis.set_major_locator(MaxNLocator(5))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    return figure


def lines(
    rows: Sequence[Row], *, x: str, y: str, series: str, x_label: str, y_label: str, panel: str | None = None,
    published: str | None = None, log_x: bool = False, log_y: bool = False, share_y: bool = False,
    columns: int = 2, across: int | None = None, height_in: float = HEIGHT_IN,
) -> Figure:  # fmt: skip
    """Draw a line for each series, with its points; published values have the marker of their series, hollow.

    Parameters
    ----------
    rows
        Points; those of a line are joined by rising `x`.
    log_x, log_y
        Whether an axis is logarithmic. With less than seven values of `x`, all are labeled on a logarithmic axis.
    x, y, series, panel, published, x_label, y_label, share_y, columns, across, height_in
        As in `bars`.

    Raises
    ------
    SocsimError
        There is nothing to draw, or the width is unknown.
    """
    panels = _panels("lines", rows, y, panel, columns)
    styles = looks(row[series] for part in panels.values() for row in part)
    handles: list[Artist] = [Line2D([], [], color=s.color, marker=s.marker, markersize=3, label=name) for name, s in styles.items()]
    handles += _published_key(panels, published, marker="o")
    with matplotlib.style.context(STYLE):
        figure, axes = _chart(panels, handles, columns, across, height_in, (x_label, y_label))
        for ax, part in zip(axes, panels.values(), strict=True):
            for name, look in styles.items():
                own = sorted((row for row in part if row[series] == name), key=lambda row: row[x])
                ax.plot([row[x] for row in own], [row[y] for row in own], color=look.color, marker=look.marker, markersize=3)
                known = [row for row in own if published and row.get(published) is not None]
                hollow: dict[str, Any] = {
                    "marker": look.marker,
                    "markersize": 5,
                    "markerfacecolor": "none",
                    "linestyle": "",
                    "color": look.color,
                }
                ax.plot([row[x] for row in known], [row[published] for row in known if published], **hollow)
            _scale(ax.xaxis, _numbers(part, x, None), log=log_x, room=1.15)
            numbers = _numbers(rows if share_y else part, y, published)
            _scale(ax.yaxis, numbers, log=log_y)
            if log_x and len(_values(part, x)) < 7:
                ax.set_xticks(sorted(_values(part, x)))
            if not log_y:
                ax.set_ylim(1.08 * min(0.0, *numbers), 1.08 * max(numbers))
    return figure


def _panels(what: str, rows: Sequence[Row], y: str, panel: str | None, columns: int) -> dict[str, list[Row]]:
    """Return the rows of each panel by its title."""
    check_columns(what, columns)
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.get(y) is not None:
            found.setdefault(str(row[panel]) if panel else "", []).append(row)
    if not found:
        raise SocsimError(f"{what}: there are no rows with '{y}' to draw")
    return found


def _chart(
    panels: Mapping[str, Any], handles: Sequence[Artist], columns: int, across: int | None, height_in: float, labels: tuple[str, str]
) -> tuple[Figure, list[Axes]]:
    """Return a figure with titled panels and a legend; the vertical axis is named where it is leftmost."""
    beside = _across(len(panels), across, columns)
    named = [str(handle.get_label()) for handle in handles]
    figure, axes = sheet(len(panels), beside, height_in, columns, legend_lines(named, columns))
    for place, (ax, title) in enumerate(zip(axes, panels, strict=True)):
        ax.set_title(title)
        ax.set_xlabel(labels[0])
        if place % beside == 0:
            ax.set_ylabel(labels[1])
    if len(handles) > 1:
        add_legend(figure, handles, columns)
    return figure, axes


def _across(panels: int, across: int | None, columns: int) -> int:
    return min(panels, across or PER_ROW[columns])


def _values(rows: Sequence[Row], column: str) -> list[Any]:
    """Return the values of a column as they come, each once."""
    return list(dict.fromkeys(row[column] for row in rows))


def _numbers(rows: Sequence[Row], column: str, published: str | None) -> list[float]:
    """Return all numbers of a column, and those published beside it."""
    return [float(row[name]) for row in rows for name in (column, published) if name and row.get(name) is not None]


def _published_key(panels: Mapping[str, Sequence[Row]], published: str | None, marker: str = "D") -> list[Artist]:
    """Return the legend's entry of published values, if there are any."""
    if not any(row.get(published) is not None for part in panels.values() for row in part if published):
        return []
    return [Line2D([], [], linestyle="", label=PUBLISHED, **(HOLLOW | {"marker": marker}))]


def _name_groups(ax: Axes, groups: Sequence[Any], columns: int, across: int) -> None:
    """Write the name of each group below it, in lines that fit, else slanted."""
    room = int((WIDTH_IN[columns] / across - AXIS_IN) / len(groups) / CHARACTER_IN)
    texts = [plain(group) if isinstance(group, (int, float)) else str(group) for group in groups]
    broken = [textwrap.fill(text, max(room, 1), break_long_words=False) for text in texts]
    fits = all(len(line) <= room for text in broken for line in text.split("\n"))
    ax.set_xticks(range(len(groups)), broken if fits else texts)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.6, len(groups) - 0.4)
    if not fits:
        for label in ax.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")


def _scale(axis: Any, values: Sequence[float], *, log: bool, room: float = 1.4) -> None:
    """Set up an axis for some values."""
    if log:
        log_axis(axis, values, room)
        return
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
