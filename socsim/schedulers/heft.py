"""HEFT: a static schedule, built subgraph by subgraph in the order of the longest way to the end, gaps filled."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from operator import itemgetter

from socsim.graph import TaskGraph
from socsim.schedulers.basic import follow
from socsim.schedulers.ranked import ways_to_end
from socsim.schedulers.view import Choose, Placements, places


def heft_placement(placements: Placements) -> list[str]:
    """Return for each subgraph the processor on which it ends first, longest way to the end first, hand-overs counted.

    Notes
    -----
    Source: as `heft`, section 4; ranks with mean durations and mean costs of communication, eqs. 4 and 8.
    """
    graph, expected_ns, hand_over_ns = placements.graph, placements.expected_ns, placements.hand_over_ns
    left = _mean_ways_to_end(placements)
    end, chosen = [0] * len(graph), placements.listed
    machines = {name: _Machine() for durations in expected_ns for name in durations}
    for index in sorted(range(len(graph)), key=lambda index: (-left[index], index)):
        ends = {}
        for name, duration in expected_ns[index].items():
            arrivals = (end[other] + (chosen[other] != name) * hand_over_ns[other] for other in graph.all_predecessors(index))
            ready = max(arrivals, default=0)
            ends[name] = machines[name].earliest(ready, duration)[0] + duration
        name = min(ends, key=ends.__getitem__)  # the first of equals is the engine file's
        machines[name].take(ends[name] - expected_ns[index][name], expected_ns[index][name])
        chosen[index], end[index] = name, ends[name]
    return chosen


def _mean_ways_to_end(placements: Placements) -> list[float]:
    """Return for each subgraph the longest chain from its start to the end, durations and hand-overs as means of placements (ns)."""
    graph, expected_ns = placements.graph, placements.expected_ns
    way = [0.0] * len(graph)
    for index in reversed(range(graph.prefill_count)):  # decode steps come last anyway
        own = expected_ns[index]
        way[index] += sum(own.values()) / len(own)
        for other in graph.all_predecessors(index):
            pairs = [here != there for here in expected_ns[other] for there in own]
            way[other] = max(way[other], way[index] + placements.hand_over_ns[other] * sum(pairs) / len(pairs))
    return way


@places(heft_placement)
def heft(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Follow a static schedule in which each subgraph, longest way to the end first, has the earliest gap of its processor.

    Wins where an engine allows several placements: it takes for each subgraph the processor on which it ends first. With one placement
    it is behind `critical-path` in prefills: a gap that is too short for any subgraph stays empty, where that starts the next one at
    once and lets what comes later wait a little.

    Notes
    -----
    Source: Topcuoglu, Hariri and Wu, Performance-effective and low-complexity task scheduling for heterogeneous computing, IEEE TPDS 13(3),
    2002, section 4, without communication costs, of which policies are not told.
    """
    left = ways_to_end(graph, expected_ns)
    start, end = [0] * len(graph), [0] * len(graph)
    machines = [_Machine() for _ in graph.processors]
    # What is needed comes first: its way is longer, as durations are never 0, or none where both are decode steps.
    for index in sorted(range(len(graph)), key=lambda index: (-left[index], index)):
        ready = max((end[other] for other in graph.all_predecessors(index)), default=0)
        start[index] = machines[graph.processor_index[index]].take(ready, expected_ns[index])
        end[index] = start[index] + expected_ns[index]
    return follow(graph, sorted(range(len(graph)), key=lambda index: (start[index], index)))


class _Machine:
    """The time of a processor that is not taken yet: gaps between what it does, and all behind that."""

    def __init__(self) -> None:
        self.gaps: list[tuple[int, int]] = []
        """Start and end of each, in rising order; they do not touch."""
        self.free_from = 0

    def earliest(self, ready: int, duration: int) -> tuple[int, int]:
        """Return the first time from `ready` on that is long enough, and the place of its gap; behind all gaps, their number."""
        for place in range(bisect(self.gaps, ready, key=itemgetter(1)), len(self.gaps)):
            first, last = self.gaps[place]
            start = max(first, ready)
            if start + duration <= last:
                return start, place
        return max(self.free_from, ready), len(self.gaps)

    def take(self, ready: int, duration: int) -> int:
        """Take the first time from `ready` on that is long enough, and return its start."""
        start, place = self.earliest(ready, duration)
        if place < len(self.gaps):
            first, last = self.gaps[place]
            self.gaps[place : place + 1] = [gap for gap in ((first, start), (start + duration, last)) if gap[0] < gap[1]]
            return start
        if start > self.free_from:
            self.gaps.append((self.free_from, start))
        self.free_from = start + duration
        return start
