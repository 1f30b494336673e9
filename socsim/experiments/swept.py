"""Experiments that sweep: their points are kept beside what is published, so that an interrupted one goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from socsim.sweeps import SweepResult, load_plan, sweep
from socsim.sweeps.store import Store

POINTS = "sweep-"
"""How the folder of points is called inside that of an experiment; a hash of what they are computed from follows."""


def swept(spec: Mapping[str, Any], out: Path, *, jobs: int | None = None) -> SweepResult:
    """Return the points of a sweep, those computed that are not in the experiment's folder yet.

    Parameters
    ----------
    spec
        As in `socsim.sweep`.
    out
        Folder of the experiment; another sweep, or the same by another version of the package, has points of its own there.
    jobs
        Processes; default: one for each core.
    """
    plan = load_plan(spec)
    known = json.dumps(Store(out, plan).record, sort_keys=True).encode()
    folder = out / f"{POINTS}{hashlib.sha256(known).hexdigest()[:12]}"
    log, told = logging.getLogger(__name__), set[int]()

    def progress(done: int, failed: int) -> None:  # noqa: ARG001 (failures are in the table)
        tenth = 10 * done // plan.count
        if tenth not in told:
            told.add(tenth)
            log.info("%s of %s points", f"{done:,}", f"{plan.count:,}")

    return sweep(plan, folder, jobs=jobs, resume=True, progress=progress)
