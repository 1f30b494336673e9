"""The kinds of figures of a sweep: each picks columns, draws them, and prints what the figure shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from socsim.cli.console import one_line
from socsim.cli.labels import axis_column, column_of, ends_text, name_of, place_text, scaled, short_name, text_of, unit_of
from socsim.cli.plot_options import axis_of, check_choices, favorites, metric_of, resolve
from socsim.cli.sweep import metric_text
from socsim.cli.tables import make_table
from socsim.errors import SocsimError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console

    from socsim.sweeps.slices import Best, Slice

LINES = 20_000
"""Points that parallel coordinates show; of more, some that lie evenly from the best to the worst."""
FRONT_ROWS, BEST_ROWS = 12, 5
"""Points that are printed: of a front, and of the best."""
SERIES = 9
"""Values of an axis up to which each has a line of its own unless told otherwise."""


@dataclass(frozen=True)
class Request:
    """What was asked for; None: the usual."""

    x: str | None
    y: str | None
    color: str | None
    objectives: tuple[str, ...]
    columns: int


def draw_line(points: Slice, request: Request, console: Console) -> Any:
    """Draw a metric over an axis."""
    from socsim.plots import curves
    from socsim.sweeps.slices import Best

    x = axis_of(points, "--x", request.x, ())
    y = metric_of(points, "--y", request.y)
    series = None if request.color is None else resolve(points.result, "--color", request.color, points.result.axes)
    if request.color is None:
        free = sorted((axis for axis in points.varying if axis not in points.companions(x)), key=lambda axis: not points.is_workload(axis))
        series = next((axis for axis in free if len(points.levels(axis)) <= SERIES), None)
    if series == x:
        raise SocsimError(f"--color '{x}': is the horizontal axis already")
    drawn = [x] if series is None else [x, series]
    best = Best(points, drawn, y)
    check_choices(best, "--x or --color")
    order = [y] if series is None else [series, y]
    table = make_table([*order[:-1], f"best {y}", "at"], 0)
    for row in best.by([series] if series else []):
        table.add_row(
            *(text_of(points, name, row) for name in order), place_text(points, row, [axis for axis in points.varying if axis != series])
        )
    console.print(table)
    _tell(best, console)
    return curves(
        axis_column(best, x), column_of(points, y, best.rows), axis_column(best, series) if series else None, columns=request.columns
    )


def draw_heatmap(points: Slice, request: Request, console: Console) -> Any:
    """Draw a metric, or a name, over two axes."""
    from socsim.plots import category_map, heat_map
    from socsim.sweeps.slices import Best

    given_y = None if request.y is None else resolve(points.result, "--y", request.y, points.result.axes)
    color = resolve(points.result, "--color", request.color, (*points.result.metrics, *points.result.axes)) if request.color else None
    x = axis_of(points, "--x", request.x, [name for name in (given_y, color) if name])
    y = given_y or axis_of(points, "--y", None, [*points.companions(x), *([color] if color else [])])
    color = color or metric_of(points, "--color", None)
    if x == y or color in (x, y):
        raise SocsimError(f"--x '{x}', --y '{y}', --color '{color}': should be three different columns")
    best = Best(points, [x, y], color if color in points.result.numbers else metric_of(points, "--color", None))
    check_choices(best, "--x or --y")
    row = int(best.by([])[0])
    shown = list(dict.fromkeys([best.metric, color]))
    table = make_table(["best cell", *shown], 0)
    table.add_row(place_text(points, row, points.varying), *(text_of(points, name, row) for name in shown))
    console.print(table)
    _tell(best, console)
    draw = heat_map if color in points.result.numbers or len(points.levels(color)) > SERIES else category_map
    shown_color = column_of(points, color, best.rows)
    if draw is heat_map and shown_color.is_text:
        raise SocsimError(f"--color '{color}': has {len(points.levels(color))} names; allowed: at most {SERIES}")
    return draw(axis_column(best, x), axis_column(best, y), shown_color, columns=request.columns)


def draw_pareto(points: Slice, request: Request, console: Console) -> Any:
    """Draw all points by two objectives, and the front of all objectives."""
    import numpy as np

    from socsim.plots import pareto
    from socsim.sweeps.analysis import pareto_front, to_minimize
    from socsim.sweeps.metrics import LARGER_IS_BETTER

    objectives = _objectives(points, request)
    rows = points.known(objectives)
    front = pareto_front(np.stack([to_minimize(name, points.values(name)[rows].astype(np.float64)) for name in objectives], axis=1))
    x, y = _drawn(points, request, objectives)
    third = next((name for name in objectives if name not in (x, y)), None)
    color = resolve(points.result, "--color", request.color, (*points.result.axes, *points.result.metrics)) if request.color else third
    if color is not None:
        colored = points.known([color], rows)
        rows, front = rows[colored], front[colored]
    _print_front(points, objectives, rows[front], console)
    ways = ", ".join(f"{'more' if name in LARGER_IS_BETTER else 'less'} {name}" for name in objectives)
    console.print(f"{front.sum():,} of {len(rows):,} points are on the front; better: {ways}", soft_wrap=True)
    step = None if len(objectives) > 2 else "pre" if x in LARGER_IS_BETTER else "post"
    shown_color = column_of(points, color, rows) if color else None
    return pareto(column_of(points, x, rows), column_of(points, y, rows), front, color=shown_color, step=step, columns=request.columns)


def draw_parallel(points: Slice, request: Request, console: Console) -> Any:
    """Draw a line for each point through its axes and metrics."""
    import numpy as np

    from socsim.plots import parallel
    from socsim.sweeps.analysis import to_minimize
    from socsim.sweeps.metrics import LARGER_IS_BETTER

    every = (*points.result.axes, *points.result.metrics)
    named = [resolve(points.result, "--objective", name, every) for name in request.objectives]
    shown = list(dict.fromkeys(named or [*points.varying, *favorites(points)]))
    color = metric_of(points, "--color", request.color)
    rows = points.known([*shown, color])
    order = rows[to_minimize(color, points.values(color)[rows]).argsort(kind="stable")]
    table = make_table([color, "at"], 0)
    for row in order[:BEST_ROWS].tolist():
        table.add_row(text_of(points, color, row), place_text(points, row, [axis for axis in points.varying if axis != color]))
    console.print(table)
    rows = order if len(order) <= LINES else order[np.linspace(0, len(order) - 1, LINES).round().astype(int)]
    console.print(f"{len(rows):,} of {len(order):,} points; dark and on top: {'most' if color in LARGER_IS_BETTER else 'least'} {color}")
    columns = [column_of(points, name, rows) for name in shown]
    return parallel(columns, column_of(points, color, rows), larger_is_better=color in LARGER_IS_BETTER, columns=request.columns)


def draw_tornado(points: Slice, request: Request, console: Console) -> Any:
    """Draw how much each axis matters for a metric."""
    import numpy as np

    from socsim.plots.tornado import Bar, tornado
    from socsim.sweeps.analysis import swings

    metric = metric_of(points, "--y", request.y)
    sample = points.result.plan.spec.sample
    if sample is not None and sample.method == "saltelli" and not points.fixed:
        try:
            return _draw_indices(points, metric, request.columns, console)
        except SocsimError as error:
            one_line("note", f"no sensitivity indices, means instead: {error}")
    values = points.values(metric).astype(np.float64)
    crossed = [axis for axis in points.varying if not points.axes[axis].sampled]
    found = swings({axis: points.values(axis) for axis in points.varying}, values, crossed)
    if not found:
        raise SocsimError(f"{points.result.folder}: no axis has several values at the same values of all others: nothing to compare")
    table = make_table(["axis", f"least mean {metric}", "at", "largest mean", "at"], 0)
    label, factor = scaled(metric, values[~np.isnan(values)], points.axes, log=False)
    bars = list[Bar]()
    for each in found:
        log, column = points.is_log(each.axis), points.values(each.axis)
        name, divisor = scaled(each.axis, column, points.axes, log=log)
        unit = unit_of(each.axis, column, points.axes, log=log)[0]
        low, high = ends_text(each.least_at, divisor), ends_text(each.largest_at, divisor)
        row = each.axis if not unit or each.axis.endswith(f"_{unit}") else f"{each.axis} ({unit})"
        table.add_row(row, metric_text(metric, each.least), low, metric_text(metric, each.largest), high)
        bars.append(Bar(name, each.least / factor, low, each.largest / factor, high))
    console.print(table)
    alike = not _tell_left_out(points, metric, {each.axis: each.points for each in found}, console)
    console.print(f"mean {metric} of all: {metric_text(metric, float(np.nanmean(values)))}")
    return tornado(bars, float(np.nanmean(values)) / factor if alike else None, label, columns=request.columns)


def _tell_left_out(points: Slice, metric: str, compared: Mapping[str, int], console: Console) -> bool:
    """Print how many points have no counterpart at other values of an axis, and why; return whether there are any."""
    total, result = len(points.known([metric])), points.result
    counts = {axis: total - compared.get(axis, 0) for axis in points.varying}
    parts = [f"{short_name(result, axis)} {count:,}" for axis, count in counts.items() if count]
    if not parts:
        return False
    done, failed = result.counts()
    reasons = [f"{failed:,} failed"] * bool(failed) + ["constraints leave some out"] * bool(result.plan.spec.constraints)
    reasons += ["some are not done yet"] * (done < result.record["points"])
    reasons += [f"some have no {metric}"] * (total < len(points.values(metric)))
    why = f" ({', '.join(reasons)})" if reasons else ""
    told = f"not compared, of {total:,} points: {', '.join(parts)}; their counterparts at other values of the axis are missing{why}"
    console.print(told, soft_wrap=True)
    return True


def _tell(best: Best, console: Console) -> None:
    """Print what a figure of the best points leaves out."""
    from socsim.sweeps.metrics import LARGER_IS_BETTER

    for axis, edges in best.edges.items():
        console.print(f"{axis} in {len(edges) - 1} groups", soft_wrap=True)
    over = best.others + [f"each group of {axis}" for axis in best.edges]
    if over:
        way = "most" if best.metric in LARGER_IS_BETTER else "least"
        console.print(f"best over {', '.join(over)}: {way} {best.metric}", soft_wrap=True)


def _print_front(points: Slice, objectives: Sequence[str], rows: NDArray[Any], console: Console) -> None:
    """Print points of a front, one of those that are equal, and of many some that lie evenly."""
    import numpy as np

    from socsim.sweeps.analysis import to_minimize

    values = np.stack([to_minimize(name, points.values(name)[rows].astype(np.float64)) for name in objectives], axis=1)
    first, alike = np.unique(values, axis=0, return_index=True, return_counts=True)[1:]
    shown = np.unique(np.linspace(0, len(first) - 1, min(len(first), FRONT_ROWS)).round().astype(int))
    others = [axis for axis in points.varying if axis not in objectives]
    table = make_table([*objectives, "at"], 0)
    for place in shown.tolist():
        row = int(rows[first[place]])
        more = f" (and {alike[place] - 1:,} alike)" if alike[place] > 1 else ""
        table.add_row(*(text_of(points, name, row) for name in objectives), place_text(points, row, others) + more)
    console.print(table)
    if len(shown) < len(first):
        console.print(f"{len(shown)} of {len(first):,} different ones; all: socsim.sweeps.pareto_front", soft_wrap=True)


def _draw_indices(points: Slice, metric: str, columns: int, console: Console) -> Any:
    """Draw which share each axis has in the variance of a metric."""
    from socsim.plots.tornado import Share, shares
    from socsim.sweeps.analysis import sensitivity

    found = sorted(sensitivity(points.result, metric), key=lambda index: -index.total)
    table = make_table(["axis", "alone", "95 %", "in total", "95 %"], 4)
    for each in found:
        numbers = (each.first, each.first_margin, each.total, each.total_margin)
        texts = [f"{'+- ' if place % 2 else ''}{number:.3f}" for place, number in enumerate(numbers)]
        table.add_row(each.axis, *texts)
    console.print(table)
    console.print(f"shares in the variance of {metric}", soft_wrap=True)
    name = name_of(metric, {})
    return shares([Share(_named(points, each.axis), *each[1:]) for each in found], name, columns=columns)


def _objectives(points: Slice, request: Request) -> list[str]:
    """Return the columns of a front: those asked for, or the usual metrics."""
    import numpy as np

    result = points.result
    numeric = [axis for axis in result.axes if np.issubdtype(points.values(axis).dtype, np.number)]
    allowed = (*result.numbers, *numeric)
    given = [("--objective", name) for name in request.objectives]
    if not given:
        given = [(option, name) for option, name in (("--x", request.x), ("--y", request.y)) if name is not None]
    named = list(dict.fromkeys(resolve(points.result, option, name, allowed) for option, name in given))
    if not request.objectives and len(named) < 2:
        named = list(dict.fromkeys([*named, *favorites(points)]))
    if len(named) < 2:
        raise SocsimError(f"--objective: a front needs two or more columns of numbers, not {', '.join(named) or 'none'}")
    return named


def _drawn(points: Slice, request: Request, objectives: Sequence[str]) -> tuple[str, str]:
    """Return the two objectives on the axes of the figure."""
    x = resolve(points.result, "--x", request.x, objectives) if request.x else None
    y = resolve(points.result, "--y", request.y, objectives) if request.y else None
    if x is not None and x == y:
        raise SocsimError(f"--x and --y: are both '{x}'")
    x = x or next(name for name in objectives if name != y)
    return x, y or next(name for name in objectives if name != x)


def _named(points: Slice, axis: str) -> str:
    """Return the name of an axis for people."""
    return name_of(axis, {each.column: each for each in points.result.plan.spec.axes})


KINDS: dict[str, tuple[Callable[[Slice, Request, Any], Any], tuple[str, ...], int]] = {
    "line": (draw_line, ("--x", "--y", "--color"), 1),
    "heatmap": (draw_heatmap, ("--x", "--y", "--color"), 1),
    "pareto": (draw_pareto, ("--x", "--y", "--color", "--objective"), 1),
    "parallel": (draw_parallel, ("--color", "--objective"), 2),
    "tornado": (draw_tornado, ("--y",), 1),
}
"""Each kind's function, the options that it takes, and its usual width."""
