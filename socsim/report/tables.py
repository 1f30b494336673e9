"""Tables of the page: cells as they are read, and what they are sorted by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from socsim.experiments.headings import heading, is_number
from socsim.experiments.publication import AGREES_PERCENT, ROUGHLY_PERCENT

OPEN_ROWS, PRINTED_ROWS = 30, 150
"""Rows of a table that is still unfolded on the screen, and of one that is still printed."""
VERDICTS = {
    "agrees": f"off by at most {AGREES_PERCENT:g} %",
    "roughly agrees": f"by at most {ROUGHLY_PERCENT:g} %",
    "disagrees": "by more",
}
"""Verdicts from the best on, with what they mean."""
SCIENTIFIC_BELOW = 1e-4
PAPER = re.compile(r"Xu et al\. 2025( \([^)]*\))?, ")
"""Publication that goes without saying as the source of a claim."""


class Cell(NamedTuple):
    """What a cell says; `sort` is what it is sorted by, if that is not its text; `style` a class of the style sheet."""

    text: str
    sort: float | None = None
    style: str = ""
    href: str = ""


class Column(NamedTuple):
    """A column; one of numbers is right-aligned, and sorted by value."""

    heading: str
    number: bool = False


class Table(NamedTuple):
    """A table; in a `named` one the first cell of a row says what the row is about."""

    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    note: str = ""
    named: bool = False

    @property
    def unfolded(self) -> bool:
        """Whether it is shown at once."""
        return len(self.rows) <= OPEN_ROWS

    @property
    def printed(self) -> bool:
        """Whether it is printed."""
        return len(self.rows) <= PRINTED_ROWS


def make_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, named: bool = False) -> Table:
    """Return a table of texts; a column is one of numbers if all that is in it are.

    Unless it is `named`, words that are the same in all rows are said once, as sources are, and columns without
    any value are left out, so that what differs fits on a phone.
    """
    values = [[row[place] for row in rows] for place in range(len(columns))]
    numbers = {place for place, column in enumerate(values) if is_number_column(column)}
    words = [place for place in range(len(columns)) if place not in numbers and len(rows) > 1 and not named]
    same = [place for place in words if len(set(values[place])) == 1 and values[place][0]]
    sources = dict.fromkeys(text for place, name in enumerate(columns) if name == "source" for text in values[place] if text)
    empty = [place for place, column in enumerate(values) if rows and not any(column) and not named]
    places = [place for place, name in enumerate(columns) if name != "source" and place not in (*same, *empty)]
    common = ", ".join(f"{heading(columns[place])} {values[place][0]}" for place in same if columns[place] != "source")
    notes = [f"All rows: {common}." if common else "", f"Published: {'; '.join(sources)}." if sources else ""]
    return Table(
        caption,
        [Column(heading(columns[place]), place in numbers) for place in places],
        [[Cell(number_text(row[place]) if place in numbers else row[place]) for place in places] for row in rows],
        " ".join(filter(None, notes)),
        named,
    )


def make_table_of_records(caption: str, records: Sequence[Mapping[str, Any]], *, named: bool = False) -> Table:
    """Return a table of plain values, those of the first record naming the columns."""
    columns = list(records[0]) if records else []
    return make_table(caption, columns, [[plain_text(record[name]) for name in columns] for record in records], named=named)


def make_claims_table(claims: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """Return what was published beside what was simulated; each claim comes with the name of its experiment."""
    ranks = {word: float(rank) for rank, word in enumerate(VERDICTS)}
    columns = ("claim", "verdict", "paper's", "simulated", "unit", "error (%)", "kind", "experiment", "source")
    rows = [
        [
            Cell(claim["what"]),
            Cell(claim["verdict"], ranks[claim["verdict"]], f"verdict {claim['verdict'].partition(' ')[0]}"),
            *(Cell(number_text(plain_text(claim[side]))) for side in ("published", "simulated")),
            Cell(claim["unit"]),
            Cell(f"{claim['error_percent']:+.1f}", abs(claim["error_percent"])),
            Cell("fitted" if claim["fitted"] else "predicted"),
            Cell(name, href=f"#{name}"),
            Cell(PAPER.sub("", claim["source"])),
        ]
        for name, claim in claims
    ]
    numbers = ("paper's", "simulated", "error (%)")
    note = "Where a source is only a figure or a table, it is one of Xu et al. 2025."
    return Table("Claims of publications, and what was simulated", [Column(n, n in numbers) for n in columns], rows, note, named=True)


def is_number_column(texts: Sequence[str]) -> bool:
    """Return whether all texts of a column that are not empty are numbers, and at least one is there."""
    filled = [text for text in texts if text]
    return bool(filled) and all(map(is_number, filled))


def number_text(text: str) -> str:
    """Return a number for people: with thousands separators, and without an exponent unless it is very small."""
    return text if not text or 0 < abs(float(text)) < SCIENTIFIC_BELOW else f"{Decimal(text):,f}"


def plain_text(value: Any) -> str:
    """Return a value as a table of an experiment has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
