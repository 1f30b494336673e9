"""Scheduling policies: which of its ready subgraphs a free processor runs next, or whether it waits.

A policy is a function ``prepare(graph, expected_ns, seed)`` that is called once and returns ``choose(ready, view)``. That
is called whenever a processor is free and has ready subgraphs: `ready` holds their indices in rising order (chunk, block,
stage), so its first is the lowest chunk's. It returns one of them, or None to wait for the next event. Policies see
expected durations; the simulator holds the true ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from importlib import import_module
from typing import Any

from socsim.errors import SocsimError, unknown_name
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


def sequential(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """One subgraph at a time on the whole SoC, in the order chunk, block, stage: no overlap."""

    def choose(ready: Sequence[int], view: View) -> int | None:
        if any(index >= 0 for index in view.running):
            return None
        first = min(others[0] for others in view.ready if others)
        return first if first == ready[0] else None

    return choose


def fifo(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """The lowest chunk first among the ready, and in it the earliest block and stage."""
    return _first


def _first(ready: Sequence[int], view: View) -> int:
    return ready[0]


def in_order(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Naive overlap: each processor takes its subgraphs in the fixed order block, stage, chunk and waits for the next.

    Source: Xu et al. 2025, Fig 13a.
    """
    order: list[list[int]] = [[] for _ in graph.processors]
    for index in sorted(range(len(graph)), key=lambda i: (graph.subgraphs[i].position, graph.subgraphs[i].chunk)):
        order[graph.processor_index[index]].append(index)
    taken = [0] * len(order)

    def choose(ready: Sequence[int], view: View) -> int | None:
        processor = view.processor
        following = order[processor][taken[processor]]
        if view.missing[following] or following not in ready:
            return None
        taken[processor] += 1
        return following

    return choose


def lockstep_pairs(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Two chunks at a time, one a step behind the other, with a barrier after each step, as the open-source code does."""
    steps = _lockstep_steps(graph)
    left = [0] * (max(steps, default=-1) + 1)
    for step in steps:
        left[step] += 1
    state = [0, 0]  # current step, completions seen

    def choose(ready: Sequence[int], view: View) -> int | None:
        for index in view.completed[state[1] :]:
            left[steps[index]] -= 1
        state[1] = len(view.completed)
        while not left[state[0]]:
            state[0] += 1
        return next((index for index in ready if steps[index] == state[0]), None)

    return choose


def _lockstep_steps(graph: TaskGraph) -> list[int]:
    """Return the step of each subgraph: its depth in its chunk, one more in odd chunks, behind all earlier pairs."""
    depth = [0] * len(graph)
    for index, subgraph in enumerate(graph.subgraphs):
        needed = list(graph.predecessors[index])
        needed += [graph.prefixes[p].members[rank] for p, rank in graph.prefixes_needed.get(index, ())]
        inside = [depth[other] + 1 for other in needed if graph.subgraphs[other].chunk == subgraph.chunk]
        depth[index] = max(inside, default=0)
    length = max(depth, default=0) + 2
    return [subgraph.chunk // 2 * length + subgraph.chunk % 2 + depth[i] for i, subgraph in enumerate(graph.subgraphs)]


def out_of_order(graph: TaskGraph, expected_ns: Sequence[int], seed: int, *, tie: str = "lowest-chunk") -> Choose:
    """The paper's greedy rule: run the ready subgraph with the largest C.

    With S the subgraphs that become ready, on any processor, when g completes, and T their expected durations,
    C(g) = +sum(T) on CPU or GPU, -sum(T) on the NPU.

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
    sign = [-1 if subgraph.processor == "npu" else 1 for subgraph in graph.subgraphs]
    if tie == "lowest-chunk":
        rank = list(range(len(graph)))
    elif tie == "earliest-position":
        order = sorted(range(len(graph)), key=lambda i: (graph.subgraphs[i].position, graph.subgraphs[i].chunk))
        rank = [0] * len(graph)
        for place, index in enumerate(order):
            rank[index] = place
    else:
        raise unknown_name("tie rule", tie, ("lowest-chunk", "earliest-position"))
    successors, processor_of, prefix_of = graph.successors, graph.processor_index, graph.prefix_of
    heaps: list[list[tuple[int, int, int]]] = [[] for _ in graph.processors]
    waiting: dict[int, int] = {}  # ready subgraph -> its C
    seen = [0, 0]  # released, completed

    def score(index: int, view: View) -> int:
        return sign[index] * sum(expected_ns[other] for other in _made_ready(graph, index, view))

    def put(index: int, view: View) -> None:
        value = score(index, view)
        if waiting.get(index) != value:
            waiting[index] = value
            heappush(heaps[processor_of[index]], (-value, rank[index], index))

    def follow(view: View) -> None:
        missing = view.missing
        for index in view.completed[seen[1] :]:
            for successor in successors[index]:
                if missing[successor] == 1:
                    last = _last_needed(graph, successor, view)
                    if last in waiting:
                        put(last, view)
            if index in prefix_of:
                prefix = prefix_of[index][0]
                front = view.frontier[prefix]
                members = graph.prefixes[prefix].members
                if front < len(members) and members[front] in waiting:
                    put(members[front], view)
        seen[1] = len(view.completed)
        for index in view.released[seen[0] :]:
            put(index, view)
        seen[0] = len(view.released)

    def choose(ready: Sequence[int], view: View) -> int:
        follow(view)
        heap = heaps[view.processor]
        while True:
            value, _, index = heappop(heap)
            if waiting.get(index) == -value:
                del waiting[index]
                return index

    choose.score = score  # type: ignore[attr-defined]
    return choose


def _made_ready(graph: TaskGraph, index: int, view: View) -> list[int]:
    """Return the subgraphs that become ready when one completes: the S of the paper's rule."""
    missing = view.missing
    result = [successor for successor in graph.successors[index] if missing[successor] == 1]
    if index in graph.prefix_of:
        p, rank = graph.prefix_of[index]
        if view.frontier[p] == rank:
            members, waiters = graph.prefixes[p]
            while True:
                result += [waiter for waiter in waiters[rank] if missing[waiter] == 1]
                rank += 1
                if rank == len(members) or not view.done[members[rank]]:
                    break
    return result


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


SCHEDULERS: dict[str, Prepare] = {
    "sequential": sequential,
    "in-order": in_order,
    "lockstep-pairs": lockstep_pairs,
    "fifo": fifo,
    "out-of-order": out_of_order,
    "out-of-order-earliest-position": partial(out_of_order, tie="earliest-position"),
}
"""Shipped policies by name."""


def scheduler_summary(name: str) -> str:
    """Return the first sentence of a shipped policy's documentation."""
    prepare: Any = SCHEDULERS[name]
    if isinstance(prepare, partial):
        return f"As {prepare.func.__name__.replace('_', '-')}, ties by {', '.join(map(str, prepare.keywords.values()))}."
    return (prepare.__doc__ or "").split("\n")[0]


def load_scheduler(scheduler: str | Prepare) -> Prepare:
    """Return a policy by name, from a user's ``module:function``, or as it is.

    Raises
    ------
    SocsimError
        The name is unknown, or the module or function cannot be found.
    """
    if callable(scheduler):
        return scheduler
    if scheduler in SCHEDULERS:
        return SCHEDULERS[scheduler]
    module_name, colon, function = scheduler.partition(":")
    if not colon:
        raise unknown_name("scheduler", scheduler, [*SCHEDULERS, "module:function"])
    try:
        found: Prepare = getattr(import_module(module_name), function)
    except ImportError as error:
        raise SocsimError(f"scheduler '{scheduler}': cannot import module '{module_name}': {error}") from None
    except AttributeError:
        raise SocsimError(f"scheduler '{scheduler}': module '{module_name}' has no '{function}'") from None
    if not callable(found):
        raise SocsimError(f"scheduler '{scheduler}': '{function}' is no function")
    return found
