"""The folder of a sweep: immutable Parquet parts, one a batch, durations apart, and a record of what all was computed from."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from socsim.errors import SocsimError
from socsim.sweeps.evaluation import FAILED, Batch, surroundings
from socsim.sweeps.metrics import METRICS
from socsim.sweeps.plan import Plan

SCHEMA_VERSION = 1
POINTS, TIMINGS, RECORD, SPEC, LOCK = "points", "timings", "record.json", "spec.toml", ".lock"
PARTIAL = ".partial"
"""Suffix of a file that is being written; its name begins with a dot, so that whoever reads the folder meanwhile passes over it."""
TYPES: Mapping[str, pa.DataType] = {
    **{"bool": pa.bool_(), "int64": pa.int64(), "float64": pa.float64(), "object": pa.string()},
    **{"int": pa.int64(), "float": pa.float64(), "str": pa.string()},
}
_WORDS = re.compile(r"plan\.spec\.(description|axes\.\d+\.label)")
"""What of a record no point depends on."""
SHOWN = 3
"""Differences that an error names."""


class Store:
    """The folder of one plan's results."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of the table: number of the point, axes, metrics, status and error."""
        types = {name: TYPES[str(values.dtype)] for each in self.plan.dimensions for name, values in each.values.items()}
        fields = [("point", pa.int64()), *((name, types[name]) for name in self.plan.columns)]
        fields += [(name, TYPES[METRICS[name].__name__]) for name in self.plan.metrics]
        return pa.schema([*fields, ("status", pa.string()), ("error", pa.string())])

    @cached_property
    def record(self) -> dict[str, Any]:
        """What the results are computed from."""
        return {
            "schema_version": SCHEMA_VERSION,
            **surroundings(self.plan),
            "points": self.plan.count,
            "parts": self.plan.batches,
            "plan": json.loads(self.plan.to_json()),
        }

    @contextmanager
    def opened(self, *, resume: bool) -> Iterator[None]:
        """Hold the folder, and make it that of this plan.

        Raises
        ------
        SocsimError
            It holds results already and they are not to be resumed, or are those of something else; somebody else holds it; or it
            cannot be written.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / LOCK, timeout=0)  # released by the system if the process is killed
            try:
                lock.acquire()
            except Timeout:
                raise SocsimError(f"{self.folder}: another sweep is writing there; wait for it, or choose another folder") from None
        try:
            with writing(self.folder):
                self._prepare(resume=resume)
            yield
        finally:
            lock.release()

    def _prepare(self, *, resume: bool) -> None:
        known = read_record(self.folder)
        if known is None and any((self.folder / POINTS).glob("*")):
            raise SocsimError(f"{self.folder / RECORD}: is missing or broken, so what the points there are of is not known")
        if known is not None and not resume:
            raise SocsimError(f"{self.folder}: holds a sweep already; continue it with --resume, or choose another folder")
        if known is not None:
            self._check_same(known)
        for part in (POINTS, TIMINGS):
            (self.folder / part).mkdir(exist_ok=True)
            for left in (self.folder / part).glob(f"*{PARTIAL}"):
                left.unlink()
        if known is None and self.plan.file is not None:
            with _replaced(self.folder / SPEC) as path:
                shutil.copyfile(self.plan.file, path)
        if known is None:
            with _replaced(self.folder / RECORD) as path:
                path.write_text(json.dumps(self.record, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def _check_same(self, known: Mapping[str, Any]) -> None:
        """Check that what is there was computed from the same."""
        before, now = _flat(known), _flat(self.record)
        changed = [path for path in {*before, *now} if before.get(path, "") != now.get(path, "") and not _WORDS.fullmatch(path)]
        changed.sort(key=lambda path: (not path.startswith("plan.spec."), path))  # what somebody wrote, before what follows from it
        if not changed:
            return
        told = [
            f"{path.removeprefix('plan.')} was {before.get(path, 'not set')}, is {now.get(path, 'not set')}" for path in changed[:SHOWN]
        ]
        more = f" (and {len(changed) - SHOWN} more)" if len(changed) > SHOWN else ""
        raise SocsimError(f"{self.folder}: cannot be resumed, as the sweep is another one now: {'; '.join(told)}{more}")

    def missing(self) -> list[int]:
        """Return the numbers of the batches that are still to be computed."""
        there = {path.name for path in (self.folder / POINTS).iterdir()}
        return [number for number in range(self.plan.batches) if part_name(number) not in there]

    def counts(self) -> tuple[int, int]:
        """Return how many points are done, and how many of them failed."""
        return (0, 0) if len(self.missing()) == self.plan.batches else count_points(self.folder)

    def commit(self, batch: Batch) -> None:
        """Write the part of a batch; it is there whole or not at all.

        Raises
        ------
        SocsimError
            It cannot be written.
        """
        columns = {
            name: _texts(values) if self.schema.field(name).type == pa.string() else values for name, values in batch.columns.items()
        }
        timings = {"point": batch.columns["point"], "seconds": batch.seconds, "worker": [batch.worker] * len(batch.seconds)}
        types = pa.schema([("point", pa.int64()), ("seconds", pa.float64()), ("worker", pa.string())])
        name = part_name(batch.number)
        for table, path in (
            (pa.table(timings, schema=types), self.folder / TIMINGS / name),
            (pa.table(columns, schema=self.schema), self.folder / POINTS / name),  # last: it counts
        ):
            with writing(path), _replaced(path) as partial:
                pq.write_table(table, partial)


def part_name(number: int) -> str:
    """Return the file name of a batch's part; in the order of their names, parts are in the order of points."""
    return f"part-{number:06d}.parquet"


def open_parts(folder: Path) -> Any:
    """Return the parts in a folder as one data set."""
    return ds.dataset([str(path) for path in _parts(folder)], format="parquet")


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def count_points(folder: Path) -> tuple[int, int]:
    """Return how many points of a sweep's folder are done, and how many of them failed."""
    with reading(folder / POINTS):
        points = open_parts(folder / POINTS)
        return points.count_rows(), points.count_rows(filter=ds.field("status") == FAILED)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Say in one line which parts of a folder cannot be read.

    Raises
    ------
    SocsimError
        One is damaged.
    """
    try:
        yield
    except (pa.ArrowException, OSError):
        damaged = [path for path in _parts(folder) if not _is_whole(path)]
        if not damaged:
            raise
        more = f", and so are {len(damaged) - 1} more" if len(damaged) > 1 else ""
        them = "them" if more else "it"
        again = f", and compute {them} again with --resume" if folder.name == POINTS else "; nothing is computed from durations"
        raise SocsimError(f"{damaged[0]}: is damaged{more}; delete {them}{again}") from None


def _is_whole(part: Path) -> bool:
    try:
        pq.read_table(part)
    except (pa.ArrowException, OSError):
        return False
    return True


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a sweep's folder, or None where there is none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "plan" in record else None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line what could not be written.

    Raises
    ------
    SocsimError
        Something could not.
    """
    try:
        yield
    except OSError as error:
        raise SocsimError(f"{error.filename or path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Put a file in its place when it is whole, on the disk too; nothing is left of one that is not."""
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _texts(values: Sequence[Any]) -> list[str | None]:
    """Return values of a column of text; lists and others are written as JSON."""
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]


def _flat(node: Any, path: str = "") -> dict[str, Any]:
    """Return all values of nested data by dotted path."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) and node else ()
    if not items:
        return {path: node}
    return {at: value for key, child in items for at, value in _flat(child, f"{path}.{key}".lstrip(".")).items()}
