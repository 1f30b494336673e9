"""Description of a sweep: a base run, axes over any of its fields, samples, constraints, and the metrics to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from socsim.errors import did_you_mean
from socsim.specs.base import Count, NonNegativeCount, Spec, no_truth
from socsim.specs.engine import ChunkTokens

MOST = 10**7
"""Values that an axis or a sample has at most: all of them are in memory."""


def _check_size(value: Any) -> Any:
    """Refuse numbers that no column of the table holds."""
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, (int, float)) and not abs(each) < (math.inf if isinstance(each, float) else 2**63):
            raise ValueError(f"{each} is no finite number of at most 64 bits")
    return value


def _by_path(table: Any) -> Any:
    """Return a table with nested ones, which TOML makes of paths without quotes, as one by path."""
    if not isinstance(table, Mapping):
        return table
    flat: dict[str, Any] = {}
    for key, child in table.items():
        flat |= {f"{key}.{rest}": leaf for rest, leaf in _by_path(child).items()} if isinstance(child, Mapping) else {key: child}
    return flat


Plain = bool | int | float | str | None | tuple[bool | int | float | str, ...]
Value = Annotated[Plain, AfterValidator(_check_size)]
"""A value of an axis; ``"null"`` empties a field, as TOML has no word for that."""


class Base(Spec):
    """The run from which every point of a sweep differs by its axes."""

    soc: str | None = Field(None, description="name or file; may be left out where it is an axis")
    model: str | None = Field(None, description="name or file; may be left out where it is an axis")
    engine: str | None = Field(None, description="name or file; may be left out where it is an axis")
    prompt_tokens: Count | None = Field(None, description="may be left out where it is an axis")
    output_tokens: Count = 1
    cached_tokens: NonNegativeCount = 0
    chunk_tokens: ChunkTokens | None = Field(None, description="instead of the engine's")
    scheduler: str | None = Field(None, description="instead of the engine's")
    set: Annotated[dict[str, Value], BeforeValidator(_by_path)] = Field(default_factory=dict, description="any other field by path")


class Axis(Spec):
    """One column of the table: values that one field takes, or several fields together."""

    path: str | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="field, such as soc.dram.peak_bytes_per_s, or several that take the same value"
    )
    name: str = Field("", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$", description="column of the table; empty: the path")
    label: str = Field("", description="what figures call it; empty: its name")
    values: tuple[Value, ...] | None = Field(None, min_length=1, description="what it takes")
    start: Annotated[float | int | None, BeforeValidator(no_truth), AfterValidator(_check_size)] = Field(
        None, description="first value of a range"
    )
    stop: Annotated[float | int | None, BeforeValidator(no_truth), AfterValidator(_check_size)] = Field(
        None, description="last value of a range"
    )
    points: int | None = Field(None, ge=2, le=MOST, description="values of the range, ends included; none: the range is sampled")
    spacing: Literal["linear", "log"] = "linear"
    relative: bool = Field(False, description="values are factors on what the base has")
    link: str | None = Field(None, description="axes with the same word here advance together")

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        ranged = self.start is not None or self.stop is not None
        if (self.values is None) == (not ranged):
            raise ValueError("an axis needs either values, or start and stop")
        if self.values is not None:
            if self.points is not None:
                raise ValueError("points goes with start and stop, not with values")
            if len({(isinstance(value, bool), value) for value in self.values}) < len(self.values):  # True is 1, and 1 is 1.0
                raise ValueError(f"values has one twice: {list(self.values)}")
            if self.relative and not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in self.values):
                raise ValueError("a relative axis takes numbers, which are factors")
            return self
        if self.start is None or self.stop is None or self.start == self.stop:
            raise ValueError(f"a range needs start and stop, which differ, not {self.start} and {self.stop}")
        if self.spacing == "log" and min(self.start, self.stop) <= 0:
            raise ValueError(f"a range with spacing 'log' needs both ends above 0, not {self.start:g} and {self.stop:g}")
        if self.link is not None and self.points is None:
            raise ValueError("a sampled range cannot be linked: give it points, or leave link out")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that it sets."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @property
    def column(self) -> str:
        """Name of its column in the table."""
        return self.name or self.paths[0]

    @property
    def sampled(self) -> bool:
        """Whether its values are drawn from a range."""
        return self.values is None and self.points is None


class Sample(Spec):
    """How values are drawn for all ranges without points, together."""

    method: Literal["latin-hypercube", "sobol", "random", "saltelli"] = Field(
        description="saltelli: the points from which sensitivity indices are computed, points times (sampled axes + 2) of them"
    )
    points: Annotated[Count, Field(le=MOST)]
    seed: NonNegativeCount = 0

    @model_validator(mode="after")
    def _check_points(self) -> Self:
        if self.method in ("sobol", "saltelli") and self.points & (self.points - 1):
            below = 1 << (self.points.bit_length() - 1)
            raise ValueError(f"method '{self.method}' needs a power of 2 as points, not {self.points}; nearest: {below} or {2 * below}")
        return self


class SweepSpec(Spec):
    """A sweep as data."""

    description: str = ""
    base: Base
    axes: tuple[Axis, ...] = Field(min_length=1)
    sample: Sample | None = None
    constraints: tuple[str, ...] = Field((), description="expressions over axes and fields; points for which one is false are left out")
    metrics: tuple[str, ...] = Field((), description="columns to keep; none: the usual ones")

    @model_validator(mode="after")
    def _check_axes(self) -> Self:
        columns = [axis.column for axis in self.axes]
        paths = [path for axis in self.axes for path in axis.paths]
        for what, names in (("column", columns), ("path", paths)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two axes have the {what} '{twice[0]}'")
        links = [axis.link for axis in self.axes if axis.link is not None]
        single = sorted({link for link in links if links.count(link) == 1})
        if single:
            raise ValueError(
                f"only one axis has the link '{single[0]}'{did_you_mean(single[0], {*links} - {single[0]})}; give it to another one"
            )
        sampled = [axis.column for axis in self.axes if axis.sampled]
        if sampled and self.sample is None:
            raise ValueError(f"axis '{sampled[0]}' is a range without points: give it points, or say in [sample] how to draw from it")
        if self.sample is not None and not sampled:
            raise ValueError("sample has nothing to draw: every axis has values or points")
        if self.sample is not None and self.sample.method == "saltelli":
            others = [f"axis '{column}' has values or points" for column in columns if column not in sampled]
            others += ["there are constraints"] if self.constraints else []
            if others:
                raise ValueError(f"sample method 'saltelli' needs ranges without points on all axes and no constraints, but {others[0]}")
        return self
