"""What-ifs: one part of the phone made faster or slower by factors, and what bounds the prefill at each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import socsim
from socsim.bounding import bound_of
from socsim.errors import SocsimError
from socsim.experiments.energy import energies
from socsim.experiments.grid import OURS, PHONES
from socsim.experiments.publication import Publication
from socsim.experiments.published import beside_published, without
from socsim.experiments.words import changes
from socsim.palette import BOTTLENECKS
from socsim.plots.scaling import marked_lines
from socsim.runs import Result
from socsim.specs import SoC

Row = dict[str, Any]

SOC, ENGINE, MODELS, PROMPTS = PHONES[0], OURS, ("qwen1.5-1.8b", "gemma-2b", "llama-2-7b"), (256, 1024)
"""What is run in all what-ifs; a prompt of one chunk, and one of several."""
SPEED = "prefill_tokens_per_s"
LEAST_LOSS = 0.001
"""Share of the TTFT by which a step has to make a prefill slower to count as an anomaly."""


def scaled(soc: SoC, paths: Iterable[str], factor: float) -> dict[str, float]:
    """Return overrides that multiply some figures of a phone by a factor; none for a factor of 1.

    Raises
    ------
    SocsimError
        The phone has no such figure.
    """
    return {} if factor == 1.0 else {f"soc.{path}": factor * _figure(soc, path) for path in paths}


def _figure(soc: SoC, path: str) -> float:
    node: Any = soc.model_dump()
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    if not isinstance(node, (int, float)):
        raise SocsimError(f"{soc.name}: '{path}' is no figure that can be scaled")
    return float(node)


def simulate(models: Iterable[str], points: Mapping[float, Mapping[str, Any]], output_tokens: int = 1) -> list[Row]:
    """Return the rows of a what-if: all models and prompt lengths at all factors, each given with its overrides."""
    usual = {"soc": SOC, "engine": ENGINE, "output_tokens": output_tokens}
    runs = [usual | {"model": model, "prompt_tokens": prompt} for model in models for prompt in PROMPTS]
    return [row for run in runs for row in scaling_rows(run, points)]


def scaling_rows(base: Mapping[str, Any], points: Mapping[float, Mapping[str, Any]]) -> list[Row]:
    """Simulate a run at each point of a what-if, and say which resource bounds its prefill there.

    Parameters
    ----------
    base
        Arguments of `socsim.run` that all points share.
    points
        Overrides by factor; one factor is 1.

    Returns
    -------
    list
        A row for each point: what was run, ``factor``, TTFT, prefill speed, ``speed_up`` over factor 1, bubble rates, prefill energy
        under each power calibration, decode speed if there is decode, ``bottleneck`` and ``gain_if_free`` as in
        `socsim.bounding.Bound`, and the TTFT without each resource (the GPU apart, which the engine does not use).
        ``overrides`` are those of the point.
    """
    results = {factor: socsim.run(**base, overrides=dict(overrides)) for factor, overrides in points.items()}
    usual_s = results[1.0].record["ttft_s"]
    named = {column: base[column] for column in ("soc", "model", "engine", "prompt_tokens")}
    rows = []
    for factor, result in results.items():
        change = {"factor": factor, "speed_up": usual_s / result.record["ttft_s"]}
        rows.append(named | change | figures(result) | {"overrides": dict(points[factor])})
    return rows


def figures(result: Result) -> Row:
    """Return what a row of a what-if says of its run alone."""
    record, bound = result.record, bound_of(result)
    row = {name: record[name] for name in ("ttft_s", SPEED, "npu_bubble_rate", "cpu_bubble_rate")}
    row |= {name: joules for name, joules in energies(result).items() if name.endswith("prefill_energy_j")}
    row |= {"decode_tokens_per_s": record["decode_tokens_per_s"]} if record["output_tokens"] > 1 else {}
    row |= {"bottleneck": bound.bottleneck, "gain_if_free": bound.gain_if_free}
    return row | {f"without_{name}_ttft_s": seconds for name, seconds in bound.without_s.items() if name != "gpu_compute"}


def publish_scaling(
    paper: Publication, name: str, rows: Sequence[Row], what: str, y: Mapping[str, str], unmarked: Sequence[str] = ()
) -> list[Row]:
    """Publish what-ifs of one phone and engine: results and bottlenecks as tables, curves over the factor as a figure.

    Parameters
    ----------
    paper
        What it is published in.
    name
        Of the figure and of the table of results; that of bottlenecks is called ``bottlenecks``.
    rows
        As `scaling_rows` returns them.
    what
        What is scaled, in words.
    y, unmarked
        As in `socsim.plots.scaling.marked_lines`.

    Returns
    -------
    list
        The rows with the published prefill speed beside the simulated one.
    """
    where = f"{rows[0]['engine']} on {rows[0]['soc']}"
    known = beside_published(rows, SPEED, SPEED, place="Fig 14")
    runs = without(known, "soc", "engine")
    free = [column for column in runs[0] if column.startswith("without_")]
    caption = f"Prefill of {where} by factor on {what}; bottleneck: the resource that would help most if it cost nothing"
    paper.table(name, without(runs, *free), caption)
    columns = ("model", "prompt_tokens", "factor", "bottleneck", "gain_if_free", "ttft_s", *free)
    paper.table("bottlenecks", [{column: row[column] for column in columns} for row in runs], f"TTFT of {where} if a resource cost nothing")
    drawn = [row | {"prompt": f"{row['prompt_tokens']:,} tokens"} for row in runs]
    figure = marked_lines(
        drawn, x="factor", y=y, series="model", panel="prompt", mark="bottleneck", marks=BOTTLENECKS, x_label=f"factor on {what}",
        unmarked=unmarked,
    )  # fmt: skip
    paper.figure(name, figure, f"Simulated: {where} by factor on {what}; markers: the resource that would help most if it cost nothing")
    return known


def by_run(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """Return the rows of each model and prompt length by rising factor."""
    runs: dict[tuple[str, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["factor"]):
        runs.setdefault((row["model"], row["prompt_tokens"]), []).append(row)
    return runs


def moves(rows: Sequence[Row]) -> str:
    """Say what bounds the prefill at the least factor, and from which factors on something else does: runs alike together."""
    alike: dict[str, list[str]] = {}
    for (model, prompt), run in by_run(rows).items():
        history = changes([(f"x{row['factor']:g}", row["bottleneck"]) for row in run])
        alike.setdefault(history, []).append(f"{model} at {prompt:,} tokens")
    told = [f"{history} ({' and '.join(runs) if len(runs) < 3 else f'{len(runs)} runs'})" for history, runs in alike.items()]
    return f"What bounds the prefill, by rising factor: {'; '.join(told)}."


def anomalies(rows: Sequence[Row], *, faster: bool) -> str:
    """Say how many steps that should make a prefill faster, or leave it as it is, make it slower, and by how much.

    Parameters
    ----------
    rows
        As `scaling_rows` returns them.
    faster
        Whether a larger factor should be faster.
    """
    steps = [pair for run in by_run(rows).values() for pair in pairwise(run if faster else run[::-1])]
    slower = [(before, after) for before, after in steps if after["ttft_s"] > (1.0 + LEAST_LOSS) * before["ttft_s"]]
    said = f"Of the steps between neighboring factors that should help a prefill, {len(slower)} of {len(steps)}"
    if not slower:
        return f"{said} make it slower."
    before, after = max(slower, key=lambda pair: pair[1]["ttft_s"] / pair[0]["ttft_s"])
    return (
        f"{said} {'makes' if len(slower) == 1 else 'make'} it slower instead, by up to "
        f"{100 * (after['ttft_s'] / before['ttft_s'] - 1):.1f} % ({after['model']} at {after['prompt_tokens']:,} tokens, from "
        f"x{before['factor']:g} to x{after['factor']:g}), as a greedy order of subgraphs can."
    )
