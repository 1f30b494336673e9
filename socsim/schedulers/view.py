"""What a policy is, what it may look at while the simulation runs, and what it may try and choose before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import NamedTuple, TypeVar

from socsim.graph import TaskGraph


class View:
    """What a policy may look at while the simulation runs; it changes from call to call and is read only.

    Attributes
    ----------
    now_ns
        Time since the start of the prefill.
    processor
        Place of the free processor in `graph.processors`.
    ready
        For each processor its ready subgraphs in rising order.
    coming
        For each processor what is being handed over to it: a heap of pairs, when it will be ready (ns) and which subgraph.
    running
        For each processor the subgraph that it runs, or -1.
    missing
        For each subgraph the number of direct predecessors and prefixes that are not complete.
    frontier
        For each prefix the place of its first member that is not complete.
    done
        For each subgraph whether it is complete.
    released, completed
        Subgraphs in the order in which they became ready, and in which they were completed; these only grow.
    """

    __slots__ = ("coming", "completed", "done", "frontier", "missing", "now_ns", "processor", "ready", "released", "running")

    def __init__(self, graph: TaskGraph) -> None:
        self.now_ns = 0
        self.processor = 0
        self.ready: list[list[int]] = [[] for _ in graph.processors]
        self.coming: list[list[tuple[int, int]]] = [[] for _ in graph.processors]
        self.running: list[int] = [-1] * len(graph.processors)
        self.missing: list[int] = graph.missing[:]
        self.frontier: list[int] = [0] * len(graph.prefixes)
        self.done = bytearray(len(graph))
        self.released: list[int] = []
        self.completed: list[int] = []


Choose = Callable[[Sequence[int], View], int | None]
Prepare = Callable[..., Choose]
"""A policy: called with the task graph, expected durations (ns) and a seed, and, if it has a parameter of that name, `rehearse`."""


class Rehearsal(NamedTuple):
    """What would happen under some policy if all durations were as expected; one entry for each subgraph (ns)."""

    start_ns: list[int]
    end_ns: list[int]
    makespan_ns: int
    """When the prefill ends."""


Rehearse = Callable[[Prepare | str], Rehearsal]
"""Simulates the run to come under another policy, DRAM and hand-overs included, with expected durations for the true ones."""


class Placements(NamedTuple):
    """The placements among which a policy may choose before the run; one entry for each subgraph."""

    graph: TaskGraph
    """The task graph with the placement of the engine's file."""
    expected_ns: list[Mapping[str, int]]
    """The processors that may run each subgraph, the engine file's first, with its duration there without handing its result over (ns)."""
    hand_over_ns: list[int]
    """What handing the result to another processor takes: the producer's work and the latency (ns)."""
    rehearse: Callable[[Sequence[str], Prepare], int]
    """Simulates a placement, the processor of every subgraph, under a policy as `Rehearse` does; returns the time to first token (ns)."""

    @property
    def listed(self) -> list[str]:
        """The processor of each subgraph by the engine's file."""
        return [subgraph.processor for subgraph in self.graph.subgraphs]


Place = Callable[[Placements], Sequence[str]]
"""Chooses the processor of every subgraph, before its policy is prepared for a task graph with this placement."""

PrepareT = TypeVar("PrepareT", bound=Prepare)


def places(place: Place | None) -> Callable[[PrepareT], PrepareT]:
    """Let a policy choose placements: it gets an attribute `place`, which is called where an engine has alternatives."""

    def attach(prepare: PrepareT) -> PrepareT:
        prepare.place = place  # type: ignore[attr-defined]
        return prepare

    return attach


def place_of(prepare: Prepare) -> Place | None:
    """Return the function by which a policy chooses placements, if it has one; what wraps a policy takes it over with `places`."""
    return getattr(prepare, "place", None)


def prepare_policy(prepare: Prepare, graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
    """Prepare a policy; one that has a parameter `rehearse` plans by simulation."""
    more = {"rehearse": rehearse} if plans(prepare) else {}
    return prepare(graph, expected_ns, seed, **more)


def plans(prepare: Prepare) -> bool:
    """Say whether a policy plans by simulation, which takes many times as long as what it plans."""
    try:
        return "rehearse" in signature(prepare).parameters
    except ValueError:  # something built in, which tells nothing of its parameters
        return False
