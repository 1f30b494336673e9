"""What a sweep costs beside its simulations, how it grows with workers, and what it takes; exits with 1 if a target is missed.

Run with ``python bench/sweeps.py``; takes some minutes on two cores. Each ratio pairs two measurements taken in turn, so that a machine
whose speed drifts does not matter; printed is the median of the pairs. Workers are started before anything is measured.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from socsim.runs import Case, make_case
from socsim.simulator import simulate
from socsim.sweeps import load_plan, sweep
from socsim.sweeps.evaluation import Evaluator

Row = tuple[str, float, str, float]
"""Name, value, relation and target."""
DEMO = ("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu")
PROMPT = 1024
SPEC = """
[base]
soc = "{0}"
model = "{1}"
engine = "{2}"
prompt_tokens = {prompt}

[[axes]]
path = "soc.processors.npu.speed"
start = 0.5
stop = 4
points = {points}
spacing = "log"

[[axes]]
path = "soc.processors.npu.launch_overhead_s"
start = 1e-6
stop = 1e-4
points = 100
spacing = "log"
"""
POINT_PAIRS = 60
SLICE, SLICE_PAIRS = 1024, 9
"""Points of one measurement with processes: sixteen parts."""
CLUSTER_POINTS, CLUSTER_PAIRS = 20_000, 10
MOST, FEW = 10_000, 1_000
WORKERS = 2
MEASURED = """
import sys
from pathlib import Path
from socsim.cli import main
try:
    main(sys.argv[1:])
finally:
    status = Path("/proc/self/status")
    print("peak", status.read_text().partition("VmHWM:")[2].split()[0] if status.exists() else 0, file=sys.stderr)
"""
"""Runs the command and says how much memory its process had at most (KiB)."""


def write_spec(folder: Path, points: int) -> Path:
    """Write a sweep of the demo's run over two fields of the SoC."""
    path = folder / f"demo-{points}.toml"
    path.write_text(SPEC.format(*DEMO, prompt=PROMPT, points=points // 100))
    return path


def seconds(program: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return how long something takes."""
    start = clock()
    program()
    return clock() - start


def point_rows(folder: Path) -> Iterator[Row]:
    """Compare a point within a sweep with the bare simulation of a graph and costs that are there, in processor time."""
    plan = load_plan(write_spec(folder, CLUSTER_POINTS))
    evaluator, pairs = Evaluator(plan), list[tuple[float, float]]()
    step = plan.raw_count // (POINT_PAIRS + 1)
    for number in range(0, POINT_PAIRS * step + 1, step):
        values = {column: each.tolist()[0] for column, each in plan.points(number, number + 1)[1].items()}
        case = make_case(*DEMO, prompt_tokens=PROMPT, overrides=values)
        bare = seconds(lambda case=case: simulate(case.costs.graph, case.costs, case.engine.scheduler), time.process_time)  # type: ignore[misc]
        pairs.append((seconds(lambda values=values: evaluator.point(values), time.process_time), bare))  # type: ignore[misc]
    pairs = pairs[1:]  # the first point builds what the others find
    print(
        f"a point takes {1e3 * median(point for point, _ in pairs):.2f} ms, its simulation {1e3 * median(bare for _, bare in pairs):.2f} ms"
    )
    yield "point of a sweep over bare simulate()", median(point / bare for point, bare in pairs), "<=", 1.3


def in_turn(spec: Path, folder: Path, ways: dict[str, tuple[Executor, int]], points: int, pairs: int) -> dict[str, list[float]]:
    """Return seconds of slices of one sweep that is computed in several ways; each way has a folder, and goes on in turn."""
    plan, spent = load_plan(spec), {name: list[float]() for name in ways}
    for turn in range(pairs + 1):
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            executor, workers = ways[name]

            def part(name: str = name, executor: Executor = executor, workers: int = workers, turn: int = turn) -> None:
                sweep(plan, folder / name, executor=executor, jobs=workers, resume=True, limit=points if turn else 4 * 64)

            spent[name].append(seconds(part))
    return {name: times[1:] for name, times in spent.items()}  # the first slice warms workers up


@lru_cache
def demo() -> Case:
    """Return the demo's case, which a worker builds once."""
    return make_case(*DEMO, prompt_tokens=PROMPT)


def simulate_often(count: int) -> None:
    """Simulate what is there already."""
    case = demo()
    for _ in range(count):
        simulate(case.costs.graph, case.costs, case.engine.scheduler)


def simulations(executor: Executor) -> float:
    """Return seconds of simulations without a sweep: what the machine has to give just now, with neighbors and memory shared."""
    return seconds(lambda: list(executor.map(simulate_often, [25] * 8)))


def process_rows(folder: Path) -> Iterator[Row]:
    """Compare two worker processes with one, and a Dask cluster of two with two."""
    from distributed import Client, LocalCluster

    spec, context = write_spec(folder, CLUSTER_POINTS), get_context("spawn")
    with ExitStack() as stack:
        one, two = (stack.enter_context(ProcessPoolExecutor(count, context)) for count in (1, WORKERS))
        spent = in_turn(spec, folder / "processes", {"one": (one, 1), "two": (two, WORKERS)}, SLICE, SLICE_PAIRS)
        print_rates(spent, SLICE)
        bare = median(simulations(one) / simulations(two) for _ in range(SLICE_PAIRS + 1))
        print(f"bare simulations, without a sweep, are {bare:.2f} times as fast in 2 processes on this machine as it is now")
        yield "throughput of 2 processes over 1", median(a / b for a, b in zip(spent["one"], spent["two"], strict=True)), ">=", 1.8

        local = LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
        client = stack.enter_context(Client(stack.enter_context(local), set_as_default=False))
        ways = {"processes": (two, WORKERS), "Dask": (client.get_executor(pure=False), WORKERS)}
        points = (CLUSTER_POINTS - 4 * 64) // CLUSTER_PAIRS
        spent = in_turn(spec, folder / "cluster", ways, points, CLUSTER_PAIRS)
        print_rates(spent, points)
        value = median(a / b for a, b in zip(spent["processes"], spent["Dask"], strict=True))
        yield f"throughput of a Dask cluster of 2 over 2 processes, {CLUSTER_POINTS:,} points", value, ">=", 0.85


def print_rates(spent: dict[str, list[float]], points: int) -> None:
    """Print how many points a second there were."""
    print(", ".join(f"{name}: {points / median(times):,.0f} points/s" for name, times in spent.items()), flush=True)


def whole_rows(folder: Path) -> Iterator[Row]:
    """Run the command as a process of its own, start-up and all."""
    taken, peaks = {}, {}
    for points in (FEW, MOST):
        arguments = ["sweep", str(write_spec(folder, points)), "-o", str(folder / f"whole-{points}"), "--jobs", str(WORKERS)]
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], check=True, capture_output=True, text=True)
        taken[points] = time.perf_counter() - start
        peaks[points] = int(done.stderr.rpartition("peak ")[2]) / 1024
    yield f"{MOST:,} points with {WORKERS} processes, seconds", taken[MOST], "<", 120.0
    yield "peak memory of the process that coordinates them, MiB", peaks[MOST], "<", 500.0
    yield f"the same over that with {FEW:,} points", peaks[MOST] / peaks[FEW], "<=", 1.25


def main() -> None:
    """Measure, print and judge."""
    missed = 0
    with TemporaryDirectory() as name:
        for part in (point_rows, process_rows, whole_rows):
            for what, value, relation, target in part(Path(name)):
                holds = value >= target if relation == ">=" else value <= target if relation == "<=" else value < target
                missed += not holds
                print(f"{what:78s} {value:7.3f}   {relation} {target:<6g} {'ok' if holds else 'MISSED'}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
