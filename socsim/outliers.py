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
TABLES = (PUBLISHED, OWN)
"""Tables of ``traces/`` on which task graphs depend."""


@lru_cache(maxsize=4)
def _measured(file_name: str, column: str) -> dict[str, dict[tuple[int, str], float]]:
    """Read importance by model, block and linear."""
    result: dict[str, dict[tuple[int, str], float]] = defaultdict(dict)
    with trace_path(file_name).open(newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            if row["layer"]:
                result[row["model"]][int(row["layer"]), f"{row['linear']}_proj"] = float(row[column])
    return dict(result)


@lru_cache(maxsize=4)
def _averages(file_name: str, column: str) -> dict[tuple[int, str], float]:
    """Return the mean importance by part of the depth and linear, over all models of a file."""
    groups: dict[tuple[int, str], list[float]] = defaultdict(list)
    for ranking in _measured(file_name, column).values():
        blocks = 1 + max(block for block, _ in ranking)
        for (block, linear), importance in ranking.items():
            groups[block * DEPTH_BINS // blocks, linear].append(importance)
    return {key: fmean(values) for key, values in groups.items()}


def outlier_importance(llm: LLM, *, smoothed: bool = False) -> dict[tuple[int, str], float]:
    """Return the outlier importance of each linear, by block and name.

    That is the largest outlier over the scale (Xu et al. 2025, Fig 12 left), or of smoothed inputs the largest magnitude over the
    root mean square. A model that was measured has its own values; others take the averages by linear and relative depth: of
    the published models, or where inputs are smoothed of SmolLM2 (``socsim accuracy --table importance``).
    """
    averages = (OWN, "smoothed_importance") if smoothed else (PUBLISHED, "importance")
    own = _measured(OWN, averages[1]).get(llm.name)
    measured = own if smoothed else _measured(*averages).get(llm.name, own)
    linears = [name for name in LINEARS if name in llm.linear_shapes]
    if measured is not None and set(measured) == {(b, name) for b in range(llm.num_hidden_layers) for name in linears}:
        return measured
    means, blocks = _averages(*averages), llm.num_hidden_layers
    return {(block, name): means[block * DEPTH_BINS // blocks, name] for block in range(blocks) for name in linears}


def kept_linears(llm: LLM, engine: Engine) -> frozenset[tuple[int, str]]:
    """Return the linears (block, name) whose outliers are computed in float: the most important ones, after pruning.

    Only linears on the NPU are candidates; ties go to the earlier block, then to the earlier linear.
    """
    if not engine.shadow_outliers:
        return frozenset()
    importance = outlier_importance(llm, smoothed=engine.smoothing is not None)
    candidates = [key for key in importance if engine.placement.processor(key[1]) == "npu"]
    candidates.sort(key=lambda key: (-importance[key], key[0], LINEARS.index(key[1])))
    return frozenset(candidates[: round((1.0 - engine.outlier_pruning_rate) * len(candidates))])
