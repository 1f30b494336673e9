"""Figures for papers and documentation; nothing here simulates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from socsim.timeline import Timeline


def gantt(
    timelines: Timeline | Sequence[Timeline],
    *,
    titles: Sequence[str] | None = None,
    power: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None,
    window_s: tuple[float, float] | None = None,
    columns: int = 2,
) -> Figure:
    """Draw what each processor does when, one run above the other on one time axis.

    Parameters
    ----------
    timelines
        One run, drawn with its DRAM bandwidth below, or several to compare.
    titles
        Title of each run; default: its scheduler.
    power
        Power of a single run from each instant on (ns, watts), as from `socsim.metrics.power_steps`.
    window_s
        Part of the time to draw, from and to; default: the whole prefill.
    columns
        Width of the figure in columns of a paper: 1 (3.35 in) or 2 (7 in).

    Raises
    ------
    SocsimError
        No run, not one title a run, power with several runs, an empty window, or an unknown width.
    """
    raise NotImplementedError


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as .png (300 dpi), .pdf or .svg, the same bytes each time.

    Raises
    ------
    SocsimError
        The suffix is none of these, or the file cannot be written.
    """
    raise NotImplementedError
