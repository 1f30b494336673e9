"""What an experiment publishes: tables, figures, sentences and claims in one folder, complete or not at all.

Everything is written into a folder ``.partial`` first. Its ``record.json``, written last, says that it is complete; then the files
move to their places, that record at the end. Whoever is interrupted in the middle of it goes on with `recover`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from socsim.errors import SocsimError, unknown_name
from socsim.experiments.inputs import inputs_sha256, question
from socsim.provenance import versions
from socsim.version import __version__

FORMATS = ("png", "pdf", "svg")
"""Of figures; by default all."""
RECORD, PARTIAL = "record.json", ".partial"
PACKAGES = ("numpy", "simpy", "pandas", "matplotlib", "pydantic")
KEYS = {"experiment", "question", "quick", "formats", "inputs_sha256", "conclusions", "claims", "tables", "figures", "provenance", "files"}
"""Of a record."""
AGREES_PERCENT, ROUGHLY_PERCENT = 20.0, 50.0
Row = Mapping[str, Any]

log = logging.getLogger("socsim.experiments")
"""Where steps of a long experiment are announced."""


class Publication:
    """The results of one experiment, written to a folder when the ``with`` block that fills it ends without an error.

    Parameters
    ----------
    out
        The folder; made if needed. Files in it that are not the experiment's own stay.
    script
        The experiment's file (``__file__``); the first line of its docstring is the question.
    quick
        Whether this is the short version.
    formats
        Formats of figures, of `FORMATS`.
    parameters
        What was simulated, as plain values, for the record.
    seed
        Of everything random in it.

    Raises
    ------
    SocsimError
        A format is unknown, or the folder cannot be written.
    """

    def __init__(
        self, out: Path, script: str | Path, *, quick: bool, formats: Sequence[str] = FORMATS, seed: int = 0, **parameters: Any
    ) -> None:
        for name in formats:
            if name not in FORMATS:
                raise unknown_name("format", name, FORMATS)
        self.out, self.partial, self.formats = out, out / PARTIAL, tuple(formats)
        self._files: list[str] = []
        self._tables: list[dict[str, Any]] = []
        self._figures: list[dict[str, Any]] = []
        self._conclusions: list[str] = []
        self._claims: list[dict[str, Any]] = []
        self._about: dict[str, Any] = {
            "schema_version": 1,
            "experiment": Path(script).stem,
            "question": question(Path(script)),
            "quick": quick,
            "formats": list(self.formats),
            "inputs_sha256": inputs_sha256(Path(script)),
        }
        self._provenance = {
            "socsim": __version__,
            **versions(*PACKAGES),
            "seed": seed,
            "parameters": parameters,
        }

    def __enter__(self) -> Self:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir()
        except OSError as error:
            raise SocsimError(f"{error.filename or self.out}: cannot be written: {error.strerror}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            shutil.rmtree(self.partial, ignore_errors=True)
            return
        record = {
            **self._about,
            "conclusions": self._conclusions,
            "claims": self._claims,
            "tables": self._tables,
            "figures": self._figures,
            "provenance": self._provenance,
            "files": {name: sha256(self.partial / name) for name in sorted(self._files)},
        }
        self._put(RECORD, (json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
        recover(self.out)

    def step(self, name: str) -> None:
        """Announce the next step of an experiment that takes long."""
        log.info(name)

    def table(self, name: str, rows: Sequence[Row], caption: str = "") -> None:
        """Add a table as ``NAME.csv``: a row a mapping, floats with four significant digits, nothing for None.

        Columns are named as fields are, with their unit at the end (``prefill_tokens_per_s``); those of the first row come first.
        """
        columns = list(dict.fromkeys(column for row in rows for column in row))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
        name = file_name(name)
        self.file(f"{name}.csv", text.getvalue())
        self._tables.append({"file": f"{name}.csv", "caption": caption})

    def figure(self, name: str, figure: Any, caption: str = "") -> None:
        """Add a matplotlib figure as ``NAME.png`` and so on."""
        from socsim.plots import save

        files = [f"{file_name(name)}.{suffix}" for suffix in self.formats]
        for file in files:
            save(figure, self.partial / file)
        self._files += files
        self._figures.append({"files": files, "caption": caption})

    def file(self, name: str, text: str) -> None:
        """Add any other file."""
        self._put(name, text.encode())
        self._files.append(name)

    def conclude(self, sentence: str) -> None:
        """Add a sentence that says what came out."""
        self._conclusions.append(sentence)

    def claim(
        self, what: str, published: float | None, simulated: float, unit: str = "", source: str = "", *, fitted: bool = False
    ) -> None:
        """Add what a publication claims, beside what was simulated; without a published value nothing is added.

        Parameters
        ----------
        what
            The quantity, in words.
        published, simulated
            Its values in `unit`; the published one is not 0.
        unit
            Such as ``tokens/s``; empty for a ratio.
        source
            Publication with table or figure.
        fitted
            Whether the published value was there to fit the model.
        """
        if published is None:
            return
        error = 100.0 * (simulated / published - 1.0)
        self._claims.append(
            {
                "what": what,
                "published": _rounded(published),
                "simulated": _rounded(simulated),
                "unit": unit,
                "error_percent": round(error, 1) + 0.0,  # + 0.0: no minus before a zero
                "verdict": verdict(error),
                "fitted": fitted,
                "source": source,
            }
        )

    def _put(self, name: str, data: bytes) -> None:
        """Write a file of the folder in the making, whole or not at all."""
        path = self.partial / name
        try:
            path.with_suffix(".tmp").write_bytes(data)
            path.with_suffix(".tmp").replace(path)
        except OSError as error:
            raise SocsimError(f"{path}: cannot be written: {error.strerror}") from None


def file_name(name: str) -> str:
    """Return a name as that of a file: what holds a path, of a phone say, holds no folder."""
    return re.sub(r"[^\w.-]+", "-", name)


def verdict(error_percent: float) -> str:
    """Return in a word how far a simulated value is from a published one."""
    size = abs(error_percent)
    return "agrees" if size <= AGREES_PERCENT else "roughly agrees" if size <= ROUGHLY_PERCENT else "disagrees"


def recover(out: Path) -> None:
    """Move the files of a complete publication to their places, and away what the last one had beside them; drop an incomplete one.

    Raises
    ------
    SocsimError
        The folder cannot be written.
    """
    partial = out / PARTIAL
    record = _record_of(partial)
    try:
        if record is not None:
            for name in record["files"]:
                if (partial / name).exists():
                    (partial / name).replace(out / name)
            for name in (_record_of(out) or {"files": {}})["files"]:
                if name not in record["files"]:
                    (out / name).unlink(missing_ok=True)
            (partial / RECORD).replace(out / RECORD)
        if partial.exists():
            shutil.rmtree(partial)
    except OSError as error:
        raise SocsimError(f"{error.filename or out}: cannot be written: {error.strerror}") from None


def read_record(out: Path) -> dict[str, Any] | None:
    """Return the record of a folder whose files are all there, unchanged; none if they are not."""
    record = _record_of(out)
    try:
        whole = record is not None and all(sha256(out / name) == known for name, known in record["files"].items())
    except OSError:
        return None
    return record if whole else None


def is_current(out: Path, script: Path, *, quick: bool, formats: Sequence[str]) -> bool:
    """Return whether a folder holds what an experiment would make; the long version counts as the quick one, too."""
    record = read_record(out)
    if record is None or record["inputs_sha256"] != inputs_sha256(script):
        return False
    return set(formats) <= set(record["formats"]) and (quick or not record["quick"])


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the columns and the rows of a table that an experiment wrote."""
    columns, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
    return columns, rows


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _record_of(folder: Path) -> dict[str, Any] | None:
    """Return the record in a folder; none if it is not there, or is no record."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return record if record["schema_version"] == 1 and set(record) >= KEYS and isinstance(record["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{float(f'{value:.4g}'):.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return value


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
