"""The least makespan that any schedule of a prefill has, waiting included: OR-Tools' constraint solver CP-SAT proves it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from socsim.bounds import heads, tails
from socsim.cost import Costs
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.schedulers import Choose, Prepare, follow
from socsim.simulator import simulate

if TYPE_CHECKING:
    from ortools.sat.python.cp_model import CpModel, IntVar


@dataclass(frozen=True)
class Optimum:
    """The best schedule that was found, and what is proven about all others; times are whole nanoseconds.

    `start_ns` says of each subgraph, decode steps included, when the simulator starts it under `policy` with ``memory="private"``.
    `makespan_ns` is when the prefill then ends; no schedule ends it before `bound_ns`. `status` is ``optimal`` where these are equal.
    `wall_s` is how long the search took.
    """

    start_ns: tuple[int, ...]
    makespan_ns: int
    bound_ns: int
    wall_s: float = field(compare=False)

    @property
    def status(self) -> Literal["optimal", "feasible"]:
        """Whether no schedule is shorter, or this is not known."""
        return "optimal" if self.bound_ns == self.makespan_ns else "feasible"

    @property
    def policy(self) -> Prepare:
        """The policy that plays the schedule on its task graph."""
        return _played(self.start_ns)


def optimal_schedule(
    costs: Costs, start_ns: Sequence[int], *, time_limit_s: float, workers: int = 8, seed: int = 0, lower_bound_ns: int = 0
) -> Optimum:
    """Return a schedule of a prefill with the least makespan, or the best that is found in time.

    Subgraphs take their expected durations, as if each had DRAM to itself, and processors may wait. Decode steps stay behind the prefill.
    The least makespan is the same whenever it is proven. Which of its schedules is returned, and what is found when time is up, depends
    on the speed of the machine and, with several workers, on which of them is first.

    Parameters
    ----------
    costs
        Expected costs.
    start_ns
        When each subgraph starts in the best schedule that is known, such as `Timeline.start_ns`; only the order matters.
    time_limit_s
        How long to search.
    workers
        Number of threads that search, each in its own way and telling the others; more than there are cores are of use as well.
    seed
        Of the solver.
    lower_bound_ns
        No schedule is known to be shorter.

    Raises
    ------
    SocsimError
        OR-Tools is not installed; `start_ns` is no schedule of this graph or beats the lower bound; or costs change in mid-run.
    """
    check_solvable(costs)
    from ortools.sat.python.cp_model import CpModel, CpSolver

    if len(start_ns) != len(costs.graph):
        raise SocsimError(f"start_ns has {len(start_ns)} times, allowed: one for each of {len(costs.graph)} subgraphs")
    began = time.perf_counter()
    try:
        start, makespan_ns = _play(costs, start_ns)
    except SocsimError:
        raise SocsimError("start_ns is no schedule of this task graph: its order contradicts dependencies") from None
    if lower_bound_ns > makespan_ns:
        raise SocsimError(f"lower_bound_ns {lower_bound_ns} is above the makespan of start_ns; allowed: at most {makespan_ns}")
    bound_ns = lower_bound_ns
    if bound_ns < makespan_ns:
        solver = CpSolver()
        solver.parameters.max_time_in_seconds = time_limit_s
        solver.parameters.num_workers = workers
        solver.parameters.random_seed = seed
        solver.parameters.linearization_level = 0  # here linear relaxations say less than propagation, and cost more
        problem = _Problem(CpModel(), costs, start, makespan_ns, lower_bound_ns)
        solver.solve(problem.model)
        bound_ns = max(lower_bound_ns, round(solver.best_objective_bound) * problem.unit_ns)
        if solver.response_proto.solution:  # none if time is up at once
            found = [*(solver.value(each) * problem.unit_ns for each in problem.begin), *start[len(problem.begin) :]]
            start, makespan_ns = min((start, makespan_ns), _play(costs, found), key=lambda played: played[1])
    return Optimum(start, makespan_ns, bound_ns, time.perf_counter() - began)


def check_solvable(costs: Costs) -> None:
    """Check that `optimal_schedule` can search, before anything else takes long.

    Raises
    ------
    SocsimError
        OR-Tools is not installed, or costs change in mid-run.
    """
    if find_spec("ortools") is None:
        raise SocsimError("optimal schedules need OR-Tools: pip install 'phone-socsim[optimal]'")
    if costs.later is not None:
        raise SocsimError("optimal schedules need costs that do not change in mid-run: run.slowed_processor should not be set")


class _Problem:
    """The prefill as constraints on the times at which subgraphs begin, in units of which all times are multiples."""

    def __init__(self, model: CpModel, costs: Costs, start_ns: Sequence[int], makespan_ns: int, bound_ns: int) -> None:
        graph, count = costs.graph, costs.graph.prefill_count
        self.model, self.graph = model, graph
        self.unit_ns = math.gcd(*costs.expected_ns[:count], *(each for row in costs.latency_ns for each in row))
        self.size = [each // self.unit_ns for each in costs.expected_ns[:count]]
        self.latency = [[each // self.unit_ns for each in row] for row in costs.latency_ns]
        self.known = [each // self.unit_ns for each in start_ns[:count]]
        last = makespan_ns // self.unit_ns
        head, tail = heads(graph, self.size, self.latency), tails(graph, self.size, self.latency)
        self.begin = [self._variable(head[i], last - tail[i] - self.size[i], self.known[i]) for i in range(count)]
        self.end = [each + size for each, size in zip(self.begin, self.size, strict=True)]
        makespan = self._variable(-(-bound_ns // self.unit_ns), last, last)
        for i, end in enumerate(self.end):
            model.add(makespan >= end + tail[i])
        model.minimize(makespan)
        self._take_turns()
        self._wait_for_predecessors()
        self._wait_for_prefixes(last)

    def _variable(self, low: int, high: int, known: int) -> IntVar:
        """Return a new variable between two values, whose value in the schedule that is known is given."""
        variable = self.model.new_int_var(low, high, "")
        self.model.add_hint(variable, known)
        return variable

    def _take_turns(self) -> None:
        """Let no processor run two subgraphs at a time."""
        model, place = self.model, self.graph.processor_index
        intervals = [model.new_fixed_size_interval_var(begin, size, "") for begin, size in zip(self.begin, self.size, strict=True)]
        for processor in range(len(self.graph.processors)):
            model.add_no_overlap([interval for i, interval in enumerate(intervals) if place[i] == processor])

    def _wait_for_predecessors(self) -> None:
        """Let subgraphs begin when what they need has ended and is handed over."""
        place = self.graph.processor_index
        for i, begin in enumerate(self.begin):
            for other in self.graph.predecessors[i]:
                self.model.add(begin >= self.end[other] + self.latency[place[other]][place[i]])

    def _wait_for_prefixes(self, last: int) -> None:
        """Let waiters begin when all members up to theirs have ended: each such time is a variable, not less than the one before."""
        place, model = self.graph.processor_index, self.model
        ended: list[list[IntVar]] = [[] for _ in self.graph.prefixes]
        for i, begin in enumerate(self.begin):
            for p, rank in self.graph.prefixes_needed.get(i, ()):
                members, times = self.graph.prefixes[p].members, ended[p]
                for member in members[len(times) : rank + 1]:
                    known = max(self.known[other] + self.size[other] for other in members[: len(times) + 1])
                    times.append(self._variable(0, last, known))
                    model.add(times[-1] >= self.end[member])
                    if len(times) > 1:
                        model.add(times[-1] >= times[-2])
                model.add(begin >= times[rank] + self.latency[place[members[0]]][place[i]])


def _play(costs: Costs, start_ns: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """Return when subgraphs start, and when the prefill ends, if processors take them in the order of some start times."""
    count = costs.graph.prefill_count
    behind = [*start_ns[:count], *([max(start_ns, default=0) + 1] * (len(start_ns) - count))]
    timeline = simulate(costs.graph, costs, _played(behind), memory="private")
    return tuple(timeline.start_ns.tolist()), int(timeline.end_ns[:count].max(initial=0))


def _played(start_ns: Sequence[int]) -> Prepare:
    """Return the policy that takes subgraphs in the order of some start times."""

    def optimal(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:  # noqa: ARG001 (as every policy has them)
        return follow(graph, sorted(range(len(graph)), key=start_ns.__getitem__))

    return optimal
