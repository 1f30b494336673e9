"""What only a process of its own shows: exit codes, what is loaded, closed and full standard output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import COMMANDS

import socsim
from socsim.cli import _exit_code

SOCSIM = [sys.executable, "-m", "socsim"]


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SOCSIM, *arguments], capture_output=True, text=True, check=False, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


def test_json_alone_on_standard_output() -> None:
    done = run("run", "--soc", "toy-phone", "--model", "smollm2-135m", "--prompt-tokens", "64", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["soc"] == "toy-phone"


def test_a_scheduler_beside_the_user(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def wrong(graph, expected_ns, seed):\n    return lambda ready, view: -1\n")
    script = "import sys; sys.path = [p for p in sys.path if p]; from socsim.cli import main; main()"
    command = [sys.executable, "-c", script, "run", "--soc", "toy-phone", "--model", "smollm2-135m", "--scheduler", "mine:wrong"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("socsim: error: scheduler chose -1")


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "socsim", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"pydantic", "numpy", "pandas", "matplotlib", "simpy", "rich", "scipy", "tomlkit"}


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_help_page_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert f"  socsim {command[0] if command else 'run'}" in out[out.index("Example") :]


@pytest.mark.parametrize("command", ["run", "compare"])
def test_help_shows_the_defaults(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([command, "--help"]) == 0
    flat = "".join(capsys.readouterr().out.split())
    assert all(f"[default:{value}]" in flat for value in ("snapdragon-8-gen-3", "qwen1.5-1.8b", "1024", "theengine's"))


def test_version_and_help_without_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["--version"]) == 0
    assert capsys.readouterr().out == f"socsim {socsim.__version__}\n"
    assert _exit_code([]) == 0
    assert "Usage: socsim" in capsys.readouterr().out


def test_a_reader_that_stops_reading() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([*SOCSIM, "list", "socs"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_standard_output_on_a_full_disk(options: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*SOCSIM, "list", "socs", *options], stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (2, "socsim: error: standard output: No space left on device\n")


def test_an_interrupted_program_does_not_wait_for_its_threads(tmp_path: Path) -> None:
    """A thread that computes for a minute holds nobody up."""
    script = tmp_path / "slow.py"
    script.write_text(
        '"""How long?"""\nimport threading, time\n'
        "def main(*_):\n    threading.Thread(target=time.sleep, args=(60,)).start()\n    print('begun', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-m", "socsim", "experiment", str(script), "--out", str(tmp_path / "out")]
    # What a shell starts in the background inherits that SIGINT is ignored.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heard)  # type: ignore[call-overload]
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["experiment", "report"])
def test_products_have_one_thread_each_before_numpy_is_loaded(command: str, tmp_path: Path) -> None:
    program = f"""
import os, sys
sys.argv = ["socsim"]
import socsim.cli.experiment as experiment, socsim.cli.report_page as page
def seen(*_, **__):
    print(os.environ["OPENBLAS_NUM_THREADS"], "numpy" in sys.modules)
    raise SystemExit
experiment.run_all = page.run_all = seen
from socsim.cli import main
main(["{command}", *(["demo"] if "{command}" == "experiment" else []), "--out", {str(tmp_path)!r}])
"""
    clean = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=clean, timeout=60)
    assert done.stdout.split() == ["1", "True"], done.stderr  # numpy came with the experiments, after the setting
