"""What a timeline turns into: data frame, Chrome trace, sums of intervals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from random_graphs import hand_costs

from socsim.cost import NANOSECONDS, PARTS
from socsim.metrics import power_steps
from socsim.runs import Result, run
from socsim.simulator import simulate
from socsim.timeline import EVENT_ORDER, Timeline, steps


@pytest.fixture(scope="module")
def result() -> Result:
    return run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=512, output_tokens=3)


def by_phase(trace: dict[str, Any], phase: str) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] == phase]


def test_trace_by_hand() -> None:
    # CPU 0-1000 streaming 500 bytes at 1 byte/ns, then the NPU 1000-1500.
    costs = hand_costs([("cpu", 1000, 500, ()), ("npu", 500, 0, (0,))])
    trace = simulate(costs.graph, costs, "fifo").to_chrome_trace((np.array([0, 1500]), np.array([2.5, 1.0])))
    assert trace == {
        "traceEvents": [
            {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "SoC (fifo)"}},
            {"ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": {"name": "CPU"}},
            {"ph": "M", "pid": 1, "tid": 2, "name": "thread_name", "args": {"name": "NPU"}},
            {"ph": "X", "pid": 1, "tid": 1, "name": "s0 c0 b0", "cat": "s0", "ts": 0.0, "dur": 1.0,
             "args": {"chunk": 0, "layer": 0, "operations": 0, "bytes": 500}},
            {"ph": "X", "pid": 1, "tid": 2, "name": "s1 c0 b0", "cat": "s1", "ts": 1.0, "dur": 0.5,
             "args": {"chunk": 0, "layer": 0, "operations": 0, "bytes": 0}},
            {"ph": "C", "pid": 1, "name": "DRAM bandwidth (GB/s)", "ts": 0.0, "args": {"value": 1.0}},
            {"ph": "C", "pid": 1, "name": "DRAM bandwidth (GB/s)", "ts": 0.5, "args": {"value": 0.0}},
            {"ph": "C", "pid": 1, "name": "DRAM bandwidth (GB/s)", "ts": 1.0, "args": {"value": 0.0}},
            {"ph": "C", "pid": 1, "name": "power (W)", "ts": 0.0, "args": {"value": 2.5}},
            {"ph": "C", "pid": 1, "name": "power (W)", "ts": 1.5, "args": {"value": 1.0}},
        ],
        "displayTimeUnit": "ms",
        "otherData": {"scheduler": "fifo", "event_order": EVENT_ORDER},
    }  # fmt: skip


def test_trace_of_a_real_run_is_json_with_its_intervals(result: Result) -> None:
    timeline = result.timeline
    trace = json.loads(json.dumps(timeline.to_chrome_trace(power_steps(timeline, result.case.power)), allow_nan=False))
    names = {event["tid"]: event["args"]["name"] for event in by_phase(trace, "M") if event["name"] == "thread_name"}
    assert names == {1: "CPU", 2: "NPU"}
    bars = by_phase(trace, "X")
    assert [names[bar["tid"]].lower() for bar in bars] == [subgraph.processor for subgraph in timeline.graph.subgraphs]
    assert [round(bar["ts"] * 1e3) for bar in bars] == timeline.start_ns.tolist()
    assert [round((bar["ts"] + bar["dur"]) * 1e3) for bar in bars] == timeline.end_ns.tolist()
    assert [(bar["cat"], bar["args"]["chunk"], bar["args"]["layer"], bar["args"]["operations"]) for bar in bars] == [
        (subgraph.stage, subgraph.chunk, subgraph.block, subgraph.work.ops) for subgraph in timeline.graph.subgraphs
    ]
    power = [event["args"]["value"] for event in by_phase(trace, "C") if event["name"] == "power (W)"]
    assert max(power) == pytest.approx(result.metrics["peak_power_w"], abs=1e-6)


def test_dram_counter_holds_all_bytes_and_stays_below_what_dram_achieves(result: Result) -> None:
    timeline = result.timeline
    counter = [event for event in by_phase(timeline.to_chrome_trace(), "C") if event["name"] == "DRAM bandwidth (GB/s)"]
    when, rate = (np.array(values) for values in ([event["ts"] for event in counter], [event["args"]["value"] for event in counter]))
    achievable = timeline.costs.achievable_bytes_per_s / 1e9
    assert rate.max() == pytest.approx(achievable, abs=1e-6)  # two processors together get all of it
    assert rate.min() == rate[-1] == 0.0
    moved = float((rate[:-1] * np.diff(when)).sum() * 1e3)  # GB/s times microseconds
    total = float(timeline.costs.dram_bytes.sum())
    # Each flow ends at a whole nanosecond.
    assert abs(moved - total) <= len(timeline.graph) * achievable
    assert moved == pytest.approx(total, rel=1e-5)


def test_private_memory_streams_at_each_processors_cap() -> None:
    costs = hand_costs([("cpu", 10, 50, ()), ("npu", 10, 40, ())], bandwidth={"cpu": 1e9, "npu": 2e9}, achievable=2e9)
    when, rate = simulate(costs.graph, costs, "fifo", memory="private").dram_rate
    assert (when.tolist(), rate.tolist()) == ([0, 20, 50], [3e9, 1e9, 0.0])
    when, rate = simulate(costs.graph, costs, "fifo", memory="shared").dram_rate
    # 1 byte/ns each until the NPU's 40 bytes are through.
    assert (when.tolist(), rate.tolist()) == ([0, 40, 50], [2e9, 1e9, 0.0])


def test_infinite_memory_has_no_rate() -> None:
    costs = hand_costs([("cpu", 10, 50, ())])
    timeline = simulate(costs.graph, costs, "fifo", memory="infinite")
    assert [len(column) for column in timeline.dram_rate] == [0, 0]
    assert by_phase(timeline.to_chrome_trace(), "C") == []


def test_steps_add_up_intervals() -> None:
    when, total = steps(np.array([0, 5, 5, 9]), np.array([10, 5, 7, 10]), np.array([1.0, 8.0, 2.0, 4.0]))
    assert (when.tolist(), total.tolist()) == ([0, 5, 7, 9, 10], [1.0, 3.0, 1.0, 5.0, 0.0])
    none = np.zeros(0, dtype=np.int64)
    assert [column.tolist() for column in steps(none, none, np.zeros(0))] == [[], []]


def test_data_frame_by_hand() -> None:
    costs = hand_costs([("cpu", 1000, 500, ()), ("npu", 500, 0, (0,))], launch_work_ns=20, chunks=[0, 1])
    frame = simulate(costs.graph, costs, "fifo").to_dataframe()
    assert frame.to_dict("list") == {
        "stage": ["s0", "s1"],
        "chunk": [0, 1],
        "block": [0, 0],
        "position": [0, 1],
        "processor": ["cpu", "npu"],
        "start_s": [0.0, 1020 / NANOSECONDS],
        "end_s": [1020 / NANOSECONDS, 1520 / NANOSECONDS],
        "stream_end_s": [500 / NANOSECONDS, 1020 / NANOSECONDS],
        "expected_s": [1020 / NANOSECONDS, 500 / NANOSECONDS],
        "launch_s": [0.0, 0.0],
        "linear_s": [1000 / NANOSECONDS, 500 / NANOSECONDS],
        "attention_s": [0.0, 0.0],
        "float_s": [0.0, 0.0],
        "synchronization_s": [20 / NANOSECONDS, 0.0],
        "ops": [0, 0],
        "weight_bytes": [0, 0],
        "kv_bytes": [0, 0],
        "activation_bytes": [0, 0],
        "dram_bytes": [500.0, 0.0],
    }


def test_data_frame_of_a_real_run_has_what_the_metrics_have(result: Result) -> None:
    timeline: Timeline = result.timeline
    frame = timeline.to_dataframe()
    prefill = frame.iloc[: timeline.graph.prefill_count]
    assert len(frame) == len(timeline.graph)
    assert prefill["end_s"].max() == result.metrics["ttft_s"]
    assert frame["end_s"].max() == result.metrics["e2e_s"]
    busy_s = (prefill["end_s"] - prefill["start_s"]).groupby(prefill["processor"]).sum()
    assert busy_s["npu"] / prefill["end_s"].max() == pytest.approx(result.metrics["npu_utilization"])
    assert frame["dram_bytes"].sum() == pytest.approx(result.metrics["dram_bytes"])
    assert frame["ops"].tolist() == [subgraph.work.ops for subgraph in timeline.graph.subgraphs]
    own_s = frame[[f"{part}_s" for part in PARTS]].sum(axis=1)
    assert (frame["end_s"] - frame["start_s"] >= own_s - 1e-9).all()
    assert (frame["stream_end_s"] <= frame["end_s"]).all()
