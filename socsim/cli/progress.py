"""How far a long command is, on standard error: a bar if somebody looks, else a line for each step, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import Any

from socsim.cli.console import one_line


class NamedSteps:
    """Called with the name of each step when it begins; `detail` says what goes on inside of it."""

    def __init__(self, what: str, total: int, bar: Any) -> None:
        self._what, self._bar, self._begun = what, bar, count()
        self._task = bar and bar.add_task(what, total=total, name="")

    def __call__(self, name: str) -> None:
        """Begin a step."""
        if self._bar is None:
            one_line(self._what, name)
        else:
            self._bar.update(self._task, completed=next(self._begun), name=name)

    def detail(self, name: str) -> None:
        """Show another name for the step that has begun."""
        if self._bar is None:
            one_line(self._what, name)
        else:
            self._bar.update(self._task, name=name)


@contextmanager
def named_steps(what: str, total: int) -> Iterator[NamedSteps]:
    """Show steps that take long."""
    bar = _bar(names=True)
    with bar or nullcontext():
        yield NamedSteps(what, total, bar)


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
