"""Sweeps that are killed, interrupted, or run out of disk or memory: what is done is kept, and the rest comes to the same bytes."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from survival import ENVIRONMENT, POINTS, children, command, is_alive, parts, points_bytes, stamps, started, until, write_spec

from socsim.cli import main
from socsim.errors import SocsimError
from socsim.sweeps import store, sweep

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
KILLS = 5


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spec(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def undisturbed(spec: Path) -> dict[str, bytes]:
    """Return the points of a sweep that ran in one process to its end."""
    found = points_bytes(sweep(spec, spec.parent / "undisturbed", jobs=1).folder)
    assert len(found) == POINTS
    return found


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a sweep of fewer points, for what happens at a certain one."""
    return write_spec(tmp_path_factory.mktemp("few"), 24)


@pytest.fixture(scope="module")
def few_undisturbed(few: Path) -> dict[str, bytes]:
    return points_bytes(sweep(few, few.parent / "undisturbed", jobs=1).folder)


@ON_LINUX
def test_kills_at_any_moment_change_nothing(spec: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    out, moments = tmp_path / "out", random.Random(6)
    kept: dict[str, tuple[int, int]] = {}
    for kill in range(KILLS):
        with started(spec, out, "--jobs", "2", *(["--resume"] if kill else [])) as process:
            wanted = len(kept) + moments.randint(1, 10)
            until(lambda wanted=wanted: len(parts(out)) >= wanted, "parts")  # type: ignore[misc]
            workers = children(process.pid)
            time.sleep(moments.random() / 100)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        assert len(workers) >= 2
        until(lambda workers=workers: not any(map(is_alive, workers)), "end of the workers")  # type: ignore[misc]
        now = stamps(out)
        assert len(kept) < len(now) < POINTS
        assert {name: now[name] for name in kept} == kept
        kept = now
    told = list[tuple[int, int]]()
    sweep(spec, out, jobs=1, resume=True, progress=lambda *counts: told.append(counts))
    assert (told[0], told[-1]) == ((len(kept), 0), (POINTS, 0))  # where it went on, and its end
    assert points_bytes(out) == undisturbed
    assert {name: stamps(out)[name] for name in kept} == kept


STEPS = {"writing": "pq.write_table", "flushing": "os.fsync", "renaming": "Path.replace"}
DYING = """
import os, signal, sys
from pathlib import Path
import socsim.sweeps.store as store
from socsim.sweeps import sweep

owner, name = {step!r}.split(".")
owner = Path if owner == "Path" else getattr(store, owner)
usual, calls = getattr(owner, name), []

def last(*arguments, **named):
    calls.append(arguments)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return usual(*arguments, **named)

setattr(owner, name, last)
sweep(sys.argv[1], sys.argv[2], jobs=1)
"""


@pytest.mark.parametrize(("step", "call"), [("writing", 21), ("writing", 22), ("flushing", 24), ("renaming", 1), ("renaming", 24)])
def test_a_kill_within_a_commit_leaves_it_undone(
    step: str, call: int, few: Path, few_undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    """Durations are written before points, so odd and even calls are those of either; the first ones are those of spec and record."""
    arguments = [sys.executable, "-c", DYING.format(step=STEPS[step]), str(few), str(tmp_path), str(call)]
    assert subprocess.run(arguments, check=False, env=ENVIRONMENT).returncode == -signal.SIGKILL
    left = {name for name in os.listdir(tmp_path / "points") if name.endswith(".parquet")} if call > 1 else set()  # noqa: PTH208
    assert left == set(sorted(few_undisturbed)[: len(left)])
    assert len(left) == (10 if call > 1 else 0)
    sweep(few, tmp_path, jobs=1, resume=True)
    assert points_bytes(tmp_path) == few_undisturbed
    assert not list(tmp_path.rglob("*.partial"))


@ON_LINUX
@pytest.mark.parametrize("enough", [0, 7])
def test_ctrl_c_ends_all_processes_with_a_note(enough: int, spec: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """A terminal signals all processes of the command, those that are just starting too."""
    out = tmp_path / "out"
    with started(spec, out, "--jobs", "2") as process:
        if enough:
            until(lambda: len(parts(out)) >= enough, "parts")
        else:
            until(lambda: len(children(process.pid)) >= 2, "workers")
        workers = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        printed, told = process.communicate(timeout=60)
        assert process.returncode == 130
    until(lambda: not any(map(is_alive, workers)), "end of the workers")
    lines = [line for line in told.splitlines() if not line.startswith("socsim: small: ")]
    assert lines == [
        f"socsim: note: interrupted; what is done is kept, continue with: socsim sweep {spec} -o {out} --resume",
    ]
    assert printed == ""
    sweep(spec, out, jobs=1, resume=True)
    assert points_bytes(out) == undisturbed


SLOW = """
import time
from pathlib import Path


def sleepy(graph, expected_ns, seed):
    if seed == 0:
        Path("asleep").touch()
        time.sleep(600)
    return lambda ready, view: min(ready)
"""


def test_ctrl_c_waits_for_no_point(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, more=', "engine.scheduler" = "slow:sleepy"')
    (tmp_path / "slow.py").write_text(SLOW)
    with started(spec, tmp_path / "out", "--jobs", "2") as process:
        until((tmp_path / "asleep").exists, "a slow point")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 130  # far less than the point takes


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["writing", "flushing"])
@pytest.mark.parametrize("call", [15, 16])
def test_a_full_disk_is_one_line_and_no_loss(
    step: str, call: int, few: Path, few_undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The disk is full when durations (odd calls) or points (even) are written."""
    (tmp_path / store.POINTS).mkdir()
    owner, name = (pq, "write_table") if step == "writing" else (os, "fsync")
    usual, calls = getattr(owner, name), list[Any]()

    def written(*arguments: Any) -> None:
        calls.append(arguments)
        if step == "flushing" and len(calls) <= 2:  # spec and record
            return usual(*arguments)  # type: ignore[no-any-return]
        if len(calls) - 2 * (step == "flushing") < call:
            return usual(*arguments)  # type: ignore[no-any-return]
        if step == "writing":
            Path(arguments[1]).write_bytes(b"PAR1 and no more")
        return full_disk()

    monkeypatch.setattr(owner, name, written)
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(few), "-o", str(tmp_path), "--jobs", "1"])
    assert stop.value.code == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "points" not in line or "error" in line]
    part = tmp_path / ("timings" if call % 2 else "points") / "part-000007.parquet"
    assert told == [f"socsim: error: {part}: cannot be written: No space left on device"]
    assert sorted(points_bytes(tmp_path)) == sorted(few_undisturbed)[:7]
    assert not list(tmp_path.rglob("*.partial"))
    monkeypatch.undo()
    sweep(few, tmp_path, jobs=1, resume=True)
    assert points_bytes(tmp_path) == few_undisturbed


FULL = """
mount -t tmpfs -o size=400k none "$1" || exit 77
shift
"$@"
echo "exit code $?"
ls -A "$PLACE/small"/*
mount -o remount,size=20m "$PLACE"
"$@" --resume && cp -r "$PLACE/small" "$KEPT"
"""


@ON_LINUX
def test_a_disk_that_is_really_full(spec: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    place, kept = tmp_path / "disk", tmp_path / "kept"
    place.mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("a disk of one's own needs unshare (util-linux)")
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", FULL, "sh", place, *command(spec, place / "small", "--jobs", "2")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=ENVIRONMENT | {"PLACE": str(place), "KEPT": str(kept)},
    )
    if done.returncode == 77 or "unshare: " in done.stderr:
        pytest.skip(f"this system lets us have no disk of our own: {done.stderr.strip()}")
    errors = [line for line in done.stderr.splitlines() if line.startswith("socsim: error: ")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith(f"socsim: error: {place}/small/")
    assert "cannot be written: " in errors[0]
    assert "No space left on device" in errors[0]
    assert "exit code 2" in done.stdout
    assert 0 < done.stdout.partition("timings:")[0].count("part-") < POINTS
    assert ".partial" not in done.stdout
    assert done.returncode == 0
    assert points_bytes(kept) == undisturbed


def test_memory_that_runs_out_in_this_process_is_one_line_too(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("socsim.sweeps.evaluation.run_case", hungry)
    with pytest.raises(SocsimError, match=r"MemoryError: .*for want of memory perhaps; what is done is kept: continue with --resume"):
        sweep(spec, tmp_path / "out", jobs=1)
