"""``socsim calibrate``: fit the figures of SoCs and engines to measured rows and write them to their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsim.cli.console import make_console, one_line, print_json
from socsim.cli.options import JsonOption, NoRowsOption

if TYPE_CHECKING:
    from socsim.calibration import Calibration

EXIT_UNSOUND = 1

EXAMPLES = """\b
Examples:
  socsim calibrate
  socsim calibrate --output fitted/ --plot latency.pdf
  socsim calibrate snapdragon-8-gen-3 --measurements my-phone.csv --output my-phone.toml
"""


def calibrate_command(
    soc: Annotated[
        str | None,
        typer.Argument(
            metavar="SOC",
            help="Write this SoC only; with --measurements: the SoC, by name or TOML file, from which everything else is taken.",
            show_default=False,
        ),
    ] = None,
    measurements: Annotated[
        list[Path] | None,
        typer.Option(
            "--measurements",
            metavar="FILE...",
            help="Micro-benchmarks of your phone, in CSV files as traces/README.md describes.  [default: all that is shipped]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE|FOLDER", help="Where to write: a file if SOC is given, else a folder.  [default: in place]"
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw measured and modeled latency of products by shape as .png, .pdf or .svg."),
    ] = None,
    allow_bounds: Annotated[
        bool, typer.Option("--allow-bounds", help="Write files even if a fit did not converge or ended at a bound of its search.")
    ] = False,
    as_json: JsonOption = False,
    no_rows: NoRowsOption = False,
) -> None:
    """Fit the figures of SoCs and engines to measured rows, print the fits, and write the files.

    Without --measurements all that is shipped is fitted together, which takes some minutes: all SoC and engine files with fitted
    figures are written, and the ensemble behind 'socsim run --uncertainty'. The same rows always give the same files.
    With --measurements only what micro-benchmarks show is fitted. A fit that did not converge or ended at a bound is
    reported, nothing is written, and the exit code is 1.
    """
    from socsim.cli.fitting import fit_own, fit_shipped, write_texts

    calibration, texts = fit_own(soc, measurements, output, plot) if measurements else fit_shipped(soc, output, plot)
    sound = allow_bounds or not calibration.problems
    _print(calibration, [str(path) for path in texts] if sound else [], as_json, not no_rows)
    for problem in calibration.problems:
        one_line("warning", problem)
    if not sound:
        one_line("error", "nothing is written, as a fit is not sound; --allow-bounds writes it nevertheless")
        raise typer.Exit(EXIT_UNSOUND)
    write_texts(texts)
    if plot is not None:
        _write_plot(calibration, plot)


def _print(calibration: Calibration, files: list[str], as_json: bool, rows: bool) -> None:
    """Print a calibration as JSON or as tables."""
    from socsim.cli.fits import fit_records, print_fits, target_records

    fits, unseen = fit_records(calibration), target_records(calibration)
    if not as_json:
        print_fits(make_console(), fits, unseen, rows=rows)
        return
    from socsim.runs import SCHEMA_VERSION

    shown = fits if rows else [{name: value for name, value in fit.items() if name != "rows"} for fit in fits]
    print_json({"schema_version": SCHEMA_VERSION, "fits": shown, "unseen": unseen, "problems": calibration.problems, "files": files})


def _write_plot(calibration: Calibration, path: Path) -> None:
    """Draw the micro-benchmarks of a calibration."""
    from socsim.cli.fits import product_records
    from socsim.plots import latency_by_shape, save

    save(latency_by_shape(product_records(calibration)), path)
    one_line("wrote", path)
