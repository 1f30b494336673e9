"""How much of end-to-end time is prefill, by workload and processor? (Xu et al. 2025, Fig 1)

Five workloads run on engines that prefill on the CPU, the GPU and the NPU. A workload is one prompt and one answer of the middle of
its published lengths, halves rounded down (Persona-Chat: 536 and 46 tokens). Decode runs where the engine puts it: on the CPU under
llm-npu. Rows in ``traces/`` of the metric ``prefill_share`` stand beside what is simulated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import socsim
from socsim.experiments import FORMATS, Publication, beside_published, counted, errors_sentence, hollow, origin
from socsim.experiments.grid import MODELS, PHONES
from socsim.plots import stacked_bars
from socsim.prompts import Prompt, load_prompts

SOC = PHONES[0]
ENGINES = {"llama.cpp-cpu": "CPU", "mnn-cpu": "CPU", "tflite-gpu": "GPU", "mlc-gpu": "GPU", "llm-npu": "NPU"}
"""Where each engine prefills."""
SHARE = "prefill_share"
PARTS = {SHARE: "prefill", "decode_share": "decode"}


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all workloads of two models, or in short of one, and publish shares and times."""
    models, workloads = MODELS[: 1 if quick else 2], load_prompts()
    lengths = {each.name: [each.prompt_tokens, each.output_tokens] for each in workloads}
    with Publication(
        out, __file__, quick=quick, formats=formats, soc=SOC, models=models, engines=list(ENGINES), workloads=lengths
    ) as paper:
        runs = [shares(model, engine, each) for model in models for each in workloads for engine in ENGINES]
        rows = beside_published(runs, SHARE, SHARE, place="Fig 1")
        paper.table("prefill_share", rows, f"Time and share of prefill and decode on {SOC}")
        for model in models:
            shown = [row for row in rows if row["model"] == model]
            figure = stacked_bars(
                shown, x="engine", parts=PARTS, panel="workload", published=f"published_{SHARE}", y_label="share of end-to-end time",
            )  # fmt: skip
            paper.figure(f"prefill_share_{model}", figure, f"Share of prefill in end-to-end time, {model} on {SOC}{hollow(shown, SHARE)}")
        judge(paper, rows)


def shares(model: str, engine: str, workload: Prompt) -> dict[str, Any]:
    """Return times and shares of one workload."""
    name, prompt, output, _ = workload
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
    spans, published = [], f"published_{SHARE}"
    for processor in dict.fromkeys(ENGINES.values()):
        own = [row for row in rows if row["processor"] == processor]
        spans.append(f"{100 * min(row[SHARE] for row in own):.1f} to {100 * max(row[SHARE] for row in own):.1f} % on the {processor}")
        known = [row for row in own if row[published] is not None]
        if known:
            said, simulated = (sum(row[column] for row in known) / len(known) for column in (published, SHARE))
            what = f"share of prefill on the {processor}, mean of {counted(len(known), 'run')}"
            paper.claim(what, said, simulated, "", **origin(known))
    minor = Counter(row["workload"] for row in rows if row[SHARE] <= 0.5)
    less = ", ".join(f"{workload} {count}" for workload, count in minor.items())
    paper.conclude(
        f"Of end-to-end time, prefill is {', '.join(spans)}. It is more than half in {len(rows) - minor.total()} of {len(rows)} runs"
        f"{f' (not in: {less})' if less else ''}. {errors_sentence(rows, 'shares', ('engine', 'model', 'workload'))}"
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
