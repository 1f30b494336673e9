"""All points of a sweep by two objectives, with their Pareto front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.palette import Look
from socsim.plots.axes import add_legend, legend_lines, sheet
from socsim.plots.columns import DARK, HEIGHT_IN, MANY, Column, add_color_bar, category_looks, color_norm, fit_labels, names_of, number_axis
from socsim.plots.style import STYLE, check_columns

Array = NDArray[Any]

GREY, FRONT = "#999999", "#D55E00"
NEUTRAL = "black"
"""Of the front's line among categories, one of which may have the usual color."""
OTHERS: dict[str, Any] = {"s": 5.0, "linewidths": 0.0, "zorder": 2}
BEST: dict[str, Any] = {"s": 18.0, "linewidths": 0.6, "edgecolors": "black", "zorder": 4}
ALPHAS = (0.5, 0.25)
"""Of points that are not on the front: few, and many."""


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
    joined = step is not None and len(set(zip(x.values[front].tolist(), y.values[front].tolist(), strict=True))) > 1
    line: dict[str, Any] = {"color": NEUTRAL if styles else FRONT, "linewidth": 0.9} if joined else {"linestyle": ""}
    handles = _pareto_legend(front, color, styles, line)
    with matplotlib.style.context(STYLE):
        lines_of_legend = legend_lines([str(handle.get_label()) for handle in handles], columns)
        figure, (ax,) = sheet(1, 1, HEIGHT_IN, columns, lines_of_legend)
        number_axis(ax.xaxis, x)
        number_axis(ax.yaxis, y)
        if joined:
            order = np.lexsort((y.values[front], x.values[front]))
            ax.plot(x.values[front][order], y.values[front][order], drawstyle=f"steps-{step}", zorder=3, **line)
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


def _pareto_legend(front: NDArray[np.bool_], color: Column | None, styles: Mapping[str, Look], line: Mapping[str, Any]) -> list[Artist]:
    """Return the entries of the legend: front, others, categories."""
    count, others = int(front.sum()), int((~front).sum())
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": "black", "markeredgewidth": 0.6}  # stands for any color
    face = hollow if color is not None else hollow | {"markerfacecolor": FRONT}
    handles: list[Artist] = [
        Line2D([], [], marker="o", markersize=4.2, label=f"front: {count:,} point{'s' if count > 1 else ''}", **face, **line)
    ]
    plain_point: dict[str, Any] = {"linestyle": "", "markeredgewidth": 0.0}
    if others:
        look: dict[str, Any] = {"color": GREY, **plain_point} if color is None else {"linestyle": "", **hollow, "markeredgewidth": 0.4}
        handles.append(Line2D([], [], marker="o", markersize=2.2, label=f"{others:,} other{'s' if others > 1 else ''}", **look))
    for name, own in styles.items():
        handles.append(Line2D([], [], marker=own.marker, markersize=3.6, color=own.color, label=name, **plain_point))
    return handles
