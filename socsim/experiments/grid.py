"""What the paper runs: phones, models, engines, prompt lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
