"""Replays of simulated timelines: right orders compute the same bits, wrong graphs fail or differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from socsim.cost import graph_costs
from socsim.errors import SocsimError
from socsim.graph import Prefix, TaskGraph
from socsim.numerics.decoder import Decoder, Shadow, Site
from socsim.numerics.forward import hidden_states
from socsim.numerics.profile import profile_text
from socsim.numerics.random_model import random_weights
from socsim.numerics.replay import kept_linears_of, replay
from socsim.numerics.schemes import Static
from socsim.runs import Case, make_case, run_case
from socsim.schedulers import SCHEDULERS, Choose, Prepare
from socsim.simulator import simulate
from socsim.timeline import Timeline

WEIGHTS = random_weights()
TOKENS = np.random.default_rng(0).integers(0, 128, 100)
PROFILE = profile_text(Decoder(WEIGHTS), [TOKENS])
SOC = "snapdragon-8-gen-3"


def make(engine: str = "llm-npu", pruning_rate: float = 0.5, chunk_tokens: int | list[int] = 32) -> tuple[Case, Decoder]:
    # Slow flash, so that shadows end at many different times.
    shadow = {"engine.outlier_pruning_rate": pruning_rate, "soc.flash.random_read_bytes_per_s": 1e6}
    case = make_case(SOC, WEIGHTS.llm, engine, prompt_tokens=len(TOKENS), chunk_tokens=chunk_tokens, overrides=shadow)
    keep = kept_linears_of(case.costs.graph)
    return case, Decoder(WEIGHTS, Static("shadow", keep=keep, outlier_channels=3.0).linears(WEIGHTS, PROFILE))


@pytest.mark.parametrize("pruning_rate", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("engine", ["llm-npu", "llm-npu-two-subgraphs"])
@pytest.mark.parametrize("chunks", [32, [16, 64, 8, 32]])
def test_every_order_computes_the_same_bits(engine: str, pruning_rate: float, chunks: int | list[int]) -> None:
    case, decoder = make(engine, pruning_rate, chunks)
    expected = decoder.logits(hidden_states(decoder, TOKENS, chunks)[-1:])[0]
    orders = set()
    for scheduler in SCHEDULERS:
        timeline = run_case(case, scheduler).timeline
        assert replay(timeline, decoder, TOKENS).tobytes() == expected.tobytes()
        orders.add(tuple(np.argsort(timeline.start_ns, kind="stable").tolist()))
    assert len(orders) > 2  # else nothing was shown


def test_placed_subgraphs_compute_the_same_bits() -> None:
    case, decoder = make()
    names = ("rope", "kv_append", "attention", "attn_norm", "ffn_norm")
    free = case.engine.override({"placement.alternatives": {name: ["gpu", "npu"] for name in names}}, "engine")
    result = run_case(make_case(SOC, WEIGHTS.llm, free, prompt_tokens=len(TOKENS), chunk_tokens=32), "heft")
    assert result.case.moved_subgraphs > 0
    assert replay(result.timeline, decoder, TOKENS).tobytes() == replay(run_case(case).timeline, decoder, TOKENS).tobytes()


def test_residual_additions_on_another_processor_follow_the_merge() -> None:
    case, decoder = make(pruning_rate=0.0)
    apart = case.engine.override({"placement.operators.attn_residual": "cpu", "placement.operators.ffn_residual": "cpu"}, "engine")
    timeline = run_case(make_case(SOC, WEIGHTS.llm, apart, prompt_tokens=len(TOKENS), chunk_tokens=32)).timeline
    fused = replay(run_case(case).timeline, decoder, TOKENS)
    assert replay(timeline, decoder, TOKENS) == pytest.approx(fused, rel=1e-3, abs=1e-4)  # sums in another order


def test_float_work_is_observed_once_a_chunk() -> None:
    case, decoder = make()
    seen: list[tuple[Site, int]] = []
    found: list[Shadow] = []

    def observe(site: Site, chunk: int, shadow: Shadow) -> None:
        seen.append((site, chunk))
        found.append(shadow)

    replay(run_case(case).timeline, decoder, TOKENS, observe)
    assert sorted(seen) == sorted((site, chunk) for site in decoder.kept for chunk in range(4))
    assert sum(len(each.channels) for each in found) > 0


def test_tokens_of_another_prompt_are_refused() -> None:
    case, decoder = make()
    timeline = run_case(case).timeline
    for count in (96, 129, 0):
        with pytest.raises(SocsimError, match=rf"{count} tokens are no prompt of 4 chunks of 32, 32, 32, 32 rows"):
            replay(timeline, decoder, np.zeros(count, dtype=np.int64))


def test_decoder_that_keeps_other_outliers_is_refused() -> None:
    timeline, other = run_case(make()[0]).timeline, make(pruning_rate=0.0)[1]
    with pytest.raises(SocsimError, match="shadow work for 10 linears, the decoder for 21"):
        replay(timeline, other, TOKENS)


def latest_chunk_first(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    """Prefer what has the most dependencies on others: later chunks, and their merges before their shadows."""
    return lambda ready, view: max(ready)


POLICIES: tuple[str | Prepare, ...] = ("fifo", "out-of-order", latest_chunk_first)


def play(graph: TaskGraph, case: Case, scheduler: str | Prepare) -> Timeline:
    return simulate(graph, graph_costs(graph, case.soc, case.engine, case.run), scheduler)


def without(graph: TaskGraph, drop: Callable[[int, int], bool]) -> TaskGraph:
    """Return a graph without some edges (producer, consumer)."""
    predecessors = tuple(tuple(other for other in needed if not drop(other, index)) for index, needed in enumerate(graph.predecessors))
    return TaskGraph(graph.subgraphs, predecessors, graph.prefixes, graph.prefill_count)


def without_prefixes(graph: TaskGraph) -> TaskGraph:
    """Return a graph in which attention needs the keys and values of its own chunk only."""
    own = [list(needed) for needed in graph.predecessors]
    for prefix in graph.prefixes:
        for member, waiters in zip(prefix.members, prefix.waiters, strict=True):
            for waiter in waiters:
                own[waiter].append(member)
    kept: tuple[Prefix, ...] = ()
    return TaskGraph(graph.subgraphs, tuple(tuple(sorted(each)) for each in own), kept, graph.prefill_count)


def stage(graph: TaskGraph, index: int) -> str:
    return graph.subgraphs[index].stage


def edge_kinds(graph: TaskGraph) -> list[tuple[str, str]]:
    """Return the stages of producer and consumer of every direct dependency of the prefill."""
    edges = ((other, index) for index in range(graph.prefill_count) for other in graph.predecessors[index])
    return sorted({(stage(graph, other), stage(graph, index)) for other, index in edges})


def fails_or_differs(graph: TaskGraph, case: Case, decoder: Decoder, scheduler: str | Prepare) -> bool:
    expected = replay(run_case(case, "sequential").timeline, decoder, TOKENS)
    try:
        return replay(play(graph, case, scheduler), decoder, TOKENS).tobytes() != expected.tobytes()
    except SocsimError as error:
        return " starts at " in str(error) and " and reads '" in str(error)


@pytest.mark.parametrize("engine", ["llm-npu", "llm-npu-two-subgraphs"])
@pytest.mark.parametrize("pruning_rate", [0.0, 0.85])
def test_graph_without_one_kind_of_dependency_fails(engine: str, pruning_rate: float) -> None:
    """Between any two stages: within a chunk, into and out of shadows and merges; even if its order happens to be right."""
    case, decoder = make(engine, pruning_rate)
    kinds = edge_kinds(case.costs.graph)
    needed_otherwise = []
    for kind in kinds:
        graph = without_kind(case.costs.graph, kind)
        assert reach(graph) <= reach(case.costs.graph)
        if reach(graph) == reach(case.costs.graph):
            needed_otherwise.append(kind)
            continue
        for scheduler in ("sequential", "out-of-order"):
            assert fails_or_differs(graph, case, decoder, scheduler), kind
    assert len(needed_otherwise) < len(kinds) / 4


def without_kind(graph: TaskGraph, kind: tuple[str, str]) -> TaskGraph:
    return without(graph, lambda other, index: (stage(graph, other), stage(graph, index)) == kind)


def reach(graph: TaskGraph) -> set[tuple[int, int]]:
    """Return who depends on whom, directly or not."""
    closed: list[set[int]] = []
    for index in range(graph.prefill_count):
        closed.append(set().union(*({other} | closed[other] for other in graph.all_predecessors(index))))
    return {(other, index) for index, others in enumerate(closed) for other in others}


@pytest.mark.parametrize("scheduler", ["sequential", "fifo", "out-of-order"])
def test_graph_without_cross_chunk_dependencies_fails(scheduler: str) -> None:
    case, decoder = make()
    assert fails_or_differs(without_prefixes(case.costs.graph), case, decoder, scheduler)


def test_what_was_there_by_chance_is_told_from_what_is_still_written() -> None:
    case, decoder = make()
    graph = without_prefixes(case.costs.graph)
    with pytest.raises(SocsimError, match=r"attention of chunk 1, block 0 .* reads 'k_proj' of chunk 0, block 0, which .*there by chance"):
        replay(play(graph, case, "sequential"), decoder, TOKENS)
    loose = without(case.costs.graph, lambda _, index: stage(case.costs.graph, index) == "o_proj")
    pattern = r"o_proj of chunk 3, block 2 starts at 0 ns and reads 'attention' of .*, which nobody has written"
    with pytest.raises(SocsimError, match=pattern):
        replay(play(loose, case, latest_chunk_first), decoder, TOKENS)


def test_part_of_a_prefill_is_refused() -> None:
    case, decoder = make()
    graph = case.costs.graph
    headless = TaskGraph(graph.subgraphs[:-1], graph.predecessors[:-1], graph.prefixes)
    with pytest.raises(SocsimError, match="computes the LM head 0 times"):
        replay(play(headless, case, "fifo"), decoder, TOKENS)
    first = TaskGraph(graph.subgraphs[:1], graph.predecessors[:1])
    with pytest.raises(SocsimError, match="no QKV linears"):
        replay(play(first, case, "fifo"), decoder, TOKENS)


def test_unmutated_graph_passes_the_same_check() -> None:
    case, decoder = make(pruning_rate=0.0)
    same = without(case.costs.graph, lambda *_: False)
    assert not any(fails_or_differs(same, case, decoder, scheduler) for scheduler in POLICIES)
