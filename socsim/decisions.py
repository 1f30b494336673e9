"""Every scheduling decision of a run, written to a file while the run is made."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from socsim.cost import NANOSECONDS
from socsim.errors import SocsimError
from socsim.graph import Subgraph, TaskGraph
from socsim.schedulers import Choose, Prepare, Rehearse, View, load_scheduler, place_of, places, prepare_policy

COLUMNS = ("time_s", "processor", "candidates", "choice")
"""When which processor was free, what was ready for it (``name=score; ...`` where the policy has scores), what it took."""

WAIT = "wait"


def label(subgraph: Subgraph) -> str:
    """Return a short name of a subgraph, such as ``qkv[c0 b3]`` for chunk 0 and block 3."""
    return f"{subgraph.stage}[c{subgraph.chunk} b{subgraph.block}]"


@contextmanager
def decision_log(scheduler: str | Prepare, path: str | Path) -> Iterator[Prepare]:
    """Wrap a policy so that each of its decisions becomes a line of a CSV file; the schedule stays the same.

    Where `choose`, or the object whose method it is, has a function ``score(index, view)``, the scores of all candidates are
    written, in the policy's own unit; for out-of-order that is C in nanoseconds.

    Parameters
    ----------
    scheduler
        A policy's name, ``module:function``, or a ``prepare`` function; the wrapped one carries its name.
    path
        File to write.

    Raises
    ------
    SocsimError
        The policy is unknown or the file cannot be written.
    """
    policy = load_scheduler(scheduler)
    with _writing(path):
        file = Path(path).open("w", newline="", encoding="utf-8")  # noqa: SIM115 (closed below, where a full disk is reported)
    writer = csv.writer(file, lineterminator="\n")

    def write(row: Sequence[str]) -> None:
        with _writing(path):
            writer.writerow(row)

    def prepare(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
        return _logged(prepare_policy(policy, graph, expected_ns, seed, rehearse), graph, write)

    prepare.__name__ = scheduler if isinstance(scheduler, str) else getattr(scheduler, "__name__", type(scheduler).__name__)
    try:
        write(COLUMNS)
        yield places(place_of(policy))(prepare)
    finally:
        with _writing(path):
            file.close()


@contextmanager
def _writing(path: str | Path) -> Iterator[None]:
    """Report what goes wrong with the file as bad input."""
    try:
        yield
    except OSError as error:
        raise SocsimError(f"cannot write the decision log '{path}': {error.strerror}") from None


def _logged(choose: Choose, graph: TaskGraph, write: Callable[[Sequence[str]], None]) -> Choose:
    """Return a policy's `choose` that writes down what it is asked and what it answers."""
    names = [label(subgraph) for subgraph in graph.subgraphs]
    score: Callable[[int, View], Any] | None = getattr(choose, "score", getattr(getattr(choose, "__self__", None), "score", None))

    def logged(ready: Sequence[int], view: View) -> int | None:
        # Scores come first, as choosing may change the policy's state.
        candidates = "; ".join(names[index] if score is None else f"{names[index]}={score(index, view)}" for index in ready)
        choice = choose(ready, view)
        # A choice that is not ready is the simulator's to refuse; it is written down as it is.
        taken = WAIT if choice is None else names[choice] if choice in ready else repr(choice)
        write((f"{view.now_ns / NANOSECONDS:.9f}", graph.processors[view.processor], candidates, taken))
        return choice

    if score is not None:
        logged.score = score  # type: ignore[attr-defined]
    return logged
