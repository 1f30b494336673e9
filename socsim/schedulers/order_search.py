"""Search for the order with the least makespan, every step judged by simulation: known policies, then patterns, then single moves.

A pattern shifts the ranks of a stage, of a chunk, or of a stage in a chunk, in all blocks alike, as what is good in one block is good in
the next. A move takes a subgraph of the critical path before or behind another one that is near on the same processor: simulated annealing
over orders, in which a processor may wait on purpose.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from math import exp

from socsim.bounds import machine_jobs, one_machine_ns
from socsim.graph import TaskGraph
from socsim.schedulers.basic import fifo, follow
from socsim.schedulers.heft import heft
from socsim.schedulers.lookahead import lookahead_ranks
from socsim.schedulers.out_of_order import TIE_RULES, out_of_order
from socsim.schedulers.ranked import ranked, sloped, staggered, ways_to_end
from socsim.schedulers.view import Prepare, Rehearsal, Rehearse

EFFORT = 200_000
"""Subgraphs that are simulated for one plan, in all rehearsals together: a second or so."""
FEWEST, MOST = 3, 2000
"""Rehearsals, whatever their size: at least those of `lookahead` and of the paper's rule with both of its ties."""
KNOWN, PATTERNS = 0.25, 0.15
"""Shares of the rehearsals for known policies and for patterns; the others are for moves."""
STAGGERS = (0.0, 0.15, 0.25, 0.35, 0.4, 0.45, 0.55, 0.6, 0.7, 0.9)
SLOPES = (4, 3, 2, 5, 1, 8)
"""Distances between chunks that are tried, as shares of a block and as places, those first that are the best of most cases."""
CLOSE = 1.0005
"""A plan this near to a lower bound is not searched further."""
HOT = 0.3
"""Temperature at the start of annealing: how much longer a change may make the plan, as a share of the mean time of a subgraph."""
REACH = 6
"""Places on its processor by which a move takes a subgraph at most: about a block."""
TRIES = 3
"""Moves that are looked at for each that is rehearsed, at most: dependencies forbid many."""
SHIFT = 0.25
"""Spread of a change to a pattern, as a share of a block's time."""


def best_plan(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse, *, waits: bool = True) -> Rehearsal:
    """Return the best rehearsal that a search of fixed effort finds; never worse than those of `lookahead` and `out-of-order`.

    Parameters
    ----------
    graph, expected_ns, seed, rehearse
        As for a policy that plans.
    waits
        Whether a processor may wait on purpose; if not, all effort goes to policies and patterns, which never do.
    """
    count = min(max(EFFORT // max(len(graph), 1), FEWEST), MOST)
    search = _Search(graph, expected_ns, rehearse, random.Random(seed))
    search.try_policies(max(FEWEST, int(KNOWN * count)))
    search.try_patterns(int(PATTERNS * count) if waits else count - search.rehearsals)
    if waits:
        search.try_moves(count - search.rehearsals)
    return search.best


class _Search:
    """The best plan so far, and the ranks that led to the best of those that have ranks."""

    def __init__(self, graph: TaskGraph, expected_ns: Sequence[int], rehearse: Rehearse, rng: random.Random) -> None:
        self.graph, self.expected_ns, self.rehearse, self.random = graph, expected_ns, rehearse, rng
        self.enough_ns = CLOSE * _bound_ns(graph, expected_ns)
        self.rank = lookahead_ranks(graph, expected_ns)
        self.best = rehearse(ranked(self.rank))
        self.ranked_ns, self.rehearsals = self.best.makespan_ns, 1

    @property
    def done(self) -> bool:
        """Whether the best plan is close to a lower bound."""
        return self.best.makespan_ns <= self.enough_ns

    def play(self, policy: Prepare) -> Rehearsal:
        """Rehearse a policy and keep the best."""
        self.rehearsals += 1
        found = self.rehearse(policy)
        if found.makespan_ns < self.best.makespan_ns:
            self.best = found
        return found

    def play_ranks(self, rank: list[float]) -> None:
        """Rehearse ranks and keep the best."""
        found = self.play(ranked(rank))
        if found.makespan_ns <= self.ranked_ns:
            self.rank, self.ranked_ns = rank, found.makespan_ns

    def try_policies(self, until: int) -> None:
        """Rehearse known policies, those first that are the best of most cases."""
        for tie in TIE_RULES:
            self.play(partial(out_of_order, tie=tie))
        ways_ns = ways_to_end(self.graph, self.expected_ns)
        ranks = [partial(staggered, self.graph, ways_ns, stagger) for stagger in STAGGERS]
        for make in [*ranks, *(partial(sloped, self.graph, slope) for slope in SLOPES)]:
            if self.done or self.rehearsals >= until:
                return
            self.play_ranks(make())
        self.play(fifo)
        self.play(heft)

    def try_patterns(self, count: int) -> None:
        """Climb by shifting the ranks of a stage, a chunk, or a stage in a chunk, in all blocks alike."""
        subgraphs, rng = self.graph.subgraphs, self.random
        blocks = 1 + max((subgraph.block for subgraph in subgraphs), default=0)
        spread = SHIFT * max(ways_to_end(self.graph, self.expected_ns), default=0) / blocks
        for _ in range(count):
            if self.done:
                return
            rank = self.rank
            for _ in range(rng.choice((1, 1, 2, 3))):
                one, kind, shift = rng.choice(subgraphs), rng.randrange(4), rng.gauss(0.0, spread)
                stage, chunk = (one.stage if kind != 0 else None), (one.chunk if kind != 1 else None)
                rank = [
                    value + shift * (stage in (None, subgraph.stage) and chunk in (None, subgraph.chunk))
                    for value, subgraph in zip(rank, subgraphs, strict=True)
                ]
            self.play_ranks(rank)

    def try_moves(self, count: int) -> None:
        """Anneal the order of the best plan."""
        graph, rng = self.graph, self.random
        now = self.best
        order, runs = _order(now), _critical_runs(graph, now)
        hot_ns = HOT * now.makespan_ns / max(Counter(graph.processor_index[: graph.prefill_count]).values(), default=1)
        step = 0
        for _ in range(TRIES * count):
            if self.done or not runs or step == count:
                return
            changed = self._move(order, runs)
            if changed is None:
                continue
            found = self.play(lambda graph, _expected, _seed, order=changed: follow(graph, order))
            worse = found.makespan_ns - now.makespan_ns
            heat = hot_ns * (1 - step / count)
            step += 1
            if worse <= 0 or rng.random() < exp(-worse / heat):
                now, order, runs = found, _order(found), _critical_runs(graph, found)

    def _move(self, order: Sequence[int], runs: Sequence[Sequence[int]]) -> list[int] | None:
        """Return the order with one subgraph of the critical path before or behind another one; None if a dependency forbids it."""
        rng = self.random
        run = rng.choices(runs, [len(run) - 1 for run in runs])[0]
        first = rng.randrange(len(run) - 1)
        second = min(first + rng.randint(1, REACH), len(run) - 1)
        return _moved(self.graph, order, run[first], run[second], earlier=rng.random() < 0.5)


def _bound_ns(graph: TaskGraph, expected_ns: Sequence[int]) -> int:
    """Return a lower bound on the makespan if hand-overs took no time."""
    free = [[0] * len(graph.processors) for _ in graph.processors]
    return max(map(one_machine_ns, machine_jobs(graph, expected_ns[: graph.prefill_count], free)), default=0)


def _order(plan: Rehearsal) -> list[int]:
    """Return the order in which subgraphs start; dependencies come first in it, as nothing takes no time."""
    return sorted(range(len(plan.start_ns)), key=lambda index: (plan.start_ns[index], index))


def _critical_runs(graph: TaskGraph, plan: Rehearsal) -> list[list[int]]:
    """Return the subgraphs of the critical path in the runs of two or more that one processor does without a pause."""
    before = [-1] * len(graph)
    last = [-1] * len(graph.processors)
    for index in _order(plan):
        processor = graph.processor_index[index]
        before[index], last[processor] = last[processor], index
    runs: list[list[int]] = []
    index = max(range(graph.prefill_count), key=plan.end_ns.__getitem__, default=-1)
    while index >= 0:
        run = [index]
        while before[run[-1]] >= 0 and plan.end_ns[before[run[-1]]] == plan.start_ns[run[-1]]:
            run.append(before[run[-1]])
        runs.append(run[::-1])
        index = max(graph.all_predecessors(run[-1]), key=plan.end_ns.__getitem__, default=-1)
    return [run for run in runs if len(run) > 1]


def _moved(graph: TaskGraph, order: Sequence[int], first: int, second: int, *, earlier: bool) -> list[int] | None:
    """Return the order with the second subgraph just before the first, or the first just behind the second; None if that cannot be."""
    here, there = order.index(first), order.index(second)
    between = order[here : there + 1]
    if earlier:
        if not set(graph.all_predecessors(second)).isdisjoint(between):
            return None
        between = [second, *between[:-1]]
    else:
        if any(first in graph.all_predecessors(other) for other in between):
            return None
        between = [*between[1:], first]
    return [*order[:here], *between, *order[there + 1 :]]
