"""Optimal schedules: by hand, as brute force finds them, and played exactly by the simulator."""

from __future__ import annotations

import pytest
from brute_force import optimum_ns
from random_graphs import hand_costs, random_dag

from socsim import make_case
from socsim.bounds import lower_bounds
from socsim.cost import NANOSECONDS, Costs
from socsim.errors import SocsimError
from socsim.optimal import Optimum, optimal_schedule
from socsim.schedulers import Prepare
from socsim.simulator import simulate
from socsim.timeline import Timeline

GREEDY = ("fifo", "out-of-order", "out-of-order-earliest-position")


def played(costs: Costs, policy: str | Prepare) -> Timeline:
    return simulate(costs.graph, costs, policy, memory="private")


def makespan_ns(timeline: Timeline) -> int:
    return int(timeline.end_ns[: timeline.graph.prefill_count].max())


def solved(costs: Costs, start: str = "fifo", *, time_limit_s: float = 60.0, lower_bound_ns: int = 0) -> Optimum:
    """Return the best schedule found from one policy's, after playing it."""
    start_ns = played(costs, start).start_ns.tolist()
    found = optimal_schedule(costs, start_ns, time_limit_s=time_limit_s, workers=1, lower_bound_ns=lower_bound_ns)
    replay = played(costs, found.policy)
    assert (tuple(replay.start_ns.tolist()), makespan_ns(replay)) == (found.start_ns, found.makespan_ns)
    return found


def waiting(unit_ns: int, *, latency_ns: int = 0) -> Costs:
    """The NPU can start a long subgraph (0) at once, but should wait for a short one (2) that the CPU's long one (3) needs."""
    rows = [("npu", 10, 0, ()), ("cpu", 1, 0, ()), ("npu", 1, 0, (1,)), ("cpu", 20, 0, (2,)), ("gpu", 5, 0, (3,))]
    return hand_costs([(name, time * unit_ns, size, needs) for name, time, size, needs in rows], latency_ns=latency_ns, prefill_count=4)


@pytest.mark.parametrize("unit_ns", [1, 1000])
def test_a_processor_waits_where_that_is_best(unit_ns: int) -> None:
    costs = waiting(unit_ns, latency_ns=2 * unit_ns)
    assert {makespan_ns(played(costs, policy)) for policy in GREEDY} == {33 * unit_ns}
    found = solved(costs)
    assert (found.makespan_ns, found.bound_ns, found.status) == (26 * unit_ns, 26 * unit_ns, "optimal")
    assert found.start_ns == tuple(unit_ns * start for start in (4, 0, 3, 6, 28))  # the last one is a decode step


def test_as_good_as_trying_everything() -> None:
    improved = 0
    for seed in range(60):
        costs = random_dag(seed, size=7)
        found = solved(costs)
        assert (found.status, found.makespan_ns) == ("optimal", optimum_ns(costs)), seed
        improved += found.makespan_ns < makespan_ns(played(costs, "fifo"))
    assert improved >= 5


@pytest.mark.parametrize("chunks", [2, 3])
def test_a_real_prefill(chunks: int) -> None:
    case = make_case(
        "snapdragon-8-gen-3",
        "smollm2-135m",
        "llm-npu",
        prompt_tokens=256 * chunks,
        output_tokens=3,
        overrides={"model.num_hidden_layers": 2},
    )
    least = round(lower_bounds(case.costs, "private").makespan_s * NANOSECONDS)
    found = solved(case.costs, lower_bound_ns=least)
    assert found.status == "optimal"
    assert least <= found.makespan_ns < min(makespan_ns(played(case.costs, policy)) for policy in GREEDY)
    assert solved(case.costs, "sequential").makespan_ns == found.makespan_ns


@pytest.mark.parametrize("time_limit_s", [0.0, 0.5])
def test_time_may_be_up_before_anything_is_proven(time_limit_s: float) -> None:
    case = make_case("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=1024)
    found = solved(case.costs, time_limit_s=time_limit_s)
    assert found.status == "feasible"
    assert 0 <= found.bound_ns < found.makespan_ns <= makespan_ns(played(case.costs, "fifo"))


def test_a_schedule_at_the_lower_bound_is_optimal_without_a_search() -> None:
    found = solved(waiting(1), time_limit_s=0.0, lower_bound_ns=31)
    assert (found.makespan_ns, found.bound_ns, found.status) == (31, 31, "optimal")


def test_what_cannot_be_solved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = waiting(1)
    start = played(costs, "fifo").start_ns.tolist()
    with pytest.raises(SocsimError, match=r"^start_ns has 4 times, allowed: one for each of 5 subgraphs$"):
        optimal_schedule(costs, start[:4], time_limit_s=1)
    with pytest.raises(SocsimError, match=r"^start_ns is no schedule of this task graph: its order contradicts dependencies$"):
        optimal_schedule(costs, [0, 1, 2, 0, 3], time_limit_s=1)
    with pytest.raises(SocsimError, match=r"^lower_bound_ns 32 is above the makespan of start_ns; allowed: at most 31$"):
        optimal_schedule(costs, start, time_limit_s=1, lower_bound_ns=32)
    with pytest.raises(SocsimError, match=r"mid-run: run.slowed_processor should not be set$"):
        optimal_schedule(costs.with_slowdown("npu", 1.0, 2.0), start, time_limit_s=1)
    monkeypatch.setattr("socsim.optimal.find_spec", lambda name: None)
    with pytest.raises(SocsimError, match=r"^optimal schedules need OR-Tools: pip install 'phone-socsim\[optimal\]'$"):
        optimal_schedule(costs, start, time_limit_s=1)
