"""How far policies are from the best schedule: what the study computes of small cases and of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from random_graphs import hand_costs
from scripts import load_script
from short import run_short

from socsim.experiments import small_cases
from socsim.experiments.policy_grid import RULE, by_ratio, fastest_rule, of, scheduled, spread, with_rule
from socsim.experiments.publication import read_table
from socsim.experiments.small_cases import NEVER_WAITS, POLICIES, proven_gaps, ratio_of_work, small_costs, waiting_ns
from socsim.policy_comparison import PAPER
from socsim.runs import run

TOY = {"soc": ("toy-phone",), "model": ("smollm2-135m",), "prompt_tokens": (64,), "chunk_tokens": (32,)}


def row(policy: str, makespan_ms: float, **more: Any) -> dict[str, Any]:
    return {"policy": policy, "makespan_ms": makespan_ms, "work_ratio": 1.0, "chunks": 2, **more}


def test_the_paper_rule_is_the_faster_of_its_ties() -> None:
    case = [row("fifo", 12.0), row(PAPER[0], 11.0), row(PAPER[1], 10.0, work_ratio=0.5), row("planned", 8.0)]
    assert fastest_rule(case) == row(RULE, 10.0, work_ratio=0.5)
    assert [(each["policy"], each["work_ratio"], round(each["faster_percent"], 1)) for each in with_rule(case)] == [
        ("fifo", 0.5, -16.7), (PAPER[0], 0.5, -9.1), (PAPER[1], 0.5, 0.0), ("planned", 0.5, 25.0), (RULE, 0.5, 0.0),
    ]  # fmt: skip


def test_columns_statistics_and_classes_by_ratio() -> None:
    rows = [
        row("fifo", 1.0, gap_percent=gap, faster_percent=1.0) | {"chunks": chunks, "work_ratio": ratio}
        for gap, chunks, ratio in ((1.0, 1, 0.2), (2.0, 2, 0.4), (6.0, 8, 0.5), (9.0, 9, 2.0))
    ]
    assert of(rows, "fifo", "gap_percent", (2, 8)).tolist() == [2.0, 6.0]
    assert of(rows, "heft", "gap_percent").tolist() == []
    found = spread(of(rows, "fifo", "gap_percent"), "gap_percent")
    assert found == {"median_gap_percent": 4.0, "p90_gap_percent": pytest.approx(8.1), "largest_gap_percent": 9.0}
    classes = by_ratio(rows, ["fifo"], (0, 0.5, 1, 3))
    assert [(each["cases"], round(each["work_ratio"], 3), each["mean_gap_percent"]) for each in classes] == [
        (2, 0.3, 1.5), (1, 0.5, 6.0), (1, 2.0, 9.0),
    ]  # fmt: skip


def test_every_row_of_the_grid_is_a_run(tmp_path: Path) -> None:
    axes = [{"path": path, "values": list(values)} for path, values in TOY.items()]
    rows = scheduled([*axes, {"path": "run.seed", "values": [0, 1]}], (*PAPER, "fifo"), tmp_path, jobs=1)
    assert [each["policy"] for each in rows] == [*PAPER, "fifo", RULE] * 2
    alone = run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=64, chunk_tokens=32, scheduler="fifo")
    assert rows[2]["makespan_ms"] == 1e3 * alone.record["makespan_s"]
    assert rows[2]["gap_percent"] == 100.0 * alone.gap["makespan_gap"]
    assert rows[2]["chunks"] == 2


def test_waits_on_purpose_are_idle_times_with_something_ready() -> None:
    # NPU: 0 0-10, then 2, which 1 on the CPU holds up to 15 (and 1 ns of hand-over); 3 was ready all the time, 4 is not before 30.
    costs = hand_costs([("npu", 10, 0, []), ("cpu", 15, 0, []), ("npu", 5, 0, [1]), ("npu", 5, 0, []), ("npu", 1, 0, [1])], latency_ns=1)
    assert waiting_ns(costs, [0, 0, 16, 21, 26]) == 6
    assert waiting_ns(costs, [0, 0, 16, 10, 21]) == 0  # from 15 to 16 nothing is ready
    assert waiting_ns(costs, [3, 0, 16, 21, 30]) == 3 + 3 + 4


def test_small_cases_have_the_ratio_of_work_that_is_asked_for() -> None:
    for ratio in (0.3, 1.5):
        costs = small_costs("snapdragon-8-gen-3", "phi-2", 2, 64, ratio)
        assert ratio_of_work(costs) == pytest.approx(ratio, rel=0.005)
        assert {subgraph.block for subgraph in costs.graph.subgraphs} == set(range(small_cases.BLOCKS + 1))


def test_gaps_to_a_proven_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_cases, "BLOCKS", 2)
    rows = {each["policy"]: each for each in proven_gaps(small_costs("snapdragon-8-gen-3", "qwen1.5-1.8b", 2, 64, 1.0), 60.0)}
    assert set(rows) == {*POLICIES, "optimal", RULE}
    assert (rows["optimal"]["gap_percent"], rows["optimal"]["waits_percent"]) == (0.0, None)
    assert all(each["proven"] and each["gap_percent"] >= 0.0 for each in rows.values())
    assert rows["planned"]["gap_percent"] <= min(rows["lookahead"]["gap_percent"], rows[RULE]["gap_percent"])
    assert rows["fifo"]["waits_percent"] == rows[NEVER_WAITS]["waits_percent"] == 0.0
    assert rows["lockstep-pairs"]["waits_percent"] > 0.0


def test_script_says_which_targets_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("scheduler_gap")
    small = {"model": ("smollm2-135m",), "chunks": (2,), "work_ratio": (1.0,)}
    told: list[Any] = []
    several = {**TOY, "soc": ("snapdragon-8-gen-3",), "prompt_tokens": (128,)}
    shortened = {"QUICK_GRID": several, "QUICK_CHANGED": {}, "QUICK_SMALL": small, "SMALL_CHUNK": 32, "tell_decision_times": told.append}
    record = run_short(script, tmp_path, monkeypatch, **shortened)
    assert len(told) == 1
    rows = read_table(tmp_path / "targets.csv")[1]
    missed = [each[0] for each in rows if each[3] == "false"]
    assert record["conclusions"][-1].startswith(f"Targets met by these few cases: {len(rows) - len(missed)} of {len(rows)}")
    assert all(name in record["conclusions"][-1] for name in missed)
    conditions = read_table(tmp_path / "conditions.csv")[1]
    assert len(conditions) == len(script["QUICK_CONDITIONS"]) * len(script["ROBUST"])
