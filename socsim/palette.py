"""Colors of figures: which stages share one, and how engines and other series look everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Family(NamedTuple):
    """Stages that share a color; `text` is the color of chunk numbers on it."""

    label: str
    color: str
    text: str
    hatch: str = ""


FAMILIES = {
    "norm": Family("norm", "#E69F00", "black"),
    "qkv": Family("QKV", "#0072B2", "white"),
    "attention": Family("attention", "#D55E00", "black"),
    "o_proj": Family("output proj.", "#56B4E9", "black"),
    "ffn": Family("FFN", "#F0E442", "black"),
    "shadow": Family("shadow", "#CC79A7", "black", "//////"),
    "merge": Family("merge", "#009E73", "black"),
    "head": Family("LM head", "#000000", "white"),
    "decode": Family("decode", "#999999", "black"),
    "other": Family("other", "#666666", "white"),
    "idle": Family("idle", "#EBEBEB", "black"),
}
"""Stages in the colors of Okabe and Ito; those that one processor usually runs differ in grey, too."""


class Look(NamedTuple):
    """Color, marker and hatch of a series; two series that differ in color differ in marker and hatch, too."""

    color: str
    marker: str
    hatch: str = ""


ENGINES = {
    "llama.cpp-cpu": Look("#0072B2", "s"),
    "mnn-cpu": Look("#56B4E9", "D", "////"),
    "tflite-gpu": Look("#009E73", "^"),
    "mlc-gpu": Look("#CC79A7", "v", "...."),
    "powerinfer2-npu": Look("#000000", "P"),
    "npu-naive": Look("#F0E442", "X", "xxxx"),
    "npu-chunk": Look("#999999", "<"),
    "npu-chunk-outlier": Look("#E69F00", ">", "\\\\\\\\"),
    "llm-npu": Look("#D55E00", "o"),
}
"""Engines of the paper in the order of every figure, its own last."""
SERIES = (
    Look("#0072B2", "s"),
    Look("#D55E00", "o", "////"),
    Look("#009E73", "^"),
    Look("#CC79A7", "v", "...."),
    Look("#000000", "P"),
    Look("#E69F00", "X", "xxxx"),
    Look("#56B4E9", "D"),
    Look("#999999", "<", "\\\\\\\\"),
    Look("#F0E442", ">"),
)
"""Looks of series that are no engines of the paper, in the order in which they come."""
BOTTLENECKS = dict(zip(("NPU", "CPU work", "GPU", "synchronization", "DRAM", "sharing of DRAM", "none alone"), SERIES, strict=False))
"""Looks of what bounds a run, by the names of `socsim.bounding`."""


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return the look of each series: engines of the paper first, in their order, then others as they come.

    Others take what is left where engines are beside them, and start again when there are more than looks.
    """
    given = list(dict.fromkeys(names))
    found = {name: look for name, look in ENGINES.items() if name in given}
    taken = {look.color for look in found.values()}
    free = [look for look in SERIES if look.color not in taken] or list(SERIES)
    others = [name for name in given if name not in found]
    return found | {name: free[place % len(free)] for place, name in enumerate(others)}


def stage_family(stage: str) -> str:
    """Return the family of a stage; of stages that were merged into one subgraph, that of the heaviest."""
    parts, lead = stage.split("+"), stage.partition("_")[0]
    if lead in ("shadow", "merge", "decode"):
        return lead
    heavy = [part for part in parts if not part.startswith(("attn_norm", "ffn_norm"))]
    for family in ("ffn", "qkv", "attention", "o_proj"):
        if any(part.startswith(family) for part in heavy):
            return family
    if len(heavy) < len(parts):
        return "norm"
    return "head" if stage.startswith(("final_norm", "lm_head")) else "other"
