"""Several runs side by side: one row each, the best value of each column marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from socsim.cli.report import describe_chunks, describe_overrides, describe_tokens
from socsim.cli.units import digits, scale

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from socsim.runs import Result

SEPARATE_NAMES_WIDTH = 110
"""Columns of a terminal from which engine and scheduler get a column each."""
NARROWEST_NAME = 12


class Column(NamedTuple):
    """One number of each run."""

    title: str
    unit: str
    best: Callable[..., float]
    value: Callable[[dict[str, Any]], float | None]


def _field(name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda record: record[name]


def _of_used(processor: str, name: str) -> Callable[[dict[str, Any]], float | None]:
    """Return a field in percent, or nothing for a processor that the run does not use."""
    return lambda record: record[f"{processor}_{name}"] * 100 if record[f"{processor}_utilization"] else None


COLUMNS = (
    Column("TTFT", "s", min, _field("ttft_s")),
    Column("prefill\ntokens", "/s", max, _field("prefill_tokens_per_s")),
    Column("decode\ntokens", "/s", max, _field("decode_tokens_per_s")),
    Column("NPU\nutil.", "%", max, _of_used("npu", "utilization")),
    Column("CPU\nutil.", "%", min, _of_used("cpu", "utilization")),
    Column("NPU\nbubbles", "%", min, _of_used("npu", "bubble_rate")),
    Column("prefill\nenergy", "J", min, _field("prefill_energy_j")),
    Column("peak\nmemory", "B", min, _field("peak_memory_bytes")),
    Column("speed-up", "over\nrow 1", max, _field("speedup")),
)


def cells(column: Column, records: Sequence[dict[str, Any]]) -> tuple[str, list[tuple[str, bool]]]:
    """Return the unit of a column, and for each run its number and whether it is the best.

    What looks equal is equally good; where all look equal, none is marked.
    """
    values = [column.value(record) for record in records]
    known = [value for value in values if value is not None]
    divisor, unit = scale(max(known, default=0.0), column.unit)
    texts = ["-" if value is None else _text(value / divisor, unit) for value in values]
    best = _text(column.best(known) / divisor, unit) if known else ""
    distinct = len(set(texts)) > 1
    return unit, [(text, distinct and text == best) for text in texts]


def _text(value: float, unit: str) -> str:
    return f"{value:.1f}" if unit == "%" else digits(value)


def _table(results: Sequence[Result], width: int) -> Table:
    """Return the table of a comparison for a terminal of some width."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    records = [result.record | {"speedup": results[0].record["ttft_s"] / result.record["ttft_s"]} for result in results]
    columns = [cells(column, records) for column in COLUMNS]
    titles = [f"{column.title}\n{unit}" for column, (unit, _) in zip(COLUMNS, columns, strict=True)]
    taken = sum(
        max(map(len, [*title.split("\n"), *(f"{text} " for text, _ in marks)])) + 1
        for title, (_, marks) in zip(titles, columns, strict=True)
    )
    wide = width >= SEPARATE_NAMES_WIDTH
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for name in ("engine", "scheduler") if wide else ("engine,\nscheduler",):
        table.add_column(name, no_wrap=True, vertical="bottom")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for row, result in enumerate(results):
        names = _names(result, wide, width - taken - 1, max(len(each.case.engine.name) for each in results))
        marked = [marks[row] for _, marks in columns]
        table.add_row(*names, *(Text(f"{text}*" if best else f"{text} ", style="bold" if best else "") for text, best in marked))
        if not wide:
            table.add_section()
    return table


def _names(result: Result, wide: bool, width: int, longest_engine: int) -> list[str]:
    """Return engine and scheduler in columns of their own or below each other, broken at hyphens where need be."""
    names = (result.case.engine.name, result.timeline.scheduler)
    if wide:
        for_engine = min(longest_engine, width // 2)
        widths = (for_engine, width - for_engine - 1)
        return ["\n".join(wrap(name, max(each, NARROWEST_NAME))) for name, each in zip(names, widths, strict=True)]
    return ["\n".join([*wrap(f"{names[0]},", max(width, NARROWEST_NAME)), *wrap(names[1], max(width, NARROWEST_NAME))])]


def print_comparison(console: Console, results: Sequence[Result]) -> None:
    """Print the runs of one prompt as a table."""
    first = results[0].case
    run = first.run
    console.print(f"{first.llm.name} on {first.soc.name}, {describe_tokens(run)}")
    console.print(f"DRAM {run.memory}, operating point {run.operating_point}, power calibration {run.power_calibration}")
    if first.overrides:
        console.print(f"changed: {describe_overrides(first.overrides)}")
    console.print(_table(results, console.width))
    console.print("* best of its column (CPU utilization: the lowest); '-': not in this run. "
                  f"Speed-up: TTFT of row 1 ({results[0].case.engine.name}, {results[0].timeline.scheduler}) over the row's.")  # fmt: skip
    for name, plan in _chunk_plans(results):
        console.print(f"chunks of {name}: {plan}")


def _chunk_plans(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return each distinct chunk plan with the engines that have it."""
    plans: dict[str, list[str]] = {}
    for result in results:
        chunks = result.case.chunks
        plan = describe_chunks([chunk.rows for chunk in chunks], sum(chunk.rows - chunk.tokens for chunk in chunks))
        names = plans.setdefault(plan, [])
        if result.case.engine.name not in names:
            names.append(result.case.engine.name)
    return [(", ".join(names), plan) for plan, names in plans.items()]
