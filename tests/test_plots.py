"""The Gantt plot: what is drawn where, that its text is legible, and that files are the same each time."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from random_graphs import hand_costs

from socsim.catalog import list_engines
from socsim.cost import Costs
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.metrics import power_steps
from socsim.palette import FAMILIES, stage_family
from socsim.plots import gantt, mean_steps, save
from socsim.runs import Result, make_case, run, run_case
from socsim.simulator import simulate
from socsim.timeline import Timeline


def named(costs: Costs, stages: list[tuple[str, int]]) -> Costs:
    """Give hand-made subgraphs their stages and chunks."""
    old = costs.graph
    subgraphs = tuple(s._replace(stage=stage, chunk=chunk) for s, (stage, chunk) in zip(old.subgraphs, stages, strict=True))
    graph = TaskGraph(subgraphs, old.predecessors, old.prefixes, old.prefill_count)
    return Costs(
        graph, costs.parts_s, costs.dram_bytes, costs.bandwidth_bytes_per_s, costs.achievable_bytes_per_s, costs.hand_over_latency_s
    )


def small() -> Timeline:
    """CPU: norm 0-1, attention 4-8, decode 9-11; NPU: qkv 1-4 streaming at 1 GB/s until 2.5, output projection 8-9 (ms)."""
    ms = 1_000_000
    rows = [("cpu", ms, 0, ()), ("npu", 3 * ms, 1_500_000, (0,)), ("cpu", 4 * ms, 0, (1,)), ("npu", ms, 0, (2,)), ("cpu", 2 * ms, 0, (3,))]
    costs = hand_costs(rows, prefill_count=4)
    costs = named(costs, [("attn_norm", 0), ("qkv", 0), ("attention", 0), ("o_proj", 12), ("decode", 13)])
    return simulate(costs.graph, costs, "fifo")


@pytest.fixture(scope="module")
def result() -> Result:
    return run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=512)


def bars(ax: Axes) -> list[tuple[float, float, float, str]]:
    """Return the bars of a panel: row, start and end in ms, color."""
    found = []
    for collection in ax.collections:
        assert isinstance(collection, PolyCollection)
        for path in collection.get_paths():
            box = path.get_extents()
            color = to_hex(np.asarray(collection.get_facecolor())[0].tolist()).upper()
            found.append((round((box.y0 + box.y1) / 2, 6), round(box.x0 * 1e3, 6), round(box.x1 * 1e3, 6), color))
    return sorted(found)


def texts(ax: Axes) -> list[tuple[str, float, float]]:
    """Return what is written into a panel, with its place in ms and rows."""
    return [(text.get_text(), round(float(text.get_position()[0]) * 1e3, 6), float(text.get_position()[1])) for text in ax.texts]


def drawn(ax: Axes) -> list[tuple[float, float, float]]:
    """Return the steps of a panel that are not zero: from and to in ms, value."""
    stairs: Any = ax.patches[0]
    values, edges, _ = stairs.get_data()
    return [(*span, value) for span, value in zip(pairwise((edges * 1e3).tolist()), values.tolist(), strict=True) if value]


def titles(figure: Figure) -> list[str]:
    return [ax.get_title(loc="left").replace("\xa0", " ") for ax in figure.axes]


def test_everything_that_a_small_plot_shows() -> None:
    timeline = small()
    figure = gantt(timeline, power=(np.array([0, 4_000_000, 11_000_000]), np.array([2.0, 5.0, 1.0])))
    runs, dram, power = figure.axes
    idle = FAMILIES["idle"].color
    assert bars(runs) == sorted(
        [
            (0, 0.0, 8.0, idle),
            (0, 0.0, 1.0, FAMILIES["norm"].color),
            (0, 4.0, 8.0, FAMILIES["attention"].color),
            (0, 9.0, 11.0, FAMILIES["decode"].color),
            (1, 1.0, 9.0, idle),
            (1, 1.0, 4.0, FAMILIES["qkv"].color),
            (1, 8.0, 9.0, FAMILIES["o_proj"].color),
        ]
    )
    assert sorted(texts(runs)) == [("0", 0.5, 0.0), ("0", 2.5, 1.0), ("0", 6.0, 0.0), ("12", 8.5, 1.0)]
    assert [label.get_text() for label in runs.get_yticklabels()] == ["CPU", "NPU"]
    assert titles(figure) == ["fifo: TTFT 9 ms, NPU bubble rate 50.0 %", "", ""]
    assert [line.get_xdata()[0] for line in runs.lines] == [0.009]  # type: ignore[index]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["norm", "QKV", "attention", "output proj.", "decode", "idle"]
    assert drawn(dram) == [(1.0, 2.5, 1.0)]
    assert drawn(power) == [(0.0, 4.0, 2.0), (4.0, 11.0, 5.0)]
    assert (dram.get_ylabel(), power.get_ylabel()) == ("DRAM\n(GB/s)", "power\n(W)")
    assert [text[0] for text in texts(dram)] == ["achievable"]
    assert [line.get_ydata()[0] for line in dram.lines] == [1.0]  # type: ignore[index]
    assert list(power.lines) == []
    assert power.get_xlabel() == "time (ms)"
    assert runs.get_xlim() == pytest.approx((0.0, 0.01111))


def test_window_cuts_bars_numbers_and_legend() -> None:
    figure = gantt(small(), window_s=(0.0045, 0.0075), titles=["mine"], ttft_s=[12.3456])
    runs = figure.axes[0]
    assert [bar for bar in bars(runs) if bar[3] != FAMILIES["idle"].color] == [(0, 4.0, 8.0, FAMILIES["attention"].color)]
    assert texts(runs) == [("0", 6.0, 0.0)]
    assert titles(figure)[0] == "mine: TTFT 12.35 s (12.34 s of it before the prefill), NPU bubble rate 50.0 %"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["attention", "idle"]


def test_numbers_only_where_they_fit() -> None:
    # On 450 points of axis, 0.1 of 10 ms are 4.5 points: room for one digit (4.4), not for two.
    rows = [("cpu", 100_000, 0, ()), ("cpu", 100_000, 0, ()), ("cpu", 9_738_000, 0, ())]
    costs = named(hand_costs(rows), [("attention", 7), ("attention", 10), ("attention", 111)])
    assert [text[0] for text in texts(gantt(simulate(costs.graph, costs, "fifo")).axes[0])] == ["7", "111"]


def test_long_runs_are_in_seconds() -> None:
    costs = hand_costs([("cpu", 3_000_000_000, 0, ())])
    figure = gantt(simulate(costs.graph, costs, "fifo", memory="infinite"))
    assert [ax.get_xlabel() for ax in figure.axes] == ["time (s)"]  # no DRAM panel: it is infinitely fast
    assert titles(figure) == ["fifo: TTFT 3.00 s"]  # no NPU, no bubbles


def test_processor_without_prefill_has_no_idle_time() -> None:
    costs = hand_costs([("cpu", 1_000_000, 0, ()), ("npu", 1_000_000, 0, (0,))], prefill_count=1)
    figure = gantt(simulate(costs.graph, costs, "fifo"))
    assert titles(figure)[0] == "fifo: TTFT 1 ms, NPU bubble rate 0.0 %"


def test_several_runs_share_one_time_axis(result: Result) -> None:
    runs = [run_case(result.case, name).timeline for name in ("sequential", "in-order", "out-of-order")]
    figure = gantt(runs)
    assert len(figure.axes) == 3
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "time (ms)"]
    for title, timeline in zip(titles(figure), runs, strict=True):
        metrics = run_case(result.case, timeline.scheduler).metrics
        ttft_s, bubbles = metrics["ttft_s"], metrics["npu_bubble_rate"]
        assert ttft_s is not None
        assert bubbles is not None
        ttft = f"{ttft_s:.2f} s" if ttft_s >= 1 else f"{ttft_s * 1e3:.3g} ms"
        assert title == f"{timeline.scheduler}: TTFT {ttft}, NPU bubble rate {100 * bubbles:.1f} %"


@pytest.mark.parametrize("engine", list_engines())
def test_every_stage_that_engines_make_has_a_family(engine: str) -> None:
    case = make_case("snapdragon-8-gen-3", "qwen1.5-1.8b", engine, prompt_tokens=256, output_tokens=2)
    assert "other" not in {stage_family(subgraph.stage) for subgraph in case.costs.graph.subgraphs}


@pytest.mark.parametrize(
    ("stage", "family"),
    [
        ("attn_norm", "norm"),
        ("attn_norm_embedding", "norm"),
        ("ffn_norm", "norm"),
        ("qkv", "qkv"),
        ("attn_norm+qkv", "qkv"),
        ("attention", "attention"),
        ("o_proj", "o_proj"),
        ("o_proj+ffn_norm", "o_proj"),
        ("o_proj_attn_residual+ffn_norm", "o_proj"),
        ("ffn", "ffn"),
        ("ffn_down", "ffn"),
        ("o_proj+ffn_norm+ffn+attn_norm+qkv", "ffn"),
        ("shadow_o_proj", "shadow"),
        ("merge_down_proj", "merge"),
        ("final_norm", "head"),
        ("lm_head", "head"),
        ("decode", "decode"),
        ("s0", "other"),
    ],
)
def test_stage_family(stage: str, family: str) -> None:
    assert stage_family(stage) == family


def test_families_of_one_processor_differ_in_grey() -> None:
    def grey(name: str) -> float:
        red, green, blue = (int(FAMILIES[name].color[place : place + 2], 16) for place in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    for group in (("qkv", "o_proj", "ffn", "idle"), ("norm", "attention", "idle", "head")):
        assert min(abs(grey(one) - grey(other)) for one, other in combinations(group, 2)) > 20
    assert len({family.color for family in FAMILIES.values()}) == len(FAMILIES)


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return the place of all text that stands outside of bars."""
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw(renderer)
    found = [text for legend in figure.legends for text in legend.get_texts()]
    for ax in figure.axes:
        found += [ax._left_title, ax.xaxis.label, ax.yaxis.label]  # type: ignore[attr-defined]
        left, right = sorted(ax.get_xlim())
        bottom, top = sorted(ax.get_ylim())
        found += [tick.label1 for tick in ax.xaxis.get_major_ticks() if left <= tick.get_loc() <= right]
        found += [tick.label1 for tick in ax.yaxis.get_major_ticks() if bottom <= tick.get_loc() <= top]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in found if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("window_s", [None, (0.1, 0.25)])
def test_text_stays_inside_and_does_not_overlap(result: Result, columns: int, several: bool, window_s: tuple[float, float] | None) -> None:
    power = None if several else power_steps(result.timeline, result.case.power)
    runs = [result.timeline, run_case(result.case, "in-order").timeline] if several else result.timeline
    long = ["snapdragon-8-gen-3, out-of-order-earliest-position"] * (2 if several else 1)
    figure = gantt(runs, power=power, window_s=window_s, columns=columns, titles=long)
    placed = boxes(figure)
    assert len(placed) > 15
    assert figure.get_size_inches()[0] == {1: 3.35, 2: 7.0}[columns]
    for text, box in placed:
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text
    for (one, first), (other, second) in combinations(placed, 2):
        assert not first.overlaps(second), (one, other)
    inside = [box for text, box in placed if "TTFT" in text]
    for ax in figure.axes:
        assert not any(box.overlaps(ax.get_window_extent()) for box in inside)


def test_chunk_numbers_stay_inside_their_bars(result: Result) -> None:
    figure = gantt(result.timeline, window_s=(0.1, 0.2))
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw(renderer)
    ax = figure.axes[0]
    spans = [
        (row, ax.transData.transform((start / 1e3, 0))[0], ax.transData.transform((end / 1e3, 0))[0]) for row, start, end, _ in bars(ax)
    ]
    assert len(ax.texts) > 20
    for text in ax.texts:
        box = text.get_window_extent(renderer)
        middle = (box.x0 + box.x1) / 2
        width = min(right - left for row, left, right in spans if row == text.get_position()[1] and left <= middle <= right)
        assert box.width <= width + 1


def test_mean_steps_by_hand() -> None:
    steps = (np.array([0, 1, 3, 4]) * 1_000_000_000, np.array([2.0, 0.0, 6.0, 0.0]))
    assert [column.tolist() for column in mean_steps(steps, (0.0, 10.0), 10)] == [[0, 1, 3, 4], [2, 0, 6]]
    assert [column.tolist() for column in mean_steps(steps, (0.5, 3.5), 10)] == [[0.5, 1, 3, 3.5], [2, 0, 6]]
    assert [column.tolist() for column in mean_steps(steps, (0.0, 4.0), 2)] == [[0, 2, 4], [1, 3]]
    assert [column.tolist() for column in mean_steps(steps, (5.0, 6.0), 10)] == [[5, 6], [0]]


def test_mean_steps_keep_the_integral(result: Result) -> None:
    when, rate = result.timeline.dram_rate
    edges, values = mean_steps((when, rate), (0.0, 1e9), 100)
    assert len(values) == 100
    assert float((values * np.diff(edges)).sum()) == pytest.approx(float((rate[:-1] * np.diff(when)).sum() / 1e9))


def test_facts_of_runs_instead_of_their_ttft() -> None:
    assert titles(gantt([small()] * 2, facts=["slow", "makespan 9 ms"])) == ["fifo: slow", "fifo: makespan 9 ms"]


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        (0, {}, "gantt: timelines is empty; at least one run is needed"),
        (2, {"titles": ["one"]}, "gantt: titles has length 1, should have that of timelines, 2"),
        (1, {"ttft_s": [1.0, 2.0]}, "gantt: ttft_s has length 2, should have that of timelines, 1"),
        (2, {"facts": ["slow"]}, "gantt: facts has length 1, should have that of timelines, 2"),
        (2, {"power": (np.zeros(1, dtype=np.int64), np.zeros(1))}, "gantt: power goes with one run, not with 2"),
        (1, {"window_s": (1.0, 1.0)}, "gantt: window_s (1.0, 1.0) should be a start of at least 0 and a later end"),
        (1, {"window_s": (-1.0, 1.0)}, "gantt: window_s (-1.0, 1.0) should be a start of at least 0 and a later end"),
        (1, {"window_s": (0.0, float("nan"))}, "gantt: window_s (0.0, nan) should be a start of at least 0 and a later end"),
        (1, {"columns": 3}, "gantt: columns is 3; allowed: 1, 2"),
    ],
)
def test_bad_arguments(runs: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SocsimError) as caught:
        gantt([small()] * runs, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")])
def test_files_are_the_same_each_time(suffix: str, start: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(gantt(small()), tmp_path / f"one{suffix}")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")  # another day
    save(gantt(small()), tmp_path / f"two{suffix}")
    data = (tmp_path / f"one{suffix}").read_bytes()
    assert data.startswith(start)
    assert data == (tmp_path / f"two{suffix}").read_bytes()
    assert b"1970" not in data


def test_pdf_embeds_its_font(tmp_path: Path) -> None:
    save(gantt(small()), tmp_path / "plot.pdf")
    data = (tmp_path / "plot.pdf").read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data


def test_png_has_300_dots_an_inch(tmp_path: Path) -> None:
    save(gantt(small(), columns=1), tmp_path / "plot.png")
    assert int.from_bytes((tmp_path / "plot.png").read_bytes()[16:20], "big") == round(3.35 * 300)


def test_unknown_suffix_names_the_allowed_ones(tmp_path: Path) -> None:
    with pytest.raises(SocsimError, match=r"'\.pgn' \(did you mean '\.png'\?\); allowed: \.pdf, \.png, \.svg$"):
        save(gantt(small()), tmp_path / "plot.pgn")
    with pytest.raises(SocsimError, match=r"allowed: \.pdf, \.png, \.svg$"):
        save(gantt(small()), tmp_path / "plot")


def test_unwritable_path(tmp_path: Path) -> None:
    with pytest.raises(SocsimError, match=r"^cannot write figure '.*plot\.png': No such file or directory$"):
        save(gantt(small()), tmp_path / "missing" / "plot.png")


def test_neither_pyplot_nor_user_settings_are_touched() -> None:
    code = (
        "import sys, matplotlib\n"
        "matplotlib.rcParams['font.size'] = 31\n"
        "from random_graphs import hand_costs\n"
        "from socsim import gantt, simulate\n"
        "costs = hand_costs([('cpu', 5, 0, ())])\n"
        "figure = gantt(simulate(costs.graph, costs, 'fifo'))\n"
        "print('matplotlib.pyplot' in sys.modules, matplotlib.rcParams['font.size'], figure.legends[0].get_texts()[0].get_fontsize())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    assert done.stdout.split() == ["False", "31.0", "8.0"]
