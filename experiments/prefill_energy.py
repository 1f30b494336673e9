"""How much energy does prefill take, by engine, model and prompt length? (Xu et al. 2025, Fig 15)

On the phone of the published figure, with both of its power calibrations, which are never averaged: ``battery-rail`` was fitted to the
published energies, ``whole-device`` rests on measurements by others. Energy over time to first token is the mean power; a published
one is derived where both energy (Fig 15) and speed (Fig 14) of a run were published.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import socsim
from socsim.experiments import FORMATS, Publication, advantages, beside_published, errors_sentence, hollow, published_values
from socsim.experiments.grid import CALIBRATIONS, ENGINES, MODELS, OURS, PHONES, PROMPTS
from socsim.experiments.published import run_key
from socsim.plots import bars

SOC = PHONES[1]
ENERGY, POWER = "prefill_energy_j", "prefill_power_w"
POWER_MODEL = MODELS[0]
"""The model of which energies and speeds of most engines were published."""


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all prefills under both calibrations, or in short those of two models, and publish energies, savings and power."""
    models = MODELS[: 2 if quick else None]
    grid: dict[str, Any] = {"soc": SOC, "models": models, "engines": ENGINES, "prompts": PROMPTS, "calibrations": CALIBRATIONS}
    with Publication(out, __file__, quick=quick, formats=formats, **grid) as paper:
        runs = [run for calibration in CALIBRATIONS for model in models for run in prefills(model, calibration)]
        rows = with_power(beside_published(runs, ENERGY, ENERGY, place="Fig 15"))
        paper.table("prefill_energy", rows, f"Energy and mean power of prefill on {SOC}, simulated and published")
        draw(paper, rows)
        caption = f"Geometric mean of how many times the energy of {OURS} an engine takes"
        paper.table("energy_savings", savings(rows, ("power_calibration", "prompt_tokens")), caption)
        judge(paper, rows)


def draw(paper: Publication, rows: Sequence[dict[str, Any]]) -> None:
    """Draw the energies under each calibration, and the mean power of one model under both."""
    for calibration in CALIBRATIONS:
        shown = [row for row in rows if row["power_calibration"] == calibration]
        figure = bars(
            shown, x="prompt_tokens", y=ENERGY, series="engine", panel="model", published=f"published_{ENERGY}", log=True, share_y=True,
            x_label="prompt (tokens)", y_label="prefill energy (J)",
        )  # fmt: skip
        caption = f"Prefill energy on {SOC}, power calibration {calibration}{hollow(shown, ENERGY)}"
        paper.figure(f"prefill_energy_{calibration}", figure, caption)
    shown = [row for row in rows if row["model"] == POWER_MODEL]
    figure = bars(
        shown, x="prompt_tokens", y=POWER, series="engine", panel="power_calibration", published=f"published_{POWER}",
        x_label="prompt (tokens)", y_label="mean power (W)",
    )  # fmt: skip
    known = " energy x published speed" if hollow(shown, POWER) else ""
    paper.figure("prefill_power", figure, f"Mean power of prefill, {POWER_MODEL} on {SOC}{hollow(shown, POWER)}{known}")


def prefills(model: str, calibration: str) -> list[dict[str, Any]]:
    """Return energy and mean power of all engines and prompt lengths under one power calibration."""
    rows = []
    for engine in ENGINES:
        for prompt in PROMPTS:
            overrides = {"run.power_calibration": calibration}
            record = socsim.run(SOC, model, engine, prompt_tokens=prompt, overrides=overrides).record
            row = {"soc": SOC, "power_calibration": calibration, "model": model, "engine": engine, "prompt_tokens": prompt}
            rows.append(row | {ENERGY: record[ENERGY], POWER: record[ENERGY] / record["ttft_s"], "overrides": overrides})
    return rows


def with_power(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with the published mean power: published energy times published speed over tokens."""
    speeds, published = published_values("prefill_tokens_per_s", "Fig 14"), f"published_{ENERGY}"
    found = []
    for row in rows:
        speed = speeds.get(run_key(row["soc"], row["model"], row["engine"], row["prompt_tokens"]))
        both = speed and row[published] is not None
        found.append(row | {f"published_{POWER}": row[published] * speed.value / row["prompt_tokens"] if speed and both else None})
    return found


def judge(paper: Publication, rows: Sequence[dict[str, Any]]) -> None:
    """Compare the saving of each published run, and say how savings differ by calibration."""
    for row in savings(rows, ("power_calibration", "model", "prompt_tokens")):
        what = f"prefill energy of {row['engine']} over {OURS} ({row['model']}, {row['prompt_tokens']:,} tokens)"
        paper.claim(what, row["published_saving"], row["saving_of_published_runs"], "x", row["source"], fitted=row["fitted"])
    for calibration in CALIBRATIONS:
        own = [row for row in rows if row["power_calibration"] == calibration]
        span = sorted(row["saving"] for row in savings(own))
        runs = savings(own, ("model", "prompt_tokens"))
        paper.conclude(
            f"Under {calibration} an engine takes {span[0]:.1f} to {span[-1]:.1f} times the prefill energy of {OURS} (geometric mean over "
            f"models and prompts), and less than it in {sum(row['saving'] < 1.0 for row in runs)} of {len(runs)} runs."
        )
    paper.conclude(errors_sentence(rows, "energies"))
    known = [row for row in rows if row[f"published_{POWER}"] is not None]
    if known:
        paper.conclude(power_sentence(rows, known))


def savings(rows: Sequence[dict[str, Any]], by: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return how many times the energy of the paper's engine each other one takes."""
    return advantages(rows, ENERGY, of=OURS, by=by, less_is_better=True, name="saving")


def power_sentence(rows: Sequence[dict[str, Any]], known: Sequence[dict[str, Any]]) -> str:
    """Say between which mean powers the published runs of each engine lie, and how far apart; and the simulated ones of the same runs."""
    parts, ratios = [], []
    for engine in dict.fromkeys(row["engine"] for row in known):
        said = [row[f"published_{POWER}"] for row in known if row["engine"] == engine]
        ratios.append(max(said) / min(said))
        runs = {(row["model"], row["prompt_tokens"]) for row in known if row["engine"] == engine}
        same = [row for row in rows if row["engine"] == engine and (row["model"], row["prompt_tokens"]) in runs]
        simulated = [f"{each} {watts([row[POWER] for row in same if row['power_calibration'] == each])}" for each in CALIBRATIONS]
        parts.append(f"{engine} {watts(said)} (simulated: {', '.join(simulated)})")
    lengths = sorted({row["prompt_tokens"] for row in known})
    return (
        f"Published energy over published time, {lengths[0]:,} to {lengths[-1]:,} tokens: {'; '.join(parts)}. Published ones of an engine "
        f"are at most {100 * (max(ratios) - 1):.1f} % apart."
    )


def watts(values: Sequence[float]) -> str:
    """Return the range of some powers."""
    low, high = (f"{each:.2f}" for each in (min(values), max(values)))
    return f"{low} W" if low == high else f"{low} to {high} W"


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
