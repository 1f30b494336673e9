"""What is printed where: results on standard output, everything else in single lines on standard error."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console

PIPED_WIDTH = 120
"""Columns of tables that go to a file or another program."""


def make_console() -> Console:
    """Return the console for results; its text is plain, so that brackets in names stay what they are."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def one_line(kind: str, message: object) -> None:
    """Print an error, warning or note as a single line on standard error."""
    print(f"socsim: {kind}: {' '.join(str(message).split())}", file=sys.stderr)


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Show each warning once, as a single line."""
    seen: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in seen:
            seen.add(str(message))
            one_line("warning", message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def keep_stdout_for(as_json: bool) -> AbstractContextManager[Any]:
    """Send to standard error what a user's scheduler prints, if standard output is to hold JSON only."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def print_json(data: Any) -> None:
    """Print one JSON value; it holds no NaN or infinity."""
    print(json.dumps(data, indent=2, allow_nan=False))
