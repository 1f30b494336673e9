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
from socsim.experiments import FORMATS, Publication, advantages, beside_published, geometric_mean
from socsim.experiments.grid import ENGINES, MODELS, OURS, Workload, load_workloads
from socsim.plots import bars

SOC, SOURCE = "snapdragon-8-gen-3", "Xu et al. 2025, Table 5"
TTFT, DECODE, E2E = "ttft_s", "decode_s", "e2e_s"
METRICS = {TTFT: "time to first token", DECODE: "decode time", E2E: "end-to-end time"}


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all workloads, or in short those of two models, and publish times and speed-ups."""
    models, workloads = MODELS[: 2 if quick else None], load_workloads()
    grid: dict[str, Any] = {"soc": SOC, "models": models, "engines": ENGINES, "workloads": {each.name: each[1:] for each in workloads}}
    with Publication(out, __file__, quick=quick, formats=formats, **grid) as paper:
        rows = [times(model, engine, each) for model in models for each in workloads for engine in ENGINES]
        paper.table("end_to_end", rows, f"Simulated times on {SOC}")
        beside = {metric: beside_published(rows, metric, metric) for metric in METRICS}
        paper.table("published_times", compared(beside), "All published times of these runs, beside the simulated ones")
        draw(paper, beside)
        speed_ups = advantages(beside[E2E], E2E, of=OURS, by=("workload",), less_is_better=True)
        paper.table("speed_ups", speed_ups, f"Geometric mean over models of how many times the end-to-end time of {OURS} an engine takes")
        judge(paper, beside)


def times(model: str, engine: str, workload: Workload) -> dict[str, Any]:
    """Return the times of one workload."""
    name, prompt, output = workload
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
                found.append(run | {"time": METRICS[metric]} | time | {"source": row["source"]})
    return found


def draw(paper: Publication, beside: dict[str, list[dict[str, Any]]]) -> None:
    """Draw end-to-end times of all workloads, and the decode times of the one with the longest answers."""
    figure = bars(
        beside[E2E], x="model", y=E2E, series="engine", panel="workload", published=f"published_{E2E}", log=True, share_y=True,
        y_label="end-to-end time (s)", across=2,
    )  # fmt: skip
    paper.figure("end_to_end", figure, f"End-to-end time on {SOC}; hollow: published")
    longest = max(beside[DECODE], key=lambda row: row["output_tokens"])
    shown = [row for row in beside[DECODE] if row["workload"] == longest["workload"]]
    figure = bars(shown, x="model", y=DECODE, series="engine", published=f"published_{DECODE}", log=True, y_label="decode time (s)")
    caption = f"Time of {longest['output_tokens'] - 1} decode steps ({longest['workload']}) on {SOC}; hollow: published"
    paper.figure("decode", figure, caption)


def judge(paper: Publication, beside: dict[str, list[dict[str, Any]]]) -> None:
    """Compare times and speed-ups with the published ones on the same runs, and say over which engines llm-npu is ahead."""
    for metric, name in METRICS.items():
        known = [row for row in beside[metric] if row[f"published_{metric}"] is not None]
        for engine in dict.fromkeys(row["engine"] for row in known):
            own = [row for row in known if row["engine"] == engine]
            said, simulated = (geometric_mean(row[column] for row in own) for column in (f"published_{metric}", metric))
            runs = f"geometric mean of {len(own)} runs" if len(own) > 1 else f"{own[0]['model']}, {own[0]['workload']}"
            paper.claim(f"{name} of {engine} ({runs})", said, simulated or 0.0, "s", SOURCE, fitted=metric == "decode_s")
    for row in advantages(beside[E2E], E2E, of=OURS, less_is_better=True):
        what = f"{METRICS[E2E]} of {row['engine']} over {OURS}, geometric mean of {row['published_runs']} runs"
        paper.claim(what, row["published_speed_up"], row["speed_up_of_published_runs"], "x", SOURCE)
    overall = [f"{row['engine']} {row['speed_up']:.1f}" for row in advantages(beside[E2E], E2E, of=OURS, less_is_better=True)]
    each = advantages(beside[E2E], E2E, of=OURS, by=("model", "workload"), less_is_better=True)
    behind = Counter(row["engine"] for row in each if row["speed_up"] < 1.0)
    longest = max(load_workloads(), key=lambda workload: workload.output_tokens)
    there = sum(row["speed_up"] < 1.0 for row in each if row["workload"] == longest.name)
    engines = ", ".join(f"{engine} {times}" for engine, times in behind.items())
    paper.conclude(
        f"Time from prompt to last token over that of {OURS}, geometric mean over models and workloads: {', '.join(overall)}. {OURS} is "
        f"the slower one in {sum(behind.values())} of {len(each)} comparisons ({engines}), {there} of them in {longest.name}, with its "
        f"{longest.output_tokens - 1} decode steps."
    )
    rows = compared(beside)
    if rows:
        worst = max(rows, key=lambda row: abs(row["error_percent"]))
        mean = sum(abs(row["error_percent"]) for row in rows) / len(rows)
        kinds = " and ".join(dict.fromkeys(row["time"] for row in rows))
        paper.conclude(
            f"Published are {len(rows)} of these times ({kinds}): the simulation is off by {mean:.1f} % on average and by "
            f"{worst['error_percent']:+.1f} % at worst ({worst['engine']}, {worst['model']})."
        )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
