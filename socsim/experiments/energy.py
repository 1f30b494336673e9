"""Energy of a run under each of the phone's power calibrations, which were measured in different ways and are never averaged."""

from __future__ import annotations

from socsim.metrics import power_model, summarize
from socsim.runs import Result


def energies(result: Result) -> dict[str, float | None]:
    """Return the energy of a run as columns, two for each power calibration: of its prefill, and of a decode step.

    The energy of a decode step is None for a run without decode.
    """
    case, steps = result.case, result.case.run.output_tokens - 1
    columns: dict[str, float | None] = {}
    for name in case.soc.power:
        power = power_model(case.soc, case.engine, case.run.override({"power_calibration": name}, "run"))
        metrics = summarize(result.timeline, power, case.run, case.preparation.charged_s)
        whole, prefill = metrics["e2e_energy_j"] or 0.0, metrics["prefill_energy_j"] or 0.0
        columns[prefill_column(name)] = prefill
        columns[f"{_prefix(name)}_decode_j_per_token"] = (whole - prefill) / steps if steps else None
    return columns


def prefill_column(calibration: str) -> str:
    """Return the column of the prefill energy under a power calibration."""
    return f"{_prefix(calibration)}_prefill_energy_j"


def _prefix(calibration: str) -> str:
    return calibration.replace("-", "_")
