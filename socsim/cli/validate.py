"""``socsim validate``: every measured run simulated beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from socsim.cli.console import make_console, one_line, print_json
from socsim.cli.files import check_outputs
from socsim.cli.options import JsonOption, NoRowsOption
from socsim.cli.progress import counted_steps, named_steps
from socsim.cli.tables import records
from socsim.errors import unknown_name

if TYPE_CHECKING:
    from socsim.measurements import OperatorRow, SystemRow

ALL = "all"
Record = dict[str, Any]

EXAMPLES = """\b
Examples:
  socsim validate
  socsim validate --quick --split validation
  socsim validate --measurements my-runs.csv --plot parity.pdf
"""


def validate_command(
    split: Annotated[
        str,
        typer.Option(
            "--split", metavar="calibration|validation|all", help="Rows that were there to fit figures, those that were not, or all."
        ),
    ] = ALL,
    measurements: Annotated[
        list[Path] | None,
        typer.Option(
            "--measurements",
            metavar="FILE...",
            help="Whole runs that you measured, in CSV files as traces/README.md describes.  [default: all that is shipped]",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw predicted against measured figures as .png, .pdf or .svg.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out what takes minutes: fits without one model, and uncertainty bands.")
    ] = False,
    as_json: JsonOption = False,
    no_rows: NoRowsOption = False,
) -> None:
    """Simulate every measured run and print it beside what was measured, mean errors, and the targets of this project.

    Fits without one model (leave one model out) are of the shipped measurements only. The exit code is 0 even if a target is missed.
    """
    from socsim.measurements import SPLITS

    if split not in (*SPLITS, ALL):
        raise unknown_name("--split", split, (*SPLITS, ALL))
    check_outputs(plot=plot)
    report = make_report(measurements or None, split, quick)
    if as_json:
        shown = {name: value for name, value in report.items() if name != "rows" or not no_rows}
        print_json(shown)
    else:
        from socsim.cli.validation import print_report

        print_report(make_console(), report, split, rows=not no_rows)
    if plot is not None:
        from socsim.plots import parity, save

        save(parity(report["rows"]), plot)
        one_line("wrote", plot)


def make_report(files: Sequence[Path] | None, split: str, quick: bool) -> Record:
    """Return everything that is printed, as plain values; what was not computed is none.

    Parameters
    ----------
    files
        A user's measurements; none: the shipped ones.
    split
        Which rows count, or ``all``.
    quick
        Whether to leave out what takes minutes.
    """
    from socsim.cli.validation import band_summary
    from socsim.measurements import load_operator_rows, load_system_rows
    from socsim.runs import SCHEMA_VERSION
    from socsim.validation import error_summary, per_group_slowdowns, targets, validate_operators, validate_runs

    def chosen(rows: Sequence[Any]) -> list[Any]:
        return [row for row in rows if split in (ALL, row.split)]

    runs: list[SystemRow] = chosen(load_system_rows(files))
    products: list[OperatorRow] = chosen(load_operator_rows()) if files is None else []
    with counted_steps("simulating", len(runs)) as progress:
        table = validate_runs(runs, progress=progress)
    operators, slowdowns = validate_operators(products), per_group_slowdowns()
    if files is not None or split == "validation":  # these ratios are shipped, and for calibration
        slowdowns = slowdowns.iloc[:0]
    left_out = None if quick or files is not None or split == "validation" else _left_out(products, runs)
    bands = None if quick else _bands(runs)
    aims = targets(operators, table, slowdowns, left_out)
    return {
        "schema_version": SCHEMA_VERSION,
        "split": split,
        "rows": records(table),
        "summary": records(error_summary(table)),
        "targets": [aim._asdict() | {"met": aim.met} for aim in aims if aim.rows or files is None],
        "per_group_slowdowns": records(slowdowns),
        "leave_one_model_out": None if left_out is None else records(left_out),
        "bands": bands,
        "band_summary": None if bands is None else band_summary(bands),
    }


def _left_out(products: Sequence[OperatorRow], runs: Sequence[SystemRow]) -> Any:
    """Return the table of predictions for models that were left out."""
    from socsim.calibration.groups import REFERENCE_ENGINE
    from socsim.validation import SPEED, leave_one_model_out

    models = {row.model for row in runs if row.engine == REFERENCE_ENGINE and row.metric == SPEED and row.split == "calibration"}
    with named_steps("fitting", len(models)) as progress:
        return leave_one_model_out(products, runs, progress)


def _bands(runs: Sequence[SystemRow]) -> list[Record]:
    """Return the uncertainty band of each row whose metric has one."""
    from socsim.uncertainty import BAND_METRICS
    from socsim.validation import band_coverage

    with counted_steps("uncertainty bands", sum(row.metric in BAND_METRICS for row in runs)) as progress:
        return records(band_coverage(runs, progress))
