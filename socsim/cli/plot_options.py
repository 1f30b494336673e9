"""Which columns and points of a sweep the options of ``socsim plot`` mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from socsim.cli.labels import axis_text, text_of
from socsim.cli.options import parse_value
from socsim.cli.sweep import values_text
from socsim.errors import SocsimError, did_you_mean

if TYPE_CHECKING:
    from socsim.sweeps import SweepResult
    from socsim.sweeps.slices import Best, Slice

FAVORITES = ("ttft_s", "prefill_energy_j", "peak_memory_bytes")
"""Metrics that figures show unless told otherwise."""
SAME = 1e-3
"""How near a number has to come to a value of an axis, relatively: as near as tables print it."""
LISTED = 40
"""Values of an axis up to which an error names all."""


def slice_at(result: SweepResult, at: Sequence[str]) -> Slice:
    """Return the points at which axes have the values that ``AXIS=VALUE`` gives them.

    Raises
    ------
    SocsimError
        There is no such axis, value or point, or an axis is given twice.
    """
    from socsim.sweeps.slices import Slice

    whole, fixed = Slice(result, {}), dict[str, Any]()
    if not whole.mask.any():
        raise SocsimError(f"{result.folder}: there is no point that did not fail")
    for text in at:
        name, sign, value = text.partition("=")
        if not sign:
            raise SocsimError(f"--at '{text}': should be AXIS=VALUE, such as {result.axes[0]}={text_of(whole, result.axes[0], 0)}")
        axis = resolve(result, "--at", name.strip(), result.axes)
        if axis in fixed:
            raise SocsimError(f"--at '{text}': axis '{axis}' is fixed already, at {axis_text(fixed[axis])}")
        fixed[axis] = _level(whole, axis, value.strip(), text)
    points = Slice(result, fixed)
    if not points.mask.any():
        raise SocsimError(f"{result.folder}: there is no point at {', '.join(at)} that did not fail")
    return points


def resolve(result: SweepResult, option: str, name: str, allowed: Sequence[str]) -> str:
    """Return the column that a name means: the whole of it, or its last parts if no other column has these.

    Raises
    ------
    SocsimError
        There is none, or several.
    """
    found = [column for column in allowed if column == name] or [column for column in allowed if column.endswith(f".{name}")]
    if not found:
        _check_kind(result, option, name, allowed)
        hint = did_you_mean(name, {*allowed, *(column.rpartition(".")[2] for column in allowed)})
        raise SocsimError(f"unknown {option} of {result.folder}: '{name}'{hint}; allowed: {', '.join(allowed) or 'none'}")
    if len(found) > 1:
        raise SocsimError(f"{option} '{name}': is the end of {' and '.join(found)}; name the whole column")
    return found[0]


def _check_kind(result: SweepResult, option: str, name: str, allowed: Sequence[str]) -> None:
    """Tell a column that is there, but not of the kind that an option takes, from one that is not.

    Raises
    ------
    SocsimError
        It is such a column.
    """
    column = next((each for each in (*result.axes, *result.metrics) if each == name or each.endswith(f".{name}")), None)
    if column is None:
        return
    listed, is_axis = ", ".join(allowed) or "none", column in result.axes
    if not is_axis and set(allowed) <= set(result.axes):
        raise SocsimError(f"{option} '{name}': is a metric; {option} needs an axis: {listed}")
    if column not in result.numbers and result.values([column])[column].dtype.kind not in "if":
        raise SocsimError(f"{option} '{name}': is text; {option} needs numbers: {listed}")
    if is_axis and set(allowed) <= set(result.metrics):
        raise SocsimError(f"{option} '{name}': is an axis; {option} needs a metric: {listed}")


def check_choices(best: Best, options: str) -> None:
    """Check that what is best is not looked for among different work, of which the least would be best.

    Raises
    ------
    SocsimError
        An axis that is neither drawn nor fixed says what is run.
    """
    points = best.points
    for axis in best.others:
        if points.is_workload(axis):
            raise SocsimError(
                f"axis '{axis}': says what is run, so that none of its values is best; "
                f"choose one with --at {axis}=VALUE, or draw it with {options}; values: {_listed(points, axis)}"
            )


def axis_of(points: Slice, option: str, name: str | None, taken: Sequence[str]) -> str:
    """Return the axis that a name means, or the first of several values that is not taken.

    Raises
    ------
    SocsimError
        There is none.
    """
    if name is not None:
        return resolve(points.result, option, name, points.result.axes)
    free = [axis for axis in points.varying if axis not in taken]
    if not free:
        found = f"no other axis than {', '.join(points.varying)}" if points.varying else "no axis"
        allowed = ", ".join(points.result.axes)
        raise SocsimError(f"{option}: {points.result.folder} has {found} with several values at these points; allowed: {allowed}")
    return free[0]


def metric_of(points: Slice, option: str, name: str | None) -> str:
    """Return the metric that a name means, or the usual one; it has values at some points.

    Raises
    ------
    SocsimError
        There is none.
    """
    result, usual = points.result, favorites(points)
    if name is None and not usual:
        raise SocsimError(f"{result.folder}: no metric has numbers; it has {', '.join(result.metrics)}")
    metric = usual[0] if name is None else resolve(result, option, name, result.numbers)
    points.known([metric])
    return metric


def favorites(points: Slice) -> list[str]:
    """Return the metrics to show where none was named: the usual ones, or the first ones, that have values."""
    known = [name for name in points.result.numbers if points.has_values(name)]
    return [name for name in FAVORITES if name in known] or known[:2]


def _level(points: Slice, axis: str, value: str, text: str) -> Any:
    """Return the value of an axis that a text means: as tables print it, or as TOML and ``--set`` write it."""
    listed, found = points.levels(axis), list[Any]()
    numbers = points.values(axis).dtype.kind in "if"
    if numbers:
        try:
            meant = float(value.replace(",", ""))
            found = sorted((each for each in listed if abs(meant - each) <= SAME * abs(each)), key=lambda each: abs(meant - each))
        except ValueError:
            pass  # is no number, so that it is no value
    else:
        written = {each: None if each is None else parse_value(axis_text(each)) for each in listed}
        found = [each for each in listed if value == axis_text(each)]
        found += [each for each in listed if repr(written[each]) == repr(parse_value(value))]  # True is 1, but is not written so
    if not found:
        raise SocsimError(f"--at '{text}': axis '{axis}' has no value '{value}'; allowed: {_listed(points, axis)}")
    return found[0]


def _listed(points: Slice, axis: str) -> str:
    """Return the values of an axis as ``--at`` takes them, some of many."""
    listed, numbers = points.levels(axis), points.values(axis).dtype.kind in "if"
    return values_text(listed) if len(listed) > LISTED else ", ".join(axis_text(each, plain=numbers) for each in listed)
