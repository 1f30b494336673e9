"""What each processor does when: the Gantt chart of one run, or of several."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from socsim.cost import NANOSECONDS
from socsim.errors import SocsimError
from socsim.metrics import prefill_span_ns
from socsim.palette import FAMILIES, Family, stage_family
from socsim.plots.style import STYLE, WIDTH_IN, check_columns
from socsim.timeline import Steps, Timeline

Window = tuple[float, float]


NUMBER_PT = 6.0  # chunk numbers; a digit takes 0.64 of it
OUTLINED_PT = 1.8  # bars from this width on are outlined and hatched; of narrower ones that would be all that one sees
CHARACTER_IN = 0.055  # mean width of a character of a title
SECONDS_FROM = 2.0  # time axes from this length on are in seconds
LEFT_IN, RIGHT_IN, BOTTOM_IN, ROW_IN, LINE_IN, PANEL_IN, GAP_IN = 0.62, 0.12, 0.38, 0.22, 0.15, 0.45, 0.1


def gantt(
    timelines: Timeline | Sequence[Timeline],
    *,
    titles: Sequence[str] | None = None,
    ttft_s: Sequence[float] | None = None,
    facts: Sequence[str] | None = None,
    power: Steps | None = None,
    window_s: Window | None = None,
    columns: int = 2,
) -> Figure:
    """Draw what each processor does when, one run above the other on one time axis.

    Numbers in bars are chunks; a row is grey where its processor idles between its first and last subgraph of the prefill,
    and a dashed line marks the end of the prefill.

    Parameters
    ----------
    timelines
        One run, drawn with its DRAM bandwidth below, or several to compare.
    titles, facts
        Title of each run, default: its scheduler; and what stands behind it, default: its TTFT and the NPU's bubble rate.
    ttft_s
        TTFT of each run, for its title; default: the end of its prefill, without preparation.
    power
        Power of a single run from each instant on (ns, watts), as from `socsim.metrics.power_steps`.
    window_s
        Part of the time to draw, from and to; default: everything.
    columns
        Width of the figure in columns of a paper: 1 (3.35 in) or 2 (7 in).

    Raises
    ------
    SocsimError
        No run, not one title, TTFT or text of facts a run, power with several runs, an empty window, or an unknown width.
    """
    runs = [timelines] if isinstance(timelines, Timeline) else list(timelines)
    titles = [run.scheduler for run in runs] if titles is None else titles
    ends = [int(run.end_ns[: run.graph.prefill_count].max()) / NANOSECONDS for run in runs]
    ttft_s = ends if ttft_s is None else ttft_s
    facts = list(map(_facts, runs, ttft_s)) if facts is None else facts
    _check(runs, titles, ttft_s, facts, power, window_s, columns)
    # A little space on the right keeps the line at the end of the prefill visible.
    window = window_s or (0.0, 1.01 * max(int(run.end_ns.max()) for run in runs) / NANOSECONDS)
    axis_in = WIDTH_IN[columns] - LEFT_IN - RIGHT_IN
    heads = [_head(title, fact, columns, axis_in) for title, fact in zip(titles, facts, strict=True)]
    panels = _panels(runs[0], power) if len(runs) == 1 else []
    legend, entries = _legend(runs, window), 4 if columns == 1 else 10
    sizes = [((head.count("\n") + 1) * LINE_IN + GAP_IN, len(run.graph.processors) * ROW_IN) for run, head in zip(runs, heads, strict=True)]
    sizes += [(GAP_IN, PANEL_IN)] * len(panels)
    with matplotlib.style.context(STYLE):
        figure, axes = _sheet(WIDTH_IN[columns], -(-len(legend) // entries) * LINE_IN, sizes)
        figure.legend(handles=legend, loc="upper center", ncols=entries)
        for ax, run, head, end in zip(axes, runs, heads, ends, strict=False):
            ax.set_title(head)
            ax.axvline(end, color="black", linestyle="--", linewidth=0.6)
            _draw_run(ax, run, window, axis_in * 72)
        for ax, panel in zip(axes[len(runs) :], panels, strict=True):
            _draw_steps(ax, *panel, window, bins=int(axis_in * 72))
        _label_time(axes, window, columns)
    return figure


def _check(runs: Sequence[Timeline], titles: Sequence[str], ttft_s: Sequence[float], facts: Sequence[str], power: Steps | None,
           window_s: Window | None, columns: int) -> None:  # fmt: skip
    """Check the arguments of `gantt`."""
    if not runs:
        raise SocsimError("gantt: timelines is empty; at least one run is needed")
    for name, values in (("titles", titles), ("ttft_s", ttft_s), ("facts", facts)):
        if len(values) != len(runs):
            raise SocsimError(f"gantt: {name} has length {len(values)}, should have that of timelines, {len(runs)}")
    if power is not None and len(runs) > 1:
        raise SocsimError(f"gantt: power goes with one run, not with {len(runs)}")
    if window_s is not None and not 0 <= window_s[0] < window_s[1] < float("inf"):
        raise SocsimError(f"gantt: window_s {window_s} should be a start of at least 0 and a later end")
    check_columns("gantt", columns)


def _sheet(width_in: float, top_in: float, sizes: Sequence[tuple[float, float]]) -> tuple[Figure, list[Axes]]:
    """Return a figure of axes one below the other, each given by the space above it and its height."""
    height_in = top_in + sum(map(sum, sizes)) + BOTTOM_IN
    figure = Figure(figsize=(width_in, height_in))
    axes: list[Axes] = []
    y_in = height_in - top_in
    for above, height in sizes:
        y_in -= above + height
        box = (LEFT_IN / width_in, y_in / height_in, 1 - (LEFT_IN + RIGHT_IN) / width_in, height / height_in)
        axes.append(figure.add_axes(box, sharex=axes[0] if axes else None))
    return figure, axes


def _label_time(axes: Sequence[Axes], window: Window, columns: int) -> None:
    """Put one time axis below all."""
    unit, per_s = ("ms", 1e3) if window[1] - window[0] < SECONDS_FROM else ("s", 1.0)
    axes[0].set_xlim(*window)
    axes[0].xaxis.set_major_locator(MaxNLocator(5 * columns, steps=[1, 2, 5, 10]))
    axes[0].xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds * per_s:g}"))
    for ax in axes:
        ax.tick_params(axis="x", labelbottom=ax is axes[-1])
    axes[-1].set_xlabel(f"time ({unit})")


def _legend(runs: Sequence[Timeline], window: Window) -> list[Patch]:
    """Return a legend of the families that are seen, in fixed order."""
    used = {"idle"} | {stage_family(run.graph.subgraphs[index].stage) for run in runs for index in _seen(run, window).tolist()}
    families = [family for name, family in FAMILIES.items() if name in used]
    return [Patch(facecolor=f.color, edgecolor="white", hatch=f.hatch, linewidth=0, label=f.label) for f in families]


def _seen(run: Timeline, window: Window) -> NDArray[np.int64]:
    """Return the subgraphs that reach into a window."""
    return np.flatnonzero((run.end_ns > window[0] * NANOSECONDS) & (run.start_ns < window[1] * NANOSECONDS))


def _facts(run: Timeline, ttft_s: float) -> str:
    """Return the TTFT and the bubble rate of a run."""
    facts = f"TTFT {ttft_s:.2f} s" if ttft_s >= 1 else f"TTFT {ttft_s * 1e3:.3g} ms"
    before_s = ttft_s - int(run.end_ns[: run.graph.prefill_count].max()) / NANOSECONDS
    facts += f" ({before_s:.2f} s of it before the prefill)" if before_s > 0.005 else ""
    if "npu" in run.graph.processors:
        first, last, busy = prefill_span_ns(run, run.graph.processors.index("npu"))
        facts += f", NPU bubble rate {100 * (1 - busy / (last - first)) if last else 0:.1f} %"
    return facts


def _head(title: str, facts: str, columns: int, axis_in: float) -> str:
    """Return the title of a run with facts about it, in lines that fit."""
    facts = facts.replace(" ", "\xa0")  # no line break inside
    lines = [f"{title}: {facts}"] if columns == 2 else [f"{title}:", facts]
    return "\n".join(textwrap.fill(line, int(axis_in / CHARACTER_IN)) for line in lines)


def _draw_run(ax: Axes, run: Timeline, window: Window, axis_pt: float) -> None:
    """Draw one row a processor, the first on top."""
    names, seen = run.graph.processors, _seen(run, window)
    families = np.array([stage_family(run.graph.subgraphs[index].stage) for index in seen.tolist()])
    per_s = axis_pt / (window[1] - window[0])
    for row in range(len(names)):
        first, last, _ = prefill_span_ns(run, row)
        ax.broken_barh(
            [(first / NANOSECONDS, (last - first) / NANOSECONDS)], (row - 0.4, 0.8), facecolor=FAMILIES["idle"].color, linewidth=0
        )
        for name, family in FAMILIES.items():
            chosen = seen[(run.processor[seen] == row) & (families == name)]
            if len(chosen):
                _draw_bars(ax, run, chosen, row, family, per_s)
                if name != "decode":
                    _draw_numbers(ax, run, chosen, row, family.text, window, per_s)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_yticks(range(len(names)), [name.upper() for name in names])
    ax.tick_params(axis="y", length=0)


def _draw_bars(ax: Axes, run: Timeline, chosen: NDArray[np.int64], row: int, family: Family, per_s: float) -> None:
    """Draw the subgraphs of one family on one processor."""
    start, duration = run.start_ns[chosen] / NANOSECONDS, (run.end_ns - run.start_ns)[chosen] / NANOSECONDS
    wide = duration * per_s > OUTLINED_PT
    for some, outline, hatch in ((wide, 0.3, family.hatch), (~wide, 0.0, "")):
        bars = list(zip(start[some].tolist(), duration[some].tolist(), strict=True))
        ax.broken_barh(bars, (row - 0.4, 0.8), facecolor=family.color, edgecolor="white", linewidth=outline, hatch=hatch)


def _draw_numbers(ax: Axes, run: Timeline, chosen: NDArray[np.int64], row: int, color: str, window: Window, per_s: float) -> None:
    """Write the chunk into each bar whose visible part is wide enough."""
    seen = np.clip((run.start_ns[chosen] / NANOSECONDS, run.end_ns[chosen] / NANOSECONDS), *window)
    for index, left, right in zip(chosen.tolist(), *seen.tolist(), strict=True):
        text = str(run.graph.subgraphs[index].chunk)
        if (right - left) * per_s > NUMBER_PT * (0.64 * len(text) + 0.1):
            ax.text((left + right) / 2, row, text, size=NUMBER_PT, color=color, ha="center", va="center_baseline")


def _panels(run: Timeline, power: Steps | None) -> list[tuple[str, Steps, float | None]]:
    """Return what to draw below a single run: label, steps, and the upper bound if there is one."""
    when, rate = run.dram_rate
    dram = [("DRAM\n(GB/s)", (when, rate / 1e9), run.costs.achievable_bytes_per_s / 1e9)] if len(when) else []
    return [*dram, *([] if power is None else [("power\n(W)", power, None)])]


def _draw_steps(ax: Axes, label: str, steps: Steps, limit: float | None, window: Window, bins: int) -> None:
    """Draw a quantity over time."""
    edges, values = mean_steps(steps, window, bins)
    ax.stairs(values, edges, fill=True, color=FAMILIES["qkv"].color, linewidth=0)
    if limit is not None:
        ax.axhline(limit, color="black", linestyle="--", linewidth=0.6)
        ax.text(window[1], limit * 1.03, "achievable", size=NUMBER_PT, ha="right", va="bottom")
    ax.set_ylim(0, max(1.1 * float(values.max()), 1.4 * (limit or 0.0)) or 1.0)  # 1.4: room for the label
    ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.set_ylabel(label)


def mean_steps(steps: Steps, window: Window, bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return steps inside a window as edges (s) and values; more than `bins` of them are averaged over that many equal spans.

    The integral stays the same, where lines drawn closer than their width would show nothing but their peaks.
    """
    when, value = steps[0] / NANOSECONDS, steps[1]
    left, right = max(window[0], float(when[0])), min(window[1], float(when[-1]))
    if left >= right:
        return np.array(window), np.zeros(1)
    edges = np.concatenate(([left], when[(when > left) & (when < right)], [right]))
    if len(edges) > bins:
        edges = np.linspace(left, right, bins + 1)
    total = np.concatenate(([0.0], np.cumsum(value[:-1] * np.diff(when))))
    return edges, np.diff(np.interp(edges, when, total)) / np.diff(edges)
