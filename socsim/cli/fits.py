"""What a calibration found: every row beside its fit, the figures, and what the rows leave open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from socsim.cli.tables import METRIC_NAMES, by_metric_and_soc, make_table, products_text, run_text, signed_percent
from socsim.cli.units import field_unit, quantity, value_text

if TYPE_CHECKING:
    from rich.console import Console

    from socsim.calibration import Calibration, Fit, Group
    from socsim.measurements import OperatorRow, SystemRow

Record = dict[str, Any]


def fit_records(calibration: Calibration) -> list[Record]:
    """Return each fit as plain values: its rows, its figures as files hold them, and directions that the rows leave open."""
    return [_fit_record(calibration, group, fit) for group, fit in calibration.fits]


def _fit_record(calibration: Calibration, group: Group, fit: Fit) -> Record:
    rows: Sequence[OperatorRow | SystemRow] = group.rows
    values = zip(rows, fit.measured.tolist(), fit.predicted.tolist(), strict=True)
    return {
        "name": group.name,
        "mean_absolute_error_percent": 100 * fit.mean_absolute_error,
        "converged": fit.converged,
        "figures": list(_figures(calibration, group, fit)),
        "open_directions": fit.undetermined(),
        "rows": [_row(row, measured, fitted) for row, measured, fitted in values],
    }


def target_records(calibration: Calibration) -> list[Record]:
    """Return the figures marked as fitted that no row shows."""
    return [target._asdict() for target in calibration.undetermined]


def product_records(calibration: Calibration) -> list[Record]:
    """Return the micro-benchmarks of all fits as the rows of a plot of latency by shape."""
    return [
        row | {"shape": row["products"], "measured_s": row["measured"], "predicted_s": row["fitted"]}
        for fit in fit_records(calibration)
        for row in fit["rows"]
        if "products" in row
    ]


def _row(row: OperatorRow | SystemRow, measured: float, fitted: float) -> Record:
    from socsim.measurements import METRIC_UNITS, OperatorRow

    if isinstance(row, OperatorRow):
        bits = {} if row.weight_bits is None else {"weight_bits": row.weight_bits}
        what = {"soc": row.soc, "processor": row.processor, "data_type": row.path or row.data_type, "products": products_text(row), **bits}
        unit = "s"
    else:
        what = {"soc": row.soc, "model": row.model, "engine": row.engine, "prompt_tokens": row.prompt_tokens, "metric": row.metric}
        what |= {"settings": row.overrides, "what": run_text(row)}
        unit = next(iter(METRIC_UNITS[row.metric]))
    error = 100 * (fitted / measured - 1)
    return what | {"unit": unit, "measured": measured, "fitted": fitted, "error_percent": error, "where": row.where, "source": row.source}


def _figures(calibration: Calibration, group: Group, fit: Fit) -> Iterator[Record]:
    """Return each figure of a group as its file will hold it."""
    from socsim.calibration.targets import written
    from socsim.catalog import figures

    for target, parameter, value, seen in zip(group.targets, fit.parameters, fit.values, fit.seen, strict=True):
        kept: Any = float(value)
        if not seen:
            kept = next(figure.value for figure in figures(target.kind, target.name) if figure.path == target.path)
        elif target.kind == "soc":
            kept = written(calibration.findings.soc(target.name), target.path, kept)
        yield {
            **target._asdict(),
            "value": kept,
            "unit": field_unit(target.path, kept),
            "seen": bool(seen),
            "prior": parameter.prior_sigma is not None,
            "at_bound": parameter.path in fit.at_bounds,
        }


def print_fits(console: Console, fits: Sequence[Record], unseen: Sequence[Record], *, rows: bool = True) -> None:
    """Print each fit, then what no row shows."""
    for fit in fits:
        count = len(fit["rows"])
        error = f"mean absolute error {fit['mean_absolute_error_percent']:.1f} %"
        console.print(f"{fit['name']}: {count} row{'' if count == 1 else 's'}, {error}", style="bold")
        if rows:
            _print_rows(console, fit["rows"])
        _print_figures(console, fit["figures"])
        for sentence in open_sentences(fit):
            console.print(f"note: {sentence}")
        console.print()
    names: dict[str, list[str]] = {}
    for target in unseen:
        names.setdefault(f"{target['kind']} {target['name']}", []).append(target["path"])
    for name, paths in names.items():
        console.print(f"{name}: no row shows these figures, which stay as they are: {', '.join(paths)}")


def open_sentences(fit: Mapping[str, Any]) -> list[str]:
    """Return in plain words what the rows of a fit do not determine."""
    figures = {f"{figure['name']}: {figure['path']}": figure for figure in fit["figures"]}
    several = len({figure["name"] for figure in figures.values()}) > 1
    sentences = []
    for direction in fit["open_directions"]:
        seen = [figure for path in direction if (figure := figures[path])["seen"]]  # of others the table says it
        names = ", ".join(f"{figure['path']} of {figure['name']}" if several else figure["path"] for figure in seen)
        held = "; what was plausible before any row holds them" if seen and all(figure["prior"] for figure in seen) else ""
        if len(seen) == 1:
            sentences.append(f"the rows hardly determine {names}{held.replace('them', 'it')}")
        elif seen:
            sentences.append(f"the rows hardly tell these apart, as one can make up for another: {names}{held}")
        elif not direction:
            sentences.append("the rows hardly tell many of these figures apart")
    return sentences


def _print_rows(console: Console, rows: Sequence[Record]) -> None:
    table = make_table(("measured row", "measured", "fitted", "error %"), 3)

    def add(what: str, row: Record) -> None:
        values = (quantity(row[side], row["unit"], 4, trim=True) for side in ("measured", "fitted"))
        table.add_row(what, *values, signed_percent(row["error_percent"]))

    if "products" in rows[0]:
        for row in rows:
            add(row["products"] + (f", {row['weight_bits']}-bit weights" if "weight_bits" in row else ""), row)
    else:
        for (metric, soc), own in by_metric_and_soc(rows).items():
            table.add_row(f"{METRIC_NAMES[metric]} on {soc}")
            for row in own:
                add(f"  {row['what']}", row)
    console.print(table)


def _print_figures(console: Console, figures: Sequence[Record]) -> None:
    """Print figures by file."""
    notes = ["at a bound" if each["at_bound"] else "" if each["seen"] else "no row shows it" for each in figures]
    table = make_table(("fitted figure", "value", "note") if any(notes) else ("fitted figure", "value"), 0)
    table.columns[0].no_wrap = True
    shown = ""
    for figure, note in zip(figures, notes, strict=True):
        file = f"{figure['kind']} {figure['name']}"
        if file != shown:
            shown = file
            table.add_row(file)
        table.add_row(f"  {figure['path']}", value_text(figure["value"], figure["unit"]), *([note] if any(notes) else []))
    console.print(table)
