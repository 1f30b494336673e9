"""Find experiments and run them, those that are up to date left out."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from socsim.catalog import experiment_files
from socsim.errors import SocsimError, unknown_name
from socsim.experiments.inputs import question
from socsim.experiments.publication import FORMATS, is_current, read_record, recover


class Experiment(NamedTuple):
    """A script, called as its file."""

    name: str
    script: Path

    @property
    def question(self) -> str:
        """What it asks."""
        return question(self.script)


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
    """Run an experiment unless its results are there already; say which was the case.

    Parameters
    ----------
    experiment
        What to run.
    out
        Folder of its results.
    quick, formats
        As in `Publication`.
    force
        Whether to run it in any case.

    Raises
    ------
    SocsimError
        The script has no ``main``, publishes nothing, or cannot do what it wants with the input it finds.
    """
    recover(out)
    if not force and is_current(out, experiment.script, quick=quick, formats=formats):
        return "current"
    main = runpy.run_path(str(experiment.script)).get("main")
    if not callable(main):
        raise SocsimError(f"{experiment.script}: has no function main(out, quick, formats)")
    main(out, quick, formats)
    if read_record(out) is None:
        raise SocsimError(f"{experiment.script}: main published nothing in '{out}'; it should fill a socsim.experiments.Publication")
    return "done"
