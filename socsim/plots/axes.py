"""What charts share: panels on a sheet, logarithmic axes with plain numbers, legends that fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from socsim.plots.style import WIDTH_IN

CHARACTER_IN = 0.062  # mean width of a character of 8 pt, with some room
LINE_IN = 0.14
KEY_IN = 0.38  # the symbol of a legend's entry, with the gaps around it
TICKS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0))
"""Labeled multiples of powers of ten, the fewest first."""
FEWEST_TICKS = 3


def sheet(panels: int, across: int, height_in: float, columns: int, legend_lines: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure with a grid of panels and room for a legend above them.

    Parameters
    ----------
    panels
        How many.
    across
        Side by side.
    height_in
        Of each panel.
    columns
        Width of the figure in columns of a paper.
    legend_lines
        Lines of the legend.
    """
    across = min(across, panels)
    down = -(-panels // across)
    figure = Figure(figsize=(WIDTH_IN[columns], down * height_in + legend_lines * LINE_IN + 0.1), layout="constrained")
    axes: list[Axes] = list(figure.subplots(down, across, squeeze=False).flat)
    for ax in axes[panels:]:
        ax.remove()
    return figure, axes[:panels]


def log_axis(axis: Any, values: Sequence[float], room: float = 1.4) -> None:
    """Make an axis logarithmic with plain numbers, at least three of them; `room` is the factor of space beyond the values."""
    low, high = min(values) / room, max(values) * room
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    axis.set_major_locator(LogLocator(subs=next((each for each in TICKS if _ticks(each, low, high) >= FEWEST_TICKS), TICKS[-1])))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_formatter(NullFormatter())


def _ticks(multiples: Sequence[float], low: float, high: float) -> int:
    """Return how many multiples of powers of ten are in a range."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return sum(low <= multiple * 10.0**power <= high for multiple in multiples for power in powers)


def plain(value: float) -> str:
    """Return a number as it stands on an axis: thousands separated, no exponent in the usual range."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def legend_columns(labels: Sequence[str], columns: int) -> int:
    """Return how many entries of a legend fit side by side on a figure."""
    widest = max(map(len, labels), default=0) * CHARACTER_IN + KEY_IN
    return max(1, min(len(labels), int(WIDTH_IN[columns] / widest)))


def add_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """Put a legend above the panels."""
    entries = legend_columns([str(handle.get_label()) for handle in handles], columns)
    figure.legend(handles=list(handles), loc="outside upper center", ncols=entries)


def legend_lines(labels: Sequence[str], columns: int) -> int:
    """Return how many lines a legend takes."""
    return -(-len(labels) // legend_columns(labels, columns))
