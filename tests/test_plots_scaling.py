"""Curves over a factor: what is drawn where, and with which marker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from socsim.errors import SocsimError
from socsim.palette import Look
from socsim.plots.scaling import LINES, marked_lines, positions

MARKS = {"slow": Look("#0072B2", "s"), "fast": Look("#D55E00", "o"), "never": Look("#009E73", "^")}


def rows() -> list[dict[str, Any]]:
    return [
        {"factor": factor, "speed": 10.0 * factor + offset, "decode": 2.0, "model": model, "prompt": prompt, "bound": bound}
        for model, offset in (("a", 1.0), ("b", 5.0))
        for prompt in ("short", "long")
        for factor, bound in ((4.0, "fast"), (0.0, "slow"), (1.0, "slow"))
    ]


def draw(some: list[dict[str, Any]], **options: Any) -> Figure:
    y = {"speed": "speed (tokens/s)", "decode": "decode (tokens/s)"}
    return marked_lines(some, x="factor", y=y, series="model", panel="prompt", mark="bound", marks=MARKS, x_label="factor", **options)


def points(ax: Axes) -> list[tuple[float, float, str, str]]:
    """Return place, marker and color of all points of a panel."""
    drawn = [line for line in ax.lines if line.get_marker() != "None"]
    places = [line.get_xydata()[0].tolist() for line in drawn]  # type: ignore[index, union-attr]
    return [(x, y, str(line.get_marker()), to_hex(line.get_color())) for line, (x, y) in zip(drawn, places, strict=True)]


def test_zero_is_one_step_left_of_the_least_other_factor() -> None:
    assert positions([4.0, 0.0, 0.5, 1.0]) == {0.0: -2.0, 0.5: -1.0, 1.0: 0.0, 4.0: 2.0}
    assert positions([1.0, 2.0]) == {1.0: 0.0, 2.0: 1.0}


def test_each_point_has_the_marker_of_what_bounds_it() -> None:
    axes = draw(rows()).axes
    assert len(axes) == 4
    expected = {(-1.0, 1.0, "s"), (0.0, 11.0, "s"), (2.0, 41.0, "o"), (-1.0, 5.0, "s"), (0.0, 15.0, "s"), (2.0, 45.0, "o")}
    assert {point[:3] for point in points(axes[0])} == expected
    assert {point[3] for point in points(axes[0]) if point[2] == "o"} == {MARKS["fast"].color.lower()}


def test_points_of_other_quantities_are_black_dots() -> None:
    axes = draw(rows(), unmarked=("decode",)).axes
    assert {point[2:] for point in points(axes[2])} == {("o", "#000000")}


def test_lines_join_points_by_rising_factor() -> None:
    ax = draw(rows()).axes[0]
    curves = [line for line in ax.lines if line.get_marker() == "None" and np.size(line.get_xdata()) == 3]
    assert [np.asarray(line.get_xdata()).tolist() for line in curves] == [[-1.0, 0.0, 2.0]] * 2
    assert [line.is_dashed() for line in curves] == [False, True]


def test_panels_of_a_quantity_share_their_axis_and_factors_are_labeled() -> None:
    some = rows()
    some[0]["speed"] = 100.0
    axes = draw([*some, *({**row, "factor": 1.5} for row in some[:1])]).axes
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[0].get_ylim() == pytest.approx((0.0, 110.0))
    assert [label.get_text() for label in axes[2].get_xticklabels()] == ["0", "1", "", "4"]
    assert [ax.get_title(loc="left") or ax.get_title() for ax in axes] == ["short", "long", "", ""]
    assert [ax.get_xlabel() for ax in axes] == ["", "", "factor", "factor"]


def test_legend_names_lines_and_the_bounds_that_occur() -> None:
    figure = draw(rows())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "bound by slow", "bound by fast"]


def test_nothing_to_draw_and_too_many_lines_are_errors() -> None:
    with pytest.raises(SocsimError, match="there are 0 rows"):
        draw([])
    many = [{**rows()[0], "model": str(number)} for number in range(len(LINES) + 1)]
    with pytest.raises(SocsimError, match=f"{len(LINES) + 1} lines; allowed: 1 to {len(LINES)}"):
        draw(many)
    with pytest.raises(SocsimError, match="columns is 3"):
        draw(rows(), columns=3)
