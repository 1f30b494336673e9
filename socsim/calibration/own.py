"""Calibrate the phone of a user: micro-benchmarks of one's own, everything else as on a phone that is known."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from socsim.calibration.calibrate import Calibration, calibrate
from socsim.calibration.targets import fitted_targets
from socsim.errors import SocsimError, did_you_mean
from socsim.measurements import OperatorRow, load_operator_rows


def own_rows(files: Sequence[str | Path], template: str, names: Sequence[str]) -> list[OperatorRow]:
    """Return the rows of a user's phone, as rows of the SoC that it is modeled on.

    Parameters
    ----------
    files
        CSV files of micro-benchmarks.
    template
        SoC from which everything else is taken.
    names
        What the phone may be called in the files, if they hold rows of several.

    Raises
    ------
    SocsimError
        A file is not valid, or none of its rows is of the phone.
    """
    rows = load_operator_rows(files)
    found = sorted({row.soc for row in rows})
    names = found if len(found) == 1 else names  # a file of one phone may call it what it likes
    chosen = [row._replace(soc=template) for row in rows if row.soc in names]
    for row in rows:
        if chosen and row.soc not in names:
            warnings.warn(f"{row.where}: soc '{row.soc}' is left out: rows of {' or '.join(names)} are fitted", stacklevel=2)
    if not chosen:
        wanted = " or ".join(f"'{name}'" for name in names)
        where = ", ".join(str(file) for file in files)
        raise SocsimError(f"{where}: no row has soc {wanted}{did_you_mean(names[0], found)}; there are: {', '.join(found)}")
    return chosen


def calibrate_own(
    template: str, files: Sequence[str | Path], names: Sequence[str], progress: Callable[[str], None] = lambda _: None
) -> Calibration:
    """Fit the figures of a SoC that micro-benchmarks show to rows of a user's phone.

    Raises
    ------
    SocsimError
        As `own_rows`; or no row is for calibration, the SoC has no fitted figures of the products that were measured, or too
        few rows for them.
    """
    rows = own_rows(files, template, names)
    if all(row.split != "calibration" for row in rows):
        raise SocsimError(f"{rows[0].where}: no row of the phone has split 'calibration'; there are: validation")
    result = calibrate([template], rows, [], progress)
    used = {row.where for group, _ in result.fits for row in group.rows}
    unused = [row for row in rows if row.split == "calibration" and row.where not in used]
    if unused:
        row = unused[0]
        tables = sorted({target.path.rpartition(".")[0] for target in fitted_targets("soc", template) if "throughput" in target.path})
        raise SocsimError(
            f"{row.where}: {template} has no figures marked as fitted for {row.path or row.data_type} products on the {row.processor}; "
            f"it has them in: {', '.join(tables) or 'no table of its own; a SoC that has: snapdragon-8-gen-3'}"
        )
    return result
