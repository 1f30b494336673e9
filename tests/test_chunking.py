"""Plans of unequal chunks: which are worth simulating, and what is chosen."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from socsim.chunking import Attempt, Floats, Plan, best_chunk_tokens, mean_chunk_work_s, mixed_plans
from socsim.graph import TaskGraph
from socsim.runs import make_case, run, run_case
from socsim.schedulers import Choose, Rehearse, fifo

LENGTHS = (32, 64, 128, 256)
SHALLOW = {"model.num_hidden_layers": 4}


def work(*, fixed: float = 0.0, processors: int = 2) -> dict[int, Floats]:
    """Return work that grows with the chunk, from a fixed part on."""
    return {length: np.arange(1.0, processors + 1) * (fixed + length) for length in LENGTHS}


@pytest.mark.parametrize(
    ("tokens", "plans"),
    [
        (300, [(256, 64), (64, 256), (128, 128, 64), (128, 64, 128), (64, 128, 128)]),
        (800, [(256, 256, 256, 32), (256, 32, 256, 256), (32, 256, 256, 256)]),
        (96, [(64, 32), (32, 64)]),
        (256, [(128, 64, 64), (64, 128, 64), (64, 64, 128)]),
        (32, []),
        (20, []),
    ],
)
def test_plans_have_little_padding_and_short_chunks_at_the_ends(tokens: int, plans: list[Plan]) -> None:
    found = mixed_plans(tokens, work(fixed=16.0), float("inf"))
    assert found[: len(plans)] == plans
    for plan in found:
        assert sum(plan[:-1]) < tokens <= sum(plan)
        assert len(set(plan)) > 1
    assert bool(found) == bool(plans)


def test_what_gives_the_busiest_processor_too_much_work_is_left_out() -> None:
    busiest_s = 2.0 * (256 + 64)
    assert mixed_plans(300, work(), busiest_s) == []
    assert set(mixed_plans(300, work(), busiest_s + 1.0)) >= {(256, 64), (64, 256)}


def choose(tokens: int, ttft_s: dict[Plan, float], least: float = 0.0) -> tuple[int | Plan, list[Plan]]:
    """Return what is chosen among plans that take some time, 9 s if none is given, and what was simulated for it."""
    simulated = []

    def attempt(chunk_tokens: int | Plan) -> Attempt:
        plan = (chunk_tokens,) * -(-tokens // chunk_tokens) if isinstance(chunk_tokens, int) else chunk_tokens

        def simulate() -> float:
            simulated.append(plan)
            return ttft_s.get(plan, 9.0)

        return Attempt(plan, work()[plan[0]] / 1e6, least, simulate)

    return best_chunk_tokens(tokens, LENGTHS, attempt), simulated


def test_the_least_time_wins_and_ties_go_to_the_fewest_chunks_then_the_longest_first() -> None:
    assert choose(300, {(256, 256): 3.0, (256, 64): 2.0})[0] == (256, 64)
    assert choose(300, {(256, 256): 2.0, (256, 64): 3.0})[0] == 256
    assert choose(300, {(256, 256): 2.0, (256, 64): 2.0, (64, 256): 2.0})[0] == 256
    assert choose(300, {(256, 64): 2.0, (64, 256): 2.0})[0] == (256, 64)
    assert choose(300, {(128, 128, 128): 2.0, (256, 64): 2.0, (64, 256): 2.0})[0] == (256, 64)
    assert choose(300, {})[0] == 256


def test_what_cannot_be_better_is_not_simulated() -> None:
    chosen, simulated = choose(300, {(256, 256): 3.0}, least=3.0)
    assert (chosen, simulated) == (256, [(256, 256)])
    assert len(choose(300, {(256, 256): 3.0}, least=2.9)[1]) > 4


@pytest.mark.parametrize("scheduler", ["out-of-order", "in-order", "sequential"])
@pytest.mark.parametrize(("engine", "memory"), [("llm-npu", "shared"), ("npu-chunk", "private"), ("cpu-only", "shared")])
@pytest.mark.parametrize("prompt_tokens", [33, 300, 650, 1024])
def test_automatic_plans_are_never_slower_than_one_length(scheduler: str, engine: str, memory: str, prompt_tokens: int) -> None:
    def ttft_s(chunk_tokens: int | str | Plan) -> float:
        overrides = SHALLOW | {"engine.prebuilt_chunk_tokens": LENGTHS, "run.memory": memory}
        options: dict[str, Any] = {"chunk_tokens": chunk_tokens, "scheduler": scheduler, "overrides": overrides}
        case = make_case("snapdragon-8-gen-3", "qwen1.5-1.8b", engine, prompt_tokens=prompt_tokens, **options)
        chosen.append(case.engine.chunk_tokens)
        return run_case(case).metrics["ttft_s"] or 0.0

    chosen: list[object] = []
    automatic = ttft_s("auto")
    plan = chosen[0]
    assert isinstance(plan, int | tuple)
    assert automatic == ttft_s(plan) <= min(map(ttft_s, LENGTHS))
    assert automatic == ttft_s("auto")
    assert chosen[-1] == plan


def test_unequal_chunks_save_padding() -> None:
    """300 tokens: two chunks of 256 have 212 rows of padding, 256 and 64 have 20."""
    plan = make_case("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=300, chunk_tokens="auto").engine.chunk_tokens
    assert plan == (256, 64)


def test_mean_work_is_that_of_all_chunks() -> None:
    case = make_case("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=96, chunk_tokens=[64, 32], output_tokens=3, overrides=SHALLOW)
    graph, fixed_ns = case.costs.graph, case.costs.fixed_ns
    expected = [
        sum(fixed_ns[index] for index in range(graph.prefill_count) if graph.subgraphs[index].processor == name) / 2e9
        for name in graph.processors
    ]
    assert mean_chunk_work_s(case.costs).tolist() == pytest.approx(expected)


def test_a_policy_that_plans_does_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = []

    def planner(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
        planned.append(len(graph))
        return fifo(graph, expected_ns, seed)

    planners = ModuleType("planners")
    planners.planner = planner  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "planners", planners)
    options: dict[str, Any] = {"prompt_tokens": 300, "chunk_tokens": "auto", "overrides": SHALLOW}
    result = run("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", scheduler="planners:planner", **options)
    assert planned == [len(result.case.costs.graph)]
    judged = make_case("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", scheduler="lookahead", **options)
    assert result.case.chunks == judged.chunks
