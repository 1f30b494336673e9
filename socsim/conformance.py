"""Conformance check for scheduling policies: what every policy must hold to, on random graphs and a real prefill."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from socsim.catalog import load_engine, load_model, load_soc
from socsim.cost import NANOSECONDS, PARTS, Costs, graph_costs
from socsim.errors import SocsimError
from socsim.graph import Operator, Prefix, Subgraph, TaskGraph, Work
from socsim.schedulers import Choose, Prepare, View, load_scheduler, prepare_policy
from socsim.simulator import rehearsals, simulate
from socsim.specs import Run
from socsim.workload import prefill_graph

PROCESSORS = ("cpu", "gpu", "npu")
NOISE = 0.3
"""Spread of true durations around the expected ones, so that a policy cannot rely on its estimates."""


def check_scheduler(scheduler: str | Prepare, *, cases: int = 20, seed: int = 0) -> None:
    """Check that a policy keeps the rules of `socsim.schedulers`.

    Random task graphs with the structure of prefills on one to three processors, with hand-over latency, shared DRAM and
    true durations that differ from the expected ones, and one small real prefill. On each, the policy must choose a ready
    subgraph or None, bring every subgraph to its end, change nothing that it is shown, give the same schedule again under
    the same seed, and keep the state of two runs apart. It is never called with nothing ready.

    Parameters
    ----------
    scheduler
        A shipped policy's name, ``module:function``, or a ``prepare`` function.
    cases
        Number of random graphs.
    seed
        Seed of the first of them; the others follow. The policy gets the seed of its case.

    Raises
    ------
    SocsimError
        The policy breaks a rule; the message says which, and in which case.
    """
    if cases < 1:
        raise SocsimError(f"cases should be 1 or more, not {cases}")
    prepare = load_scheduler(scheduler)
    name = scheduler if isinstance(scheduler, str) else getattr(scheduler, "__name__", type(scheduler).__name__)
    for where, case_seed, costs in _cases(cases, seed):
        try:
            _check_case(prepare, costs, case_seed)
        except SocsimError as error:
            raise SocsimError(f"scheduler '{name}' on {where}: {error}") from error.__cause__


def _cases(cases: int, seed: int) -> Iterator[tuple[str, int, Costs]]:
    """Yield each case with its description and seed."""
    for number in range(cases):
        yield f"a random graph (seed {seed + number})", seed + number, random_costs(seed + number, processors=1 + number % len(PROCESSORS))
    yield "a prefill of smollm2-135m", seed, _prefill_costs()


def _check_case(prepare: Prepare, costs: Costs, seed: int) -> None:
    """Run a policy four times on one case: twice on its own, then as two that were prepared before either ran."""
    first = _play(_watched(prepare, costs, seed), costs, seed)
    if _play(_watched(prepare, costs, seed), costs, seed) != first:
        raise SocsimError(f"gives another schedule when it is prepared again with seed {seed}")
    both = [_watched(prepare, costs, seed) for _ in range(2)]
    if [_play(choose, costs, seed) for choose in both] != [first, first]:
        raise SocsimError("gives another schedule when it is prepared twice before it runs: prepared policies share state")


def _play(choose: Choose, costs: Costs, seed: int) -> list[int]:
    """Return the start times of a run under a policy that is prepared."""
    true_costs = costs.with_noise(NOISE, seed)
    starts: list[int] = simulate(costs.graph, true_costs, lambda _graph, _expected, _seed: choose, seed=seed).start_ns.tolist()
    return starts


def _watched(prepare: Prepare, costs: Costs, seed: int) -> Choose:
    """Prepare a policy and return its choice with every rule checked at every call."""
    graph, expected = costs.graph, list(costs.expected_ns)
    rehearse = rehearsals(costs, "shared", seed)
    choose = _call(lambda: prepare_policy(prepare, graph, expected, seed, rehearse), "prepare")
    if not callable(choose):
        raise SocsimError(f"prepare should return a function choose(ready, view), not {choose!r}")
    _check_unchanged("expected_ns", expected, costs.expected_ns)

    def watched(ready: Sequence[int], view: View) -> int | None:
        ready_before, view_before = list(ready), _snapshot(view)
        choice = _call(lambda: choose(ready, view), "choose")
        _check_unchanged("ready", list(ready), ready_before)
        for field, value in _snapshot(view).items():
            _check_unchanged(f"view.{field}", value, view_before[field])
        _check_unchanged("expected_ns", expected, costs.expected_ns)
        if choice is not None and (not isinstance(choice, (int, np.integer)) or choice not in ready_before):
            raise SocsimError(f"chose {choice!r}, which is not ready; allowed: None, {', '.join(map(str, ready_before))}")
        return None if choice is None else int(choice)

    return watched


def _call(function: Callable[[], Any], name: str) -> Any:
    """Call a policy's function and name it in the error where it fails."""
    try:
        return function()
    except Exception as error:
        raise SocsimError(f"{name} raised {type(error).__name__}: {error}") from error


def _snapshot(view: View) -> dict[str, Any]:
    """Copy what a policy may look at."""
    fields = {name: getattr(view, name) for name in View.__slots__}
    copies = {name: value[:] if isinstance(value, (list, bytearray)) else value for name, value in fields.items()}
    return {**copies, "ready": [ready[:] for ready in view.ready], "coming": [coming[:] for coming in view.coming]}


def _check_unchanged(what: str, now: Any, before: Any) -> None:
    if now != before:
        raise SocsimError(f"changed {what}, which is read only")


def random_costs(seed: int, *, processors: int = 3, latency: bool = True, traffic: bool = True) -> Costs:
    """Return a random task graph, structured like a prefill with decode steps, with random costs.

    Parameters
    ----------
    seed
        Same seed, same result.
    processors
        Number of processors, 1 to 3.
    latency
        Whether hand-overs take time.
    traffic
        Whether subgraphs move DRAM bytes.
    """
    rng = random.Random(seed)
    names = sorted(rng.sample(PROCESSORS, processors))
    graph = _random_graph(rng, names)
    # Few different durations: many events then fall on the same instant.
    times_ns = np.array([rng.choice((0, 1, 10, 10, 20, 50, rng.randint(1, 1000))) for _ in range(len(graph))])
    parts_s = np.zeros((len(graph), len(PARTS)))
    parts_s[:, PARTS.index("linear")] = times_ns / NANOSECONDS
    dram_bytes = np.array([float(rng.choice((0, 100, rng.randint(1, 3000)))) for _ in range(len(graph))]) * traffic
    hand_over_s = rng.choice((0, 1, 10, rng.randint(1, 300))) / NANOSECONDS * latency
    latency_s = np.full((len(graph.processors),) * 2, hand_over_s)
    np.fill_diagonal(latency_s, 0.0)
    bandwidth = np.array([rng.choice((1e9, 2e9, rng.uniform(5e8, 4e9))) for _ in graph.processors])
    achievable = max(bandwidth.max(), float(bandwidth.sum()) * rng.uniform(0.3, 1.2))
    return Costs(graph, parts_s, dram_bytes, bandwidth, float(achievable), latency_s)


def _random_graph(rng: random.Random, names: Sequence[str]) -> TaskGraph:
    """Return chunks of one random layout, with prefixes between them, a tail behind the last and decode steps."""
    length, chunks, tail = rng.randint(1, 9), rng.randint(1, 5), rng.randint(0, 3)
    processors = [rng.choice(names) for _ in range(length)]
    needs = [rng.sample(range(place), rng.randint(0, min(2, place))) for place in range(length)]
    prefixes = [_random_prefix(rng, place, needs, chunks) for place in range(length) if rng.random() < 0.4]
    works = [Work((Operator(f"work_{place}", "vector", "fp16", ops=1),)) for place in range(length + 1)]
    subgraphs = [Subgraph(f"stage_{p}", c, p, p, processors[p], works[p]) for c in range(chunks) for p in range(length)]
    predecessors = [tuple(chunk * length + other for other in sorted(needs[place])) for chunk in range(chunks) for place in range(length)]
    last = tuple(range((chunks - 1) * length, chunks * length))
    for step in range(tail):
        subgraphs.append(
            Subgraph("tail" if step == 0 else "decode", chunks - 1 + step, length, length + step, rng.choice(names), works[length])
        )
        predecessors.append(last)
        last = (len(subgraphs) - 1,)
    return TaskGraph(tuple(subgraphs), tuple(predecessors), tuple(prefixes), chunks * length + min(tail, 1))


def _random_prefix(rng: random.Random, producer: int, needs: Sequence[list[int]], chunks: int) -> Prefix:
    """Let some later stages wait for a stage of all chunks up to their own, and perhaps that stage for earlier chunks."""
    length = len(needs)
    places = [place for place in range(producer + 1, length) if rng.random() < 0.5]
    for place in places:  # what the prefix says is not said again
        needs[place][:] = [other for other in needs[place] if other != producer]
    own = rng.random() < 0.3
    waiters = [
        tuple(chunk * length + place for place in places) + (((chunk + 1) * length + producer,) if own and chunk + 1 < chunks else ())
        for chunk in range(chunks)
    ]
    return Prefix(tuple(chunk * length + producer for chunk in range(chunks)), tuple(waiters))


def _prefill_costs() -> Costs:
    """Return a prefill of three chunks through four blocks of a real model, with shadow outliers and a decode step."""
    llm = load_model("smollm2-135m").override({"num_hidden_layers": 4}, "model")
    engine = load_engine("llm-npu").override({"chunk_tokens": 32, "outlier_pruning_rate": 0.5}, "engine")
    run = Run(prompt_tokens=96, output_tokens=2)
    return graph_costs(prefill_graph(llm, engine, run), load_soc("snapdragon-8-gen-3"), engine, run)
