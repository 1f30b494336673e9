from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import SMALL, call, call_well
from test_cli_run import write_policies

from socsim.schedulers import SCHEDULERS

TINY = ("schedule", *SMALL, "--set", "model.num_hidden_layers=2")
OPTIMAL = ("--scheduler", "fifo", "--scheduler", "out-of-order", "--optimal")


@pytest.fixture(autouse=True)
def _little_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.schedulers.order_search.EFFORT", 2000)


def test_all_shipped_policies_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    data = call_well(capsys, *TINY, "--json").json
    assert data["schema_version"] == 1
    assert [run["scheduler"] for run in data["runs"]] == list(SCHEDULERS)
    assert "optimal" not in data
    best_s = min(run["makespan_s"] for run in data["runs"])
    ties_s = [run["makespan_s"] for run in data["runs"] if run["scheduler"].startswith("out-of-order")]
    for run in data["runs"]:
        assert run["makespan_gap"] == run["makespan_s"] / run["makespan_lower_bound_s"] - 1 >= 0
        assert run["best_known_gap"] == run["makespan_s"] / best_s - 1
        assert run["speedup_over_out_of_order"] == min(ties_s) / run["makespan_s"]
        assert run["planning_wall_s"] > 0
        assert run["decision_wall_s"] >= 0
        assert run["decisions"] >= run["subgraphs"]


def test_records_are_those_of_single_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = call_well(capsys, *TINY, "--scheduler", "fifo", "--json").json["runs"]
    alone = call_well(capsys, "run", *TINY[1:], "--scheduler", "fifo", "--json").json
    assert {name: value for name, value in run.items() if name in alone} == alone
    assert run["speedup_over_out_of_order"] is None


def test_the_optimum_is_a_row_and_proves_a_bound(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    data = call_well(capsys, *TINY, *OPTIMAL, "--json").json
    found = data["optimal"]
    bound_s = found["uncontended_lower_bound_s"]
    assert (found["status"], found["run"]["scheduler"], found["time_limit_s"]) == ("optimal", "optimal", 60)
    assert found["uncontended_makespan_s"] == bound_s
    assert {run["makespan_lower_bound_s"] for run in [*data["runs"], found["run"]]} == {bound_s}
    monkeypatch.setenv("COLUMNS", "120")
    out = call_well(capsys, *TINY, *OPTIMAL).out
    assert "the least makespan is" in out
    assert found["run"]["makespan_gap"] > 0
    assert "Row 'optimal' plays that order with shared DRAM, where another may be faster; the bound holds there, too." in out
    assert "With 2 chunks the lower bound may be out of reach" not in out
    without = call_well(capsys, *TINY, "--scheduler", "sequential").out
    assert "With 2 chunks the lower bound may be out of reach" in without
    assert "OR-Tools" not in without
    assert "speed-" not in without


def test_a_search_that_runs_out_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("schedule", "--model", "smollm2-135m", "--prompt-tokens", "768", *OPTIMAL, "--time-limit", "0.001")
    found = call_well(capsys, *options, "--json").json["optimal"]
    assert (found["status"], found["run"]["scheduler"], found["time_limit_s"]) == ("feasible", "best-found", 0.001)
    flat = " ".join(call_well(capsys, *options).out.split())
    assert "OR-Tools (feasible," in flat
    assert "the best makespan found is" in flat
    assert "Row 'best-found' plays that order with shared DRAM, where another may be faster; the bound holds there, too." in flat
    assert "With 3 chunks the lower bound may be out of reach" in flat


def test_policies_that_place_subgraphs_have_bounds_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    gpu = [text for name in ("rope", "kv_append", "attention") for text in ("--set", f'engine.placement.alternatives.{name}=["gpu"]')]
    options = ("schedule", "--model", "smollm2-135m", "--set", "model.num_hidden_layers=2", *gpu, "--scheduler", "heft", *OPTIMAL)
    data = call_well(capsys, *options, "--json").json
    bounds_s = [run["makespan_lower_bound_s"] for run in data["runs"]]
    assert bounds_s[0] < bounds_s[1] == bounds_s[2] == data["optimal"]["uncontended_lower_bound_s"]
    out = call_well(capsys, *options).out
    assert "Lower bound: no order with the engine's placement has a makespan below" in out
    assert "With a placement, and so a lower bound, of their own: heft." in out
    assert data["optimal"]["run"]["makespan_gap"] == 0  # bandwidths are not exhausted
    assert "Row 'optimal' plays that order with shared DRAM, where none with this placement is faster;" in out


@pytest.mark.parametrize("columns", [80, 100, 120])
@pytest.mark.parametrize("more", [(), ("--set", "engine.placement.other=gpu")])
def test_tables_fit_and_lose_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, more: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    options = (*TINY, *more, "--scheduler", "sequential", "--scheduler", "out-of-order-earliest-position", "--optimal")
    data = call_well(capsys, *options, "--json").json
    out = call_well(capsys, *options).out
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out
    for run in [*data["runs"], data["optimal"]["run"]]:
        assert f"{run['makespan_s'] * 1e3:#.4g}" in out
        assert f"{run['makespan_gap'] * 100:.2f}" in out
        assert f"{run['prefill_energy_j']:#.4g}" in out
        assert all(f"{run[f'{name}_bubble_rate'] * 100:.1f}" in out for name in ("npu", "cpu"))
    first, second = (run["makespan_s"] for run in data["runs"])
    assert f"{second / first:.3f}" in out
    assert out.count("*") == 2  # the fastest policy, and what that means
    assert ("GPU" in out) == bool(more)


def test_a_policy_of_the_current_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_policies(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_policies", raising=False)
    outcome = call_well(capsys, *TINY, "--scheduler", "my_policies:last", "--json")
    assert [run["scheduler"] for run in outcome.json["runs"]] == ["my_policies:last"]
    assert outcome.err == "noise\n"
    wrong = call(capsys, *TINY, "--scheduler", "fifo", "--scheduler", "my_policies:wrong")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.startswith("socsim: error: scheduler my_policies:wrong: scheduler chose -5")


def test_charts_of_all_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plot = tmp_path / "gantts.svg"
    outcome = call_well(capsys, *TINY, *OPTIMAL, "--plot", str(plot))
    assert outcome.err == f"socsim: wrote: {plot}\n"
    assert plot.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scheduler", "fifi"), "unknown scheduler 'fifi' (did you mean 'fifo'?); allowed: "),
        (("--time-limit", "3"), "--time-limit 3: only goes with --optimal"),
        (("--optimal", "--time-limit", "0"), "--time-limit 0: allowed: seconds above 0"),
        (("--optimal", "--time-limit", "inf"), "--time-limit inf: allowed: seconds above 0"),
        (("--optimal", "--time-limit", "soon"), "invalid value for '--time-limit': "),
        (("--plot", "a.txt"), "--plot 'a.txt': unknown suffix '.txt'; allowed: "),
        (
            ("--optimal", "--scheduler", "fifo", "--set", "run.slowed_processor=cpu", "--set", "run.slowdown_factor=2"),
            "optimal schedules need costs that do not change in mid-run: run.slowed_processor should not be set",
        ),
    ],
)
def test_bad_options(capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str) -> None:
    outcome = call(capsys, *TINY, *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"socsim: error: {message}")
    assert outcome.err.count("\n") == 1


def test_without_or_tools(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.optimal.find_spec", lambda name: None)
    outcome = call(capsys, *TINY, *OPTIMAL)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "socsim: error: optimal schedules need OR-Tools: pip install 'phone-socsim[optimal]'\n"


def test_progress_is_shown_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_well(capsys, *TINY, *OPTIMAL, "--json").err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = call_well(capsys, *TINY, *OPTIMAL, "--time-limit", "30", "--json").err
    assert "simulating" in shown
    assert "solving, up to 30 s" in shown
