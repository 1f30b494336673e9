"""Policies side by side: the same runs as alone, times by a clock that the test turns, and bounds that hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from socsim.bounds import lower_bounds
from socsim.cost import NANOSECONDS
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.policy_comparison import Comparison, best_schedule, compare_policies, makespan_s
from socsim.runs import Case, make_case, run_case
from socsim.schedulers import Choose, Placements, View, places

READING_NS, PLACING_NS, PLANNING_NS, DECIDING_NS = 40, 70_000, 5_000, 300
MODEL = ("snapdragon-8-gen-3", "smollm2-135m", "llm-npu")


def small(**overrides: Any) -> Case:
    changed = {"model.num_hidden_layers": 2} | {path.replace("__", "."): value for path, value in overrides.items()}
    return make_case(*MODEL, prompt_tokens=512, overrides=changed)


class Clock:
    """Goes on by what readings take and by what the policy says that it takes."""

    def __init__(self) -> None:
        self.now_ns, self.decisions = 0, 0

    def read(self) -> int:
        self.now_ns += READING_NS
        return self.now_ns

    def slow(self, graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        self.now_ns += PLANNING_NS

        def choose(ready: Sequence[int], view: View) -> int:
            self.now_ns += DECIDING_NS
            self.decisions += 1
            return ready[0]

        return choose

    def place(self, placements: Placements) -> list[str]:
        self.now_ns += PLACING_NS
        return placements.listed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("socsim.policy_comparison.perf_counter_ns", clock.read)
    return clock


def test_runs_are_those_that_are_made_alone() -> None:
    case, names = small(), ["fifo", "out-of-order-earliest-position", "lookahead"]
    for each, name in zip(compare_policies(case, names), names, strict=True):
        assert each.result.record == run_case(case, name).record
        assert each.decisions >= len(case.costs.graph)


def test_a_policy_that_plans_by_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.schedulers.order_search.EFFORT", 2000)
    case, ended = small(), list[None]()
    (planned,) = compare_policies(case, ["planned"], lambda: ended.append(None))
    assert planned.result.record == run_case(case, "planned").record
    assert planned.planning_s > planned.decision_s  # many simulations, and one choice
    assert len(ended) == 1


def test_times_are_those_of_the_policy_alone(clock: Clock) -> None:
    (each,) = compare_policies(small(), [clock.slow])
    assert each.result.timeline.scheduler == "slow"
    assert each.decisions == clock.decisions > 0
    assert each.decision_s == pytest.approx(DECIDING_NS / NANOSECONDS)
    assert each.planning_s == pytest.approx((PLANNING_NS + READING_NS) / NANOSECONDS)


def test_placing_is_part_of_planning(clock: Clock) -> None:
    @places(clock.place)
    def slow(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        return clock.slow(graph, expected_ns, seed)

    (each,) = compare_policies(small(engine__placement__alternatives={"attn_norm": ["gpu"]}), [slow])
    assert each.planning_s == pytest.approx((PLACING_NS + PLANNING_NS + 2 * READING_NS) / NANOSECONDS)


def test_errors_name_the_policy() -> None:
    def wrong(*_: Any) -> Any:
        return 3

    with pytest.raises(SocsimError, match=r"scheduler wrong: scheduler's prepare should return a function choose\(ready, view\), not 3"):
        compare_policies(small(), ["fifo", wrong])


@pytest.mark.parametrize("memory", ["private", "infinite", "shared"])
def test_the_best_schedule_without_contention(memory: str) -> None:
    case = small(run__memory=memory, soc__dram__achievable_bytes_per_s=10e9)
    compared = Comparison(case, compare_policies(case, ["fifo", "out-of-order"]), best_schedule(case, 60.0))
    assert compared.found is not None
    optimum, best = compared.found.optimum, compared.found.result
    assert (optimum.status, best.timeline.scheduler, best.timeline.memory) == ("optimal", "optimal", memory)
    assert compared.bound_s(best) == optimum.bound_ns / NANOSECONDS > lower_bounds(case.costs, memory).makespan_s
    assert (compared.gap(best) > 0) == (memory == "shared")
    assert compared.gap(best) >= 0
    assert all(compared.gap(run) > 0 for run in compared.runs[:2])


def test_gaps_to_the_best_that_is_known() -> None:
    case = small(run__memory="private")
    compared = Comparison(case, compare_policies(case, ["fifo", "out-of-order"]), best_schedule(case, 60.0))
    fifo, _, best = compared.runs
    assert compared.best_known_gap(best) == 0 < compared.best_known_gap(fifo)
    assert compared.best_known_gap(fifo) == makespan_s(fifo) / makespan_s(best) - 1 == compared.gap(fifo)


def test_the_best_schedule_knows_the_true_durations() -> None:
    case = small(run__duration_noise=0.2, run__memory="private")
    compared = Comparison(case, compare_policies(case, ["lookahead"]), best_schedule(case, 60.0))
    assert compared.found is not None
    assert compared.gap(compared.found.result) == 0 < compared.gap(compared.runs[0])


def test_a_search_that_runs_out_of_time_says_so() -> None:
    found = best_schedule(make_case(*MODEL, prompt_tokens=768), 1e-3)
    assert (found.optimum.status, found.result.timeline.scheduler) == ("feasible", "best-found")


def test_speed_is_relative_to_the_better_tie() -> None:
    case = small()
    compared = Comparison(case, compare_policies(case, ["out-of-order", "out-of-order-earliest-position", "fifo"]))
    speeds = [compared.speedup(run) for run in compared.runs]
    assert max(speed for speed in speeds[:2] if speed) == 1.0
    assert speeds[2] == min(map(makespan_s, compared.runs[:2])) / makespan_s(compared.runs[2])
    without = Comparison(case, compared.policies[2:])
    assert without.speedup(without.runs[0]) is None


def test_another_placement_has_a_bound_of_its_own() -> None:
    case, other = small(run__memory="private"), small(run__memory="private", engine__placement__other="gpu")
    policies = [*compare_policies(case, ["fifo"]), *compare_policies(other, ["fifo"])]
    compared = Comparison(case, policies, best_schedule(case, 60.0))
    here, there, best = compared.runs
    assert compared.bound_s(here) == makespan_s(best)
    assert compared.bound_s(there) == lower_bounds(other.costs, "private").makespan_s
