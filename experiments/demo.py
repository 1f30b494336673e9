"""What does each technique buy? One prompt under llm.npu, its steps, the engines that it is compared with, and every scheduler.

The tour: ``make demo`` runs it. Beside tables and Gantt charts it writes all records (``comparison.json``) and a trace for Perfetto
(``trace.json``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import socsim
from socsim.experiments import FORMATS, Publication
from socsim.experiments.grid import ENGINES, MODELS, OURS, PHONES
from socsim.metrics import power_steps
from socsim.plots import gantt

SOC, MODEL = PHONES[0], MODELS[0]
STEPS = ("npu-naive", "npu-chunk", "npu-chunk-outlier", OURS, "llm-npu-two-subgraphs")
OTHERS = tuple(name for name in ENGINES if name != OURS)
DRAWN = ("sequential", "in-order", "out-of-order", "fifo")
"""Schedulers in the figure, from no overlap to the fewest bubbles."""
SHOWN = ("ttft_s", "prefill_tokens_per_s", "decode_tokens_per_s", "prefill_energy_j", "npu_utilization", "npu_bubble_rate")


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate 1,024 tokens, or in short 300, and publish comparisons, Gantt charts and a trace."""
    prompt, output = (300, 2) if quick else (1024, 32)
    tokens: dict[str, Any] = {"prompt_tokens": prompt, "output_tokens": output}
    with Publication(out, __file__, quick=quick, formats=formats, soc=SOC, model=MODEL, **tokens) as paper:
        others = socsim.compare(SOC, MODEL, (OURS, *OTHERS), **tokens)
        steps = socsim.compare(SOC, MODEL, STEPS, **tokens)
        policies = socsim.compare(SOC, MODEL, [OURS], schedulers=socsim.SCHEDULERS, **tokens)
        what = f"{MODEL}, {prompt:,} prompt and {output} output tokens on {SOC}"
        paper.table("engines", rows_of(others), f"{OURS} beside other engines, speed-up over {OURS}: {what}")
        paper.table("steps", rows_of(steps), f"The steps to {OURS}, each under its own scheduler, speed-up over the first")
        paper.table("schedulers", rows_of(policies), f"{OURS} under every scheduler, speed-up over the first")
        by_name = {result.timeline.scheduler: result for result in policies}
        draw(paper, by_name)
        records = {"schema_version": 1, "engines": [r.record for r in (*steps, *others[1:])], "schedulers": [r.record for r in policies]}
        paper.file("comparison.json", json.dumps(records, indent=2) + "\n")
        paper.conclude(overlap(by_name))
        first = min((*others, *steps), key=lambda result: result.record["ttft_s"])
        paper.conclude(
            f"Of all engines, each under its own scheduler, {first.record['engine']} is first, after {first.record['ttft_s']:.2f} s."
        )
        paper.conclude(socsim.explain(by_name["out-of-order"]).conclusion)


def rows_of(results: Sequence[socsim.Result]) -> list[dict[str, Any]]:
    """Return the main figures of some runs, with the speed-up over the first."""
    first = results[0].record["ttft_s"]
    named = [{name: result.record[name] for name in ("engine", "scheduler", *SHOWN)} for result in results]
    return [row | {"speed_up": first / row["ttft_s"]} for row in named]


def overlap(results: dict[str, socsim.Result]) -> str:
    """Say in two sentences what overlap and out-of-order issue bring, as simulated."""
    ttft = {name: result.record["ttft_s"] for name, result in results.items()}
    best = min(ttft, key=lambda name: ttft[name])
    bubbles = ", ".join(f"{name} {100 * result.record['npu_bubble_rate']:.1f} %" for name, result in results.items())
    return (
        f"Naive overlap makes the prefill {ttft['sequential'] / ttft['in-order']:.2f} times as fast as no overlap, out-of-order issue "
        f"{ttft['in-order'] / ttft['out-of-order']:.2f} times as fast as naive overlap; of the schedulers, {best} is the fastest "
        f"({ttft['in-order'] / ttft[best]:.2f} times). NPU bubble rates: {bubbles}."
    )


def draw(paper: Publication, policies: dict[str, socsim.Result]) -> None:
    """Draw schedules side by side, and one with its DRAM traffic and power; write its trace."""
    chosen, makespan_s = policies["out-of-order"], policies["in-order"].record["makespan_s"]
    power = power_steps(chosen.timeline, chosen.case.power)
    drawn = [policies[name].timeline for name in DRAWN]
    schedulers = gantt(drawn, titles=list(DRAWN), window_s=(0.0, 0.25 * makespan_s))
    paper.figure("gantt_schedulers", schedulers, "The first quarter of the prefill under four schedulers; numbers are chunks")
    single = gantt(chosen.timeline, power=power, window_s=(0.0, 0.1 * makespan_s))
    paper.figure("gantt", single, "The first tenth of the prefill, out-of-order, with DRAM bandwidth and power")
    paper.file("trace.json", json.dumps(chosen.timeline.to_chrome_trace(power)) + "\n")


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
