"""Which linears keep their outliers: a measured importance ranking, or its averages where a model has none."""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import lru_cache
from statistics import fmean

from socsim.catalog import trace_path
from socsim.specs import LINEARS, LLM, Engine

DEPTH_BINS = 8
"""Parts into which relative depth is divided for the averages (three blocks each of the measured 24)."""

PUBLISHED = "llm_npu_fig12_outlier_importance.csv"
OWN = "smollm2_outlier_importance.csv"


@lru_cache(maxsize=2)
def _measured(file_name: str) -> dict[str, dict[tuple[int, str], float]]:
    """Read importance by model, block and linear."""
    result: dict[str, dict[tuple[int, str], float]] = defaultdict(dict)
    with trace_path(file_name).open(newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            if row["layer"]:
                result[row["model"]][int(row["layer"]), f"{row['linear']}_proj"] = float(row["importance"])
    return dict(result)


@lru_cache(maxsize=1)
def _averages() -> dict[tuple[int, str], float]:
    """Return the mean importance by part of the depth and linear, over all published models."""
    groups: dict[tuple[int, str], list[float]] = defaultdict(list)
    for ranking in _measured(PUBLISHED).values():
        blocks = 1 + max(block for block, _ in ranking)
        for (block, linear), importance in ranking.items():
            groups[block * DEPTH_BINS // blocks, linear].append(importance)
    return {key: fmean(values) for key, values in groups.items()}


def outlier_importance(llm: LLM) -> dict[tuple[int, str], float]:
    """Return the outlier importance (largest outlier over scale) of each linear, by block and name.

    A model that was measured has its own values; others take the averages by linear and relative depth.
    Source: Xu et al. 2025, Fig 12 left; for SmolLM2 ``socsim accuracy --table importance``.
    """
    measured = _measured(PUBLISHED).get(llm.name) or _measured(OWN).get(llm.name)
    linears = [name for name in LINEARS if name in llm.linear_shapes]
    if measured is not None and set(measured) == {(b, name) for b in range(llm.num_hidden_layers) for name in linears}:
        return measured
    averages = _averages()
    return {
        (block, name): averages[block * DEPTH_BINS // llm.num_hidden_layers, name]
        for block in range(llm.num_hidden_layers)
        for name in linears
    }


def kept_linears(llm: LLM, engine: Engine) -> frozenset[tuple[int, str]]:
    """Return the linears (block, name) whose outliers are computed in float: the most important ones, after pruning.

    Only linears on the NPU are candidates; ties go to the earlier block, then to the earlier linear.
    """
    if not engine.shadow_outliers:
        return frozenset()
    importance = outlier_importance(llm)
    candidates = [key for key in importance if engine.placement.processor(key[1]) == "npu"]
    candidates.sort(key=lambda key: (-importance[key], key[0], LINEARS.index(key[1])))
    return frozenset(candidates[: round((1.0 - engine.outlier_pruning_rate) * len(candidates))])
