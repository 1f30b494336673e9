"""Plots of measured beside modeled figures: what is drawn where, and that its text is legible and its files the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from socsim.errors import SocsimError
from socsim.palette import ENGINES
from socsim.plots import WIDTH_IN, latency_by_shape, parity, save
from socsim.plots.fits import graph_label, parse_shape


def product(
    shape: str, measured_s: float, predicted_s: float, processor: str = "npu", data_type: str = "int8", soc: str = "a"
) -> dict[str, Any]:
    return {
        "soc": soc,
        "processor": processor,
        "data_type": data_type,
        "shape": shape,
        "measured_s": measured_s,
        "predicted_s": predicted_s,
    }


def measured_run(engine: str, metric: str, measured: float, predicted: float, split: str = "calibration") -> dict[str, Any]:
    return {"engine": engine, "metric": metric, "measured": measured, "predicted": predicted, "split": split}


PRODUCTS = [
    product("64x1000x4000", 2e-3, 2.5e-3, "cpu", "fp16"),
    product("64x1000x2000", 1e-3, 1.1e-3),
    product("64x1000x1000", 0.6e-3, 0.5e-3),
    product("32x1000x1000", 0.3e-3, 0.4e-3),
    product("16x2048x2048 16x2048x256 16x2048x256", 1e-3, 1.2e-3),
    product("256x2048x2048+256x2048x256+256x2048x256", 3e-3, 2.8e-3),
    product("1x4096x4096", 1e-3, 2e-3, data_type="matrix-engine"),
]
RUNS = [
    measured_run("llm-npu", "prefill_tokens_per_s", 500.0, 600.0),
    measured_run("llm-npu", "prefill_tokens_per_s", 550.0, 510.0, "validation"),
    measured_run("mnn-cpu", "decode_s", 9.0, 8.0),
    measured_run("mine", "prefill_energy_j", 1.0, 2.0, "validation"),
    measured_run("mine", "peak_memory_gb", 1.0, 2.0),
]


def titles(figure: Figure) -> list[tuple[str, str]]:
    return [(ax.get_title(loc="left"), ax.get_xlabel()) for ax in figure.axes]


def points(ax: Any) -> list[tuple[list[float], list[float], bool]]:
    """Return the lines of a panel with whether their markers are hollow; both axes rounded."""
    rounded = [[[round(float(value), 6) for value in side] for side in line.get_data()] for line in ax.lines]
    return [(x, y, line.get_fillstyle() == "none") for (x, y), line in zip(rounded, ax.lines, strict=True)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_panel_for_each_way_to_compute() -> None:
    figure = latency_by_shape(PRODUCTS)
    adds, rows = "multiply-adds (G)", "rows (tokens)"
    assert titles(figure) == [("NPU int8", adds), ("NPU int8", rows), ("CPU fp16", adds), ("NPU matrix-engine", adds)]
    assert {(ax.get_xscale(), ax.get_yscale()) for ax in figure.axes} == {("log", "log")}
    assert [ax.get_ylabel() for ax in figure.axes] == ["latency (ms)", "", "", "latency (ms)"]
    assert legend(figure) == ["measured", "modeled"]


def test_measured_is_hollow_and_modeled_a_line() -> None:
    singles, graphs, *_ = latency_by_shape(PRODUCTS).axes
    assert points(singles) == [
        ([0.064, 0.128], [0.5, 1.1], False),
        ([0.064, 0.128], [0.6, 1.0], True),
        ([0.032], [0.4], False),
        ([0.032], [0.3], True),
    ]
    assert [line.get_linestyle() for line in singles.lines] == ["-", "None", "-", "None"]
    assert points(graphs) == [([16, 256], [1.2, 2.8], False), ([16, 256], [1.0, 3.0], True)]
    assert graphs.get_xticks().tolist() == [16, 256]
    names = singles.get_legend()
    assert names is not None
    assert [text.get_text() for text in names.get_texts()] == ["64 rows", "32 rows"]
    assert graphs.get_legend() is None  # one series


def test_shapes() -> None:
    qkv, ffn = parse_shape("16x8x8 16x8x2 16x8x2"), parse_shape("1x8x20+1x8x20>1x20x8")
    assert ffn == [(False, (1, 8, 20)), (False, (1, 8, 20)), (True, (1, 20, 8))]
    assert graph_label(qkv) == "8→8+2x2"
    assert graph_label(ffn) == "8→2x20→8"
    assert graph_label(parse_shape("16x8x8 16x8x8 16x8x8")) == "8→3x8"
    assert graph_label(parse_shape("16x8x8 >16x8x88")) == "8→8→88"


def test_phones_are_told_apart() -> None:
    figure = latency_by_shape([product("1x2x3", 1, 2, soc="b"), product("1x2x3", 1, 2, soc="a")])
    assert [title for title, _ in titles(figure)] == ["NPU int8\na", "NPU int8\nb"]


def test_parity_of_each_metric() -> None:
    figure = parity(RUNS)
    assert titles(figure) == [(name, "measured") for name in ("prefill (tokens/s)", "decode (s)", "prefill energy (J)")]
    axes: list[Any] = figure.axes
    speed, decode, energy = axes
    line, *runs = points(speed)
    assert line[0] == line[1]
    assert runs == [([500.0], [600.0], True), ([550.0], [510.0], False)]
    assert points(decode)[1:] == [([9.0], [8.0], True)]
    assert points(energy)[1:] == [([1.0], [2.0], False)]
    for ax in axes:
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_xlim() == ax.get_ylim() == tuple(ax.lines[0].get_xdata())
    corners = speed.collections[0].get_paths()[0].vertices
    assert {round(float(y / x), 6) for x, y in corners} == {0.8, 1.2}
    assert legend(figure) == ["mnn-cpu", "llm-npu", "mine", "calibration row", "validation row", "within 20 %"]


def test_an_engine_looks_the_same_in_every_figure() -> None:
    def look(rows: list[dict[str, Any]]) -> tuple[Any, Any]:
        line = parity(rows).axes[0].lines[-1]
        return to_hex(line.get_color()).upper(), line.get_marker()

    others = [measured_run(engine, "decode_s", 1.0, 1.0) for engine in ("a", "llama.cpp-cpu", "zzz")]
    mine = measured_run("llm-npu", "decode_s", 1.0, 1.0)
    assert look([mine]) == look([*others, mine]) == ENGINES["llm-npu"][:2]


def test_only_metrics_with_rows_have_a_panel() -> None:
    figure = parity(RUNS[:1])
    assert titles(figure) == [("prefill (tokens/s)", "measured")]
    assert legend(figure) == ["llm-npu", "calibration row", "within 20 %"]


def _is_drawn(ax: Any, text: Any) -> bool:
    """Return whether a text is seen: labels of ticks outside the axis are not."""
    for labels, limits, place in ((ax.get_xticklabels(), ax.get_xlim(), 0), (ax.get_yticklabels(), ax.get_ylim(), 1)):
        if text in labels:
            return bool(limits[0] <= text.get_position()[place] <= limits[1])
    return True


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("figure", [latency_by_shape, parity])
def test_text_is_legible_and_inside(figure: Any, columns: int) -> None:
    made = figure(PRODUCTS if figure is latency_by_shape else RUNS, columns=columns)
    assert made.get_size_inches()[0] == WIDTH_IN[columns]
    canvas: Any = FigureCanvasAgg(made)
    canvas.draw()
    renderer = canvas.get_renderer()
    inside = made.bbox.padded(1)
    for ax in made.axes:
        for text in (ax.xaxis.label, ax.yaxis.label, ax._left_title, *ax.get_xticklabels(), *ax.get_yticklabels()):
            assert text.get_size() >= 6.5
            box = text.get_window_extent(renderer)
            if text.get_text() and _is_drawn(ax, text):
                assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
                assert inside.y0 <= box.y0 <= box.y1 <= inside.y1
    box = made.legends[0].get_window_extent(renderer)
    assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
    assert not any(ax.get_tightbbox(renderer).overlaps(box) for ax in made.axes)


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    for name, make, rows in (("a.svg", latency_by_shape, PRODUCTS), ("b.pdf", parity, RUNS)):
        paths = [tmp_path / f"{number}{name}" for number in range(2)]
        for path in paths:
            save(make(rows), path)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(SocsimError, match="latency_by_shape: there are no rows"):
        latency_by_shape([])
    with pytest.raises(SocsimError, match="parity: there are no rows to draw; metrics that are drawn: prefill_tokens_per_s"):
        parity(RUNS[-1:])
    for make, rows in ((latency_by_shape, PRODUCTS), (parity, RUNS)):
        with pytest.raises(SocsimError, match="columns is 3; allowed: 1, 2"):
            make(rows, columns=3)
