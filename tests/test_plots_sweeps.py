"""Figures of sweeps: what is drawn where, in which color, and that text is legible and does not overlap."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from socsim.bounding import NOTHING, RESOURCES
from socsim.errors import SocsimError
from socsim.palette import BOTTLENECKS, SERIES
from socsim.plots import WIDTH_IN, Column, category_map, curves, heat_map, parallel, pareto, save, shares, tornado
from socsim.plots.columns import VIRIDIS, category_looks, short, wide
from socsim.plots.heatmap import HATCHES, cells_of, luminance
from socsim.plots.pareto import FRONT, GREY
from socsim.plots.tornado import Bar, Share

NAMES = tuple(BOTTLENECKS)


def column(label: str, values: Any, **options: Any) -> Column:
    array = np.array(values, dtype=object) if isinstance(values[0], str) else np.array(values)
    return Column(label, array, **options)


def grid(xs: list[Any], ys: list[Any]) -> tuple[Column, Column]:
    """Return the columns of all combinations."""
    return column("NPU", [x for x in xs for _ in ys], log=True), column("DRAM (GB/s)", [y for _ in xs for y in ys])


X, Y = grid([0.5, 1.0, 2.0, 4.0], [10.0, 20.0, 40.0])
TIME = column("time to first token (ms)", np.linspace(20.0, 90.0, 12))
BOUND = column("bottleneck", [NAMES[place % 3] for place in range(12)])
POINTS = column("time (ms)", [1.0, 2.0, 3.0, 2.5, 4.0]), column("energy (J)", [5.0, 3.0, 1.0, 4.0, 4.0])
ON_FRONT = np.array([True, True, True, False, False])
MANY = np.random.default_rng(0).random((6, 3000))
SWINGS = [
    Bar("chunk", 40.0, "256", 90.0, "64"),
    Bar("SoC", 55.0, "snapdragon-8-gen-3", 62.0, "toy-phone"),
    Bar("NPU", 30.0, "4", 95.0, "0.25"),
]
INDICES = [Share("NPU launch overhead", 0.1, 0.15, 0.5, 0.3), Share("chunk", 0.5, 0.2, 0.6, 0.2)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def panels(figure: Figure) -> list[Any]:
    return list(figure.axes)


def ticks(axis: Any) -> list[str]:
    axis.axes.figure.draw_without_rendering()
    return [text.get_text() for text in axis.get_ticklabels() if text.get_text()]


def test_bottlenecks_have_one_look_everywhere() -> None:
    assert set(BOTTLENECKS) == {*(resource.name for resource in RESOURCES.values()), NOTHING}
    assert len({look.color for look in BOTTLENECKS.values()}) == len({look.marker for look in BOTTLENECKS.values()}) == 7
    assert category_looks(column("b", ["DRAM", "NPU"])) == {"NPU": SERIES[0], "DRAM": BOTTLENECKS["DRAM"]}
    assert len(set(HATCHES)) == len(HATCHES) == len(SERIES)


def test_categories_keep_their_looks_where_some_are_missing() -> None:
    looks = category_looks(column("scheduler", ["c", "a"], order=("a", "b", "c")))
    assert looks == {"a": SERIES[0], "c": SERIES[2]}
    assert list(category_looks(column("chunk", [256, 64]))) == ["64", "256"]
    with pytest.raises(SocsimError, match="'x' has 10 values; at most 9"):
        category_looks(column("x", list(range(10))))


def test_a_heat_map_has_the_color_of_each_value_in_its_cell() -> None:
    ax, bar = panels(heat_map(X, Y, TIME))
    mesh = ax.collections[0]
    assert mesh.get_array().tolist() == np.reshape(TIME.values, (4, 3)).T.tolist()
    assert mesh.get_cmap().name == "viridis"
    assert (ax.get_xlabel(), ax.get_ylabel(), bar.get_ylabel()) == ("NPU", "DRAM (GB/s)", "time to first token (ms)")
    assert (ticks(ax.xaxis), ticks(ax.yaxis)) == (["0.5", "1", "2", "4"], ["10", "20", "40"])
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written[0, 0] == "20"
    assert written[3, 2] == "90"
    assert len(written) == 12
    for text in ax.texts:
        face = VIRIDIS((float(text.get_text()) - 20.0) / 70.0)
        assert abs(luminance(face[:3]) - luminance(to_rgba(text.get_color())[:3])) > 0.4


def test_cells_without_a_point_are_hatched() -> None:
    figure = heat_map(*(Column(each.label, each.values[:-2], each.log) for each in (X, Y, TIME)))
    mesh, hatched = panels(figure)[0].collections
    assert np.ma.getmaskarray(mesh.get_array()).sum() == 2
    assert hatched.get_hatch()
    assert [path.get_extents().bounds for path in hatched.get_paths()] == [(2.5, 0.5, 1, 1), (2.5, 1.5, 1, 1)]
    assert legend(figure) == ["no point"]
    assert not heat_map(X, Y, TIME).legends


def test_many_values_are_a_scale_that_is_logarithmic_where_they_are() -> None:
    x, y = grid(np.geomspace(0.5, 8.0, 20).tolist(), np.linspace(10.0, 48.0, 20).tolist())
    ax = panels(heat_map(x, y, column("t", np.linspace(1.0, 1000.0, 400), log=True)))[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert ax.get_xlim() == pytest.approx((0.5 / 16 ** (0.5 / 19), 8.0 * 16 ** (0.5 / 19)))
    assert ax.get_ylim() == pytest.approx((9.0, 49.0))
    assert not ax.texts
    assert {"1", "2", "5"} <= set(ticks(ax.xaxis))


def test_groups_lie_between_their_edges() -> None:
    cells = cells_of(column("x", [1.5, 3.0, 4.0], edges=np.array([1.0, 2.0, 4.0])))
    assert (cells.place.tolist(), cells.names) == ([0, 1, 1], None)
    named = cells_of(column("x", ["b", "a"], order=("a", "unused", "b")))
    assert (named.place.tolist(), named.names) == ([1, 0], ["a", "b"])


def test_a_category_map_has_color_and_hatch_of_each_name() -> None:
    figure = category_map(X, Y, BOUND)
    (ax,) = panels(figure)
    drawn = {to_hex(each.get_facecolor()[0]).upper(): each for each in ax.collections}
    for place, name in enumerate(NAMES[:3]):
        cells: Any = drawn[BOTTLENECKS[name].color]
        assert (cells.get_hatch() or "") == HATCHES[place]
        assert {path.get_extents().bounds[:2] for path in cells.get_paths()} == {
            (x - 0.5, y - 0.5) for x in range(4) for y in range(3) if BOUND.values[3 * x + y] == name
        }
    assert legend(figure) == list(NAMES[:3])
    assert figure.legends[0].get_title().get_text() == "bottleneck"


def test_categories_may_be_numbers() -> None:
    assert legend(category_map(X, Y, column("chunk", [64, 256, 128] * 4))) == ["64", "128", "256"]
    assert legend(category_map(X, Y, Column("shared", np.array([True, False] * 6)))) == ["false", "true"]


@pytest.mark.parametrize("step", ["post", "pre"])
def test_a_front_is_joined_by_steps_and_stands_out(step: str) -> None:
    figure = pareto(*POINTS, ON_FRONT, step=step)
    (ax,) = panels(figure)
    line: Any = ax.lines[0]
    assert line.get_drawstyle() == f"steps-{step}"
    assert line.get_xydata().tolist() == [[1.0, 5.0], [2.0, 3.0], [3.0, 1.0]]
    others, best = ax.collections
    assert others.get_offsets().tolist() == [[2.5, 4.0], [4.0, 4.0]]
    assert best.get_offsets().tolist() == [[1.0, 5.0], [2.0, 3.0], [3.0, 1.0]]
    assert (to_hex(others.get_facecolor()[0]), to_hex(best.get_facecolor()[0])) == (GREY.lower(), FRONT.lower())
    assert best.get_sizes()[0] > 3 * others.get_sizes()[0]
    assert others.get_alpha() <= 0.5
    assert legend(figure) == ["front: 3 points", "2 others"]


def test_a_third_objective_is_the_color_and_its_front_is_not_joined() -> None:
    figure = pareto(*POINTS, ON_FRONT, color=column("memory (GB)", [1.0, 2.0, 3.0, 4.0, 5.0]))
    ax, bar = panels(figure)
    assert not ax.lines
    assert bar.get_ylabel() == "memory (GB)"
    grey = [luminance(face[:3]) for part in (1, 0) for face in ax.collections[part].get_facecolor()]
    assert grey == sorted(grey)
    assert grey[-1] < 0.85  # visible on white


def test_names_have_color_and_marker() -> None:
    figure = pareto(*POINTS, ON_FRONT, color=column("bottleneck", ["NPU", "DRAM", "NPU", "NPU", "DRAM"]))
    assert legend(figure) == ["front: 3 points", "2 others", "NPU", "DRAM"]
    faces = {to_hex(face).upper() for part in panels(figure)[0].collections for face in part.get_facecolor()}
    assert faces == {BOTTLENECKS["NPU"].color, BOTTLENECKS["DRAM"].color}
    assert [part.get_offsets().tolist() for part in panels(figure)[0].collections][2:] == [[[1.0, 5.0], [3.0, 1.0]], [[2.0, 3.0]]]


def test_the_line_of_a_front_is_no_color_of_a_category_and_joins_several_points() -> None:
    bound = column("bottleneck", ["NPU", "DRAM", "NPU", "NPU", "DRAM"])
    for color, expected in ((bound, "black"), (None, FRONT)):
        figure = pareto(*POINTS, ON_FRONT, color=color, step="post")
        assert [line.get_color() for line in panels(figure)[0].lines] == [expected]
        assert figure.legends[0].legend_handles[0].get_color() == expected  # type: ignore[union-attr]
    others: Any = pareto(*POINTS, ON_FRONT, color=bound).legends[0].legend_handles[1]
    assert (others.get_markerfacecolor(), others.get_markeredgecolor()) == ("white", "black")
    alone: Any = pareto(*POINTS, np.arange(5) == 2, color=bound, step="post")
    assert not alone.axes[0].lines
    assert legend(alone)[0] == "front: 1 point"
    assert alone.legends[0].legend_handles[0].get_linestyle() == "None"
    twice: Any = pareto(column("x", [1.0, 1.0]), column("y", [2.0, 2.0]), np.array([True, True]), step="post")
    assert not twice.axes[0].lines


def test_parallel_lines_run_through_their_values_best_on_top() -> None:
    shown = [column("a", [1.0, 10.0, 100.0], log=True), column("b", ["x", "z", "y"], order=("x", "y", "z")), column("c", [0, 5, 10])]
    figure = parallel(shown, column("time (s)", [3.0, 1.0, 2.0]))
    ax: Any = figure.axes[0]
    drawn = [segment[:, 1].tolist() for part in ax.collections for segment in part.get_segments()]
    assert drawn == [[0.0, 0.0, 0.0], [1.0, 0.5, 1.0], [0.5, 1.0, 0.5]]  # the longest time first
    assert [text.get_text() for text in ax.texts] == ["1", "10", "100", "x", "y", "z", "0", "5", "10"]
    best = to_rgba(ax.collections[-1].get_edgecolor()[-1])
    assert luminance(best[:3]) < 0.2
    reverse: Any = parallel(shown, column("speed", [3.0, 1.0, 2.0]), larger_is_better=True).axes[0]
    assert reverse.collections[-1].get_segments()[-1][:, 1].tolist() == [0.0, 0.0, 0.0]
    assert luminance(to_rgba(reverse.collections[-1].get_edgecolor()[-1])[:3]) < 0.2


@pytest.mark.parametrize("count", [2, 10])
def test_numbers_stand_beside_their_axis_however_far_the_next_one_is(count: int) -> None:
    figure = parallel([column("a", [0.0, 5.0, 10.0])] * count, column("t", [1.0, 2.0, 3.0]))
    figure.draw_without_rendering()
    ax: Any = figure.axes[0]
    across = ax.transData.transform([(0.0, 0.0), (ax.texts[0].get_position()[0], 0.0)])[:, 0]
    assert 0.03 < np.diff(across)[0] / figure.dpi < 0.07


def test_thousands_of_lines_share_the_ink() -> None:
    ax = panels(parallel([column(name, values) for name, values in zip("abcde", MANY, strict=False)], column("t", MANY[5])))[0]
    many, best = ax.collections
    assert (len(many.get_paths()), len(best.get_paths())) == (2990, 10)
    assert many.get_alpha() < 0.1 < best.get_alpha() == 1.0
    assert many.get_rasterized()


def test_the_axis_that_matters_most_is_on_top_of_a_tornado() -> None:
    figure = tornado(SWINGS, 60.0, "time (ms)")
    ax: Any = figure.axes[0]
    assert ticks(ax.yaxis) == ["NPU", "chunk", "SoC"]
    assert [(bar.get_x(), bar.get_width()) for bar in ax.patches] == [(30.0, 65.0), (40.0, 50.0), (55.0, 7.0)]
    assert [text.get_text() for text in ax.texts] == ["4", "0.25", "256", "64", "snapdragon-8-gen-3", "toy-phone"]
    assert ax.lines[0].get_xdata() == [60.0, 60.0]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first is on top
    assert all(float(text) >= 0.0 for text in ticks(ax.xaxis))
    assert not tornado(SWINGS, None, "time (ms)").axes[0].lines  # bars of different points have no mean in common


def test_shares_have_intervals() -> None:
    figure = shares(INDICES, "time to first token")
    ax: Any = figure.axes[0]
    assert ticks(ax.yaxis) == ["chunk", "NPU launch overhead"]
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0.6, 0.1, 0.5]
    assert [segment[:, 0].round(6).tolist() for part in ax.collections for segment in part.get_segments()] == [
        [0.3, 0.7], [0.4, 0.8], [-0.05, 0.25], [0.2, 0.8],
    ]  # fmt: skip
    assert ax.get_xlim()[0] < -0.05
    assert [line.get_xdata() for line in ax.lines if len(set(line.get_xdata())) == 1 and line.get_linestyle() == "-"] == [[0.0, 0.0]]
    assert not ax.spines["left"].get_visible()  # which would stand beside that at 0
    above: Any = shares([INDICES[1]], "time").axes[0]
    assert above.spines["left"].get_visible()
    assert above.get_xlim()[0] == 0.0
    assert legend(figure) == ["alone", "in total"]


def test_curves_of_a_few_series_and_bars_for_names() -> None:
    figure = curves(X, TIME, Y)
    assert [line.get_ydata().tolist() for line in panels(figure)[0].lines if len(line.get_xdata())] == [
        TIME.values[place::3].tolist() for place in range(3)
    ]
    assert figure.axes[0].get_xscale() == "log"
    assert figure.legends[0].get_title().get_text() == "DRAM (GB/s)"
    alone = curves(column("NPU", [1.0, 2.0]), column("t", [4.0, 3.0]))
    assert not alone.legends
    assert alone.axes[0].get_xscale() == "linear"
    names = curves(column("engine", ["b", "a"], order=("a", "b")), column("t", [4.0, 3.0]))
    assert ticks(panels(names)[0].xaxis) == ["a", "b"]
    assert [bar.get_height() for bar in panels(names)[0].patches] == [3.0, 4.0]


def draw(kind: str, columns: int) -> Figure:
    long = "NPU bandwidth for weights that come from storage (GB/s)"
    text = column(long, [name for name in ("snapdragon-8-gen-3", "toy-phone", "snapdragon-8-elite", "mine") for _ in range(3)])
    match kind:
        case "heat":
            return heat_map(X, Column(long, Y.values), Column(long, TIME.values), columns=columns)
        case "names":
            return heat_map(text, Y, TIME, columns=columns)
        case "category":
            return category_map(X, text, column("bottleneck", [*NAMES, *NAMES[:5]]), columns=columns)
        case "pareto":
            return pareto(*POINTS, ON_FRONT, color=column("bottleneck", list(NAMES[:5])), columns=columns)
        case "colored":
            return pareto(
                Column(long, POINTS[0].values),
                Column(long, POINTS[1].values),
                ON_FRONT,
                color=column(long, [1.0, 2, 3, 4, 50], log=True),
                columns=columns,
            )
        case "parallel":
            return parallel(
                [Column(name * 8, values) for name, values in zip(("ab ", "cd ", "ef ", "gh "), MANY[:, :200], strict=False)],
                Column(long, MANY[5, :200]),
                columns=columns,
            )
        case "tornado":
            return tornado(
                [bar._replace(name=f"{bar.name} of the first processor there is") for bar in SWINGS], 60.0, long, columns=columns
            )
        case "shares":
            return shares(INDICES, long, columns=columns)
    return curves(X, Column(long, TIME.values), column(long, ["some name"] * 6 + ["other name"] * 6), columns=columns)


def shown(axis: Any, limits: tuple[float, float], way: int) -> list[Any]:
    """Return what is written at an axis, without what lies beyond its ends."""
    low, high = min(limits) - 1e-9, max(limits) + 1e-9
    return [text for text in axis.get_ticklabels() if text.get_text() and low <= text.get_position()[way] <= high]


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("kind", ["heat", "names", "category", "pareto", "colored", "parallel", "tornado", "shares", "curves"])
def test_text_is_legible_and_apart(kind: str, columns: int) -> None:
    figure = draw(kind, columns)
    assert figure.get_size_inches()[0] == WIDTH_IN[columns]
    figure.draw_without_rendering()
    axes = list[Any](figure.axes)
    for ax in axes:
        own = [text for text in ax.texts if text.get_text()]
        across, up = shown(ax.xaxis, ax.get_xlim(), 0), shown(ax.yaxis, ax.get_ylim(), 1)
        texts = [*own, *across, *up, ax.xaxis.label, ax.yaxis.label]
        boxes = [text.get_window_extent() for text in texts if text.get_text() and not 0 < text.get_rotation() < 90]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(text.get_size() >= 6.5 for text in texts)
        every = [text.get_window_extent() for text in texts if text.get_text()]
        assert all(-1 <= box.x0 <= box.x1 <= figure.bbox.x1 + 1 and -1 <= box.y0 <= box.y1 <= figure.bbox.y1 + 1 for box in every)
    for key in figure.legends:
        box = key.get_window_extent()
        assert -1 <= box.x0 <= box.x1 <= figure.bbox.x1 + 1
        assert not any(ax.get_tightbbox().overlaps(box) for ax in axes)


@pytest.mark.parametrize("kind", ["heat", "category", "colored", "parallel", "tornado"])
def test_files_are_the_same_each_time(kind: str, tmp_path: Path) -> None:
    for number in range(2):
        save(draw(kind, 2), tmp_path / f"{number}.svg")
    assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()


def test_problems() -> None:
    nothing = Column("x", np.array([]))
    with pytest.raises(SocsimError, match="heat_map: there are no points to draw"):
        heat_map(nothing, nothing, nothing)
    with pytest.raises(SocsimError, match="category_map: columns is 3; allowed: 1, 2"):
        category_map(X, Y, BOUND, columns=3)
    with pytest.raises(SocsimError, match="pareto: there are no points"):
        pareto(nothing, nothing, np.array([], dtype=np.bool_))
    with pytest.raises(SocsimError, match="parallel: there are 6 columns and 12 points; allowed: 2 to 5 columns"):
        parallel([X] * 6, TIME, columns=1)
    with pytest.raises(SocsimError, match="tornado: there are no axes"):
        tornado([], 1.0, "t")


def test_small_helpers() -> None:
    assert [short(value) for value in (0.70710678, 12, 999.9, 1024, 1e-5, 31.4159)] == ["0.707", "12", "1,000", "1,024", "1e-05", "31.4"]
    assert [wide(np.array(values)) for values in ([1.0, 11.0], [1.0, 9.0], [0.0, 99.0], [-1.0, 99.0])] == [True, False, False, False]
