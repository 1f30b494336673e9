"""How far a long command is, on standard error: a bar if somebody looks, else a line for each step, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from socsim.cli.console import one_line


@contextmanager
def named_steps(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show steps that take long: what is yielded is called with the name of each when it begins."""
    bar = _bar(names=True)
    if bar is None:
        yield lambda name: one_line(what, name)
        return
    task, begun = bar.add_task(what, total=total, name=""), count()
    with bar:
        yield lambda name: bar.update(task, completed=next(begun), name=name)


@contextmanager
def counted_steps(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show steps that are many: what is yielded is called when each has ended; without a terminal nothing is shown."""
    bar = _bar(names=False)
    if bar is None:
        yield lambda: None
        return
    task = bar.add_task(what, total=total)
    with bar:
        yield lambda: bar.update(task, advance=1)


def _bar(*, names: bool) -> Any:
    """Return a bar that vanishes at its end, or nothing if standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return None
    name = [TextColumn("{task.fields[name]}", markup=False)] if names else []
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *name,
        console=console,
        transient=True,
    )
