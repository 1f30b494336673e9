"""Policies by rank, HEFT and planned: each makes the choices that its rule says, worked out by hand or tried out."""

from __future__ import annotations

import random
import sys
from functools import partial

import pytest
from random_graphs import hand_costs, random_dag

from socsim.conformance import random_costs
from socsim.cost import Costs
from socsim.graph import Prefix, TaskGraph
from socsim.runs import make_case
from socsim.schedulers import Prepare, Rehearsal, critical_path, follow, heft, lookahead, wavefront
from socsim.schedulers.heft import _Machine
from socsim.schedulers.lookahead import usual_stagger
from socsim.schedulers.order_search import best_plan
from socsim.schedulers.planned import replay
from socsim.schedulers.ranked import SLOPES, ranked, sloped, staggered, ways_to_end
from socsim.simulator import rehearsals, simulate

MODES = ("infinite", "private", "shared")
GREEDY = ("fifo", "out-of-order", "out-of-order-earliest-position", "critical-path", "wavefront", "lookahead")


def starts(costs: Costs, policy: str | Prepare, memory: str = "shared", seed: int = 0) -> list[int]:
    result: list[int] = simulate(costs.graph, costs, policy, memory=memory, seed=seed).start_ns.tolist()
    return result


def makespan_ns(costs: Costs, policy: str | Prepare, memory: str = "shared") -> int:
    return int(simulate(costs.graph, costs, policy, memory=memory).end_ns[: costs.graph.prefill_count].max())


def real(output_tokens: int = 1) -> Costs:
    overrides = {"model.num_hidden_layers": 3, "engine.outlier_pruning_rate": 0.5}
    case = make_case(
        "snapdragon-8-gen-3",
        "smollm2-135m",
        "llm-npu",
        prompt_tokens=192,
        chunk_tokens=64,
        output_tokens=output_tokens,
        overrides=overrides,
    )
    return case.costs


# Ranks


def test_lowest_rank_goes_first_and_equal_ranks_in_the_order_of_the_graph() -> None:
    costs = hand_costs([("npu", 10, 0, ())] * 4, chunks=[0, 1, 2, 3])
    assert starts(costs, ranked([1.0, 0.5, 0.0, 0.5])) == [30, 10, 0, 20]
    assert starts(costs, ranked([2] * 4)) == [0, 10, 20, 30]


def test_ways_to_the_end_of_the_prefill() -> None:
    rows = [("npu", 10, 0, ()), ("npu", 20, 0, ()), ("cpu", 5, 0, (0,)), ("cpu", 7, 0, ()), ("cpu", 100, 0, (3,))]
    costs = hand_costs(rows, latency_ns=50, prefixes=[Prefix((0, 1), ((), (3,)))], prefill_count=4)
    assert ways_to_end(costs.graph, costs.expected_ns) == [17, 27, 5, 7, 0]  # 3 needs 0 and 1; 4 is a decode step


@pytest.mark.parametrize("policy", [critical_path, heft, wavefront, lookahead])
def test_decode_steps_change_nothing_before_the_first_token(policy: Prepare) -> None:
    short, long = real(), real(output_tokens=100)
    first_token_ns, again_ns = [simulate(each.graph, each, policy).end_ns[short.graph.prefill_count - 1] for each in (short, long)]
    before = [[start for start in starts(each, policy) if start < first_token_ns] for each in (short, long)]
    assert before[0] == before[1]
    assert again_ns == first_token_ns


def test_critical_path_takes_the_longest_way() -> None:
    costs = hand_costs([("npu", 10, 0, ()), ("npu", 10, 0, ()), ("cpu", 5, 0, (0,)), ("cpu", 30, 0, (1,))])
    assert starts(costs, "critical-path") == [10, 0, 40, 10]
    assert starts(costs, "fifo") == [0, 10, 10, 20]


def of_blocks(*chunks: int) -> TaskGraph:
    """Return a graph of chunks that each have one subgraph in each of so many blocks."""
    graph = hand_costs([("npu", 1, 0, ())] * sum(chunks)).graph
    places = [(chunk, block) for chunk, count in enumerate(chunks) for block in range(count)]
    subgraphs = [each._replace(chunk=chunk, block=block) for each, (chunk, block) in zip(graph.subgraphs, places, strict=True)]
    return TaskGraph(tuple(subgraphs), graph.predecessors)


def test_chunks_are_held_back_by_a_share_of_a_block() -> None:
    graph = of_blocks(3, 3)  # the last stands behind two blocks
    assert staggered(graph, [40, 30, 20, 35, 25, 15], 0.25) == [-40, -30, -20, 5 - 35, 5 - 25, 5 - 15]
    assert staggered(graph, [40, 30, 20, 35, 25, 15], 0.0) == [-40, -30, -20, -35, -25, -15]


@pytest.mark.parametrize(("chunks", "stagger"), [(1, 0.5), (2, 0.5), (5, 0.25), (17, 0.125)])
def test_the_more_chunks_the_closer_they_follow(chunks: int, stagger: float) -> None:
    assert usual_stagger(of_blocks(*[1] * chunks)) == stagger


def test_lookahead_holds_a_chunk_back() -> None:
    # Ways 20 and 22: held back by half a block of 22 ns, the second chunk goes second.
    costs = hand_costs([("npu", 10, 0, ()), ("cpu", 10, 0, (0,)), ("npu", 10, 0, ()), ("cpu", 12, 0, (2,))], chunks=[0, 0, 1, 1])
    assert starts(costs, "lookahead") == starts(costs, partial(lookahead, stagger=0.1)) == [0, 10, 10, 20]
    assert starts(costs, partial(lookahead, stagger=0.05)) == starts(costs, "critical-path") == [10, 22, 0, 10]


def test_wavefront_lets_chunks_lag_by_the_distance_of_the_least_makespan() -> None:
    assert sloped(hand_costs([("npu", 1, 0, ())] * 4, chunks=[0, 0, 1, 1], positions=[0, 1, 0, 1]).graph, 3) == [0, 1, 3, 4]
    chosen = set()
    for seed in range(40):
        for memory in MODES:
            costs = random_costs(seed)
            tried = [simulate(costs.graph, costs, ranked(sloped(costs.graph, slope)), memory=memory) for slope in SLOPES]
            makespans = [int(each.end_ns[: costs.graph.prefill_count].max()) for each in tried]
            best = makespans.index(min(makespans))  # the first of equals
            assert starts(costs, "wavefront", memory) == tried[best].start_ns.tolist(), seed
            chosen.add(SLOPES[best])
    assert len(chosen) > 3


# Waiting for what is about to be ready


@pytest.mark.parametrize(("patience", "expected"), [(0.0, [0, 20, 0]), (0.09, [0, 20, 0]), (0.1, [0, 2, 32])])
def test_patience_for_a_direct_successor(patience: float, expected: list[int]) -> None:
    costs = hand_costs([("cpu", 2, 0, ()), ("npu", 30, 0, (0,)), ("npu", 20, 0, ())])
    assert starts(costs, partial(lookahead, patience=patience)) == expected


def test_patience_lasts_while_results_are_handed_over() -> None:
    costs = hand_costs([("cpu", 2, 0, ()), ("npu", 30, 0, (0,)), ("npu", 20, 0, ())], latency_ns=2)
    assert starts(costs, partial(lookahead, patience=0.1)) == [0, 4, 34]
    assert starts(costs, lookahead) == [0, 20, 0]


@pytest.mark.parametrize(("patience", "expected"), [(0.25, [0, 2, 4, 0, 34]), (0.04, [0, 2, 23, 0, 3])])
def test_patience_for_what_waits_for_a_prefix(patience: float, expected: list[int]) -> None:
    # 2 needs 0 and 1, of which the prefix names 1 first: at 3 ns, its end is all that 2 waits for.
    rows = [("cpu", 2, 0, ()), ("cpu", 2, 0, ()), ("npu", 30, 0, ()), ("npu", 3, 0, ()), ("npu", 20, 0, (3,))]
    for prefix in (Prefix((1, 0), ((), (2,))), Prefix((0, 1), ((), (2,)))):
        assert starts(hand_costs(rows, prefixes=[prefix]), partial(lookahead, patience=patience)) == expected


def test_nobody_waits_for_what_needs_more_than_what_is_about_to_end() -> None:
    both = hand_costs([("cpu", 2, 0, ()), ("gpu", 9, 0, ()), ("npu", 30, 0, (0, 1)), ("npu", 20, 0, ())])
    assert starts(both, partial(lookahead, patience=0.3)) == [0, 0, 20, 0]
    prefix = Prefix((0, 1), ((), (2,)))
    whole = hand_costs([("cpu", 2, 0, ()), ("cpu", 2, 0, ()), ("npu", 30, 0, ()), ("npu", 20, 0, ())], prefixes=[prefix])
    assert starts(whole, partial(lookahead, patience=0.25)) == [0, 2, 20, 0]


def test_nobody_waits_for_what_is_worse_or_late() -> None:
    worse = hand_costs([("cpu", 2, 0, ()), ("npu", 10, 0, (0,)), ("npu", 20, 0, ())])
    assert starts(worse, partial(lookahead, patience=0.5)) == [0, 20, 0]
    expected = hand_costs([("cpu", 2, 0, ()), ("npu", 30, 0, (0,)), ("npu", 20, 0, ()), ("gpu", 3, 0, ()), ("gpu", 9, 0, (3,))])
    late = simulate(expected.graph, expected.with_slowdown("cpu", 0.0, 50.0), partial(lookahead, patience=0.5), expected=expected)
    assert late.start_ns.tolist() == [0, 100, 3, 0, 3]  # not there when expected: given up at the next event


# HEFT


@pytest.mark.parametrize(("short_ns", "start"), [(2, 0), (5, 0), (6, 15)])
def test_heft_fills_the_gap_before_a_longer_way_or_waits(short_ns: int, start: int) -> None:
    costs = hand_costs([("cpu", 5, 0, ()), ("npu", 10, 0, (0,)), ("npu", short_ns, 0, ())])
    assert starts(costs, "heft") == [0, 5, start]


def test_gaps_of_a_machine() -> None:
    machine = _Machine()
    assert [machine.take(*each) for each in ((3, 4), (0, 2), (0, 2), (2, 1), (20, 5), (0, 3), (12, 8))] == [3, 0, 7, 2, 20, 9, 12]
    assert machine.gaps == []
    assert machine.free_from == 25


# Planned


def waiting(names: tuple[str, str], *, latency_ns: int = 0) -> Costs:
    """One processor can start a long subgraph (0) at once, but should wait for a short one (2) that the other's long one (3) needs."""
    here, there = names
    return hand_costs([(here, 10, 0, ()), (there, 1, 0, ()), (here, 1, 0, (1,)), (there, 20, 0, (2,))], latency_ns=latency_ns)


@pytest.mark.parametrize("names", [("npu", "cpu"), ("cpu", "npu")])
def test_planned_finds_that_waiting_is_best_and_waits_whoever_chooses_first(names: tuple[str, str]) -> None:
    costs = waiting(names)
    assert starts(costs, "planned") == [2, 0, 1, 2]
    assert {makespan_ns(costs, policy) for policy in GREEDY} == {31}


def test_planned_waits_for_a_hand_over_while_nothing_runs() -> None:
    costs = waiting(("cpu", "npu"), latency_ns=5)
    assert starts(costs, "planned") == [7, 0, 6, 12]
    assert {makespan_ns(costs, policy) for policy in GREEDY} == {36}


def test_replay_does_not_wait_where_nothing_comes() -> None:
    costs = hand_costs([("cpu", 4, 0, ()), ("npu", 4, 0, (0,)), ("cpu", 4, 0, (1,))])
    contradicting = Rehearsal([8, 4, 0], [12, 8, 4], 12)
    assert starts(costs, replay(contradicting)) == [0, 4, 8]


@pytest.mark.parametrize("memory", MODES)
def test_planned_does_what_was_rehearsed_and_is_never_worse_than_what_it_tries(memory: str) -> None:
    better = 0
    cases = [costs for seed in range(25) for costs in (random_costs(seed, processors=1 + seed % 3), random_dag(seed))]
    for costs in [*cases, real(output_tokens=3)]:
        graph = costs.graph
        plan = best_plan(graph, costs.expected_ns, 7, rehearsals(costs, memory, 7))
        timeline = simulate(graph, costs, "planned", memory=memory, seed=7)
        assert (timeline.start_ns.tolist(), timeline.end_ns.tolist()) == (plan.start_ns, plan.end_ns)
        assert plan.makespan_ns == timeline.end_ns[: graph.prefill_count].max()
        tried = [makespan_ns(costs, policy, memory) for policy in ("lookahead", "out-of-order", "out-of-order-earliest-position")]
        assert plan.makespan_ns <= min(tried)
        better += plan.makespan_ns < min(tried)
    assert better > 3


def any_order(costs: Costs, seed: int) -> Prepare:
    """Return the policy that follows a random order, in which processors wait for each other at will."""
    rng, graph, order = random.Random(seed), costs.graph, list[int]()
    while len(order) < len(graph):
        open_ = [i for i in range(len(graph)) if i not in order and all(other in order for other in graph.all_predecessors(i))]
        order.append(rng.choice(open_))
    return lambda graph, _expected, _seed: follow(graph, order)


def turns(graph: TaskGraph, start_ns: list[int]) -> list[list[int]]:
    """Return what each processor runs, in order."""
    order = sorted(range(len(graph)), key=lambda index: (start_ns[index], index))
    return [[index for index in order if graph.processor_index[index] == p] for p in range(len(graph.processors))]


@pytest.mark.parametrize("memory", MODES)
def test_any_order_is_replayed_exactly(memory: str) -> None:
    for seed in range(30):
        for costs in (random_costs(seed), random_dag(seed, size=25)):
            plan = rehearsals(costs, memory, 0)(any_order(costs, seed))
            assert starts(costs, replay(plan), memory) == plan.start_ns, seed


def test_order_is_kept_when_durations_are_off_unless_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept(costs: Costs, seed: int) -> bool:
        plan = rehearsals(costs, "shared", 0)(any_order(costs, seed))
        noisy = simulate(costs.graph, costs.with_noise(1.0, seed), replay(plan), expected=costs)
        return turns(costs.graph, noisy.start_ns.tolist()) == turns(costs.graph, plan.start_ns)

    cases = [(random_costs(seed), seed) for seed in range(40)]
    assert 20 < sum(kept(*case) for case in cases) < 40
    monkeypatch.setattr(sys.modules[replay.__module__], "PATIENCE", float("inf"))  # by its path, a policy hides its module
    assert all(kept(*case) for case in cases)


@pytest.mark.parametrize(("tick_ns", "start"), [(2, 8), (3, 9), (7, 7)])
def test_planned_takes_something_else_at_the_first_event_after_its_patience(tick_ns: int, start: int) -> None:
    # The CPU waits for 2, from 0 to 1 in the plan and up to 6 = 1 + 10 / 2 in truth, where 1 takes 100 ns; the GPU makes events.
    ticks = [("gpu", tick_ns, 0, (3 + tick,) if tick else ()) for tick in range(5)]
    costs = hand_costs([("cpu", 10, 0, ()), ("npu", 1, 0, ()), ("cpu", 1, 0, (1,)), ("npu", 60, 0, (2,)), *ticks])
    plan = rehearsals(costs, "shared", 0)(lambda graph, _expected, _seed: follow(graph, [1, 2, 0, *range(3, 9)]))
    assert starts(costs, replay(plan))[:4] == [2, 0, 1, 2]
    slowed = costs.with_slowdown("npu", 0.0, 100.0)
    assert simulate(costs.graph, slowed, replay(plan), expected=costs).start_ns[:4].tolist() == [start, 0, 100, 101]
