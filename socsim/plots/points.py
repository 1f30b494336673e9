"""Points of two quantities against each other, joined or not, with published ones that stand at other places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from socsim.errors import SocsimError
from socsim.palette import Look, looks
from socsim.plots.axes import add_legend, legend_lines, log_axis, plain, sheet
from socsim.plots.style import STYLE, check_columns

Row = Mapping[str, Any]

ACROSS = {1: 1, 2: 4}  # panels side by side, by columns of a paper
HEIGHT_IN = 1.9  # of a panel
SIZE, HOLLOW_SIZE = 3.0, 3.6
PUBLISHED = Look("#000000", "D")
LABEL_SIZE = 6.5
ROOM, LABEL_ROOM = 1.4, 2.0
"""Factors of space beyond the values on a logarithmic axis, without and with labels."""
LABEL_PLACES = (
    ((3.5, 2.0), "left", "bottom"), ((3.5, -2.0), "left", "top"), ((-3.5, 2.0), "right", "bottom"), ((-3.5, -2.0), "right", "top"),
)  # fmt: skip
"""Where a label may stand: offset in points from its point, and how it is aligned."""


def points(
    rows: Sequence[Row], *, x: str, y: str, series: str, x_label: str, y_label: str, panel: str | None = None,
    published: Sequence[Row] = (), label: str | None = None, mark_x: float | None = None,
    log_x: bool = False, log_y: bool = False, share_y: bool = False,
    columns: int = 2, across: int | None = None, height_in: float = HEIGHT_IN,
) -> Figure:  # fmt: skip
    """Draw filled points for each series, joined as they come, and hollow ones for what was published, never joined.

    Parameters
    ----------
    rows, published
        Points; those without a value of `y`, and of a logarithmic axis those at or below 0, are left out. Series that are in both
        have one look; a single one that was only published has black diamonds, as everywhere.
    label
        Column of what is written beside a point, if there is room; None: nothing.
    mark_x
        Where a vertical line stands in each panel.
    x, y, series, panel, x_label, y_label, log_x, log_y, share_y, columns, across, height_in
        As in `socsim.plots.lines`.

    Raises
    ------
    SocsimError
        There is nothing to draw, or the width is unknown.
    """
    check_columns("points", columns)
    own, others = ([row for row in part if _drawable(row, x, log_x) and _drawable(row, y, log_y)] for part in (rows, published))
    every = own + others
    if not every:
        raise SocsimError(f"points: there are no rows with '{y}' to draw")
    styles, handles = _styles([str(row[series]) for row in own], [str(row[series]) for row in others])
    titles = list(dict.fromkeys(str(row[panel]) if panel else "" for row in every))
    beside, room = min(len(titles), across or ACROSS[columns]), LABEL_ROOM if label else ROOM
    drawn: dict[Axes, list[Row]] = {}
    with matplotlib.style.context(STYLE):
        lines = legend_lines([str(handle.get_label()) for handle in handles], columns)
        figure, axes = sheet(len(titles), beside, height_in, columns, lines)
        for place, (ax, title) in enumerate(zip(axes, titles, strict=True)):
            here, there = ([row for row in part if not panel or str(row[panel]) == title] for part in (own, others))
            if mark_x is not None:
                ax.axvline(mark_x, color="#999999", linewidth=0.7, linestyle=":")
            for part, filled in ((here, True), (there, False)):
                _draw(ax, part, styles, (x, y, series), filled=filled)
            drawn[ax] = here + there
            _scale(ax.xaxis, [float(row[x]) for row in drawn[ax]], log=log_x, room=room)
            _scale(ax.yaxis, [float(row[y]) for row in (every if share_y else drawn[ax])], log=log_y, room=room)
            ax.set_title(title)
            ax.set_xlabel(x_label)
            if place % beside == 0:
                ax.set_ylabel(y_label)
        if len(handles) > 1:
            add_legend(figure, handles, columns)
        if label:
            _label(figure, drawn, x, y, label)
    return figure


def _styles(own: Sequence[str], published: Sequence[str]) -> tuple[dict[str, Look], list[Artist]]:
    """Return the look of each series, and the entries of the legend."""
    styles = looks([*own, *published])
    if len(hollow := [name for name in styles if name not in own]) == 1:
        styles[hollow[0]] = PUBLISHED
    handles: list[Artist] = [_key(look, name if name in own else f"{name}, published", filled=name in own) for name, look in styles.items()]
    if both := [name for name in styles if name in own and name in published]:
        marker = styles[both[0]].marker if len(both) == 1 else PUBLISHED.marker
        handles.append(_key(Look(PUBLISHED.color, marker), "published", filled=False))
    return styles, handles


def _drawable(row: Row, column: str, log: bool) -> bool:
    return row.get(column) is not None and (not log or row[column] > 0.0)


def _draw(ax: Axes, rows: Sequence[Row], styles: Mapping[str, Look], names: tuple[str, str, str], *, filled: bool) -> None:
    """Draw each series of a panel; `names` are those of the columns of both axes and of the series."""
    x, y, series = names
    for name, look in styles.items():
        own = [row for row in rows if str(row[series]) == name]
        ax.plot([row[x] for row in own], [row[y] for row in own], **_look(look, filled=filled))


def _look(look: Look, *, filled: bool) -> dict[str, Any]:
    """Return how points of a series are drawn."""
    if filled:
        return {"color": look.color, "marker": look.marker, "markersize": SIZE, "linewidth": 1.0}
    hollow = {"markerfacecolor": "none", "markeredgewidth": 0.7, "linestyle": ""}
    return {"color": look.color, "marker": look.marker, "markersize": HOLLOW_SIZE, **hollow}


def _key(look: Look, name: str, *, filled: bool) -> Line2D:
    """Return a legend's entry."""
    return Line2D([], [], label=name, **_look(look, filled=filled))


def _label(figure: Figure, axes: Mapping[Axes, Sequence[Row]], x: str, y: str, label: str) -> None:
    """Write beside points, where there is room: neither on another label or point nor outside of the panel."""
    figure.draw_without_rendering()  # which settles where the panels are
    for ax, rows in axes.items():
        pixels = figure.dpi / 72.0
        spots = [ax.transData.transform((row[x], row[y])) for row in rows]
        taken = [Bbox([spot - 2.0 * pixels, spot + 2.0 * pixels]) for spot in spots]
        for row in (row for row in rows if row.get(label)):
            for offset, across, up in LABEL_PLACES:
                where: dict[str, Any] = {"textcoords": "offset points", "fontsize": LABEL_SIZE, "ha": across, "va": up}
                text = ax.annotate(str(row[label]), (row[x], row[y]), offset, **where)
                box = text.get_window_extent()
                inside = ax.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1 and ax.bbox.y0 <= box.y0 - pixels
                if inside and not any(box.overlaps(other) for other in taken):
                    taken.append(box)
                    break
                text.remove()


def _scale(axis: Any, values: Sequence[float], *, log: bool, room: float) -> None:
    """Set up an axis for some values."""
    if log:
        log_axis(axis, values, room)
        return
    low, high = min(0.0, *values), max(0.0, *values)
    room = 0.08 * (high - low or 1.0)
    axis.axes.set(**{f"{axis.axis_name}lim": (low - (room if low < 0.0 or axis.axis_name == "x" else 0.0), high + room)})
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
