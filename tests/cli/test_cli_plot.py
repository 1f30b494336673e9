"""``socsim plot``: columns by name, slices, the best over what is not shown, every kind of figure, and bad input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Outcome, call, call_well

from socsim.cli.labels import axis_column, name_of, scaled
from socsim.cli.plot import KIND_NAMES
from socsim.cli.plot_kinds import KINDS
from socsim.cli.plot_options import slice_at
from socsim.cli.sweep import metric_text
from socsim.plots import pareto
from socsim.plots.tornado import tornado
from socsim.specs import Axis
from socsim.sweeps import SweepResult, read_sweep, sensitivity, sweep
from socsim.sweeps.slices import Best

BASE: dict[str, Any] = {
    "soc": "toy-phone", "model": "smollm2-135m", "engine": "llm-npu", "prompt_tokens": 64, "set": {"model.num_hidden_layers": 2},
}  # fmt: skip
GRID: dict[str, Any] = {
    "base": BASE,
    "axes": [
        {"path": "soc.processors.npu.speed", "values": [0.5, 1.0, 2.0]},
        {"path": "soc.processors.cpu.speed", "values": [1.0, 2.0]},
        {"path": "chunk_tokens", "values": [16, 32, 999999]},
        {"path": "scheduler", "values": ["in-order", "fifo"]},
    ],
    "constraints": ["soc.processors.npu.speed < 2 or soc.processors.cpu.speed > 1"],
    "metrics": ["ttft_s", "prefill_tokens_per_s", "prefill_energy_j", "peak_memory_bytes", "tpot_s", "bottleneck"],
}
SALTELLI: dict[str, Any] = {
    "base": BASE | {"chunk_tokens": 32},
    "axes": [
        {"name": "npu", "path": "soc.processors.npu.speed", "start": 0.5, "stop": 2.0, "spacing": "log"},
        {"path": "soc.processors.cpu.launch_overhead_s", "start": 1e-6, "stop": 1e-3},
    ],
    "sample": {"method": "saltelli", "points": 8},
    "metrics": ["ttft_s", "npu_utilization"],
}

ZERO: dict[str, Any] = {
    "base": BASE | {"chunk_tokens": 32},
    "axes": [
        {"path": "soc.processors.npu.launch_overhead_s", "start": 0, "stop": 1e-3, "points": 50},
        {"path": "prompt_tokens", "values": [32, 64]},
    ],
    "metrics": ["ttft_s"],
}
LISTS: dict[str, Any] = {
    "base": BASE,
    "axes": [
        {"path": "engine.prebuilt_chunk_tokens", "values": [[32], [32, 64]]},
        {"path": "model.sliding_window", "values": ["null", 32]},
        {"path": "prompt_tokens", "values": [1024, 1025]},
        {"path": "engine.shadow_outliers", "values": [True, False]},
    ],
    "metrics": ["ttft_s"],
}

WORK: dict[str, Any] = {
    "base": BASE,
    "axes": [
        {"path": "soc.processors.npu.speed", "values": [1.0, 2.0]},
        {"path": "chunk_tokens", "values": [16, 32]},
        {"path": "scheduler", "values": ["in-order", "fifo"]},
        {"path": "prompt_tokens", "values": [32, 1024]},
    ],
    "metrics": ["ttft_s"],
}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    sweep(GRID, folder / "grid", jobs=1)
    sweep(SALTELLI, folder / "saltelli", jobs=1)
    sweep(SALTELLI, folder / "half", jobs=1, limit=16)
    sweep(ZERO, folder / "zero", jobs=1)
    sweep(LISTS, folder / "lists", jobs=1)
    sweep(WORK, folder / "work", jobs=1)
    sweep(GRID | {"axes": [{"path": "chunk_tokens", "values": [32]}], "constraints": []}, folder / "point", jobs=1)
    return folder


@pytest.fixture
def grid(results: Path) -> SweepResult:
    return read_sweep(results / "grid")


def plot(capsys: pytest.CaptureFixture[str], folder: Path, kind: str, *options: str) -> Outcome:
    return call_well(capsys, "plot", str(folder), "--kind", kind, "-o", str(folder / "figure.svg"), *options)


def assert_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    outcome = call(capsys, "plot", *arguments)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("socsim: error: ")
    assert outcome.err.count("\n") == 1, outcome.err
    for word in words:
        assert word in outcome.err


def rows(result: SweepResult, **fixed: Any) -> list[dict[str, Any]]:
    """Return the points that did not fail, and at which columns have some values."""
    frame = result.to_dataframe()
    return [row for row in frame[frame.status == "ok"].to_dict("records") if all(row[name] == value for name, value in fixed.items())]


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_every_kind_has_defaults_and_a_file_of_its_own(results: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert set(KINDS) == set(KIND_NAMES)
    outcome = call_well(capsys, "plot", str(results / "grid"), "--kind", kind)
    assert outcome.err.splitlines()[-1] == f"socsim: wrote: {results / 'grid' / kind}.png"
    assert (results / "grid" / f"{kind}.png").read_bytes().startswith(b"\x89PNG")
    assert "ttft_s" in outcome.out
    assert "note: 30 of 30 points are there, 10 of them failed" in outcome.err


def test_a_heat_map_shows_the_best_over_all_other_axes(results: Path, grid: SweepResult, capsys: pytest.CaptureFixture[str]) -> None:
    best = min(rows(grid), key=lambda row: row["ttft_s"])
    out = plot(capsys, results / "grid", "heatmap").out
    assert metric_text("ttft_s", best["ttft_s"]) in out
    assert "npu.speed 2, cpu.speed 2, " in out
    assert "best over chunk_tokens, scheduler: least ttft_s" in out
    points = slice_at(grid, [])
    cells = Best(points, ["soc.processors.npu.speed", "soc.processors.cpu.speed"], "prefill_tokens_per_s")
    found = {
        (float(npu), float(cpu)): float(points.values("prefill_tokens_per_s")[row])
        for row, npu, cpu in zip(cells.rows, *(cells.values(axis) for axis in cells.axes), strict=True)
    }
    assert found == {
        (npu, cpu): max(
            row["prefill_tokens_per_s"]
            for row in rows(grid, **{"soc.processors.npu.speed": npu, "soc.processors.cpu.speed": cpu})
        )
        for npu, cpu in ((0.5, 1.0), (0.5, 2.0), (1.0, 1.0), (1.0, 2.0), (2.0, 2.0))
    }  # fmt: skip


def test_names_are_those_at_the_point_with_the_least_ttft(results: Path, grid: SweepResult, capsys: pytest.CaptureFixture[str]) -> None:
    out = plot(capsys, results / "grid", "heatmap", "--color", "bottleneck", "--x", "npu.speed", "--y", "chunk_tokens").out
    best = min(rows(grid), key=lambda row: row["ttft_s"])
    assert out.splitlines()[2].split()[-1] == best["bottleneck"].split()[-1]
    assert "best over soc.processors.cpu.speed, scheduler: least ttft_s" in out
    which = plot(capsys, results / "grid", "heatmap", "--color", "scheduler", "--x", "npu.speed", "--y", "cpu.speed").out
    assert f" {best['scheduler']}" in which


def test_slices(results: Path, grid: SweepResult, capsys: pytest.CaptureFixture[str]) -> None:
    points = slice_at(grid, ["chunk_tokens=16", "npu.speed=2.0001", "scheduler=fifo"])
    assert points.fixed == {"chunk_tokens": 16, "soc.processors.npu.speed": 2.0, "scheduler": "fifo"}
    (row,) = rows(grid, **{"chunk_tokens": 16, "soc.processors.npu.speed": 2.0, "scheduler": "fifo"})
    assert points.values("ttft_s").tolist() == [row["ttft_s"]]
    out = plot(capsys, results / "grid", "line", "--at", "chunk_tokens=16", "--at", "scheduler=fifo", "--y", "prefill_energy_j").out
    assert "best over" not in out  # nothing is left
    least = min(row["prefill_energy_j"] for row in rows(grid, **{"chunk_tokens": 16, "scheduler": "fifo", "soc.processors.cpu.speed": 1.0}))
    assert metric_text("prefill_energy_j", least) in out


def test_a_line_for_each_value_of_the_next_axis(results: Path, grid: SweepResult, capsys: pytest.CaptureFixture[str]) -> None:
    out = plot(capsys, results / "grid", "line", "--x", "chunk_tokens", "--y", "prefill_tokens_per_s", "--color", "scheduler").out
    for scheduler in ("in-order", "fifo"):
        best = max(rows(grid, scheduler=scheduler), key=lambda row: row["prefill_tokens_per_s"])
        (line,) = [line for line in out.splitlines() if line.startswith(scheduler)]
        assert f"{best['prefill_tokens_per_s']:,.0f}"[:4] in line
        assert f"chunk_tokens {best['chunk_tokens']}" in line
    assert "most prefill_tokens_per_s" in out


def test_a_front_of_what_is_less_and_what_is_more(results: Path, grid: SweepResult, capsys: pytest.CaptureFixture[str]) -> None:
    out = plot(capsys, results / "grid", "pareto", "--objective", "npu.speed", "--objective", "prefill_tokens_per_s").out
    best = [max(row["prefill_tokens_per_s"] for row in rows(grid, **{"soc.processors.npu.speed": speed})) for speed in (0.5, 1.0, 2.0)]
    count = sum(row["prefill_tokens_per_s"] in best for row in rows(grid))
    assert best == sorted(best)
    assert f"{count} of 20 points are on the front; better: less soc.processors.npu.speed, more prefill_tokens_per_s" in out
    assert [line.split()[0] for line in out.splitlines()[-4:-1]] == ["0.5", "1", "2"]


def test_objectives_are_also_those_of_the_axes_of_the_figure(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = plot(capsys, results / "grid", "pareto", "--x", "peak_memory_bytes", "--y", "prefill_energy_j").out
    assert "better: less peak_memory_bytes, less prefill_energy_j" in out
    more = plot(capsys, results / "grid", "pareto", "--x", "peak_memory_bytes", "--color", "bottleneck").out
    assert "better: less peak_memory_bytes, less ttft_s, less prefill_energy_j" in more


@pytest.mark.parametrize(
    ("objectives", "step"),
    [(("ttft_s", "prefill_energy_j"), "post"), (("prefill_tokens_per_s", "ttft_s"), "pre"), (("npu.speed", "ttft_s", "cpu.speed"), None)],
)
def test_steps_hold_on_the_side_that_is_worse(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, objectives: tuple[str, ...], step: str | None
) -> None:
    steps = list[str | None]()

    def draw(*values: Any, **options: Any) -> Any:
        steps.append(options["step"])
        return pareto(*values, **options)

    monkeypatch.setattr("socsim.plots.pareto", draw)
    plot(capsys, results / "grid", "pareto", *(word for name in objectives for word in ("--objective", name)))
    assert steps == [step]


def test_parallel_prints_the_best_points(results: Path, grid: SweepResult, capsys: pytest.CaptureFixture[str]) -> None:
    out = plot(
        capsys, results / "grid", "parallel", "--color", "prefill_tokens_per_s", "--objective", "chunk_tokens", "--objective", "ttft_s"
    ).out
    best = sorted((row["prefill_tokens_per_s"] for row in rows(grid)), reverse=True)[:5]
    assert [line.split()[0] for line in out.splitlines()[2:7]] == [f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" for value in best]
    assert "20 of 20 points; dark and on top: most prefill_tokens_per_s" in out


def test_a_tornado_of_means(results: Path, grid: SweepResult, capsys: pytest.CaptureFixture[str]) -> None:
    lines = plot(capsys, results / "grid", "tornado", "--y", "prefill_energy_j").out.splitlines()
    at = "soc.processors.npu.speed", "soc.processors.cpu.speed"
    means = {speed: np.mean([row["prefill_energy_j"] for row in rows(grid, **{at[0]: speed, at[1]: 2.0})]) for speed in (0.5, 1.0, 2.0)}
    every = float(np.mean([row["prefill_energy_j"] for row in rows(grid)]))
    (line,) = [line for line in lines if line.startswith("soc.processors.npu.speed")]
    for speed in (min(means, key=lambda each: means[each]), max(means, key=lambda each: means[each])):
        assert metric_text("prefill_energy_j", means[speed]) in line
    assert lines[-2] == (  # as cpu.speed 1 is not there at npu.speed 2
        "not compared, of 20 points: npu.speed 8, cpu.speed 4; their counterparts at other values of the axis are missing "
        "(10 failed, constraints leave some out)"
    )
    assert lines[-1] == f"mean prefill_energy_j of all: {metric_text('prefill_energy_j', every)}"


def test_ends_of_a_tornado_have_the_units_of_other_figures(
    results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = list[Any]()

    def draw(bars: Any, *values: Any, **options: Any) -> Any:
        drawn.extend(bars)
        return tornado(bars, *values, **options)

    monkeypatch.setattr(sys.modules["socsim.plots.tornado"], "tornado", draw)  # the package has a function of this name
    out = plot(capsys, results / "zero", "tornado").out
    assert "not compared" not in out  # all points are there
    ends = {bar.name: (bar.least_at, bar.largest_at) for bar in drawn}
    assert ends == {"prompt (tokens)": ("32", "64"), "NPU launch overhead (ms)": ("0 to 0.0816", "0.918 to 1")}
    (line,) = [line for line in out.splitlines() if line.startswith("soc.processors.npu.launch_overhead_s (ms)")]
    assert "0 to 0.0816" in line
    assert line.endswith("0.918 to 1")


@pytest.mark.parametrize(
    ("kind", "options", "drawing"),
    [
        ("heatmap", (), "--x or --y"),
        ("heatmap", ("--color", "scheduler"), "--x or --y"),
        ("heatmap", ("--color", "prompt_tokens"), "--x or --y"),  # the shortest would always be best
        ("line", ("--color", "scheduler"), "--x or --color"),
    ],
)
def test_nothing_is_best_over_what_is_run(
    results: Path, capsys: pytest.CaptureFixture[str], kind: str, options: tuple[str, ...], drawing: str
) -> None:
    words = f"choose one with --at prompt_tokens=VALUE, or draw it with {drawing}; values: 32, 1024\n"
    assert_refused(capsys, [str(results / "work"), "--kind", kind, *options], "axis 'prompt_tokens': says what is run", words)


@pytest.mark.parametrize(
    ("kind", "options"), [("heatmap", ("--at", "prompt_tokens=32")), ("heatmap", ("--y", "prompt_tokens")), ("line", ())]
)
def test_what_is_run_is_chosen_or_drawn(results: Path, capsys: pytest.CaptureFixture[str], kind: str, options: tuple[str, ...]) -> None:
    out = plot(capsys, results / "work", kind, *options).out
    assert "best over" in out
    assert "prompt_tokens" not in out.splitlines()[-1]


def test_indices_for_saltelli_and_means_while_points_are_missing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = plot(capsys, results / "saltelli", "tornado")
    assert "95 %" in whole.out
    first, second = sensitivity(read_sweep(results / "saltelli"), "ttft_s")
    for index in (first, second):
        (line,) = [line for line in whole.out.splitlines() if line.startswith(index.axis)]
        assert line.split()[1:] == [
            f"{index.first:.3f}",
            "+-",
            f"{index.first_margin:.3f}",
            f"{index.total:.3f}",
            "+-",
            f"{index.total_margin:.3f}",
        ]
    assert "note" not in whole.err
    half = plot(capsys, results / "half", "tornado")
    assert "largest mean" in half.out
    assert "note: no sensitivity indices, means instead" in half.err
    assert "note: 16 of 32 points are there, 0 of them failed" in half.err


def test_sampled_axes_are_grouped(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = plot(capsys, results / "saltelli", "heatmap").out
    assert "npu in 4 groups" in out
    assert "best over each group of npu, each group of soc.processors.cpu.launch_overhead_s: least ttft_s" in out
    points = slice_at(read_sweep(results / "saltelli"), [])
    npu = axis_column(Best(points, ["npu"], "ttft_s"), "npu")
    assert npu.edges is not None
    assert npu.log
    assert len(npu.edges) == 5
    assert np.ptp(np.diff(np.log(npu.edges))) < 1e-9
    assert npu.values == pytest.approx(np.sqrt(npu.edges[1:] * npu.edges[:-1]))
    overhead = axis_column(Best(points, [points.result.axes[1]], "ttft_s"), points.result.axes[1])
    assert overhead.label == "CPU launch overhead (\N{MICRO SIGN}s)"
    assert overhead.edges is not None
    assert 500 < overhead.edges[-1] <= 1000


@pytest.mark.parametrize("kind", ["line", "heatmap"])
def test_groups_of_an_axis_that_starts_at_0(results: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert "launch_overhead_s in " in plot(capsys, results / "zero", kind).out
    points = slice_at(read_sweep(results / "zero"), [])
    axis = points.result.axes[0]
    column = axis_column(Best(points, [axis], "ttft_s"), axis)
    assert column.label == "NPU launch overhead (ms)"
    assert column.edges == pytest.approx(np.linspace(0.0, 1.0, 7))
    assert column.values == pytest.approx(np.linspace(1.0, 11.0, 6) / 12.0)


@pytest.mark.parametrize(
    ("at", "axis", "value"),
    [
        ("prebuilt_chunk_tokens=[32, 64]", "engine.prebuilt_chunk_tokens", "[32, 64]"),
        ("prebuilt_chunk_tokens=[32,64]", "engine.prebuilt_chunk_tokens", "[32, 64]"),
        ("sliding_window = none", "model.sliding_window", None),
        ("sliding_window=null", "model.sliding_window", None),
        ("sliding_window=32", "model.sliding_window", "32"),
        ("prompt_tokens=1,025", "prompt_tokens", 1025),
        ("prompt_tokens=1025", "prompt_tokens", 1025),  # 1,024 is as near as tables print it
        ("shadow_outliers=true", "engine.shadow_outliers", True),
    ],
)
def test_values_are_taken_as_they_are_listed_and_as_specs_have_them(results: Path, at: str, axis: str, value: Any) -> None:
    points = slice_at(read_sweep(results / "lists"), [at])
    assert points.fixed == {axis: value}
    assert points.levels(axis) == [value]


@pytest.mark.parametrize(
    ("at", "allowed"),
    [
        ("prebuilt_chunk_tokens=[64]", "[32], [32, 64]"),
        ("sliding_window=64", "none, 32"),
        ("prompt_tokens=null", "1024, 1025"),
        ("shadow_outliers=1", "false, true"),
    ],
)
def test_all_values_that_an_error_lists_are_accepted(results: Path, capsys: pytest.CaptureFixture[str], at: str, allowed: str) -> None:
    assert_refused(capsys, [str(results / "lists"), "--kind", "line", "--at", at], f"allowed: {allowed}\n")


def test_lists_of_allowed_names_have_each_once(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = ", ".join(name for name in GRID["metrics"] if name != "bottleneck")
    assert_refused(capsys, [str(results / "grid"), "--kind", "tornado", "--y", "bottleneck"], f"is text; --y needs numbers: {numbers}\n")
    assert_refused(capsys, [str(results / "grid"), "--kind", "line", "--x", "sped"], "did you mean 'speed'")
    words = ("--x: ", "has no axis with several values at these points; allowed: chunk_tokens\n")
    assert_refused(capsys, [str(results / "point"), "--kind", "line"], *words)


def test_labels_have_units() -> None:
    names = ("ttft_s", "soc.processors.npu.launch_overhead_s", "soc.dram.peak_bytes_per_s", "chunk_tokens")
    assert [name_of(name, {}) for name in names] == ["time to first token", "NPU launch overhead", "DRAM peak", "chunk"]
    assert scaled("peak_memory_bytes", np.array([1e9, 3e9]), {}, log=False) == ("peak memory (GB)", 1e9)
    assert scaled("ttft_s", np.array([0.02, 0.5]), {}, log=False) == ("time to first token (ms)", 1e-3)
    assert scaled("npu_bubble_rate", np.array([0.5]), {}, log=False) == ("NPU bubble rate (%)", 0.01)
    assert scaled("prefill_tokens_per_s", np.array([5000.0]), {}, log=False) == ("prefill speed (tokens/s)", 1.0)
    assert scaled("soc.processors.npu.speed", np.array([0.5, 2.0]), {}, log=True) == ("NPU speed", 1.0)
    chunk = Axis(path="chunk_tokens", values=(64, "auto"))
    assert scaled("chunk_tokens", np.array(["64", "auto"], dtype=object), {"chunk_tokens": chunk}, log=False) == ("chunk (tokens)", 1.0)
    dram = Axis(path="soc.dram.peak_bytes_per_s", name="dram", values=(1, 2), relative=True)
    assert scaled("dram", np.array([1, 2]), {"dram": dram}, log=True) == ("DRAM (factor)", 1.0)
    labeled = dram.model_copy(update={"label": "Bandwidth of all"})
    assert scaled("dram", np.array([1, 2]), {"dram": labeled}, log=True) == ("Bandwidth of all (factor)", 1.0)
    threads = "soc.processors.cpu.waiting_threads"
    assert scaled("threads", np.array([1, 2]), {"threads": Axis(name="threads", path=threads, values=(1, 2))}, log=False)[0] == "threads"
    assert scaled("soc.subgraphs_s", np.array([2.0]), {}, log=False) == ("subgraphs (s)", 1.0)
    assert scaled("bottleneck", np.array(["NPU"], dtype=object), {}, log=False) == ("bottleneck", 1.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kind", "heatmp"], ["unknown --kind 'heatmp'", "did you mean 'heatmap'"]),
        (["--kind", "line", "--y", "tft_s"], ["'tft_s'", "did you mean 'ttft_s'"]),
        (["--kind", "line", "--x", "npu.sped"], ["'npu.sped'", "allowed: ", "soc.processors.npu.speed"]),
        (["--kind", "line", "--x", "speed"], ["--x 'speed'", "soc.processors.npu.speed and soc.processors.cpu.speed"]),
        (["--kind", "line", "--x", "chunk_tokens", "--color", "chunk_tokens"], ["--color 'chunk_tokens'", "axis already"]),
        (["--kind", "line", "--y", "tpot_s"], ["'tpot_s' has no value"]),
        (["--kind", "line", "--y", "bottleneck"], ["--y 'bottleneck': is text; --y needs numbers: ttft_s, "]),
        (["--kind", "parallel", "--color", "scheduler"], ["--color 'scheduler': is text; --color needs numbers: ttft_s, "]),
        (["--kind", "line", "--x", "bottleneck"], ["--x 'bottleneck': is a metric; --x needs an axis: soc.processors.npu.speed, "]),
        (["--kind", "tornado", "--y", "chunk_tokens"], ["--y 'chunk_tokens': is an axis; --y needs a metric: ttft_s, "]),
        (["--kind", "tornado", "--x", "chunk_tokens"], ["--x: is not for --kind tornado; allowed: --y, --at"]),
        (["--kind", "heatmap", "--objective", "ttft_s"], ["--objective: is not for --kind heatmap"]),
        (["--kind", "heatmap", "--x", "scheduler", "--y", "scheduler"], ["--y 'scheduler'", "three different"]),
        (["--kind", "heatmap", "--at", "npu.speed=1", "--at", "cpu.speed=1", "--at", "scheduler=fifo"], ["no other axis", "chunk_tokens"]),
        (["--kind", "pareto", "--objective", "ttft_s"], ["two or more columns of numbers, not ttft_s"]),
        (["--kind", "pareto", "--x", "ttft_s", "--y", "ttft_s"], ["--x and --y: are both 'ttft_s'"]),
        (["--kind", "pareto", "--objective", "scheduler"], ["'scheduler'", "--objective"]),
        (["--kind", "line", "--at", "chunk_tokens"], ["--at 'chunk_tokens'", "AXIS=VALUE"]),
        (["--kind", "line", "--at", "chunk_tokens=48"], ["has no value '48'; allowed: 16, 32"]),
        (["--kind", "line", "--at", "chunk_tokens=many"], ["has no value 'many'; allowed: 16, 32"]),
        (["--kind", "line", "--at", "scheduler=fif"], ["has no value 'fif'; allowed: in-order, fifo"]),
        (["--kind", "line", "--at", "chunk_tokens=16", "--at", "chunk_tokens=32"], ["fixed already, at 16"]),
        (["--kind", "line", "--at", "npu.speed=2", "--at", "cpu.speed=1"], ["there is no point at npu.speed=2, cpu.speed=1"]),
        (["--kind", "line", "--columns", "3"], ["--columns: is 3; allowed: 1, 2\n"]),
        (["--kind", "line", "--columns", "one"], ["'one' is no whole number"]),
        (["--kind", "line", "-o", "a.gif"], ["--output 'a.gif': unknown suffix '.gif'; allowed: .png, .pdf, .svg"]),
        (["--kind", "line", "-o", "none/a.png"], ["no such folder 'none'"]),
        ([], ["--kind"]),
    ],
)
def test_bad_input(results: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    assert_refused(capsys, [str(results / "grid"), *arguments], *words)


def test_folders_without_a_sweep(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert_refused(capsys, [str(tmp_path), "--kind", "line"], str(tmp_path), "holds no sweep")
    spec = GRID | {"axes": [{"path": "chunk_tokens", "values": [999999]}], "constraints": []}
    sweep(spec, tmp_path / "failed", jobs=1)
    assert_refused(capsys, [str(tmp_path / "failed"), "--kind", "line"], "there is no point that did not fail")
