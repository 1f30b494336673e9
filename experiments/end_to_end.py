"""How long do five workloads take from prompt to last token, by engine and model? (Xu et al. 2025, Table 5)

A workload is one prompt and one answer of the middle of its published lengths, halves rounded down, as ``traces/README.md`` does for
Persona-Chat (536 and 46 tokens). The prefill makes the first token, decode the others. Rows in ``traces/`` of the metrics ``ttft_s``,
``decode_s`` and ``e2e_s`` stand beside what is simulated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import socsim
from socsim.experiments import FORMATS, Publication, advantages, beside_published, counted, errors_sentence, geometric_mean, hollow, origin
from socsim.experiments.grid import ENGINES, MODELS, OURS, PHONES
from socsim.experiments.published import measured_models
from socsim.plots import bars
from socsim.prompts import Prompt, load_prompts

SOC = PHONES[0]
TTFT, DECODE, E2E = "ttft_s", "decode_s", "e2e_s"
METRICS = {TTFT: "time to first token", DECODE: "decode time", E2E: "end-to-end time"}


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all workloads, or in short those of two models, and publish times and speed-ups."""
    models, workloads = MODELS[: 2 if quick else None], load_prompts()
    grid: dict[str, Any] = {"soc": SOC, "models": models, "engines": ENGINES, "workloads": {each.name: each[1:3] for each in workloads}}
    with Publication(out, __file__, quick=quick, formats=formats, **grid) as paper:
        rows = [times(model, engine, each) for model in models for each in workloads for engine in ENGINES]
        paper.table("end_to_end", rows, f"Simulated times on {SOC}")
        beside = {metric: beside_published(rows, metric, metric, place="Table 5") for metric in METRICS}
        paper.table("published_times", compared(beside), "All published times of these runs, beside the simulated ones")
        draw(paper, beside)
        caption = f"Geometric mean over models of how many times the end-to-end time of {OURS} an engine takes"
        paper.table("speed_ups", ahead(beside[E2E], ("workload",)), caption)
        judge(paper, beside)
        conclude(paper, beside)


def times(model: str, engine: str, workload: Prompt) -> dict[str, Any]:
    """Return the times of one workload."""
    name, prompt, output, _ = workload
    record = socsim.run(SOC, model, engine, prompt_tokens=prompt, output_tokens=output).record
    row = {"soc": SOC, "workload": name, "prompt_tokens": prompt, "output_tokens": output, "model": model, "engine": engine}
    return row | {TTFT: record[TTFT], DECODE: record[E2E] - record[TTFT], E2E: record[E2E]}


def compared(beside: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return a row for each published time."""
    found = []
    for metric, rows in beside.items():
        for row in rows:
            if row[f"published_{metric}"] is not None:
                run = {column: row[column] for column in ("soc", "workload", "model", "engine")}
                time = {"simulated_s": row[metric], "published_s": row[f"published_{metric}"], "error_percent": row["error_percent"]}
                found.append(run | {"time": METRICS[metric]} | time | {name: row[name] for name in ("source", "fitted")})
    return found


def draw(paper: Publication, beside: dict[str, list[dict[str, Any]]]) -> None:
    """Draw end-to-end times of all workloads, and the decode times of the one with the longest answers."""
    figure = bars(
        beside[E2E], x="model", y=E2E, series="engine", panel="workload", published=f"published_{E2E}", log=True, share_y=True,
        y_label="end-to-end time (s)", across=2,
    )  # fmt: skip
    paper.figure("end_to_end", figure, f"End-to-end time on {SOC}{hollow(beside[E2E], E2E)}")
    longest = max(beside[DECODE], key=lambda row: row["output_tokens"])
    shown = [row for row in beside[DECODE] if row["workload"] == longest["workload"]]
    figure = bars(shown, x="model", y=DECODE, series="engine", published=f"published_{DECODE}", log=True, y_label="decode time (s)")
    caption = f"Time of {longest['output_tokens'] - 1} decode steps ({longest['workload']}) on {SOC}{hollow(shown, DECODE)}"
    paper.figure("decode", figure, caption)


def judge(paper: Publication, beside: dict[str, list[dict[str, Any]]]) -> None:
    """Compare times and speed-ups with the published ones on the same runs."""
    for metric, name in METRICS.items():
        known = [row for row in beside[metric] if row[f"published_{metric}"] is not None]
        for engine in dict.fromkeys(row["engine"] for row in known):
            own = [row for row in known if row["engine"] == engine]
            said, simulated = (geometric_mean(row[column] for row in own) for column in (f"published_{metric}", metric))
            runs = f"geometric mean of {len(own)} runs" if len(own) > 1 else f"{own[0]['model']}, {own[0]['workload']}"
            paper.claim(f"{name} of {engine} ({runs})", said, simulated or 0.0, "s", **origin(own))
    for row in ahead(beside[E2E]):
        what = f"{METRICS[E2E]} of {row['engine']} over {OURS}, geometric mean of {counted(row['published_runs'], 'run')}"
        paper.claim(what, row["published_speed_up"], row["speed_up_of_published_runs"], "x", row["source"], fitted=row["fitted"])


def conclude(paper: Publication, beside: dict[str, list[dict[str, Any]]]) -> None:
    """Say how far llm-npu is ahead of each engine, where it is not, and how far times are from the published ones."""
    overall = ", ".join(f"{row['engine']} {row['speed_up']:.1f}" for row in ahead(beside[E2E]))
    each = ahead(beside[E2E], ("model", "workload"))
    behind = [row for row in each if row["speed_up"] < 1.0]
    against = [", ".join(f"{name} {count}" for name, count in Counter(row[by] for row in behind).items()) for by in ("engine", "workload")]
    paper.conclude(
        f"Time from prompt to last token over that of {OURS}, geometric mean over models and workloads: {overall}. {OURS} is slower in "
        f"{len(behind)} of {len(each)} comparisons{f' (by engine: {against[0]}; by workload: {against[1]})' if behind else ''}. "
        f"{errors_sentence(compared(beside), 'times', ('time', 'engine', 'model', 'workload'))}"
    )
    known = {engine: measured_models(engine) for engine in dict.fromkeys(row["engine"] for row in behind)}
    if few := [f"{engine} with {' and '.join(models)}" for engine, models in known.items() if models]:
        paper.conclude(f"Engines that are ahead somewhere were measured {', '.join(few)} only; on other models they are extrapolated.")


def ahead(rows: Sequence[dict[str, Any]], by: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return how many times the end-to-end time of the paper's engine each other one takes."""
    return advantages(rows, E2E, of=OURS, by=by, less_is_better=True)


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
