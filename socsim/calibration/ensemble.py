"""An ensemble of parameter sets that are as plausible as the fitted one, and the error that the model has beside them.

Each member holds a value for every fitted figure of every file, from a bootstrap of the residuals of its fit, and one
residual of latency and of energy from all rows of whole runs: what predictions are off by when the figures are right.
"""

from __future__ import annotations

import csv
import io

import numpy as np

from socsim.calibration.calibrate import Calibration
from socsim.calibration.files import toml_number
from socsim.calibration.groups import RUN_METRICS
from socsim.calibration.targets import Target, written
from socsim.measurements import SystemRow
from socsim.specs import SoC
from socsim.uncertainty import ENSEMBLE_COLUMNS, ERROR

MEMBERS = 40


def ensemble_text(calibration: Calibration, members: int = MEMBERS, seed: int = 0) -> str:
    """Return the ensemble of a calibration as CSV: member, kind, name, path, value with four significant digits.

    Parameters
    ----------
    calibration
        What was fitted.
    members
        Number of parameter sets.
    seed
        Seed of the bootstrap.
    """
    random = np.random.default_rng(seed)
    sets = [(group, fit.bootstrap(members, random)) for group, fit in calibration.fits]
    errors = {
        "latency": _residuals(calibration, RUN_METRICS[:1]),
        "energy": _residuals(calibration, ("prefill_energy_j",)),
    }
    # Speed over its prediction is latency's inverse.
    factors = {
        name: np.exp(random.choice(values if name == "energy" else -values, members)) for name, values in errors.items() if len(values)
    }
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(ENSEMBLE_COLUMNS)
    socs: dict[str, SoC] = {}
    for member in range(members):
        for name, factor in factors.items():
            writer.writerow((member, ERROR, name, "", toml_number(float(factor[member]))))
        for group, values in sets:
            for target, value in zip(group.targets, values[member], strict=True):
                if target.path not in calibration.findings.values.get((target.kind, target.name), {}):
                    continue  # no row shows it: the file's value holds
                writer.writerow((member, target.kind, target.name, target.path, _text(target, float(value), calibration, socs)))
    return file.getvalue()


def _residuals(calibration: Calibration, metrics: tuple[str, ...]) -> np.ndarray:
    """Return the log residuals of all rows of some metrics; a row that several groups share counts once."""
    found = {
        id(row): residual
        for group, fit in calibration.fits
        for row, residual in zip(group.rows, fit.residuals, strict=True)
        if isinstance(row, SystemRow) and row.metric in metrics
    }
    return np.array(list(found.values()))


def _text(target: Target, value: float, calibration: Calibration, socs: dict[str, SoC]) -> str:
    """Return a value as it stands in the file: a number, or a list of them."""
    if target.kind == "engine":
        return toml_number(value)
    soc = socs.setdefault(target.name, calibration.findings.soc(target.name))
    whole = written(soc, target.path, value)
    return f"[{', '.join(toml_number(each) for each in whole)}]" if isinstance(whole, list) else toml_number(value)
