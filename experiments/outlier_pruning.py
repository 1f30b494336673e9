"""What does pruning of shadow outliers bring in speed, and cost in accuracy? (Xu et al. 2025, Figs 16 and 12 right)

The speed of Qwen1.5-1.8B is simulated and stands beside the published one, which no parameter was fitted to but at the usual rate; its
accuracy was only published. Of SmolLM2-135M, accuracy and outlier counts were measured (``traces/smollm2_pruning_curve.csv``, made by
``socsim accuracy --table curve``), and the simulator takes the counts and says how fast that model is prefilled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import socsim
from socsim.experiments import FORMATS, Publication, beside_published, errors_sentence, origin
from socsim.experiments.grid import MODELS, OURS, PHONES
from socsim.experiments.real_model import met_outliers
from socsim.measurements import load_table
from socsim.plots import lines, pruning_curves
from socsim.plots.accuracy import USUAL_RATE
from socsim.plots.points import points

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOC, MODEL, REAL, PROMPT = PHONES[0], MODELS[0], "smollm2-135m", 256
ENGINES = {"shadow": OURS, "shadow-plus": "llm-npu-plus"}
"""Engine that keeps the linears which a scheme keeps."""
RATES = tuple(step / 20 for step in range(21))
QUICK_RATES = (0.0, 0.5, 0.85, 1.0)
PROMPTS = (256, 1024)
RATE, SPEED, ENERGY = "engine.outlier_pruning_rate", "prefill_tokens_per_s", "prefill_energy_j"
PLACE, FACT = "Fig 16", "sync.outlier"
NUMBERS = (
    "pruning_rate", "outlier_budget", "kl", "kl_se", "perplexity_change_percent", "top1_agreement", "outlier_channels", "fetched_channels",
)  # fmt: skip
MEASURES = ("accuracy lost, published (points)", f"likeliest tokens changed, {REAL} (%)")
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate both models by pruning rate, in short at fewer rates and for one prompt, and publish speed beside accuracy."""
    prompts = PROMPTS[:1] if quick else PROMPTS
    accuracies = published_accuracies()
    rates = sorted({*(QUICK_RATES if quick else RATES), *accuracies})
    with Publication(out, __file__, quick=quick, formats=formats, soc=SOC, models=(MODEL, REAL), rates=rates, prompts=prompts) as paper:
        rows = speeds(rates, accuracies)
        paper.table("outlier_pruning", rows, f"{MODEL} on {SOC}, {PROMPT} tokens: simulated, beside published speed and accuracy")
        figure = lines(
            rows, x="pruned_percent", y=SPEED, series="engine", published=f"published_{SPEED}",
            x_label="linears pruned (%)", y_label="prefill (tokens/s)", columns=1,
        )  # fmt: skip
        paper.figure("outlier_pruning", figure, f"Prefill speed by pruning rate, {MODEL}, {PROMPT} tokens; hollow: published")
        if accuracies:
            about = f"Accuracy as published against speed, {MODEL}; labels: linears pruned"
            paper.figure("accuracy_by_speed", accuracy_figure(rows), about)
        measured = real_rows()
        found = {f"{REAL}, {prompt:,} tokens": [real_speed(row, prompt) for row in measured] for prompt in prompts}
        table = real_table(measured, found)
        paper.table("real_model", table, f"{REAL} on {SOC}: measured accuracy, and simulated speed with the outliers that were met")
        paper.figure("real_model", pruning_curves(measured, found), f"{REAL}: measured divergence, and simulated speed against it")
        # In the order of their names, schemes have the colors that they have in the figure above.
        loss = published_losses() + sorted(real_losses(measured), key=lambda row: row["series"])
        paper.table("losses", loss, f"Loss by share of linears pruned: accuracy, as published, and likeliest tokens that change, {REAL}")
        paper.figure(
            "losses", loss_figure(loss), f"Loss by linears pruned: of accuracy, as published; likeliest tokens that change in {REAL}"
        )
        judge(paper, rows)
        judge_real(paper, measured, found)


def published_accuracies() -> dict[float, float]:
    """Return the published accuracy (%) by pruning rate."""
    table = load_table("llm_npu_fig16_accuracy")
    rows = [row for row in table if (row["soc"], row["model"]) == (SOC, MODEL)]
    return {round(float(row["outlier_pruning_percent"]) / 100.0, 6): float(row["hellaswag_accuracy_percent"]) for row in rows}


def speeds(rates: Sequence[float], accuracies: Mapping[float, float]) -> list[Row]:
    """Return the simulated prefill by pruning rate, with what was published of the same rates."""
    rows = []
    for rate in rates:
        record = socsim.run(SOC, MODEL, OURS, prompt_tokens=PROMPT, overrides={RATE: rate}).record
        row = {"soc": SOC, "model": MODEL, "engine": OURS, "prompt_tokens": PROMPT, "pruned_percent": 100.0 * rate}
        row |= {SPEED: record[SPEED], ENERGY: record[ENERGY], "published_hellaswag_percent": accuracies.get(rate)}
        rows.append(row | {"overrides": {RATE: rate}})
    return beside_published(rows, SPEED, SPEED, place=PLACE)


def accuracy_figure(rows: Sequence[Row]) -> Figure:
    """Return published accuracy against speed, simulated and published."""
    known = [row for row in rows if row["published_hellaswag_percent"] is not None]
    published = [row | {SPEED: row[f"published_{SPEED}"], "label": f"{row['pruned_percent']:.0f} %"} for row in known]
    return points(
        known, published=published, x=SPEED, y="published_hellaswag_percent", series="engine", label="label",
        x_label="prefill (tokens/s)", y_label="HellaSwag accuracy (%)", columns=1,
    )  # fmt: skip


def real_rows() -> list[Row]:
    """Return the measured curve of the real model, with the usual budget of outlier channels."""
    rows: list[Row] = [row | {name: float(row[name]) for name in NUMBERS} for row in load_table("smollm2_pruning_curve")]
    return [row for row in rows if row["outlier_budget"] == rows[0]["outlier_budget"]]  # the usual one; others follow


def real_speed(row: Row, prompt_tokens: int) -> float:
    """Return the simulated prefill speed in tokens/s with the outliers that were measured."""
    overrides = {RATE: row["pruning_rate"], **met_outliers(row)}
    return float(socsim.run(SOC, REAL, ENGINES[row["scheme"]], prompt_tokens=prompt_tokens, overrides=overrides).record[SPEED])


def real_table(measured: Sequence[Row], found: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return a row for each scheme and pruning rate."""
    return [
        {
            "scheme": row["scheme"],
            "weight_scales": row["weight_scales"],
            "pruned_percent": 100.0 * row["pruning_rate"],
            "kl_nats_per_token": row["kl"],
            "perplexity_change_percent": row["perplexity_change_percent"],
            "top1_agreement_percent": 100.0 * row["top1_agreement"],
            "outlier_channels": row["outlier_channels"],
            "fetched_channels": row["fetched_channels"],
        }
        | {f"{case.partition(', ')[2].replace(' ', '_')}_{SPEED}": each[place] for case, each in found.items()}
        for place, row in enumerate(measured)
    ]


def published_losses() -> list[Row]:
    """Return the published loss of accuracy by pruned linears (Fig 12 right)."""
    table = load_table("llm_npu_fig12_accuracy_loss")
    linears = {model: max(int(row["layers_pruned"]) for row in table if row["model"] == model) for model in {row["model"] for row in table}}
    return [
        {"series": f"{row['model']}, {row['benchmark']}", "pruned_percent": 100.0 * int(row["layers_pruned"]) / linears[row["model"]]}
        | {"loss_percent": float(row["accuracy_loss_percent"]), "measure": MEASURES[0], "source": "Xu et al. 2025, Fig 12"}
        for row in table
    ]


def real_losses(measured: Sequence[Row]) -> list[Row]:
    """Return the share of likeliest tokens that change by pruned linears."""
    return [
        {"series": f"{row['scheme']}, weights per {row['weight_scales']}", "pruned_percent": 100.0 * row["pruning_rate"]}
        | {"loss_percent": 100.0 * (1.0 - row["top1_agreement"]), "measure": MEASURES[1], "source": "measured"}
        for row in measured
    ]


def loss_figure(rows: Sequence[Row]) -> Figure:
    """Return both losses beside each other: they are of different models, and of different things."""
    own, published = ([row for row in rows if row["measure"] == measure] for measure in (MEASURES[1], MEASURES[0]))
    return points(
        own, published=published, x="pruned_percent", y="loss_percent", series="series", panel="measure", across=2,
        x_label="linears pruned (%)", y_label="loss (%)",
    )  # fmt: skip


def judge(paper: Publication, rows: Sequence[Row]) -> None:
    """Compare what pruning brings with what was published in the same place, and the outliers' share of time and energy."""
    by_rate = {row["pruned_percent"]: row for row in rows}
    none, every = by_rate[0.0], by_rate[100.0]
    for percent, row in by_rate.items():
        if percent > 0.0 and row["source"] and row["source"] == none["source"]:
            what = f"speed with {percent:.3g} % pruned over none pruned ({MODEL}, {PROMPT} tokens)"
            paper.claim(what, row[f"published_{SPEED}"] / none[f"published_{SPEED}"], row[SPEED] / none[SPEED], "x", **origin([none, row]))
    held_out = [row | {"pruned": f"{row['pruned_percent']:g} % pruned"} for row in rows if row["fitted"] is False]
    paper.conclude(
        f"Pruning all outliers makes {MODEL} {every[SPEED] / none[SPEED]:.1f} times as fast in the simulation. "
        f"{errors_sentence(held_out, 'speeds to which nothing is fitted', ('pruned',))}"
    )
    told = [
        f"Outliers take {share(none[SPEED], every[SPEED]):.0f} % of the simulated time and "
        f"{100.0 * (1.0 - every[ENERGY] / none[ENERGY]):.0f} % of the simulated energy with nothing pruned"
    ]
    if none["source"] and none["source"] == every["source"]:
        told.append(f"published speeds make it {share(none[f'published_{SPEED}'], every[f'published_{SPEED}']):.0f} % of the time")
    if known := published_shares():
        told.append(f"synchronization alone is published as {known[0]:.1f} % of the time and {known[1]:.1f} % of the energy")
    paper.conclude(f"{'; '.join(told)}.")


def share(slow: float, fast: float) -> float:
    """Return which share of the time (%) a faster run saves, from both speeds."""
    return 100.0 * (1.0 - slow / fast)


def published_shares() -> tuple[float, float] | None:
    """Return which share of time and energy (%) the outliers' synchronization takes with nothing pruned, as the paper's text says."""
    for row in load_table("soc_facts"):
        if row["id"] == FACT:
            time, energy = (100.0 * float(value) for value in row["value"].split("/"))
            return time, energy
    return None


def judge_real(paper: Publication, measured: Sequence[Row], found: Mapping[str, Sequence[float]]) -> None:
    """Say what pruning brings the real model, and what it costs."""
    places = {(row["scheme"], row["weight_scales"], row["pruning_rate"]): place for place, row in enumerate(measured)}
    said = []
    for scheme, scales in dict.fromkeys((row["scheme"], row["weight_scales"]) for row in measured):
        first, most = places[scheme, scales, 0.0], places[scheme, scales, USUAL_RATE]
        faster = " and ".join(f"{each[most] / each[first]:.2f}" for each in found.values())
        divergences = f"from {measured[first]['kl']:.4f} to {measured[most]['kl']:.4f}"
        said.append(f"{scheme}, weights per {scales}: {divergences} nats a token, {faster} times as fast")
    cases = " and ".join(case.partition(", ")[2] for case in found)
    paper.conclude(f"Pruning {100 * USUAL_RATE:g} % of {REAL}'s linears (accuracy measured, speed simulated: {cases}): {'; '.join(said)}.")


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
