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
from socsim.experiments.scaling import SPEED, anomalies, by_run, moves, publish_scaling, scaled, scaling_rows, span

SOC, ENGINE = "snapdragon-8-gen-3", "llm-npu"
MODELS, PROMPTS = ("qwen1.5-1.8b", "gemma-2b", "llama-2-7b"), (256, 1024)
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
            paper, "bandwidth_scaling", simulate(models, factors), "DRAM bandwidth",
            {SPEED: "prefill (tokens/s)", DECODE: "decode (tokens/s)"}, unmarked=(DECODE,),
        )  # fmt: skip
        paper.conclude(conclusion(rows))
        paper.conclude(moves(rows))
        paper.conclude(anomalies(rows, faster=True))


def simulate(models: Sequence[str], factors: Sequence[float]) -> list[dict[str, Any]]:
    """Return rows of all models, prompt lengths and factors."""
    soc = load_soc(SOC)
    paths = [f"dram.{field}" for field in ("peak_bytes_per_s", "achievable_bytes_per_s")]
    paths += [f"processors.{name}.bandwidth_bytes_per_s" for name in soc.processors]
    points = {factor: scaled(soc, paths, factor) for factor in factors}
    usual = {"soc": SOC, "engine": ENGINE, "output_tokens": 2}
    runs = [usual | {"model": model, "prompt_tokens": prompt} for model in models for prompt in PROMPTS]
    return [row for run in runs for row in scaling_rows(run, points)]


def conclusion(rows: Sequence[dict[str, Any]]) -> str:
    """Say what the least and the most bandwidth do to prefill and decode, and why more does nothing for decode."""
    runs = list(by_run(rows).values())
    least, most = runs[0][0]["factor"], runs[0][-1]["factor"]
    spans = {}
    for place, factor in ((0, least), (-1, most)):
        for column in (SPEED, DECODE):
            usual = [next(row[column] for row in run if row["factor"] == 1.0) for run in runs]
            spans[factor, column] = span(run[place][column] / one for run, one in zip(runs, usual, strict=True))
    cpu, npu = (load_soc(SOC).processors[name] for name in ("cpu", "npu"))
    kernels = (npu.rates("int8").weight_bytes_per_s or 0.0, cpu.row_bytes_per_s or 0.0)
    return (
        f"DRAM bandwidth x{least:g} leaves {spans[least, SPEED]} of the prefill speed and {spans[least, DECODE]} of the decode speed; "
        f"x{most:g} makes prefill {spans[most, SPEED]} and decode {spans[most, DECODE]} times as fast. More brings nothing, as kernels "
        f"bring weights in at rates, fitted to measurements, of {kernels[0] / 1e9:.0f} GB/s on the NPU and, in decode, "
        f"{kernels[1] / 1e9:.0f} on the CPU, where DRAM gives {npu.bandwidth_bytes_per_s / 1e9:.0f}; DRAM bounds decode below "
        f"x{kernels[1] / cpu.bandwidth_bytes_per_s:.2f} only. Whether faster DRAM would raise those rates, the measurements cannot tell."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
