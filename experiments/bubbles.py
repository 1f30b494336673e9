"""How much do processors idle under naive overlap, and under out-of-order issue? (Xu et al. 2025, Fig 13)

The same prefill of llm-npu under naive overlap (``in-order``), under the paper's rule with both ways to break ties, and under ``fifo``.
A bubble is time in which a processor idles between its first and its last subgraph of the prefill.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import socsim
from socsim.experiments import FORMATS, Publication, beside_published, errors_sentence, geometric_mean, hollow
from socsim.experiments.grid import MODELS, OURS, PHONES
from socsim.experiments.published import without
from socsim.experiments.words import span
from socsim.plots import bars, gantt

SOC = PHONES[0]
SCHEDULERS = ("in-order", "out-of-order", "out-of-order-earliest-position", "fifo")
NAIVE, RULE = SCHEDULERS[0], SCHEDULERS[1:3]
"""Naive overlap, and the rule of the paper with both ways to break ties."""
PROMPTS = (512, 1024, 2048)
DRAWN = ("qwen1.5-1.8b", 1024)
"""Model and prompt length of the Gantt chart."""
WINDOW = (0.4, 0.52)
"""Part of the makespan under naive overlap that is drawn: in the middle, short enough for bars that can be told apart."""
BUBBLES, PLACE = "npu_bubble_rate", "Fig 13"
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all prefills, or in short two lengths of two models, and publish a Gantt chart and bubble rates."""
    models, prompts = (MODELS[:2], PROMPTS[:2]) if quick else (MODELS, PROMPTS)
    with Publication(
        out, __file__, quick=quick, formats=formats, soc=SOC, engine=OURS, models=models, schedulers=SCHEDULERS, prompts=prompts
    ) as paper:
        runs = [row for model in models for prompt in prompts for row in prefills(model, prompt)]
        rows = beside_published(runs, BUBBLES, BUBBLES, place=PLACE)
        caption = f"TTFT and bubble rates of {OURS} on {SOC} by scheduler; {NAIVE} is naive overlap"
        paper.table("bubbles", without(rows, "soc", "engine"), caption)
        timelines = [run(*DRAWN, scheduler).timeline for scheduler in SCHEDULERS]
        makespan_s = float(timelines[0].end_ns.max()) / 1e9
        figure = gantt(
            timelines, titles=[f"{NAIVE} (naive overlap)", *SCHEDULERS[1:]], window_s=(WINDOW[0] * makespan_s, WINDOW[1] * makespan_s)
        )
        paper.figure("gantt", figure, f"Middle of the prefill of {DRAWN[0]}, {DRAWN[1]:,} tokens, by scheduler; numbers are chunks")
        figure = bars(
            by_processor(rows), x="model", y="bubble_percent", series="scheduler", panel="panel", published="published_bubble_percent",
            share_y=True, across=len(prompts), y_label="bubble rate (%)",
        )  # fmt: skip
        paper.figure("bubble_rates", figure, f"Bubble rate of each processor by scheduler{hollow(rows, BUBBLES)}")
        judge(paper, rows)


def run(model: str, prompt: int, scheduler: str) -> socsim.Result:
    """Simulate a prefill under a scheduler."""
    return socsim.run(SOC, model, OURS, prompt_tokens=prompt, overrides=settings(scheduler))


def settings(scheduler: str) -> dict[str, Any]:
    """Return what published rows of a scheduler have as settings; the engine's own need not be among them."""
    return {"engine.scheduler": scheduler}


def prefills(model: str, prompt: int) -> list[Row]:
    """Return TTFT and bubble rates of a prefill under each scheduler, and how many times as fast it is as under naive overlap."""
    records = {scheduler: run(model, prompt, scheduler).record for scheduler in SCHEDULERS}
    return [
        {
            "soc": SOC,
            "model": model,
            "engine": OURS,
            "prompt_tokens": prompt,
            "scheduler": scheduler,
            "ttft_s": record["ttft_s"],
            "speed_up": records[NAIVE]["ttft_s"] / record["ttft_s"],
            BUBBLES: record[BUBBLES],
            "cpu_bubble_rate": record["cpu_bubble_rate"],
            "overrides": settings(scheduler),
        }
        for scheduler, record in records.items()
    ]


def by_processor(rows: Sequence[Row]) -> list[Row]:
    """Return a row for each processor: its bubble rate in percent, and for the NPU what was published."""
    found = []
    for processor in ("npu", "cpu"):
        for row in rows:
            known = row[f"published_{BUBBLES}"] if processor == "npu" else None
            panel = f"{processor.upper()}, {row['prompt_tokens']:,} tokens"
            rates = {"bubble_percent": 100.0 * row[f"{processor}_bubble_rate"], "published_bubble_percent": known and 100.0 * known}
            found.append({"panel": panel, "model": row["model"], "scheduler": row["scheduler"], **rates})
    return found


def judge(paper: Publication, rows: Sequence[Row]) -> None:
    """Compare with published bubble rates, and say what out-of-order issue brings over naive overlap."""
    for row in rows:
        if known := row[f"published_{BUBBLES}"]:
            what = f"NPU bubble rate under {row['scheduler']}, {row['model']}, {row['prompt_tokens']:,} tokens"
            paper.claim(what, 100.0 * known, 100.0 * row[BUBBLES], "%", row["source"], fitted=row["fitted"])
    by_name = {name: [row for row in rows if row["scheduler"] == name] for name in SCHEDULERS}
    means = ", ".join(f"{name} {100.0 * fmean(row[BUBBLES] for row in mine):.0f} %" for name, mine in by_name.items())
    errors = errors_sentence(rows, "bubble rates", ("scheduler", "model", "prompt_tokens"))
    paper.conclude(f"The NPU's bubble rate, in the mean over {len(by_name[NAIVE])} prefills, is: {means}. {errors}")
    speeds = {name: geometric_mean(row["speed_up"] for row in mine) or 0.0 for name, mine in by_name.items()}
    parts = [f"{name} {speeds[name]:.3f} ({told(by_name[name])})" for name in SCHEDULERS[1:]]
    best = max(speeds, key=lambda name: speeds[name])
    ties = max(abs(other["ttft_s"] / one["ttft_s"] - 1.0) for one, other in zip(*(by_name[name] for name in RULE), strict=True))
    winner = "the rule of the paper is best" if best in RULE else f"{best} beats the rule of the paper"
    paper.conclude(
        f"Times as fast as under naive overlap, in the geometric mean: {'; '.join(parts)}. Here {winner}, and how that rule breaks ties "
        f"changes a TTFT by up to {100.0 * ties:.1f} %."
    )


def told(rows: Sequence[Row]) -> str:
    """Return the range of speed-ups over naive overlap, and how many are none."""
    gains = [row["speed_up"] for row in rows]
    return f"{span(gains, 3)}, slower in {sum(gain < 1.0 for gain in gains)} of {len(gains)}"


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
