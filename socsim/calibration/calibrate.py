"""Calibrate SoCs and engines on measured rows: fit group after group, each on what was found before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from socsim.calibration.fit import Fit, fit
from socsim.calibration.groups import Group, graph_groups, operator_groups, power_groups, run_groups
from socsim.calibration.targets import OPERATOR_RANGES, POWER_RANGES, SYSTEM_RANGES, Findings, Range, Target, fitted_targets, parameters
from socsim.measurements import OperatorRow, SystemRow
from socsim.metrics import power_model, summarize
from socsim.prediction import predict_latency, predict_run, predict_value

STARTS = (0.0, 0.3, -0.3)
"""Where searches start: a single one may stop early where another figure hides this one, or where the order of subgraphs jumps."""
WRONG_UNIT = float(np.log(30.0))
"""Log residual of a row that no model is wrong by: published rows are off by up to four times."""
SWEEPS = 2
"""Times that groups of whole runs are fitted: a phone's relative speed enters the reference engine's fit and follows from others."""


Predict = Callable[[Findings], list[float]]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Everything that a calibration found."""

    findings: Findings
    fits: list[tuple[Group, Fit]] = field(default_factory=list)
    undetermined: list[Target] = field(default_factory=list)
    """Figures marked as fitted that no row shows; they stay as they are."""

    @property
    def problems(self) -> list[str]:
        """What keeps a fit from being sound: it did not converge, a figure ended at a bound, or a row is far off."""
        found = [f"{group.name}: the fit did not converge" for group, fit in self.fits if not fit.converged]
        found += [f"{group.name}: {path} ended at a bound of its search" for group, fit in self.fits for path in fit.at_bounds]
        return found + [
            f"{row[0]}: measured {np.exp(abs(residual)):.0f} times as {'much' if residual > 0 else 'little'} as fitted; a wrong unit?"
            for group, fit in self.fits
            for row, residual in zip(group.rows, fit.residuals, strict=True)
            if abs(residual) > WRONG_UNIT
        ]


def calibrate(
    socs: Sequence[str],
    operator_rows: Sequence[OperatorRow],
    system_rows: Sequence[SystemRow],
    progress: Callable[[str], None] = lambda _: None,
    sweeps: int = SWEEPS,
) -> Calibration:
    """Fit the figures of SoCs, and of engines where there are rows of whole runs.

    Parameters
    ----------
    socs
        Names of shipped SoCs, or paths.
    operator_rows, system_rows
        Measured rows; only those marked for calibration count.
    progress
        Called with the name of each group before it is fitted.
    sweeps
        Times that groups of whole runs are fitted.

    Raises
    ------
    SocsimError
        There are too few rows, or a row cannot be predicted.
    """
    groups = ordered_groups(socs, operator_rows, system_rows, sweeps)
    findings = Findings()
    for group in groups:  # what is in the files plays no part
        findings.set(group.targets, np.array([parameter.initial for parameter in parameters(group.targets, _ranges(group))]))
    fits: dict[str, tuple[Group, Fit]] = {}
    for group in groups:
        progress(group.name)
        found = fit_group(group, findings)
        findings.set(group.targets, found.values)
        fits[group.name] = group, found
    covered = {target for group, found in fits.values() for target, seen in zip(group.targets, found.seen, strict=True) if seen}
    findings.keep(covered)
    wanted = [target for name in socs for target in fitted_targets("soc", name)]
    return Calibration(findings, list(fits.values()), [target for target in wanted if target not in covered])


def ordered_groups(
    socs: Sequence[str], operator_rows: Sequence[OperatorRow], system_rows: Sequence[SystemRow], sweeps: int = SWEEPS
) -> list[Group]:
    """Return what `calibrate` fits, in its order; groups of whole runs come once for each sweep."""
    operators = operator_groups(socs, [row for row in operator_rows if row.split == "calibration"])
    rows = [row for row in system_rows if row.split == "calibration"]
    graphs = graph_groups(socs, rows)
    runs = run_groups(socs, rows, [*operators, *graphs])
    return [*operators, *graphs, *runs * sweeps, *power_groups(socs, rows)]


def _ranges(group: Group) -> Mapping[str, Range]:
    first = group.rows[0]
    if isinstance(first, OperatorRow):
        return OPERATOR_RANGES
    return POWER_RANGES if first.metric == "prefill_energy_j" else SYSTEM_RANGES


def fit_group(group: Group, findings: Findings) -> Fit:
    """Fit one group, everything else being as found so far."""
    operators = [row for row in group.rows if isinstance(row, OperatorRow)]
    runs = [row for row in group.rows if isinstance(row, SystemRow)]
    ranges, measured = _ranges(group), [row.latency_s for row in operators] + [row.value for row in runs]
    predict = _latencies(operators) if operators else _energies(runs, findings) if ranges is POWER_RANGES else _values(runs)
    return fit(
        parameters(group.targets, ranges),
        measured,
        lambda values: predict(findings.with_trial(group.targets, values)),
        group.name,
        STARTS,
    )


def _latencies(rows: Sequence[OperatorRow]) -> Predict:
    def predict(findings: Findings) -> list[float]:
        socs = {name: findings.soc(name) for name in {row.soc: None for row in rows}}
        return [predict_latency(row, socs[row.soc]) for row in rows]

    return predict


def _values(rows: Sequence[SystemRow]) -> Predict:
    """Return a prediction of runs that simulates a run again only when a figure of its SoC or engine differs."""
    known: dict[object, float] = {}

    def predict(findings: Findings) -> list[float]:
        keys = [(place, findings.of(row.soc, row.engine)) for place, row in enumerate(rows)]
        for (place, found), row in zip(keys, rows, strict=True):
            if (place, found) not in known:
                known[place, found] = predict_value(row, findings.soc(row.soc), findings.engine(row.engine))
        return [known[key] for key in keys]

    return predict


def _energies(rows: Sequence[SystemRow], findings: Findings) -> Predict:
    """Return a prediction of energy that simulates each row once: power does not change what happens when."""
    results = [predict_run(row, findings.soc(row.soc), findings.engine(row.engine)) for row in rows]

    def predict(findings: Findings) -> list[float]:
        socs = {name: findings.soc(name) for name in {row.soc: None for row in rows}}
        energies = []
        for row, result in zip(rows, results, strict=True):
            case = result.case
            power = power_model(socs[row.soc], case.engine, case.run)
            energies.append(float(summarize(result.timeline, power, case.run, case.preparation.charged_s)["prefill_energy_j"] or 0.0))
        return energies

    return predict
