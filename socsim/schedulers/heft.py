"""HEFT: a static schedule, built subgraph by subgraph in the order of the longest way to the end, gaps filled."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from operator import itemgetter

from socsim.graph import TaskGraph
from socsim.schedulers.basic import follow
from socsim.schedulers.ranked import ways_to_end
from socsim.schedulers.view import Choose


def heft(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Follow a static schedule in which each subgraph, longest way to the end first, has the earliest gap of its processor.

    Wins over `critical-path` where a short subgraph fits before a long one that is not ready yet. Loses as that does, and when durations
    are not as expected, since its order is fixed. Where an engine allows several placements, it takes for each subgraph the processor on
    which it ends first.

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

    def take(self, ready: int, duration: int) -> int:
        """Take the first time from `ready` on that is long enough, and return its start."""
        for place in range(bisect(self.gaps, ready, key=itemgetter(1)), len(self.gaps)):
            first, last = self.gaps[place]
            start = max(first, ready)
            if start + duration <= last:
                self.gaps[place : place + 1] = [gap for gap in ((first, start), (start + duration, last)) if gap[0] < gap[1]]
                return start
        start = max(self.free_from, ready)
        if start > self.free_from:
            self.gaps.append((self.free_from, start))
        self.free_from = start + duration
        return start
