"""Policies side by side in many cases: how far each is above the lower bound, and how much faster than the paper's rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from socsim.experiments.grid import OURS
from socsim.experiments.swept import swept
from socsim.policy_comparison import PAPER

RULE = "paper's rule"
"""The faster of its ties in each case."""
FITS = ("chunk_tokens <= prompt_tokens", "prompt_tokens <= model.max_position_embeddings")
METRICS = ("makespan_s", "makespan_gap", "cpu_utilization", "npu_utilization", "npu_bubble_rate", "prefill_energy_j")
Row = dict[str, Any]


def scheduled(axes: Sequence[Mapping[str, Any]], policies: Iterable[str], out: Path, *, jobs: int | None = None) -> list[Row]:
    """Return a row for each case and policy, with the paper's rule as one more policy.

    Parameters
    ----------
    axes
        Those of a sweep: phones, models, prompts, chunks, and what else changes.
    policies
        Names; those of the paper's rule among them.
    out
        Folder in which points are kept.
    jobs
        Processes; default: one for each core.
    """
    scheduler = {"path": "scheduler", "values": list(policies)}
    spec = {"base": {"engine": OURS}, "axes": [*axes, scheduler], "constraints": FITS, "metrics": METRICS}
    values = {name: column.tolist() for name, column in swept(spec, out, jobs=jobs).values().items()}
    names = [str(axis["path"]) for axis in axes]
    cases: dict[tuple[Any, ...], list[Row]] = {}
    for at, key in enumerate(zip(*(values[name] for name in names), strict=True)):
        cases.setdefault(key, []).append(
            {
                **dict(zip(names, key, strict=True)),
                "policy": values["scheduler"][at],
                "makespan_ms": 1e3 * values["makespan_s"][at],
                "gap_percent": 100.0 * values["makespan_gap"][at],
                "faster_percent": 0.0,
                "chunks": -(-values["prompt_tokens"][at] // values["chunk_tokens"][at]),
                "work_ratio": values["cpu_utilization"][at] / values["npu_utilization"][at],
                "npu_bubble_percent": 100.0 * values["npu_bubble_rate"][at],
                "prefill_energy_j": values["prefill_energy_j"][at],
            }
        )
    return [row for own in cases.values() for row in with_rule(own)]


def with_rule(case: Sequence[Row]) -> list[Row]:
    """Return the rows of one case with that of the paper's rule, and by how much each is faster than that."""
    rule = fastest_rule(case)
    return [
        row | {"work_ratio": rule["work_ratio"], "faster_percent": 100.0 * (rule["makespan_ms"] / row["makespan_ms"] - 1.0)}
        for row in [*case, rule]
    ]


def fastest_rule(case: Sequence[Row]) -> Row:
    """Return the row of the paper's rule with the tie that is faster in a case."""
    return min((row for row in case if row["policy"] in PAPER), key=lambda row: row["makespan_ms"]) | {"policy": RULE}


def of(rows: Iterable[Row], policy: str, name: str, chunks: tuple[int, int] = (1, 1000)) -> Any:
    """Return a column of the rows of one policy with some numbers of chunks."""
    return np.array([row[name] for row in rows if row["policy"] == policy and chunks[0] <= row["chunks"] <= chunks[1]])


def spread(values: Any, name: str) -> dict[str, float]:
    """Return what a table says of a distribution beside its mean, by column."""
    found = {"median": np.median(values), "p90": np.percentile(values, 90), "largest": values.max()}
    return {f"{word}_{name}": float(value) for word, value in found.items()}


def by_ratio(rows: Sequence[Row], policies: Iterable[str], edges: Sequence[float]) -> list[Row]:
    """Return the mean gap of each policy in each class of the ratio of CPU to NPU work, between some edges."""
    result = []
    for low, high in pairwise(edges):
        for policy in policies:
            own = [row for row in rows if row["policy"] == policy and low <= row["work_ratio"] < high]
            if own:
                means = {f"mean_{name}": float(np.mean([row[name] for row in own])) for name in ("gap_percent", "faster_percent")}
                ratio = float(np.mean([row["work_ratio"] for row in own]))
                result.append({"policy": policy, "work_ratio": ratio, "cases": len(own), **means})
    return result
