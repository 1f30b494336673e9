"""``socsim sweep``: what it prints, what it leaves behind, and with which code it ends."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome, call, call_well

from socsim.cli.progress import PlainPoints, counted_points, duration_text
from socsim.sweeps import read_sweep
from socsim.sweeps.evaluation import run_batch

SPEC = """
metrics = ["ttft_s", "npu_utilization", "peak_memory_bytes", "tpot_s"]
constraints = ["npu != 4"]
[base]
soc = "toy-phone"
model = "smollm2-135m"
engine = "llm-npu"
prompt_tokens = 64
set.model.num_hidden_layers = 2
[[axes]]
path = "soc.processors.npu.speed"
name = "npu"
values = [0.5, 1, 2, 4]
[[axes]]
path = "chunk_tokens"
values = [16, 32, "auto"]
"""
FAILING = SPEC.replace('[16, 32, "auto"]', "[16, 32, 9000]")


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a sweep of nine points in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(SPEC, encoding="utf-8")
    return "mine.toml"


def words(text: str) -> list[list[str]]:
    """Return the cells of a printed table or the words of other lines."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def assert_refused(outcome: Outcome, *told: str) -> None:
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("socsim: error: ")
    assert outcome.err.count("\n") == 1, outcome.err
    for each in told:
        assert each in outcome.err


def test_a_dry_run_says_what_there_is_to_do_and_writes_nothing(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    outcome = call_well(capsys, "sweep", spec, "--dry-run", "--jobs", "3")
    lines = words(outcome.out)
    assert ["npu", "soc.processors.npu.speed", "0.5, 1, 2, 4", "4"] in lines
    assert ["chunk_tokens", "chunk_tokens", "16, 32, auto", "3"] in lines
    assert "9 points of 12, as 3 do not meet the constraints; 12 parts; metrics: ttft_s, npu_utilization, peak_memory_bytes" in outcome.out
    assert re.search(r"^About .* with 3 workers: a point takes about [0-9.]+ ms here\.$", outcome.out, re.MULTILINE)
    assert outcome.err == ""
    assert [path.name for path in Path().iterdir()] == ["mine.toml"]


def test_a_dry_run_names_what_is_sampled_and_factors(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    text = SPEC.replace("values = [0.5, 1, 2, 4]", "start = 0.5\nstop = 4").replace('[16, 32, "auto"]', "[0.5, 1]\nrelative = true")
    text = text.replace("[base]", "[base]\nchunk_tokens = 32").replace("[[axes]]", '[sample]\nmethod = "sobol"\npoints = 8\n[[axes]]', 1)
    Path(spec).write_text(text.replace('constraints = ["npu != 4"]', ""), encoding="utf-8")
    outcome = call_well(capsys, "sweep", spec, "--dry-run", "--jobs", "1")
    lines = words(outcome.out)
    assert ["npu", "soc.processors.npu.speed", "0.5 to 4, sampled", "8"] in lines
    assert ["chunk_tokens", "chunk_tokens", "0.5, 1, times the base", "2"] in lines
    assert "\n16 points; 16 parts;" in outcome.out
    assert " with 1 worker: a point" in outcome.out


def test_results_are_in_the_folder_and_summed_up(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    outcome = call_well(capsys, "sweep", spec, "--jobs", "1")
    result = read_sweep("results/mine")
    values = result.values(["npu", "chunk_tokens", "ttft_s", "npu_utilization"])
    assert (result.counts(), len(values["npu"])) == ((9, 0), 9)
    rows = {line[0]: line for line in words(outcome.out)}
    best = int(values["ttft_s"].argmin())
    least, median, largest = (float(each.split()[0]) for each in rows["ttft_s"][1:4])
    unit = {"s": 1.0, "ms": 1e-3}[rows["ttft_s"][1].split()[1]]
    ttft = sorted(values["ttft_s"])
    assert [least * unit, median * unit] == pytest.approx([ttft[0], ttft[4]], rel=0.01)
    assert largest >= median
    assert rows["ttft_s"][4] == f"npu {values['npu'][best]:g}, chunk_tokens {values['chunk_tokens'][best]}"
    most = int(values["npu_utilization"].argmax())  # of which more is better
    assert rows["npu_utilization"][4] == f"npu {values['npu'][most]:g}, chunk_tokens {values['chunk_tokens'][most]}"
    assert "tpot_s" not in rows  # there is none with one token
    assert "\n9 of 9 points in results/mine/points, 0 failed\n" in outcome.out
    assert outcome.err.splitlines()[0] == "socsim: mine: 0 of 9 points"
    assert outcome.err.splitlines()[-1].startswith("socsim: mine: 9 of 9 points, ")
    assert "left" not in outcome.err


def test_a_metric_that_never_varies_is_best_nowhere(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    Path(spec).write_text(SPEC.replace('[16, 32, "auto"]', "[32]"), encoding="utf-8")
    rows = {line[0]: line for line in words(call_well(capsys, "sweep", spec, "--jobs", "1").out)}
    assert rows["peak_memory_bytes"][-1] == "the same everywhere"


def test_a_limit_leaves_points_for_later(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    first = call_well(capsys, "sweep", spec, "-o", "out here", "--jobs", "1", "--limit", "4")
    assert "note: 5 points are left: socsim sweep mine.toml -o 'out here' --resume\n" in first.err
    assert "\n4 of 9 points in out here/points, 0 failed\n" in first.out
    again = call(capsys, "sweep", spec, "-o", "out here", "--jobs", "1")
    assert_refused(again, "out here: holds a sweep already; continue it with --resume, or choose another folder")
    rest = call_well(capsys, "sweep", spec, "-o", "out here", "--jobs", "1", "--resume")
    assert rest.err.splitlines()[0] == "socsim: mine: 4 of 9 points"
    assert "\n9 of 9 points" in rest.out
    call_well(capsys, "sweep", spec, "-o", "whole", "--jobs", "2")
    one, two = ({path.name: path.read_bytes() for path in Path(folder, "points").iterdir()} for folder in ("out here", "whole"))
    assert one == two
    done = call_well(capsys, "sweep", spec, "-o", "whole", "--resume")
    assert done.err == "socsim: mine: 9 of 9 points\n"


def test_resume_starts_where_there_is_nothing(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    assert "\n9 of 9 points" in call_well(capsys, "sweep", spec, "--jobs", "1", "--resume").out


def test_another_spec_is_not_resumed(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    call_well(capsys, "sweep", spec, "--jobs", "1", "--limit", "1")
    Path(spec).write_text(SPEC.replace("prompt_tokens = 64", "prompt_tokens = 65"), encoding="utf-8")
    outcome = call(capsys, "sweep", spec, "--jobs", "1", "--resume")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == (
        "socsim: error: results/mine: cannot be resumed, as the sweep is another one now: spec.base.prompt_tokens was 64, is 65"
    )


def test_some_points_that_fail_are_told(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    Path(spec).write_text(FAILING, encoding="utf-8")
    outcome = call_well(capsys, "sweep", spec, "--jobs", "1")
    assert "\n6 of 9 points in results/mine/points, 3 failed\n" in outcome.out
    assert re.search(r"^  3 x engine\.chunk_tokens 9000 exceeds the context of smollm2-135m", outcome.out, re.MULTILINE)
    assert outcome.err.splitlines()[-1].startswith("socsim: mine: 9 of 9 points, ")
    assert "3 failed" in outcome.err.splitlines()[-1]


def test_nothing_but_failures_is_a_failure(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    Path(spec).write_text(SPEC.replace('[16, 32, "auto"]', "[9000, 9001]"), encoding="utf-8")
    outcome = call(capsys, "sweep", spec, "--jobs", "1")
    assert outcome.code == 1
    assert "0 of 6 points in results/mine/points, 6 failed\n" in outcome.out
    assert outcome.out.count(" 3 x engine.chunk_tokens 900") == 2


@pytest.mark.parametrize("option", ["--dry-run", "--resume"])
def test_constraints_that_no_point_meets(capsys: pytest.CaptureFixture[str], spec: str, option: str) -> None:
    Path(spec).write_text(SPEC.replace("npu != 4", "npu > 4"), encoding="utf-8")
    assert_refused(call(capsys, "sweep", spec, "--jobs", "1", option), "mine.toml: no point meets all constraints")
    assert [path.name for path in Path().iterdir()] == ["mine.toml"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sweep"], "SPEC.toml"),
        (["sweep", "absent.toml"], "absent.toml"),
        (["sweep", "mine.toml", "--jobs", "0"], "--jobs 0: should be 1 or more"),
        (["sweep", "mine.toml", "--jobs", "two"], "--jobs': 'two' is no whole number"),
        (["sweep", "mine.toml", "--limit", "-1"], "--limit -1: should be 1 or more"),
        (["sweep", "mine.toml", "--jobs", "2", "--cluster", "tcp://127.0.0.1:1"], "--jobs and --cluster"),
        (["sweep", "mine.toml", "--resum"], "--resume"),
        (["sweep", "mine.toml", "-o", "mine.toml", "--jobs", "1"], "mine.toml: cannot be written: File exists"),
    ],
)
def test_bad_arguments(capsys: pytest.CaptureFixture[str], spec: str, arguments: list[str], told: str) -> None:
    outcome = call(capsys, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("socsim: error: ")
    assert told in outcome.err
    assert "Traceback" not in outcome.err
    assert [path.name for path in Path().iterdir()] == ["mine.toml"]


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("npu.speed", "npu.sped", "mine.toml: axis 'npu': soc: unknown field 'processors.npu.sped' (did you mean 'speed'?)"),
        ("npu != 4", "npo != 4", "mine.toml: constraint 'npo != 4': unknown name 'npo' (did you mean 'npu'?)"),
        ('"ttft_s"', '"ttft"', "mine.toml: unknown metric 'ttft' (did you mean 'ttft_s'?)"),
        ("prompt_tokens = 64", "", "mine.toml: field 'base.prompt_tokens' is missing, and no axis sets it"),
        ("[[axes]]", "[axes]", "mine.toml"),
        ('"auto"', '"aut"', "not 'aut' (did you mean 'auto'?)"),
    ],
)
def test_bad_specs(capsys: pytest.CaptureFixture[str], spec: str, was: str, now: str, told: str) -> None:
    Path(spec).write_text(SPEC.replace(was, now, 1), encoding="utf-8")
    assert_refused(call(capsys, "sweep", spec, "--jobs", "1"), told)


def test_an_interruption_says_how_to_go_on(capsys: pytest.CaptureFixture[str], spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, done = run_batch, list[int]()

    def interrupted(plan: str, number: int, client: dict[str, Any]) -> object:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(number)
        return real(plan, number, client)

    monkeypatch.setattr("socsim.sweeps.execution.run_batch", interrupted)
    outcome = call(capsys, "sweep", spec, "--jobs", "1")
    assert outcome.code == 130
    note = "socsim: note: interrupted; what is done is kept, continue with: socsim sweep mine.toml -o results/mine --resume"
    assert note in outcome.err.splitlines()
    assert "Traceback" not in outcome.err
    assert read_sweep("results/mine").counts() == (3, 0)


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_plain_lines_come_at_the_start_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lines = Clock(), list[str]()
    monkeypatch.setattr("socsim.cli.progress.time", clock)
    points = PlainPoints("mine", 12_000, show=lines.append)
    for seconds, done, failed in ((0, 2000, 0), (5, 2500, 1), (5, 4000, 1), (1, 4100, 1), (9, 5000, 2), (80, 12_000, 2)):
        clock.now += seconds
        points(done, failed)
    assert lines == [
        "2,000 of 12,000 points",
        "4,000 of 12,000 points, 200 points/s, 1 failed, about 40 s left",
        "5,000 of 12,000 points, 150 points/s, 2 failed, about 47 s left",
        "12,000 of 12,000 points, 100 points/s, 2 failed",
    ]
    assert points.rate_text == "100 points/s"


def test_plain_lines_go_to_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    PlainPoints("mine", 3)(1, 0)
    assert stream.getvalue() == "socsim: mine: 1 of 3 points\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.9, "9.9 s"),
        (10, "10 s"),
        (119, "119 s"),
        (120, "2.0 min"),
        (7199, "120.0 min"),
        (7200, "2.0 h"),
        (172_800, "2.0 days"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize("address", ["foo", "127.0.0.1:8786", "http://127.0.0.1:80", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:0"])
def test_addresses_that_are_none(capsys: pytest.CaptureFixture[str], spec: str, address: str) -> None:
    for options in ((), ("--dry-run",)):
        outcome = call(capsys, "sweep", spec, "--cluster", address, *options)
        assert outcome.code == 2
        assert outcome.err.endswith(f"socsim: error: --cluster '{address}': should be tcp://HOST:PORT or tls://HOST:PORT\n")


def test_the_table_counts_names_and_the_rest_of_the_reasons(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    text = SPEC.replace('[16, 32, "auto"]', "[16, 9001, 9002, 9003, 9004, 9005, 9006, 9007]")
    text = re.sub(r"metrics = .*", 'metrics = ["ttft_s", "bottleneck"]', text)
    Path(spec).write_text(text, encoding="utf-8")
    out = call_well(capsys, "sweep", spec, "--jobs", "1").out
    assert re.search(r"^bottleneck: \w[\w ]+ \d", out, re.MULTILINE)
    assert re.search(r"^  3 x .*9005", out, re.MULTILINE)
    assert re.search(r"^  6 for other reasons, which are in the column 'error'$", out, re.MULTILINE)


def test_a_terminal_sees_a_bar_with_rate_and_failures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if it were one
    with counted_points("mine", 10) as told:
        told(2, 0)
        time.sleep(0.01)
        told(7, 3)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert " 7/10 " in shown
    assert "points/s" in shown
    assert "3 failed" in shown
