"""Rooflines: what a processor attains at an arithmetic intensity, with subgraphs as points below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from socsim.errors import SocsimError
from socsim.palette import FAMILIES, looks, stage_family
from socsim.plots.axes import add_legend, legend_lines, log_axis, sheet
from socsim.plots.style import STYLE, check_columns

Row = Mapping[str, Any]

PER_ROW = {1: 1, 2: 3}  # panels side by side, by columns of a paper
HEIGHT_IN = 2.5  # of a panel
SMALL_PT = 6.5
ROOM = 2.5  # factor of space beyond ridges and points
X, Y = "intensity_ops_per_byte", "achieved_tops"
POINT: dict[str, Any] = {"markersize": 4.2, "markeredgecolor": "black", "markeredgewidth": 0.4, "linestyle": ""}


def attainable_tops(intensity_ops_per_byte: float, peak_tops: float, bandwidth_gb_per_s: float) -> float:
    """Return the height of a roofline at an arithmetic intensity."""
    return min(peak_tops, intensity_ops_per_byte * bandwidth_gb_per_s / 1e3)


def roofline(roofs: Sequence[Row], points: Sequence[Row], *, columns: int = 2) -> Figure:
    """Draw operations per second against operations per byte of DRAM traffic, a panel for each processor.

    Parameters
    ----------
    roofs
        One for each processor and data type: ``processor``, ``data_type``, ``peak_tops`` and ``bandwidth_gb_per_s``, which is the
        same for all data types of a processor. Panels stand in their order.
    points
        Subgraphs: ``processor``, ``engine``, ``stage``, ``intensity_ops_per_byte`` and ``achieved_tops``; colored by the family
        of their stage, with the marker of their engine.
    columns
        Width of the figure in columns of a paper: 1 (3.35 in) or 2 (7 in).

    Raises
    ------
    SocsimError
        There are no roofs, a point is on a processor without one, or the width is unknown.
    """
    check_columns("roofline", columns)
    panels: dict[str, list[Row]] = {}
    for roof in roofs:
        panels.setdefault(roof["processor"], []).append(roof)
    if not panels:
        raise SocsimError("roofline: there are no roofs to draw")
    for point in points:
        if point["processor"] not in panels:
            raise SocsimError(f"roofline: there is no roof for processor '{point['processor']}'; there are: {', '.join(panels)}")
    handles = _legend(points)
    with matplotlib.style.context(STYLE):
        lines = legend_lines([str(handle.get_label()) for handle in handles], columns)
        figure, axes = sheet(len(panels), PER_ROW[columns], HEIGHT_IN, columns, lines)
        ridges = [1e3 * roof["peak_tops"] / roof["bandwidth_gb_per_s"] for roof in roofs]
        x = [*ridges, *(point[X] for point in points)]
        y = [*(roof["peak_tops"] for roof in roofs), *(point[Y] for point in points)]
        for place, (ax, (name, own)) in enumerate(zip(axes, panels.items(), strict=True)):
            ax.set_title(name.upper())
            ax.set_xlabel("arithmetic intensity (op/B)")
            log_axis(ax.xaxis, x, ROOM)
            log_axis(ax.yaxis, y)
            if place % PER_ROW[columns] == 0:
                ax.set_ylabel("achieved (TOPS)")
            else:
                ax.tick_params(axis="y", labelleft=False)
            _draw_roofs(ax, own)
            _draw_points(ax, [point for point in points if point["processor"] == name])
        if handles:
            add_legend(figure, handles, columns)
    return figure


def _legend(points: Sequence[Row]) -> list[Artist]:
    """Return an entry for each family of stages, then, where there are several, for each engine."""
    used = {stage_family(point["stage"]) for point in points}
    handles: list[Artist] = [
        Line2D([], [], marker="o", color=family.color, label=family.label, **POINT) for name, family in FAMILIES.items() if name in used
    ]
    engines = looks(point["engine"] for point in points)
    if len(engines) > 1:
        handles += [Line2D([], [], marker=look.marker, color="white", label=name, **POINT) for name, look in engines.items()]
    return handles


def _draw_roofs(ax: Axes, roofs: Sequence[Row]) -> None:
    """Draw the bandwidth as a slope, and each peak as a level that begins where it meets the slope."""
    left, right = ax.get_xlim()
    slope = roofs[0]["bandwidth_gb_per_s"] / 1e3
    highest = max(roof["peak_tops"] for roof in roofs)
    ax.plot([left, highest / slope], [left * slope, highest], color="black")
    for roof in roofs:
        ax.plot([roof["peak_tops"] / slope, right], [roof["peak_tops"]] * 2, color="black")
        ax.text(1.1 * right, roof["peak_tops"], f"{roof['data_type']}\u00a0{roof['peak_tops']:.2g}", size=SMALL_PT, va="center")
    middle = math.sqrt(left * highest / slope)  # of the slope, where it is written along it
    angle = math.degrees(math.atan(slope))
    rotated: dict[str, Any] = {"rotation": angle, "rotation_mode": "anchor", "transform_rotates_text": True}
    text = f"DRAM: {roofs[0]['bandwidth_gb_per_s']:.3g} GB/s"
    ax.text(middle, middle * slope * 1.2, text, size=SMALL_PT, ha="center", va="bottom", **rotated)


def _draw_points(ax: Axes, points: Sequence[Row]) -> None:
    """Draw the points, decode steps on top, then the first families."""
    styles, order = looks(point["engine"] for point in points), ["decode", *FAMILIES]
    for point in sorted(points, key=lambda point: -order.index(stage_family(point["stage"]))):
        family = FAMILIES[stage_family(point["stage"])]
        ax.plot(point[X], point[Y], marker=styles[point["engine"]].marker, color=family.color, **POINT)
