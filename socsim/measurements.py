"""Measured rows, shipped or a user's own: micro-benchmarks, figures of whole runs, and other published tables.

The formats are described in ``traces/README.md``. Every problem of a file is a `SocsimError` that names file, line and field.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from socsim.catalog import trace_path
from socsim.csv_lines import Line, read_lines
from socsim.errors import SocsimError, unknown_name

SPLITS = ("calibration", "validation")
"""What a row is for: to fit parameters, or to check predictions that were made without it."""
PROCESSORS = ("cpu", "gpu", "npu")
DATA_TYPE_BITS = {"int8": 8, "fp16": 16, "fp32": 32}
LATENCY_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}
METRIC_UNITS: Mapping[str, Mapping[str, float]] = {
    "prefill_tokens_per_s": {"tokens/s": 1.0},
    **{name: {"s": 1.0, "ms": 1e3} for name in ("decode_s", "ttft_s", "e2e_s", "graph_build_s", "graph_optimize_s")},
    **{name: {"ratio": 1.0, "%": 100.0} for name in ("prefill_share", "npu_bubble_rate")},
    "prefill_energy_j": {"J": 1.0, "mJ": 1e3},
    "peak_memory_gb": {"GB": 1.0},
}
"""Units of each metric of a whole run; how many of each make one of the unit in the metric's name, as with latency in seconds."""

_SHARED = ("unit", "source", "split")
_OPERATOR_COLUMNS = ("soc", "processor", "data_type", "products", "square_inputs", "latency", *_SHARED)
_OPERATOR_OPTIONAL = ("path", "weight_bits")
_SYSTEM_COLUMNS = ("soc", "model", "engine", "prompt_tokens", "output_tokens", "settings", "metric", "value", *_SHARED)
_OVERRIDDEN = ("soc", "model", "engine", "run")
_PRODUCT = re.compile(r"([0-9]{1,9})x([0-9]{1,9})x([0-9]{1,9})")


class Product(NamedTuple):
    """One matrix product (rows x inner) . (inner x columns); `enters`: its left operand comes from outside, not from products before."""

    rows: int
    inner: int
    columns: int
    enters: bool


class OperatorRow(NamedTuple):
    """The measured latency of a graph of matrix products on one processor; `where` is file and line, such as ``mine.csv:3``.

    Without `path`, the processor computes the data type in its usual way; without `weight_bits`, weights are stored in the
    data type. `square_inputs`: the rows of the input are arranged near-square instead of in one line.
    """

    where: str
    soc: str
    processor: str
    data_type: str
    path: str | None
    weight_bits: int | None
    products: tuple[Product, ...]
    square_inputs: bool
    latency_s: float
    source: str
    split: str


class SystemRow(NamedTuple):
    """One measured figure of a whole run; `where` is file and line, such as ``mine.csv:3``.

    `overrides` are fields that differ from the shipped files, by path; `value` is in the unit of the metric's name: tokens/s, s, J or GB.
    """

    where: str
    soc: str
    model: str
    engine: str
    prompt_tokens: int
    output_tokens: int
    overrides: dict[str, Any]
    metric: str
    value: float
    source: str
    split: str


def load_operator_rows(paths: Sequence[str | Path] | None = None) -> list[OperatorRow]:
    """Load micro-benchmarks from CSV files; without paths, all shipped ones (``operators_*.csv``) in the order of their names.

    Raises
    ------
    SocsimError
        A file is unreadable, or a row is not as ``traces/README.md`` describes.
    """
    files = _files(paths, "operators_*.csv")
    return [_operator_row(line) for file in files for line in read_lines(file, _OPERATOR_COLUMNS, _OPERATOR_OPTIONAL)]


def load_system_rows(paths: Sequence[str | Path] | None = None) -> list[SystemRow]:
    """Load figures of whole runs from CSV files; without paths, all shipped ones (``system_*.csv``) in the order of their names.

    Raises
    ------
    SocsimError
        A file is unreadable, or a row is not as ``traces/README.md`` describes.
    """
    return [_system_row(line) for file in _files(paths, "system_*.csv") for line in read_lines(file, _SYSTEM_COLUMNS, ())]


def load_table(name: str | Path) -> list[dict[str, str]]:
    """Load any measured table as text by column, by shipped name such as ``llm_npu_fig4_per_group_slowdown`` or by path.

    Raises
    ------
    SocsimError
        The name is unknown, the file is unreadable, or a row lacks unit, source or split.
    """
    shipped = {path.stem: path for path in _files(None, "*.csv")}
    path = shipped.get(str(name).removesuffix(".csv"), Path(name))
    if path.suffix != ".csv" and not path.exists():
        raise unknown_name("table", name, shipped)
    lines = read_lines(path, _SHARED, None)
    for line in lines:
        line.text("unit")
        line.text("source")
        line.choice("split", SPLITS)
    return [line.cells for line in lines]


def parse_products(text: str) -> tuple[Product, ...]:
    """Read products such as ``16x2048x5504+16x2048x5504>16x5504x2048``, each ROWSxINNERxCOLUMNS.

    ``+`` adds a product that reads its left operand from outside, ``>`` one whose left operand is made from what stands before.

    Raises
    ------
    SocsimError
        A part is malformed, or a dimension is 0.
    """
    products = []
    parts = re.split("([+>])", text)
    for part, joint in zip(parts[::2], ["+", *parts[1::2]], strict=True):
        match = _PRODUCT.fullmatch(part.strip())
        rows, inner, columns = map(int, match.groups()) if match else (0, 0, 0)
        if 0 in (rows, inner, columns):
            allowed = "should be ROWSxINNERxCOLUMNS, each above 0, such as 64x2048x2048, joined by '+' or '>'"
            raise SocsimError(f"'{part.strip()}' in '{text}' {allowed}")
        products.append(Product(rows, inner, columns, enters=joint == "+"))
    return tuple(products)


def _operator_row(line: Line) -> OperatorRow:
    data_type, text = line.choice("data_type", DATA_TYPE_BITS), line.text("products")
    try:
        products = parse_products(text)
    except SocsimError as error:
        raise SocsimError(f"{line.where}: field 'products': {error}") from None
    return OperatorRow(
        where=line.where,
        soc=line.text("soc"),
        processor=line.choice("processor", PROCESSORS),
        data_type=data_type,
        path=line.cells.get("path") or None,
        weight_bits=line.count("weight_bits", highest=DATA_TYPE_BITS[data_type]) if line.cells.get("weight_bits") else None,
        products=products,
        square_inputs=line.choice("square_inputs", ("true", "false")) == "true",
        latency_s=line.number("latency", "unit", LATENCY_UNITS),
        source=line.text("source"),
        split=line.choice("split", SPLITS),
    )


def _system_row(line: Line) -> SystemRow:
    metric = line.choice("metric", METRIC_UNITS)
    return SystemRow(
        where=line.where,
        soc=line.text("soc"),
        model=line.text("model"),
        engine=line.text("engine"),
        prompt_tokens=line.count("prompt_tokens"),
        output_tokens=line.count("output_tokens", lowest=2 if metric == "decode_s" else 1),  # the prefill makes the first token
        overrides=_overrides(line),
        metric=metric,
        value=line.number("value", "unit", METRIC_UNITS[metric]),
        source=line.text("source"),
        split=line.choice("split", SPLITS),
    )


def _overrides(line: Line) -> dict[str, Any]:
    """Return the settings of a row by path."""
    overrides: dict[str, Any] = {}
    for setting in line.cells["settings"].split(";") if line.cells["settings"] else ():
        path, _, value = (part.strip() for part in setting.partition("="))
        kind, _, rest = path.partition(".")
        if not rest or not value:
            raise line.error("settings", "should be PATH=VALUE, joined by ';', such as engine.outlier_pruning_rate=0.5")
        if kind not in _OVERRIDDEN:
            raise SocsimError(f"{line.where}: field 'settings': {unknown_name('start of path', kind, _OVERRIDDEN)}")
        if path in overrides:
            raise line.error("settings", f"should name {path} once")
        overrides[path] = _scalar(value)
    return overrides


def _scalar(text: str) -> bool | int | float | str:
    """Return a TOML number, boolean or string as what it means, other text as it is."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, (bool, int, float, str)) else text


def _files(paths: Sequence[str | Path] | None, pattern: str) -> list[Path]:
    """Return the given paths, or the shipped files whose name fits a pattern."""
    return sorted(trace_path("").glob(pattern)) if paths is None else [Path(path) for path in paths]
