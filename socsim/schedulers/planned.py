"""Planned: an order that is searched by simulation when the prompt's length is known, and replayed."""

from __future__ import annotations

from collections.abc import Sequence

from socsim.graph import TaskGraph
from socsim.schedulers.lookahead import lookahead, lookahead_placement, lookahead_ranks
from socsim.schedulers.order_search import best_plan
from socsim.schedulers.view import Choose, Placements, Prepare, Rehearsal, Rehearse, View, places

PATIENCE = 0.5
"""How much longer than planned a processor waits for the next of its order, as a share of the time that another ready subgraph takes.

Between 0.1 and 1, which it is makes hardly a difference when durations are off.
"""


def planned_placement(placements: Placements) -> list[str]:
    """Return the placement that is the best under `lookahead`, unless that of the engine's file is better when both are planned.

    A plan is never worse than `lookahead` and never better than the busiest processor's work, so that few are needed.
    """
    graph, listed, found = placements.graph, placements.listed, lookahead_placement(placements)
    busy_ns = dict.fromkeys(listed, 0)
    for name, durations in list(zip(listed, placements.expected_ns, strict=True))[: graph.prefill_count]:
        busy_ns[name] += durations[name]
    quick_ns = placements.rehearse(found, lookahead)
    if found == listed or quick_ns <= max(busy_ns.values()) or quick_ns <= (listed_ns := placements.rehearse(listed, planned)):
        return found
    return found if placements.rehearse(found, planned) <= listed_ns else listed


@places(planned_placement)
def planned(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
    """Replay the best order that a search by simulation finds before the run: of all policies, and of changes to the best of them.

    Wins with few chunks, where which subgraph goes first decides whether a processor waits, and where waiting on purpose pays: an order may
    hold, greedy rules don't. Task graphs depend on the prompt's length alone and chunks share theirs, so one plan serves all prompts of a
    length. It takes a second or so to make. When durations turn out different, it keeps to its order, not to its times, and takes
    what `lookahead` would where its order would leave a processor waiting for long: that keeps its lead where they differ by some 10 %,
    but loses to `lookahead` where they differ by 30 %. With many chunks it gains little over `lookahead`, which is close to
    the bound there. Where an engine allows several placements, one is searched first.
    """
    return replay(best_plan(graph, expected_ns, seed, rehearse))(graph, expected_ns, seed)


def replay(plan: Rehearsal) -> Prepare:
    """Return the policy that replays what was rehearsed on the same graph."""

    def prepare(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        return _Replay(graph, expected_ns, plan).choose

    return prepare


class _Replay:
    """Takes what comes next in the plan of each processor, or something else when that takes long to be ready.

    Policies are asked when something happens, so a wait that has become too long ends at the next event.
    """

    def __init__(self, graph: TaskGraph, expected_ns: Sequence[int], plan: Rehearsal) -> None:
        self.expected_ns, self.rank = expected_ns, lookahead_ranks(graph, expected_ns)
        self.queues: list[list[int]] = [[] for _ in graph.processors]
        self.pause_ns = [0] * len(graph)  # what the processor waits in the plan before each subgraph
        free_from = [0] * len(graph.processors)
        for index in sorted(range(len(graph)), key=lambda index: (plan.start_ns[index], index)):
            processor = graph.processor_index[index]
            self.queues[processor].append(index)
            self.pause_ns[index] = plan.start_ns[index] - free_from[processor]
            free_from[processor] = plan.end_ns[index]
        self.taken = bytearray(len(graph))
        self.place = [0] * len(graph.processors)
        self.waits_since = [-1] * len(graph.processors)

    def choose(self, ready: Sequence[int], view: View) -> int | None:
        """Return the next of the order, None to wait for it, or something else."""
        processor = view.processor
        choice = self._following(processor)
        if choice not in ready:
            following, choice = choice, min(ready, key=self.rank.__getitem__)
            if self._pays(following, choice, view):
                return None
        self.taken[choice] = 1
        self.waits_since[processor] = -1
        return choice

    def _following(self, processor: int) -> int:
        """Return the next of the order of a processor that has not done all of it."""
        queue, place = self.queues[processor], self.place[processor]
        while self.taken[queue[place]]:
            place += 1
        self.place[processor] = place
        return queue[place]

    def _pays(self, following: int, instead: int, view: View) -> bool:
        """Say whether to wait on: something may end the wait, and it has not lasted much longer than in the plan."""
        since = self.waits_since
        if since[view.processor] < 0:
            since[view.processor] = view.now_ns
        waited_ns = view.now_ns - since[view.processor]
        return waited_ns <= self.pause_ns[following] + PATIENCE * self.expected_ns[instead] and self._goes_on(view)

    def _goes_on(self, view: View) -> bool:
        """Say whether something runs, is being handed over, or will be started by a processor that chooses later at this instant."""
        later = [p for p in range(view.processor + 1, len(view.ready)) if view.ready[p]]
        return max(view.running) >= 0 or any(view.coming) or any(self._following(p) in view.ready[p] for p in later)
