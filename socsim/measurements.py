"""Measured rows, shipped or a user's own: micro-benchmarks, figures of whole runs, and other published tables.

The formats are described in ``traces/README.md``. Every problem of a file is a `SocsimError` that names file, line and field.
"""

from __future__ import annotations

import csv
import io
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from socsim.catalog import trace_path
from socsim.errors import SocsimError, did_you_mean, unknown_name

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
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
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


class _Line(NamedTuple):
    """One row of a file as text, with checks of its cells that say where a bad one stands."""

    where: str
    cells: dict[str, str]

    def error(self, field: str, problem: str) -> SocsimError:
        return SocsimError(f"{self.where}: field '{field}': {problem}, not '{self.cells[field]}'")

    def text(self, field: str) -> str:
        if not self.cells[field]:
            raise SocsimError(f"{self.where}: field '{field}' is empty")
        return self.cells[field]

    def choice(self, field: str, allowed: Iterable[str]) -> str:
        if self.text(field) not in allowed:
            raise SocsimError(f"{self.where}: field '{field}': {unknown_name(field, self.cells[field], allowed)}")
        return self.cells[field]

    def number(self, field: str, unit_field: str, units: Mapping[str, float]) -> float:
        """Return a number above 0 in the unit of factor 1."""
        if not _NUMBER.fullmatch(self.text(field)):
            raise self.error(field, "should be a number")
        value = float(self.cells[field]) / units[self.choice(unit_field, units)]
        if not 0.0 < value < math.inf:
            raise self.error(field, "should be a finite number above 0")
        return value

    def count(self, field: str, lowest: int = 1, highest: int = 10**9) -> int:
        """Return a whole number in a range, both ends included."""
        if not _WHOLE.fullmatch(self.text(field)) or not lowest <= (value := int(self.cells[field])) <= highest:
            raise self.error(field, f"should be a whole number from {lowest} to {highest}")
        return value


def load_operator_rows(paths: Sequence[str | Path] | None = None) -> list[OperatorRow]:
    """Load micro-benchmarks from CSV files; without paths, all shipped ones (``operators_*.csv``) in the order of their names.

    Raises
    ------
    SocsimError
        A file is unreadable, or a row is not as ``traces/README.md`` describes.
    """
    files = _files(paths, "operators_*.csv")
    return [_operator_row(line) for file in files for line in _lines(file, _OPERATOR_COLUMNS, _OPERATOR_OPTIONAL)]


def load_system_rows(paths: Sequence[str | Path] | None = None) -> list[SystemRow]:
    """Load figures of whole runs from CSV files; without paths, all shipped ones (``system_*.csv``) in the order of their names.

    Raises
    ------
    SocsimError
        A file is unreadable, or a row is not as ``traces/README.md`` describes.
    """
    return [_system_row(line) for file in _files(paths, "system_*.csv") for line in _lines(file, _SYSTEM_COLUMNS, ())]


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
    lines = _lines(path, _SHARED, None)
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


def _operator_row(line: _Line) -> OperatorRow:
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


def _system_row(line: _Line) -> SystemRow:
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


def _overrides(line: _Line) -> dict[str, Any]:
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


def _lines(path: Path, columns: Sequence[str], optional: Sequence[str] | None) -> list[_Line]:
    """Read the rows of a CSV file with a header; without `optional` any further column is allowed."""
    # A shipped file goes by its name, so that results do not depend on where it is installed.
    name = path.name if path.parent == trace_path("") else str(path)
    try:
        records = list(_records(path.read_bytes().decode("utf-8-sig"), name))
    except OSError as error:
        raise SocsimError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SocsimError(f"{name}: is no UTF-8 text (byte {error.start})") from None
    if len(records) < 2:
        raise SocsimError(f"{name}: has no rows; should have a header, with the columns {', '.join(columns)}, and rows below it")
    (where, header), *rows = records
    _check_header(where, header, columns, optional)
    for where, cells in rows:
        if len(cells) != len(header):
            raise SocsimError(f"{where}: has {len(cells)} cells; should have {len(header)}, as the header")
    return [_Line(where, dict(zip(header, cells, strict=True))) for where, cells in rows]


def _records(text: str, name: str) -> Iterator[tuple[str, list[str]]]:
    """Return the stripped cells of each line with file and line number; blank lines and those that start with # are left out."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip() and not line.startswith("#"):
            try:
                yield f"{name}:{number}", [cell.strip() for cell in next(csv.reader([line], strict=True))]
            except csv.Error as error:
                raise SocsimError(f"{name}:{number}: malformed CSV: {error}") from None


def _check_header(where: str, header: Sequence[str], columns: Sequence[str], optional: Sequence[str] | None) -> None:
    allowed = (*columns, *(optional or ()))
    for place, column in enumerate(header):
        if column in header[:place]:
            raise SocsimError(f"{where}: column '{column}' stands twice")
        if not column or (optional is not None and column not in allowed):
            raise SocsimError(f"{where}: unknown column '{column}'{did_you_mean(column, allowed)}; allowed: {', '.join(allowed)}")
    if missing := [column for column in columns if column not in header]:
        raise SocsimError(f"{where}: column '{missing[0]}' is missing; needed: {', '.join(columns)}")
