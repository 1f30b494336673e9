"""What a sweep can keep of each point."""

from __future__ import annotations

from typing import Any

from socsim.bounding import bound_of
from socsim.runs import Result

WHOLE = (
    "chunk_tokens", "subgraphs", "moved_subgraphs", "peak_memory_bytes", "npu_memory_bytes", "npu_sessions", "weights_bytes",
    "graph_weights_bytes", "graph_buffers_bytes", "kv_cache_bytes", "activation_bytes", "shadow_weights_bytes",
)  # fmt: skip
NUMBERS = (
    "ttft_s", "makespan_s", "prefill_tokens_per_s", "tpot_s", "decode_tokens_per_s", "e2e_s",
    "prefill_energy_j", "e2e_energy_j", "mean_power_w", "peak_power_w", "dram_bytes",
    "cpu_utilization", "cpu_bubble_rate", "cpu_energy_j", "gpu_utilization", "gpu_bubble_rate", "gpu_energy_j",
    "npu_utilization", "npu_bubble_rate", "npu_energy_j", "dram_energy_j", "base_energy_j",
    "preparation_s", "graph_load_s", "preparation_in_ttft_s",
)  # fmt: skip
BOUNDS = {"bottleneck": str, "gain_if_free": float}
"""What bounds the prefill, and how many times as fast it would be without; each point takes about seven times as long."""
GAPS = ("makespan_lower_bound_s", "makespan_gap")
"""What no schedule falls below, and how far the run is above it; a point takes about a third longer."""
METRICS: dict[str, type] = dict.fromkeys((*NUMBERS, *GAPS), float) | dict.fromkeys(WHOLE, int) | BOUNDS
"""Type of each metric by its name, which is that in `socsim.runs.Result.record`."""
USUAL = (
    "ttft_s", "prefill_tokens_per_s", "tpot_s", "e2e_s", "prefill_energy_j", "e2e_energy_j", "mean_power_w", "peak_memory_bytes",
    "cpu_utilization", "npu_utilization", "npu_bubble_rate",
)  # fmt: skip
"""Metrics that are kept where a sweep names none."""
LARGER_IS_BETTER = ("prefill_tokens_per_s", "decode_tokens_per_s", "cpu_utilization", "gpu_utilization", "npu_utilization")
"""Metrics of which more is better; of all others less is."""


def measure(result: Result, names: tuple[str, ...]) -> list[Any]:
    """Return some metrics of a run, in the order of their names."""
    record = result.record
    if any(name in BOUNDS for name in names):
        bound = bound_of(result)
        record = record | {"bottleneck": bound.bottleneck, "gain_if_free": bound.gain_if_free}
    if any(name in GAPS for name in names):
        record = record | result.gap
    return [record[name] for name in names]
