"""Rooflines: roofs from bandwidth and peaks, points by family and engine, and text that is legible and inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from socsim.errors import SocsimError
from socsim.palette import ENGINES, FAMILIES
from socsim.plots import WIDTH_IN, save
from socsim.plots.roofline import attainable_tops, roofline


def roof(processor: str, data_type: str, peak_tops: float, bandwidth_gb_per_s: float = 40.0) -> dict[str, Any]:
    return {"processor": processor, "data_type": data_type, "peak_tops": peak_tops, "bandwidth_gb_per_s": bandwidth_gb_per_s}


def point(processor: str, engine: str, stage: str, intensity: float, achieved: float) -> dict[str, Any]:
    place = {"intensity_ops_per_byte": intensity, "achieved_tops": achieved}
    return {"processor": processor, "engine": engine, "stage": stage} | place


ROOFS = [roof("npu", "int8", 32.0), roof("npu", "fp16", 8.0), roof("cpu", "fp32", 0.2, 20.0)]
POINTS = [
    point("npu", "llm-npu", "ffn_up", 400.0, 3.0),
    point("cpu", "llm-npu", "decode", 2.0, 0.03),
    point("cpu", "llama.cpp-cpu", "attention", 100.0, 0.1),
]


def segments(ax: Any) -> list[list[tuple[float, float]]]:
    """Return the roofs of a panel, without where they reach its border."""
    return [[(round(x, 6), round(y, 6)) for x, y in line.get_xydata().tolist()] for line in ax.lines if len(line.get_xdata()) == 2]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_a_roofline_is_the_lower_of_bandwidth_and_peak() -> None:
    assert attainable_tops(10.0, 1.0, 50.0) == 0.5
    assert attainable_tops(100.0, 1.0, 50.0) == 1.0


def test_roofs_meet_at_the_ridges() -> None:
    npu, cpu = roofline(ROOFS, POINTS).axes
    slope, int8, fp16 = segments(npu)
    assert slope[1] == int8[0] == (800.0, 32.0)
    assert slope[0][1] == pytest.approx(0.04 * slope[0][0], rel=1e-3)
    assert fp16[0] == (200.0, 8.0)
    assert [level[1][1] for level in (int8, fp16)] == [32.0, 8.0]
    assert segments(cpu)[0][1] == segments(cpu)[1][0] == (10.0, 0.2)
    assert npu.get_xlim() == cpu.get_xlim()
    assert npu.get_ylim() == cpu.get_ylim()
    assert {npu.get_xscale(), npu.get_yscale()} == {"log"}


def test_points_have_the_color_of_their_stage_and_the_marker_of_their_engine() -> None:
    figure = roofline(ROOFS, POINTS)
    dots: list[Any] = [line for ax in figure.axes for line in ax.lines if line.get_marker() not in ("None", None, "")]
    assert [(line.get_color(), line.get_marker(), line.get_xydata().tolist()) for line in dots] == [
        (FAMILIES["ffn"].color, ENGINES["llm-npu"].marker, [[400.0, 3.0]]),
        (FAMILIES["attention"].color, ENGINES["llama.cpp-cpu"].marker, [[100.0, 0.1]]),
        (FAMILIES["decode"].color, ENGINES["llm-npu"].marker, [[2.0, 0.03]]),  # on top
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["attention", "FFN", "decode", "llama.cpp-cpu", "llm-npu"]


def test_one_engine_has_no_entry() -> None:
    assert [text.get_text() for text in roofline(ROOFS, POINTS[:2]).legends[0].get_texts()] == ["FFN", "decode"]
    assert not roofline(ROOFS, []).legends


def test_axes_and_roofs_are_named() -> None:
    figure = roofline(ROOFS, POINTS)
    assert [(ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes] == [
        ("NPU", "arithmetic intensity (op/B)", "achieved (TOPS)"),
        ("CPU", "arithmetic intensity (op/B)", ""),
    ]
    assert texts(figure) == ["int8\u00a032", "fp16\u00a08", "DRAM: 40 GB/s", "fp32\u00a00.2", "DRAM: 20 GB/s"]


@pytest.mark.parametrize("columns", [1, 2])
def test_text_is_legible_and_inside(columns: int) -> None:
    figure = roofline(ROOFS, POINTS, columns=columns)
    assert figure.get_size_inches()[0] == WIDTH_IN[columns]
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, inside = canvas.get_renderer(), figure.bbox.padded(1)
    axes: list[Any] = figure.axes
    for ax in axes:
        for text in (ax.xaxis.label, ax.yaxis.label, *ax.texts):
            assert text.get_size() >= 6.5
            box = text.get_window_extent(renderer)
            assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
            assert inside.y0 <= box.y0 <= box.y1 <= inside.y1
    box = figure.legends[0].get_window_extent(renderer)
    assert not any(ax.get_tightbbox(renderer).overlaps(box) for ax in axes)


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.svg" for number in range(2)]
    for path in paths:
        save(roofline(ROOFS, POINTS), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(SocsimError, match="roofline: there are no roofs"):
        roofline([], [])
    with pytest.raises(SocsimError, match="there is no roof for processor 'gpu'; there are: npu, cpu"):
        roofline(ROOFS, [point("gpu", "mlc-gpu", "ffn", 1.0, 1.0)])
    with pytest.raises(SocsimError, match="columns is 3; allowed: 1, 2"):
        roofline(ROOFS, POINTS, columns=3)
