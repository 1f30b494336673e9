"""Placement as a choice of the scheduler: by hand, costed as any other graph, never worse where it is searched, and bad choices refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from random_graphs import Row, hand_costs
from rich.console import Console

from socsim.catalog import load_engine
from socsim.cli.report import print_result
from socsim.cost import NANOSECONDS, graph_costs
from socsim.decisions import decision_log
from socsim.errors import SocsimError
from socsim.footprint import graph_preparation, memory_needs
from socsim.roofline import spilled_bytes
from socsim.runs import Case, make_case, run_case
from socsim.schedulers import SCHEDULERS, Choose, Placements, Prepare, fifo, lookahead, places
from socsim.schedulers.heft import heft_placement
from socsim.schedulers.placement_search import best_placement
from socsim.schedulers.planned import planned_placement
from socsim.simulator import rehearsals

PHONE = "snapdragon-8-gen-3"
ATTENTION = {"rope": ["gpu"], "kv_append": ["gpu"], "attention": ["gpu"]}
NORMS = {"attn_norm": ["npu"], "ffn_norm": ["npu", "gpu"]}
PLACING = ("heft", "lookahead", "planned")


@pytest.fixture(autouse=True)
def _little_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.schedulers.order_search.EFFORT", 500)
    monkeypatch.setattr("socsim.schedulers.placement_search.EFFORT", 2_000)


def small(alternatives: Mapping[str, Sequence[str]] = ATTENTION | NORMS, engine: str = "llm-npu", more: Mapping[str, Any] = {}) -> Case:
    """Return three blocks of smollm2-135m in four chunks, with a decode step."""
    overrides = {"model.num_hidden_layers": 3, "engine.placement.alternatives": alternatives, **more}
    return make_case(PHONE, "smollm2-135m", engine, prompt_tokens=120, output_tokens=2, chunk_tokens=32, overrides=overrides)


def policy(place: Callable[[Placements], Any]) -> Prepare:
    """Return `fifo` with a placement of its own."""

    @places(place)
    def placed(graph: Any, expected_ns: Sequence[int], seed: int) -> Choose:
        return fifo(graph, expected_ns, seed)

    return placed


def last(placements: Placements) -> list[str]:
    """Place each subgraph on the last of its processors."""
    return [list(durations)[-1] for durations in placements.expected_ns]


def by_hand(rows: Sequence[tuple[dict[str, int], list[int]]], chunks: Sequence[int], hand_over_ns: int = 0) -> Placements:
    """Return placements of subgraphs given by durations on each processor and direct predecessors."""

    def graph_on(names: Sequence[str]) -> Any:
        costed: list[Row] = [(name, durations[name], 0, needs) for name, (durations, needs) in zip(names, rows, strict=True)]
        costs = hand_costs(costed, latency_ns=hand_over_ns, chunks=chunks)
        renamed = tuple(
            each._replace(stage=f"needs_{len(each_row[1])}") for each, each_row in zip(costs.graph.subgraphs, rows, strict=True)
        )
        graph = replace(costs.graph, subgraphs=renamed)
        return replace(costs, graph=graph)

    first = graph_on([next(iter(durations)) for durations, _ in rows]).graph
    return Placements(
        first,
        [durations for durations, _ in rows],
        [hand_over_ns] * len(rows),
        lambda names, other: rehearsals(graph_on(names), "shared", 0)(other).makespan_ns,
    )


HALF = by_hand([({"npu": 5}, []) for _ in range(4)] + [({"cpu": 20, "gpu": 20}, [chunk]) for chunk in range(4)], [0, 1, 2, 3, 0, 1, 2, 3])
"""The NPU ends at 5, 10, 15 and 20; what follows takes 20 on the CPU or the GPU: 85 on one of them, 50 on both in turn."""


@pytest.mark.parametrize("place", [heft_placement, lambda each: best_placement(each, lookahead), planned_placement])
def test_half_of_the_work_on_another_processor(place: Callable[[Placements], list[str]]) -> None:
    assert HALF.rehearse(HALF.listed, fifo) == 85
    chosen = place(HALF)
    assert chosen == ["npu"] * 4 + ["cpu", "gpu", "cpu", "gpu"]
    assert HALF.rehearse(chosen, fifo) == 50


@pytest.mark.parametrize(("hand_over_ns", "name", "makespan_ns"), [(4, "gpu", 19), (5, "cpu", 20), (6, "cpu", 20)])
def test_a_hand_over_that_takes_longer_than_it_saves(hand_over_ns: int, name: str, makespan_ns: int) -> None:
    chain = by_hand([({"cpu": 10}, []), ({"cpu": 10, "gpu": 5}, [0])], [0, 0], hand_over_ns)
    for place in (heft_placement, planned_placement):
        assert place(chain) == ["cpu", name]
    assert chain.rehearse(["cpu", name], fifo) == makespan_ns


def test_heft_takes_the_processor_on_which_a_subgraph_ends_first_gaps_filled() -> None:
    rows: list[tuple[dict[str, int], list[int]]] = [({"cpu": 10}, []), ({"npu": 30}, []), ({"cpu": 8}, [])]
    rows += [({"cpu": 4, "gpu": 8}, [1]), ({"cpu": 3, "npu": 4}, [])]
    # The fourth is ready elsewhere at 34: 38 on the CPU, 42 on the GPU. The fifth: 21 on the CPU, free from 18 to 34, or 34 on the NPU.
    assert heft_placement(by_hand(rows, [0] * 5, 4)) == ["cpu", "npu", "cpu", "cpu", "cpu"]


def test_decode_steps_do_not_change_a_placement() -> None:
    one, many = (run_case(small(more={"run.output_tokens": tokens}), "heft").timeline.graph for tokens in (1, 9))
    assert one.subgraphs[: one.prefill_count] != small().costs.graph.subgraphs[: one.prefill_count]
    assert [each.processor for each in many.subgraphs[: one.prefill_count]] == [each.processor for each in one.subgraphs]


def test_planned_keeps_the_files_placement_where_it_is_the_better_one_when_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    listed, other = HALF.listed, ["npu"] * 4 + ["gpu"] * 4
    taken = {"listed": 80, "other": 82}
    names = {tuple(listed): "listed", tuple(other): "other"}
    monkeypatch.setattr(import_module("socsim.schedulers.planned"), "lookahead_placement", lambda _: other)
    slow = HALF._replace(rehearse=lambda names_, judge: 90 if judge is lookahead else taken[names[tuple(names_)]])
    assert planned_placement(slow) == listed
    taken["listed"] = 85
    assert planned_placement(slow) == other


def test_a_placed_graph_is_costed_like_the_same_graph_built_by_hand() -> None:
    case = small()
    listed, result = case.costs.graph, run_case(case, policy(last))
    names = ["gpu" if each.stage in ("attention", "ffn_norm") else "npu" if each.stage == "attn_norm" and each.block else each.processor
             for each in listed.subgraphs]  # fmt: skip
    moved = tuple(each._replace(processor=name) for each, name in zip(listed.subgraphs, names, strict=True))
    expected = graph_costs(replace(listed, subgraphs=moved), case.soc, case.engine, case.run)
    costs = result.timeline.costs
    assert costs.graph.subgraphs == moved
    assert (costs.graph.predecessors, costs.graph.prefixes) == (listed.predecessors, listed.prefixes)
    for field in ("parts_s", "dram_bytes", "bandwidth_bytes_per_s", "hand_over_latency_s"):
        assert np.array_equal(getattr(costs, field), getattr(expected, field)), field
    assert costs.parts_s[:, -1].sum() > case.costs.parts_s[:, -1].sum()  # more hand-overs
    assert result.record["moved_subgraphs"] == sum(name != each.processor for name, each in zip(names, listed.subgraphs, strict=True))
    assert (
        result.case.footprint.graph_buffers_bytes
        == memory_needs(case.llm, case.engine, case.run, costs.graph, case.chunks).graph_buffers_bytes
    )
    assert result.case.footprint.graph_buffers_bytes > case.footprint.graph_buffers_bytes
    assert result.case.preparation == graph_preparation(case.llm, case.engine, case.soc, costs.graph, case.chunks)
    assert result.case.preparation.total_s > case.preparation.total_s


def test_everything_is_done_once_wherever_it_is_done() -> None:
    case = small()
    before, after = run_case(case, "fifo").timeline, run_case(case, policy(last)).timeline
    works = [(each.stage, each.chunk, each.block, each.sites, each.work) for each in before.graph.subgraphs]
    assert works == [(each.stage, each.chunk, each.block, each.sites, each.work) for each in after.graph.subgraphs]
    assert (after.end_ns > after.start_ns).all()
    for timeline in (before, after):  # but for tensors that do not fit on chip, what moves is the same
        chip = {str(name): each.on_chip_memory_bytes for name, each in case.soc.processors.items()}
        outer = [
            moved - spilled_bytes(each.work, chip[each.processor])
            for moved, each in zip(timeline.costs.dram_bytes, timeline.graph.subgraphs, strict=True)
        ]
        assert outer == [each.work.outer_bytes for each in before.graph.subgraphs]


def test_expected_durations_and_hand_overs_are_those_of_the_graph() -> None:
    case, seen = small(), []

    def watch(placements: Placements) -> list[str]:
        seen.append(placements)
        return last(placements)

    run_case(case, policy(watch))
    placed = run_case(case, policy(last)).case.costs
    (placements,) = seen
    for costs in (case.costs, placed):
        alone = replace(costs, parts_s=np.column_stack([costs.parts_s[:, :-1], np.zeros(len(costs.graph))])).expected_ns
        assert [d[e.processor] for d, e in zip(placements.expected_ns, costs.graph.subgraphs, strict=True)] == alone
    once = placed.graph.foreign_consumers == 1
    total_s = placed.parts_s[once, -1] + placed.hand_over_latency_s.max()
    assert np.array(placements.hand_over_ns)[once].tolist() == np.rint(total_s * NANOSECONDS).tolist()


def test_hand_overs_that_do_not_depend_on_bytes() -> None:
    changed = {"engine.placement.alternatives": {"ffn_norm": ["gpu"]}, "model.num_hidden_layers": 1}
    case = make_case("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=32, overrides=changed)  # its caches are coherent
    seen: list[int] = []

    def watch(placements: Placements) -> list[str]:
        seen.extend(placements.hand_over_ns)
        return placements.listed

    run_case(case, policy(watch))
    mechanism = case.soc.synchronization[case.engine.synchronization]
    assert seen == [round((mechanism.launch_work_s + mechanism.latency_s) * NANOSECONDS)] * len(case.costs.graph)


def test_what_may_move() -> None:
    def stages(**alternatives: list[str]) -> set[tuple[str, str]]:
        found: list[tuple[str, str]] = []

        def watch(placements: Placements) -> list[str]:
            for subgraph, durations in zip(placements.graph.subgraphs, placements.expected_ns, strict=True):
                assert next(iter(durations)) == subgraph.processor
                found.extend((f"{subgraph.stage} {min(subgraph.block, 1)}", name) for name in list(durations)[1:])
            return placements.listed

        assert run_case(small(alternatives), policy(watch)).record["moved_subgraphs"] == 0
        return set(found)

    assert stages(**ATTENTION) == {("attention 0", "gpu"), ("attention 1", "gpu")}
    assert stages(ffn_norm=["npu", "gpu"]) == {(f"ffn_norm {block}", name) for block in (0, 1) for name in ("gpu", "npu")}
    assert stages(attn_norm=["npu"]) == {("attn_norm 1", "npu")}  # the first one looks the embedding up
    assert stages(attn_norm=["npu", "gpu"], embedding=["gpu"]) == {("attn_norm 1", "npu"), ("attn_norm 1", "gpu"), ("attn_norm 0", "gpu")}


def test_rehearsals_count_what_each_prompt_waits_for() -> None:
    case, found = small(NORMS, engine="npu-naive"), []

    def watch(placements: Placements) -> list[str]:
        found.append(placements.rehearse(last(placements), fifo))
        return last(placements)

    record = run_case(case, policy(watch)).record
    assert record["preparation_in_ttft_s"] > case.preparation.charged_s
    assert found == [round(record["ttft_s"] * NANOSECONDS)]


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name not in PLACING])
def test_other_policies_keep_the_files_placement(scheduler: str) -> None:
    result, plain = run_case(small(), scheduler), run_case(small({}), scheduler)
    assert result.timeline.end_ns.tolist() == plain.timeline.end_ns.tolist()
    assert result.record | {"overrides": {}} == plain.record | {"overrides": {}, "moved_subgraphs": 0}


@pytest.mark.parametrize("scheduler", PLACING)
def test_without_alternatives_there_is_nothing_to_place(scheduler: str) -> None:
    case = small({})
    assert run_case(case, scheduler).case is case


@pytest.mark.parametrize("alternatives", [ATTENTION, NORMS, ATTENTION | NORMS], ids=["attention", "norms", "both"])
@pytest.mark.parametrize("npu", [0.5, 4.0])
@pytest.mark.parametrize("scheduler", ["lookahead", "planned"])
def test_searched_placements_are_never_worse_than_the_files(scheduler: str, npu: float, alternatives: dict[str, list[str]]) -> None:
    speed = {"soc.processors.npu.speed": npu}
    placed, plain = (run_case(small(choice, more=speed), scheduler).record for choice in (alternatives, {}))
    assert placed["ttft_s"] <= plain["ttft_s"]
    assert placed["ttft_s"] < plain["ttft_s"] or not placed["moved_subgraphs"]


@pytest.mark.parametrize("scheduler", PLACING)
def test_placing_gives_the_same_again(scheduler: str) -> None:
    one, two = (run_case(small(more={"soc.processors.npu.speed": 4.0}), scheduler) for _ in range(2))
    assert one.record["moved_subgraphs"] > 0
    assert one.record == two.record
    assert [each.processor for each in one.timeline.graph.subgraphs] == [each.processor for each in two.timeline.graph.subgraphs]
    assert one.timeline.start_ns.tolist() == two.timeline.start_ns.tolist()


def test_placements_do_not_know_the_noise() -> None:
    quiet, noisy = (run_case(small(more={"run.duration_noise": sigma}), "heft") for sigma in (0.0, 0.3))
    assert [each.processor for each in quiet.timeline.graph.subgraphs] == [each.processor for each in noisy.timeline.graph.subgraphs]
    assert quiet.case.moved_subgraphs > 0
    assert quiet.timeline.end_ns.tolist() != noisy.timeline.end_ns.tolist()


def test_a_processor_may_slow_down_that_has_work_only_when_placed() -> None:
    slowed = {"run.slowed_processor": "gpu", "run.slowdown_factor": 3.0}
    assert run_case(small(more=slowed), policy(last)).record["ttft_s"] > run_case(small(), policy(last)).record["ttft_s"]
    with pytest.raises(SocsimError, match=r"run\.slowed_processor 'gpu' has no work in this run"):
        run_case(small(more=slowed), "fifo")


def test_a_log_leaves_the_placement_as_it_is(tmp_path: Any) -> None:
    case = small()
    with decision_log("heft", tmp_path / "log.csv") as logged:
        assert run_case(case, logged).record == run_case(case, "heft").record


def test_automatic_chunks_are_simulated_as_placed() -> None:
    engine = load_engine("llm-npu").override(
        {"scheduler": "heft", "placement.alternatives": ATTENTION, "prebuilt_chunk_tokens": [32, 64]}, "engine"
    )
    overrides = {"model.num_hidden_layers": 3}
    found = make_case(PHONE, "smollm2-135m", engine, prompt_tokens=128, chunk_tokens="auto", overrides=overrides)
    every = [make_case(PHONE, "smollm2-135m", engine, prompt_tokens=128, chunk_tokens=length, overrides=overrides) for length in (32, 64)]
    assert (run_case(found).record["ttft_s"] or 0.0) <= min(run_case(case).record["ttft_s"] for case in every)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (lambda placements: placements.listed[:-1], r"place should return the processors of 107 subgraphs, not 106"),
        (lambda placements: None, r"place should return the processors of 107 subgraphs, not NoneType$"),
        (lambda placements: np.array(placements.listed), r"place should return the processors of 107 subgraphs, not ndarray$"),
        (lambda placements: ["dsp", *placements.listed[1:]], r"placed attn_norm of chunk 0, block 0 on 'dsp'; allowed: cpu$"),
        (lambda placements: ["npu"] * len(placements.listed), r"placed attn_norm of chunk 0, block 0 on 'npu'; allowed: cpu$"),
        (lambda placements: placements.rehearse([], fifo), r"place should return the processors of 107 subgraphs, not 0"),
        (lambda placements: 1 // 0, r"scheduler's place raised ZeroDivisionError"),
    ],
    ids=["short", "none", "array", "unknown", "not-allowed", "rehearsed", "raises"],
)
def test_bad_choices_are_refused(place: Callable[[Placements], Any], message: str) -> None:
    with pytest.raises(SocsimError, match=message):
        run_case(small(), policy(place))


@pytest.mark.parametrize(
    ("alternatives", "message"),
    [
        ({"attenton": ["gpu"]}, r"attenton.*did you mean 'attention'"),
        ({"attention": ["dsp"]}, r"alternatives\.attention.*'cpu', 'gpu' or 'npu', not 'dsp'"),
        ({"attention": ["cpu"]}, r"alternatives\.attention names the cpu, where attention runs anyway"),
        ({"attention": ["gpu", "gpu"]}, r"alternatives\.attention names a processor twice: gpu, gpu"),
        ({"q_proj": ["gpu"]}, r"alternatives\.q_proj: a linear has none"),
        ({"lm_head": ["gpu"]}, r"alternatives\.lm_head: a linear has none"),
        ({"attention": ["gpu"]}, r"no subgraph with attention can run on the gpu, as what it computes beside it cannot: rope, kv_append"),
        ({"attn_residual": ["gpu"]}, r"no subgraph with attn_residual can run on the gpu, .*: o_proj"),
    ],
)
def test_bad_alternatives_are_refused(alternatives: dict[str, list[str]], message: str) -> None:
    with pytest.raises(SocsimError, match=message):
        small(alternatives)


def test_a_model_without_an_operator_needs_no_alternative_for_it() -> None:
    overrides = {"model.num_hidden_layers": 2, "engine.placement.alternatives": NORMS}  # phi-2 has no ffn_norm
    assert make_case(PHONE, "phi-2", "llm-npu", prompt_tokens=32, overrides=overrides).moved_subgraphs == 0


def test_the_soc_has_what_may_run_something() -> None:
    soc = small().soc
    cut = {name: each for name, each in soc.processors.items() if name != "gpu"}
    engine = load_engine("llm-npu").override({"placement.alternatives": ATTENTION}, "engine")
    with pytest.raises(SocsimError, match=r"engine llm-npu needs processor 'gpu', which snapdragon-8-gen-3 lacks; it has: cpu, npu"):
        make_case(soc.model_copy(update={"processors": cut}), "smollm2-135m", engine, prompt_tokens=32)


def test_moved_subgraphs_are_a_row_of_a_run_where_there_are_any(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for scheduler, expected in (("heft", True), ("fifo", False)):
        print_result(Console(), run_case(small(), scheduler))
        assert ("moved_subgraphs" in capsys.readouterr().out) is expected
