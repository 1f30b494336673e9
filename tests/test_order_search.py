"""The search for an order: what its moves may do, how much it tries, and that it is the same again."""

from __future__ import annotations

import itertools
import random

import pytest
from random_graphs import hand_costs, random_dag

from socsim.conformance import random_costs
from socsim.cost import Costs
from socsim.schedulers import Prepare, Rehearsal
from socsim.schedulers.order_search import FEWEST, MOST, _critical_runs, _moved, _order, best_plan
from socsim.schedulers.ranked import ranked
from socsim.simulator import rehearsals

SEARCHED = random_costs(11)
"""Far from its bound whatever is tried."""


def searched(costs: Costs, seed: int = 0) -> tuple[Rehearsal, list[int]]:
    """Return the plan of a search, and the makespan of each rehearsal (ns)."""
    makespans, rehearse = [], rehearsals(costs, "shared", seed)

    def counted(policy: Prepare | str) -> Rehearsal:
        found = rehearse(policy)
        makespans.append(found.makespan_ns)
        return found

    return best_plan(costs.graph, costs.expected_ns, seed, counted), makespans


def plan_of(costs: Costs, seed: int) -> Rehearsal:
    rng = random.Random(seed)
    return rehearsals(costs, "shared", seed)(ranked([rng.random() for _ in range(len(costs.graph))]))


def cases() -> list[Costs]:
    return [costs for seed in range(40) for costs in (random_costs(seed, processors=1 + seed % 3), random_dag(seed))]


def test_moves_never_contradict_dependencies() -> None:
    refused = made = 0
    for seed, costs in enumerate(cases()):
        graph, rng = costs.graph, random.Random(seed)
        order = _order(plan_of(costs, seed))
        for _ in range(20 * (len(order) > 1)):
            here, there = sorted(rng.sample(range(len(order)), 2))
            first, second, between = order[here], order[there], order[here : there + 1]
            for earlier in (True, False):
                changed = _moved(graph, order, first, second, earlier=earlier)
                if changed is None:
                    refused += 1
                    blocking = between if earlier else [other for other in between if first in graph.all_predecessors(other)]
                    assert not earlier or set(graph.all_predecessors(second)) & set(between)
                    assert blocking
                    continue
                made += 1
                assert sorted(changed) == sorted(order)
                place = {index: at for at, index in enumerate(changed)}
                assert place[second] + 1 == place[first]  # the later one has come to stand just before the other
                assert all(place[other] < place[index] for index in order for other in graph.all_predecessors(index))
                assert (changed[here] == second) if earlier else (changed[there] == first)
    assert min(refused, made) > 100


def test_runs_are_done_one_after_the_other_on_one_processor_and_end_with_the_prefill() -> None:
    found = 0
    for seed, costs in enumerate(cases()):
        graph, plan = costs.graph, plan_of(costs, seed)
        ends = []
        for run in _critical_runs(graph, plan):
            assert len({graph.processor_index[index] for index in run}) == 1
            assert all(plan.end_ns[first] == plan.start_ns[second] for first, second in itertools.pairwise(run))
            ends.append(plan.end_ns[run[-1]])
            found += len(run) - 1
        assert ends == sorted(ends, reverse=True)
        assert max(ends, default=0) <= plan.makespan_ns
    assert found > 100


def test_runs_along_a_critical_path_by_hand() -> None:
    # NPU: 0 0-5, 1 5-15, 3 20-24; CPU: 2 15-20, 4 20-21. Nothing else is done without a pause and critical than 0 and 1.
    costs = hand_costs([("npu", 5, 0, ()), ("npu", 10, 0, ()), ("cpu", 5, 0, (1,)), ("npu", 4, 0, (2,)), ("cpu", 1, 0, ())])
    plan = Rehearsal([0, 5, 15, 20, 20], [5, 15, 20, 24, 21], 24)
    assert _critical_runs(costs.graph, plan) == [[0, 1]]


@pytest.mark.parametrize(("effort", "most", "least", "allowed"), [(0, 25, 3, 3), (8, 25, 3, 8), (20, 25, 15, 20), (1000, 12, 8, 12)])
def test_effort_is_bounded(effort: int, most: int, least: int, allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.schedulers.order_search.EFFORT", effort * len(SEARCHED.graph))
    monkeypatch.setattr("socsim.schedulers.order_search.MOST", most)
    assert least <= len(searched(SEARCHED)[1]) <= allowed


def test_a_plan_at_the_lower_bound_is_not_searched_further() -> None:
    chain = hand_costs([("npu", 10, 0, ()), ("cpu", 20, 0, (0,)), ("npu", 30, 0, (1,)), ("npu", 5, 0, (0,))])
    plan, makespans = searched(chain)
    assert plan.makespan_ns == 60
    assert len(makespans) == FEWEST


def test_the_search_is_the_same_again_and_another_with_another_seed() -> None:
    assert searched(SEARCHED, 1) == searched(SEARCHED, 1)
    first, second = searched(SEARCHED, 1)[1], searched(SEARCHED, 2)[1]
    known = int(0.25 * 25)
    assert first[:known] == second[:known]  # policies come before anything random
    assert first != second


def test_the_best_of_all_rehearsals_is_returned() -> None:
    for costs in cases():
        plan, makespans = searched(costs)
        assert plan.makespan_ns == min(makespans)
        assert len(makespans) <= 25 < MOST


def test_nothing_to_plan() -> None:
    assert searched(hand_costs([]))[0] == Rehearsal([], [], 0)
    decoding = hand_costs([("cpu", 5, 0, ()), ("npu", 5, 0, (0,))], prefill_count=0)
    assert searched(decoding)[0] == Rehearsal([0, 5], [5, 10], 0)
