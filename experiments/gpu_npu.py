"""What does the GPU bring in place of the CPU, for float work in prefill and for decode? (Xu et al. 2025, Fig 18)

llm-npu with attention, normalization and LM head on CPU or GPU, and with decode on either; shadow outliers stay on the CPU. Handing
over takes as long with the GPU as with the CPU, but in one set-up, where all hand-overs block, as a GPU's runtime usually does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import socsim
from socsim.catalog import figures
from socsim.experiments import FORMATS, Publication, beside_published, errors_sentence, geometric_mean, hollow, published_values
from socsim.experiments.energy import energies, prefill_column
from socsim.experiments.grid import CALIBRATIONS, MODELS, OURS, PHONES, PROMPTS
from socsim.experiments.headings import heading
from socsim.experiments.published import is_fitted, without
from socsim.measurements import METRIC_UNITS
from socsim.plots import bars
from socsim.prediction import predict_value

SOC, ENERGY_PROMPT, OUTPUT = PHONES[0], PROMPTS[-1], 9
USUAL, FLOAT, BLOCKING = "CPU", "GPU", "GPU, blocking"
FLOAT_WORK: dict[str, dict[str, Any]] = {
    USUAL: {},
    FLOAT: {"engine.placement.other": "gpu"},
    BLOCKING: {"engine.placement.other": "gpu", "engine.synchronization": "blocking"},
}
"""Settings by what does float work in prefill."""
DECODE: dict[str, dict[str, Any]] = {"CPU": {}, "GPU": {"engine.decode_processor": "gpu"}}
SPEED, DECODE_SPEED, PLACE = "prefill_tokens_per_s", "decode_tokens_per_s", "Fig 18"
RATES = {
    f"processors.{name}.{field}": f"{work}, {name.upper()},"
    for field, work in (("vector_bytes_per_s", "element-wise work"), ("row_bytes_per_s", "decode"))
    for name in ("gpu", "cpu")
}
"""Figures of the phone on which it all rests, and what they are."""
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate all set-ups, or in short two models with two prompt lengths, and publish speeds, energies and bubble rates."""
    models, prompts = (MODELS[:2], PROMPTS[1:]) if quick else (MODELS, PROMPTS)
    with Publication(
        out, __file__, quick=quick, formats=formats, soc=SOC, engine=OURS, models=models, prompts=prompts, output_tokens=OUTPUT
    ) as paper:
        runs = [(model, prompt, work, decode) for model in models for prompt in prompts for work in FLOAT_WORK for decode in DECODE]
        rows = beside_published([simulate(*run) for run in runs], SPEED, SPEED, place=PLACE)
        caption = f"{OURS} on {SOC} by the processor of float work in prefill, and of decode; energy by power calibration"
        paper.table("gpu_npu", without(rows, "soc", "engine"), caption)
        draw(paper, rows)
        conclude(paper, rows)
        judge(paper)


def simulate(model: str, prompt: int, work: str, decode: str) -> Row:
    """Simulate a prompt and a short answer in one set-up."""
    settings = FLOAT_WORK[work] | DECODE[decode]
    result = socsim.run(SOC, model, OURS, prompt_tokens=prompt, output_tokens=OUTPUT, overrides=settings)
    row = {name: result.record[name] for name in ("soc", "model", "engine", "prompt_tokens")} | {"float_work": work, "decode": decode}
    row |= {name: result.record[name] for name in (SPEED, DECODE_SPEED, "npu_bubble_rate")}
    return row | energies(result) | {"overrides": settings}


def draw(paper: Publication, rows: Sequence[Row]) -> None:
    """Draw prefill speed by float work, decode speed by decode processor, and energy of prefill by power calibration."""
    prefills = [row for row in rows if row["decode"] == "CPU"]
    figure = bars(
        [row | {"float_work": f"float work: {row['float_work']}"} for row in prefills], x="prompt_tokens", y=SPEED, series="float_work",
        panel="model", published=f"published_{SPEED}", share_y=True, x_label="prompt (tokens)", y_label="prefill (tokens/s)",
    )  # fmt: skip
    paper.figure("prefill_speed", figure, f"Prefill speed on {SOC} by the processor of float work{hollow(prefills, SPEED)}")
    longest = [row for row in rows if row["prompt_tokens"] == ENERGY_PROMPT]
    decodes = [row | {"decode": f"decode: {row['decode']}"} for row in longest if row["float_work"] == USUAL]
    figure = bars(decodes, x="model", y=DECODE_SPEED, series="decode", y_label="decode (tokens/s)", columns=1)
    paper.figure("decode_speed", figure, f"Decode speed after {ENERGY_PROMPT:,} tokens on {SOC} by its processor")
    energy = [
        row | {"calibration": name, "joules": row[prefill_column(name)], "float_work": f"float work: {row['float_work']}"}
        for name in CALIBRATIONS
        for row in longest
        if row["decode"] == "CPU"
    ]
    figure = bars(energy, x="model", y="joules", series="float_work", panel="calibration", y_label="prefill energy (J)")
    paper.figure("prefill_energy", figure, f"Prefill energy of {ENERGY_PROMPT:,} tokens on {SOC}, by power calibration")


def judge(paper: Publication) -> None:
    """Compare with every published value of a run of the engine with the GPU, each with its own prompt and answer."""
    rows = []
    for metric in METRIC_UNITS:
        for known in published_values(metric, PLACE).values():
            if known.engine != OURS or not any(path.startswith("engine.") and value == "gpu" for path, value in known.overrides.items()):
                continue
            value, unit = predict_value(known), next(iter(METRIC_UNITS[metric]))
            settings = "; ".join(f"{path}={setting}" for path, setting in known.overrides.items())
            tokens = f"{known.prompt_tokens:,} and {known.output_tokens:,} tokens"
            what = f"{heading(metric).partition(' (')[0]} of {known.model} on {known.soc}, {tokens}, {settings}"
            paper.claim(what, known.value, value, unit, known.source, fitted=is_fitted(known))
            error = 100.0 * (value / known.value - 1.0)
            rows.append({"run": what, "published": known.value, "simulated": value, "error_percent": error, "source": known.source})
    if rows:
        paper.table("published", rows, "Published values of runs with the GPU, beside simulated ones")
    paper.conclude(errors_sentence(rows, "values of runs with the GPU", ("run",)))


def conclude(paper: Publication, rows: Sequence[Row]) -> None:
    """Say what the GPU does to prefill, energy and decode, and on what that rests."""
    by_prompt = []
    for prompt in dict.fromkeys(row["prompt_tokens"] for row in rows):
        own = [row for row in rows if row["prompt_tokens"] == prompt]
        by_prompt.append(f"{prompt:,} tokens {ratio(own, FLOAT, SPEED):.2f} ({ratio(own, BLOCKING, SPEED):.2f} with blocking hand-overs)")
    idle = {work: 100.0 * fmean(row["npu_bubble_rate"] for row in rows if row["float_work"] == work) for work in (USUAL, FLOAT)}
    energy = ", ".join(f"{ratio(rows, FLOAT, prefill_column(name)):.2f} under {name}" for name in CALIBRATIONS)
    paper.conclude(
        f"Float work on the GPU makes prefill, by prompt length, in the geometric mean over models, this many times as fast: "
        f"{', '.join(by_prompt)}. Prefill takes this many times the energy: {energy}. The NPU's mean bubble rate is {idle[FLOAT]:.0f} % "
        f"with it and {idle[USUAL]:.0f} % without."
    )
    gain = geometric_mean(gpu[DECODE_SPEED] / cpu[DECODE_SPEED] for cpu, gpu in pairs(rows, "decode", "CPU", "GPU")) or 0.0
    known = {each.path: each for each in figures("soc", SOC)}
    rates = [f"{what} {known[path].value / 1e9:.0f} GB/s ({known[path].kind}; {known[path].source})" for path, what in RATES.items()]
    paper.conclude(f"Decode is {gain:.2f} times as fast on the GPU. All this rests on: {'; '.join(rates)}.")


def ratio(rows: Sequence[Row], work: str, of: str) -> float:
    """Return the geometric mean of a column with float work somewhere over that with it on the CPU."""
    return geometric_mean(row[of] / usual[of] for usual, row in pairs(rows, "float_work", USUAL, work)) or 0.0


def pairs(rows: Sequence[Row], by: str, one: str, other: str) -> list[tuple[Row, Row]]:
    """Return rows that differ in one column only, as that column has it."""
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("model", "prompt_tokens", "float_work", "decode") if name != by)
        found.setdefault(key, {})[row[by]] = row
    return [(each[one], each[other]) for each in found.values()]


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
