"""What columns of a sweep are called on the axes of a figure, and in which unit their numbers stand there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from socsim.cli.units import field_unit, scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from socsim.specs import Axis

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
    if column in axes and axes[column].name:
        return CAPITALS.get(column, column.replace("_", " "))
    if column in KNOWN:
        return KNOWN[column]
    *parents, last = column.split(".")
    stem = next((last.removesuffix(ending) for ending in ENDINGS if last.endswith(ending)), last)
    words = [part for part in parents if part not in BROAD] + stem.split("_")
    return " ".join(CAPITALS.get(word, word.replace("_", " ")) for word in words)


def scaled(column: str, values: NDArray[Any], axes: Mapping[str, Axis], *, log: bool) -> tuple[str, float]:
    """Return the label of a column and the divisor of its numbers, so that they have few digits.

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
    name = name_of(column, axes)
    if column not in axes and column.endswith(PERCENTAGES):
        return f"{name} (%)", 0.01
    axis = axes.get(column)
    if values.dtype.kind not in "if" or not len(values):  # such as chunk_tokens = [64, "auto"]
        unit = field_unit(axis.paths[0], 1.0).replace("ratio", "") if axis is not None else ""
        return (f"{name} ({unit})" if unit else name), 1.0
    if axis is not None and axis.relative:
        return f"{name} (factor)", 1.0
    low, high = float(abs(values).min()), float(abs(values).max())
    unit = field_unit(axis.paths[0] if axis is not None else column, high).replace("ratio", "")
    factor, prefixed = scale((low * high) ** 0.5 if log else high, unit)
    prefixed = "\N{MICRO SIGN}" + prefixed[1:] if prefixed != unit and prefixed.startswith("u") else prefixed
    return (f"{name} ({prefixed})" if prefixed else name), factor
