"""Read what a sweep found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from socsim.errors import SocsimError, unknown_name
from socsim.sweeps.evaluation import FAILED, OK
from socsim.sweeps.metrics import METRICS
from socsim.sweeps.plan import Plan
from socsim.sweeps.store import POINTS, RECORD, TIMINGS, count_points, open_parts, read_record, reading


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The folder of a sweep, whole or not."""

    folder: Path
    record: dict[str, Any]

    @cached_property
    def plan(self) -> Plan:
        """What was swept."""
        return Plan.from_json(json.dumps(self.record["plan"]))

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes' columns."""
        return self.plan.columns

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics' columns."""
        return self.plan.metrics

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the metrics that are numbers."""
        return tuple(name for name in self.metrics if METRICS[name] is not str)

    def counts(self) -> tuple[int, int]:
        """Return how many points are done, and how many of them failed."""
        return count_points(self.folder)

    def errors(self) -> dict[str, int]:
        """Return why points failed, the most frequent first, and how many did."""
        with reading(self.folder / POINTS):
            found = self._parts.to_table(["error"], filter=ds.field("status") == FAILED)["error"]
        counts = {each["values"]: each["counts"] for each in pc.value_counts(found).to_pylist()}
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    def values(self, names: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
        """Return some columns, or all, of the points that did not fail, in the order of points; where a number is missing it is NaN.

        Raises
        ------
        SocsimError
            There is no such column, or a part is damaged.
        """
        with reading(self.folder / POINTS):
            known = self._parts.schema.names
        for name in names:
            if name not in known:
                raise unknown_name(f"column of {self.folder}", name, known)
        with reading(self.folder / POINTS):
            table = self._parts.to_table(list(names) or known, filter=ds.field("status") == OK)
        return {name: _as_numpy(table[name]) for name in table.column_names}

    def to_dataframe(self) -> Any:
        """Return all points as a pandas data frame."""
        with reading(self.folder / POINTS):
            return self._parts.to_table().to_pandas()

    def timings(self) -> Any:
        """Return how long each point took (s), and on which worker, as a pandas data frame."""
        with reading(self.folder / TIMINGS):
            return open_parts(self.folder / TIMINGS).to_table().to_pandas()

    @cached_property
    def _parts(self) -> Any:
        return open_parts(self.folder / POINTS)


def read_sweep(folder: str | Path) -> SweepResult:
    """Return the results in a folder that ``socsim sweep`` wrote.

    Raises
    ------
    SocsimError
        It holds no sweep, or none of whose points any is done.
    """
    folder = Path(folder)
    record = read_record(folder)
    if record is None:
        what = (
            f"its {RECORD} is broken, or that of something else"
            if (folder / RECORD).exists()
            else f"a folder that 'socsim sweep' wrote has a {RECORD}"
        )
        raise SocsimError(f"{folder}: holds no sweep; {what}")
    if not any((folder / POINTS).glob("*.parquet")):
        raise SocsimError(f"{folder}: has no points yet; continue with 'socsim sweep ... --resume'")
    return SweepResult(folder, record)


def _as_numpy(column: Any) -> NDArray[Any]:
    """Return a column as numbers, or as objects where it is text."""
    if pa.types.is_integer(column.type) and column.null_count:
        column = column.cast(pa.float64())
    array: NDArray[Any] = column.to_numpy()
    return array.astype(object) if array.dtype.kind in "OU" else np.asarray(array)
