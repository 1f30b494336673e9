"""Scheduling policies side by side on one case: what each makes of it, how long it thinks, and what no order beats."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from time import perf_counter_ns

from socsim.bounds import lower_bounds
from socsim.cost import NANOSECONDS, true_costs
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.optimal import Optimum, optimal_schedule
from socsim.runs import Case, Result, run_case
from socsim.schedulers import (
    Choose,
    Place,
    Placements,
    Prepare,
    Rehearse,
    View,
    load_scheduler,
    place_of,
    places,
    planned,
    prepare_policy,
)
from socsim.simulator import simulate

PAPER = ("out-of-order", "out-of-order-earliest-position")
"""The rule of llm.npu's paper, which leaves open how ties are broken, with either way."""
READINGS = 1001
"""Readings of the clock from which it is known how long one takes."""


@dataclass(frozen=True, eq=False)
class PolicyResult:
    """A run under one policy, and the wall-clock time that this took on the machine at hand, which is never the same twice.

    `planning_s` is the time before the run, `decision_s` the mean time of each of the `decisions`, waits included.
    """

    result: Result
    planning_s: float
    decision_s: float
    decisions: int


@dataclass(frozen=True, eq=False)
class Found:
    """The best schedule that a search has found if nothing shares DRAM, and the run that plays its order in the memory mode at hand.

    The run's scheduler is ``optimal`` where no schedule is shorter without contention, else ``best-found``.
    """

    optimum: Optimum
    result: Result


@dataclass(frozen=True, eq=False)
class Comparison:
    """Policies on one case, and the best schedule that was found for it, if one was searched."""

    case: Case
    policies: Sequence[PolicyResult]
    found: Found | None = None

    @property
    def runs(self) -> list[Result]:
        """Those of the policies in their order, then that of the schedule that was searched for."""
        return [each.result for each in self.policies] + ([self.found.result] if self.found else [])

    def bound_s(self, result: Result) -> float:
        """Return the largest lower bound on the makespan that is proven for the placement of a run."""
        known_s = result.bounds.makespan_s
        # A policy that moves subgraphs to other processors has other costs, and a case of its own.
        return max(known_s, self.found.optimum.bound_ns / NANOSECONDS) if self.found and result.case is self.case else known_s

    def gap(self, result: Result) -> float:
        """Return how far a run is above its lower bound, as a share of that."""
        return makespan_s(result) / self.bound_s(result) - 1.0

    def best_known_gap(self, result: Result) -> float:
        """Return how far a run is above the shortest of all, as a share of that."""
        return makespan_s(result) / min(map(makespan_s, self.runs)) - 1.0

    def speedup(self, result: Result) -> float | None:
        """Return how fast a run is relative to the paper's rule with the better of its two ties, if that is among the policies."""
        paper_s = [makespan_s(each.result) for each in self.policies if each.result.timeline.scheduler in PAPER]
        return min(paper_s) / makespan_s(result) if paper_s else None


def makespan_s(result: Result) -> float:
    """Return the makespan of the prefill of a run (s)."""
    value: float = result.record["makespan_s"]
    return value


@dataclass
class _Spent:
    """Wall-clock time that a policy has spent."""

    planning_ns: int = 0
    deciding_ns: int = 0
    decisions: int = 0


def compare_policies(case: Case, schedulers: Sequence[str | Prepare], progress: Callable[..., None] = lambda: None) -> list[PolicyResult]:
    """Simulate one case under several policies.

    Parameters
    ----------
    case
        What all of them schedule; its engine's own scheduler plays no part.
    schedulers
        Names, ``module:function``, or ``prepare`` functions.
    progress
        Called when each run has ended.

    Raises
    ------
    SocsimError
        A policy is unknown or does what it must not.
    """
    reading_ns = _reading_ns()
    compared = []
    for scheduler in schedulers:
        spent = _Spent()
        gc.collect()  # no policy's time is for what others have left behind
        try:
            result = run_case(case, _timed(scheduler, spent))
        except SocsimError as error:
            raise SocsimError(f"scheduler {_name(scheduler)}: {error}") from None
        decision_ns = max(0.0, spent.deciding_ns / spent.decisions - reading_ns)
        compared.append(PolicyResult(result, spent.planning_ns / NANOSECONDS, decision_ns / NANOSECONDS, spent.decisions))
        progress()
    return compared


def best_schedule(case: Case, time_limit_s: float) -> Found:
    """Search for the order with the least makespan of a case if nothing shares DRAM, starting from that of `planned`.

    It knows the true durations, where policies plan with expected ones. The bound that is proven holds with shared DRAM, too, as
    that makes no subgraph shorter; the least makespan may then be another order's.

    Raises
    ------
    SocsimError
        OR-Tools is not installed, or a processor slows down in mid-run.
    """
    costs, seed = true_costs(case.costs, case.run), case.run.seed
    if case.run.memory == "infinite":
        costs = costs.without(dram=True)
    known = simulate(costs.graph, costs, planned, memory="private", seed=seed)
    least_ns = round(lower_bounds(costs, "private").makespan_s * NANOSECONDS)
    solver_seed = seed % (1 << 31)  # it takes no larger one
    optimum = optimal_schedule(costs, known.start_ns.tolist(), time_limit_s=time_limit_s, seed=solver_seed, lower_bound_ns=least_ns)

    def replay(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        return optimum.policy(graph, expected_ns, seed)

    replay.__name__ = "optimal" if optimum.status == "optimal" else "best-found"
    return Found(optimum, run_case(case, replay))


def _name(scheduler: str | Prepare) -> str:
    return scheduler if isinstance(scheduler, str) else getattr(scheduler, "__name__", type(scheduler).__name__)


def _timed(scheduler: str | Prepare, spent: _Spent) -> Prepare:
    """Return a policy that does the same and notes the time it takes."""
    policy = load_scheduler(scheduler)

    def prepare(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
        began = perf_counter_ns()
        choose = prepare_policy(policy, graph, expected_ns, seed, rehearse)
        spent.planning_ns += perf_counter_ns() - began
        if not callable(choose):
            return choose  # the simulator's to refuse

        def timed(ready: Sequence[int], view: View) -> int | None:
            began = perf_counter_ns()
            choice = choose(ready, view)
            spent.deciding_ns += perf_counter_ns() - began
            spent.decisions += 1
            return choice

        return timed

    prepare.__name__ = _name(scheduler)
    place = place_of(policy)
    return prepare if place is None else places(_timed_place(place, spent))(prepare)


def _timed_place(place: Place, spent: _Spent) -> Place:
    """Return the function by which a policy places subgraphs, its time being part of that for planning."""

    def timed(placements: Placements) -> Sequence[str]:
        began = perf_counter_ns()
        chosen = place(placements)
        spent.planning_ns += perf_counter_ns() - began
        return chosen

    return timed


def _reading_ns() -> float:
    """Return how long a reading of the clock takes, which is in each time that is measured."""
    readings = [perf_counter_ns() for _ in range(READINGS)]
    return median(later - earlier for earlier, later in pairwise(readings))
