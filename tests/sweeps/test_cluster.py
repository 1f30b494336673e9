"""Sweeps on executors other than the usual: a Dask cluster, threads, and workers that are lost or of another version."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from dask_cluster import Cluster, cluster
from survival import complete, parts, points_bytes, started, until, write_spec

from socsim import SocsimError
from socsim.cli import main
from socsim.cli import sweep as command
from socsim.sweeps import execution, load_plan, sweep
from socsim.sweeps.evaluation import run_batch, surroundings
from socsim.sweeps.store import part_name
from socsim.version import __version__

OTHER_CODE = {"code_sha256": "0" * 64}
HERE = f"the worker on {socket.gethostname()}"
POINTS = 200
FEW = 40
"""Points where nothing is killed at a moment of its own."""
DEADLY = """
import os
from pathlib import Path


def deadly(graph, expected_ns, seed):
    if seed == 1 and Path(__file__).with_name("deadly").exists():
        os._exit(9)
    return lambda ready, view: min(ready)
"""
"""A policy that ends its process in the second half of the points, as long as there is a file."""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spec(tmp_path_factory.mktemp("sweep"), POINTS)


@pytest.fixture(scope="module")
def local(spec: Path) -> dict[str, bytes]:
    """Return the points of a sweep that ran in one process."""
    return points_bytes(sweep(spec, spec.parent / "local", jobs=1).folder)


def test_a_cluster_computes_the_same_and_refuses_another_socsim(
    spec: Path, local: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Then a point kills the workers that Dask tries it on, which nannies start again, until Dask gives up."""
    with cluster(tmp_path / "cluster", "--nanny") as there:
        done = complete(spec, tmp_path / "out", "--cluster", there.address)
        assert (done.returncode, f"{POINTS} of {POINTS} points in" in done.stdout) == (0, True), done.stderr
        assert points_bytes(tmp_path / "out") == local
        monkeypatch.setattr(execution, "surroundings", lambda plan: surroundings(plan) | OTHER_CODE)
        with pytest.raises(SystemExit) as stop:
            main(["sweep", str(spec), "-o", str(tmp_path / "other"), "--cluster", there.address])
        assert stop.value.code == 2
        assert capsys.readouterr().err.splitlines() == [
            f"socsim: small: 0 of {POINTS} points",
            f"socsim: error: {HERE} has other code of socsim {__version__} than the client; install the same on both",
        ]
        assert parts(tmp_path / "other") == set()
        (there.folder / "fatal.py").write_text(DEADLY)
        (there.folder / "deadly").touch()
        done = complete(deadly_spec(tmp_path / "deadly"), tmp_path / "killed", "--cluster", there.address)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if not line.startswith("socsim: small: ")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("socsim: error: a worker or the way to it was lost (KilledWorker: ")


def test_a_killed_worker_costs_a_batch_and_a_killed_cluster_is_one_line(spec: Path, local: dict[str, bytes], tmp_path: Path) -> None:
    """The other worker repeats what was lost, until it is killed, too, and then the scheduler."""
    out = tmp_path / "out"
    with cluster(tmp_path / "cluster", "--no-nanny") as there:
        with started(spec, out, "--cluster", there.address) as process:
            until(lambda: len(parts(out)) >= 5, "parts")
            there.workers[0].kill()
            told = process.communicate(timeout=60)[1]
            assert process.returncode == 0, told
        assert there.workers[1].poll() is None
        assert [line for line in told.splitlines() if not line.startswith("socsim: small: ")] == []
        assert points_bytes(out) == local
        killed_cluster(there, spec, local, tmp_path / "another", workers_first=True)


def test_a_killed_scheduler_is_one_line_and_no_loss(spec: Path, local: dict[str, bytes], tmp_path: Path) -> None:
    with cluster(tmp_path / "cluster", "--no-nanny", workers=1) as there:
        killed_cluster(there, spec, local, tmp_path / "out", workers_first=False)


def killed_cluster(there: Cluster, spec: Path, local: dict[str, bytes], out: Path, *, workers_first: bool) -> None:
    """Kill a cluster while it computes, and continue without."""
    with started(spec, out, "--cluster", there.address) as process:
        until(lambda: len(parts(out)) >= 5, "parts")
        if workers_first:
            for worker in there.workers:
                worker.kill()
                worker.wait()
        there.kill()
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    lines = [line for line in told.splitlines() if not line.startswith("socsim: small: ")]
    assert len(lines) == 1, told
    assert lines[0].startswith("socsim: error: a worker or the way to it was lost (")
    assert lines[0].endswith("; what is done is kept: continue with --resume")
    assert 5 <= len(parts(out)) < len(local)
    sweep(spec, out, jobs=1, resume=True)
    assert points_bytes(out) == local


def test_a_point_that_kills_its_process_loses_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, out = deadly_spec(tmp_path), tmp_path / "out"
    (tmp_path / "deadly").touch()
    done = complete(spec, out, "--jobs", "2")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if not line.startswith("socsim: small: ")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("socsim: error: a worker or the way to it was lost (BrokenProcessPool: ")
    assert errors[0].endswith("; what is done is kept: continue with --resume")
    kept = points_bytes(out)
    assert 0 < len(kept) <= FEW // 2
    (tmp_path / "deadly").unlink()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fatal", raising=False)
    sweep(spec, out, jobs=1, resume=True)
    found = points_bytes(out)
    assert found == points_bytes(sweep(spec, tmp_path / "healthy", jobs=1).folder)
    assert {name: found[name] for name in kept} == kept


def deadly_spec(folder: Path) -> Path:
    spec = write_spec(folder, FEW, more=', "engine.scheduler" = "fatal:deadly"')
    (folder / "fatal.py").write_text(DEADLY)
    return spec


def test_threads_and_processes_of_ones_own_compute_the_same(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, FEW)
    expected = points_bytes(sweep(spec, tmp_path / "expected", jobs=1).folder)

    def executors() -> Iterator[Executor]:
        yield ThreadPoolExecutor(3)
        yield ProcessPoolExecutor(1, get_context("spawn"))

    for number, executor in enumerate(executors()):
        with executor:
            result = sweep(spec, tmp_path / str(number), executor=executor, jobs=3)
            assert executor.submit(abs, -1).result() == 1  # it is its owner who ends it
        assert result.counts() == (FEW, 0)
        assert points_bytes(result.folder) == expected


@pytest.mark.parametrize(
    ("client", "message"),
    [
        ({"socsim": "9.8.7"}, f"{HERE} has socsim {__version__}, the client 9.8.7; install the same on both"),
        (OTHER_CODE, f"{HERE} has other code of socsim {__version__} than the client; install the same on both"),
    ],
)
def test_workers_with_another_socsim_refuse(client: dict[str, Any], message: str, spec: Path) -> None:
    plan = load_plan(spec)
    with pytest.raises(SocsimError) as refused:
        run_batch(plan.to_json(), 0, surroundings(plan) | client)
    assert str(refused.value) == message
    assert run_batch(plan.to_json(), 0, surroundings(plan)).number == 0


def test_no_cluster_at_the_address(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(command, "CLUSTER_S", 1)
    with socket.socket() as taken:  # bound and not listening: nobody answers, and nobody else can
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SystemExit) as stop:
            main(["sweep", str(spec), "-o", str(tmp_path / "out"), "--cluster", address])
    assert stop.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith(f"socsim: error: --cluster '{address}': no Dask scheduler answers there: ")
    assert not (tmp_path / "out").exists()


def test_a_cluster_without_workers(spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(command, "CLUSTER_S", 1)
    with cluster(tmp_path / "cluster", workers=0) as there, pytest.raises(SystemExit) as stop:
        main(["sweep", str(spec), "-o", str(tmp_path / "out"), "--cluster", there.address])
    assert stop.value.code == 2
    expected = f"--cluster '{there.address}': has no workers after 1 s; start some with 'dask worker {there.address}'"
    assert capsys.readouterr().err.splitlines() == [f"socsim: error: {expected}"]


class Immediate(Executor):
    """Computes when it is asked to, but for one batch, which is lost."""

    LOST = 2

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future = Future[Any]()
        if arguments[1] == self.LOST:
            future.set_exception(OSError("the wire was cut"))
        else:
            future.set_result(function(*arguments, **named))
        return future


def test_batches_that_are_computed_are_kept_when_another_is_lost(spec: Path, tmp_path: Path) -> None:
    with pytest.raises(SocsimError, match=r"was lost \(OSError: the wire was cut\).*what is done is kept"):
        sweep(spec, tmp_path, executor=Immediate(), jobs=3)
    assert len(parts(tmp_path)) == 6  # of the seven that were asked for at once
    assert part_name(Immediate.LOST) not in parts(tmp_path)


class Breaking(Immediate):
    """Computes when it is asked to, and breaks before one batch is asked for, as a pool of processes does whose worker died just then."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        if arguments[1] == self.LOST:
            raise BrokenProcessPool("the pool is not usable anymore")
        return super().submit(function, *arguments, **named)


def test_an_executor_that_breaks_between_batches_is_one_line_and_no_loss(spec: Path, tmp_path: Path) -> None:
    with pytest.raises(SocsimError, match=r"was lost \(BrokenProcessPool: the pool is not usable anymore\).*what is done is kept"):
        sweep(spec, tmp_path, executor=Breaking(), jobs=3)
    assert len(parts(tmp_path)) == 6
    assert part_name(Breaking.LOST) not in parts(tmp_path)
