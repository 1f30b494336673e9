"""The placement that a policy chooses among those that an engine allows, before the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from socsim.cost import NANOSECONDS, graph_costs
from socsim.errors import SocsimError
from socsim.graph import Subgraph, TaskGraph, Work
from socsim.roofline import CostModel
from socsim.schedulers import Placements, Prepare, place_of
from socsim.simulator import rehearsals
from socsim.specs import Engine, Run, SoC


def check_processors(soc: SoC, engine: Engine) -> None:
    """Check that a SoC has every processor that an engine uses, or may use.

    Raises
    ------
    SocsimError
        It lacks one.
    """
    missing = sorted(set(engine.processors) - set(soc.processors))
    if missing:
        raise SocsimError(
            f"engine {engine.name} needs processor '{missing[0]}', which {soc.name} lacks; it has: {', '.join(sorted(soc.processors))}"
        )


def check_alternatives(engine: Engine, graph: TaskGraph) -> None:
    """Check that each alternative of an engine is of use: some subgraph has it for all that it computes.

    Raises
    ------
    SocsimError
        An operator shares its subgraphs with others that cannot run there.
    """
    alternatives = engine.placement.alternatives
    sites = sorted({subgraph.sites for subgraph in graph.subgraphs[: graph.prefill_count]}) if alternatives else []
    for operator, names in alternatives.items():
        for name in names:
            fixed = [[site for site in each if name not in _others(engine, site)] for each in sites if operator in each]
            if fixed and all(fixed):
                few = min(fixed, key=lambda each: len(each))
                raise SocsimError(
                    f"engine.placement.alternatives.{operator}: no subgraph with {operator} can run on the {name}, "
                    f"as what it computes beside it cannot: {', '.join(few)}"
                )


def _others(engine: Engine, site: str) -> tuple[str, ...]:
    return engine.placement.alternatives.get(site, ())  # type: ignore[call-overload, no-any-return]


def allowed_processors(engine: Engine, subgraph: Subgraph) -> tuple[str, ...]:
    """Return the processors that may run a subgraph, its own first: others run all its operators, or it stays where it is.

    Linears have no alternatives, nor have shadow work, merges and decode steps. The members of a prefix contain linears or are merges, so
    they stay where they are, together.
    """
    first, *rest = [_others(engine, site) for site in subgraph.sites] or [()]
    return (subgraph.processor, *(name for name in first if all(name in names for names in rest)))


def placed_graph(
    graph: TaskGraph, policy: Prepare, soc: SoC, engine: Engine, run: Run, charged_s: Callable[[TaskGraph], float]
) -> TaskGraph:
    """Return a task graph with the placement that a policy chooses; as it is where the policy places nothing or there is no choice.

    A subgraph's operators are the same wherever it runs; launch, spills, layout, hand-overs and latency follow from where.

    Parameters
    ----------
    graph
        Placed as by the engine's file.
    policy
        Chooses if it has an attribute `place`, a `socsim.schedulers.Place`.
    soc, engine, run
        What costs depend on.
    charged_s
        Time for preparing graphs that a prompt waits for, with some placement.

    Raises
    ------
    SocsimError
        The SoC lacks what an alternative needs; or the policy fails, or chooses what is not allowed.
    """
    place = place_of(policy) if engine.placement.alternatives else None
    if place is None:
        return graph
    allowed = [allowed_processors(engine, subgraph) for subgraph in graph.subgraphs]
    if all(len(names) == 1 for names in allowed):
        return graph
    model = CostModel(soc, engine, run)

    def rehearse(processors: Sequence[str], other: Prepare) -> int:
        placed = _placed(graph, processors, allowed)
        makespan_ns = rehearsals(graph_costs(placed, soc, engine, run), run.memory, run.seed)(other).makespan_ns
        return makespan_ns + round(charged_s(placed) * NANOSECONDS)

    @cache
    def duration_ns(work: Work, name: str) -> int:
        times, dram_bytes = model.parts(work, name)
        alone_bytes_per_s = min(model.processor(name).bandwidth_bytes_per_s, soc.dram.achievable_bytes_per_s)
        return max(round(max(sum(times.values()), dram_bytes / alone_bytes_per_s) * NANOSECONDS), 1)

    expected_ns: list[Mapping[str, int]] = [
        {name: duration_ns(each.work, name) for name in names} for each, names in zip(graph.subgraphs, allowed, strict=True)
    ]
    output_bytes = np.array([each.work.output_bytes for each in graph.subgraphs], dtype=np.int64)
    hand_over_s = model.hand_over_s(output_bytes, np.ones_like(output_bytes)) + model.mechanism.latency_s
    try:
        chosen = place(Placements(graph, expected_ns, np.rint(hand_over_s * NANOSECONDS).astype(int).tolist(), rehearse))
    except SocsimError:
        raise
    except Exception as error:
        raise SocsimError(f"scheduler's place raised {type(error).__name__}: {error}") from error
    return _placed(graph, chosen, allowed)


def _placed(graph: TaskGraph, processors: Sequence[str], allowed: Sequence[tuple[str, ...]]) -> TaskGraph:
    """Return a task graph with each subgraph on a processor that was chosen for it."""
    if not isinstance(processors, Sequence) or isinstance(processors, str) or len(processors) != len(graph):
        given = f"{len(processors)}" if isinstance(processors, (list, tuple)) else type(processors).__name__
        raise SocsimError(f"scheduler's place should return the processors of {len(graph)} subgraphs, not {given}")
    for subgraph, name, names in zip(graph.subgraphs, processors, allowed, strict=True):
        if name not in names:
            where = f"{subgraph.stage} of chunk {subgraph.chunk}, block {subgraph.block}"
            raise SocsimError(f"scheduler placed {where} on {name!r}; allowed: {', '.join(names)}")
    if all(name == names[0] for name, names in zip(processors, allowed, strict=True)):
        return graph
    moved = zip(graph.subgraphs, processors, strict=True)
    return replace(graph, subgraphs=tuple([each if each.processor == name else each._replace(processor=name) for each, name in moved]))
