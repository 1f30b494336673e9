"""How much of end-to-end time is prefill, by workload and processor? (Xu et al. 2025, Fig 1)

Five workloads run on engines that prefill on the CPU, the GPU and the NPU. A workload is one prompt and one answer of the middle of
its published lengths, halves rounded down (Persona-Chat: 536 and 46 tokens). Decode runs where the engine puts it: on the CPU under
llm-npu. Published shares are taken over where ``traces/`` has rows of the metric ``prefill_share``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import socsim
from socsim.experiments import FORMATS, Publication, beside_published
from socsim.experiments.grid import Workload, load_workloads
from socsim.plots import stacked_bars

SOC, MODELS = "snapdragon-8-gen-3", ("qwen1.5-1.8b", "gemma-2b")
ENGINES = {"llama.cpp-cpu": "CPU", "mnn-cpu": "CPU", "tflite-gpu": "GPU", "mlc-gpu": "GPU", "llm-npu": "NPU"}
"""Where each engine prefills."""
SHARE, SOURCE = "prefill_share", "Xu et al. 2025, Fig 1"
PARTS = {SHARE: "prefill", "decode_share": "decode"}


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all workloads of two models, or in short of one, and publish shares and times."""
    models, workloads = MODELS[: 1 if quick else None], load_workloads()
    lengths = {each.name: [each.prompt_tokens, each.output_tokens] for each in workloads}
    with Publication(
        out, __file__, quick=quick, formats=formats, soc=SOC, models=models, engines=list(ENGINES), workloads=lengths
    ) as paper:
        runs = [shares(model, engine, each) for model in models for each in workloads for engine in ENGINES]
        rows = beside_published(runs, SHARE, SHARE)
        paper.table("prefill_share", rows, f"Time and share of prefill and decode on {SOC}")
        for model in models:
            shown = [row for row in rows if row["model"] == model]
            figure = stacked_bars(
                shown, x="engine", parts=PARTS, panel="workload", published=f"published_{SHARE}", y_label="share of end-to-end time",
            )  # fmt: skip
            paper.figure(f"prefill_share_{model}", figure, f"Share of prefill in end-to-end time, {model} on {SOC}; hollow: published")
        judge(paper, rows)


def shares(model: str, engine: str, workload: Workload) -> dict[str, Any]:
    """Return times and shares of one workload."""
    name, prompt, output = workload
    record = socsim.run(SOC, model, engine, prompt_tokens=prompt, output_tokens=output).record
    share = record["ttft_s"] / record["e2e_s"]
    return {
        "soc": SOC,
        "workload": name,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "model": model,
        "processor": ENGINES[engine],
        "engine": engine,
        "ttft_s": record["ttft_s"],
        "decode_s": record["e2e_s"] - record["ttft_s"],
        "e2e_s": record["e2e_s"],
        SHARE: share,
        "decode_share": 1.0 - share,
    }


def judge(paper: Publication, rows: Sequence[dict[str, Any]]) -> None:
    """Say how large the shares are on each processor, and where prefill is not what a user waits for."""
    spans, compared = [], 0
    for processor in dict.fromkeys(ENGINES.values()):
        own = [row for row in rows if row["processor"] == processor]
        spans.append(f"{min(row[SHARE] for row in own):.0%} to {max(row[SHARE] for row in own):.1%} on the {processor}")
        known = [row for row in own if row[f"published_{SHARE}"] is not None]
        if known:
            said, simulated = (sum(row[column] for row in known) / len(known) for column in (f"published_{SHARE}", SHARE))
            paper.claim(f"share of prefill on the {processor}, mean of {len(known)} runs", said, simulated, "", SOURCE)
            compared += len(known)
    minor = [row for row in rows if row[SHARE] < 0.5]
    where = f", the others all of {' and '.join(dict.fromkeys(row['workload'] for row in minor))}" if minor else ""
    beside = f"{compared} published shares stand beside them" if compared else "no published shares are at hand to compare them with"
    paper.conclude(
        f"Prefill is {', '.join(spans)} of end-to-end time, and more than half of it in {len(rows) - len(minor)} of "
        f"{len(rows)} runs{where}; {beside}."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
