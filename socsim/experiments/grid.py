"""What the paper runs: phones, models, engines, prompt lengths, and workloads, each as one prompt and one answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from socsim.measurements import load_table
from socsim.palette import ENGINES as ALL_ENGINES

OURS = "llm-npu"
"""The paper's engine."""
ENGINES = tuple(name for name in ALL_ENGINES if not name.startswith(("npu-chunk", "npu-naive")))
"""The engines that it compares, its own last: all but the steps that lead to that."""
MODELS = ("qwen1.5-1.8b", "gemma-2b", "phi-2", "llama-2-7b", "mistral-7b")
PHONES = ("snapdragon-8-gen-3", "snapdragon-8-gen-2")
PROMPTS = (64, 256, 1024)
"""Prompt lengths of Figs 14 and 15 (tokens)."""
CALIBRATIONS = ("battery-rail", "whole-device")
"""Power calibrations of the phones; the paper measured energy as the first does."""
PER_TENSOR: Mapping[str, Any] = {"engine.precision.quantization": "per-tensor", "engine.precision.group_size": None}
"""Settings that give an engine one scale for each tensor instead of one for each group."""
WORKLOADS = "llm_npu_table5_prompts"


class Workload(NamedTuple):
    """A prompt and an answer that stand for all of a data set."""

    name: str
    prompt_tokens: int
    output_tokens: int


def load_workloads() -> list[Workload]:
    """Return the workloads: the middle of each published range of lengths, as ``traces/README.md`` takes it; halves are rounded down."""
    return [Workload(row["dataset"], _middle(row, "prompt_tokens"), _middle(row, "output_tokens")) for row in load_table(WORKLOADS)]


def _middle(row: dict[str, str], column: str) -> int:
    return (int(row[f"{column}_min"]) + int(row[f"{column}_max"])) // 2
