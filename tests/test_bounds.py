"""Lower bounds: by hand, never above the optimum of small cases found by trying every order, and never above what is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from brute_force import optimum_ns
from random_graphs import Row, hand_costs, random_dag

from socsim.bounds import Bounds, heads, lower_bounds, one_machine_ns, tails
from socsim.conformance import NOISE, random_costs
from socsim.cost import Costs
from socsim.errors import SocsimError
from socsim.graph import Prefix
from socsim.runs import make_case, run, run_case
from socsim.schedulers import SCHEDULERS
from socsim.simulator import simulate
from socsim.timeline import Timeline

MODES = ("infinite", "private", "shared")
ANY_GRAPH = ("sequential", "fifo", "out-of-order", "out-of-order-earliest-position")
"""Policies that do not presume the structure of chunks."""
ROUNDING_S = 0.501e-9


def load_ns(costs: Costs) -> int:
    return round(lower_bounds(costs).load_s * 1e9)


def makespan_s(timeline: Timeline) -> float:
    """Return what `socsim.metrics.summarize` calls the makespan."""
    part = slice(0, timeline.graph.prefill_count)
    return int(timeline.end_ns[part].max() - timeline.start_ns[part].min()) / 1e9


def pipeline(chunks: int) -> Costs:
    """Return chunks of four subgraphs, of which the NPU has the first and third and the CPU the others."""
    rows: list[Row] = [
        (name, time_ns, 0, [4 * chunk + place - 1] if place else []) for chunk in range(chunks) for place, (name, time_ns) in STAGES
    ]
    return hand_costs(rows, chunks=[chunk for chunk in range(chunks) for _ in STAGES], positions=[place for place, _ in STAGES] * chunks)


STAGES = tuple(enumerate((("npu", 30), ("cpu", 10), ("npu", 10), ("cpu", 30))))


def test_path_and_load_by_hand() -> None:
    costs = hand_costs([("cpu", 10, 0, []), ("npu", 40, 0, [0]), ("npu", 50, 0, [0]), ("cpu", 20, 0, [1])], latency_ns=3)
    # Path: 10 + 3 + 50 is less than 10 + 3 + 40 + 3 + 20. Load: from 13 on the NPU is busy for 90, then at least 0 follow.
    assert lower_bounds(costs) == Bounds(path_s=76e-9, load_s=103e-9, dram_s=0.0)
    assert lower_bounds(costs).makespan_s == 103e-9


def test_decode_steps_do_not_count_nor_does_the_way_to_them() -> None:
    rows = [("cpu", 10, 100, []), ("npu", 7, 0, [0]), ("cpu", 50, 900, [1])]
    bounds = lower_bounds(hand_costs(rows, latency_ns=5, prefill_count=2))
    assert (bounds.path_s, bounds.load_s) == (112e-9, 112e-9)
    assert bounds.dram_s == pytest.approx(100e-9 - ROUNDING_S)


def test_members_of_a_prefix_in_any_order() -> None:
    rows: list[Row] = [("npu", 90, 0, []), ("npu", 70, 0, []), ("cpu", 1, 0, []), ("cpu", 20, 0, []), ("cpu", 300, 0, [])]
    costs = hand_costs(rows, latency_ns=2, prefixes=[Prefix((1, 0), ((4,), (3,)))])
    duration, latency = costs.expected_ns, costs.latency_ns
    assert heads(costs.graph, duration, latency) == [0, 0, 0, 92, 72]
    assert tails(costs.graph, duration, latency) == [22, 302, 0, 0, 0]


def test_heads_and_tails_are_the_longest_chains() -> None:
    for costs in (*map(random_dag, range(100)), *map(random_costs, range(100))):
        graph, duration, latency, place = costs.graph, costs.expected_ns, costs.latency_ns, costs.graph.processor_index
        head, tail = [0] * len(graph), [0] * len(graph)
        needs = [[(other, latency[place[other]][place[index]]) for other in graph.all_predecessors(index)] for index in range(len(graph))]
        for index, needed in enumerate(needs):
            head[index] = max((head[other] + duration[other] + through for other, through in needed), default=0)
        for index in range(len(graph) - 1, -1, -1):
            for other, through in needs[index]:
                tail[other] = max(tail[other], through + duration[index] + tail[index])
        assert (heads(graph, duration, latency), tails(graph, duration, latency)) == (head, tail)


def test_dram_moves_the_bytes_of_all_at_the_rate_it_achieves() -> None:
    costs = hand_costs([("cpu", 1, 400, []), ("npu", 1, 400, []), ("gpu", 1, 100, [])], bandwidth={"gpu": 0.5e9})
    assert lower_bounds(costs).dram_s == pytest.approx(900e-9 - 3 * ROUNDING_S)
    assert lower_bounds(costs).load_s == 400e-9
    assert lower_bounds(costs, "private") == Bounds(400e-9, 400e-9, 0.0)
    assert lower_bounds(costs, "infinite") == Bounds(1e-9, 1e-9, 0.0)
    assert makespan_s(simulate(costs.graph, costs)) == 900e-9


def test_bytes_whose_time_is_rounded_away_do_not_count() -> None:
    costs = hand_costs([("cpu", 0, 4, [])] * 10, bandwidth={"cpu": 3e9}, achievable=3e9)
    assert makespan_s(simulate(costs.graph, costs)) == 10e-9  # 13.3 ns at the rate of DRAM
    assert lower_bounds(costs).dram_s == pytest.approx(10 * (4 / 3 * 1e-9 - ROUNDING_S))


def test_a_slowdown_is_taken_as_not_there() -> None:
    costs = hand_costs([("cpu", 10, 0, []), ("npu", 5, 0, [])])
    for factor in (4.0, 0.5):
        slowed = costs.with_slowdown("cpu", 3e-9, factor)
        assert lower_bounds(slowed).makespan_s == min(10, 10 * factor) * 1e-9


def test_unknown_memory_mode() -> None:
    with pytest.raises(SocsimError, match="memory mode"):
        lower_bounds(hand_costs([("cpu", 1, 0, [])]), "sharde")


@pytest.mark.parametrize(
    ("jobs", "end"),
    [
        ([], 0),
        ([(4, 3, 2)], 9),
        ([(0, 10, 0), (2, 3, 20)], 25),  # the second interrupts the first
        ([(0, 10, 9), (2, 3, 20), (30, 1, 1)], 32),
        ([(0, 4, 1), (0, 6, 5), (3, 2, 8)], 13),
    ],
)
def test_one_machine_by_hand(jobs: Sequence[tuple[int, int, int]], end: int) -> None:
    assert one_machine_ns(jobs) == end
    assert one_machine_ns(jobs[::-1]) == end


def test_loose_for_few_chunks_and_tight_for_many() -> None:
    assert (load_ns(pipeline(1)), optimum_ns(pipeline(1))) == (80, 80)
    assert (load_ns(pipeline(2)), optimum_ns(pipeline(2))) == (110, 130)
    many = pipeline(100)
    assert (load_ns(many), makespan_s(simulate(many.graph, many, "fifo"))) == (4030, 4050e-9)


def test_never_above_the_optimum() -> None:
    reached = 0
    for seed in range(300):
        costs = random_dag(seed, size=7)
        bound, optimum = load_ns(costs), optimum_ns(costs)
        assert bound <= optimum, seed
        reached += bound == optimum
    assert reached > 250


@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize("policy", sorted(SCHEDULERS))
def test_never_above_what_is_simulated(policy: str, memory: str) -> None:
    cases = [random_costs(seed, processors=1 + seed % 3).with_noise(NOISE * (seed % 2), seed) for seed in (*range(60), 199, 320, 328)]
    cases += [random_dag(seed) for seed in range(40)] if policy in ANY_GRAPH else []
    for number, costs in enumerate(cases):
        bounds = lower_bounds(costs, memory)
        assert 0 < bounds.path_s <= bounds.load_s
        assert bounds.makespan_s <= makespan_s(simulate(costs.graph, costs, policy, memory=memory, seed=number)), number


@pytest.mark.parametrize("memory", MODES)
def test_never_above_what_is_simulated_when_dram_is_all_that_counts(memory: str) -> None:
    by_dram = 0
    for seed in range(100):
        costs = random_costs(seed, latency=False)
        costs = replace(costs, parts_s=costs.parts_s * 0.1, achievable_bytes_per_s=costs.achievable_bytes_per_s / 3)
        bounds, timeline = lower_bounds(costs, memory), simulate(costs.graph, costs, "fifo", memory=memory)
        assert bounds.makespan_s <= makespan_s(timeline), seed
        by_dram += bounds.dram_s > bounds.load_s
    assert (by_dram > 50) == (memory == "shared")


@pytest.mark.parametrize("memory", MODES)
def test_never_above_a_real_prefill_with_noise_and_decode(memory: str) -> None:
    overrides = {"run.memory": memory, "run.duration_noise": 0.3, "model.num_hidden_layers": 4}
    case = make_case("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", prompt_tokens=500, output_tokens=3, overrides=overrides)
    results = [run_case(case, policy, peak=False) for policy in sorted(SCHEDULERS)]
    assert {result.bounds for result in results} == {lower_bounds(case.costs.with_noise(0.3, 0), memory)}
    for result in results:
        assert result.bounds.makespan_s <= (result.metrics["makespan_s"] or 0.0)


def test_the_bounds_of_a_run_with_preparation_and_decode() -> None:
    overrides = {"model.num_hidden_layers": 3}
    result = run("snapdragon-8-gen-3", "smollm2-135m", "npu-naive", prompt_tokens=300, output_tokens=2, overrides=overrides)
    assert result.bounds == lower_bounds(result.case.costs)
    assert result.bounds.makespan_s <= result.record["makespan_s"] < result.record["ttft_s"]  # without preparation


def test_the_bound_of_a_slowed_run_holds_for_all_orders() -> None:
    usual = {"model.num_hidden_layers": 3}
    slowed = usual | {"run.slowed_processor": "cpu", "run.slowed_from_s": 0.001, "run.slowdown_factor": 3.0}
    plain, slow = (run("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", prompt_tokens=300, overrides=each) for each in (usual, slowed))
    assert slow.record["makespan_s"] > plain.record["makespan_s"]
    assert slow.bounds == plain.bounds
