"""The conformance check passes every shipped policy and finds each violation."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

import pytest

from socsim.conformance import check_scheduler, random_costs
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.schedulers import SCHEDULERS, Choose, Prepare, View

Choice = Callable[[Sequence[int], View], object]


def policy(choose: Choice) -> Prepare:
    """Return a policy that needs no preparation."""

    def broken(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        return choose  # type: ignore[return-value]

    return broken


def backwards(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Run the last ready subgraph; named by tests as ``test_conformance:backwards``."""
    return lambda ready, view: ready[-1]


def seeded(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    rng = random.Random(seed)
    return lambda ready, view: rng.choice(ready)


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_shipped_policies_conform(scheduler: str) -> None:
    check_scheduler(scheduler, cases=12)


@pytest.mark.parametrize("scheduler", ["test_conformance:backwards", backwards, seeded])
def test_own_policies_conform(scheduler: str | Prepare) -> None:
    check_scheduler(scheduler, cases=6)


@pytest.mark.parametrize(
    ("choose", "violation"),
    [
        (lambda ready, view: ready[-1] + 1, "chose {index}, which is not ready; allowed: None, "),
        (lambda ready, view: -1, "chose -1, which is not ready"),
        (lambda ready, view: float(ready[0]), r"chose {index}\.0, which is not ready"),
        (lambda ready, view: str(ready[0]), "chose '{index}', which is not ready"),
        (lambda ready, view: None, "scheduler waits at 0 ns although nothing is running or on its way; ready: 0"),
        (lambda ready, view: ready[10**6], "choose raised IndexError: list index out of range"),
        (lambda ready, view: ready.pop(0), "changed ready, which is read only"),
        (lambda ready, view: [ready[0], ready.sort(reverse=True), ready.append(9)][0], "changed ready, which is read only"),
        (lambda ready, view: [ready[0], view.completed.append(0)][0], r"changed view\.completed, which is read only"),
        (lambda ready, view: [ready[0], view.missing.clear()][0], r"changed view\.missing, which is read only"),
        (lambda ready, view: [ready[0], view.running.append(-1)][0], r"changed view\.running, which is read only"),
        (lambda ready, view: [ready[0], view.done.__setitem__(0, 2)][0], r"changed view\.done, which is read only"),
    ],
)
def test_violations_of_a_choice(choose: Choice, violation: str) -> None:
    with pytest.raises(SocsimError, match=r"^scheduler 'broken' on a random graph \(seed 0\): " + violation.replace("{index}", r"\d+")):
        check_scheduler(policy(choose))


def test_change_of_the_time() -> None:
    def late(ready: Sequence[int], view: View) -> int:
        view.now_ns += 1
        return ready[0]

    with pytest.raises(SocsimError, match=r"changed view\.now_ns, which is read only$"):
        check_scheduler(policy(late))


def test_choice_for_another_processor() -> None:
    def anything(ready: Sequence[int], view: View) -> int:
        return max(max(others) for others in view.ready if others)

    with pytest.raises(SocsimError, match=r"on a random graph \(seed \d+\): chose \d+, which is not ready"):
        check_scheduler(policy(anything))


def test_change_of_expected_durations_when_prepared() -> None:
    def prepare(graph: TaskGraph, expected_ns: list[int], seed: int) -> Choose:
        expected_ns.sort(reverse=True)
        return lambda ready, view: ready[0]

    with pytest.raises(SocsimError, match=r"^scheduler 'prepare' on a random graph \(seed \d+\): changed expected_ns, which is read only$"):
        check_scheduler(prepare)


def test_change_of_expected_durations_when_choosing() -> None:
    def prepare(graph: TaskGraph, expected_ns: list[int], seed: int) -> Choose:
        def choose(ready: Sequence[int], view: View) -> int:
            expected_ns[ready[0]] = -1
            return ready[0]

        return choose

    with pytest.raises(SocsimError, match="changed expected_ns, which is read only"):
        check_scheduler(prepare)


def test_another_schedule_for_the_same_seed() -> None:
    rng = random.Random(0)
    with pytest.raises(SocsimError, match=r"\(seed \d+\): gives another schedule when it is prepared again with seed \d+$"):
        check_scheduler(policy(lambda ready, view: rng.choice(ready)))


def test_state_shared_by_two_runs() -> None:
    state = {"turn": 0}

    def leaky(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        state["turn"] = 0

        def choose(ready: Sequence[int], view: View) -> int:
            state["turn"] += 1
            return ready[state["turn"] * 7 % len(ready)]

        return choose

    with pytest.raises(SocsimError, match=r"prepared twice before it runs: prepared policies share state$"):
        check_scheduler(leaky)


def test_prepare_that_fails_or_returns_no_function() -> None:
    with pytest.raises(SocsimError, match=r"prepare raised ZeroDivisionError: .*zero"):
        check_scheduler(lambda graph, expected, seed: 1 // 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(SocsimError, match=r"prepare should return a function choose\(ready, view\), not 7"):
        check_scheduler(lambda graph, expected, seed: 7)  # type: ignore[arg-type, return-value]


def test_policy_that_presumes_three_processors() -> None:
    with pytest.raises(SocsimError, match=r"on a random graph \(seed 0\): choose raised IndexError"):
        check_scheduler(policy(lambda ready, view: ready[0] + 0 * view.running[2]))


def test_policy_that_fails_on_a_real_prefill_only() -> None:
    def no_shadows(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        if any(subgraph.stage.startswith("shadow") for subgraph in graph.subgraphs):
            raise KeyError("shadow")
        return lambda ready, view: ready[0]

    with pytest.raises(
        SocsimError, match=re.escape("scheduler 'no_shadows' on a prefill of smollm2-135m: prepare raised KeyError: 'shadow'")
    ):
        check_scheduler(no_shadows, cases=1)


def test_policy_is_named_and_seeds_start_where_asked() -> None:
    class Refuse:
        def __call__(self, graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
            raise RuntimeError(f"seed {seed}")

    with pytest.raises(SocsimError, match=r"scheduler 'Refuse' on a random graph \(seed 41\): prepare raised RuntimeError: seed 41"):
        check_scheduler(Refuse(), seed=41)


def test_bad_arguments() -> None:
    with pytest.raises(SocsimError, match="unknown scheduler 'fifoo'"):
        check_scheduler("fifoo")
    with pytest.raises(SocsimError, match="cases should be 1 or more, not 0"):
        check_scheduler("fifo", cases=0)


def test_random_graphs_cover_what_policies_meet() -> None:
    cases = [random_costs(seed, processors=1 + seed % 3) for seed in range(20)]
    graphs = [costs.graph for costs in cases]
    assert {len(graph.processors) for graph in graphs} == {1, 2, 3}
    assert any(graph.prefixes and any(map(any, graph.prefixes[0].waiters)) for graph in graphs)
    assert any(len(graph) > graph.prefill_count for graph in graphs)
    assert any(costs.hand_over_latency_s.any() for costs in cases)
    assert any(costs.bandwidth_bytes_per_s.sum() > costs.achievable_bytes_per_s for costs in cases)
    assert not any(random_costs(seed, latency=False).hand_over_latency_s.any() for seed in range(20))
    assert not any(random_costs(seed, traffic=False).dram_bytes.any() for seed in range(20))
