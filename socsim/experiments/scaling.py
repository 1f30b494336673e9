"""What-ifs: one part of the phone made faster or slower by factors, and what bounds the prefill at each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import socsim
from socsim.bottlenecks import ttft_without
from socsim.errors import SocsimError
from socsim.experiments.energy import energies
from socsim.experiments.publication import Publication
from socsim.experiments.published import beside_published
from socsim.palette import SERIES
from socsim.plots.scaling import marked_lines
from socsim.specs import SoC

Row = dict[str, Any]

SPEED = "prefill_tokens_per_s"
RESOURCES = {
    "npu_compute": "NPU",
    "cpu_compute": "CPU work",
    "gpu_compute": "GPU",
    "synchronization": "synchronization",
    "weight_streaming": "DRAM",
    "contention": "sharing of DRAM",
}
"""What may bound a prefill, by its name in `socsim.bottlenecks.ttft_without`."""
NOTHING = "none alone"
"""Bottleneck of a run that no resource would make faster alone."""
LEAST_GAIN = 1.005
"""Gains below this are none: they would be printed as 1.00."""
LOOKS = dict(zip((*RESOURCES.values(), NOTHING), SERIES, strict=False))
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
        under each power calibration, decode speed if there is decode, ``bottleneck`` (of `RESOURCES`, the one whose absence
        makes the prefill fastest, or `NOTHING`), ``gain_if_free`` (how many times as fast it then is), and the TTFT without
        each resource. ``overrides`` are those of the point.
    """
    rows = []
    for factor, overrides in points.items():
        result = socsim.run(**base, overrides=dict(overrides))
        record, energy, without = result.record, energies(result), ttft_without(result, result.timeline.scheduler)
        best = min(without, key=lambda name: without[name])
        gain = record["ttft_s"] / without[best]
        row = {name: record[name] for name in ("soc", "model", "engine", "prompt_tokens")}
        row |= {"factor": factor, "ttft_s": record["ttft_s"], SPEED: record[SPEED], "speed_up": record[SPEED]}
        row |= {name: record[name] for name in ("npu_bubble_rate", "cpu_bubble_rate")}
        row |= {name: joules for name, joules in energy.items() if name.endswith("prefill_energy_j")}
        row |= {"decode_tokens_per_s": record["decode_tokens_per_s"]} if record["output_tokens"] > 1 else {}
        row |= {"bottleneck": RESOURCES[best] if gain >= LEAST_GAIN else NOTHING, "gain_if_free": gain}
        row |= {f"without_{name}_ttft_s": seconds for name, seconds in without.items() if name != "gpu_compute"}
        rows.append(row | {"overrides": dict(overrides)})
    usual = next(row[SPEED] for row in rows if row["factor"] == 1.0)
    return [row | {"speed_up": row[SPEED] / usual} for row in rows]


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
    known = beside_published(rows, SPEED, SPEED)
    runs = [{column: value for column, value in row.items() if column not in ("soc", "engine")} for row in known]
    free = [column for column in runs[0] if column.startswith("without_")]
    results = [{column: value for column, value in row.items() if column not in free} for row in runs]
    paper.table(name, results, f"Prefill of {where} by factor on {what}; bottleneck: the resource that would help most if it cost nothing")
    columns = ("model", "prompt_tokens", "factor", "bottleneck", "gain_if_free", "ttft_s", *free)
    paper.table("bottlenecks", [{column: row[column] for column in columns} for row in runs], f"TTFT of {where} if a resource cost nothing")
    drawn = [row | {"prompt": f"{row['prompt_tokens']:,} tokens"} for row in runs]
    figure = marked_lines(
        drawn, x="factor", y=y, series="model", panel="prompt", mark="bottleneck", marks=LOOKS, x_label=f"factor on {what}",
        unmarked=unmarked,
    )  # fmt: skip
    paper.figure(name, figure, f"{where} by factor on {what}; markers: the resource that would help most if it cost nothing")
    return known


def by_run(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """Return the rows of each model and prompt length by rising factor."""
    runs: dict[tuple[str, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["factor"]):
        runs.setdefault((row["model"], row["prompt_tokens"]), []).append(row)
    return runs


def span(values: Iterable[float]) -> str:
    """Return the least and the largest of some numbers as text, in hundredths, or both in one where they look alike."""
    rising = sorted(values)
    least, most = f"{rising[0]:.2f}", f"{rising[-1]:.2f}"
    return least if least == most else f"{least} to {most}"


def moves(rows: Sequence[Row]) -> str:
    """Say what bounds the prefill at the least factor, and from which factors on something else does: runs alike together."""
    alike: dict[str, list[str]] = {}
    for (model, prompt), run in by_run(rows).items():
        changes = [f"then {after['bottleneck']} from x{after['factor']:g} on" for before, after in pairwise(run) if _moved(before, after)]
        alike.setdefault(", ".join([run[0]["bottleneck"], *changes]), []).append(f"{model} at {prompt:,} tokens")
    told = [f"{history} ({' and '.join(runs) if len(runs) < 3 else f'{len(runs)} runs'})" for history, runs in alike.items()]
    return f"What bounds the prefill, by rising factor: {'; '.join(told)}."


def _moved(before: Row, after: Row) -> bool:
    return bool(before["bottleneck"] != after["bottleneck"])


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
    if not slower:
        return f"None of the {len(steps)} steps that should help makes a prefill slower."
    before, after = max(slower, key=lambda pair: pair[1]["ttft_s"] / pair[0]["ttft_s"])
    return (
        f"{len(slower)} of {len(steps)} steps between neighboring factors that should help make a prefill slower instead, by up to "
        f"{100 * (after['ttft_s'] / before['ttft_s'] - 1):.1f} % ({after['model']} at {after['prompt_tokens']:,} tokens, from "
        f"x{before['factor']:g} to x{after['factor']:g}): the order of subgraphs is greedy, so the curves are not monotonic."
    )
