"""Shipped policies: loading, and each one's own rule on random graphs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from random_graphs import hand_costs, random_dag

from socsim.conformance import check_scheduler, random_costs
from socsim.cost import Costs
from socsim.decisions import decision_log
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.runs import make_case
from socsim.schedulers import SCHEDULERS, Choose, Prepare, Rehearse, View, fifo, in_order, load_scheduler, out_of_order, scheduler_summary
from socsim.simulator import simulate


def plain_out_of_order(graph: TaskGraph, expected_ns: Sequence[int], seed: int, *, by_position: bool = False) -> Choose:
    """Read the paper's rule literally: what would become ready if this one were complete, summed anew at every choice."""
    needs = [set(graph.all_predecessors(index)) for index in range(len(graph))]

    def key(index: int, view: View) -> tuple[int, int, int, int]:
        done = {other for other in range(len(graph)) if view.done[other]}
        released = [other for other in range(len(graph)) if index in needs[other] and needs[other] <= done | {index}]
        gain = sum(expected_ns[other] for other in released)
        subgraph = graph.subgraphs[index]
        value = -gain if subgraph.processor == "npu" else gain
        return (-value, *((subgraph.position, subgraph.chunk, index) if by_position else (0, 0, index)))

    return lambda ready, view: min(ready, key=lambda index: key(index, view))


@pytest.mark.parametrize("memory", ["infinite", "shared"])
@pytest.mark.parametrize("tie", ["lowest-chunk", "earliest-position"])
def test_out_of_order_makes_the_choices_of_the_plain_rule(tie: str, memory: str) -> None:
    plain = partial(plain_out_of_order, by_position=tie == "earliest-position")
    for seed in range(60):
        for costs in (random_costs(seed, processors=1 + seed % 3), random_dag(seed)):
            ours = simulate(costs.graph, costs, partial(out_of_order, tie=tie), memory=memory)
            assert ours.start_ns.tolist() == simulate(costs.graph, costs, plain, memory=memory).start_ns.tolist(), seed


@pytest.mark.parametrize("model", ["smollm2-135m", "phi-2"])
@pytest.mark.parametrize("pruning_rate", [0.0, 0.85, 1.0])
@pytest.mark.parametrize("memory", ["shared", "infinite"])
def test_out_of_order_makes_the_choices_of_the_plain_rule_on_real_models(model: str, pruning_rate: float, memory: str) -> None:
    changes = {"model.num_hidden_layers": 3, "engine.outlier_pruning_rate": pruning_rate}
    case = make_case("snapdragon-8-gen-3", model, "llm-npu", prompt_tokens=400, chunk_tokens=64, overrides=changes)
    fast = simulate(case.costs.graph, case.costs, "out-of-order", memory=memory)
    plain = simulate(case.costs.graph, case.costs, plain_out_of_order, memory=memory)
    assert fast.start_ns.tolist() == plain.start_ns.tolist()
    assert fast.end_ns.tolist() == plain.end_ns.tolist()


def starts(costs: Costs, policy: str) -> list[int]:
    result: list[int] = simulate(costs.graph, costs, policy).start_ns.tolist()
    return result


def test_sequential_never_overlaps_and_keeps_the_order_of_the_graph_where_it_can() -> None:
    for seed in range(30):
        costs = random_costs(seed, latency=False)
        timeline = simulate(costs.graph, costs, "sequential")
        runs = sorted(zip(timeline.start_ns.tolist(), timeline.end_ns.tolist(), strict=True))
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(runs))
        assert timeline.start_ns.tolist() == sorted(timeline.start_ns.tolist())


def test_in_order_starts_each_processors_subgraphs_by_position_then_chunk() -> None:
    for seed in range(30):
        costs = random_costs(seed)
        graph, start = costs.graph, starts(costs, "in-order")
        for processor in graph.processors:
            mine = [index for index, s in enumerate(graph.subgraphs) if s.processor == processor]
            assert sorted(mine, key=lambda i: start[i]) == sorted(
                mine, key=lambda i: (graph.subgraphs[i].position, graph.subgraphs[i].chunk)
            )


def test_lockstep_runs_pairs_of_chunks_one_after_the_other() -> None:
    for seed in range(30):
        costs = random_costs(seed)
        graph = costs.graph
        timeline = simulate(graph, costs, "lockstep-pairs")
        pairs = [subgraph.chunk // 2 for subgraph in graph.subgraphs[: graph.prefill_count]]
        for pair in range(1, max(pairs) + 1):
            behind = min(int(timeline.start_ns[i]) for i, p in enumerate(pairs) if p == pair)
            assert behind >= max(int(timeline.end_ns[i]) for i, p in enumerate(pairs) if p == pair - 1)


def test_fifo_takes_the_first_ready_subgraph() -> None:
    costs = hand_costs([("cpu", 1, 0, [])])
    assert fifo(costs.graph, [1], 0)([4, 7, 9], View(costs.graph)) == 4


def test_view_at_the_start() -> None:
    graph = random_costs(3).graph
    view = View(graph)
    assert view.missing == graph.missing
    assert view.missing is not graph.missing
    assert view.running == [-1] * len(graph.processors)
    assert (view.ready, view.released, view.completed, list(view.done)) == ([[] for _ in graph.processors], [], [], [0] * len(graph))


def test_view_shows_what_is_being_handed_over() -> None:
    seen = set()
    for seed in range(20):
        costs = random_costs(seed, processors=2 + seed % 2)

        def watching(graph: TaskGraph, expected_ns: Sequence[int], seed: int, costs: Costs = costs) -> Choose:
            arrival: dict[int, int] = {}

            def choose(ready: Sequence[int], view: View) -> int:
                for processor, coming in enumerate(view.coming):
                    assert coming[:1] == sorted(coming)[:1]
                    assert all(through > view.now_ns and graph.processor_index[index] == processor for through, index in coming)
                    arrival.update((index, through) for through, index in coming)
                held = {index for coming in view.coming for _, index in coming}
                assert held == {i for i in range(len(graph)) if not view.missing[i] and i not in view.released}
                assert all(arrival.get(index, 0) <= view.now_ns for index in ready)
                seen.update(held)
                return ready[0]

            return choose

        simulate(costs.graph, costs, watching)
    assert len(seen) > 10


def quickest(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse, *, others: Sequence[Prepare]) -> Choose:
    """Do what the best of some policies does."""
    return min(others, key=lambda other: rehearse(other).makespan_ns)(graph, expected_ns, seed)


class Quickest:
    """The same as an object that is called."""

    def __call__(self, graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
        return quickest(graph, expected_ns, seed, rehearse, others=[in_order, fifo, out_of_order])


OWN: list[Prepare] = [partial(quickest, others=[in_order, fifo, out_of_order]), Quickest(), Quickest().__call__]


@pytest.mark.parametrize("policy", OWN, ids=["partial", "object", "method"])
def test_own_policies_may_rehearse(policy: Prepare, tmp_path: Path) -> None:
    check_scheduler(policy, cases=6)
    chosen = set()
    for seed in range(20):
        costs = random_costs(seed)
        of = {name: simulate(costs.graph, costs, name) for name in ("in-order", "fifo", "out-of-order")}
        best = min(of, key=lambda name: of[name].end_ns[: costs.graph.prefill_count].max())
        assert simulate(costs.graph, costs, policy).start_ns.tolist() == of[best].start_ns.tolist()
        with decision_log(policy, tmp_path / "log.csv") as logged:
            assert simulate(costs.graph, costs, logged).start_ns.tolist() == of[best].start_ns.tolist()
        lines = (tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()[1:]
        assert sum(not line.endswith(",wait") for line in lines) == len(costs.graph)  # what is rehearsed is not written down
        chosen.add(best)
    assert len(chosen) == 3


def failing(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    raise ValueError("boom")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (failing, "scheduler raised ValueError: boom"),
        (lambda graph, expected, seed: lambda ready, view: ["boom"][1], "scheduler raised IndexError: list index out of range"),
        (lambda graph, expected, seed: lambda ready, view: None, "scheduler waits at 0 ns although nothing is running .*"),
        (lambda graph, expected, seed: lambda ready, view: 9, "scheduler chose 9 for the npu at 0 ns, which is not ready; allowed: 0"),
        (lambda graph, expected, seed: 7, r"scheduler's prepare should return a function choose\(ready, view\), not 7"),
        ("fifoo", r"unknown scheduler 'fifoo' \(did you mean 'fifo'\?\).*"),
    ],
)
def test_what_goes_wrong_in_a_rehearsal_is_told(other: Prepare, message: str) -> None:
    def planner(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
        rehearse(other)
        return fifo(graph, expected_ns, seed)

    def planner_of_planners(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
        rehearse(planner)
        return fifo(graph, expected_ns, seed)

    costs = hand_costs([("npu", 10, 0, ()), ("cpu", 5, 0, (0,))])
    for policy in (planner, planner_of_planners):
        with pytest.raises(SocsimError, match=f"^in a rehearsal: {message}$"):
            simulate(costs.graph, costs, policy)
    with pytest.raises(SocsimError, match=r"^scheduler 'planner' on a random graph \(seed 0\): prepare raised .*in a rehearsal: "):
        check_scheduler(planner)


def test_what_a_policy_raised_is_the_cause_of_what_is_told() -> None:
    costs = hand_costs([("npu", 10, 0, ())])
    with pytest.raises(SocsimError, match="boom") as told:
        simulate(costs.graph, costs, lambda graph, expected, seed, rehearse: rehearse(failing))
    causes = [told.value.__cause__]
    while causes[-1] is not None and len(causes) < 9:
        causes.append(causes[-1].__cause__)
    assert [type(each) for each in causes] == [SocsimError, ValueError, type(None)]


def test_policies_are_loaded_by_name_path_or_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("my_policies")
    module.mine = fifo  # type: ignore[attr-defined]
    module.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "my_policies", module)
    assert load_scheduler("fifo") is fifo
    assert load_scheduler("my_policies:mine") is fifo
    assert load_scheduler(fifo) is fifo
    with pytest.raises(SocsimError, match=r"^scheduler 'my_policies:yours': module 'my_policies' has no 'yours'$"):
        load_scheduler("my_policies:yours")
    with pytest.raises(SocsimError, match=r"^scheduler 'my_policies:number': 'number' is no function$"):
        load_scheduler("my_policies:number")
    with pytest.raises(SocsimError, match=r"^scheduler 'no_such_module:f': cannot import module 'no_such_module': "):
        load_scheduler("no_such_module:f")
    with pytest.raises(SocsimError, match=r"^unknown scheduler 'out-of-ordr' \(did you mean 'out-of-order'\?\); allowed: critical-path, "):
        load_scheduler("out-of-ordr")


def test_unknown_tie_rule() -> None:
    with pytest.raises(SocsimError, match=r"unknown tie rule 'lowest' \(did you mean 'lowest-chunk'\?\)"):
        out_of_order(random_costs(0).graph, [], 0, tie="lowest")


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_every_policy_has_a_summary_of_one_sentence(name: str) -> None:
    summary = scheduler_summary(name)
    assert summary.endswith(".")
    assert "\n" not in summary


def test_timeline_names_its_policy() -> None:
    costs = random_costs(0)
    assert simulate(costs.graph, costs, "fifo").scheduler == "fifo"
    assert simulate(costs.graph, costs, plain_out_of_order).scheduler == "plain_out_of_order"
    assert simulate(costs.graph, costs, partial(out_of_order, tie="lowest-chunk")).scheduler == "partial"
