"""Lower bounds on the makespan of a prefill: no order of its subgraphs, however clever, ends sooner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from socsim.cost import NANOSECONDS, Costs
from socsim.errors import unknown_name
from socsim.graph import TaskGraph
from socsim.memory import MODES, TOLERANCE_NS

Job = tuple[int, int, int]
"""Of a subgraph on its processor: when it can start at the earliest, how long it takes, and what has to come behind its end (ns)."""

ROUNDING_NS = 0.5 + TOLERANCE_NS
"""A flow may have this much left when `socsim.memory` ends it, as ends are rounded to whole nanoseconds."""


@dataclass(frozen=True)
class Bounds:
    """Lower bounds on the makespan of a prefill (s), from its first start to its last end; each holds by itself.

    `path_s` is the longest chain of dependencies with its hand-overs. `load_s` is the time of a processor's work together with what has to
    come before and behind it, of the processor where that is longest; it is never below `path_s`. Of two or three chunks it is loose: it
    knows nothing of the waits while the first chunk begins and the last one ends. `dram_s` is the time of all bytes at the rate that DRAM
    achieves; 0 where flows do not share it.
    """

    path_s: float
    load_s: float
    dram_s: float

    @property
    def makespan_s(self) -> float:
        """The largest of them."""
        return max(self.path_s, self.load_s, self.dram_s)


def lower_bounds(costs: Costs, memory: str = "shared") -> Bounds:
    """Return lower bounds on the makespan of the prefill of a task graph.

    They hold for the subgraphs before `TaskGraph.prefill_count`; decode steps behind them can only delay them, and preparation is no part
    of a makespan. Durations are those without contention, which makes none shorter, and those before or after a slowdown, whichever are.

    Parameters
    ----------
    costs
        True costs.
    memory
        ``shared``, ``private`` or ``infinite`` DRAM, as simulated.

    Raises
    ------
    SocsimError
        The mode is unknown.
    """
    if memory not in MODES:
        raise unknown_name("memory mode", memory, MODES)
    graph, latency = costs.graph, costs.latency_ns
    duration = _shortest_ns(costs, memory)
    if costs.later is not None:
        duration = list(map(min, duration, _shortest_ns(costs.later.costs, memory)))
    machines = machine_jobs(graph, duration, latency)
    path_ns = max((sum(job) for jobs in machines for job in jobs), default=0)
    load_ns = max(map(one_machine_ns, machines), default=0)
    return Bounds(path_ns / NANOSECONDS, load_ns / NANOSECONDS, _dram_s(costs) if memory == "shared" else 0.0)


def _shortest_ns(costs: Costs, memory: str) -> list[int]:
    """Return how long each subgraph of the prefill takes at least."""
    count = costs.graph.prefill_count
    return [fixed or 1 for fixed in costs.fixed_ns[:count]] if memory == "infinite" else costs.expected_ns[:count]


def _dram_s(costs: Costs) -> float:
    """Return how long DRAM is busy at least with the bytes of the prefill."""
    stream_s = costs.dram_bytes[: costs.graph.prefill_count] / costs.achievable_bytes_per_s
    return float(np.maximum(stream_s - ROUNDING_NS / NANOSECONDS, 0.0).sum())


def machine_jobs(graph: TaskGraph, duration_ns: Sequence[int], latency_ns: Sequence[Sequence[int]]) -> list[list[Job]]:
    """Return for each processor its jobs among the first subgraphs, whose durations are given."""
    jobs = zip(heads(graph, duration_ns, latency_ns), duration_ns, tails(graph, duration_ns, latency_ns), strict=True)
    machines: list[list[Job]] = [[] for _ in graph.processors]
    for place, job in zip(graph.processor_index, jobs, strict=False):
        machines[place].append(job)
    return machines


def heads(graph: TaskGraph, duration_ns: Sequence[int], latency_ns: Sequence[Sequence[int]]) -> list[int]:
    """Return when each of the first subgraphs, whose durations are given, starts if every processor had room for all (ns)."""
    place, predecessors, waits = graph.processor_index, graph.predecessors, graph.prefixes_needed
    head: list[int] = []
    end: list[int] = []
    ended: list[list[int]] = [[] for _ in graph.prefixes]  # when all members up to a place have ended
    for index, duration in enumerate(duration_ns):
        at, ready = place[index], 0
        for other in predecessors[index]:
            through = end[other] + latency_ns[place[other]][at]
            if through > ready:
                ready = through
        for p, rank in waits.get(index, ()):
            members, known = graph.prefixes[p].members, ended[p]
            while len(known) <= rank:
                known.append(max(end[members[len(known)]], known[-1] if known else 0))
            ready = max(ready, known[rank] + latency_ns[place[members[0]]][at])
        head.append(ready)
        end.append(ready + duration)
    return head


def tails(graph: TaskGraph, duration_ns: Sequence[int], latency_ns: Sequence[Sequence[int]]) -> list[int]:
    """Return how long the longest chain behind the end of each of the first subgraphs takes, whose durations are given (ns)."""
    place, predecessors, waits, prefix_of = graph.processor_index, graph.predecessors, graph.prefixes_needed, graph.prefix_of
    tail = [0] * len(duration_ns)
    waiting = [[0] * len(prefix.members) for prefix in graph.prefixes]  # longest chain from a waiter of each place on, with its hand-over
    beyond: list[list[int]] = [[] for _ in graph.prefixes]  # the same of a waiter of that place or a later one; from the last place on
    for index in range(len(duration_ns) - 1, -1, -1):
        if index in prefix_of:
            p, rank = prefix_of[index]
            chains, known = waiting[p], beyond[p]
            while len(known) < len(chains) - rank:  # these waiters stand behind this member in the graph, so they have been seen
                known.append(max(chains[-1 - len(known)], known[-1] if known else 0))
            tail[index] = max(tail[index], known[len(chains) - 1 - rank])
        at, chain = place[index], tail[index] + duration_ns[index]
        for other in predecessors[index]:
            through = chain + latency_ns[place[other]][at]
            if through > tail[other]:
                tail[other] = through
        for p, rank in waits.get(index, ()):
            through = chain + latency_ns[place[graph.prefixes[p].members[0]]][at]
            if through > waiting[p][rank]:
                waiting[p][rank] = through
    return tail


def one_machine_ns(jobs: Sequence[Job]) -> int:
    """Return when the last tail behind jobs on one machine ends at the earliest, jobs being allowed to interrupt each other.

    That is Jackson's preemptive schedule, which no other beats: of the jobs that can start, the one with the longest tail runs (Carlier,
    The one-machine sequencing problem, European Journal of Operational Research 11, 1982).
    """
    ranked = sorted(jobs, key=lambda job: -job[2])
    left, waiting, now, best = [job[1] for job in ranked], list[int](), 0, 0
    for head, coming in sorted([(job[0], rank) for rank, job in enumerate(ranked)]):
        while waiting and now < head:
            first = waiting[0]
            end = now + left[first]
            if end > head:
                left[first] = end - head
                now = head
            else:
                heappop(waiting)
                now = end
                best = max(best, end + ranked[first][2])
        now = max(now, head)
        heappush(waiting, coming)
    for first in sorted(waiting):
        now += left[first]
        best = max(best, now + ranked[first][2])
    return best
