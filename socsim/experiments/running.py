"""Find experiments and run them, those that are up to date left out."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout

from socsim.catalog import experiment_files
from socsim.errors import SocsimError, unknown_name
from socsim.experiments.inputs import is_apart, question
from socsim.experiments.publication import FORMATS, RECORD, is_current, read_record, recover

LOCK = ".lock"
"""File of a folder that is locked while an experiment writes there."""


class Experiment(NamedTuple):
    """A script, called as its file."""

    name: str
    script: Path

    @property
    def question(self) -> str:
        """What it asks."""
        return question(self.script)

    @property
    def apart(self) -> bool:
        """Whether it takes so long that it is run by its name only."""
        return is_apart(self.script)

    @property
    def shipped(self) -> bool:
        """Whether all that its results depend on is known; a script of a user's own may read other files."""
        return experiment_files().get(self.script.stem) == self.script.resolve()


def list_experiments() -> list[Experiment]:
    """Return the shipped experiments in the order of their names."""
    return [Experiment(name, script) for name, script in experiment_files().items()]


def find_experiment(name: str) -> Experiment:
    """Return an experiment by shipped name, or a user's own by path.

    Raises
    ------
    SocsimError
        There is none.
    """
    shipped, path = experiment_files(), Path(name)
    if name in shipped:
        return Experiment(name, shipped[name])
    if path.suffix == ".py" or len(path.parts) > 1:
        if not path.is_file():
            raise SocsimError(f"{path}: no such file")
        return Experiment(path.stem, path)
    raise unknown_name("experiment", name, shipped)


def run_experiment(
    experiment: Experiment, out: Path, *, quick: bool = False, formats: Sequence[str] = FORMATS, force: bool = False
) -> Literal["done", "current"]:
    """Run an experiment unless it is a shipped one whose results are there already; say which was the case.

    Parameters
    ----------
    experiment
        What to run.
    out
        Folder of its results.
    quick, formats
        As in `Publication`; formats that are there already are made again.
    force
        Whether to run it in any case.

    Raises
    ------
    SocsimError
        The script has no ``main``, publishes nothing, or cannot do what it wants with the input it finds.
    """
    with _alone_in(out):
        recover(out)
        if experiment.shipped and not force and is_current(out, experiment.script, quick=quick, formats=formats):
            return "current"
        known = (read_record(out) or {}).get("formats", ())
        formats = tuple(each for each in FORMATS if each in (*formats, *known))
        main = _main_of(experiment.script)
        before = _stamp(out / RECORD)
        main(out, quick, formats)
        if _stamp(out / RECORD) == before:
            raise SocsimError(f"{experiment.script}: main published nothing in '{out}'; it should fill a socsim.experiments.Publication")
    return "done"


def _stamp(file: Path) -> tuple[int, int] | None:
    """Return what tells a file from one that was put in its place; none if there is none."""
    if not file.exists():
        return None
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def _main_of(script: Path) -> Callable[..., object]:
    """Return the function of a script that makes its results; modules beside it can be imported, as when it is run as a program."""
    folder = str(script.parent.resolve())
    sys.path.insert(0, folder)
    try:
        main: Callable[..., object] | None = runpy.run_path(str(script)).get("main")
    finally:
        sys.path.remove(folder)
    if not callable(main):
        raise SocsimError(f"{script}: has no function main(out, quick, formats)")
    return main


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Hold the folder of an experiment, so that two of them never write into it at the same time.

    Raises
    ------
    SocsimError
        Somebody else holds it, or it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / LOCK, timeout=0):  # released by the system if the process is killed
            yield
    except Timeout:
        raise SocsimError(f"{out}: another run of this experiment is writing there; wait for it, or choose another --out") from None
    except OSError as error:
        if error.filename is None or not str(error.filename).startswith(str(out)):
            raise
        raise SocsimError(f"{error.filename}: cannot be written: {error.strerror}") from None
