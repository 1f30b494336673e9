"""Tables that measured values stand in beside predictions, and what their rows are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from socsim.measurements import OperatorRow, SystemRow


METRIC_NAMES = {
    "prefill_tokens_per_s": "prefill speed",
    "decode_s": "decode time",
    "ttft_s": "time to first token",
    "e2e_s": "end-to-end time",
    "prefill_share": "prefill over end-to-end time",
    "npu_bubble_rate": "NPU bubble rate",
    "prefill_energy_j": "prefill energy",
    "peak_memory_gb": "peak memory",
    "graph_build_s": "time to build graphs",
    "graph_optimize_s": "time to optimize graphs",
}


def make_table(columns: Sequence[str], numbers: int) -> Table:
    """Return an empty table whose last columns are numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for place, name in enumerate(columns):
        number = place >= len(columns) - numbers
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold", vertical="bottom")
    return table


def records(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a data frame, which only other modules know, as plain values."""
    found: list[dict[str, Any]] = frame.to_dict("records")
    return found


def products_text(row: OperatorRow) -> str:
    """Return the products of a micro-benchmark as its file has them, such as ``16x2048x5504+16x2048x5504>16x5504x2048``."""
    parts = [f"{'+' if each.enters else '>'}{each.rows}x{each.inner}x{each.columns}" for each in row.products]
    return "".join(parts).removeprefix("+")


def run_text(row: SystemRow) -> str:
    """Return what was run, such as ``gemma-2b, llm-npu, 64 tokens``."""
    return ", ".join((row.model, row.engine, f"{row.prompt_tokens} tokens", *settings_texts(row.overrides)))


def settings_texts(settings: Any) -> list[str]:
    """Return changed fields by the last part of their path; which power calibration counts goes without saying for energy."""
    return [f"{path.rpartition('.')[2]}={value}" for path, value in settings.items() if path != "run.power_calibration"]


def signed_percent(value: float) -> str:
    """Return an error in percent with its sign."""
    return f"{round(value, 1) + 0.0:+.1f}"  # + 0.0: no minus before a zero


def by_metric_and_soc(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return rows of whole runs by metric and SoC, in the order in which these come first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["metric"], row["soc"]), []).append(row)
    return groups
