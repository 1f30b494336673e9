"""What quantization costs in accuracy, and what pruning of its float work brings in speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from socsim.errors import SocsimError
from socsim.palette import looks
from socsim.plots.axes import legend_columns, log_axis
from socsim.plots.style import STYLE, WIDTH_IN

Row = Mapping[str, Any]

KL = "KL divergence from float32 (nats/token)"
SCALES = {
    "channel": ("#0072B2", "o", "weights per channel"),
    "tensor": ("#D55E00", "s", "weights per tensor"),
    None: ("#000000", "D", "groups"),
}
"""Color, marker and name by granularity of weights."""
CURVES = {
    ("shadow", "tensor"): ("#D55E00", "s", "shadow, weights per tensor"),
    ("shadow", "channel"): ("#0072B2", "o", "shadow, weights per channel"),
    ("shadow-plus", "channel"): ("#009E73", "^", "shadow-plus, weights per channel"),
}
"""Color, marker and name of the schemes that are pruned."""
USUAL_RATE = 0.85
"""Pruning rate whose points have a ring."""
RING: dict[str, Any] = {"marker": "o", "markersize": 8.0, "fillstyle": "none", "markeredgewidth": 0.8, "color": "black", "linestyle": ""}
LINE_IN, LEGEND_IN = 0.17, 0.28


def scheme_losses(rows: Sequence[Row], published: Sequence[Row] = ()) -> Figure:
    """Draw the divergence of each scheme with its standard error, and in a second panel what was published of others; 7 in wide.

    Parameters
    ----------
    rows
        Records of `socsim.numerics.cases.records`; those without divergence are left out.
    published
        ``scheme``, ``model`` and ``loss_points``, the accuracy lost against floating point; none: there is no second panel.

    Raises
    ------
    SocsimError
        No row is left.
    """
    shown = [row for row in rows if row["kl"] > 0.0]
    if not shown:
        raise SocsimError("scheme_losses: there are no quantized schemes to draw")
    labels = list(dict.fromkeys(row["label"] for row in shown))
    with matplotlib.style.context(STYLE):
        height = LINE_IN * max(len(labels), 2 * len({row["scheme"] for row in published}))
        figure = Figure(figsize=(WIDTH_IN[2], 0.7 + (LEGEND_IN if published else 0.0) + height), layout="constrained")
        ax, *others = figure.subplots(1, 2 if published else 1, squeeze=False)[0]
        for row in shown:
            color, marker, _ = _scale(row)
            ax.errorbar(row["kl"], labels.index(row["label"]), xerr=_bar(row), color=color, marker=marker, markersize=4, linestyle="")
        _name_rows(ax, labels)
        ax.set_xlabel(KL)
        log_axis(ax.xaxis, [row["kl"] for row in shown])
        looks = list(dict.fromkeys(_scale(row) for row in shown))
        handles = [Line2D([], [], color=color, marker=marker, markersize=4, linestyle="", label=name) for color, marker, name in looks]
        for other in others:
            handles += _published_losses(other, published)
        figure.legend(handles=handles, loc="outside upper center", ncols=legend_columns([str(each.get_label()) for each in handles], 2))
    return figure


def _published_losses(ax: Axes, rows: Sequence[Row]) -> list[Line2D]:
    """Draw published losses of accuracy by scheme, a hollow marker for each model, and their mean; return entries of the legend."""
    labels = list(dict.fromkeys(row["scheme"] for row in rows))
    styles, entries = looks(row["model"] for row in rows), []
    for model, look in styles.items():
        own = [row for row in rows if row["model"] == model]
        style: dict[str, Any] = {"color": look.color, "marker": look.marker, "markersize": 4, "markerfacecolor": "none", "linestyle": ""}
        ax.plot([row["loss_points"] for row in own], [labels.index(row["scheme"]) for row in own], **style)
        entries.append(Line2D([], [], label=f"{model}, published", **style))
    for place, label in enumerate(labels):
        mean = fmean(row["loss_points"] for row in rows if row["scheme"] == label)
        ax.plot(mean, place, color="black", marker="|", markersize=9)
    _name_rows(ax, labels)
    ax.axvline(0.0, color="#999999", linewidth=0.5)
    ax.set_xlabel("accuracy lost against FP16 (points)")
    return [*entries, Line2D([], [], color="black", marker="|", markersize=9, linestyle="", label="mean, published")]


def _name_rows(ax: Axes, labels: Sequence[str]) -> None:
    """Name the rows of a panel, the first on top."""
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.grid(axis="y", linewidth=0.3, color="#DDDDDD")
    ax.set_axisbelow(True)


def pruning_curves(rows: Sequence[Row], speeds: Mapping[str, Sequence[float]] | None = None) -> Figure:
    """Draw divergence and perplexity against the share of linears without float work, or speed against divergence, 7 in wide.

    Parameters
    ----------
    rows
        Records of the curve: ``scheme``, ``weight_scales``, ``pruning_rate``, ``outlier_budget``, ``kl``, ``kl_se`` and
        ``perplexity_change_percent``; of several outlier budgets, the first is drawn.
    speeds
        Prefill speed in tokens/s of each row, by the title of a panel; none: perplexity is drawn instead.

    Raises
    ------
    SocsimError
        There are no rows.
    """
    if not rows:
        raise SocsimError("pruning_curves: there are no rows to draw")
    budget = rows[0]["outlier_budget"]
    places = [place for place, row in enumerate(rows) if row["outlier_budget"] == budget]
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(WIDTH_IN[2], 2.35), layout="constrained")
        first, *others = figure.subplots(1, 1 + len(speeds or [0]), squeeze=False)[0]
        for key, (color, marker, _) in CURVES.items():
            own = sorted((p for p in places if (rows[p]["scheme"], rows[p]["weight_scales"]) == key), key=lambda p: rows[p]["pruning_rate"])
            look = {"color": color, "marker": marker, "markersize": 3.5, "linewidth": 1.0}
            pruned, kl = [100.0 * rows[p]["pruning_rate"] for p in own], [rows[p]["kl"] for p in own]
            first.errorbar(pruned, kl, yerr=[_bar(rows[p]) for p in own], **look)
            if speeds is None:
                others[0].plot(pruned, [rows[p]["perplexity_change_percent"] for p in own], **look)
            for ax, values in zip(others, (speeds or {}).values(), strict=False):
                ax.plot(kl, [values[p] for p in own], **look)
                usual = [p for p in own if rows[p]["pruning_rate"] == USUAL_RATE]
                ax.plot([rows[p]["kl"] for p in usual], [values[p] for p in usual], **RING)
        _finish(first, others, [rows[place] for place in places], list(speeds or ()))
        names = [Line2D([], [], color=c, marker=m, markersize=3.5, linewidth=1.0, label=name) for c, m, name in CURVES.values()]
        names += [Line2D([], [], label=f"{100 * USUAL_RATE:g} % pruned", **RING)] if speeds else []
        figure.legend(handles=names, loc="outside upper center", ncols=len(names))
    return figure


def _finish(first: Axes, others: Sequence[Axes], rows: Sequence[Row], titles: Sequence[str]) -> None:
    """Name axes."""
    divergences = [row["kl"] for row in rows]
    for ax in (first, *([] if titles else others)):
        ax.set_xlabel("linears without float work (%)")
        ax.set_xticks(range(0, 101, 20))
    first.set_ylabel("KL divergence (nats/token)")
    log_axis(first.yaxis, divergences)
    for ax, title in zip(others, titles, strict=False):
        ax.set_title(title)
        ax.set_xlabel("KL divergence (nats/token)")
        log_axis(ax.xaxis, divergences)
    if titles:
        others[0].set_ylabel("prefill (tokens/s)")
        return
    others[0].set_ylabel("perplexity over float32 (%)")
    losses = [row["perplexity_change_percent"] for row in rows]
    if min(losses) > 0.0:
        log_axis(others[0].yaxis, losses)


def _scale(row: Row) -> tuple[str, str, str]:
    return SCALES.get(row["weight_scales"], SCALES[None])


def _bar(row: Row) -> float:
    """Return the length of an error bar: one standard error, as long as there are two predictions."""
    return float(row["kl_se"])
