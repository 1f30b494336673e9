"""Predictions beside what was measured, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from socsim.cli.tables import METRIC_NAMES, by_metric_and_soc, make_table, signed_percent
from socsim.cli.units import digits

if TYPE_CHECKING:
    from rich.console import Console

Record = dict[str, Any]

UNITS = {
    "prefill_tokens_per_s": "tokens/s",
    "decode_s": "s",
    "ttft_s": "s",
    "e2e_s": "s",
    "prefill_share": "ratio",
    "npu_bubble_rate": "ratio",
    "prefill_energy_j": "J",
    "peak_memory_gb": "GB",
    "graph_build_s": "s",
    "graph_optimize_s": "s",
}
COVERAGE_AIM = "70 to 90 %"


def print_report(console: Console, report: Mapping[str, Any], split: str, *, rows: bool = True) -> None:
    """Print every row, mean errors, and the targets; where there are no rows, that there are none."""
    if not report["rows"]:
        console.print(f"There are no measured runs{'' if split == 'all' else f' of split {split}'}: nothing is validated.")
    else:
        if rows:
            _print_rows(console, report["rows"])
        _print_summary(console, report["summary"])
    if report["per_group_slowdowns"]:
        _print_slowdowns(console, report["per_group_slowdowns"])
    if report["leave_one_model_out"]:
        console.print("\nprefill speed of models that were left out of the fit (tokens/s)", style="bold")
        _print_left_out(console, report["leave_one_model_out"])
    if report["bands"]:
        _print_bands(console, report["bands"])
    if report["targets"]:
        _print_targets(console, report["targets"])


def _print_rows(console: Console, rows: Sequence[Record]) -> None:
    """Print every run by metric, SoC and split, with what all runs of a part share in its title."""
    for split in dict.fromkeys(row["split"] for row in rows):
        for (metric, soc), own in by_metric_and_soc([row for row in rows if row["split"] == split]).items():
            about, settings = _settings([row["settings"] for row in own])
            console.print(f"{METRIC_NAMES[metric]} ({UNITS[metric]}) on {soc}, {split}{about}", style="bold")
            names = ("model", "engine", *(["setting"] if any(settings) else []))
            table = make_table((*names, "tokens", "measured", "predicted", "error %"), 4)
            for row, setting in zip(own, settings, strict=True):
                texts = (row["model"], row["engine"], setting)[: len(names)]
                values = (digits(float(row[side]), trim=True) for side in ("measured", "predicted"))
                table.add_row(*texts, f"{row['prompt_tokens']:,}", *values, signed_percent(row["error_percent"]))
            console.print(table)
            console.print()


def _settings(settings: Sequence[str]) -> tuple[str, list[str]]:
    """Return what to say of changed fields in a title, and what remains to be said of each row."""
    paths = {setting.rpartition("=")[0] for setting in settings}
    if len(set(settings)) == 1:
        return settings[0] and f", {settings[0]}", [""] * len(settings)
    if len(paths) == 1 and "=" not in settings[0].partition("=")[2]:  # all change the same one field
        return f", by {paths.pop()}", [setting.rpartition("=")[2] for setting in settings]
    return "", list(settings)


def _print_summary(console: Console, summary: Sequence[Record]) -> None:
    """Print mean errors by metric and SoC."""
    console.print("mean absolute percentage error", style="bold")
    table = make_table(("metric, engine", "split", "rows", "error %", "worst %"), 3)
    for (metric, soc), own in by_metric_and_soc(summary).items():
        table.add_row(f"{METRIC_NAMES[metric]} on {soc}")
        for row in own:
            errors = (f"{row[field]:.1f}" for field in ("mean_absolute_error_percent", "worst_percent"))
            table.add_row(f"  {row['engine']}", row["split"], str(row["rows"]), *errors)
    console.print(table)


def _print_slowdowns(console: Console, slowdowns: Sequence[Record]) -> None:
    console.print("\nper-group over per-tensor linears on the NPU, latency ratio", style="bold")
    table = make_table(("SoC", "model", "measured", "predicted", "error %"), 3)
    for row in slowdowns:
        values = (digits(float(row[side]), 3) for side in ("measured", "predicted"))
        table.add_row(row["soc"], row["model"], *values, signed_percent(row["error_percent"]))
    console.print(table)


def _print_left_out(console: Console, rows: Sequence[Record]) -> None:
    table = make_table(("model left out", "SoC", "tokens", "measured", "predicted", "error %"), 4)
    for row in rows:
        values = (digits(float(row[side]), trim=True) for side in ("measured", "predicted"))
        table.add_row(row["model"], row["soc"], f"{row['prompt_tokens']:,}", *values, signed_percent(row["error_percent"]))
    console.print(table)


def band_summary(bands: Sequence[Record]) -> list[Record]:
    """Return for each metric and split how many measured values lie inside their band, and how wide bands are: high over low."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for band in bands:
        groups.setdefault((band["metric"], band["split"]), []).append(band)
    return [
        {
            "metric": metric,
            "split": split,
            "rows": len(own),
            "inside_percent": 100 * sum(bool(band["inside"]) for band in own) / len(own),
            "mean_high_over_low": sum(band["high"] / band["low"] for band in own) / len(own),
        }
        for (metric, split), own in groups.items()
    ]


def _print_bands(console: Console, bands: Sequence[Record]) -> None:
    console.print(f"\nmeasured values inside their 10th to 90th percentile band (aim: {COVERAGE_AIM})", style="bold")
    table = make_table(("metric", "split", "rows", "inside %", "high/low, mean"), 3)
    for row in band_summary(bands):
        shares = f"{row['inside_percent']:.0f}", f"{row['mean_high_over_low']:.2f}"
        table.add_row(METRIC_NAMES[row["metric"]], row["split"], str(row["rows"]), *shares)
    console.print(table)


def _print_targets(console: Console, targets: Sequence[Record]) -> None:
    console.print("\ntargets: mean absolute percentage error", style="bold")
    table = make_table(("what", "", "rows", "aim %", "reached %"), 3)
    for row in targets:
        met = "no rows" if row["met"] is None else "met" if row["met"] else "not met"
        reached = "-" if row["reached_percent"] is None else f"{row['reached_percent']:.1f}"
        table.add_row(row["what"], met, str(row["rows"]), f"{row['limit_percent']:g}", reached, style="" if row["met"] else "bold")
    console.print(table)
