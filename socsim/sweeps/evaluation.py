"""One batch of a sweep: a pure function of the plan and the numbers of its points, wherever it is computed."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from socsim.catalog import trace_path
from socsim.errors import SocsimError
from socsim.outliers import TABLES
from socsim.prefills import Prefills
from socsim.provenance import code_sha256, files_sha256, versions
from socsim.runs import build_case, run_case
from socsim.schedulers import SCHEDULERS, load_scheduler
from socsim.specs import Run, Spec, validate
from socsim.sweeps.metrics import measure
from socsim.sweeps.plan import SPECS, Plan, full_path
from socsim.version import __version__

NOT_COMPUTING = ("calibration", "cli", "experiments", "numerics", "plots", "report", "tuning")
"""Parts of the package that have no part in a point's values."""
LIBRARIES = ("numpy", "simpy", "pydantic", "pyarrow", "scipy", "SALib")
"""Libraries on which points, or the bytes of a part, may depend."""

OK, FAILED = "ok", "failed"
GOLDEN = 0.618033988749895
"""Multiples of it are spread evenly over the unit interval, whatever their number."""


@dataclass(frozen=True)
class Batch:
    """What a worker returns: columns of values, and how long each point took."""

    number: int
    columns: Mapping[str, list[Any]]
    seconds: list[float]
    worker: str

    @property
    def failed(self) -> int:
        """Number of points that failed."""
        return self.columns["status"].count(FAILED)


def computing() -> dict[str, Any]:
    """Return what points are computed with: socsim, the shipped tables on which task graphs depend, and libraries."""
    return {
        "socsim": __version__,
        "code_sha256": code_sha256(NOT_COMPUTING),
        "traces_sha256": files_sha256([(name, trace_path(name)) for name in TABLES]),
        "versions": versions(*LIBRARIES),
    }


def surroundings(plan: Plan) -> dict[str, Any]:
    """Return what must be the same wherever points of a plan are computed: `computing`, and the files of a user's schedulers."""
    return computing() | {"schedulers": {name: _source_sha256(name) for name in plan.schedulers if name not in SCHEDULERS}}


def _source_sha256(scheduler: str) -> str:
    """Return the SHA-256 of the file in which a user's policy is."""
    module = sys.modules[load_scheduler(scheduler).__module__]
    return files_sha256([("", Path(str(module.__file__)))])


def run_batch(plan_json: str, number: int, client: dict[str, Any]) -> Batch:
    """Compute a batch of a plan.

    Parameters
    ----------
    plan_json
        The plan, as `Plan.to_json` writes it.
    number
        Of the batch.
    client
        The `surroundings` of whoever wants it.

    Raises
    ------
    SocsimError
        They are not those of this process.
    """
    return _evaluator(plan_json, json.dumps(client, sort_keys=True)).batch(number)


@lru_cache(maxsize=2)
def _evaluator(plan_json: str, client_json: str) -> Evaluator:
    plan, client = Plan.from_json(plan_json), json.loads(client_json)
    ours = surroundings(plan)
    if ours != client:
        raise SocsimError(f"the worker on {socket.gethostname()} {_difference(ours, client)}; install the same on both")
    return Evaluator(plan)


def _difference(ours: Mapping[str, Any], client: Mapping[str, Any]) -> str:
    """Say how a worker differs from the client."""
    if ours["socsim"] != client["socsim"]:
        return f"has socsim {ours['socsim']}, the client {client['socsim']}"
    if ours["code_sha256"] != client["code_sha256"]:
        return f"has other code of socsim {ours['socsim']} than the client"
    if ours["traces_sha256"] != client["traces_sha256"]:
        return f"has other files in traces/ than the client: {' or '.join(TABLES)}"
    for name, version in ours["versions"].items():
        if version != client["versions"].get(name):
            return f"has {name} {version}, the client {client['versions'].get(name)}"
    changed = next(name for name, sha256 in ours["schedulers"].items() if sha256 != client["schedulers"].get(name))
    return f"has another file of scheduler '{changed}' than the client"


class Evaluator:
    """Computes points of one plan; descriptions and task graphs are made once for all points that have them in common."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._base = {
            kind: {name: validate(SPECS[kind], data, f"{plan.where}: {name}") for name, data in named.items()}
            for kind, named in plan.descriptions.items()
        }
        self._settings = {kind: plan.settings(kind) for kind in SPECS}
        self._turn = Lock()
        self._peak = "peak_power_w" in plan.metrics
        self._prefill = Prefills()

    def batch(self, number: int, most: int | None = None) -> Batch:
        """Compute the points of a batch; one that fails has the reason in its row. Threads take turns; `most` points are computed."""
        with self._turn:
            return self._batch(number, most)

    def _batch(self, number: int, most: int | None) -> Batch:
        numbers, values = self.plan.points(*self.plan.batch_range(number))
        columns: dict[str, list[Any]] = {"point": numbers[:most].tolist()}
        columns |= {name: column[:most].tolist() for name, column in values.items()}
        rows, status, errors, seconds = list[list[Any]](), list[str](), list[str | None](), list[float]()
        nothing = [None] * len(self.plan.metrics)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as those on long prompts, once for each of a million points
            for point in zip(*(columns[name] for name in self.plan.columns), strict=True):
                begin, error = time.perf_counter(), None
                try:
                    row = self.point(dict(zip(self.plan.columns, point, strict=True)))
                except MemoryError:
                    raise  # says something of the machine, not of the point
                except Exception as problem:
                    row, error = nothing, str(problem) if isinstance(problem, SocsimError) else f"{type(problem).__name__}: {problem}"
                seconds.append(time.perf_counter() - begin)
                rows.append(row)
                status.append(OK if error is None else FAILED)
                errors.append(error)
        columns |= {name: [row[place] for row in rows] for place, name in enumerate(self.plan.metrics)}
        columns |= {"status": status, "error": errors}
        return Batch(number, columns, seconds, f"{socket.gethostname()}:{os.getpid()}")

    def point(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the metrics of one point, given by column.

        Raises
        ------
        SocsimError
            Its values do not go together.
        """
        names = {kind: getattr(self.plan.spec.base, kind) for kind in self._base}
        changes = {kind: dict(settings) for kind, settings in self._settings.items()}
        for axis in self.plan.spec.axes:
            for path in axis.paths:
                if path in names:
                    names[path] = values[axis.column]
        for axis in self.plan.spec.axes:
            for path in axis.paths:
                kind, _, rest = full_path(path).partition(".")
                if rest:
                    value = values[axis.column]
                    changes[kind][rest] = (
                        self.plan.scaled(self.plan.field(kind, names.get(kind, ""), rest), value) if axis.relative else value
                    )
        soc, llm, engine = (self._described(kind, names[kind], changes[kind]) for kind in ("soc", "model", "engine"))
        run = validate(Run, {"prompt_tokens": changes["run"]["prompt_tokens"]}, "run").override(changes["run"], "run")
        result = run_case(build_case(soc, llm, engine, run, {}, self._prefill), peak=self._peak)
        return measure(result, self.plan.metrics)

    def _described(self, kind: str, name: str, changes: Mapping[str, Any]) -> Any:
        spec: Spec = self._base[kind][name]
        return spec.override(changes, kind)


def seconds_per_point(plan: Plan, samples: int = 16, budget_s: float = 5.0) -> float:
    """Return how long a point takes (s), measured on some that are spread over the sweep; those that fail count, too.

    Each is computed twice, as most points find what others have built, but not all.
    """
    evaluator, stop, taken = Evaluator(plan), time.perf_counter() + budget_s, list[float]()
    for place in range(samples):
        number = int(place * GOLDEN % 1.0 * plan.batches)
        for _ in range(2):
            taken += evaluator.batch(number, most=1).seconds
        if time.perf_counter() > stop:
            break
    return sum(taken) / len(taken) if taken else 0.0
