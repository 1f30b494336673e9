"""From a sweep's file to a plan: what it names is loaded, and all of it checked before anything is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from socsim.catalog import load_engine, load_model, load_soc, read_toml
from socsim.errors import SocsimError, unknown_name
from socsim.schedulers import load_scheduler
from socsim.specs import Axis, Run, Spec, SweepSpec, validate
from socsim.specs.sweep import Base
from socsim.sweeps.metrics import METRICS, USUAL
from socsim.sweeps.plan import ABOUT, KINDS, SHORT, SPECS, Plan, full_path

LOADERS: Mapping[str, Any] = {"soc": load_soc, "model": load_model, "engine": load_engine}
CHECKED = 100
"""Values of a range that are checked beside its ends, between which there may be a million."""


def load_plan(sweep: SweepSpec | Mapping[str, Any] | str | Path) -> Plan:
    """Load a sweep and check it.

    Parameters
    ----------
    sweep
        A description, the same as nested dictionaries, or a TOML file. Files that it names are looked up beside it first.

    Raises
    ------
    SocsimError
        Something in it is unknown, missing or not allowed.
    """
    file = Path(sweep) if isinstance(sweep, (str, Path)) else None
    folder, where = (Path(), "sweep") if file is None else (file.parent, str(file))
    sweep = sweep if isinstance(sweep, (SweepSpec, Mapping)) else read_toml(Path(sweep))
    spec = sweep if isinstance(sweep, SweepSpec) else validate(SweepSpec, sweep, where)
    _check_names(spec, where)
    _check_given(spec, where)
    plan = Plan(spec, {kind: _load(spec, kind, folder, where) for kind in KINDS}, where, file)
    _check_base(plan)
    for axis in spec.axes:
        _check_axis(plan, axis)
    _check_schedulers(plan)
    plan.points(0, min(plan.raw_count, 1))  # whatever is wrong with dimensions and constraints comes up here
    return plan


def _check_names(spec: SweepSpec, where: str) -> None:
    """Check names of metrics and columns, and that paths begin as they should."""
    for name in spec.metrics:
        if name not in METRICS:
            raise SocsimError(f"{where}: {unknown_name('metric', name, METRICS)}")
    if len(set(spec.metrics)) < len(spec.metrics):
        raise SocsimError(f"{where}: metrics has one twice: {', '.join(spec.metrics)}")
    for axis in spec.axes:
        taken = (*ABOUT, *(spec.metrics or USUAL))
        if axis.column in taken:
            raise SocsimError(f"{where}: axis '{axis.column}': is the name of another column; not allowed: {', '.join(taken)}")
    for path in [*(path for axis in spec.axes for path in axis.paths), *spec.base.set]:
        kind, _, rest = full_path(path).partition(".")
        if kind not in SPECS or (not rest and (kind != path or kind == "run" or path in spec.base.set)):
            known = [*(KINDS if path not in spec.base.set else ()), *(f"{each}.FIELD" for each in SPECS), *SHORT]
            raise SocsimError(f"{where}: {unknown_name('path', path, known)}")


def _check_given(spec: SweepSpec, where: str) -> None:
    """Check that no field is set twice, under other names, and that nothing is missing in the base."""
    given = [full_path(path) for axis in spec.axes for path in axis.paths]
    named = [path for name, path in SHORT.items() if getattr(spec.base, name) != Base.model_fields[name].default]
    for what, paths in (("two axes set", given), ("base and base.set both have", named + [full_path(path) for path in spec.base.set])):
        twice = sorted({path for path in paths if paths.count(path) > 1})
        if twice:
            raise SocsimError(f"{where}: {what} '{twice[0]}'")
    for path in given:
        within = next((other for other in given + [full_path(each) for each in spec.base.set] if other.startswith(f"{path}.")), None)
        if within is not None and path not in KINDS:
            raise SocsimError(f"{where}: an axis sets all of '{path}', so '{within}' cannot be set, too")
    for field in ("soc", "model", "engine", "prompt_tokens"):
        if getattr(spec.base, field) is None and full_path(field) not in given:
            raise SocsimError(f"{where}: field 'base.{field}' is missing, and no axis sets it")


def _load(spec: SweepSpec, kind: str, folder: Path, where: str) -> dict[str, Any]:
    """Load the descriptions of a kind that the base or an axis names, as plain data by those names."""
    axis = next((axis for axis in spec.axes if kind in axis.paths), None)
    if axis is not None and axis.values is None:
        raise SocsimError(f"{where}: axis '{axis.column}': takes names or files as values, not a range")
    names = [getattr(spec.base, kind)] if axis is None else list(axis.values or ())
    found = {}
    for name in names:
        if not isinstance(name, str):
            raise SocsimError(f"{where}: axis '{axis.column if axis else kind}': takes names or files as values, not {name!r}")
        beside = folder / name
        try:
            found[name] = LOADERS[kind](beside if Path(name).suffix and beside.exists() else name).model_dump(mode="json")
        except SocsimError as error:
            raise SocsimError(f"{where}: {error}") from None
    return found


def _check_axis(plan: Plan, axis: Axis) -> None:
    """Check each value of an axis by itself, on every description that it is for; of a range its ends and some values."""
    listed = next(each.values[axis.column] for each in plan.dimensions if axis.column in each.values)
    values = listed.tolist() if axis.values is not None else [axis.start, axis.stop, *([] if axis.sampled else listed[:CHECKED].tolist())]
    where = f"{plan.where}: axis '{axis.column}'"
    for path in map(full_path, axis.paths):
        kind, _, rest = path.partition(".")
        if not rest:
            continue
        given = plan.settings(kind)
        for description in _described(plan, kind):
            usual = plan.field(kind, getattr(description, "name", ""), rest) if axis.relative else None
            if axis.relative and (isinstance(usual, bool) or not isinstance(usual, (int, float))):
                raise SocsimError(f"{where}: '{path}' is {usual!r}, not a number that factors could apply to")
            for value in values:
                taken = plan.scaled(usual, value) if axis.relative else value
                description.check_value(rest, taken, f"{where}: {kind}", given)


def _described(plan: Plan, kind: str) -> list[Spec]:
    """Return the descriptions of a kind, without settings."""
    if kind == "run":
        return [Run(prompt_tokens=plan.spec.base.prompt_tokens or 1)]
    return [validate(SPECS[kind], {**data, "name": name}, plan.where) for name, data in plan.descriptions[kind].items()]


def _check_base(plan: Plan) -> None:
    """Check each setting of the base: no rule counts that ties it to other fields, which axes may change."""
    for kind in SPECS:
        given = plan.settings(kind)
        for rest, value in given.items():
            for description in _described(plan, kind):
                description.check_value(rest, value, f"{plan.where}: base: {kind}", given)


def _check_schedulers(plan: Plan) -> None:
    """Check that every scheduler is there."""
    for name in plan.schedulers:
        try:
            load_scheduler(name)
        except SocsimError as error:
            raise SocsimError(f"{plan.where}: {error}") from None
