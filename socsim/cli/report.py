"""The metrics of one run as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from socsim.cli.units import digits, percent, quantity

if TYPE_CHECKING:
    from rich.console import Console

    from socsim.runs import Result
    from socsim.specs import Run
    from socsim.uncertainty import Band

Row = tuple[str, str, str]
"""What it is, its value with unit, and its name in the record."""

NO_DECODE = "- (one output token)"
FEW_CHUNKS = 3
"""With at most as many chunks, processors wait for a good part of the makespan while the first begins and the last ends."""


def print_result(console: Console, result: Result) -> None:
    """Print what was simulated and its metrics by group."""
    from rich import box
    from rich.table import Table

    for name, value in conditions(result):
        console.print(f"{name:<10} {value}")
    table = Table(box=box.SIMPLE_HEAD, show_header=True, pad_edge=False)
    table.add_column("metric")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("field in --json", style="dim")
    for title, rows in groups(result):
        table.add_row(title, style="bold")
        for label, value, field in rows:
            table.add_row(f"  {label}", value, field)
        table.add_section()
    console.print(table)
    if note := bound_note(result, full_record(result)["makespan_gap"]):
        console.print(note)


BANDS = {
    "ttft_s": ("TTFT", "s"),
    "prefill_tokens_per_s": ("prefill speed", "tokens/s"),
    "prefill_energy_j": ("prefill energy", "J"),
}
"""Name and unit of metrics with a band."""


def print_bands(console: Console, bands: Mapping[str, Band]) -> None:
    """Print the 10th, 50th and 90th percentile of metrics."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=True, pad_edge=False)
    for name in ("uncertainty, percentile", "10th", "50th", "90th"):
        table.add_column(name, justify="right" if name.endswith("th") else "left", no_wrap=True)
    for metric, band in bands.items():
        name, unit = BANDS[metric]
        table.add_row(f"  {name}", *(quantity(value, unit) for value in band))
    console.print(table)


def conditions(result: Result) -> Iterator[tuple[str, str]]:
    """Return what was simulated and how, as lines of a heading."""
    case, run = result.case, result.case.run
    yield "SoC", f"{case.soc.name}, operating point {run.operating_point}"
    yield "model", case.llm.name
    yield "engine", case.engine.name
    yield "tokens", describe_tokens(run)
    yield "chunks", describe_chunks([chunk.rows for chunk in case.chunks], sum(chunk.rows - chunk.tokens for chunk in case.chunks))
    yield "scheduler", f"{result.timeline.scheduler} ({result.timeline.event_order})"
    noise = f", duration noise {run.duration_noise:g} (seed {run.seed})" if run.duration_noise else ""
    yield "DRAM", f"{run.memory}{noise}"
    yield "power", f"calibration {run.power_calibration}"
    if case.overrides:
        yield "changed", describe_overrides(case.overrides)


def describe_overrides(overrides: Mapping[str, Any]) -> str:
    """Return what was changed for a run, as on the command line."""
    return ", ".join(f"{path}={value}" for path, value in overrides.items())


def describe_tokens(run: Run) -> str:
    """Return how many tokens there are of each kind."""
    cached = f" ({run.cached_tokens:,} of them cached)" if run.cached_tokens else ""
    return f"{run.prompt_tokens:,} prompt tokens{cached}, {run.output_tokens:,} output {'token' if run.output_tokens == 1 else 'tokens'}"


def describe_chunks(rows: Sequence[int], padding: int) -> str:
    """Return a chunk plan in short, such as ``3 x 256 + 1 x 100 tokens``."""
    runs = [(length, len(list(same))) for length, same in groupby(rows)]
    plan = " + ".join(f"{count} x {length:,}" for length, count in runs)
    return f"{plan} tokens{f', {padding:,} of them padding' if padding else ''}"


def _processor_rows(record: Mapping[str, Any]) -> Iterator[Row]:
    """Return utilization and bubble rate of each processor that the prefill uses."""
    for name in ("npu", "cpu", "gpu"):
        if record[f"{name}_utilization"]:
            for label, field in (("utilization", f"{name}_utilization"), ("bubble rate", f"{name}_bubble_rate")):
                yield f"{name.upper()} {label}", percent(record[field]), field


def full_record(result: Result) -> dict[str, Any]:
    """Return the record of a run, and how far its makespan is above the lower bound, which takes a moment to find."""
    return result.record | result.gap


def bound_note(result: Result, gap: float) -> str | None:
    """Return why the makespan may be this far above its lower bound whatever the order, if that is likely."""
    if result.case.run.slowed_processor is not None:
        return "The lower bound is that of the run without the slowdown."
    chunks = len(result.case.chunks)
    if chunks > FEW_CHUNKS or percent(gap) == percent(0.0):
        return None
    few = "one chunk" if chunks == 1 else f"{chunks} chunks"
    waits = "waits of a processor while the first chunk begins and the last one ends"
    return f"With {few} the lower bound may be out of reach: {waits} are hardly in it."


def groups(result: Result) -> Iterator[tuple[str, list[Row]]]:
    """Return the rows of the table by group."""
    record = full_record(result)

    def row(label: str, field: str, unit: str) -> Row:
        value = record[field]
        return label, NO_DECODE if value is None else quantity(float(value), unit), field

    yield (
        "time",
        [
            row("time to first token (TTFT)", "ttft_s", "s"),
            row("prefill makespan", "makespan_s", "s"),
            row("  lower bound in any order", "makespan_lower_bound_s", "s"),
            ("  above that bound", percent(record["makespan_gap"]), "makespan_gap"),
            row("time per output token (TPOT)", "tpot_s", "s"),
            row("end to end", "e2e_s", "s"),
            row("preparation of graphs", "preparation_s", "s"),
            *([row("  of it for each prompt, in TTFT", "preparation_in_ttft_s", "s")] if record["preparation_in_ttft_s"] else []),
        ],
    )
    yield "throughput", [row("prefill", "prefill_tokens_per_s", "tokens/s"), row("decode", "decode_tokens_per_s", "tokens/s")]
    counts = [("subgraphs", digits(record["subgraphs"]), "subgraphs")]
    if record["moved_subgraphs"]:
        counts.append(("moved by the scheduler", digits(record["moved_subgraphs"]), "moved_subgraphs"))
    yield "prefill utilization and bubbles", [*_processor_rows(record), *counts]
    yield (
        f"power and energy (calibration {record['power_calibration']})",
        [
            row("prefill energy", "prefill_energy_j", "J"),
            row("end-to-end energy", "e2e_energy_j", "J"),
            *(row(f"  {name.upper()}", f"{name}_energy_j", "J") for name in ("npu", "cpu", "gpu") if record[f"{name}_energy_j"]),
            row("  DRAM", "dram_energy_j", "J"),
            row("  base", "base_energy_j", "J"),
            row("mean power", "mean_power_w", "W"),
            row("peak power", "peak_power_w", "W"),
        ],
    )
    yield (
        "memory",
        [
            row("peak", "peak_memory_bytes", "B"),
            *(
                row(f"  {label}", field, "B")
                for label, field in (
                    ("weights", "weights_bytes"),
                    ("further copies in graphs", "graph_weights_bytes"),
                    ("graph buffers", "graph_buffers_bytes"),
                    ("KV cache", "kv_cache_bytes"),
                    ("activations", "activation_bytes"),
                    ("shadow weights", "shadow_weights_bytes"),
                )
                if record[field]
            ),
            row("mapped by the NPU", "npu_memory_bytes", "B"),
            (f"NPU sessions{_session_limit(result)}", digits(record["npu_sessions"]), "npu_sessions"),
            row("DRAM traffic", "dram_bytes", "B"),
        ],
    )


def _session_limit(result: Result) -> str:
    """Return what one NPU session can map, if there is a limit."""
    npu = result.case.soc.processors.get("npu")
    limit = npu.addressable_memory_bytes if npu else None
    return f" of {quantity(limit, 'B')}" if limit else ""
