"""Prefills so small that the best schedule can be proven: a few blocks, two to four chunks, and any ratio of CPU to NPU work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from socsim.bounds import lower_bounds
from socsim.catalog import load_soc
from socsim.cost import NANOSECONDS, Costs
from socsim.experiments.policy_grid import Row, fastest_rule
from socsim.graph import TaskGraph
from socsim.optimal import optimal_schedule
from socsim.runs import make_case
from socsim.schedulers import SCHEDULERS, Choose, Prepare, Rehearse, lookahead
from socsim.schedulers.order_search import best_plan
from socsim.schedulers.planned import replay
from socsim.simulator import simulate

BLOCKS = 6
NEVER_WAITS = "planned, never waiting"


def never_waits(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
    """Plan as `planned` does, among orders in which no processor waits while it has something ready."""
    return replay(best_plan(graph, expected_ns, seed, rehearse, waits=False))(graph, expected_ns, seed)


POLICIES: dict[str, Prepare] = {
    **SCHEDULERS,
    **{f"lookahead, patience {share:g}": partial(lookahead, patience=share) for share in (0.1, 0.25, 0.5)},
    NEVER_WAITS: never_waits,
}
"""Shipped policies, some that wait for what comes within a share of the time that what is ready takes, and one that never waits."""


def small_costs(soc: str, model: str, chunks: int, chunk_tokens: int, work_ratio: float) -> Costs:
    """Return the costs of a model cut to a few blocks, with the CPU as fast as it takes for a ratio of CPU to NPU work."""

    def costs(speed: float) -> Costs:
        changes = {"model.num_hidden_layers": BLOCKS, "soc.processors.cpu.speed": speed}
        return make_case(soc, model, "llm-npu", prompt_tokens=chunks * chunk_tokens, chunk_tokens=chunk_tokens, overrides=changes).costs

    speed = load_soc(soc).processors["cpu"].speed
    for _ in range(4):  # weights that come from DRAM do not depend on the speed
        speed *= ratio_of_work(costs(speed)) / work_ratio
    return costs(speed)


def ratio_of_work(costs: Costs) -> float:
    """Return the time of all that the CPU does in a prefill over that of the NPU."""
    busy_ns = dict.fromkeys(costs.graph.processors, 0)
    for subgraph, duration in zip(costs.graph.subgraphs[: costs.graph.prefill_count], costs.expected_ns, strict=False):
        busy_ns[subgraph.processor] += duration
    return busy_ns["cpu"] / busy_ns["npu"]


def proven_gaps(costs: Costs, time_limit_s: float) -> list[Row]:
    """Return how far each policy is above the least makespan, each processor having DRAM to itself, or above what is proven of that.

    With the paper's rule and the schedule that the solver found as two more. Where that proves no optimum in time, gaps are those to its
    bound, and may be others on a faster machine. How long the NPU waits on purpose is not said of the solver's, as others are as short.
    """
    count = costs.graph.prefill_count
    runs = {name: simulate(costs.graph, costs, policy, memory="private") for name, policy in POLICIES.items()}
    makespans_ns = {name: int(run.end_ns[:count].max()) for name, run in runs.items()}
    best = runs[min(makespans_ns, key=lambda name: makespans_ns[name])]
    least_ns = round(lower_bounds(costs, "private").makespan_s * NANOSECONDS)
    optimum = optimal_schedule(costs, best.start_ns.tolist(), time_limit_s=time_limit_s, lower_bound_ns=least_ns)
    makespans_ns[optimum.status] = optimum.makespan_ns
    rows: list[Row] = [
        {
            "subgraphs": count,
            "policy": name,
            "makespan_ms": makespan_ns / 1e6,
            "proven": optimum.status == "optimal",
            "bound_ms": optimum.bound_ns / 1e6,
            "gap_percent": 100.0 * (makespan_ns / optimum.bound_ns - 1.0),
            "waits_percent": 100.0 * waiting_ns(costs, runs[name].start_ns.tolist()) / makespan_ns if name in runs else None,
        }
        for name, makespan_ns in makespans_ns.items()
    ]
    return [*rows, fastest_rule(rows)]


def waiting_ns(costs: Costs, start_ns: Sequence[int]) -> int:
    """Return for how long the NPU waits on purpose in a schedule: idle while something is ready for it."""
    graph, duration, latency = costs.graph, costs.expected_ns, costs.latency_ns
    place, npu = graph.processor_index, graph.processors.index("npu")
    mine = sorted((index for index in range(graph.prefill_count) if place[index] == npu), key=start_ns.__getitem__)

    def ready_ns(index: int) -> int:
        return max((start_ns[other] + duration[other] + latency[place[other]][npu] for other in graph.all_predecessors(index)), default=0)

    soonest = [ready_ns(index) for index in mine]
    for number in range(len(soonest) - 2, -1, -1):
        soonest[number] = min(soonest[number], soonest[number + 1])  # of this one and all that come later
    free, waited = 0, 0
    for index, soon in zip(mine, soonest, strict=True):
        waited += max(0, start_ns[index] - max(free, soon))
        free = start_ns[index] + duration[index]
    return waited
