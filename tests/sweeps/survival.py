"""Runs ``socsim sweep`` as a process of its own, to be interrupted in every way, and looks at what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SPEC = """
metrics = ["ttft_s", "prefill_energy_j", "chunk_tokens"]

[base]
soc = "snapdragon-8-gen-3"
model = "smollm2-135m"
engine = "llm-npu"
prompt_tokens = 256
chunk_tokens = 32
set = {{ "model.num_hidden_layers" = 3{more} }}

[[axes]]
path = "run.seed"
values = [0, 1]

[[axes]]
name = "npu"
path = "soc.processors.npu.speed"
start = 0.5
stop = 4
points = {points}
"""
POINTS = 126
"""Points of the usual sweep, each of which is a part."""
PATIENCE_S = 60.0
ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1"}


def write_spec(folder: Path, points: int = POINTS, more: str = "") -> Path:
    """Write a sweep whose points take a few milliseconds each; `more` is appended to the settings of its base."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.toml"
    path.write_text(SPEC.format(points=points // 2, more=more))
    return path


def command(spec: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "socsim", "sweep", str(spec), "-o", str(out), *options]


def hear_ctrl_c() -> None:
    """Undo what shells do to what they start in the background: its SIGINT is ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started(spec: Path, out: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command in a process group of its own, as a shell does, in the folder of its spec."""
    process = subprocess.Popen(
        command(spec, out, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
        cwd=spec.parent,
        env=ENVIRONMENT,
    )
    try:
        with process:
            try:
                yield process
            finally:
                process.kill()
    finally:
        with suppress(ProcessLookupError):
            process.kill()


def complete(spec: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(spec, out, *options), capture_output=True, text=True, check=False, timeout=120, cwd=spec.parent, env=ENVIRONMENT
    )


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for something that will happen."""
    last = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < last, f"{what}: not within {PATIENCE_S:g} s"
        time.sleep(0.002)


def parts(out: Path) -> set[str]:
    """Return the names of the parts that are there."""
    try:
        return {name for name in os.listdir(out / "points") if name.endswith(".parquet")}  # noqa: PTH208 (fast: it is polled)
    except FileNotFoundError:
        return set()


def points_bytes(out: Path) -> dict[str, bytes]:
    """Return all that is in the folder of the points."""
    return {path.name: path.read_bytes() for path in (out / "points").iterdir()}


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """Return what changes when a part is written again."""
    return {name: ((stat := (out / "points" / name).stat()).st_ino, stat.st_mtime_ns) for name in parts(out)}


def children(pid: int) -> set[int]:
    """Return the processes that a process has started and that are alive."""
    found = set[int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_alive(int(entry.name)) and _stat(int(entry.name))[1] == str(pid):
            found.add(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    return _stat(pid)[0] not in ("", "Z", "X")


def _stat(pid: int) -> tuple[str, str]:
    """Return the state and the parent of a process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, parent
