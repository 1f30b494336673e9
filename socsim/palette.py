"""Which stages share a color in figures, and which color."""

from __future__ import annotations

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
