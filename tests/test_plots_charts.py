"""Bars, stacked bars and lines: what is drawn where, and that text is legible and does not overlap."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from socsim.errors import SocsimError
from socsim.palette import ENGINES, SERIES, looks
from socsim.plots import WIDTH_IN, bars, lines, stacked_bars
from socsim.plots.axes import legend_columns, plain

MODELS, PROMPTS = ("qwen1.5-1.8b", "gemma-2b", "phi-2"), (64, 256, 1024)
ROWS: list[dict[str, Any]] = [
    {"model": model, "tokens": tokens, "engine": engine, "speed": 10.0 * (place + 1) * tokens**0.3, "said": 12.0 if place else None}
    for model in MODELS
    for tokens in PROMPTS
    for place, engine in enumerate(("llm-npu", "mnn-cpu", "mine"))
]
BARS: dict[str, Any] = {
    "x": "tokens",
    "y": "speed",
    "series": "engine",
    "panel": "model",
    "published": "said",
    "y_label": "speed (tokens/s)",
}
LINES = BARS | {"x_label": "prompt (tokens)"}
PARTS = {"a_s": "first part", "b_s": "second part"}
STACKED: list[dict[str, Any]] = [{"engine": name, "a_s": 1.0, "b_s": 2.0 * place, "said": 3.0} for place, name in enumerate(ENGINES)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_engines_stand_in_their_order_then_others() -> None:
    assert list(looks(["zzz", "llm-npu", "aaa", "llama.cpp-cpu"])) == ["llama.cpp-cpu", "llm-npu", "zzz", "aaa"]
    assert looks(["llm-npu"])["llm-npu"] == looks(["mine", "llm-npu", "mnn-cpu"])["llm-npu"] == ENGINES["llm-npu"]
    beside = looks(["llm-npu", "one", "two"])
    assert len({look.color for look in beside.values()}) == len({look.marker for look in beside.values()}) == 3
    assert looks([f"engine {number}" for number in range(10)])["engine 9"] == SERIES[0]


@pytest.mark.parametrize("series", [SERIES, tuple(ENGINES.values())])
def test_looks_differ_in_color_and_marker(series: tuple[Any, ...]) -> None:
    assert len({look.color for look in series}) == len({look.marker for look in series}) == len(series)


def test_bars_have_the_height_of_their_values() -> None:
    figure = bars(ROWS, **BARS)
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(MODELS)
    ax: Any = figure.axes[0]
    drawn = sorted((bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in ax.patches)
    ours = [row for row in ROWS if row["model"] == MODELS[0]]
    order = sorted(ours, key=lambda row: (PROMPTS.index(row["tokens"]), list(looks(["llm-npu", "mnn-cpu", "mine"])).index(row["engine"])))
    assert [height for _, height in drawn] == [row["speed"] for row in order]
    assert all(abs(place - round(place)) < 0.4 for place, _ in drawn)
    assert legend(figure) == ["mnn-cpu", "llm-npu", "mine", "published"]
    assert [line.get_ydata()[0] for line in ax.lines] == [12.0] * 6
    assert all(line.get_markerfacecolor() == "white" for line in ax.lines)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["64", "256", "1,024"]


def test_bars_without_a_value_leave_no_gap() -> None:
    figure = bars([{"x": "a", "y": 1.0, "s": "p"}, {"x": "a", "y": None, "s": "q"}, {"x": "b", "y": 2.0, "s": "p"}],
                  x="x", y="y", series="s", y_label="y")  # fmt: skip
    ax: Any = figure.axes[0]
    assert [bar.get_height() for bar in ax.patches] == [1.0, 2.0]
    assert {round(bar.get_width(), 6) for bar in ax.patches} == {0.8}
    assert not figure.legends  # one series needs no name


def test_stacked_bars_add_up() -> None:
    ax: Any = stacked_bars(STACKED, x="engine", parts=PARTS, y_label="time (s)", published="said").axes[0]
    tops: dict[float, float] = {}
    for bar in ax.patches:
        assert bar.get_y() == tops.get(bar.get_x(), 0.0)
        tops[bar.get_x()] = bar.get_y() + bar.get_height()
    assert list(tops.values()) == [row["a_s"] + row["b_s"] for row in STACKED]
    assert len(ax.lines) == len(STACKED)


def test_lines_rise_with_x_and_published_points_are_hollow() -> None:
    figure = lines(ROWS[::-1], **LINES, log_x=True, log_y=True)
    ax: Any = next(ax for ax in figure.axes if ax.get_title(loc="left") == MODELS[0])
    drawn = {to_hex(line.get_color()).upper(): line for line in ax.lines if line.get_linestyle() == "-"}
    line = drawn[ENGINES["llm-npu"].color]
    assert line.get_xdata().tolist() == list(PROMPTS)
    assert line.get_ydata().tolist() == [row["speed"] for row in ROWS if row["engine"] == "llm-npu" and row["model"] == MODELS[0]]
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "none" and len(line.get_xdata())]
    assert [line.get_ydata().tolist() for line in hollow] == [[12.0] * 3] * 2


def test_panels_share_an_axis_where_asked() -> None:
    rows = [row | {"speed": row["speed"] * (5.0 if row["model"] == "phi-2" else 1.0)} for row in ROWS]
    choices: list[tuple[Any, dict[str, Any]]] = [(bars, BARS | {"log": True}), (lines, LINES)]
    for draw, options in choices:
        assert len({ax.get_ylim() for ax in draw(rows, **options, share_y=True).axes}) == 1
        assert len({ax.get_ylim() for ax in draw(rows, **options).axes}) == 2


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("kind", ["bars", "stacked", "lines", "long"])
def test_text_is_legible_and_apart(kind: str, columns: int) -> None:
    if kind == "lines":
        figure = lines(ROWS, **LINES, log_x=True, columns=columns)
    elif kind == "stacked":
        figure = stacked_bars(STACKED, x="engine", parts=PARTS, y_label="time (s)", columns=columns)
    else:
        rows = ROWS if kind == "bars" else [row | {"tokens": f"a workload of {row['tokens']} tokens"} for row in ROWS]
        figure = bars(rows, **BARS, columns=columns)
    assert figure.get_size_inches()[0] == WIDTH_IN[columns]
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, axes = canvas.get_renderer(), list[Any](figure.axes)
    for ax in axes:
        low, high = ax.get_xlim()
        shown = [text for text in ax.get_xticklabels() if text.get_text() and low <= text.get_position()[0] <= high]
        boxes = [text.get_window_extent(renderer) for text in shown]
        slanted = any(text.get_rotation() for text in shown)
        assert slanted or not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(text.get_size() >= 6.5 for text in shown)
        assert all(-1 <= box.x0 <= box.x1 <= figure.bbox.x1 + 1 for box in boxes)
    box = figure.legends[0].get_window_extent(renderer)
    assert -1 <= box.x0 <= box.x1 <= figure.bbox.x1 + 1
    assert not any(ax.get_tightbbox(renderer).overlaps(box) for ax in axes)


def test_problems() -> None:
    with pytest.raises(SocsimError, match="bars: there are no rows with 'speed' to draw"):
        bars([{"tokens": 1, "engine": "a", "speed": None}], x="tokens", y="speed", series="engine", y_label="y")
    with pytest.raises(SocsimError, match="lines: columns is 3; allowed: 1, 2"):
        lines(ROWS, **LINES, columns=3)


def test_small_helpers() -> None:
    assert [plain(value) for value in (0.5, 12, 1024, 131072.0)] == ["0.5", "12", "1,024", "131,072"]
    assert legend_columns(["a" * 30] * 5, 1) == 1
    assert legend_columns(["short"] * 3, 2) == 3
