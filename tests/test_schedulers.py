"""Shipped policies: loading, and each one's own rule on random graphs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from types import ModuleType

import pytest
from random_graphs import hand_costs, random_dag

from socsim.conformance import random_costs
from socsim.cost import Costs
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.runs import make_case
from socsim.schedulers import SCHEDULERS, Choose, View, fifo, load_scheduler, out_of_order, scheduler_summary
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
    with pytest.raises(SocsimError, match=r"^unknown scheduler 'out-of-ordr' \(did you mean 'out-of-order'\?\); allowed: fifo, in-order, "):
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
