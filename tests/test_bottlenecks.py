"""What bounded a prefill: hand-computed explanations, sums that are exact everywhere, and what-if runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from random_graphs import hand_costs, random_dag

from socsim.bottlenecks import PATH_PARTS, Explanation, Gap, PathRow, critical_path, explain, largest_gaps
from socsim.conformance import random_costs
from socsim.cost import NANOSECONDS, Costs
from socsim.errors import SocsimError
from socsim.graph import Prefix, Subgraph, TaskGraph, Work
from socsim.runs import Result, make_case, run
from socsim.schedulers import SCHEDULERS, Choose, fifo
from socsim.simulator import simulate
from socsim.timeline import Timeline

ENGINES = ["cpu-only", "gpu-only", "llm-npu", "llm-npu-two-subgraphs", "npu-chunk", "npu-naive"]
RESOURCES = ["npu_compute", "gpu_compute", "cpu_compute", "weight_streaming", "synchronization", "contention"]


def hand_result(costs: Costs, scheduler: str, memory: str = "shared") -> Result:
    """Simulate hand-made costs as if they were those of a case."""
    timeline = simulate(costs.graph, costs, scheduler, memory=memory)
    case = replace(make_case("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=32), costs=costs)
    return Result(case, timeline, {"ttft_s": int(timeline.end_ns.max()) / NANOSECONDS})


def two_chunks() -> Costs:
    """Return one chain over both processors and a long CPU subgraph of another chunk that gets in its way.

    Times (ns) by `socsim.cost.PARTS`; 1 byte takes 1 ns; hand-overs take 4 ns.
    """
    stages = [("attn_norm", 0, "cpu"), ("qkv", 0, "npu"), ("attention", 0, "cpu"), ("o_proj", 0, "npu"), ("attn_norm", 1, "cpu")]
    subgraphs = tuple(Subgraph(stage, chunk, 0, index, name, Work(())) for index, (stage, chunk, name) in enumerate(stages))
    graph = TaskGraph(subgraphs, ((), (0,), (1,), (2,), ()))
    parts = np.array([[1, 0, 0, 9, 2], [5, 20, 0, 0, 3], [0, 0, 30, 10, 0], [0, 8, 0, 0, 0], [0, 0, 0, 100, 0]], dtype=np.float64)
    latency_s = np.array([[0.0, 4e-9], [4e-9, 0.0]])
    return Costs(graph, parts / NANOSECONDS, np.array([0.0, 60.0, 0.0, 0.0, 0.0]), np.array([1e9, 1e9]), 1e9, latency_s)


def row(processor: str, stage: str, part: str, time_ns: int, whole_ns: int) -> PathRow:
    return PathRow(processor, stage, part, time_ns / NANOSECONDS, time_ns / whole_ns)


def test_explanation_of_two_chunks_by_hand() -> None:
    # CPU: attn_norm 0-12, attn_norm of chunk 1 12-112, attention (ready at 80) 112-152; NPU: qkv 16-76, o_proj 156-164.
    expected = Explanation(
        makespan_s=164e-9,
        ttft_s=164 / NANOSECONDS,
        path=(
            row("cpu", "attention", "waiting", 32, 164),
            row("npu", "qkv", "weight_streaming", 32, 164),
            row("cpu", "attention", "attention", 30, 164),
            row("npu", "qkv", "compute", 20, 164),
            row("cpu", "attention", "float", 10, 164),
            row("cpu", "attn_norm", "float", 9, 164),
            row("npu", "o_proj", "compute", 8, 164),
            row("npu", "qkv", "synchronization", 7, 164),
            row("cpu", "attn_norm", "synchronization", 6, 164),
            row("npu", "qkv", "launch", 5, 164),
            row("cpu", "attention", "synchronization", 4, 164),
            row("cpu", "attn_norm", "launch", 1, 164),
        ),
        parts={
            "launch": 6 / NANOSECONDS,
            "compute": 28 / NANOSECONDS,
            "attention": 30 / NANOSECONDS,
            "float": 19 / NANOSECONDS,
            "synchronization": 17 / NANOSECONDS,
            "weight_streaming": 32 / NANOSECONDS,
            "waiting": 32 / NANOSECONDS,
        },
        waited_behind=(row("cpu", "attn_norm", "waiting", 32, 164),),
        without={
            "npu_compute": 157 / NANOSECONDS,  # o_proj in 1 ns, the shortest there is; qkv still waits for DRAM
            "gpu_compute": 164 / NANOSECONDS,
            "cpu_compute": 84 / NANOSECONDS,  # 3 of attn_norm, 4, 60 of qkv, 4, 1 of attention, 4, 8 of o_proj
            "weight_streaming": 164 / NANOSECONDS,  # chunk 1 keeps the CPU until 112 anyway
            "synchronization": 158 / NANOSECONDS,
            "contention": 164 / NANOSECONDS,
        },
        gaps=(Gap("npu", 76 / NANOSECONDS, 80 / NANOSECONDS, "o_proj[c0 b0]", "attention[c0 b0]", "cpu", 0.0),),
        conclusion="CPU-bound: the critical path, with what it queues behind, is 50 % CPU work, 40 % NPU work, 10 % synchronization; "
        "free CPU work would make it 1.95x faster.",
    )
    assert explain(hand_result(two_chunks(), "fifo")) == expected


def test_policy_that_holds_a_processor_back() -> None:
    # sequential: NPU 0-10, CPU 10-40, NPU 40-50, although its second subgraph is ready at 10.
    costs = hand_costs([("npu", 10, 0, ()), ("cpu", 30, 0, ()), ("npu", 10, 0, (0,))])
    result = explain(hand_result(costs, "sequential"))
    assert result.path == (row("npu", "s2", "waiting", 30, 50), row("npu", "s0", "compute", 10, 50), row("npu", "s2", "compute", 10, 50))
    assert result.waited_behind == (row("npu", "idle", "waiting", 30, 50),)
    assert result.gaps == (Gap("npu", 10 / NANOSECONDS, 30 / NANOSECONDS, "s2[c0 b0]", "policy", "", 30 / NANOSECONDS),)
    assert result.conclusion == (
        "CPU-bound: the critical path, with what it queues behind, is 60 % idling by policy, 40 % NPU work, 0.0 % synchronization; "
        "free CPU work would make it 2.38x faster."
    )


def test_gap_that_is_partly_the_policy() -> None:
    # NPU 0-5, CPU 5-20 and 20-60; the NPU's second could start at 20, but sequential lets the CPU go first.
    costs = hand_costs([("npu", 5, 0, ()), ("cpu", 15, 0, ()), ("cpu", 40, 0, (1,)), ("npu", 10, 0, (1,))])
    assert largest_gaps(simulate(costs.graph, costs, "sequential")) == (
        Gap("npu", 5 / NANOSECONDS, 55 / NANOSECONDS, "s3[c0 b0]", "s1[c0 b0]", "cpu", 40 / NANOSECONDS),
    )


def test_waiting_counts_only_what_runs_after_the_arrival() -> None:
    # The CPU is in the middle of 0-100 when s2 becomes ready at 30.
    costs = hand_costs([("cpu", 100, 0, ()), ("npu", 30, 0, ()), ("cpu", 5, 0, (1,))])
    result = explain(hand_result(costs, "fifo"))
    assert result.waited_behind == (row("cpu", "s0", "waiting", 70, 105),)
    assert [(step.subgraph, step.ready_ns, step.parts_ns) for step in critical_path(simulate(costs.graph, costs, "fifo"))] == [
        (1, 0, (0, 30, 0, 0, 0, 0, 0)),
        (2, 30, (0, 5, 0, 0, 0, 0, 70)),
    ]


def test_prefix_is_followed_to_its_latest_member() -> None:
    rows = [("npu", 10, 0, ()), ("npu", 20, 0, ()), ("npu", 5, 0, ()), ("cpu", 7, 0, ())]
    costs = hand_costs(rows, latency_ns=3, prefixes=[Prefix((1, 0, 2), ((), (3,), ()))])
    # NPU: 0-10, 10-30, 30-35; s3 needs the first two and starts 3 ns after 30. The prefill's last end is then at 40.
    assert [(step.subgraph, step.ready_ns, step.parts_ns) for step in critical_path(simulate(costs.graph, costs, "fifo"))] == [
        (1, 0, (0, 20, 0, 0, 3, 0, 10)),
        (3, 33, (0, 7, 0, 0, 0, 0, 0)),
    ]


def test_decode_is_no_part_of_path_and_gaps() -> None:
    costs = hand_costs([("cpu", 5, 0, ()), ("npu", 10, 0, (0,)), ("cpu", 500, 0, (1,)), ("gpu", 1, 0, (2,))], prefill_count=2)
    timeline = simulate(costs.graph, costs, "fifo")
    assert [step.subgraph for step in critical_path(timeline)] == [0, 1]
    assert largest_gaps(timeline) == ()


def test_the_nanosecond_that_nothing_takes_at_least_is_launch() -> None:
    costs = hand_costs([("npu", 0, 0, ()), ("npu", 0, 5, (0,))])
    assert [step.parts_ns for step in critical_path(simulate(costs.graph, costs, "fifo"))] == [(1, 0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 4, 0)]


def check_path(timeline: Timeline) -> None:
    """Check that the path is a chain of dependencies whose parts add up to the makespan to the nanosecond."""
    path, count = critical_path(timeline), timeline.graph.prefill_count
    steps = [step.subgraph for step in path]
    for before, after in pairwise(steps):
        assert before in set(timeline.graph.all_predecessors(after))
    assert all(len(step.parts_ns) == len(PATH_PARTS) and min(step.parts_ns) >= 0 for step in path)
    makespan_ns = int(timeline.end_ns[:count].max() - timeline.start_ns[:count].min())
    assert sum(sum(step.parts_ns) for step in path) == makespan_ns


@pytest.mark.parametrize("memory", ["shared", "private", "infinite"])
@pytest.mark.parametrize("policy", sorted(SCHEDULERS))
def test_parts_add_up_to_the_nanosecond_on_random_prefills(policy: str, memory: str) -> None:
    for seed in range(20):
        costs = random_costs(seed, processors=1 + seed % 3)
        check_path(simulate(costs.graph, costs, policy, memory=memory, seed=seed))


@pytest.mark.parametrize("policy", ["fifo", "out-of-order", "sequential"])
def test_parts_add_up_to_the_nanosecond_on_random_graphs(policy: str) -> None:
    for seed in range(60):
        costs = random_dag(seed)
        costs = replace(costs, dram_bytes=np.random.default_rng(seed).integers(0, 80, len(costs.graph)).astype(np.float64))
        check_path(simulate(costs.graph, costs, policy))


@pytest.mark.parametrize("engine", ENGINES)
def test_explanation_of_a_real_run_is_consistent(engine: str) -> None:
    for policy in sorted(SCHEDULERS) if engine == "llm-npu" else [None]:
        result = run("snapdragon-8-gen-3", "qwen1.5-1.8b", engine, prompt_tokens=1024, output_tokens=3, scheduler=policy)
        check_path(result.timeline)
        explanation = explain(result)
        assert explanation.makespan_s == pytest.approx(result.metrics["makespan_s"], abs=1e-12)
        assert explanation.ttft_s == result.metrics["ttft_s"]
        assert sum(row.seconds for row in explanation.path) == pytest.approx(explanation.makespan_s, rel=1e-9)
        assert sum(row.share for row in explanation.path) == pytest.approx(1.0)
        assert sum(explanation.parts.values()) == pytest.approx(explanation.makespan_s, rel=1e-9)
        assert sum(row.seconds for row in explanation.waited_behind) == pytest.approx(explanation.parts["waiting"], abs=1e-12)
        assert list(explanation.without) == RESOURCES
        assert len(explanation.gaps) <= 10
        assert list(explanation.gaps) == sorted(explanation.gaps, key=lambda gap: (-gap.duration_s, gap.start_s))
        assert all(0 <= gap.policy_s <= gap.duration_s for gap in explanation.gaps)
        text = json.dumps(explanation.to_dict(), allow_nan=False)
        assert json.loads(text) == explanation.to_dict()


def test_gaps_are_the_ten_longest_idle_times() -> None:
    result = run("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", prompt_tokens=512, output_tokens=2)
    timeline, idle = result.timeline, []
    for processor in range(len(timeline.graph.processors)):
        own = [i for i in range(timeline.graph.prefill_count) if timeline.graph.processor_index[i] == processor]
        order = sorted(own, key=lambda index: timeline.start_ns[index])
        idle += [int(timeline.start_ns[after] - timeline.end_ns[before]) for before, after in pairwise(order)]
    assert [gap.duration_s for gap in largest_gaps(timeline)] == [time_ns / NANOSECONDS for time_ns in sorted(idle)[:-11:-1]]


def test_without_contention_is_a_run_with_private_memory() -> None:
    narrow = {"soc.dram.achievable_bytes_per_s": 1e9}
    shared = run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=512, overrides=narrow)
    private = run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=512, overrides=narrow | {"run.memory": "private"})
    assert shared.metrics["ttft_s"] != private.metrics["ttft_s"]
    assert explain(shared).without["contention"] == private.metrics["ttft_s"]
    assert explain(private).without["contention"] == private.metrics["ttft_s"]


def test_infinite_memory_stays_infinite() -> None:
    result = run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=32, overrides={"run.memory": "infinite"})
    explanation = explain(result)
    assert explanation.without["contention"] == explanation.without["weight_streaming"] == explanation.ttft_s
    assert explanation.parts["weight_streaming"] == 0.0


def test_preparation_that_the_prompt_waits_for_is_charged_and_named() -> None:
    result = run("snapdragon-8-gen-3", "qwen1.5-1.8b", "npu-naive", prompt_tokens=64)
    explanation, charged_s = explain(result), result.case.preparation.charged_s
    assert charged_s > 0
    assert explanation.ttft_s == pytest.approx(explanation.makespan_s + charged_s)
    assert all(ttft_s > charged_s for ttft_s in explanation.without.values())
    assert f"{100 * charged_s / explanation.ttft_s:.0f} % of the TTFT is preparation" in explanation.conclusion


def test_nothing_to_gain() -> None:
    # Two equal chains side by side: to free one processor leaves the other.
    costs = hand_costs([("cpu", 1000, 0, ()), ("npu", 1000, 0, ())])
    assert explain(hand_result(costs, "fifo")).conclusion == (
        "Bound by no single resource: the critical path, with what it queues behind, is 100 % CPU work, 0.0 % synchronization; "
        "none of them, were it free, would make it faster."
    )


def last_first(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    return lambda ready, view: ready[-1]


def test_own_policy_has_to_be_passed() -> None:
    result = run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=512, scheduler=last_first)
    with pytest.raises(SocsimError, match=r"^the run was made under a function 'last_first': pass it to explain as scheduler=last_first$"):
        explain(result)
    own = explain(result, last_first)
    assert own.without["gpu_compute"] == own.ttft_s  # the same run again: there is no GPU in it
    assert explain(result, "sequential").without["gpu_compute"] != own.ttft_s


def test_policies_of_what_if_runs_see_profiled_not_true_durations() -> None:
    seen: list[list[int]] = []

    def spy(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        assert seed == 5
        seen.append(list(expected_ns))
        return fifo(graph, expected_ns, seed)

    overrides = {"run.duration_noise": 0.5, "run.seed": 5}
    result = run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=32, scheduler=spy, overrides=overrides)
    seen.clear()
    explain(result, spy)
    costs = result.case.costs
    assert seen[3] == costs.without(dram=True).expected_ns
    assert seen[5] == costs.expected_ns
    assert result.timeline.costs.expected_ns != costs.expected_ns
