"""Figures for papers and documentation; nothing here simulates."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from socsim.cost import NANOSECONDS
from socsim.errors import SocsimError, unknown_name
from socsim.timeline import Timeline

STYLE = ["default", str(Path(__file__).with_name("paper.mplstyle"))]
WIDTH_IN = {1: 3.35, 2: 7.0}
"""Width of a figure by columns of a paper."""

Steps = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Instants (ns), and the value from each on."""


class Family(NamedTuple):
    """Stages that share a color; colors of one processor's families differ in grey too."""

    name: str
    color: str
    hatch: str
    text: str


FAMILIES = {
    "norm": Family("norm", "#E69F00", "", "black"),
    "qkv": Family("QKV", "#0072B2", "", "white"),
    "attention": Family("attention", "#D55E00", "", "white"),
    "o_proj": Family("output proj.", "#56B4E9", "", "black"),
    "ffn": Family("FFN", "#F0E442", "", "black"),
    "shadow": Family("shadow", "#CC79A7", "//////", "black"),
    "merge": Family("merge", "#009E73", "", "white"),
    "head": Family("LM head", "#000000", "", "white"),
    "decode": Family("decode", "#999999", "", "black"),
}
"""Families in the order of the legend. Colors: Okabe and Ito, and grey."""

IDLE_COLOR = "#E8E8E8"
SUFFIXES: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".png": {}, ".svg": {"Date": None}}
"""Formats that `save` writes, with the metadata that keeps the date out of them."""

# Inches.
LEFT, RIGHT, BOTTOM, ROW, LINE, PANEL, GAP = 0.55, 0.15, 0.38, 0.22, 0.15, 0.45, 0.1
NUMBER_PT = 6.0


def stage_family(stage: str) -> str:
    """Return the family of a stage; stages that were merged into one subgraph belong to that of the heaviest."""
    if stage.startswith(("shadow_", "merge_")):
        return stage.partition("_")[0]
    parts = stage.split("+")
    for family in ("decode", "ffn", "qkv", "attention", "o_proj"):
        if any(part == family or part.startswith(f"{family}_") and not part.endswith("_norm") for part in parts):
            return family
    return "norm" if stage.endswith(("attn_norm", "ffn_norm")) else "head"


def gantt(
    timelines: Timeline | Sequence[Timeline],
    *,
    titles: Sequence[str] | None = None,
    ttft_s: Sequence[float] | None = None,
    power: Steps | None = None,
    window_s: tuple[float, float] | None = None,
    columns: int = 2,
) -> Figure:
    """Draw what each processor does when, one run above the other on one time axis.

    Numbers in bars are chunks; a grey row is idle between the first and the last subgraph of its prefill.

    Parameters
    ----------
    timelines
        One run, drawn with its DRAM bandwidth below, or several to compare.
    titles
        Title of each run; default: its scheduler.
    ttft_s
        TTFT of each run, for the titles; default: the end of its prefill, without preparation.
    power
        Power of a single run from each instant on (ns, watts), as from `socsim.metrics.power_steps`.
    window_s
        Part of the time to draw, from and to; default: everything.
    columns
        Width of the figure in columns of a paper: 1 (3.35 in) or 2 (7 in).

    Raises
    ------
    SocsimError
        No run, not one title or TTFT a run, power with several runs, an empty window, or an unknown width.
    """
    runs = [timelines] if isinstance(timelines, Timeline) else list(timelines)
    titles = [run.scheduler for run in runs] if titles is None else titles
    ttft_s = [prefill_end_s(run) for run in runs] if ttft_s is None else ttft_s
    _check(runs, titles, ttft_s, power, window_s, columns)
    start, end = window_s or (0.0, max(int(run.end_ns.max()) for run in runs) / NANOSECONDS)
    with matplotlib.style.context(STYLE):
        panels = _panels(runs[0], power) if len(runs) == 1 else []
        width = WIDTH_IN[columns] - LEFT - RIGHT
        heads = [
            textwrap.fill(f"{title}: {_facts(run, ttft)}", int(width / 0.062)) for run, title, ttft in zip(runs, titles, ttft_s, strict=True)
        ]
        legend = _legend(runs)
        entries = 4 if columns == 1 else 10
        sheet = _Sheet(columns, start, end, -(-len(legend) // entries) * LINE + GAP / 2)
        ...


@dataclass(frozen=True)
class _Panel:
    pass


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as .png (300 dpi), .pdf or .svg, the same bytes each time.

    Raises
    ------
    SocsimError
        The suffix is none of these, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise unknown_name(f"suffix of figure '{path}'", suffix, SUFFIXES)
    data = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(data, format=suffix[1:], metadata=SUFFIXES[suffix])
    try:
        Path(path).write_bytes(data.getvalue())
    except OSError as error:
        raise SocsimError(f"cannot write figure '{path}': {error.strerror}") from None
