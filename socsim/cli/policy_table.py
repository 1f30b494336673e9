"""Scheduling policies side by side: one row each, with the distance to what no order beats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from socsim.cli.report import bound_note, conditions
from socsim.cli.units import digits, percent, quantity, scale

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from socsim.policy_comparison import Comparison, Found, PolicyResult
    from socsim.runs import Result

NARROWEST_NAME = 10
WITHOUT = "scheduler"
"""What stands in the heading of one run, but not in that of several under different policies."""


class Row(NamedTuple):
    """A run, with the times of its policy if it was made under one."""

    result: Result
    times: PolicyResult | None


class Column(NamedTuple):
    """One number of each row."""

    title: str
    text: Callable[[Row], str]


def comparison_record(comparison: Comparison, time_limit_s: float | None) -> dict[str, Any]:
    """Return a comparison as JSON has it: a record for each policy, and what the search for the best schedule found."""
    from socsim.cost import NANOSECONDS
    from socsim.runs import SCHEMA_VERSION

    def record(result: Result) -> dict[str, Any]:
        return result.record | {
            "makespan_lower_bound_s": comparison.bound_s(result),
            "makespan_gap": comparison.gap(result),
            "best_known_gap": comparison.best_known_gap(result),
            "speedup_over_out_of_order": comparison.speedup(result),
        }

    runs = [
        record(each.result) | {"planning_wall_s": each.planning_s, "decision_wall_s": each.decision_s, "decisions": each.decisions}
        for each in comparison.policies
    ]
    data: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "runs": runs}
    if comparison.found:
        optimum = comparison.found.optimum
        data["optimal"] = {
            "status": optimum.status,
            "uncontended_makespan_s": optimum.makespan_ns / NANOSECONDS,
            "uncontended_lower_bound_s": optimum.bound_ns / NANOSECONDS,
            "time_limit_s": time_limit_s,
            "solver_wall_s": optimum.wall_s,
            "run": record(comparison.found.result),
        }
    return data


def facts(comparison: Comparison) -> list[str]:
    """Return what a figure says of each run behind its policy's name."""
    divisor, unit = _unit(comparison)
    texts = []
    for run in comparison.runs:
        npu = f", NPU bubble rate {percent(run.record['npu_bubble_rate'])}" if run.record["npu_utilization"] else ""
        makespan = f"makespan {digits(run.record['makespan_s'] / divisor)} {unit}"
        texts.append(f"{makespan}, {percent(comparison.gap(run))} above the bound{npu}")
    return texts


def _unit(comparison: Comparison) -> tuple[float, str]:
    """Return the unit of all makespans."""
    return scale(min(run.record["makespan_s"] for run in comparison.runs), "s")


def print_policies(console: Console, comparison: Comparison) -> None:
    """Print policies as a table, and below it what is proven."""
    for name, value in conditions(comparison.runs[0]):
        if name != WITHOUT:
            console.print(f"{name:<10} {value}")
    console.print(_table(comparison, console.width))
    for note in _notes(comparison):
        console.print(note)


def _columns(comparison: Comparison) -> list[Column]:
    """Return the columns that say something."""
    divisor, unit = _unit(comparison)
    columns = [
        Column(f"makespan\n{unit}", lambda row: digits(row.result.record["makespan_s"] / divisor)),
        Column("above\nbound\n%", lambda row: f"{comparison.gap(row.result) * 100:.2f}"),
    ]
    if comparison.found:
        columns.append(Column("above\nbest\n%", lambda row: f"{comparison.best_known_gap(row.result) * 100:.2f}"))
    if comparison.speedup(comparison.runs[0]) is not None:
        columns.append(Column("speed-\nup", lambda row: f"{comparison.speedup(row.result):.3f}"))
    used = [name for name in ("npu", "cpu", "gpu") if any(run.record[f"{name}_utilization"] for run in comparison.runs)]
    return [
        *columns,
        *(Column(f"{name.upper()}\nbubble\n%", _bubbles(name)) for name in used),
        Column("energy\nJ", lambda row: digits(row.result.record["prefill_energy_j"])),
        Column("plan\nms", lambda row: digits(row.times.planning_s * 1e3, 2) if row.times else "-"),
        Column("decide\nus", lambda row: digits(row.times.decision_s * 1e6, 2) if row.times else "-"),
    ]


def _bubbles(name: str) -> Callable[[Row], str]:
    """Return what a column says of one processor: a dash where a run does not use it."""

    def text(row: Row) -> str:
        record = row.result.record
        return f"{record[f'{name}_bubble_rate'] * 100:.1f}" if record[f"{name}_utilization"] else "-"

    return text


def _table(comparison: Comparison, width: int) -> Table:
    """Return the table for a terminal of some width, the fastest policy marked."""
    from rich import box
    from rich.table import Table

    columns = _columns(comparison)
    rows = [Row(each.result, each) for each in comparison.policies]
    rows += [Row(comparison.found.result, None)] if comparison.found else []
    cells = [[column.text(row) for column in columns] for row in rows]
    fastest = columns[0].text(min((row for row in rows if row.times), key=lambda row: row.result.record["makespan_s"]))
    best = [row.times is not None and texts[0] == fastest for row, texts in zip(rows, cells, strict=True)]
    for texts, mark in zip(cells, best, strict=True):
        texts[0] += "*" if mark else " "
    taken = sum(max(map(len, [*column.title.split("\n"), *(texts[i] for texts in cells)])) + 1 for i, column in enumerate(columns))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    table.add_column("policy", no_wrap=True, vertical="bottom")
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True, vertical="bottom")
    for row, texts, mark in zip(rows, cells, best, strict=True):
        if row.times is None:
            table.add_section()
        name = wrap(row.result.timeline.scheduler, max(width - taken - 1, NARROWEST_NAME))
        table.add_row("\n".join(name), *texts, style="bold" if mark else "")
    return table


def _notes(comparison: Comparison) -> Iterator[str]:
    """Return what stands below the table."""
    yield "* the fastest policy. Bubble: idle share of the time between a processor's first and last subgraph."
    if comparison.speedup(comparison.runs[0]) is not None:
        yield "Speed-up: over the paper's rule, out-of-order, with the better of its ties."
    yield "Plan: before the run; decide: mean of all decisions; wall-clock times of this machine, in Python."
    elsewhere = [run.timeline.scheduler for run in comparison.runs if run.case is not comparison.case]
    if len(elsewhere) < len(comparison.runs):
        placed = next(run for run in comparison.runs if run.case is comparison.case)
        what = "no order with the engine's placement" if elsewhere else "no order"
        yield f"Lower bound: {what} has a makespan below {quantity(comparison.bound_s(placed), 's', 5)}."
    if elsewhere:
        yield f"With a placement, and so a lower bound, of their own: {', '.join(elsewhere)}."
    if comparison.found:
        yield from _search_notes(comparison.found, comparison.gap(comparison.found.result))
    best = min(comparison.runs, key=lambda run: run.record["makespan_s"])
    proven = comparison.found is not None and comparison.found.optimum.status == "optimal" and best.case is comparison.case
    if not proven and (note := bound_note(best, comparison.gap(best))):
        yield note


def _search_notes(found: Found, gap: float) -> Iterator[str]:
    """Return what the search found if nothing shares DRAM, and what its row in the table shows, which is this far above the bound."""
    from socsim.cost import NANOSECONDS

    optimum, run = found.optimum, found.result.case.run
    makespan, bound = (quantity(each / NANOSECONDS, "s", 5) for each in (optimum.makespan_ns, optimum.bound_ns))
    if optimum.status == "optimal":
        said = f"the least makespan is {makespan}, proven"
    else:
        open_gap = digits(100 * (optimum.makespan_ns / optimum.bound_ns - 1), 2)
        said = f"the best makespan found is {makespan}, at most {open_gap} % above the least, which is at least {bound}"
    where = "with the engine's placement and without" if found.result.case.engine.placement.alternatives else "without"
    yield f"OR-Tools ({optimum.status}, {optimum.wall_s:.1f} s, starting from planned): {where} contention for DRAM {said}."
    name = found.result.timeline.scheduler
    if run.memory == "shared":
        other = "where another may be faster" if gap else "where none with this placement is faster"
        yield f"Row '{name}' plays that order with shared DRAM, {other}; the bound holds there, too."
    if run.duration_noise:
        yield f"Row '{name}' knows the true durations, policies only expected ones."
