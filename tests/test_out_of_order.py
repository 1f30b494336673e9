"""The incremental out-of-order policy makes the choices of a plain reading of the paper's rule."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from socsim.graph import TaskGraph
from socsim.runs import make_case
from socsim.schedulers import Choose, View
from socsim.simulator import simulate


def plain_out_of_order(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Compute C of every ready subgraph anew at every choice."""
    needs = [set(graph.all_predecessors(index)) for index in range(len(graph))]

    def c_value(index: int, view: View) -> int:
        gain = 0
        for other in range(index + 1, len(graph)):
            if index in needs[other] and all(view.done[needed] for needed in needs[other] if needed != index):
                gain += expected_ns[other]
        return -gain if graph.subgraphs[index].processor == "npu" else gain

    def choose(ready: Sequence[int], view: View) -> int:
        return max(ready, key=lambda index: (c_value(index, view), -index))

    return choose


@pytest.mark.parametrize("model", ["smollm2-135m", "phi-2"])
@pytest.mark.parametrize("pruning_rate", [0.0, 0.85, 1.0])
@pytest.mark.parametrize("memory", ["shared", "infinite"])
def test_incremental_policy_chooses_what_the_plain_rule_chooses(model: str, pruning_rate: float, memory: str) -> None:
    changes = {"model.num_hidden_layers": 3, "engine.outlier_pruning_rate": pruning_rate}
    case = make_case("snapdragon-8-gen-3", model, "llm-npu", prompt_tokens=400, chunk_tokens=64, overrides=changes)
    fast = simulate(case.costs.graph, case.costs, "out-of-order", memory=memory)
    plain = simulate(case.costs.graph, case.costs, plain_out_of_order, memory=memory)
    assert fast.start_ns.tolist() == plain.start_ns.tolist()
    assert fast.end_ns.tolist() == plain.end_ns.tolist()
