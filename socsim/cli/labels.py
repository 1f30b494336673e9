"""How columns and points of a sweep are written: names, units and values, in figures and beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from socsim.cli.sweep import metric_text, values_text
from socsim.cli.units import digits, field_unit, scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from socsim.plots import Column
    from socsim.specs import Axis
    from socsim.sweeps import SweepResult
    from socsim.sweeps.slices import Best, Slice

KNOWN = {
    "ttft_s": "time to first token",
    "tpot_s": "time per output token",
    "e2e_s": "end-to-end time",
    "e2e_energy_j": "end-to-end energy",
    "prefill_tokens_per_s": "prefill speed",
    "decode_tokens_per_s": "decode speed",
    "gain_if_free": "speed-up without bottleneck",
    "preparation_in_ttft_s": "preparation in TTFT",
}
"""Names of metrics that the words of their column would not say."""
CAPITALS = {"npu": "NPU", "cpu": "CPU", "gpu": "GPU", "dram": "DRAM", "kv": "KV", "soc": "SoC"}
ENDINGS = ("_bytes_per_s", "_tokens_per_s", "_ops_per_s", "_bytes", "_tokens", "_w", "_j", "_s")
"""What of a name its unit says."""
BROAD = ("processors", "soc", "model", "engine", "run")
"""Parts of a path that go without saying."""
PERCENTAGES = ("_utilization", "_bubble_rate")


def name_of(column: str, axes: Mapping[str, Axis]) -> str:
    """Return the name of a column for people, without its unit."""
    if column in axes and axes[column].label:
        return axes[column].label
    if column in axes and axes[column].name:
        return CAPITALS.get(column, column.replace("_", " "))
    if column in KNOWN:
        return KNOWN[column]
    *parents, last = column.split(".")
    stem = next((last.removesuffix(ending) for ending in ENDINGS if last.endswith(ending)), last)
    words = [part for part in parents if part not in BROAD] + stem.split("_")
    return " ".join(CAPITALS.get(word, word.replace("_", " ")) for word in words)


def scaled(column: str, values: NDArray[Any], axes: Mapping[str, Axis], *, log: bool) -> tuple[str, float]:
    """Return the label of a column and the divisor of its numbers, so that they have few digits."""
    name, (unit, factor) = name_of(column, axes), unit_of(column, values, axes, log=log)
    return (name if unit in ("", name.rpartition(" ")[2]) else f"{name} ({unit})"), factor


def unit_of(column: str, values: NDArray[Any], axes: Mapping[str, Axis], *, log: bool) -> tuple[str, float]:
    """Return the unit of a column, with its prefix, and the divisor of its numbers.

    Parameters
    ----------
    column
        Its name.
    values
        Its numbers, or texts.
    axes
        Axes of the sweep by column.
    log
        Whether the numbers stand on a logarithmic axis.
    """
    if column not in axes and column.endswith(PERCENTAGES):
        return "%", 0.01
    axis = axes.get(column)
    if values.dtype.kind not in "if" or not len(values):  # such as chunk_tokens = [64, "auto"]
        return field_unit(axis.paths[0], 1.0).replace("ratio", "") if axis is not None else "", 1.0
    if axis is not None and axis.relative:
        return "factor", 1.0
    low, high = float(abs(values).min()), float(abs(values).max())
    unit = field_unit(axis.paths[0] if axis is not None else column, high).replace("ratio", "")
    factor, prefixed = scale((low * high) ** 0.5 if log else high, unit)
    prefixed = "\N{MICRO SIGN}" + prefixed[1:] if prefixed != unit and prefixed.startswith("u") else prefixed
    return prefixed, factor


def column_of(points: Slice, name: str, rows: NDArray[Any]) -> Column:
    """Return a column of some points as a figure shows it."""
    from socsim.plots.columns import wide

    values = points.values(name)[rows]
    log = (
        values.dtype.kind in "if"
        and len(values) > 0
        and values.min() > 0
        and (points.is_log(name) if name in points.axes else wide(values))
    )
    return _column(points, name, values, log=bool(log))


def axis_column(best: Best, axis: str) -> Column:
    """Return an axis over which the best points are, as a figure shows it."""
    return _column(best.points, axis, best.values(axis), log=best.points.is_log(axis), edges=best.edges.get(axis))


def _column(points: Slice, name: str, values: NDArray[Any], *, log: bool, edges: NDArray[Any] | None = None) -> Column:
    from socsim.plots import Column

    label, factor = scaled(name, values if edges is None else edges, points.axes, log=log)
    order = () if values.dtype.kind in "if" else tuple(points.levels(name))
    if factor != 1.0:  # else whole numbers stay whole
        values, edges = values / factor, None if edges is None else edges / factor
    return Column(label, values, log, edges, order)


def axis_text(value: Any, *, plain: bool = False) -> str:
    """Return one value of an axis; a plain one has no separators of thousands."""
    text = values_text([value.item() if hasattr(value, "item") else value])
    return text.replace(",", "") if plain else text


def text_of(points: Slice, column: str, row: int) -> str:
    """Return a value of a point with its unit."""
    value = points.values(column)[row]
    return metric_text(column, float(value)) if column in points.result.numbers else axis_text(value)


def ends_text(ends: tuple[Any, Any], factor: float) -> str:
    """Return a value of an axis, or the ends of a group of values, as they stand on an axis."""
    if not all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends):
        return axis_text(ends[0])
    texts = [digits(end if factor == 1.0 else end / factor, 3, trim=True) for end in ends]
    return texts[0] if ends[0] == ends[1] else " to ".join(texts)


def place_text(points: Slice, row: int, axes: Sequence[str]) -> str:
    """Return where a point is."""
    return ", ".join(f"{short_name(points.result, axis)} {text_of(points, axis, row)}" for axis in axes)


def short_name(result: SweepResult, axis: str) -> str:
    """Return the last parts of an axis' name that tell it from other columns."""
    every, parts = (*result.axes, *result.metrics), axis.split(".")
    ends = (".".join(parts[place:]) for place in range(len(parts) - 1, 0, -1))
    return next((end for end in ends if not any(each == end or each.endswith(f".{end}") for each in every if each != axis)), axis)
