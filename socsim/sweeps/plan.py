"""A sweep made ready: everything that its points are computed from, as one value that is sent to workers and kept with the results."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError, unknown_name
from socsim.specs import LLM, Axis, Engine, Run, SoC, Spec, SweepSpec, validate
from socsim.specs.base import assign
from socsim.sweeps.constraints import Constraint, shortened
from socsim.sweeps.dimensions import Array, Dimension, as_array, as_plain, dimensions
from socsim.sweeps.metrics import USUAL

KINDS = ("soc", "model", "engine")
SPECS: Mapping[str, type[Spec]] = {"soc": SoC, "model": LLM, "engine": Engine, "run": Run}
SHORT = {name: f"run.{name}" for name in ("prompt_tokens", "output_tokens", "cached_tokens")} | {
    name: f"engine.{name}" for name in ("chunk_tokens", "scheduler")
}
"""Fields that the command line has options for, by the names of these."""
ABOUT = ("point", "status", "error")
"""Columns beside axes and metrics."""
Reference = Callable[[list[NDArray[np.int64]]], Any]
"""Returns what a name stands for at some points, by the levels of these: one value for all, or an array."""
MOST_POINTS = 10**9
COUNTED_AT_ONCE = 1 << 17
RUN = {name: field.default for name, field in Run.model_fields.items()}


@dataclass(frozen=True, eq=False)
class Plan:
    """A checked sweep with the descriptions that it names.

    `descriptions` has the SoCs, models and engines by kind and name, as plain data. `where` is what error messages call the sweep,
    `file` the file that describes it.
    """

    spec: SweepSpec
    descriptions: Mapping[str, Mapping[str, Any]]
    where: str = "sweep"
    file: Path | None = None

    def to_json(self) -> str:
        """Return the plan as text; the same plan is the same text."""
        return json.dumps({"spec": self.spec.model_dump(mode="json"), "descriptions": self.descriptions}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan of a text that `to_json` made."""
        data = json.loads(text)
        return cls(validate(SweepSpec, data["spec"], "sweep"), data["descriptions"])

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that are kept."""
        return self.spec.metrics or USUAL

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the axes' columns, in the order of the axes."""
        return tuple(axis.column for axis in self.spec.axes)

    @cached_property
    def dimensions(self) -> list[Dimension]:
        """Levels of the axes; the last dimension varies fastest."""
        return dimensions(self.spec, {axis.column: self._is_whole(axis) for axis in self.spec.axes}, self.where)

    @cached_property
    def raw_count(self) -> int:
        """Number of points before constraints; a point's number is its place among these."""
        count = 1
        for dimension in self.dimensions:
            count *= len(dimension)
        if count > MOST_POINTS:
            raise SocsimError(f"{self.where}: has {count:.3g} points, allowed: {MOST_POINTS:.0e}; sample the ranges instead")
        return count

    @cached_property
    def batch_points(self) -> int:
        """Points of a batch before constraints; depends on their number alone, so that the same sweep always has the same parts."""
        return max(min(64, self.raw_count // 64), -(-self.raw_count // 4000), 1)

    @cached_property
    def batches(self) -> int:
        """Number of batches, each of which becomes a part."""
        return -(-self.raw_count // self.batch_points)

    def batch_range(self, batch: int) -> tuple[int, int]:
        """Return the first number of a batch and the one after its last."""
        return batch * self.batch_points, min((batch + 1) * self.batch_points, self.raw_count)

    def points(self, start: int, stop: int) -> tuple[NDArray[np.int64], dict[str, Array]]:
        """Return the numbers of the points of a range that meet all constraints, and their values by column."""
        numbers = np.arange(start, stop, dtype=np.int64)
        levels = self._levels(numbers)
        keep = np.ones(len(numbers), dtype=np.bool_)
        for constraint, references in self._constraints:
            keep &= constraint.holds({name: reference(levels) for name, reference in references.items()}, len(numbers))
        chosen = {
            column: values[level[keep]] for d, level in zip(self.dimensions, levels, strict=True) for column, values in d.values.items()
        }
        return numbers[keep], {column: chosen[column] for column in self.columns}

    @cached_property
    def batch_sizes(self) -> list[int]:
        """Number of points of each batch, constraints applied."""
        if not self.spec.constraints:
            return [stop - start for start, stop in map(self.batch_range, range(self.batches))]
        sizes, step = list[int](), max(1, COUNTED_AT_ONCE // self.batch_points)
        for first in range(0, self.batches, step):
            last = min(first + step, self.batches)
            numbers = self.points(self.batch_range(first)[0], self.batch_range(last - 1)[1])[0]
            sizes += np.bincount(numbers // self.batch_points - first, minlength=last - first).tolist()
        return sizes

    @cached_property
    def count(self) -> int:
        """Number of points that meet all constraints."""
        return sum(self.batch_sizes)

    def field(self, kind: str, name: str, rest: str) -> Any:
        """Return the value that a field of a description has before any axis sets it."""
        node: Any = self._settled[kind, "" if kind == "run" else name]
        parent = kind
        for key in rest.split("."):
            known = list(node) if isinstance(node, dict) else [str(place) for place in range(len(node))] if isinstance(node, list) else []
            if key not in known:
                raise SocsimError(f"{self.where}: {unknown_name('field', f'{kind}.{rest}', [f'{parent}.{other}' for other in known])}")
            node, parent = node[key] if isinstance(node, dict) else node[int(key)], f"{parent}.{key}"
        return node

    @cached_property
    def _settled(self) -> dict[tuple[str, str], Any]:
        """Descriptions by kind and name, and the run, as the base has set them."""
        described = {(kind, name): data for kind, named in self.descriptions.items() for name, data in named.items()}
        settled = copy.deepcopy({**described, ("run", ""): {**RUN, "prompt_tokens": 1}})
        for (kind, _), data in settled.items():
            assign(data, self.settings(kind), f"{self.where}: base: {kind}")
        return settled

    @staticmethod
    def scaled(usual: Any, factor: float) -> float:
        """Return a number times a factor; a whole number stays whole."""
        return round(usual * factor) if isinstance(usual, int) else usual * factor

    def settings(self, kind: str) -> dict[str, Any]:
        """Return what the base changes in descriptions of a kind, by path: lists and tables before what is in them."""
        given: dict[str, Any] = {SHORT[name]: getattr(self.spec.base, name) for name in SHORT}
        given = {path: value for path, value in given.items() if value is not None}
        given |= {full_path(path): as_plain(value) for path, value in self.spec.base.set.items()}
        return {path.partition(".")[2]: value for path, value in sorted(given.items()) if path.partition(".")[0] == kind}

    def names(self, kind: str) -> list[str]:
        """Return the names of the descriptions of a kind: that of the base, or the levels of the axis that has them."""
        axis = next((axis for axis in self.spec.axes if kind in axis.paths), None)
        if axis is not None:
            return [str(value) for value in axis.values or ()]
        return [getattr(self.spec.base, kind)]

    @cached_property
    def schedulers(self) -> list[str]:
        """Names of all policies that points run under."""
        axis = next((axis for axis in self.spec.axes if "engine.scheduler" in map(full_path, axis.paths)), None)
        if axis is not None:
            return [str(value) for value in axis.values or ()]
        return sorted({self.field("engine", name, "scheduler") for name in self.descriptions["engine"]})

    def _is_whole(self, axis: Axis) -> bool:
        """Return whether a range of an axis takes whole numbers only, as its field does."""
        if axis.relative or axis.values is not None:
            return False
        kind, _, rest = full_path(axis.paths[0]).partition(".")
        value = self.field(kind, self.names(kind)[0] if kind != "run" else "", rest)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return isinstance(value, int)
        return isinstance(axis.start, int) and isinstance(axis.stop, int)

    def _levels(self, numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return the levels of some points, by dimension."""
        levels = []
        for dimension in reversed(self.dimensions):
            levels.append(numbers % len(dimension))
            numbers = numbers // len(dimension)
        return levels[::-1]

    @cached_property
    def _constraints(self) -> list[tuple[Constraint, dict[str, Reference]]]:
        """Return the constraints, each with what its names stand for."""
        constraints = [Constraint(text, self.where) for text in self.spec.constraints]
        return [(each, {name: self._reference(name, each.text) for name in each.names}) for each in constraints]

    def _reference(self, name: str, text: str) -> Reference:
        """Return what a name in a constraint stands for."""
        where = f"{self.where}: constraint '{shortened(text)}':"
        if name in self.columns:
            return self._column(name)
        path = full_path(name)
        axis = next((axis for axis in self.spec.axes if path in map(full_path, axis.paths)), None)
        if axis is not None and not axis.relative:
            return self._column(axis.column)
        kind, _, rest = path.partition(".")
        if kind not in SPECS or not rest:
            known = {*self.columns, *SHORT, *(f"{each}.FIELD" for each in SPECS)}
            raise SocsimError(f"{where} {unknown_name('name', name, known)}")
        usual = [self.field(kind, each, rest) for each in (self.names(kind) if kind != "run" else [""])]
        if any(isinstance(each, (list, dict)) for each in usual):
            raise SocsimError(f"{where} '{name}' has fields of its own; allowed: one of these")
        values = as_array(usual)
        choose = self._column(next(axis.column for axis in self.spec.axes if kind in axis.paths), values) if len(usual) > 1 else None
        if axis is None:
            return choose or (lambda _: values.tolist()[0])
        factors, whole = self._column(axis.column), values.dtype == np.int64
        product: Reference = lambda levels: (choose(levels) if choose else values[0]) * factors(levels)  # noqa: E731
        return (lambda levels: np.rint(product(levels))) if whole else product

    def _column(self, column: str, values: Array | None = None) -> Reference:
        """Return how the levels of an axis become its values, or others that go with these."""
        place = next(place for place, dimension in enumerate(self.dimensions) if column in dimension.values)
        found = self.dimensions[place].values[column] if values is None else values
        return lambda levels: found[levels[place]]


def full_path(path: str) -> str:
    """Return a path with the kind of description in front, which ``prompt_tokens`` and others may leave out."""
    return SHORT.get(path, path)
