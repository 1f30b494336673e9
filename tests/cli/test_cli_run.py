from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from command_line import SMALL, call, call_well

import socsim
import socsim.uncertainty
from socsim.cli.report import describe_chunks
from socsim.cli.units import quantity

PROMISED = {
    "soc",
    "model",
    "engine",
    "scheduler",
    "prompt_tokens",
    "output_tokens",
    "chunk_tokens",
    "ttft_s",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "e2e_s",
    "preparation_s",
    "prefill_energy_j",
    "e2e_energy_j",
    "mean_power_w",
    "npu_utilization",
    "npu_bubble_rate",
    "cpu_utilization",
    "gpu_utilization",
    "makespan_s",
    "tpot_s",
    "chunk_plan",
    "power_calibration",
    "peak_power_w",
    "dram_bytes",
    "peak_memory_bytes",
    "npu_memory_bytes",
    "subgraphs",
    "schema_version",
}


def test_json_is_the_record_of_the_same_run_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = call_well(capsys, "run", *SMALL, "--output-tokens", "3", "--json")
    result = socsim.run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=300, output_tokens=3)
    bound_s = result.bounds.makespan_s
    record = result.record | {"makespan_lower_bound_s": bound_s, "makespan_gap": result.record["makespan_s"] / bound_s - 1}
    assert outcome.json == json.loads(json.dumps(record))
    assert list(outcome.json) == list(record)
    assert set(outcome.json) >= PROMISED
    assert outcome.err == ""


def test_options_reach_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--engine", "cpu-only", "--cached-tokens", "100", "--chunk-tokens", "64", "--scheduler", "fifo", "--set", "run.seed=7")
    record = call_well(capsys, "run", *SMALL, *options, "--set", "run.power_calibration=whole-device", "--json").json
    assert record["engine"] == "cpu-only"
    assert record["cached_tokens"] == 100
    assert record["chunk_plan"] == [64, 64, 64, 8]
    assert record["scheduler"] == "fifo"
    assert record["seed"] == 7


def test_set_reaches_soc_model_and_engine(capsys: pytest.CaptureFixture[str]) -> None:
    plain = call_well(capsys, "run", *SMALL, "--json").json
    slower = call_well(capsys, "run", *SMALL, "--set", "soc.processors.npu.launch_overhead_s=20e-3", "--json").json
    shallow = call_well(capsys, "run", *SMALL, "--set", "model.num_hidden_layers=2", "--json").json
    unpruned = call_well(capsys, "run", *SMALL, "--set", "engine.outlier_pruning_rate=0", "--json").json
    assert slower["ttft_s"] > plain["ttft_s"]
    assert shallow["subgraphs"] < plain["subgraphs"] < unpruned["subgraphs"]


def test_table_states_conditions_and_all_groups(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = call_well(capsys, "run", *SMALL, "--output-tokens", "3").out
    assert "300 prompt tokens, 3 output tokens" in out
    assert "2 x 256 tokens, 212 of them padding" in out
    assert "out-of-order (completions-before-choices)" in out
    assert "calibration whole-device" in out
    for words in ("time to first token", "throughput", "NPU bubble rate", "peak power", "KV cache"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out


def test_table_without_decode_has_no_decode_speed(capsys: pytest.CaptureFixture[str]) -> None:
    out = call_well(capsys, "run", *SMALL).out
    assert "- (one output token)" in out
    assert "None" not in out


def test_table_shows_the_value_of_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    record = call_well(capsys, "run", *SMALL, "--json").json
    lines = call_well(capsys, "run", *SMALL).out.splitlines()
    line = next(line for line in lines if line.split()[-1:] == ["prefill_tokens_per_s"])
    assert f"{record['prefill_tokens_per_s']:#.4g} tokens/s" in line


def test_table_tells_how_far_the_makespan_is_above_its_lower_bound(capsys: pytest.CaptureFixture[str]) -> None:
    record = call_well(capsys, "run", *SMALL, "--json").json
    out = call_well(capsys, "run", *SMALL).out
    lines = {line.split()[-1]: " ".join(line.split()[:-1]) for line in out.splitlines() if line.strip()}
    assert lines["makespan_lower_bound_s"].endswith(quantity(record["makespan_lower_bound_s"], "s"))
    assert lines["makespan_gap"] == f"above that bound {record['makespan_gap'] * 100:.1f} %"


@pytest.mark.parametrize(
    ("options", "note"),
    [
        (("--chunk-tokens", "256"), "With 2 chunks the lower bound may be out of reach"),
        (("--chunk-tokens", "512"), "With one chunk the lower bound may be out of reach"),
        (("--chunk-tokens", "64"), None),
        (("--engine", "cpu-only", "--chunk-tokens", "256"), None),  # one processor: the bound is reached
    ],
)
def test_the_lower_bound_is_called_out_of_reach_for_few_chunks(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], note: str | None
) -> None:
    out = call_well(capsys, "run", *SMALL, *options).out
    assert ("the lower bound may be out of reach" in out) == (note is not None)
    assert note is None or note in out


def test_chunk_plans_in_short() -> None:
    assert describe_chunks([256, 256, 100], 0) == "2 x 256 + 1 x 100 tokens"
    assert describe_chunks([64], 4) == "1 x 64 tokens, 4 of them padding"


def test_trace_plot_and_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace, plot, log = tmp_path / "trace.json", tmp_path / "gantt.svg", tmp_path / "log.csv"
    outcome = call_well(capsys, "run", *SMALL, "--json", "--trace", str(trace), "--plot", str(plot), "--log", str(log))
    assert [line.removeprefix("socsim: wrote: ") for line in outcome.err.splitlines()] == [str(log), str(trace), str(plot)]
    record = outcome.json
    events = json.loads(trace.read_text())["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == record["subgraphs"]
    assert {event["name"] for event in events if event["ph"] == "C"} == {"DRAM bandwidth (GB/s)", "power (W)"}
    assert "<svg" in plot.read_text()
    with log.open(newline="") as file:
        decisions = list(csv.DictReader(file))
    taken = [row["choice"] for row in decisions if row["choice"] != "wait"]
    assert len(taken) == len(set(taken)) == record["subgraphs"]


def test_logging_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plain = call_well(capsys, "run", *SMALL, "--json")
    logged = call_well(capsys, "run", *SMALL, "--json", "--log", str(tmp_path / "log.csv"))
    assert plain.json == logged.json


def test_explain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    explained = call_well(capsys, "run", *SMALL, "--explain", "--json").json
    plain = call_well(capsys, "run", *SMALL, "--json").json
    explanation = explained.pop("explain")
    assert explained == plain
    assert sum(row["seconds"] for row in explanation["path"]) == pytest.approx(plain["makespan_s"])
    out = call_well(capsys, "run", *SMALL, "--explain").out
    flat = " ".join(out.split())
    assert explanation["conclusion"] in flat
    for words in ("critical path of the prefill", "if one resource cost nothing", "longest idle gaps"):
        assert words in flat
    for resource in explanation["without"]:
        assert (resource.replace("_", " ") in flat) == (resource != "gpu_compute")  # this run uses no GPU
    for gap in explanation["gaps"]:
        assert gap["before"] in flat
    assert max(map(len, out.splitlines())) <= 80


def test_uncertainty_adds_bands_around_the_prediction(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    options = ("--scheduler", "fifo", "--set", "engine.cpu_threads=2")
    outcome = call_well(capsys, "run", *SMALL, *options, "--uncertainty", "--json")
    record = outcome.json
    found = record.pop("uncertainty")
    assert record == call_well(capsys, "run", *SMALL, *options, "--json").json
    assert outcome.err == ""
    bands = socsim.uncertainty.uncertainty_bands(
        "toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=300, scheduler="fifo", overrides={"engine.cpu_threads": 2}
    )
    assert found == {metric: {"p10": band.low, "p50": band.median, "p90": band.high} for metric, band in bands.items()}
    assert all(band["p10"] < band["p50"] < band["p90"] for band in found.values())
    out = call_well(capsys, "run", *SMALL, *options, "--uncertainty", "--explain").out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    line = next(line for line in out[out.index("uncertainty, percentile") :].splitlines() if "prefill speed" in line)
    assert line.split()[2::2] == [f"{value:#.4g}" for value in found["prefill_tokens_per_s"].values()]


def test_uncertainty_has_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    outcome = call_well(capsys, "run", *SMALL, "--set", "model.num_hidden_layers=2", "--uncertainty", "--json")
    assert outcome.json["uncertainty"]
    assert "━" in outcome.err


def write_policies(folder: Path) -> None:
    (folder / "my_policies.py").write_text(
        "def last(graph, expected_ns, seed):\n"
        "    print('noise')\n"
        "    return lambda ready, view: ready[-1]\n\n"
        "def wrong(graph, expected_ns, seed):\n"
        "    return lambda ready, view: -5\n\n"
        "def lazy(graph, expected_ns, seed):\n"
        "    return lambda ready, view: None\n\n"
        "number = 3\n"
    )
    (folder / "broken_policies.py").write_text("def f(:\n")


@pytest.fixture
def _policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_policies(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_policies", raising=False)


@pytest.mark.usefixtures("_policies")
def test_a_scheduler_of_the_current_folder(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = call_well(capsys, "run", *SMALL, "--scheduler", "my_policies:last", "--explain", "--json")
    assert outcome.json["scheduler"] == "my_policies:last"
    assert outcome.json["explain"]["conclusion"]
    assert "noise" in outcome.err


@pytest.mark.usefixtures("_policies")
@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ("my_policies:wrong", "scheduler chose -5 for the cpu at 0 ns, which is not ready; allowed: 0"),
        ("my_policies:lazy", "scheduler waits at 0 ns although nothing is running"),
        ("my_policies:number", "'number' is no function"),
        ("my_policies:none", "module 'my_policies' has no 'none'"),
        ("no_policies:x", "cannot import module 'no_policies'"),
        ("broken_policies:f", "SyntaxError"),
        (":f", "scheduler ':f'"),
    ],
)
def test_schedulers_that_fail(capsys: pytest.CaptureFixture[str], scheduler: str, words: str) -> None:
    outcome = call(capsys, "run", *SMALL, "--scheduler", scheduler)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("socsim: error: ")
    assert outcome.err.count("\n") == 1
    assert words in outcome.err


@pytest.mark.usefixtures("_policies")
def test_uncertainty_under_a_scheduler_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = call_well(
        capsys, "run", *SMALL, "--set", "model.num_hidden_layers=2", "--scheduler", "my_policies:last", "--uncertainty", "--json"
    )
    assert set(outcome.json["uncertainty"]) == {"ttft_s", "prefill_tokens_per_s", "prefill_energy_j"}
    assert outcome.err.count("noise") == 1 + len(socsim.uncertainty.load_ensemble())


@pytest.mark.usefixtures("_policies")
def test_the_log_of_a_policy_that_fails_ends_with_its_choice(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    outcome = call(capsys, "run", *SMALL, "--scheduler", "my_policies:wrong", "--log", str(tmp_path / "log.csv"))
    assert (outcome.code, outcome.out) == (2, "")
    assert "scheduler chose -5" in outcome.err
    assert (tmp_path / "log.csv").read_text().splitlines()[-1].endswith(",-5")
