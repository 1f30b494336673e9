"""What a policy is, and what it may look at while the simulation runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from socsim.graph import TaskGraph


class View:
    """What a policy may look at while the simulation runs; it changes from call to call and is read only."""

    __slots__ = ("completed", "done", "frontier", "missing", "now_ns", "processor", "ready", "released", "running")

    def __init__(self, graph: TaskGraph) -> None:
        self.now_ns = 0
        self.processor = 0
        """Place of the free processor in `graph.processors`."""
        self.ready: list[list[int]] = [[] for _ in graph.processors]
        """For each processor its ready subgraphs in rising order."""
        self.running: list[int] = [-1] * len(graph.processors)
        """For each processor the subgraph that it runs, or -1."""
        self.missing: list[int] = graph.missing[:]
        """For each subgraph the number of direct predecessors and prefixes that are not complete."""
        self.frontier: list[int] = [0] * len(graph.prefixes)
        """For each prefix the place of its first member that is not complete."""
        self.done = bytearray(len(graph))
        """For each subgraph whether it is complete."""
        self.released: list[int] = []
        """Subgraphs in the order in which they became ready; only grows."""
        self.completed: list[int] = []
        """Subgraphs in the order in which they were completed; only grows."""


Choose = Callable[[Sequence[int], View], int | None]
Prepare = Callable[[TaskGraph, Sequence[int], int], Choose]
