"""What bounded a run, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from socsim.cli.files import run_title
from socsim.cli.units import percent, quantity, scale

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from socsim.bottlenecks import Explanation
    from socsim.runs import Result

SHORT = {"synchronization": "sync", "weight_streaming": "weight\nstreaming", "waiting": "waiting"}
BEHIND_ROWS = 5


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print the conclusion, the critical path, the TTFT without each resource, and the idle gaps."""
    console.print(f"conclusion: {explanation.conclusion}")
    tables = [_path_table(explanation), _behind_table(explanation), _without_table(explanation), _gap_table(explanation)]
    for title, table in tables:
        if table.row_count:
            console.print(f"\n{title}", style="bold")
            console.print(table)


def print_conclusions(console: Console, runs: Sequence[tuple[Result, Explanation]]) -> None:
    """Print the conclusion of each of several runs."""
    for result, explanation in runs:
        console.print(f"{run_title(result)}: {explanation.conclusion}")


def _table(columns: Sequence[str], numbers: int) -> Table:
    """Return an empty table whose last columns are numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for place, name in enumerate(columns):
        number = place >= len(columns) - numbers
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold", vertical="bottom")
    return table


def _time_unit(seconds: float) -> tuple[float, str]:
    """Return the divisor and unit for a column of times up to some length; whole seconds would round small ones away."""
    divisor, unit = scale(seconds, "s")
    return (1e-3, "ms") if unit == "s" else (divisor, unit)


def _path_table(explanation: Explanation) -> tuple[str, Table]:
    """Return the critical path by processor and stage (rows) and part (columns), longest row first."""
    parts = [part for part, seconds in explanation.parts.items() if seconds]
    sums: dict[tuple[str, str], dict[str, float]] = {}
    for row in explanation.path:
        sums.setdefault((row.processor.upper(), row.stage), {})[row.part] = row.seconds
    divisor, unit = _time_unit(max(explanation.parts.values()))
    table = _table(["", "stage", *(SHORT.get(part, part) for part in parts), "sum", "%"], len(parts) + 2)

    def add(names: tuple[str, str], times: dict[str, float], style: str = "") -> None:
        total = sum(times.values())
        shown = [f"{times[part] / divisor:.1f}" if times.get(part) else "-" for part in parts]
        table.add_row(*names, *shown, f"{total / divisor:.1f}", f"{total / explanation.makespan_s * 100:.1f}", style=style)

    for names in sorted(sums, key=lambda key: -sum(sums[key].values())):
        add(names, sums[names])
    table.add_section()
    add(("all", ""), dict(explanation.parts), "bold")
    return f"critical path of the prefill ({unit})", table


def _behind_table(explanation: Explanation) -> tuple[str, Table]:
    """Return what held the processors for which the path waited, longest first."""
    table = _table(["", "stage", "time", "share"], 2)
    for row in sorted(explanation.waited_behind, key=lambda row: -row.seconds)[:BEHIND_ROWS]:
        table.add_row(row.processor.upper(), row.stage, quantity(row.seconds, "s"), percent(row.share))
    return "meanwhile the path waited for processors that were busy with (longest first)", table


def _without_table(explanation: Explanation) -> tuple[str, Table]:
    """Return the TTFT if each resource cost nothing, the most limiting first."""
    table = _table(["resource", "TTFT", "change"], 2)
    for resource, seconds in sorted(explanation.without.items(), key=lambda item: item[1]):
        if resource.endswith("_compute") and seconds == explanation.ttft_s:  # a processor that is not used
            continue
        change = seconds / explanation.ttft_s - 1
        table.add_row(resource.replace("_", " "), quantity(seconds, "s"), f"{change * 100:+.1f} %")
    return f"TTFT of {quantity(explanation.ttft_s, 's')} if one resource cost nothing", table


def _gap_table(explanation: Explanation) -> tuple[str, Table]:
    """Return the longest idle gaps and what they waited for."""
    divisor, unit = _time_unit(max((gap.start_s + gap.duration_s for gap in explanation.gaps), default=0.0))
    table = _table(["", "before", "waited for", "start", "idle", "of it\nready"], 3)
    for gap in explanation.gaps:
        by = f" ({gap.waited_for_processor.upper()})" if gap.waited_for_processor else ""
        times = [f"{seconds / divisor:,.2f}" if seconds else "-" for seconds in (gap.start_s, gap.duration_s, gap.policy_s)]
        table.add_row(gap.processor.upper(), gap.before, f"{gap.waited_for}{by}", *times)
    return f"longest idle gaps ({unit}); ready: the subgraph was ready, the policy held it back", table
