"""The decision log: what it writes, and that it changes nothing."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from random_graphs import hand_costs

from socsim.decisions import decision_log, label
from socsim.errors import SocsimError
from socsim.graph import Subgraph, TaskGraph, Work
from socsim.runs import make_case, run_case
from socsim.schedulers import SCHEDULERS, Choose
from socsim.simulator import simulate

CHAIN = hand_costs([("npu", 10, 0, ()), ("npu", 20, 0, ()), ("cpu", 30, 0, (1,)), ("cpu", 5, 0, (0,))])


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_label() -> None:
    assert label(Subgraph("qkv", 0, 3, 19, "npu", Work(()))) == "qkv[c0 b3]"


def test_log_with_scores_by_hand(tmp_path: Path) -> None:
    # NPU 0-10 (C = -5, above -30), 10-30; CPU 10-15, 30-60.
    with decision_log("out-of-order", tmp_path / "log.csv") as policy:
        assert simulate(CHAIN.graph, CHAIN, policy).end_ns.tolist() == [10, 30, 60, 15]
    assert (tmp_path / "log.csv").read_text(encoding="utf-8") == (
        "time_s,processor,candidates,choice\n"
        "0.000000000,npu,s0[c0 b0]=-5; s1[c0 b0]=-30,s0[c0 b0]\n"
        "0.000000010,cpu,s3[c0 b0]=0,s3[c0 b0]\n"
        "0.000000010,npu,s1[c0 b0]=-30,s1[c0 b0]\n"
        "0.000000030,cpu,s2[c0 b0]=0,s2[c0 b0]\n"
    )


def test_log_without_scores_and_with_waits_by_hand(tmp_path: Path) -> None:
    # in-order: the CPU waits for s2, which comes before s3.
    with decision_log("in-order", tmp_path / "log.csv") as policy:
        assert simulate(CHAIN.graph, CHAIN, policy).end_ns.tolist() == [10, 30, 60, 65]
    assert (tmp_path / "log.csv").read_text(encoding="utf-8") == (
        "time_s,processor,candidates,choice\n"
        "0.000000000,npu,s0[c0 b0]; s1[c0 b0],s0[c0 b0]\n"
        "0.000000010,cpu,s3[c0 b0],wait\n"
        "0.000000010,npu,s1[c0 b0],s1[c0 b0]\n"
        "0.000000030,cpu,s2[c0 b0]; s3[c0 b0],s2[c0 b0]\n"
        "0.000000060,cpu,s3[c0 b0],s3[c0 b0]\n"
    )


@pytest.mark.parametrize("policy", sorted(SCHEDULERS))
def test_schedule_and_name_stay_the_same(policy: str, tmp_path: Path) -> None:
    case = make_case("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", prompt_tokens=1024)
    plain = run_case(case, policy)
    with decision_log(policy, tmp_path / "log.csv") as logged:
        result = run_case(case, logged)
    assert result.timeline.start_ns.tolist() == plain.timeline.start_ns.tolist()
    assert result.record == plain.record
    rows = read(tmp_path / "log.csv")
    assert sum(row["choice"] != "wait" for row in rows) == len(case.costs.graph)


def test_out_of_order_takes_the_highest_score(tmp_path: Path) -> None:
    case = make_case("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", prompt_tokens=1024)
    with decision_log("out-of-order", tmp_path / "log.csv") as policy:
        run_case(case, policy)
    crowded = 0
    for row in read(tmp_path / "log.csv"):
        scores = {name: int(score) for name, _, score in (entry.partition("=") for entry in row["candidates"].split("; "))}
        crowded += len(scores) > 1
        assert scores[row["choice"]] == max(scores.values())
    assert crowded > 100


class Highest:
    """A policy with a state that a score read too late would show."""

    def __init__(self) -> None:
        self.turn = 0

    def choose(self, ready: Sequence[int], view: object) -> int:
        self.turn += 1
        return max(ready, key=lambda index: self.score(index, view))

    def score(self, index: int, view: object) -> float:
        return self.turn + index / 4


def highest(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    return Highest().choose


def test_scores_of_an_own_policy_are_read_before_it_chooses(tmp_path: Path) -> None:
    with decision_log(highest, tmp_path / "log.csv") as policy:
        assert simulate(CHAIN.graph, CHAIN, policy).scheduler == "highest"
    assert [row["candidates"] for row in read(tmp_path / "log.csv")] == [
        "s0[c0 b0]=0.0; s1[c0 b0]=0.25",
        "s2[c0 b0]=1.5",
        "s0[c0 b0]=2.0",
        "s3[c0 b0]=3.75",
    ]


def test_log_inside_a_log_keeps_the_scores(tmp_path: Path) -> None:
    with decision_log("out-of-order", tmp_path / "inner.csv") as inner, decision_log(inner, tmp_path / "outer.csv") as outer:
        simulate(CHAIN.graph, CHAIN, outer)
    assert (tmp_path / "inner.csv").read_bytes() == (tmp_path / "outer.csv").read_bytes()


@pytest.mark.parametrize("choice", [3, 99, "s0", -1])
def test_choice_that_is_not_ready_is_written_down_and_refused(choice: int, tmp_path: Path) -> None:
    with (
        pytest.raises(SocsimError, match="not ready"),
        decision_log(lambda graph, expected, seed: lambda ready, view: choice, tmp_path / "log.csv") as policy,
    ):
        simulate(CHAIN.graph, CHAIN, policy)
    assert [row["choice"] for row in read(tmp_path / "log.csv")] == [repr(choice)]


@pytest.mark.parametrize("path", [".", "missing/log.csv"])
def test_unwritable_path_is_refused_before_anything_runs(path: str, tmp_path: Path) -> None:
    with pytest.raises(SocsimError, match=r"^cannot write the decision log '.*': "), decision_log("fifo", tmp_path / path):
        pytest.fail("should not get here")


def test_unknown_policy_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(SocsimError, match="unknown scheduler 'fifi'"), decision_log("fifi", path):
        pytest.fail("should not get here")
    assert path.read_text(encoding="utf-8") == "precious"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_reported() -> None:
    with (
        pytest.raises(SocsimError, match=r"^cannot write the decision log '/dev/full': No space left on device$"),
        decision_log("fifo", "/dev/full") as policy,
    ):
        simulate(CHAIN.graph, CHAIN, policy)
