"""Play a task graph on SimPy processors that share DRAM, under a scheduling policy.

One long-lived process stands for each processor. Whoever handles the last event of an instant lets all free processors
choose, in the order of their names: completions come before choices, so no result depends on the order in which
processors are listed, and no extra event is needed to settle an instant.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Generator, Sequence
from heapq import heappop, heappush

import numpy as np
from simpy import Environment
from simpy.events import NORMAL, Event

from socsim.cost import Costs
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.memory import make_memory
from socsim.schedulers import Choose, Prepare, Rehearsal, Rehearse, View, load_scheduler, prepare_policy
from socsim.timeline import Timeline

_NEVER = 1 << 63
_REHEARSAL = "in a rehearsal: "


class _Wake(Event):
    """The event on which a processor's process waits; it is set to go off when its subgraph is due."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.callbacks = []
        self._ok = True
        self._value = None


class _Run:
    """State of one simulation; the functions that run at every event are closures, as they set the simulator's speed."""

    def __init__(self, graph: TaskGraph, costs: Costs, choose: Choose, memory: str) -> None:
        self.env = Environment(initial_time=0)
        self.graph, self.costs, self.choose = graph, costs, choose
        self.view = View(graph)
        self.memory = make_memory(memory, costs.bandwidth_bytes_per_s.tolist(), costs.achievable_bytes_per_s)
        self.wake = [_Wake(self.env) for _ in graph.processors]
        self.due = [0] * len(graph.processors)  # when the running subgraph's own time is over
        self.start, self.end, self.stream_end = [0] * len(graph), [0] * len(graph), [0] * len(graph)

    def play(self) -> None:
        """Run to the end."""
        for index, missing in enumerate(self.view.missing):
            if not missing:
                insort(self.view.ready[self.graph.processor_index[index]], index)
                self.view.released.append(index)
        complete, dispatch = self.completer(), self.dispatcher()
        for processor in range(len(self.wake)):
            self.env.process(self.processor(processor, complete, dispatch))
        self.env.run()

    def processor(
        self, processor: int, complete: Callable[[int, int, int], None], dispatch: Callable[[int], None]
    ) -> Generator[Event, None, None]:
        """Be one processor: complete one subgraph after the other when it is due."""
        env, peek, schedule = self.env, self.env.peek, self.env.schedule
        wake, due, running, ends = self.wake, self.due, self.view.running, self.memory.ends
        end, stream_end = self.end, self.stream_end
        now = 0
        while True:
            if peek() != now:
                dispatch(now)
            yield wake[processor]
            wake[processor] = event = _Wake(env)
            now = env.now  # type: ignore[assignment] # whole, as all delays are
            stream = ends[processor]
            late = (stream if stream > due[processor] else due[processor]) - now
            if late > 0:  # another flow has slowed this one down
                schedule(event, NORMAL, late)
                continue
            index = running[processor]
            running[processor] = -1
            end[index], stream_end[index] = now, stream
            complete(index, processor, now)

    def completer(self) -> Callable[[int, int, int], None]:
        """Return the function that hands results over and releases what waited for nothing else."""
        view, graph, arriving = self.view, self.graph, self.view.coming
        missing, done, frontier, ready = view.missing, view.done, view.frontier, view.ready
        completed, released = view.completed.append, view.released.append
        successors, processor_of, prefix_of = graph.successors, graph.processor_index, graph.prefix_of
        latencies = self.costs.latency_ns
        arrival = [0] * len(graph)  # when the last hand-over to each subgraph is through

        def satisfy(index: int, through: int, now: int) -> None:
            if through > arrival[index]:
                arrival[index] = through
            if missing[index] > 1:
                missing[index] -= 1
                return
            missing[index] = 0
            through = arrival[index]
            if through > now:
                heappush(arriving[processor_of[index]], (through, index))
            else:
                insort(ready[processor_of[index]], index)
                released(index)

        def complete(index: int, processor: int, now: int) -> None:
            done[index] = 1
            completed(index)
            latency = latencies[processor]
            for successor in successors[index]:
                satisfy(successor, now + latency[processor_of[successor]], now)
            if index in prefix_of:
                prefix = prefix_of[index][0]
                members, waiters = graph.prefixes[prefix]
                rank = frontier[prefix]
                while rank < len(members) and done[members[rank]]:
                    for waiter in waiters[rank]:
                        satisfy(waiter, now + latency[processor_of[waiter]], now)
                    rank += 1
                frontier[prefix] = rank

        return complete

    def dispatcher(self) -> Callable[[int], None]:  # noqa: C901
        """Return the function that lets every free processor choose among what is ready at an instant."""
        env, view, choose, graph = self.env, self.view, self.choose, self.graph
        ready_of, running, released, completed = view.ready, view.running, view.released.append, view.completed
        wake, due, start = self.wake, self.due, self.start
        schedule, stream, arriving = env.schedule, self.memory.start, self.view.coming
        fixed_ns, flow_bytes = self.costs.fixed_ns, self.costs.flow_bytes
        later_from, later_ns = _NEVER, fixed_ns
        if self.costs.later is not None:
            later_from, later_ns = self.costs.later.from_ns, self.costs.later.costs.fixed_ns
        total = len(graph)
        queues = list(zip(range(len(running)), ready_of, arriving, strict=True))
        alarms = [-1] * len(running)  # when a free processor's next hand-over is noticed

        def ring(event: Event) -> None:  # noqa: ARG001 (SimPy passes it)
            now: int = env.now  # type: ignore[assignment] # whole, as all delays are
            if env.peek() != now:
                dispatch(now)

        def dispatch(now: int) -> None:  # noqa: C901 (one function, as calls are what an event costs)
            view.now_ns = now
            for _, ready, coming in queues:
                while coming and coming[0][0] <= now:
                    index = heappop(coming)[1]
                    insort(ready, index)
                    released(index)
            idle = True
            for processor, ready, coming in queues:
                if running[processor] >= 0:
                    idle = False
                    continue
                if ready:
                    view.processor = processor
                    try:
                        choice = choose(ready, view)
                    except Exception as error:
                        raise _failure(error) from _cause(error)
                    if choice is not None:
                        if ready and choice is ready[0]:
                            del ready[0]
                        else:
                            choice = _take(ready, choice, graph, view)
                        running[processor] = choice
                        start[choice] = now
                        due[processor] = ends = now + ((fixed_ns if now < later_from else later_ns)[choice] or 1)
                        flow_ends = stream(processor, flow_bytes[choice], now)
                        schedule(wake[processor], NORMAL, (flow_ends if flow_ends > ends else ends) - now)
                        idle = False
                        continue
                if coming:
                    idle = False
                    if not now < alarms[processor] <= coming[0][0]:
                        alarms[processor] = coming[0][0]
                        timer = _Wake(env)
                        timer.callbacks.append(ring)
                        schedule(timer, NORMAL, coming[0][0] - now)
            if idle and len(completed) < total:
                _refuse_wait(view)

        return dispatch


def _failure(error: Exception) -> SocsimError:
    """Describe what a user's policy raised."""
    return error if isinstance(error, SocsimError) else SocsimError(f"scheduler raised {type(error).__name__}: {error}")


def _cause(error: Exception) -> BaseException | None:
    """Return what led to the error of `_failure`."""
    return error.__cause__ if isinstance(error, SocsimError) else error


def _take(ready: list[int], choice: int, graph: TaskGraph, view: View) -> int:
    """Remove a policy's choice from what is ready, and return it as a plain number."""
    place = bisect_left(ready, choice) if isinstance(choice, (int, np.integer)) else len(ready)
    if place == len(ready) or ready[place] != choice:
        name = graph.processors[view.processor]
        raise SocsimError(f"scheduler chose {choice!r} for the {name} at {view.now_ns} ns, which is not ready; allowed: {_some(ready)}")
    return ready.pop(place)


def _refuse_wait(view: View) -> None:
    """Refuse a wait that nothing can end."""
    ready = sorted(index for indices in view.ready for index in indices)
    raise SocsimError(f"scheduler waits at {view.now_ns} ns although nothing is running or on its way; ready: {_some(ready)}")


def _some(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")


def rehearsals(expected: Costs, memory: str, seed: int) -> Rehearse:
    """Return the function that tells a policy what would happen under another one."""

    def rehearse(policy: Prepare | str) -> Rehearsal:
        try:
            run = _Run(expected.graph, expected, prepared(load_scheduler(policy), expected, memory, seed), memory)
            run.play()
        except SocsimError as error:
            where = "" if str(error).startswith(_REHEARSAL) else _REHEARSAL
            raise SocsimError(f"{where}{error}") from error
        return Rehearsal(run.start, run.end, max(run.end[: expected.graph.prefill_count], default=0))

    return rehearse


def prepared(prepare: Prepare, expected: Costs, memory: str, seed: int) -> Choose:
    """Prepare a policy for a task graph with its expected costs.

    Raises
    ------
    SocsimError
        The policy fails, or returns no function.
    """
    try:
        choose = prepare_policy(prepare, expected.graph, list(expected.expected_ns), seed, rehearsals(expected, memory, seed))
    except Exception as error:
        raise _failure(error) from _cause(error)
    if not callable(choose):
        raise SocsimError(f"scheduler's prepare should return a function choose(ready, view), not {choose!r}")
    return choose


def simulate(
    graph: TaskGraph,
    costs: Costs,
    scheduler: str | Prepare = "out-of-order",
    *,
    memory: str = "shared",
    seed: int = 0,
    expected: Costs | None = None,
) -> Timeline:
    """Play a task graph and return what happened when.

    Parameters
    ----------
    graph
        Subgraphs and dependencies.
    costs
        Their costs, made for this graph.
    scheduler
        A shipped policy's name, ``module:function``, or a ``prepare`` function.
    memory
        ``shared``, ``private`` or ``infinite`` DRAM.
    seed
        Passed to the policy.
    expected
        Costs whose durations the policy sees and plans with; default: the true ones.

    Raises
    ------
    SocsimError
        The policy or the mode is unknown; the policy chose what is not ready, or waits although nothing can end it.
    """
    choose = prepared(load_scheduler(scheduler), expected or costs, memory, seed)
    run = _Run(graph, costs, choose, memory)
    run.play()
    name = scheduler if isinstance(scheduler, str) else getattr(scheduler, "__name__", type(scheduler).__name__)
    start, end, stream_end = (np.array(times, dtype=np.int64) for times in (run.start, run.end, run.stream_end))
    return Timeline(graph, costs.as_started(start), start, end, stream_end, name, memory)
