"""What all figures share: style, widths, and how they are written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from socsim.errors import SocsimError, unknown_name

STYLE = ["default", str(Path(__file__).with_name("paper.mplstyle"))]
WIDTH_IN = {1: 3.35, 2: 7.0}  # by columns of a paper
METADATA: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".png": {}, ".svg": {"Date": None}}  # no dates


def check_columns(what: str, columns: int) -> None:
    """Check the width of a figure in columns of a paper.

    Raises
    ------
    SocsimError
        There is no such width.
    """
    if columns not in WIDTH_IN:
        raise SocsimError(f"{what}: columns is {columns!r}; allowed: {', '.join(map(str, WIDTH_IN))}")


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as .png (300 dpi), .pdf or .svg, the same bytes each time.

    Raises
    ------
    SocsimError
        The suffix is none of these, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in METADATA:
        raise unknown_name(f"suffix of figure '{path}':", suffix, METADATA)
    data = io.BytesIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(data, format=suffix[1:], metadata=METADATA[suffix])
    try:
        Path(path).write_bytes(data.getvalue())
    except OSError as error:
        raise SocsimError(f"cannot write figure '{path}': {error.strerror}") from None
