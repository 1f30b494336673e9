"""Plots of points: what is drawn where, which are hollow, and that labels are legible."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from socsim.errors import SocsimError
from socsim.palette import SERIES
from socsim.plots import save
from socsim.plots.points import points

FIRST, SECOND, BLACK = SERIES[0].color, SERIES[1].color, "#000000"


def row(x: float, y: float | None, series: str = "a", panel: str = "p", label: str | None = None) -> dict[str, Any]:
    return {"x": x, "y": y, "series": series, "panel": panel, "label": label}


def draw(rows: list[dict[str, Any]], **options: Any) -> Figure:
    return points(rows, **({"x": "x", "y": "y", "series": "series", "x_label": "time (s)", "y_label": "loss (%)"} | options))


def drawn(ax: Any) -> list[tuple[str, bool, str, list[float], list[float]]]:
    """Return color, whether it is hollow, line style and points of each series that has some."""
    return [
        (to_hex(line.get_color()).upper(), line.get_markerfacecolor() == "none", line.get_linestyle(), *map(list, line.get_data()))
        for line in ax.lines
        if len(line.get_xdata())
    ]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_series_are_joined_in_their_order_and_published_points_are_not() -> None:
    figure = draw([row(3, 1), row(1, 2), row(2, 5, "b")], published=[row(1, 4, "other"), row(2, 6, "other")])
    assert drawn(figure.axes[0]) == [
        (FIRST, False, "-", [3, 1], [1, 2]),
        (SECOND, False, "-", [2], [5]),
        (BLACK, True, "None", [1, 2], [4, 6]),
    ]
    assert legend(figure) == ["a", "b", "other, published"]


def test_what_is_in_both_has_one_look_and_an_entry_for_hollow_points() -> None:
    figure = draw([row(1, 2)], published=[row(1, 3)])
    assert [(color, hollow) for color, hollow, *_ in drawn(figure.axes[0])] == [(FIRST, False), (FIRST, True)]
    assert legend(figure) == ["a", "published"]
    handles: Any = figure.legends[0].legend_handles
    assert [handle.get_marker() for handle in handles] == [SERIES[0].marker] * 2


def test_several_published_series_keep_their_colors() -> None:
    figure = draw([row(1, 2)], published=[row(1, 3, "b"), row(1, 4, "c")])
    assert [color for color, *_ in drawn(figure.axes[0])] == [FIRST, SECOND, SERIES[2].color]


def test_panels_have_their_own_points_and_axes_may_be_shared() -> None:
    rows = [row(1, 2), row(2, 4), row(1, 40, panel="q")]
    own, shared = draw(rows, panel="panel"), draw(rows, panel="panel", share_y=True)
    assert [ax.get_title(loc="left") for ax in own.axes] == ["p", "q"]
    assert [[points[3] for points in drawn(ax)] for ax in own.axes] == [[[1, 2]], [[1]]]
    assert own.axes[0].get_ylim()[1] < 5 < own.axes[1].get_ylim()[1]
    assert shared.axes[0].get_ylim() == shared.axes[1].get_ylim() == own.axes[1].get_ylim()
    assert [ax.get_ylabel() for ax in own.axes] == ["loss (%)", ""]


def test_what_an_axis_cannot_show_is_left_out() -> None:
    rows = [row(0, 3), row(1, 0), row(2, None), row(4, 5)]
    assert drawn(draw(rows).axes[0])[0][3] == [0, 1, 4]
    assert drawn(draw(rows, log_y=True).axes[0])[0][3] == [0, 4]
    assert drawn(draw(rows, log_x=True, log_y=True).axes[0])[0][3] == [4]
    with pytest.raises(SocsimError, match="points: there are no rows with 'y' to draw"):
        draw([row(1, None)])


def test_losses_below_zero_are_inside() -> None:
    low, high = draw([row(1, -2), row(2, 8)]).axes[0].get_ylim()
    assert low < -2 < 8 < high


def test_a_line_marks_a_place() -> None:
    ax: Any = draw([row(1, 2), row(5, 4)], mark_x=3.0).axes[0]
    (marked,) = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert list(marked.get_xdata()) == [3.0, 3.0]


@pytest.mark.parametrize("columns", [1, 2])
def test_labels_are_apart_from_each_other_and_from_points(columns: int) -> None:
    rows = [row(1 + place / 40, 5 - place / 50, label=f"label {place}") for place in range(6)] + [row(3, 1, label="far away"), row(3.2, 1)]
    figure = draw(rows, label="label", log_x=True, log_y=True, columns=columns)
    ax: Any = figure.axes[0]
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert {text.get_text() for text in ax.texts} >= {"label 0", "far away"}
    assert len(boxes) < 7  # there is no room for all
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    spots = ax.transData.transform([(each["x"], each["y"]) for each in rows])
    assert not any(box.contains(*spot) for box in boxes for spot in spots)
    assert all(ax.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and ax.bbox.y0 < box.y0 for box in boxes)


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    for number in range(2):
        save(draw([row(1, 2, label="one"), row(5, 4)], label="label", published=[row(2, 3)]), tmp_path / f"{number}.svg")
    assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()
