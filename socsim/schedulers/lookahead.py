"""Lookahead: the longest way to the end first, chunks held back against each other, and waiting for what is about to be ready."""

from __future__ import annotations

from collections.abc import Sequence

from socsim.graph import TaskGraph
from socsim.schedulers.placement_search import best_placement
from socsim.schedulers.ranked import by_rank, staggered, ways_to_end
from socsim.schedulers.view import Choose, Placements, View, places

STAGGER = 0.5
"""Share of a block by which the second of two chunks is held back, chosen on the shipped models; from 0.4 to 0.55, mean and worst times
differ little."""


def usual_stagger(graph: TaskGraph) -> float:
    """Return the share of a block by which each chunk is held back: the more chunks there are, the closer they follow each other."""
    chunks = 1 + max((subgraph.chunk for subgraph in graph.subgraphs[: graph.prefill_count]), default=0)
    return float(STAGGER / max(chunks - 1, 1) ** 0.5)


def lookahead_placement(placements: Placements) -> list[str]:
    """Return the best placement that a search finds by simulating `lookahead`; never worse under it than the engine file's."""
    return best_placement(placements, lookahead)


@places(lookahead_placement)
def lookahead(graph: TaskGraph, expected_ns: Sequence[int], seed: int, *, stagger: float | None = None, patience: float = 0.0) -> Choose:
    """Take the subgraph with the longest way to the end, each chunk held back against the one before by part of a block.

    Wins wherever several chunks share processors that all have much to do. The longest way to the end looks ahead along the graph and keeps
    the last blocks short. Holding chunks back lets one run its FFN on the NPU while the CPU computes the attention of another, where
    `out-of-order` and `critical-path` bring them to the same place at the same time. It needs no search, and as it plans no times,
    it adapts to durations that are not as expected. Loses to `planned` with two or three chunks, where single subgraphs matter.
    Where an engine allows several placements, one is searched by simulation before.

    Parameters
    ----------
    graph, expected_ns, seed
        As for every policy.
    stagger
        Share of a block by which each chunk is held back; default: half a block over the square root of the chunks behind the first.
    patience
        Wait for a subgraph of lower rank that is expected within this share of the time that the best ready one takes. Waiting on purpose
        was found to gain nothing here, so none is the default.
    """
    rank = lookahead_ranks(graph, expected_ns, stagger)
    return _Patient(graph, expected_ns, rank, patience).choose if patience else by_rank(graph, rank)


def lookahead_ranks(graph: TaskGraph, expected_ns: Sequence[int], stagger: float | None = None) -> list[float]:
    """Return the ranks by which `lookahead` chooses."""
    return staggered(graph, ways_to_end(graph, expected_ns), usual_stagger(graph) if stagger is None else stagger)


class _Patient:
    """Takes the lowest rank, and waits for a lower one that is about to be ready."""

    def __init__(self, graph: TaskGraph, expected_ns: Sequence[int], rank: Sequence[float], patience: float) -> None:
        self.graph, self.expected_ns, self.patience = graph, expected_ns, patience
        self.key = list(zip(rank, range(len(graph)), strict=True))
        self.ends = [0] * len(graph.processors)  # when what each processor runs is expected to end

    def choose(self, ready: Sequence[int], view: View) -> int | None:
        """Return the ready subgraph with the lowest rank, or None to wait for a lower one."""
        best = min(ready, key=self.key.__getitem__)
        limit = view.now_ns + self.patience * self.expected_ns[best]
        if any(through <= limit and self.key[index] < self.key[best] for through, index in view.coming[view.processor]):
            return None
        for processor, running in enumerate(view.running):
            if running >= 0 and view.now_ns <= self.ends[processor] <= limit and self._frees_better(running, best, view):
                return None
        self.ends[view.processor] = view.now_ns + self.expected_ns[best]
        return best

    def _frees_better(self, running: int, best: int, view: View) -> bool:
        """Say whether the end of a subgraph makes one of lower rank ready on the free processor."""
        graph, freed = self.graph, list(self.graph.successors[running])
        prefix, place = graph.prefix_of.get(running, (-1, -1))
        if place >= 0 and view.frontier[prefix] == place:
            members, waiters = graph.prefixes[prefix]
            freed += waiters[place]
            while place + 1 < len(members) and view.done[members[place + 1]]:
                place += 1
                freed += waiters[place]
        return any(
            view.missing[index] == 1 and graph.processor_index[index] == view.processor and self.key[index] < self.key[best]
            for index in freed
        )
