"""What if handing tensors over cost less, or more?

Latency and work of each hand-over of the engine's mechanism are scaled; cache maintenance, which grows with the tensor, is not. At every
point each resource in turn is made free: the one that then helps most bounds the prefill.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from socsim.catalog import load_engine, load_soc
from socsim.experiments import FORMATS, Publication
from socsim.experiments.scaling import ENGINE, MODELS, PROMPTS, SOC, SPEED, anomalies, by_run, moves, publish_scaling, scaled, simulate
from socsim.experiments.words import span

FACTORS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
QUICK = (0.0, 1.0, 16.0)


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all factors, or in short three of them on one model, and publish speed, bubbles and bottlenecks."""
    models, factors = (MODELS[:1], QUICK) if quick else (MODELS, FACTORS)
    mechanism = load_engine(ENGINE).synchronization
    with Publication(
        out,
        __file__,
        quick=quick,
        formats=formats,
        soc=SOC,
        engine=ENGINE,
        models=models,
        prompts=PROMPTS,
        mechanism=mechanism,
        factors=factors,
    ) as paper:
        rows = publish_scaling(
            paper, "sync_cost", simulate(models, points(mechanism, factors)), "synchronization",
            {SPEED: "prefill (tokens/s)", "npu_bubble_rate": "NPU bubble rate"},
        )  # fmt: skip
        paper.conclude(conclusion(rows, 1e6 * load_soc(SOC).synchronization[mechanism].latency_s))
        paper.conclude(moves(rows))
        paper.conclude(anomalies(rows, faster=False))


def points(mechanism: str, factors: Sequence[float]) -> dict[float, dict[str, float]]:
    """Return the overrides of each factor."""
    soc = load_soc(SOC)
    paths = [f"synchronization.{mechanism}.{field}" for field in ("latency_s", "launch_work_s")]
    return {factor: scaled(soc, paths, factor) for factor in factors}


def conclusion(rows: Sequence[dict[str, Any]], latency_us: float) -> str:
    """Say what the least and the greatest factor do, by prompt length."""
    parts = []
    for prompt in PROMPTS:
        runs = [run for (_, tokens), run in by_run(rows).items() if tokens == prompt]
        least, greatest = (runs[0][place]["factor"] for place in (0, -1))
        parts.append(
            f"at {prompt:,} tokens prefill is {span(run[0]['speed_up'] for run in runs)} times as fast with x{least:g}, "
            f"and takes {span(1.0 / run[-1]['speed_up'] for run in runs)} times as long with x{greatest:g}"
        )
    return f"A hand-over has a latency of {latency_us:.0f} µs; {'; '.join(parts)}."


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
