"""Numbers for people: SI prefixes, significant digits, and the unit that a field carries in its name."""

from __future__ import annotations

from typing import Any

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))
_SCALED = {"s", "s/B", "s/subgraph", "B", "B/s", "ops", "ops/s", "W", "J", "J/B"}

_SUFFIXES = (
    ("_s_per_weight_byte", "s/B"),
    ("_s_per_subgraph", "s/subgraph"),
    ("_bytes_per_s", "B/s"),
    ("_tokens_per_s", "tokens/s"),
    ("_ops_per_s", "ops/s"),
    ("_j_per_byte", "J/B"),
    ("_bytes", "B"),
    ("_tokens", "tokens"),
    ("_threads", "threads"),
    ("_channels", "channels"),
    ("_rows", "rows"),
    ("_bits", "bits"),
    ("_layers", "blocks"),
    ("_heads", "heads"),
    ("_rate", "ratio"),
    ("_fraction", "ratio"),
    ("_share", "ratio"),
    ("_factor", "ratio"),
    ("_speeds", "ratio"),
    ("_slowdown", "ratio"),
    ("_gap", "ratio"),
    ("_w", "W"),
    ("_j", "J"),
    ("_s", "s"),
)
_BY_NAME = {
    "tile": "elements",
    "group_size": "weights",
    "sliding_window": "tokens",
    "max_position_embeddings": "tokens",
    "rope_theta": "ratio",
    "smoothing": "ratio",
    "speed": "ratio",
}


def field_unit(path: str, value: Any) -> str:
    """Return the unit of a field by its name; empty for what is no number.

    Sizes of tensors count elements; fractions, scales and efficiencies are ratios.
    """
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if not numbers or not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers):
        return ""
    *parents, name = path.split(".")
    if name in _BY_NAME:
        return _BY_NAME[name]
    for suffix, unit in _SUFFIXES:
        if name.endswith(suffix):
            return unit
    if parents and (parents[-1].endswith("_scale") or parents[0] == "efficiency"):
        return "ratio"
    return "elements" if name.endswith(("_size", "_dim")) else ""


def digits(value: float, significant: int = 4, *, trim: bool = False) -> str:
    """Return a number with some significant digits, and with thousands separators from 1,000 on.

    Zeros at the end are digits too, unless they are to be trimmed.
    """
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 0.99995 * 10 ** min(significant - 1, 3):
        decimals = max(0, significant - len(f"{abs(value):.0f}"))
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if trim and decimals else text
    return f"{value:.{significant}g}" if trim or not value else f"{value:#.{significant}g}"


def scale(value: float, unit: str) -> tuple[float, str]:
    """Return the divisor and the prefixed unit in which a value has one to three digits before the point."""
    if value == 0 or unit not in _SCALED:
        return 1.0, unit
    prefixes = [pair for pair in _PREFIXES if pair[0] <= 1 or not unit.startswith("s")]
    # 0.99995: what four digits would round up to the next prefix takes that.
    return next(((factor, prefix + unit) for factor, prefix in prefixes if abs(value) >= 0.99995 * factor), (1.0, unit))


def quantity(value: float, unit: str, significant: int = 4, *, trim: bool = False) -> str:
    """Return a number with its prefixed unit, such as ``43 us`` for 4.3e-5 s."""
    factor, prefixed = scale(value, unit)
    number = value if factor == 1 else value / factor
    return f"{digits(number, significant, trim=trim)} {prefixed}".rstrip()


def percent(value: float) -> str:
    """Return a ratio in percent."""
    return f"{value * 100:.1f} %"


def value_text(value: Any, unit: str) -> str:
    """Return the value of a field for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if not unit:
        return str(value)
    unit = unit.replace("ratio", "")
    if isinstance(value, (list, tuple)):
        return f"{', '.join(digits(number, 6, trim=True) for number in value)} {unit}".rstrip()
    return quantity(value, unit, 6, trim=True)
