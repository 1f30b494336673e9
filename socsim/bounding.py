"""What bounds a prefill: the resource that would help most if it cost nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

from socsim.cost import NANOSECONDS, true_costs
from socsim.errors import SocsimError
from socsim.runs import Result
from socsim.schedulers import SCHEDULERS, Prepare
from socsim.simulator import simulate

_OWN = ("launch", "linear", "attention", "float")


class Resource(NamedTuple):
    """What may bound a prefill.

    `name` stands in results and figures; a run that it bounds is as `bound` says; it is called `noun` where it is free, and `free` has the
    arguments of `Costs.without` that make it so.
    """

    name: str
    bound: str
    noun: str
    free: dict[str, Any]

    @property
    def processor(self) -> str | None:
        """The processor whose own work it is; None: it is no processor's."""
        return self.free.get("processor")


RESOURCES = {
    "npu_compute": Resource("NPU", "NPU-bound", "NPU compute", {"parts": _OWN, "processor": "npu"}),
    "gpu_compute": Resource("GPU", "GPU-bound", "GPU compute", {"parts": _OWN, "processor": "gpu"}),
    "cpu_compute": Resource("CPU work", "CPU-bound", "CPU work", {"parts": _OWN[1:], "processor": "cpu"}),
    "weight_streaming": Resource("DRAM", "DRAM-bound", "weight streaming", {"dram": True}),
    "synchronization": Resource(
        "synchronization", "Synchronization-bound", "synchronization", {"parts": ("synchronization",), "latency": True}
    ),
    "contention": Resource("sharing of DRAM", "Contention-bound", "sharing of DRAM", {}),
}
"""Resources by their names in `ttft_without`."""
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
    for name, resource in RESOURCES.items():
        mode = "private" if name == "contention" and memory == "shared" else memory
        costs, expected = true_costs(case.costs, case.run).without(**resource.free), case.costs.without(**resource.free)
        timeline = simulate(costs.graph, costs, scheduler, memory=mode, seed=case.run.seed, expected=expected)
        ttft_s[name] = int(timeline.end_ns[: costs.graph.prefill_count].max()) / NANOSECONDS + case.preparation.charged_s
    return ttft_s


class Bound(NamedTuple):
    """What bounds a prefill: without `resource` it would be `gain_if_free` times as fast; None: no resource would make it faster alone.

    `without_s` is the TTFT without each resource.
    """

    resource: Resource | None
    gain_if_free: float
    without_s: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """Name of the resource, or `NOTHING`."""
        return self.resource.name if self.resource else NOTHING


def bound_of(result: Result, scheduler: str | Prepare | None = None) -> Bound:
    """Return what bounds the prefill of a run; `scheduler` is its policy, needed only if that was a function of your own.

    Raises
    ------
    SocsimError
        The policy is not known by its name.
    """
    without_s = ttft_without(result, result.timeline.scheduler if scheduler is None else scheduler)
    best = min(without_s, key=lambda name: (without_s[name], name))
    gain = (result.metrics["ttft_s"] or 0.0) / without_s[best]
    return Bound(RESOURCES[best] if gain >= LEAST_GAIN else None, gain, without_s)
