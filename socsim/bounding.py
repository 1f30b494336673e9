"""What bounds a prefill: the resource that would help most if it cost nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

from socsim.cost import NANOSECONDS
from socsim.errors import SocsimError
from socsim.runs import Result
from socsim.schedulers import SCHEDULERS, Prepare
from socsim.simulator import simulate

_OWN = ("launch", "linear", "attention", "float")
FREE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "npu_compute": ("NPU-bound", "NPU compute", {"parts": _OWN, "processor": "npu"}),
    "gpu_compute": ("GPU-bound", "GPU compute", {"parts": _OWN, "processor": "gpu"}),
    "cpu_compute": ("CPU-bound", "CPU work", {"parts": _OWN[1:], "processor": "cpu"}),
    "weight_streaming": ("DRAM-bound", "weight streaming", {"dram": True}),
    "synchronization": ("Synchronization-bound", "synchronization", {"parts": ("synchronization",), "latency": True}),
    "contention": ("Contention-bound", "sharing of DRAM", {}),
}
"""By resource: what a run is that it bounds, what it is called, and the arguments of `Costs.without` that make it free."""
NPU, CPU, GPU = "NPU", "CPU work", "GPU"
RESOURCES = {
    "npu_compute": NPU,
    "cpu_compute": CPU,
    "gpu_compute": GPU,
    "synchronization": "synchronization",
    "weight_streaming": "DRAM",
    "contention": "sharing of DRAM",
}
"""What may bound a prefill, by its name in `ttft_without`."""
PROCESSORS = {NPU: "npu", CPU: "cpu", GPU: "gpu"}
"""Processors of those resources that are one's own work."""
NOTHING = "none alone"
"""Bottleneck of a run that no resource would make faster alone."""
LEAST_GAIN = 1.005
"""Gains below this are none: they would be printed as 1.00."""


def ttft_without(result: Result, scheduler: str | Prepare) -> dict[str, float]:
    """Return the TTFT (s) of a run if one resource cost nothing, by resource; the policy knows and adapts.

    ``npu_compute`` and ``gpu_compute``: all own time of that processor's subgraphs but synchronization; ``cpu_compute``: the
    CPU's linears, attention and element-wise work; ``weight_streaming``: all DRAM traffic; ``synchronization``: hand-over
    work and latency; ``contention``: every processor has its bandwidth to itself.

    Raises
    ------
    SocsimError
        The policy is not known by its name.
    """
    if isinstance(scheduler, str) and scheduler not in SCHEDULERS and ":" not in scheduler:
        raise SocsimError(f"the run was made under a function '{scheduler}': pass it to explain as scheduler={scheduler}")
    case, memory = result.case, result.timeline.memory
    ttft_s = {}
    for resource, (_, _, change) in FREE.items():
        mode = "private" if resource == "contention" and memory == "shared" else memory
        costs, expected = result.timeline.costs.without(**change), case.costs.without(**change)
        timeline = simulate(costs.graph, costs, scheduler, memory=mode, seed=case.run.seed, expected_ns=expected.expected_ns)
        ttft_s[resource] = int(timeline.end_ns[: costs.graph.prefill_count].max()) / NANOSECONDS + case.preparation.charged_s
    return ttft_s


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
