"""CSV files of measurements and workloads, read row by row; every problem is an error that names file, line and field."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from socsim.catalog import trace_path
from socsim.errors import SocsimError, did_you_mean, unknown_name

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")


class Line(NamedTuple):
    """One row of a file as text, with checks of its cells that say where a bad one stands."""

    where: str
    cells: dict[str, str]

    def error(self, field: str, problem: str) -> SocsimError:
        """Build the error for a cell whose text is not as it should be."""
        return SocsimError(f"{self.where}: field '{field}': {problem}, not '{self.cells[field]}'")

    def text(self, field: str) -> str:
        """Return the text of a cell that is not empty."""
        if not self.cells[field]:
            raise SocsimError(f"{self.where}: field '{field}' is empty")
        return self.cells[field]

    def choice(self, field: str, allowed: Iterable[str]) -> str:
        """Return one of the allowed words."""
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


def read_lines(path: Path, columns: Sequence[str], optional: Sequence[str] | None) -> list[Line]:
    """Read the rows of a CSV file with a header; without `optional` any further column is allowed.

    Raises
    ------
    SocsimError
        It is unreadable or malformed, or lacks a column; the message names file and line.
    """
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
    return [Line(where, dict(zip(header, cells, strict=True))) for where, cells in rows]


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
