from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from command_line import SMALL, call, call_well
from test_cli_run import write_policies

from socsim.cli.comparison import COLUMNS, cells
from socsim.cli.console import make_console

TTFT, PREFILL, DECODE, NPU = COLUMNS[:4]


def record(**values: float | None) -> dict[str, float | None]:
    return {"npu_utilization": 0.5, **values}


def test_json_has_one_record_a_run_engine_by_engine(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--engine", "cpu-only", "--engine", "llm-npu", "--scheduler", "fifo", "--scheduler", "in-order", "--json")
    data = call_well(capsys, "compare", *SMALL, *options).json
    assert data["schema_version"] == 1
    assert [(run["engine"], run["scheduler"]) for run in data["runs"]] == [
        ("cpu-only", "fifo"),
        ("cpu-only", "in-order"),
        ("llm-npu", "fifo"),
        ("llm-npu", "in-order"),
    ]
    for run in data["runs"]:
        alone = call_well(capsys, "run", *SMALL, "--engine", run["engine"], "--scheduler", run["scheduler"], "--json").json
        assert run == alone


def test_all_shipped_engines_with_their_own_schedulers_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    runs = call_well(capsys, "compare", "--model", "smollm2-135m", "--prompt-tokens", "64", "--json").json["runs"]
    listed = call_well(capsys, "list", "engines", "--json").json["engines"]
    assert [run["engine"] for run in runs] == [entry["name"] for entry in listed]
    assert len({run["scheduler"] for run in runs}) > 2


def test_the_best_of_each_column_is_marked() -> None:
    assert cells(TTFT, [record(ttft_s=1.5), record(ttft_s=0.25)]) == ("s", [("1.500", False), ("0.2500", True)])
    assert cells(PREFILL, [record(prefill_tokens_per_s=100.0), record(prefill_tokens_per_s=99.0)])[1] == [("100.0", True), ("99.00", False)]


def test_one_unit_for_a_column() -> None:
    assert cells(TTFT, [record(ttft_s=0.0125), record(ttft_s=0.5)]) == ("ms", [("12.50", True), ("500.0", False)])


def test_what_looks_equal_is_equally_good() -> None:
    assert cells(TTFT, [record(ttft_s=1.00001), record(ttft_s=1.00002), record(ttft_s=2.0)])[1] == [
        ("1.000", True),
        ("1.000", True),
        ("2.000", False),
    ]
    assert cells(TTFT, [record(ttft_s=1.00001), record(ttft_s=1.00002)])[1] == [("1.000", False), ("1.000", False)]


def test_a_processor_that_is_not_used_wins_nothing() -> None:
    unused = {"npu_utilization": 0.0}
    assert cells(NPU, [unused, record()]) == ("%", [("-", False), ("50.0", True)])
    assert cells(DECODE, [record(decode_tokens_per_s=None)]) == ("/s", [("-", False)])


@pytest.mark.parametrize("columns", [80, 100, 110, 120])
def test_tables_fit_and_lose_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    options = ("--engine", "cpu-only", "--engine", "llm-npu-two-subgraphs", "--engine", "llm-npu", "--output-tokens", "4")
    schedulers = ("--scheduler", "fifo", "--scheduler", "out-of-order-earliest-position")
    runs = call_well(capsys, "compare", *SMALL, *options, *schedulers, "--json").json["runs"]
    out = call_well(capsys, "compare", *SMALL, *options, *schedulers).out
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out
    for run in runs:
        assert f"{run['prefill_tokens_per_s']:#.4g}" in out
        assert f"{runs[0]['ttft_s'] / run['ttft_s']:#.4g}" in out
    assert out.count("*") > 3
    flat = " ".join(out.split())
    assert "Speed-up: TTFT of row 1 (cpu-only, fifo) over the row's." in flat
    assert "speed-up" in out
    assert "2 x 256 tokens, 212 of them padding" in flat


def test_explain_gives_a_conclusion_for_each_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--engine", "llm-npu", "--scheduler", "fifo", "--scheduler", "in-order", "--explain")
    runs = call_well(capsys, "compare", *SMALL, *options, "--json").json["runs"]
    flat = " ".join(call_well(capsys, "compare", *SMALL, *options).out.split())
    for run in runs:
        assert f"llm-npu, {run['scheduler']}: {run['explain']['conclusion']}" in flat


def test_files_hold_all_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace, plot, log = tmp_path / "trace.json", tmp_path / "gantt.svg", tmp_path / "log.csv"
    options = ("--engine", "llm-npu", "--scheduler", "fifo", "--scheduler", "in-order", "--set", "model.num_hidden_layers=2")
    outcome = call_well(capsys, "compare", *SMALL, *options, "--trace", str(trace), "--plot", str(plot), "--log", str(log), "--json")
    logs = ["log-1-llm-npu-fifo.csv", "log-2-llm-npu-in-order.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gantt.svg", *logs, "trace.json"]
    assert all(f"socsim: wrote: {path}" in outcome.err for path in tmp_path.iterdir())
    events = json.loads(trace.read_text())["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {1: "llm-npu, fifo", 2: "llm-npu, in-order"}
    for number, run in enumerate(outcome.json["runs"], start=1):
        ends = [event["ts"] + event["dur"] for event in events if event["ph"] == "X" and event["pid"] == number]
        assert max(ends) == pytest.approx(run["makespan_s"] * 1e6)


def test_all_engines_are_checked_before_the_first_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.runs.run_case", lambda *_: pytest.fail("simulated before all engines were checked"))
    huge = ("--soc", "toy-phone", "--model", "gemma-2b", "--prompt-tokens", "64", "--set", "soc.dram.capacity_bytes=2.6e9")
    outcome = call(capsys, "compare", *huge, "--engine", "cpu-only", "--engine", "llm-npu")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("socsim: error: engine llm-npu: gemma-2b with 64 prompt")
    assert outcome.err.count("\n") == 1


def test_a_policy_that_fails_keeps_what_was_finished(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_policies(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_policies", raising=False)
    options = ("--engine", "llm-npu", "--scheduler", "fifo", "--scheduler", "my_policies:wrong", "--json")
    outcome = call(capsys, "compare", *SMALL, *options)
    assert outcome.code == 2
    assert [run["scheduler"] for run in outcome.json["runs"]] == ["fifo"]
    assert outcome.err.startswith("socsim: error: engine llm-npu, scheduler my_policies:wrong: scheduler chose -5")
    only = call(capsys, "compare", *SMALL, "--engine", "llm-npu", "--scheduler", "my_policies:wrong")
    assert (only.code, only.out) == (2, "")


def test_the_best_is_bold_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert make_console().is_terminal
    out = call_well(capsys, "compare", *SMALL, "--engine", "cpu-only", "--engine", "llm-npu").out
    marked = [part for part in out.split("\x1b[1m") if part.split("\x1b[0m")[0].strip().endswith("*")]
    assert len(marked) >= 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_log_that_cannot_be_completed_loses_no_result(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socsim.cli.compare._numbered", lambda *_: Path("/dev/full"))
    options = ("--engine", "llm-npu", "--set", "model.num_hidden_layers=1", "--log", str(tmp_path / "log.csv"), "--json")
    outcome = call(capsys, "compare", *SMALL, *options)
    assert outcome.code == 2
    assert len(outcome.json["runs"]) == 1
    assert outcome.err == "socsim: error: cannot write the decision log '/dev/full': No space left on device\n"


@pytest.mark.parametrize(("engines", "shown"), [(1, False), (2, True)])
def test_progress_is_shown_on_a_terminal_if_there_are_several_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, engines: int, shown: bool
) -> None:
    options = ["--engine", "cpu-only"] * engines + ["--set", "model.num_hidden_layers=1", "--json"]
    assert call_well(capsys, "compare", *SMALL, *options).err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    outcome = call_well(capsys, "compare", *SMALL, *options)
    assert ("simulating" in outcome.err) == shown
    assert len(outcome.json["runs"]) == engines
