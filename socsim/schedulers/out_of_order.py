"""The paper's out-of-order policy, kept up to date as things complete instead of computed anew at every choice."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from socsim.errors import unknown_name
from socsim.graph import TaskGraph
from socsim.schedulers.view import Choose, View

TIE_RULES = ("lowest-chunk", "earliest-position")


def out_of_order(graph: TaskGraph, expected_ns: Sequence[int], seed: int, *, tie: str = "lowest-chunk") -> Choose:
    """Run the ready subgraph with the largest C: the paper's greedy rule.

    With S the subgraphs that become ready, on any processor, when g completes, and T their expected durations,
    C(g) = +sum(T) on CPU or GPU, -sum(T) on the NPU.

    Wins over `fifo` where the NPU has more than three times the work of the CPU, so that feeding it is what matters. Loses as the CPU's
    share grows: it looks one step ahead only, brings chunks to the same place at the same time, and never waits.

    Parameters
    ----------
    graph, expected_ns, seed
        As for every policy.
    tie
        Among equal C: ``lowest-chunk``, or ``earliest-position`` (block, stage, then chunk).

    Notes
    -----
    Source: Xu et al. 2025, Eq. 5, which says nothing of ties. C of a ready subgraph changes only when another completion
    leaves it as the last thing that a successor waits for, so a heap for each processor is kept and corrected then.
    """
    return _OutOfOrder(graph, expected_ns, _tie_ranks(graph, tie)).choose


def out_of_order_earliest_position(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Run the ready subgraph with the largest C, as `out-of-order`, with ties to the earliest block and stage.

    Wins over `out-of-order` in about as many cases as it loses, by chance rather than by a regime of its own: the paper does not say how
    ties are broken, so comparisons with its rule take the faster of the two.
    """
    return out_of_order(graph, expected_ns, seed, tie="earliest-position")


def _tie_ranks(graph: TaskGraph, tie: str) -> list[int]:
    """Return for each subgraph its rank among equal C; the lowest goes first."""
    if tie not in TIE_RULES:
        raise unknown_name("tie rule", tie, TIE_RULES)
    ranks = list(range(len(graph)))
    if tie == "earliest-position":
        order = sorted(ranks, key=lambda index: (graph.subgraphs[index].position, graph.subgraphs[index].chunk))
        for rank, index in enumerate(order):
            ranks[index] = rank
    return ranks


class _OutOfOrder:
    """State of the policy: C of every ready subgraph, and a heap of them for each processor."""

    def __init__(self, graph: TaskGraph, expected_ns: Sequence[int], ranks: list[int]) -> None:
        self.graph, self.expected_ns, self.ranks = graph, expected_ns, ranks
        self.successors, self.prefix_of, self.place = graph.successors, graph.prefix_of, graph.processor_index
        self.sign = [-1 if name == "npu" else 1 for name in graph.processors]
        self.heaps: list[list[tuple[int, int, int]]] = [[] for _ in graph.processors]
        self.waiting: list[int | None] = [None] * len(graph)  # C of the ready subgraphs
        self.runs = _PrefixRuns(graph, expected_ns)
        self.fronts = [0] * len(graph.prefixes)
        self.seen_released = self.seen_completed = 0

    def choose(self, ready: Sequence[int], view: View) -> int:
        """Return the ready subgraph with the largest C."""
        self._follow(view)
        heap, waiting = self.heaps[view.processor], self.waiting
        while True:
            value, _, index = heappop(heap)
            if waiting[index] == -value:
                waiting[index] = None
                return index

    def score(self, index: int, view: View) -> int:
        """Return C of a ready subgraph."""
        self._follow(view)
        return self._score(index, view)

    def _score(self, index: int, view: View) -> int:
        missing, gain = view.missing, 0
        for other in self.successors[index]:
            if missing[other] == 1:
                gain += self.expected_ns[other]
        if index in self.prefix_of:
            prefix, place = self.prefix_of[index]
            if view.frontier[prefix] == place:
                gain += self.runs.gain(prefix, view)
        return self.sign[self.place[index]] * gain

    def _put(self, index: int, view: View) -> None:
        """Enter a ready subgraph with its C; an entry with an older C is skipped when it comes up."""
        value = self._score(index, view)
        if self.waiting[index] != value:
            self.waiting[index] = value
            heappush(self.heaps[self.place[index]], (-value, self.ranks[index], index))

    def _follow(self, view: View) -> None:
        """Take in what has been completed and released since the last call."""
        completed, released, missing = view.completed, view.released, view.missing
        for index in completed[self.seen_completed :]:
            for successor in self.successors[index]:
                if missing[successor] == 1:
                    self._correct(successor, view)
            if index in self.prefix_of:
                self._follow_prefix(self.prefix_of[index][0], view)
        self.seen_completed = len(completed)
        for index in released[self.seen_released :]:
            self._put(index, view)
        self.seen_released = len(released)

    def _follow_prefix(self, prefix: int, view: View) -> None:
        members, waiters = self.graph.prefixes[prefix]
        front = view.frontier[prefix]
        for place in range(self.fronts[prefix], front):
            for waiter in waiters[place]:
                if view.missing[waiter] == 1:
                    self._correct(waiter, view)
        self.fronts[prefix] = front
        if front < len(members) and self.waiting[members[front]] is not None:
            self._put(members[front], view)

    def _correct(self, candidate: int, view: View) -> None:
        """Correct C of what alone keeps a subgraph from being ready."""
        last = _last_needed(self.graph, candidate, view)
        if last in self.prefix_of:
            self.runs.forget(self.prefix_of[last][0])
        if last >= 0 and self.waiting[last] is not None:
            self._put(last, view)


class _PrefixRuns:
    """What becomes ready when a prefix's first missing member completes: its waiters and those of the completed run behind it.

    The run is followed only where it has grown, so that a long one costs no more than its members.
    """

    def __init__(self, graph: TaskGraph, expected_ns: Sequence[int]) -> None:
        self.graph, self.expected_ns = graph, expected_ns
        self.known: dict[int, tuple[int, int, int]] = {}  # prefix -> first missing member, end of its run, sum of durations

    def gain(self, prefix: int, view: View) -> int:
        """Return the expected durations of what becomes ready, summed."""
        members, waiters = self.graph.prefixes[prefix]
        front = view.frontier[prefix]
        first, place, total = self.known.get(prefix, (-1, 0, 0))
        if first != front:
            place, total = front, 0
        while place < len(members) and (place == front or view.done[members[place]]):
            total += sum([self.expected_ns[waiter] for waiter in waiters[place] if view.missing[waiter] == 1])
            place += 1
        self.known[prefix] = front, place, total
        return total

    def forget(self, prefix: int) -> None:
        """Follow the run anew next time, as one of its waiters has come to wait for nothing else."""
        self.known.pop(prefix, None)


def _last_needed(graph: TaskGraph, index: int, view: View) -> int:
    """Return the subgraph that alone still keeps another from being ready, or -1 where several do."""
    for other in graph.predecessors[index]:
        if not view.done[other]:
            return other
    for p, rank in graph.prefixes_needed.get(index, ()):
        front = view.frontier[p]
        if front <= rank:
            return graph.prefixes[p].members[front]
    return -1
