"""What does each technique bring, from a naive NPU engine to llm.npu? (Xu et al. 2025, Fig 19)

Four engines, each with one more technique: a graph rebuilt for each prompt with per-group linears, prebuilt chunk-sharing graphs,
per-tensor linears with shadow outliers, out-of-order issue. Where the time to first token goes is read off the critical path: what each
processor did on it, or while it waited for that processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import socsim
from socsim.bottlenecks import IDLE, Explanation, explain
from socsim.experiments import FORMATS, Publication, beside_published, errors_sentence, geometric_mean, hollow, origin
from socsim.experiments.grid import MODELS, OURS, PHONES
from socsim.palette import FAMILIES, Look
from socsim.plots import bars, stacked_bars

SOC = PHONES[0]
EXPLAINED, EXPLAINED_PROMPTS = ("qwen1.5-1.8b", "gemma-2b", "llama-2-7b"), (256, 1024)
"""Whose TTFT is taken apart; of other models and lengths, all."""
STEPS = {
    "npu-naive": "naive",
    "npu-chunk": "prebuilt chunk-sharing graphs",
    "npu-chunk-outlier": "per-tensor linears with shadow outliers",
    OURS: "out-of-order issue",
}
"""Engines with what each adds to the one before."""
BEFORE = {engine: before for before, engine in pairwise(STEPS)}
"""The engine before each, but the first."""
FIRST, CHUNKED = list(STEPS)[:2]
PROMPTS = (64, 256, 512, 1024)
SPEED, PLACE = "prefill_tokens_per_s", "Fig 19"
PARTS = {
    "preparation": "graph preparation",
    "npu_work": "NPU work",
    "cpu_attention": "attention on CPU",
    "cpu_outliers": "outliers on CPU",
    "other_cpu_work": "other CPU work",
    "synchronization": "synchronization",
    "held_back": "held back by policy",
}
"""Parts of the TTFT with their names in the legend, the lowest first."""
LOOKS = {
    "preparation": Look("#999999", ""),
    "npu_work": Look(FAMILIES["qkv"].color, ""),
    "cpu_attention": Look(FAMILIES["attention"].color, "", "////"),
    "cpu_outliers": Look(FAMILIES["shadow"].color, ""),
    "other_cpu_work": Look(FAMILIES["norm"].color, "", "...."),
    "synchronization": Look("#000000", ""),
    "held_back": Look(FAMILIES["idle"].color, ""),
}
"""Colors of parts, where there is one that of the stages in Gantt charts."""
Row = dict[str, Any]
Run = tuple[str, int, str]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all steps, or in short those of two models at two prompt lengths, and publish speeds and parts of the TTFT."""
    models, prompts = (MODELS[:2], EXPLAINED_PROMPTS) if quick else (MODELS, PROMPTS)
    with Publication(out, __file__, quick=quick, formats=formats, soc=SOC, models=models, engines=tuple(STEPS), prompts=prompts) as paper:
        results = {
            (model, prompt, engine): socsim.run(SOC, model, engine, prompt_tokens=prompt)
            for model in models
            for prompt in prompts
            for engine in STEPS
        }
        rows = beside_published(speeds(results), SPEED, SPEED, place=PLACE)
        paper.table("ablation", rows, f"Prefill on {SOC} as techniques are added, and how many times as fast each step makes it")
        figure = bars(
            rows, x="prompt_tokens", y=SPEED, series="engine", panel="model", published=f"published_{SPEED}", log=True, share_y=True,
            x_label="prompt (tokens)", y_label="prefill (tokens/s)",
        )  # fmt: skip
        paper.figure("ablation", figure, f"Prefill speed on {SOC} as techniques are added{hollow(rows, SPEED)}")
        explained = [model for model in models if model in EXPLAINED] or models
        lengths = [prompt for prompt in prompts if prompt in EXPLAINED_PROMPTS] or prompts
        parts = [where(*run, result) for run, result in results.items() if run[0] in explained and run[1] in lengths]
        paper.table("ttft_parts", parts, "Where the TTFT goes: preparation, and what processors do on the critical path or while it waits")
        seen = {part: name for part, name in PARTS.items() if any(row[f"{part}_s"] for row in parts)}
        figure = stacked_bars(
            [shares(row) for row in parts], x="label", parts=seen, panel="panel", y_label="share of TTFT (%)", across=2, height_in=1.7,
            colors={part: LOOKS[part] for part in seen},
        )  # fmt: skip
        paper.figure("ttft_parts", figure, "Where the TTFT goes; below each bar, engine and TTFT")
        judge(paper, rows)
        conclude(paper, rows)


def speeds(results: Mapping[Run, socsim.Result]) -> list[Row]:
    """Return TTFT and prefill speed of every step, and how many times as fast it is as the one before, and as the first."""
    rows = []
    for (model, prompt, engine), result in results.items():
        row = {"soc": SOC, "model": model, "engine": engine, "prompt_tokens": prompt}
        row |= {name: result.record[name] for name in ("ttft_s", "preparation_in_ttft_s", SPEED)}
        before = results[model, prompt, BEFORE[engine]].record[SPEED] if engine in BEFORE else None
        row["step_speed_up"] = before and row[SPEED] / before
        rows.append(row | {"speed_up": row[SPEED] / results[model, prompt, FIRST].record[SPEED]})
    return rows


def where(model: str, prompt: int, engine: str, result: socsim.Result) -> Row:
    """Return the parts of a TTFT in seconds."""
    row = {"model": model, "prompt_tokens": prompt, "engine": engine, "ttft_s": result.record["ttft_s"]}
    seconds = {"preparation": result.case.preparation.charged_s} | parts_s(explain(result))
    return row | {f"{part}_s": seconds[part] for part in PARTS}


def parts_s(found: Explanation) -> dict[str, float]:
    """Return the makespan by part: the critical path's own time, and what it queued behind."""
    seconds = dict.fromkeys(list(PARTS)[1:], 0.0)
    for row in (*(row for row in found.path if row.part != "waiting"), *found.waited_behind):
        seconds[part_of(row.processor, row.stage, row.part)] += row.seconds
    return seconds


def part_of(processor: str, stage: str, part: str) -> str:
    """Return to which of `PARTS` a row of an explanation belongs."""
    if part == "synchronization" or stage == IDLE:
        return "synchronization" if part == "synchronization" else "held_back"
    if processor == "npu":
        return "npu_work"
    if stage.startswith(("shadow", "merge")):
        return "cpu_outliers"
    return "cpu_attention" if stage == "attention" else "other_cpu_work"


def shares(row: Row) -> Row:
    """Return the parts of a TTFT in percent, with what stands below the bar and above the panel."""
    label = f"{row['engine']} {row['ttft_s']:.2f} s"
    panel = f"{row['model']}, {row['prompt_tokens']:,} tokens"
    return {"label": label, "panel": panel} | {part: 100.0 * row[f"{part}_s"] / row["ttft_s"] for part in PARTS}


def judge(paper: Publication, rows: Sequence[Row]) -> None:
    """Compare the steps that lead to llm-npu, and what each brings where both were published in the same place."""
    known = {(row["model"], row["prompt_tokens"], row["engine"]): row for row in rows if row[f"published_{SPEED}"] is not None}
    for (model, prompt, engine), row in known.items():
        run, published = f"{model}, {prompt:,} tokens", row[f"published_{SPEED}"]
        if engine != OURS:  # whose speed is a claim of another experiment
            paper.claim(f"prefill of {engine}, {run}", published, row[SPEED], "tokens/s", row["source"], fitted=row["fitted"])
        before = known.get((model, prompt, BEFORE.get(engine, "")))
        if before and before["source"] == row["source"]:
            gain = published / before[f"published_{SPEED}"]
            paper.claim(f"gain by {STEPS[engine]}, {run}", gain, row["step_speed_up"], "x", **origin([before, row]))


def conclude(paper: Publication, rows: Sequence[Row]) -> None:
    """Say what each step brings, where one makes a prefill slower, and how far published speeds are off."""
    gains = {engine: sorted(row["step_speed_up"] for row in rows if row["engine"] == engine) for engine in BEFORE}
    told = [f"{STEPS[engine]} {geometric_mean(own):.2f} ({own[0]:.2f} to {own[-1]:.2f})" for engine, own in gains.items()]
    whole = sorted(row["speed_up"] for row in rows if row["engine"] == OURS)
    paper.conclude(f"Times as fast, in the geometric mean: {', '.join(told)}; all together {whole[0]:.1f} to {whole[-1]:.1f}.")
    prompts = sorted({row["prompt_tokens"] for row in rows})
    few, many = (
        geometric_mean(row["step_speed_up"] for row in rows if (row["engine"], row["prompt_tokens"]) == (CHUNKED, prompt))
        for prompt in (prompts[0], prompts[-1])
    )
    paper.conclude(
        f"Prebuilt graphs make prefill {few:.1f} times as fast at {prompts[0]:,} tokens and {many:.1f} times at {prompts[-1]:,}: they "
        f"save the preparation, but every chunk pays the fixed time of each group's product, which a graph of the whole prompt pays once."
    )
    steps = [row for row in rows if row["engine"] in BEFORE]
    if slower := [row for row in steps if row["step_speed_up"] < 1.0]:
        worst = min(slower, key=lambda row: row["step_speed_up"])
        most = f"{STEPS[worst['engine']]} for {worst['model']} at {worst['prompt_tokens']:,} tokens"
        paper.conclude(
            f"Slower by a step: {len(slower)} of {len(steps)} prefills, most by {most}, {worst['step_speed_up']:.3f} times as fast."
        )
    paper.conclude(errors_sentence([row for row in rows if row["engine"] != OURS], f"speeds of the steps before {OURS}"))


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
