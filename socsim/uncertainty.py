"""How uncertain a prediction is: the same run under parameter sets that are as plausible as the fitted one.

The ensemble is made by ``socsim calibrate``. Each member has its own figures of SoC and engine, and a factor by which
latency and energy are off when the figures are right; a band is what 80 % of the members lie in.
"""

from __future__ import annotations

import csv
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from socsim.catalog import hardware_path, inherited_from, list_socs, own_paths
from socsim.errors import SocsimError
from socsim.runs import make_case, run_case

ENSEMBLE_COLUMNS = ("member", "kind", "name", "path", "value")
ERROR = "error"
"""Kind of the rows that hold a factor by which latency or energy is off."""
PERCENTILES = (10.0, 50.0, 90.0)
BAND_METRICS = {"ttft_s": 1, "prefill_tokens_per_s": -1, "prefill_energy_j": 0}
"""Metrics with a band, and the power of the latency factor in each; 0: the energy factor instead."""


class Band(NamedTuple):
    """10th, 50th and 90th percentile of a prediction."""

    low: float
    median: float
    high: float


@dataclass
class Member:
    """One parameter set: figures by (kind, name) and path, and the factors of the model's error."""

    figures: dict[tuple[str, str], dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    factors: dict[str, float] = field(default_factory=lambda: {"latency": 1.0, "energy": 1.0})


@lru_cache(maxsize=1)
def load_ensemble() -> tuple[Member, ...]:
    """Return the members of the shipped ensemble.

    Raises
    ------
    SocsimError
        There is none.
    """
    if not hardware_path("ensemble.csv").exists():
        raise SocsimError(f"{hardware_path('ensemble.csv')}: no such file; 'socsim calibrate' makes it")
    members: dict[str, Member] = defaultdict(Member)
    with hardware_path("ensemble.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            value = tomllib.loads(f"value = {row['value']}")["value"]
            member = members[row["member"]]
            if row["kind"] == ERROR:
                member.factors[row["name"]] = float(value)
            else:
                member.figures[row["kind"], row["name"]][row["path"]] = value
    return tuple(members.values())


def member_overrides(member: Member, soc: str | Path, engine: str | Path) -> dict[str, Any]:
    """Return what a member changes in a run on some SoC, its own or inherited figures, and under some engine."""
    name, figures = str(soc), dict[str, Any]()
    base = inherited_from("soc", soc)
    if base is not None:
        own = own_paths("soc", soc)
        figures |= {path: value for path, value in member.figures.get(("soc", base), {}).items() if path not in own}
    figures |= member.figures.get(("soc", name), {}) if name in list_socs() else {}
    overrides = {f"soc.{path}": value for path, value in figures.items()}
    return overrides | {f"engine.{path}": value for path, value in member.figures.get(("engine", str(engine)), {}).items()}


def uncertainty_bands(
    soc: str | Path,
    model: str | Path,
    engine: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    progress: Callable[[], None] = lambda: None,
    **options: Any,
) -> dict[str, Band]:
    """Return the 10th to 90th percentile of TTFT, prefill speed and prefill energy of a run.

    Parameters
    ----------
    soc, model, engine
        Names or paths, as in `socsim.runs.make_case`.
    overrides
        Fields that are set, whatever a member has.
    progress
        Called after each member.
    options
        Other arguments of `socsim.runs.make_case`.

    Raises
    ------
    SocsimError
        As `socsim.runs.make_case`, or the ensemble is missing.
    """
    values: dict[str, list[float]] = {metric: [] for metric in BAND_METRICS}
    for member in load_ensemble():
        case = make_case(soc, model, engine, overrides={**member_overrides(member, soc, engine), **(overrides or {})}, **options)
        metrics = run_case(case).metrics
        for metric, power in BAND_METRICS.items():
            factor = member.factors["latency"] ** power if power else member.factors["energy"]
            values[metric].append(float(metrics[metric] or 0.0) * factor)
        progress()
    return {metric: Band(*(float(each) for each in np.percentile(found, PERCENTILES))) for metric, found in values.items()}
