"""Laws that hold for every graph, policy and memory mode, checked on random graphs, and agreement with the oracle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from oracle import play
from random_graphs import random_dag

from socsim.conformance import random_costs
from socsim.cost import Costs
from socsim.metrics import PowerModel, power_steps, summarize
from socsim.schedulers import SCHEDULERS
from socsim.simulator import simulate
from socsim.specs import Run
from socsim.timeline import Timeline

POLICIES = sorted(SCHEDULERS)
WORK_CONSERVING = ["fifo", "out-of-order", "out-of-order-earliest-position", "critical-path", "wavefront", "lookahead"]
"""Policies that never wait."""
ANY_GRAPH = ["sequential", "heft", "planned", *WORK_CONSERVING]
"""Policies that do not presume the structure of chunks."""
SEEDS = (*range(40), 199, 320, 328)
"""The last three have flows that end at half a nanosecond, so that rounding shows."""


def timelines(policy: str, memory: str) -> list[Timeline]:
    """Simulate random prefills on one to three processors."""
    cases = [(seed, random_costs(seed, processors=1 + seed % 3)) for seed in SEEDS]
    return [simulate(costs.graph, costs, policy, memory=memory, seed=seed) for seed, costs in cases]


def critical_path_ns(costs: Costs) -> int:
    """Return the longest chain of expected durations and hand-over latencies."""
    graph, end = costs.graph, [0] * len(costs.graph)
    for index, processor in enumerate(graph.processor_index):
        ready = [end[other] + costs.latency_ns[graph.processor_index[other]][processor] for other in graph.all_predecessors(index)]
        end[index] = max(ready, default=0) + costs.expected_ns[index]
    return max(end)


@pytest.mark.parametrize("policy", POLICIES)
def test_simulator_agrees_with_the_oracle_on_prefills(policy: str) -> None:
    for seed in range(60):
        costs = random_costs(seed, processors=1 + seed % 3)
        timeline = simulate(costs.graph, costs, policy, memory="infinite", seed=seed)
        assert (timeline.start_ns.tolist(), timeline.end_ns.tolist()) == play(costs, SCHEDULERS[policy], seed), seed


@pytest.mark.parametrize("policy", ANY_GRAPH)
def test_simulator_agrees_with_the_oracle_on_any_graph(policy: str) -> None:
    for seed in range(100):
        costs = random_dag(seed)
        timeline = simulate(costs.graph, costs, policy, memory="infinite", seed=seed)
        assert (timeline.start_ns.tolist(), timeline.end_ns.tolist()) == play(costs, SCHEDULERS[policy], seed), seed


@pytest.mark.parametrize("memory", ["infinite", "private", "shared"])
@pytest.mark.parametrize("policy", POLICIES)
def test_dependencies_come_first_and_processors_do_one_thing_at_a_time(policy: str, memory: str) -> None:
    for timeline in timelines(policy, memory):
        graph, start, end = timeline.graph, timeline.start_ns.tolist(), timeline.end_ns.tolist()
        place, latency = graph.processor_index, timeline.costs.latency_ns
        assert all(0 <= first < last for first, last in zip(start, end, strict=True))
        for index in range(len(graph)):
            for needed in graph.all_predecessors(index):
                assert start[index] >= end[needed] + latency[place[needed]][place[index]]
        for processor in range(len(graph.processors)):
            runs = sorted((start[index], end[index]) for index in range(len(graph)) if place[index] == processor)
            assert all(before[1] <= after[0] for before, after in itertools.pairwise(runs))


@pytest.mark.parametrize("memory", ["private", "shared"])
@pytest.mark.parametrize("policy", POLICIES)
def test_makespan_is_no_shorter_than_the_critical_path(policy: str, memory: str) -> None:
    for timeline in timelines(policy, memory):
        assert critical_path_ns(timeline.costs) <= timeline.end_ns.max()


@pytest.mark.parametrize("policy", WORK_CONSERVING)
def test_makespan_is_no_longer_than_the_total_work_when_nobody_waits(policy: str) -> None:
    for seed in SEEDS:
        for costs in (random_costs(seed, latency=False, traffic=False), random_dag(seed, latency=False)):
            timeline = simulate(costs.graph, costs, policy)
            assert timeline.end_ns.max() <= sum(costs.expected_ns)


@pytest.mark.parametrize("policy", POLICIES)
def test_private_memory_gives_expected_durations(policy: str) -> None:
    for timeline in timelines(policy, "private"):
        assert (timeline.end_ns - timeline.start_ns).tolist() == timeline.costs.expected_ns


@pytest.mark.parametrize("policy", POLICIES)
def test_shared_memory_never_makes_a_subgraph_faster(policy: str) -> None:
    slower = 0
    for timeline in timelines(policy, "shared"):
        extra = timeline.end_ns - timeline.start_ns - np.array(timeline.costs.expected_ns)
        assert extra.min() >= 0
        slower += int(np.count_nonzero(extra))
    assert slower > 0 or policy == "sequential"


@pytest.mark.parametrize("policy", POLICIES)
def test_infinite_memory_takes_no_time(policy: str) -> None:
    for timeline in timelines(policy, "infinite"):
        assert (timeline.end_ns - timeline.start_ns).tolist() == [max(1, fixed) for fixed in timeline.costs.fixed_ns]
        assert timeline.stream_end_ns.tolist() == timeline.start_ns.tolist()
        assert [len(column) for column in timeline.dram_rate] == [0, 0]


@pytest.mark.parametrize("memory", ["private", "shared"])
@pytest.mark.parametrize("policy", POLICIES)
def test_dram_bytes_are_conserved(policy: str, memory: str) -> None:
    for timeline in timelines(policy, memory):
        when, rate = timeline.dram_rate
        costs = timeline.costs
        moved = float(np.sum(np.diff(when) * rate[:-1])) / 1e9
        caps = costs.bandwidth_bytes_per_s.sum()
        # Every end of a flow is rounded to a nanosecond, during which at most all caps together flow.
        assert moved == pytest.approx(costs.dram_bytes.sum(), abs=len(costs.graph) * caps / 1e9)
        assert rate[-1] == pytest.approx(0.0, abs=1e-3)
        assert rate.max() <= (costs.achievable_bytes_per_s if memory == "shared" else caps) * (1 + 1e-12)


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("memory", ["infinite", "private", "shared"])
def test_energy_is_the_sum_of_its_parts_and_the_integral_of_power(memory: str, share: float) -> None:
    power = PowerModel(
        "test",
        1.5,
        {"cpu": 0.1, "gpu": 0.2, "npu": 0.2},
        {"cpu": 2.0, "gpu": 3.0, "npu": 5.0},
        {"cpu": share, "gpu": share**2, "npu": 1.0},
        0.0 if memory == "infinite" else 1e-9,
    )
    for timeline in timelines("out-of-order", memory):
        run = Run(prompt_tokens=8, output_tokens=1 + len(timeline.graph) - timeline.graph.prefill_count)
        metrics = {name: value or 0.0 for name, value in summarize(timeline, power, run).items()}
        parts = sum(metrics[f"{part}_energy_j"] for part in ("cpu", "gpu", "npu", "dram", "base"))
        assert metrics["e2e_energy_j"] == pytest.approx(parts, rel=1e-12)
        when, watts = power_steps(timeline, power)
        until = np.append(when, timeline.end_ns.max())
        integral = float(np.sum(np.diff(until) * watts)) / 1e9
        rounding = len(timeline.graph) * timeline.costs.bandwidth_bytes_per_s.sum() / 1e9 * power.dram_j_per_byte
        assert integral == pytest.approx(metrics["e2e_energy_j"], abs=rounding + 1e-15)
        assert metrics["e2e_energy_j"] == pytest.approx(metrics["mean_power_w"] * metrics["e2e_s"], rel=1e-12)
        assert metrics["peak_power_w"] == pytest.approx(watts.max())
