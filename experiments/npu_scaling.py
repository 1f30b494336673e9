"""What if the NPU computed faster?

All its rates are scaled at the same power; its time to launch a subgraph and the fixed time of each product are not, nor is DRAM. At
every point each resource in turn is made free: the one that then helps most bounds the prefill.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import socsim
from socsim.catalog import load_soc
from socsim.experiments import FORMATS, Publication
from socsim.experiments.scaling import ENGINE, MODELS, PROMPTS, SOC, SPEED, anomalies, by_run, moves, publish_scaling, scaled, simulate
from socsim.experiments.words import span

FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
QUICK = (1.0, 2.0, 4.0, 8.0)
PAYS = 1.1
"""Doubling the NPU's rates pays where it makes the prefill this many times as fast."""
FIXED = {"soc.processors.npu.launch_overhead_s": 0.0, "soc.processors.npu.throughput.int8.overhead_s": 0.0}
"""Overrides that take away what does not become faster with the NPU's rates."""


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all factors, or in short four of them on one model, and publish speed, bubbles and bottlenecks."""
    models, factors = (MODELS[:1], QUICK) if quick else (MODELS, FACTORS)
    with Publication(
        out, __file__, quick=quick, formats=formats, soc=SOC, engine=ENGINE, models=models, prompts=PROMPTS, factors=factors
    ) as paper:
        rows = publish_scaling(
            paper, "npu_scaling", simulate(models, points(factors)), "rates of the NPU",
            {SPEED: "prefill (tokens/s)", "npu_bubble_rate": "NPU bubble rate"},
        )  # fmt: skip
        paper.conclude(conclusion(rows))
        paper.conclude(f"{moves(rows)} {fixed(rows)}")
        paper.conclude(anomalies(rows, faster=True))


def points(factors: Sequence[float]) -> dict[float, dict[str, float]]:
    """Return the overrides of each factor."""
    return {factor: scaled(load_soc(SOC), ["processors.npu.speed"], factor) for factor in factors}


def pays_up_to(run: Sequence[dict[str, Any]]) -> float:
    """Return the largest factor at which one run's last doubling, and each before it, made the prefill faster by enough."""
    speeds = {row["factor"]: row[SPEED] for row in run}
    factor = 1.0
    while 2.0 * factor in speeds and speeds[2.0 * factor] >= PAYS * speeds[factor]:
        factor *= 2.0
    return factor


def conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """Say by prompt length what the fastest NPU brings, and up to where doubling pays."""
    parts = []
    for prompt in PROMPTS:
        runs = {model: run for (model, tokens), run in by_run(rows).items() if tokens == prompt}
        gains = span(run[-1]["speed_up"] for run in runs.values())
        limits = ", ".join(f"x{pays_up_to(run):g} ({model})" for model, run in runs.items())
        parts.append(f"at {prompt:,} tokens prefill is {gains} times as fast, and doubling pays up to {limits}")
    least = f"to pay is to bring at least {100 * (PAYS - 1):.0f} %"
    return f"With an NPU {rows[-1]['factor']:g} times as fast, {'; '.join(parts)} ({least})."


def fixed(rows: Sequence[dict[str, Any]]) -> str:
    """Say what the NPU's fixed times still cost where its rates are highest."""
    gains = []
    for run in by_run(rows).values():
        last = run[-1]
        overrides = points([last["factor"]])[last["factor"]] | FIXED
        without = socsim.run(SOC, last["model"], ENGINE, prompt_tokens=last["prompt_tokens"], overrides=overrides)
        gains.append(last["ttft_s"] / without.record["ttft_s"])
    return f"At x{rows[-1]['factor']:g} prefill is {span(gains)} times as fast without the fixed times of launches and products."


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
