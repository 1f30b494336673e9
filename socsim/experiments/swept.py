"""Experiments that sweep: their points are kept beside what is published, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from socsim.sweeps import SweepResult, load_plan, sweep
from socsim.sweeps.store import Store, read_record

POINTS = "sweep"
"""Folder of the points inside that of an experiment."""


def swept(spec: Mapping[str, Any], out: Path, *, jobs: int | None = None) -> SweepResult:
    """Return the points of a sweep, those computed that are not in the experiment's folder yet.

    Points of another sweep or another version of the package that are there are deleted.

    Parameters
    ----------
    spec
        As in `socsim.sweep`.
    out
        Folder of the experiment.
    jobs
        Processes; default: one for each core.
    """
    plan, folder = load_plan(spec), out / POINTS
    store = Store(folder, plan)
    if folder.exists() and read_record(folder) != store.record:
        shutil.rmtree(folder)
    log = logging.getLogger(__name__)

    def progress(done: int, failed: int) -> None:  # noqa: ARG001 (failures are in the table)
        log.info("%s of %s points", f"{done:,}", f"{plan.count:,}")

    return sweep(plan, folder, jobs=jobs, resume=True, progress=progress)
