"""Measured rows, shipped or a user's own: micro-benchmarks, figures of whole runs, and other published tables.

The formats are described in ``traces/README.md``. Every problem of a file is a `SocsimError` that names file, line and field.
"""

from __future__ import annotations

import csv
import io
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from socsim.catalog import trace_path
from socsim.errors import SocsimError, did_you_mean, unknown_name

SPLITS = ("calibration", "validation")
"""What a row is for: to fit parameters, or to check predictions that were made without it."""
PROCESSORS = ("cpu", "gpu", "npu")
DATA_TYPE_BITS = {"int8": 8, "fp16": 16, "fp32": 32}
LATENCY_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}
"""Units of latency and how many of each make a second."""
METRIC_UNITS: Mapping[str, Mapping[str, float]] = {
    "prefill_tokens_per_s": {"tokens/s": 1.0},
    "decode_s": {"s": 1.0, "ms": 1e3},
    "prefill_energy_j": {"J": 1.0, "mJ": 1e3},
    "peak_memory_gb": {"GB": 1.0},
}
"""Units of each metric of a whole run and how many of each make one of the unit in the metric's name."""

_SHARED = ("unit", "source", "split")
_OPERATOR_COLUMNS = ("soc", "processor", "data_type", "products", "square_inputs", "latency", *_SHARED)
_OPERATOR_OPTIONAL = ("path", "weight_bits")
_SYSTEM_COLUMNS = ("soc", "model", "engine", "prompt_tokens", "output_tokens", "settings", "metric", "value", *_SHARED)
_OVERRIDDEN = ("soc", "model", "engine", "run")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_PRODUCT = re.compile(r"([0-9]{1,9})x([0-9]{1,9})x([0-9]{1,9})")

RowT = TypeVar("RowT")


class Product(NamedTuple):
    """One matrix product (rows x inner) . (inner x columns); `enters`: its left operand comes from outside, not from products before."""

    rows: int
    inner: int
    columns: int
    enters: bool


class OperatorRow(NamedTuple):
    """The measured latency of a graph of matrix products on one processor."""

    where: str
    """File and line, such as ``operators_mine.csv:3``."""
    soc: str
    processor: str
    data_type: str
    path: str | None
    """One of the processor's named ways to compute the data type; none: the usual one."""
    weight_bits: int | None
    """Bits in which weights are stored; none: those of the data type."""
    products: tuple[Product, ...]
    square_inputs: bool
    """Whether the rows of the input are arranged near-square instead of in one line."""
    latency_s: float
    source: str
    split: str


class SystemRow(NamedTuple):
    """One measured figure of a whole run."""

    where: str
    """File and line, such as ``system_mine.csv:3``."""
    soc: str
    model: str
    engine: str
    prompt_tokens: int
    output_tokens: int
    overrides: dict[str, Any]
    """Fields that differ from the shipped files, by path."""
    metric: str
    value: float
    """In the unit of the metric's name: tokens/s, s, J or GB."""
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
        value = self.text(field)
        if value not in allowed:
            raise SocsimError(f"{self.where}: field '{field}': {unknown_name(field, value, allowed)}")
        return value

    def number(self, field: str, unit_field: str, units: Mapping[str, float]) -> float:
        """Return a number above 0 in the unit that has factor 1."""
        if not _NUMBER.fullmatch(self.text(field)):
            raise self.error(field, "should be a number")
        value = float(self.cells[field]) / units[self.choice(unit_field, units)]
        if not 0.0 < value < math.inf:
            raise self.error(field, "should be a finite number above 0")
        return value

    def count(self, field: str, highest: int | None = None) -> int:
        """Return a whole number from 1 to `highest`."""
        if not _WHOLE.fullmatch(self.text(field)):
            raise self.error(field, "should be a whole number")
        value = int(self.cells[field])
        if value < 1 or (highest is not None and value > highest):
            raise self.error(field, "should be 1 or more" if highest is None else f"should be 1 to {highest}")
        return value


def load_operator_rows(paths: Sequence[str | Path] | None = None) -> list[OperatorRow]:
    """Load micro-benchmarks from CSV files; without paths, all shipped ones (``operators_*.csv``) in the order of their names.

    Raises
    ------
    SocsimError
        A file is unreadable, or a row is not as ``traces/README.md`` describes.
    """
    return _load(paths, "operators_", _OPERATOR_COLUMNS, _OPERATOR_OPTIONAL, _operator_row)


def load_system_rows(paths: Sequence[str | Path] | None = None) -> list[SystemRow]:
    """Load figures of whole runs from CSV files; without paths, all shipped ones (``system_*.csv``) in the order of their names.

    Raises
    ------
    SocsimError
        A file is unreadable, or a row is not as ``traces/README.md`` describes.
    """
    return _load(paths, "system_", _SYSTEM_COLUMNS, (), _system_row)


def load_table(name: str | Path) -> list[dict[str, str]]:
    """Load any measured table as text by column, by shipped name such as ``llm_npu_fig4_per_group_slowdown`` or by path.

    Raises
    ------
    SocsimError
        The name is unknown, the file is unreadable, or a row lacks unit, source or split.
    """
    shipped = {path.stem: path for path in sorted(trace_path("").glob("*.csv"))}
    path = shipped.get(str(name).removesuffix(".csv"), Path(name))
    if path.suffix != ".csv" and not path.exists():
        raise unknown_name("table", name, shipped)
    lines = list(_lines(path, _SHARED, None))
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
    data_type = line.choice("data_type", DATA_TYPE_BITS)
    try:
        products = parse_products(line.text("products"))
    except SocsimError as error:
        raise SocsimError(f"{line.where}: field 'products': {error}") from None
    return OperatorRow(
        where=line.where,
        soc=line.text("soc"),
        processor=line.choice("processor", PROCESSORS),
        data_type=data_type,
        path=line.cells.get("path") or None,
        weight_bits=line.count("weight_bits", DATA_TYPE_BITS[data_type]) if line.cells.get("weight_bits") else None,
        products=products,
        square_inputs=line.choice("square_inputs", ("true", "false")) == "true",
        latency_s=line.number("latency", "unit", LATENCY_UNITS),
        source=line.text("source"),
        split=line.choice("split", SPLITS),
    )


def _system_row(line: _Line) -> SystemRow:
    metric = line.choice("metric", METRIC_UNITS)
    row = SystemRow(
        where=line.where,
        soc=line.text("soc"),
        model=line.text("model"),
        engine=line.text("engine"),
        prompt_tokens=line.count("prompt_tokens"),
        output_tokens=line.count("output_tokens"),
        overrides=_overrides(line),
        metric=metric,
        value=line.number("value", "unit", METRIC_UNITS[metric]),
        source=line.text("source"),
        split=line.choice("split", SPLITS),
    )
    if metric == "decode_s" and row.output_tokens < 2:
        raise line.error("output_tokens", "should be 2 or more for decode_s, as the prefill makes the first token")
    return row


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


def _load(
    paths: Sequence[str | Path] | None,
    prefix: str,
    columns: Sequence[str],
    optional: Sequence[str],
    row: Callable[[_Line], RowT],
) -> list[RowT]:
    files = sorted(trace_path("").glob(f"{prefix}*.csv")) if paths is None else [Path(path) for path in paths]
    return [row(line) for path in files for line in _lines(path, columns, optional)]


def _lines(path: Path, columns: Sequence[str], optional: Sequence[str] | None) -> Iterator[_Line]:
    """Read the rows of a CSV file with a header; lines that start with # are comments, and without `optional` any column is allowed."""
    # A shipped file goes by its name, so that results do not depend on where it is installed.
    name = path.name if path.parent == trace_path("") else str(path)
    records = _records(_text(path, name), name)
    where, header = next(records, ("", []))
    if not header:
        raise SocsimError(f"{name}: is empty; should start with the columns {', '.join(columns)}")
    _check_header(where, header, columns, optional)
    empty = True
    for where, cells in records:
        if len(cells) != len(header):
            raise SocsimError(f"{where}: has {len(cells)} cells; should have {len(header)}, as the header")
        yield _Line(where, dict(zip(header, cells, strict=True)))
        empty = False
    if empty:
        raise SocsimError(f"{name}: has no rows below its header")


def _records(text: str, name: str) -> Iterator[tuple[str, list[str]]]:
    """Split CSV text into records of stripped cells, each with the file and line where it starts."""
    numbered = [(number, line) for number, line in enumerate(io.StringIO(text, newline=""), 1) if line.strip() and line[0] != "#"]
    reader = csv.reader((line for _, line in numbered), strict=True)
    while reader.line_num < len(numbered):
        where = f"{name}:{numbered[reader.line_num][0]}"
        try:
            yield where, [cell.strip() for cell in next(reader)]
        except csv.Error as error:
            raise SocsimError(f"{where}: malformed CSV: {error}") from None


def _text(path: Path, name: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SocsimError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SocsimError(f"{name}: is no UTF-8 text (byte {error.start})") from None


def _check_header(where: str, header: Sequence[str], columns: Sequence[str], optional: Sequence[str] | None) -> None:
    allowed = (*columns, *(optional or ()))
    for place, column in enumerate(header):
        if column in header[:place]:
            raise SocsimError(f"{where}: column '{column}' stands twice")
        if not column or (optional is not None and column not in allowed):
            raise SocsimError(f"{where}: unknown column '{column}'{did_you_mean(column, allowed)}; allowed: {', '.join(allowed)}")
    missing = [column for column in columns if column not in header]
    if missing:
        raise SocsimError(f"{where}: column '{missing[0]}' is missing; needed: {', '.join(columns)}")
