"""Policies that need no more than an order: one at a time, fixed orders, lockstep, lowest chunk first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from socsim.graph import TaskGraph
from socsim.schedulers.view import Choose, View


def sequential(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Run one subgraph at a time on the whole SoC, in the order chunk, block, stage: no overlap.

    Wins nowhere: it shows what overlap is worth.
    """

    def choose(ready: Sequence[int], view: View) -> int | None:
        following = len(view.completed)
        return following if ready[0] == following and max(view.running) < 0 else None

    return choose


def fifo(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Take the lowest chunk first among the ready, and in it the earliest block and stage.

    Wins over `out-of-order` in most cases where the CPU has more than half of the work of the NPU, and needs nothing to be known. Each
    chunk runs ahead as far as it can and later ones fill its gaps; loses at the end, where the last chunk is left alone with two
    processors, which is much of a prompt of two to eight chunks.
    """
    return _first


def _first(ready: Sequence[int], view: View) -> int:
    return ready[0]


def in_order(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Overlap naively: each processor takes its subgraphs in the fixed order block, stage, chunk and waits for the next.

    Wins over `fifo` where the NPU has more than twice the work of the CPU: it keeps chunks together, so that none is left alone at the
    end, and its waits are short. Loses elsewhere, as one late subgraph holds up all behind it.

    Notes
    -----
    Source: Xu et al. 2025, Fig 13a.
    """
    return follow(graph, sorted(range(len(graph)), key=lambda i: (graph.subgraphs[i].position, graph.subgraphs[i].chunk)))


def follow(graph: TaskGraph, order: Sequence[int]) -> Choose:
    """Take subgraphs in a given order on each processor, and wait for the next one; the order should not contradict dependencies."""
    queues: list[list[int]] = [[] for _ in graph.processors]
    for index in order:
        queues[graph.processor_index[index]].append(index)
    taken = [0] * len(queues)

    def choose(ready: Sequence[int], view: View) -> int | None:
        processor = view.processor
        following = queues[processor][taken[processor]]
        place = bisect_left(ready, following)
        if place == len(ready) or ready[place] != following:
            return None
        taken[processor] += 1
        return following

    return choose


def lockstep_pairs(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Run two chunks at a time, one a step behind the other, with a barrier after each step, as the open-source code does.

    Wins over `in-order` in some cases where both processors have about as much work. Loses elsewhere: the shorter step of a pair waits
    for the longer one, and no third chunk fills the gap.
    """
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
    """Return the step of each subgraph: its depth in its chunk, one more in odd chunks, behind all earlier pairs.

    No step lies before that of what it needs, so that decode steps come behind the prefill.
    """
    depth, needed = [0] * len(graph), [_nearest_needed(graph, index) for index in range(len(graph))]
    for index, subgraph in enumerate(graph.subgraphs):
        depth[index] = max([depth[other] + 1 for other in needed[index] if graph.subgraphs[other].chunk == subgraph.chunk], default=0)
    length = max(depth, default=0) + 2
    steps = [subgraph.chunk // 2 * length + subgraph.chunk % 2 + depth[index] for index, subgraph in enumerate(graph.subgraphs)]
    for index in range(len(graph)):
        steps[index] = max([steps[index], *(steps[other] for other in needed[index])])
    return steps


def _nearest_needed(graph: TaskGraph, index: int) -> list[int]:
    """Return what a subgraph needs, of each prefix only the last member."""
    return [*graph.predecessors[index], *(graph.prefixes[p].members[rank] for p, rank in graph.prefixes_needed.get(index, ()))]
