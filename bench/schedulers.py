"""What scheduling policies cost: ratios to `fifo` measured in one run; exits with 1 if one misses its target.

Run with ``python bench/schedulers.py``. Each ratio pairs two simulations taken in turn, so that a machine whose speed drifts does not
matter; printed is the median of the pairs. Times for planning and for each decision are printed beside them and not judged, as they
depend on the machine.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from statistics import median

from socsim.policy_comparison import compare_policies
from socsim.runs import Case, make_case
from socsim.schedulers import SCHEDULERS
from socsim.simulator import simulate

PAIRS = 5
CHUNKS, CHUNK_TOKENS = 512, 64
"""Of the long prompt: about a hundred thousand subgraphs."""
TARGETS = {"out-of-order": 0.0, "critical-path": 0.0, "heft": 0.0, "lookahead": 5.0}
"""The largest ratio to `fifo` of policies that plan without simulating; 0 where there is none."""
PROMPTS = ((1024, 64), (1024, 256), (8192, 64), (8192, 256))
"""Tokens of a prompt and of its chunks, for which planning is measured."""


def seconds(case: Case, scheduler: str) -> float:
    """Return the processor time of one simulation, planning and all."""
    start = time.process_time()
    simulate(case.costs.graph, case.costs, scheduler)
    return time.process_time() - start


def ratio(numerator: Callable[[], float], denominator: Callable[[], float]) -> float:
    """Return the median ratio of measurements taken in turn."""
    return median(numerator() / denominator() for _ in range(PAIRS))


def case_of(model: str, prompt_tokens: int, chunk_tokens: int) -> Case:
    """Return a prompt on llm.npu."""
    return make_case("snapdragon-8-gen-3", model, "llm-npu", prompt_tokens=prompt_tokens, chunk_tokens=chunk_tokens)


def long_prompt_rows() -> list[tuple[str, float, float]]:
    """Compare policies with `fifo` on a long prompt in short chunks: name, ratio and target."""
    case = case_of("qwen1.5-1.8b", CHUNKS * CHUNK_TOKENS, CHUNK_TOKENS)
    size = f"{CHUNKS} chunks, {len(case.costs.graph):,} subgraphs"
    return [
        (f"time of {name} over fifo, {size}", ratio(lambda name=name: seconds(case, name), lambda: seconds(case, "fifo")), target)  # type: ignore[misc]
        for name, target in TARGETS.items()
    ]


def print_times() -> None:
    """Print how long each policy takes for a decision, and those that plan for a plan."""
    case = case_of("llama-2-7b", 2048, 256)
    for each in compare_policies(case, list(SCHEDULERS)):
        name = each.result.timeline.scheduler
        print(f"{name}, {len(case.costs.graph):,} subgraphs: {each.decision_s * 1e6:.2f} us for each decision", flush=True)
    for tokens, chunk in PROMPTS:
        case = case_of("qwen1.5-1.8b", tokens, chunk)
        planners = compare_policies(case, ("heft", "lookahead", "wavefront", "planned"))
        times = ", ".join(f"{each.result.timeline.scheduler} {each.planning_s:.3f} s" for each in planners)
        print(f"planning {tokens} tokens in chunks of {chunk}, {len(case.costs.graph):,} subgraphs: {times}", flush=True)


def main() -> None:
    """Measure, print and judge."""
    warnings.simplefilter("ignore")  # prompts longer than the context
    missed = 0
    for name, value, target in long_prompt_rows():
        holds = not target or value <= target
        missed += not holds
        wanted = f"<= {target:g}" if target else "no target"
        print(f"{name:78s} {value:6.3f}   {wanted:9s} {'ok' if holds else 'MISSED'}", flush=True)
    print_times()
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
