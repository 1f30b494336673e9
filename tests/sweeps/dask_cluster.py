"""A Dask cluster on this machine: a scheduler and workers, each a process that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from survival import ENVIRONMENT, until

LOCAL = ("--host", "127.0.0.1", "--no-dashboard")
PATIENCE = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}


@dataclass
class Cluster:
    """Where the scheduler listens, and the processes."""

    folder: Path
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def kill(self) -> None:
        """Kill all of it at once."""
        for process in self.processes:
            _end(process)

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        return [*([self.scheduler] if self.scheduler else []), *self.workers]


@contextmanager
def cluster(folder: Path, *options: str, workers: int = 2) -> Iterator[Cluster]:
    """Start a scheduler and workers of one thread each, which work in a folder; options are those of the workers.

    A task that has killed two workers is given up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "scheduler.json"
    result = Cluster(folder)
    with ExitStack() as stack:
        stack.callback(result.kill)
        result.scheduler = _start(folder, "scheduler", *LOCAL, "--port", "0", "--scheduler-file", str(file))
        until(lambda: file.exists() and file.read_text().rstrip().endswith("}"), "a Dask scheduler")
        result.address = json.loads(file.read_text())["address"]
        for _ in range(workers):
            result.workers.append(
                _start(folder, "worker", result.address, *LOCAL, "--nthreads", "1", "--local-directory", str(folder), *options)
            )
        yield result


def _start(folder: Path, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a process with a group of its own, to which the worker of a nanny belongs too."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
    with (folder / f"{kind}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=ENVIRONMENT | PATIENCE, start_new_session=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the group of a process that has not been waited for yet, so that the number can be nobody else's."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
