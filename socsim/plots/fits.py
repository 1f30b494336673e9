"""Measured beside modeled: latency of products by shape, and figures of whole runs on the line where both are equal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import cycle
from math import prod
from typing import Any, Literal, NamedTuple

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from socsim.errors import SocsimError
from socsim.palette import SERIES, Look, looks
from socsim.plots.axes import log_axis, sheet
from socsim.plots.style import STYLE, check_columns

Row = Mapping[str, Any]

PER_ROW = {1: 2, 2: 3}  # panels side by side, by columns of a paper
HEIGHT_IN = {1: 1.75, 2: 2.0}  # of a panel
ROOM = {1: 0.15, 2: 0.1}  # for each line of a legend above the points, over the height of these
SMALL_PT = 6.5
ROWS = "rows (tokens)"
HOLLOW: dict[str, Any] = {"markersize": 4.5, "markeredgewidth": 0.8, "fillstyle": "none", "linestyle": ""}
BAND = "#EBEBEB"
WITHIN = 0.2  # the band around the line where both are equal
PARITY = {
    "prefill_tokens_per_s": "prefill (tokens/s)",
    "decode_s": "decode (s)",
    "prefill_energy_j": "prefill energy (J)",
}
"""Metrics with a panel."""


class Point(NamedTuple):
    """One micro-benchmark in a panel: the series that it is in, its place, and its latency in ms."""

    series: str
    x: float
    measured: float
    predicted: float


def latency_by_shape(rows: Sequence[Row], *, columns: int = 2) -> Figure:
    """Draw measured (hollow) beside modeled latency (line with dots) of micro-benchmarks, a panel for each processor and data type.

    Single products stand at their multiplications, one series for each number of rows; graphs of several products stand at
    their rows, one series for each graph.

    Parameters
    ----------
    rows
        Mappings with ``soc``, ``processor``, ``data_type``, ``shape``, ``measured_s`` and ``predicted_s``, such as the records of
        `socsim.validation.validate_operators`.
    columns
        Width of the figure in columns of a paper: 1 (3.35 in) or 2 (7 in).

    Raises
    ------
    SocsimError
        There are no rows, or the width is unknown.
    """
    check_columns("latency_by_shape", columns)
    if not rows:
        raise SocsimError("latency_by_shape: there are no rows of products to draw")
    several_socs = len({row["soc"] for row in rows}) > 1
    panels: dict[tuple[str, str], list[Point]] = {}
    for row in sorted(rows, key=_place):
        products = parse_shape(row["shape"])
        title = f"{row['processor'].upper()} {row['data_type']}" + (f"\n{row['soc']}" if several_socs else "")
        panels.setdefault((title, ROWS if len(products) > 1 else "multiply-adds (G)"), []).append(_point(row, products))
    with matplotlib.style.context(STYLE):
        figure, axes = sheet(len(panels), PER_ROW[columns], HEIGHT_IN[columns], columns)
        for ax, ((title, x_label), points) in zip(axes, panels.items(), strict=True):
            ax.set_title(title)
            ax.set_xlabel(x_label)
            _draw_points(ax, points, ROOM[columns])
            if x_label == ROWS:
                ax.set_xticks(sorted({point.x for point in points}))
        for ax in axes[:: PER_ROW[columns]]:
            ax.set_ylabel("latency (ms)")
        handles = [_key("black", "o", "none", "measured"), _key("black", ".", "black", "modeled", "-")]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _place(row: Row) -> tuple[Any, ...]:
    """Return what orders the panels: usual ways to compute before named ones, then by processor, single products first."""
    usual = row["data_type"] in ("int8", "fp16", "fp32")
    return row["soc"], not usual, ("npu", "cpu", "gpu").index(row["processor"]), row["data_type"], len(parse_shape(row["shape"])) > 1


def parse_shape(shape: str) -> list[tuple[bool, tuple[int, int, int]]]:
    """Return the products of a shape such as ``16x2048x5504 >16x5504x2048``: whether each depends on those before, and its size."""
    return [(bool(mark), (int(m), int(k), int(n))) for mark, m, k, n in re.findall(r"(>?)(\d+)x(\d+)x(\d+)", shape)]


def _point(row: Row, products: Sequence[tuple[bool, tuple[int, int, int]]]) -> Point:
    latencies = 1e3 * row["measured_s"], 1e3 * row["predicted_s"]
    rows = products[0][1][0]
    if len(products) == 1:
        return Point(f"{rows} row{'' if rows == 1 else 's'}", prod(products[0][1]) / 1e9, *latencies)
    return Point(graph_label(products), float(rows), *latencies)


def graph_label(products: Sequence[tuple[bool, tuple[int, int, int]]]) -> str:
    """Return a graph of products by widths: QKV and FFN of a block look like ``2048→3x2048`` and ``2048→2x5504→2048``."""
    text = str(products[0][1][1])
    for dependent, (_, _, outputs) in products:
        text += f"→{outputs}" if dependent or "→" not in text else f"+{outputs}"
    return re.sub(r"(\d+)((?:\+\1)+)(?!\d)", lambda same: f"{1 + same[2].count('+')}x{same[1]}", text)


def _draw_points(ax: Axes, points: Sequence[Point], room: float) -> None:
    """Draw each series in its color, and name them where there are several, many of them above the points."""
    names = list(dict.fromkeys(point.series for point in points))
    for name, (color, marker, _) in zip(names, cycle(SERIES), strict=False):
        own = sorted((point for point in points if point.series == name), key=lambda point: (point.x, point.predicted))
        x = [point.x for point in own]
        ax.plot(x, [point.predicted for point in own], color=color, marker=".", markersize=3)
        ax.plot(x, [point.measured for point in own], color=color, marker=marker, label=name, **HOLLOW)
    log_axis(ax.xaxis, [point.x for point in points])
    log_axis(ax.yaxis, [value for point in points for value in (point.measured, point.predicted)])
    if len(names) > 1:
        if len(names) > 3:
            low, high = ax.get_ylim()
            ax.set_ylim(low, high * (high / low) ** (room * len(names)))
        ax.legend(loc="best" if len(names) < 4 else "upper left", fontsize=SMALL_PT, handletextpad=0.1)


def parity(rows: Sequence[Row], *, columns: int = 2) -> Figure:
    """Draw measured against predicted figures of whole runs: prefill speed, decode time and prefill energy, where there are rows.

    Hollow markers were there to fit the model, filled ones were not; the band is 20 % around the line where both are equal.

    Parameters
    ----------
    rows
        Mappings with ``engine``, ``metric``, ``measured``, ``predicted`` and ``split``, such as the records of
        `socsim.validation.validate_runs`.
    columns
        Width of the figure in columns of a paper: 1 (3.35 in) or 2 (7 in).

    Raises
    ------
    SocsimError
        No row is of one of these metrics, or the width is unknown.
    """
    check_columns("parity", columns)
    metrics = [metric for metric in PARITY if any(row["metric"] == metric for row in rows)]
    if not metrics:
        raise SocsimError(f"parity: there are no rows to draw; metrics that are drawn: {', '.join(PARITY)}")
    shown = [row for row in rows if row["metric"] in metrics]
    found = {row["engine"] for row in shown}
    styles = looks(sorted(found))
    splits = [split for split in ("calibration", "validation") if any(row["split"] == split for row in shown)]
    handles: list[Artist] = [_key(look.color, look.marker, look.color, name) for name, look in styles.items()]
    handles += [_key("black", "o", "none" if split == "calibration" else "black", f"{split} row") for split in splits]
    handles.append(Patch(facecolor=BAND, label=f"within {100 * WITHIN:.0f} %"))
    entries = 3 if columns == 1 else 5
    with matplotlib.style.context(STYLE):
        figure, axes = sheet(len(metrics), PER_ROW[columns], HEIGHT_IN[columns], columns, -(-len(handles) // entries))
        for ax, metric in zip(axes, metrics, strict=True):
            _draw_parity(ax, [row for row in shown if row["metric"] == metric], styles)
            ax.set_title(PARITY[metric])
            ax.set_xlabel("measured")
        for ax in axes[:: PER_ROW[columns]]:
            ax.set_ylabel("predicted")
        figure.legend(handles=handles, loc="outside upper center", ncols=entries)
    return figure


def _draw_parity(ax: Axes, rows: Sequence[Row], styles: Mapping[str, Look]) -> None:
    """Draw one metric, both axes alike."""
    values = [row[side] for row in rows for side in ("measured", "predicted")]
    ends = min(values) / 1.5, max(values) * 1.5
    ax.fill_between(ends, [(1 - WITHIN) * end for end in ends], [(1 + WITHIN) * end for end in ends], color=BAND, linewidth=0)
    ax.plot(ends, ends, color="black", linewidth=0.6)
    for row in rows:
        color, marker, _ = styles[row["engine"]]
        look = HOLLOW | {"fillstyle": "full" if row["split"] == "validation" else "none"}
        ax.plot(row["measured"], row["predicted"], color=color, marker=marker, **look)
    for axis in (ax.xaxis, ax.yaxis):
        log_axis(axis, values, 1.5)
    ax.set_xlim(ends)
    ax.set_ylim(ends)
    ax.set_box_aspect(1)


def _key(color: str, marker: str, face: str, label: str, line: Literal["", "-"] = "") -> Line2D:
    """Return an entry of a legend."""
    return Line2D(
        [], [], color=color, marker=marker, markerfacecolor=face, markersize=4.5, markeredgewidth=0.8, linestyle=line, label=label
    )
