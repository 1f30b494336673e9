"""What bounded a run's prefill: its critical path, its idle gaps, and its TTFT if one resource cost nothing.

The critical path is traced back from the prefill's last subgraph, each time to the dependency that arrived last. What lies
between two neighbors on it is hand-over latency, then waiting for the processor. A subgraph's own time is split as in
`socsim.cost.PARTS`; the rest of its duration it waited for DRAM. All is in whole nanoseconds, so that the parts add up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.bounding import Bound, bound_of
from socsim.cost import NANOSECONDS, Costs
from socsim.decisions import label
from socsim.runs import Result
from socsim.schedulers import Prepare
from socsim.timeline import Timeline

PATH_PARTS = ("launch", "compute", "attention", "float", "synchronization", "weight_streaming", "waiting")
"""Launch, linears, attention products, element-wise work, hand-over work and latency, waiting for DRAM, for the processor.

The first five follow `socsim.cost.PARTS`.
"""
_SYNCHRONIZATION, _STREAMING, _WAITING = 4, 5, 6

Key = tuple[str, str, str]
"""Processor, stage, part."""

IDLE, POLICY, GAPS = "idle", "policy", 10


@dataclass(frozen=True)
class PathRow:
    """Time that one part of one stage on one processor takes on the critical path; `share` is of the makespan."""

    processor: str
    stage: str
    part: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Gap:
    """One idle interval of a processor inside the prefill.

    `waited_for` names the dependency of the next subgraph, `before`, that arrived last, and `waited_for_processor` who
    made it; if `before` was ready when the gap began, `waited_for` is ``policy`` and the processor empty. `policy_s` is
    the part of the gap in which `before` was ready.
    """

    processor: str
    start_s: float
    duration_s: float
    before: str
    waited_for: str
    waited_for_processor: str
    policy_s: float


@dataclass(frozen=True)
class Explanation:
    """What bounded a prefill.

    `path` holds the rows of the critical path, longest first, and `parts` their sums by part in seconds; both add up to
    `makespan_s`. `waited_behind` says what the processors did while the path waited for them: rows whose part is
    ``waiting`` and whose stage is that of the work in front, or ``idle`` where the policy held the processor back.
    `without` is the TTFT (s) if one resource cost nothing, by resource; `ttft_s` is the run's own.
    """

    makespan_s: float
    ttft_s: float
    path: tuple[PathRow, ...]
    parts: Mapping[str, float]
    waited_behind: tuple[PathRow, ...]
    without: Mapping[str, float]
    gaps: tuple[Gap, ...]
    conclusion: str

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as lists, dictionaries, strings and finite numbers, ready for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def explain(result: Result, scheduler: str | Prepare | None = None) -> Explanation:
    """Explain what bounded a run's prefill.

    Parameters
    ----------
    result
        The run.
    scheduler
        The policy under which it was made, needed only if that was a function of your own; default: by its name.

    Raises
    ------
    SocsimError
        The run's policy is not known by its name.
    """
    timeline, ttft_s = result.timeline, result.metrics["ttft_s"] or 0.0
    path = critical_path(timeline)
    makespan_ns = sum(sum(step.parts_ns) for step in path)
    own, behind = _own_time(timeline, path), _time_behind(timeline, path)
    bound = bound_of(result, scheduler)
    return Explanation(
        makespan_s=makespan_ns / NANOSECONDS,
        ttft_s=ttft_s,
        path=_rows(own, makespan_ns),
        parts={part: sum(step.parts_ns[column] for step in path) / NANOSECONDS for column, part in enumerate(PATH_PARTS)},
        waited_behind=_rows(behind, makespan_ns),
        without=bound.without_s,
        gaps=largest_gaps(timeline),
        conclusion=_conclusion(own, behind, bound, ttft_s, result.case.preparation.charged_s),
    )


@dataclass(frozen=True)
class PathStep:
    """One subgraph of the critical path with its time by `PATH_PARTS`; it became ready at `ready_ns`."""

    subgraph: int
    ready_ns: int
    parts_ns: tuple[int, ...]


def critical_path(timeline: Timeline) -> list[PathStep]:
    """Return the critical path of the prefill, from its first to its last subgraph.

    A step's synchronization includes the latency of handing its result on. The parts of all steps add up to the makespan.
    """
    count = timeline.graph.prefill_count
    first_ns = int(timeline.start_ns[:count].min())
    index, latency_ns = int(timeline.end_ns[:count].argmax()), 0
    path: list[PathStep] = []
    while index >= 0:
        ready_ns, giver = _last_arrival(timeline, index, first_ns)
        start_ns, end_ns = int(timeline.start_ns[index]), int(timeline.end_ns[index])
        parts = [*_own_parts_ns(timeline.costs, index), 0, start_ns - ready_ns]
        parts[_STREAMING] = end_ns - start_ns - sum(parts[:_STREAMING])
        parts[_SYNCHRONIZATION] += latency_ns
        path.append(PathStep(index, ready_ns, tuple(parts)))
        latency_ns = ready_ns - int(timeline.end_ns[giver])
        index = giver
    return path[::-1]


def _last_arrival(timeline: Timeline, index: int, first_ns: int) -> tuple[int, int]:
    """Return when a subgraph had all that it needs, and the dependency that arrived last: -1 where it needs none."""
    graph, latency = timeline.graph, timeline.costs.latency_ns
    place = graph.processor_index
    needed = list(graph.all_predecessors(index))
    if not needed:
        return first_ns, -1
    arrivals = [int(timeline.end_ns[other]) + latency[place[other]][place[index]] for other in needed]
    ready_ns = max(arrivals)
    return ready_ns, needed[arrivals.index(ready_ns)]


def _own_parts_ns(costs: Costs, index: int) -> list[int]:
    """Return a subgraph's own time by part in whole nanoseconds that add up to what the simulator takes."""
    exact = costs.parts_s[index] * NANOSECONDS
    whole = np.floor(exact).astype(np.int64)
    left = max(costs.fixed_ns[index], 1) - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    return [int(part) for part in whole]


def _own_time(timeline: Timeline, path: list[PathStep]) -> Counter[Key]:
    """Add up the critical path (ns) by processor, stage and part."""
    total: Counter[Key] = Counter()
    for step in path:
        subgraph = timeline.graph.subgraphs[step.subgraph]
        for part, time_ns in zip(PATH_PARTS, step.parts_ns, strict=True):
            total[subgraph.processor, subgraph.stage, part] += time_ns
    return total


def _time_behind(timeline: Timeline, path: list[PathStep]) -> Counter[Key]:
    """Add up what each processor did (ns) while the critical path waited for it, by processor and stage."""
    total: Counter[Key] = Counter()
    subgraphs, place = timeline.graph.subgraphs, timeline.graph.processor_index
    queues = [_in_time_order(timeline, processor) for processor in range(len(timeline.graph.processors))]
    starts, ends = ([times[queue] for queue in queues] for times in (timeline.start_ns, timeline.end_ns))
    for step in path:
        processor, start_ns = place[step.subgraph], int(timeline.start_ns[step.subgraph])
        name, idle_ns = subgraphs[step.subgraph].processor, start_ns - step.ready_ns
        first, last = np.searchsorted(ends[processor], step.ready_ns, "right"), np.searchsorted(starts[processor], start_ns, "left")
        for other in queues[processor][first:last].tolist():
            time_ns = min(int(timeline.end_ns[other]), start_ns) - max(int(timeline.start_ns[other]), step.ready_ns)
            total[name, subgraphs[other].stage, "waiting"] += time_ns
            idle_ns -= time_ns
        total[name, IDLE, "waiting"] += idle_ns
    return total


def _in_time_order(timeline: Timeline, processor: int) -> NDArray[np.int64]:
    """Return the subgraphs of a processor by rising start."""
    chosen = np.flatnonzero(timeline.processor == processor)
    return chosen[np.argsort(timeline.start_ns[chosen], kind="stable")]


def _rows(total: Counter[Key], makespan_ns: int) -> tuple[PathRow, ...]:
    """Return sums as rows, longest first, without those that take no time."""
    ordered = sorted(((-time_ns, key) for key, time_ns in total.items() if time_ns))
    return tuple(PathRow(*key, -negative / NANOSECONDS, -negative / makespan_ns) for negative, key in ordered)


def largest_gaps(timeline: Timeline) -> tuple[Gap, ...]:
    """Return the ten largest idle intervals of processors between their first and last subgraph of the prefill."""
    graph, count = timeline.graph, timeline.graph.prefill_count
    first_ns, idle = int(timeline.start_ns[:count].min()), list[tuple[int, int, int, int]]()
    for processor in range(len(graph.processors)):
        queue = _in_time_order(timeline, processor)
        inside = np.flatnonzero(queue < count)
        queue = queue[inside[0] : inside[-1] + 1] if len(inside) else queue[:0]
        begins, ends = timeline.end_ns[queue[:-1]].tolist(), timeline.start_ns[queue[1:]].tolist()
        idle += [(b - e, b, processor, following) for b, e, following in zip(begins, ends, queue[1:].tolist(), strict=True) if b < e]
    return tuple(_gap(timeline, -negative, start, following, first_ns) for negative, start, _, following in sorted(idle)[:GAPS])


def _gap(timeline: Timeline, duration_ns: int, start_ns: int, following: int, first_ns: int) -> Gap:
    """Describe the gap of some duration before a subgraph."""
    subgraph = timeline.graph.subgraphs[following]
    ready_ns, giver = _last_arrival(timeline, following, first_ns)
    needed = timeline.graph.subgraphs[giver] if ready_ns > start_ns else None
    return Gap(
        processor=subgraph.processor,
        start_s=start_ns / NANOSECONDS,
        duration_s=duration_ns / NANOSECONDS,
        before=label(subgraph),
        waited_for=label(needed) if needed else POLICY,
        waited_for_processor=needed.processor if needed else "",
        policy_s=(start_ns + duration_ns - max(ready_ns, start_ns)) / NANOSECONDS,
    )


def _conclusion(own: Counter[Key], behind: Counter[Key], bound: Bound, ttft_s: float, preparation_s: float) -> str:
    """Say in one sentence what bounded the prefill: the resource that helps most if free, and what fills the critical path."""
    total: Counter[str] = Counter(synchronization=0)
    for (processor, _, part), time_ns in own.items():
        total[part if part == "synchronization" else f"{processor.upper()} work"] += 0 if part == "waiting" else time_ns
    for (processor, stage, _), time_ns in behind.items():
        total["idling by policy" if stage == IDLE else f"{processor.upper()} work"] += time_ns
    shares = sorted((-time_ns, name) for name, time_ns in total.items() if time_ns or name == "synchronization")
    content = ", ".join(f"{_percent(-negative / sum(own.values()))} {name}" for negative, name in shares)
    preparation = f"; {_percent(preparation_s / ttft_s)} of the TTFT is preparation" if preparation_s else ""
    head, hope = "Bound by no single resource", "none of them, were it free, would make it faster"
    if bound.resource:
        gain = f"{bound.gain_if_free:.2f}x" if bound.gain_if_free < 100 else "over 100x"
        head, hope = bound.resource.bound, f"free {bound.resource.noun} would make it {gain} faster"
    return f"{head}: the critical path, with what it queues behind, is {content}{preparation}; {hope}."


def _percent(share: float) -> str:
    """Return a share in percent, to a tenth below ten."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"
