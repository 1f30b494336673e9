"""What bounds a prefill: the resource that would help most if it cost nothing."""

from __future__ import annotations

from typing import NamedTuple

from socsim.bottlenecks import ttft_without
from socsim.runs import Result

NPU, CPU, GPU = "NPU", "CPU work", "GPU"
RESOURCES = {
    "npu_compute": NPU,
    "cpu_compute": CPU,
    "gpu_compute": GPU,
    "synchronization": "synchronization",
    "weight_streaming": "DRAM",
    "contention": "sharing of DRAM",
}
"""What may bound a prefill, by its name in `socsim.bottlenecks.ttft_without`."""
PROCESSORS = {NPU: "npu", CPU: "cpu", GPU: "gpu"}
"""Processors of those resources that are one's own work."""
NOTHING = "none alone"
"""Bottleneck of a run that no resource would make faster alone."""
LEAST_GAIN = 1.005
"""Gains below this are none: they would be printed as 1.00."""


class Bound(NamedTuple):
    """What bounds a prefill.

    `bottleneck` is one of `RESOURCES`, or `NOTHING`; without it the prefill would be `gain_if_free` times as fast. `without_s` is the
    TTFT without each resource.
    """

    bottleneck: str
    gain_if_free: float
    without_s: dict[str, float]


def bound_of(result: Result) -> Bound:
    """Return what bounds the prefill of a run."""
    without_s = ttft_without(result, result.timeline.scheduler)
    best = min(without_s, key=lambda name: (without_s[name], name))
    gain = (result.metrics["ttft_s"] or 0.0) / without_s[best]
    return Bound(RESOURCES[best] if gain >= LEAST_GAIN else NOTHING, gain, without_s)
