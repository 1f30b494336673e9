"""What if DRAM had more bandwidth, or less?

Peak, achievable bandwidth and what each processor can draw are scaled together; the rates at which kernels bring weights in are not, as
they were fitted to the engine and include more than DRAM. At every point each resource in turn is made free: the one that then helps most
bounds the prefill. Decode is one token on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from socsim.catalog import load_soc
from socsim.experiments import FORMATS, Publication
from socsim.experiments.scaling import ENGINE, MODELS, PROMPTS, SOC, SPEED, anomalies, by_run, moves, publish_scaling, scaled, simulate
from socsim.experiments.words import span

FACTORS = (0.125, 0.25, 0.35, 0.5, 0.7, 1.0, 2.0, 4.0)
QUICK = (0.25, 1.0, 4.0)
DECODE = "decode_tokens_per_s"


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all factors, or in short three of them on one model, and publish speeds and bottlenecks."""
    models, factors = (MODELS[:1], QUICK) if quick else (MODELS, FACTORS)
    with Publication(
        out, __file__, quick=quick, formats=formats, soc=SOC, engine=ENGINE, models=models, prompts=PROMPTS, factors=factors
    ) as paper:
        rows = publish_scaling(
            paper, "bandwidth_scaling", simulate(models, points(factors), output_tokens=2), "DRAM bandwidth",
            {SPEED: "prefill (tokens/s)", DECODE: "decode (tokens/s)"}, unmarked=(DECODE,),
        )  # fmt: skip
        paper.conclude(conclusion(rows))
        paper.conclude(moves(rows))
        paper.conclude(anomalies(rows, faster=True))


def points(factors: Sequence[float]) -> dict[float, dict[str, float]]:
    """Return the overrides of each factor."""
    soc = load_soc(SOC)
    paths = [f"dram.{field}" for field in ("peak_bytes_per_s", "achievable_bytes_per_s")]
    paths += [f"processors.{name}.bandwidth_bytes_per_s" for name in soc.processors]
    return {factor: scaled(soc, paths, factor) for factor in factors}


def conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """Say what the least and the most bandwidth do to prefill and decode, and how fast kernels can bring weights in at all."""
    runs = list(by_run(rows).values())
    least, most = runs[0][0]["factor"], runs[0][-1]["factor"]
    cpu, npu = (load_soc(SOC).processors[name] for name in ("cpu", "npu"))
    kernels = (npu.rates("int8").weight_bytes_per_s or 0.0, cpu.row_bytes_per_s or 0.0)
    below = (kernels[0] / npu.bandwidth_bytes_per_s, kernels[1] / cpu.bandwidth_bytes_per_s)
    return (
        f"With DRAM bandwidth x{least:g} prefill keeps {span(ratios(runs, 0, SPEED))} of its speed and decode "
        f"{span(ratios(runs, 0, DECODE))}; x{most:g} makes prefill {span(ratios(runs, -1, SPEED))} and decode "
        f"{span(ratios(runs, -1, DECODE))} times as fast. Kernels bring weights in at {kernels[0] / 1e9:.0f} GB/s on the NPU and, in "
        f"decode, {kernels[1] / 1e9:.0f} on the CPU, rates that are fitted to measurements; DRAM gives less than that below "
        f"x{below[0]:.2f} and x{below[1]:.2f}. Whether faster DRAM would raise the rates, the measurements cannot tell."
    )


def ratios(runs: Sequence[Sequence[dict[str, Any]]], place: int, column: str) -> list[float]:
    """Return how many times as large a figure is at the first or the last factor as usual, in each run."""
    return [run[place][column] / next(row[column] for row in run if row["factor"] == 1.0) for run in runs]


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
