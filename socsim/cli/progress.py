"""How far a long command is, on standard error: a bar if somebody looks, else a line for each step, or nothing."""

from __future__ import annotations

import time
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
def counted_steps(what: str, total: int) -> Iterator[Callable[..., None]]:
    """Show steps that are many; without a terminal nothing is shown.

    What is yielded is called when each has ended, or with the number that have and how many there are.
    """
    bar = _bar(names=False)
    if bar is None:
        yield lambda *_: None
        return
    task = bar.add_task(what, total=total)

    def step(done: int | None = None, of: int = total) -> None:
        bar.update(task, advance=1) if done is None else bar.update(task, completed=done, total=of)

    with bar:
        yield step


@contextmanager
def counted_points(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show points that are many, with their rate, the time that is left, and how many failed.

    What is yielded is called with the points that are done and those of them that failed. Without a terminal there is a line now and
    then, and one at the end.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainPoints(what, total)
        return
    with Progress(
        *(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("{task.fields[rate]}", markup=False), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
        TextColumn("{task.fields[failed]}", markup=False),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=total, rate="", failed="")
        points = PlainPoints(what, total, show=lambda _: None)

        def update(done: int, failed: int) -> None:
            points(done, failed)
            bar.update(task, completed=done, rate=points.rate_text, failed=f"{failed:,} failed" if failed else "")

        yield update


class PlainPoints:
    """Prints how far a sweep is: at the start, every ten seconds, and at the end."""

    PAUSE_S = 10.0

    def __init__(self, what: str, total: int, show: Callable[[str], None] | None = None) -> None:
        self._total, self._show = total, show or (lambda text: one_line(what, text))
        self._begun, self._first, self._next = time.monotonic(), -1, 0.0
        self.rate_text = ""

    def __call__(self, done: int, failed: int) -> None:
        """Take note of the points that are done, and of those that failed."""
        spent = time.monotonic() - self._begun
        if self._first < 0:
            self._first = done
        rate = (done - self._first) / spent if spent > 0 else 0.0
        self.rate_text = f"{rate:,.0f} points/s" if rate >= 10 else f"{rate:.2g} points/s" if rate > 0 else ""
        if spent < self._next and done < self._total:
            return
        self._next = spent + self.PAUSE_S
        left = f"about {duration_text((self._total - done) / rate)} left" if rate and done < self._total else ""
        parts = [f"{done:,} of {self._total:,} points", self.rate_text, f"{failed:,} failed" if failed else "", left]
        self._show(", ".join(part for part in parts if part))


def duration_text(seconds: float) -> str:
    """Return a duration for people."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


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
