"""``socsim experiment``: lists, runs, skips what is up to date, and survives being killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import call, call_well
from filelock import FileLock

from socsim.cli.console import make_console
from socsim.cli.experiment import print_table
from socsim.experiments.publication import read_record
from socsim.experiments.running import list_experiments

SCRIPT = '''"""What is {name}?"""

import pathlib, time
from socsim.experiments import Publication

def main(out, quick=False, formats=("png",)):
    with (pathlib.Path(__file__).parent / "log.txt").open("a") as log:
        log.write("{name} begins\\n")
    with Publication(out, __file__, quick=quick, formats=formats) as paper:
        paper.step("halfway")
        for number in range(20):
            paper.file(f"{{number}}.txt", "{name}" * 1000)
            time.sleep({pause})
        paper.table("answers", [{{"name": "{name}", "length_s": 2.0}}], "Answers")
        paper.claim("length of {name}", 4.0, 3.0, "s", "a book")
        paper.conclude("{name} is short.")
    with (pathlib.Path(__file__).parent / "log.txt").open("a") as log:
        log.write("{name} ends\\n")
'''


def write_scripts(folder: Path, *names: str, pause: float = 0.0) -> list[str]:
    for name in names:
        (folder / f"{name}.py").write_text(SCRIPT.format(name=name, pause=pause))
    return [str(folder / f"{name}.py") for name in names]


def ship(monkeypatch: pytest.MonkeyPatch, scripts: list[str]) -> None:
    """Have scripts stand in for the shipped ones, of which all inputs are known."""
    monkeypatch.setattr("socsim.experiments.running.experiment_files", lambda: {Path(script).stem: Path(script) for script in scripts})


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def test_without_names_it_lists(capsys: pytest.CaptureFixture[str]) -> None:
    out = call_well(capsys, "experiment").out
    for experiment in list_experiments():
        assert experiment.name in out
    assert "How fast is prefill, by engine" in out


def test_one_prints_its_tables_and_is_then_up_to_date(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(monkeypatch, write_scripts(tmp_path, "love"))
    arguments = ("experiment", "love", "--out", str(tmp_path / "out"))
    out = call_well(capsys, *arguments, "--format", "svg").out
    for words in ("What is love?", "Answers", "length (s)", "length of love", "-25.0", "roughly agrees", "love is short.", "written in"):
        assert words in out
    assert "up to date in" in call_well(capsys, *arguments, "--format", "svg").out
    assert (tmp_path / "log.txt").read_text() == "love begins\nlove ends\n"
    call_well(capsys, *arguments, "--force")
    assert (tmp_path / "log.txt").read_text() == "love begins\nlove ends\n" * 2


def test_long_ones_are_left_out_of_all_and_run_by_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = write_scripts(tmp_path, "long", "short")
    Path(scripts[0]).write_text(Path(scripts[0]).read_text() + "\nAPART = True  # takes hours\n")
    ship(monkeypatch, scripts)
    listed = call_well(capsys, "experiment").out.splitlines()
    assert [line.endswith("(long: run by name)") for line in listed] == [True, False]
    out = str(tmp_path / "out")
    assert "long (done)" not in call_well(capsys, "experiment", "--all", "--out", out).out
    assert (tmp_path / "log.txt").read_text() == "short begins\nshort ends\n"
    assert "long is short." in call_well(capsys, "experiment", "long", "--out", out).out


def test_a_script_of_ones_own_always_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (script,) = write_scripts(tmp_path, "love")
    for _ in range(2):  # it may read files that nobody knows of
        assert "written in" in call_well(capsys, "experiment", script, "--out", str(tmp_path / "out")).out
    assert (tmp_path / "log.txt").read_text() == "love begins\nlove ends\n" * 2


def test_another_format_keeps_the_first(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, write_scripts(tmp_path, "love"))
    for name, formats in (("pdf", ["pdf"]), ("png", ["png", "pdf"])):
        call_well(capsys, "experiment", "love", "--out", str(tmp_path / "out"), "--format", name)
        record = read_record(tmp_path / "out" / "love")
        assert record is not None
        assert record["formats"] == formats


def test_tables_fit_and_keep_what_was_published(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ["model", *(f"number_{place}_tokens_per_s" for place in range(9)), "published_speed", "error_percent", "source"]
    rows = [["phi-2", *(f"{1000 + row}.5" for _ in range(9)), f"17{row}", str(row), "a book"] for row in range(40)]
    monkeypatch.setenv("COLUMNS", "80")
    print_table(make_console(), columns, rows, "Speeds", "speeds.csv")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    text = "\n".join(lines)
    for words in (
        "All rows: model phi-2",
        "published",
        "error",
        "... 28 more rows in speeds.csv",
        "... also in speeds.csv: number 5 (tokens/s), ",
    ):
        assert words in text
    assert "a book" not in text


def test_narrow_tables_say_what_a_row_is_about_and_keep_simulated_beside_published(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = ["workload", "prompt_tokens", "engine", "ttft_s", "decode_s", "share", "published_share", "error_percent"]
    rows = [[f"a long name {n}", str(100 + n), f"engine-{n}", f"{n}.5", f"{n}.25", f"0.{n}", f"0.4{n}", str(n)] for n in range(5)]
    monkeypatch.setenv("COLUMNS", "62")
    print_table(make_console(), columns, rows, "Shares", "shares.csv")
    text = capsys.readouterr().out
    for words in ("workload", "(tokens)", "engine", "share", "published", "... also in shares.csv: TTFT (s), decode (s)"):
        assert words in text
    assert "0.1 " in text


def test_several_print_a_line_each_and_one_that_fails_keeps_no_other_back(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    scripts = write_scripts(tmp_path, "a", "b", "c")
    Path(scripts[0]).write_text('"""Bad input?"""\nfrom socsim import SocsimError\ndef main(*_):\n    raise SocsimError("no such thing")\n')
    Path(scripts[1]).write_text('"""A mistake?"""\ndef main(*_):\n    print("noise")\n    1 / 0\n')
    outcome = call(capsys, "experiment", *scripts, "--out", str(tmp_path / "out"))
    assert outcome.code == 1
    assert "c (done)" in outcome.out
    assert "c is short." in outcome.out
    assert "noise" not in outcome.out
    assert "a: no such thing" in outcome.err
    assert "ZeroDivisionError" in outcome.err
    assert "2 of 3 experiments failed" in outcome.err
    assert call(capsys, "experiment", scripts[0], scripts[2], "--out", str(tmp_path / "out")).code == 2


def test_all_are_the_shipped_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, write_scripts(tmp_path, "a", "b"))
    out = call_well(capsys, "experiment", "--all", "--quick", "--out", str(tmp_path / "out")).out
    assert "a (done)" in out
    assert "a is short." in out
    for name in ("a", "b"):
        record = read_record(tmp_path / "out" / name)
        assert record is not None
        assert record["quick"]
    out = call_well(capsys, "experiment", "--all", "--quick", "--out", str(tmp_path / "out")).out
    assert "a (up to date)" in out
    assert "a is short." not in out  # it was said before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prefil_speed"], ["unknown experiment 'prefil_speed'", "did you mean 'prefill_speed'?"]),
        (["nowhere/a.py"], ["a.py: no such file"]),
        (["--all", "demo"], ["--all", "leave out demo"]),
        (["demo", "--format", "jpg"], ["unknown --format 'jpg'", "pdf, png, svg"]),
        (["demo", "--out", "/dev/null"], ["--out '/dev/null': is no folder"]),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    outcome = call(capsys, "experiment", *arguments)
    assert outcome.code == 2
    assert all(word in outcome.err for word in words), outcome.err


def test_a_script_without_main(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""Why?"""\n')
    outcome = call(capsys, "experiment", str(tmp_path / "a.py"), "--out", str(tmp_path))
    assert outcome.code == 2
    assert "a.py: has no function main" in outcome.err


def test_two_runs_in_one_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (script,) = write_scripts(tmp_path, "a")
    out = tmp_path / "out" / "a"
    out.mkdir(parents=True)
    with FileLock(out / ".lock"):
        outcome = call(capsys, "experiment", script, "--out", str(tmp_path / "out"))
    assert outcome.code == 2
    assert "another run of this experiment is writing there" in outcome.err
    call_well(capsys, "experiment", script, "--out", str(tmp_path / "out"))


def test_two_experiments_of_one_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    scripts = [*write_scripts(tmp_path, "a"), *write_scripts(tmp_path / "sub", "a")]
    outcome = call(capsys, "experiment", *scripts, "--out", str(tmp_path / "out"))
    assert outcome.code == 2
    assert "'a' is the name of two experiments" in outcome.err


def test_a_script_may_import_what_is_beside_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (script,) = write_scripts(tmp_path, "a")
    (tmp_path / "beside_a.py").write_text("ANSWER = 42\n")
    Path(script).write_text(Path(script).read_text().replace("import pathlib", "import beside_a, pathlib"))
    call_well(capsys, "experiment", script, "--out", str(tmp_path / "out"))


def test_a_script_that_publishes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (script,) = write_scripts(tmp_path, "b")
    call_well(capsys, "experiment", script, "--out", str(tmp_path / "out"))
    Path(script).write_text('"""Why?"""\ndef main(out, quick, formats):\n    pass\n')
    outcome = call(capsys, "experiment", script, "--out", str(tmp_path / "out"))
    assert outcome.code == 2  # though there are results of before
    assert "b.py: main published nothing in" in outcome.err


def test_a_shipped_script_runs_as_a_program(tmp_path: Path) -> None:
    script = next(experiment.script for experiment in list_experiments() if experiment.name == "npu_scaling")
    command = [sys.executable, str(script), "--quick", "--format", "svg", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "What if the NPU computed faster?" in done.stdout
    assert read_record(tmp_path / "npu_scaling") is not None


DRIVER = """
import sys
from pathlib import Path
import socsim.experiments.running as running
from socsim.cli import main
folder, out = map(Path, sys.argv[1:])
running.experiment_files = lambda: {script.stem: script for script in sorted(folder.glob("?.py"))}
main(["experiment", "--all", "--out", str(out)])
"""
"""Runs the scripts of a folder as if they were the shipped ones."""


def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    names, out, moments = ("a", "b", "c"), tmp_path / "out", random.Random(5)
    write_scripts(tmp_path, *names, pause=0.02)
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(out)]
    for name in names:  # each is killed once in the middle of its work
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (out / name / ".partial" / "0.txt").exists():
            time.sleep(0.005)
            assert process.poll() is None
        time.sleep(0.2 * moments.random())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert (out / name / ".partial").exists()
        for each in names:  # what is there is whole, or has no record that says so
            assert read_record(out / each) is not None or not (out / each / "record.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    log = (tmp_path / "log.txt").read_text().splitlines()
    files = [*(f"{number}.txt" for number in range(20)), "answers.csv", "record.json", ".lock"]
    for name in names:
        assert read_record(out / name) is not None
        assert sorted(path.name for path in (out / name).iterdir()) == sorted(files)
        assert (log.count(f"{name} begins"), log.count(f"{name} ends")) == (2, 1)  # finished ones do not run again
        assert f"{name} (" in done.stdout
