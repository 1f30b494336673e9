"""How fast is prefill, by engine, model, prompt length and phone? (Xu et al. 2025, Fig 14)

Every engine that the paper measures prefills every model on both phones. Published speeds stand beside the simulated ones where
there are any; most combinations were never measured, and are predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import socsim
from socsim.experiments import FORMATS, Publication, advantages, beside_published, counted, errors_sentence, hollow
from socsim.experiments.grid import ENGINES, MODELS, OURS, PHONES, PROMPTS
from socsim.plots import bars

SPEED = "prefill_tokens_per_s"


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all prefills, or in short those of two models on one phone, and publish speeds and speed-ups."""
    socs, models = (PHONES[:1], MODELS[:2]) if quick else (PHONES, MODELS)
    with Publication(out, __file__, quick=quick, formats=formats, socs=socs, models=models, engines=ENGINES, prompts=PROMPTS) as paper:
        runs = [row for soc in socs for model in models for row in prefills(soc, model)]
        rows = beside_published(runs, SPEED, SPEED, place="Fig 14")
        paper.table("prefill_speed", rows, "Prefill speed, simulated and published")
        for soc in socs:
            shown = [row for row in rows if row["soc"] == soc]
            figure = bars(
                shown, x="prompt_tokens", y=SPEED, series="engine", panel="model", published=f"published_{SPEED}", log=True, share_y=True,
                x_label="prompt (tokens)", y_label="prefill (tokens/s)",
            )  # fmt: skip
            paper.figure(f"prefill_speed_{soc}", figure, f"Prefill speed on {soc}{hollow(shown, SPEED)}")
        speed_ups = advantages(rows, SPEED, of=OURS, by=("soc", "prompt_tokens"))
        paper.table("speed_ups", speed_ups, f"Geometric mean of how many times as fast as an engine {OURS} is")
        judge(paper, rows, speed_ups)


def prefills(soc: str, model: str) -> list[dict[str, Any]]:
    """Return the prefill speed of all engines and prompt lengths; PowerInfer-2 was published for 7-billion models only, but runs all."""
    rows = []
    for engine in ENGINES:
        for prompt in PROMPTS:
            record = socsim.run(soc, model, engine, prompt_tokens=prompt).record
            rows.append({"soc": soc, "model": model, "engine": engine, "prompt_tokens": prompt, SPEED: record[SPEED]})
    return rows


def judge(paper: Publication, rows: Sequence[dict[str, Any]], speed_ups: Sequence[dict[str, Any]]) -> None:
    """Compare what the paper claims of speeds with the simulation, on the runs that were published."""
    published = f"published_{SPEED}"
    known = [row for row in rows if row["engine"] == OURS and row[published] is not None]
    fastest = max(known, key=lambda row: row[published], default=None)
    if fastest:
        what = f"fastest prefill of {OURS} ({fastest['model']}, {fastest['prompt_tokens']:,} tokens, {fastest['soc']})"
        paper.claim(what, fastest[published], fastest[SPEED], "tokens/s", fastest["source"], fitted=fastest["fitted"])
    for row in advantages(rows, SPEED, of=OURS):
        what = f"prefill of {OURS} over {row['engine']}, geometric mean of {counted(row['published_runs'], 'run')}"
        paper.claim(what, row["published_speed_up"], row["speed_up_of_published_runs"], "x", row["source"], fitted=row["fitted"])
    span = sorted(row["speed_up"] for row in speed_ups)
    paper.conclude(
        f"{OURS} prefills {span[0]:.1f} to {span[-1]:.1f} times as fast as the other engines, by phone, engine and prompt length. "
        f"{errors_sentence(rows, 'speeds', ('engine', 'model', 'prompt_tokens', 'soc'))}"
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
