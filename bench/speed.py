"""Speed of the simulator as ratios measured in one run; exits with 1 if one misses its target.

Run with ``make bench``. Each ratio pairs two measurements taken in turn, so that a machine whose speed drifts does not
matter; printed is the median of the pairs.
"""

from __future__ import annotations

import heapq
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Generator
from statistics import median
from typing import Any

import numpy as np
import simpy

from socsim.graph import TaskGraph
from socsim.metrics import summarize
from socsim.runs import Case, make_case
from socsim.simulator import simulate

PAIRS = 25


def plain_edges(graph: TaskGraph) -> tuple[list[list[int]], list[int]]:
    """Return the successors of each subgraph with prefixes written out, and the number of predecessors."""
    successors: list[list[int]] = [[] for _ in graph.subgraphs]
    needed = [0] * len(graph)
    for index in range(len(graph)):
        for other in graph.all_predecessors(index):
            successors[other].append(index)
            needed[index] += 1
    return successors, needed


def bare_program(case: Case) -> Callable[[], Any]:  # noqa: C901 (flat, as a bare program would be written)
    """Return a bare SimPy program of long-lived processes that plays the same DAG with fixed durations from ready heaps."""
    graph, duration = case.costs.graph, case.costs.expected_ns
    successors, needed = plain_edges(graph)
    processor_of = graph.processor_index

    def program() -> None:
        env = simpy.Environment()
        remaining = needed[:]
        ready: list[list[int]] = [[] for _ in range(3)]
        bell: list[Any] = [None] * 3

        def run(processor: int) -> Generator[Any, Any, None]:
            queue = ready[processor]
            while True:
                if not queue:
                    bell[processor] = env.event()
                    yield bell[processor]
                    bell[processor] = None
                    continue
                index = heapq.heappop(queue)
                yield env.timeout(duration[index])
                for follower in successors[index]:
                    remaining[follower] -= 1
                    if not remaining[follower]:
                        target = processor_of[follower]
                        heapq.heappush(ready[target], follower)
                        if bell[target] is not None and not bell[target].triggered:
                            bell[target].succeed()

        for index, count in enumerate(remaining):
            if not count:
                heapq.heappush(ready[processor_of[index]], index)
        for processor in range(3):
            env.process(run(processor))
        env.run()

    return program


def socsim_program(case: Case, scheduler: str, memory: str) -> Callable[[], Any]:
    """Return a simulation of a case with all metrics."""

    def program() -> None:
        timeline = simulate(case.costs.graph, case.costs, scheduler, memory=memory)
        summarize(timeline, case.power, case.run, case.preparation.charged_s)

    return program


def cpu_seconds(program: Callable[[], Any], repeats: int = 4) -> float:
    """Return the processor time of one execution."""
    start = time.process_time()
    for _ in range(repeats):
        program()
    return (time.process_time() - start) / repeats


def ratio(numerator: Callable[[], float], denominator: Callable[[], float], pairs: int = PAIRS) -> float:
    """Return the median ratio of measurements taken in turn."""
    return median(numerator() / denominator() for _ in range(pairs))


def startup_seconds(*arguments: str) -> float:
    """Return the time of a whole Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def contended_share(case: Case) -> float:
    """Return the share of the time in which anything streams that DRAM is at its limit."""
    when, rate = simulate(case.costs.graph, case.costs, "fifo").dram_rate
    lasting = np.diff(when, append=when[-1])
    return float(lasting[rate >= case.costs.achievable_bytes_per_s].sum() / lasting[rate > 0].sum())


def simulation_ratios() -> list[tuple[str, float, str, float]]:
    """Compare with the bare program: 578 subgraphs, four chunks of qwen1.5-1.8b without shadow work."""
    case = make_case("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=1024, overrides={"engine.outlier_pruning_rate": 1.0})
    bare = bare_program(case)
    bare()
    print(f"DRAM is at its limit in {contended_share(case):.0%} of the time in which anything streams (fifo)", flush=True)
    rows = []
    for memory, target in (("shared", 0.3), ("infinite", 0.4)):
        for scheduler in ("fifo", "out-of-order"):
            program = socsim_program(case, scheduler, memory)
            program()
            value = ratio(lambda: cpu_seconds(bare), lambda program=program: cpu_seconds(program))  # type: ignore[misc]
            bound = target if scheduler == "fifo" else 0.0
            rows.append((f"speed over bare SimPy, {memory} DRAM, {scheduler}, {len(case.costs.graph)} subgraphs", value, ">=", bound))
    return rows


def long_prompt_ratios() -> list[tuple[str, float, str, float]]:
    """Compare the time per subgraph of a 131,072-token prompt on gemma-2b with that of a 1,024-token prompt."""
    warnings.simplefilter("ignore")
    cases = {tokens: make_case("snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=tokens) for tokens in (1024, 131072)}
    rows = []
    for scheduler in ("fifo", "out-of-order"):

        def per_subgraph(tokens: int, repeats: int, scheduler: str = scheduler) -> float:
            case = cases[tokens]
            return cpu_seconds(socsim_program(case, scheduler, "shared"), repeats) / len(case.costs.graph)

        per_subgraph(1024, 3)
        value = ratio(lambda run=per_subgraph: run(131072, 1), lambda run=per_subgraph: run(1024, 20), 3)  # type: ignore[misc]
        rows.append((f"time per subgraph, 131,072 over 1,024 tokens, {scheduler}", value, "<=", 2.0))
    tracemalloc.start()
    case = make_case("snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=131072)
    socsim_program(case, "out-of-order", "shared")()
    peak = tracemalloc.get_traced_memory()[1] / 2**30
    tracemalloc.stop()
    rows.append(("memory of building and playing 131,072 tokens, GiB", peak, "<=", 1.0))
    return rows


def startup_ratios() -> list[tuple[str, float, str, float]]:
    """Compare start-up times of whole processes."""
    lean = "from pydantic import BaseModel; import simpy, numpy"
    return [
        (
            "socsim --help over import pydantic",
            ratio(lambda: startup_seconds("-m", "socsim", "--help"), lambda: startup_seconds("-c", "import pydantic"), 11),
            "<=",
            3.0,
        ),
        (
            "from socsim import simulate over pydantic's BaseModel, simpy, numpy",
            ratio(lambda: startup_seconds("-c", "from socsim import simulate"), lambda: startup_seconds("-c", lean), 11),
            "<=",
            1.3,
        ),
    ]


def main() -> None:
    """Measure, print and judge."""
    missed = 0
    for part in (simulation_ratios, long_prompt_ratios, startup_ratios):
        for name, value, relation, target in part():
            holds = value >= target if relation == ">=" else value <= target
            missed += not holds
            wanted = f"{relation} {target:g}" if target else "no target"
            print(f"{name:78s} {value:6.3f}   {wanted:9s} {'ok' if holds else 'MISSED'}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
