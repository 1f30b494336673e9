"""The task graph checks what it is given, and derives what schedulers and the simulator need."""

from __future__ import annotations

import pytest
from random_graphs import NOTHING

from socsim.errors import SocsimError
from socsim.graph import Operator, Prefix, Subgraph, TaskGraph, Work


def subgraphs(*processors: str) -> tuple[Subgraph, ...]:
    return tuple(Subgraph(f"s{i}", 0, 0, i, name, NOTHING) for i, name in enumerate(processors))


def test_work_sums_over_its_operators() -> None:
    first = Operator("first", "product", "int8", ops=10, input_bytes=1, output_bytes=2, weight_bytes=3, kv_bytes=4)
    second = Operator("second", "vector", "fp16", ops=5, input_bytes=10, output_bytes=20, weight_bytes=30, kv_bytes=40)
    work = Work((first, second))
    assert (work.ops, work.weight_bytes, work.kv_bytes, work.activation_bytes, work.output_bytes) == (15, 33, 44, 33, 20)
    assert NOTHING.output_bytes == 0


def test_derived_views_of_a_graph() -> None:
    prefix = Prefix((0, 2), ((3,), (1, 4)))
    with pytest.raises(SocsimError):  # 1 stands before the member 2 that it needs
        TaskGraph(subgraphs("npu", "cpu", "npu", "cpu", "cpu"), ((), (0,), (), (), (3,)), (prefix,))
    graph = TaskGraph(subgraphs("npu", "cpu", "npu", "cpu", "cpu"), ((), (0,), (), (), (3,)), (Prefix((0, 2), ((3,), (4,))),))
    assert len(graph) == graph.prefill_count == 5
    assert graph.processors == ("cpu", "npu")
    assert graph.processor_index == [1, 0, 1, 0, 0]
    assert graph.successors == [[1], [], [], [4], []]
    assert graph.missing == [0, 1, 0, 1, 2]
    assert graph.prefix_of == {0: (0, 0), 2: (0, 1)}
    assert graph.prefixes_needed == {3: [(0, 0)], 4: [(0, 1)]}
    assert [list(graph.all_predecessors(index)) for index in range(5)] == [[], [0], [], [0], [3, 0, 2]]


@pytest.mark.parametrize(
    ("predecessors", "message"),
    [
        (((), ()), "3 subgraphs but 2 lists of predecessors"),
        (((), (1,), ()), "subgraph 1 needs 1, which does not stand before it"),
        (((), (2,), ()), "subgraph 1 needs 2, which does not stand before it"),
        (((), (-1,), ()), "subgraph 1 needs -1, which does not stand before it"),
        (((), (0, 0), ()), "subgraph 1 names a predecessor twice"),
    ],
)
def test_bad_predecessors(predecessors: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(SocsimError, match=f"^task graph: {message}$"):
        TaskGraph(subgraphs("cpu", "cpu", "cpu"), predecessors)


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        ([Prefix((0, 1), ((2,),))], "a prefix needs one tuple of waiters for each member"),
        ([Prefix((3,), ((),))], "prefix member 3 is no subgraph"),
        ([Prefix((-1,), ((2,),))], "prefix member -1 is no subgraph"),
        ([Prefix((0, 1), ((), (1,)))], "subgraph 1 waits for a prefix up to 1, which does not stand before it"),
        ([Prefix((1, 0), ((), (1,)))], "subgraph 1 waits for a prefix up to 1, which does not stand before it"),
        ([Prefix((0,), ((3,),))], "subgraph 3 waits for a prefix up to 0, which does not stand before it"),
        ([Prefix((0,), ((1,),)), Prefix((0,), ((2,),))], "a subgraph is a member of two prefixes"),
    ],
)
def test_bad_prefixes(prefixes: list[Prefix], message: str) -> None:
    with pytest.raises(SocsimError, match=f"^task graph: {message}$"):
        TaskGraph(subgraphs("cpu", "cpu", "cpu"), ((), (), ()), tuple(prefixes))


def test_nothing_is_needed_twice() -> None:
    with pytest.raises(SocsimError, match="subgraph 1 needs 0 both directly and through a prefix"):
        TaskGraph(subgraphs("npu", "cpu"), ((), (0,)), (Prefix((0,), ((1,),)),))


def test_members_of_a_prefix_share_a_processor() -> None:
    # The hand-over of a prefix counts from its last completion, which is right for members of one processor only.
    with pytest.raises(SocsimError, match=r"^task graph: .*prefix.*processor"):
        TaskGraph(subgraphs("cpu", "npu", "gpu"), ((), (), ()), (Prefix((0, 1), ((), (2,))),))


def test_kinds_are_work_on_a_processor_in_the_order_in_which_they_come() -> None:
    other = Work((Operator("x", "vector", "fp16", ops=1),))
    works = [("npu", other), ("cpu", NOTHING), ("npu", other), ("cpu", other), ("cpu", NOTHING)]
    graph = TaskGraph(tuple(Subgraph("s", 0, 0, i, name, work) for i, (name, work) in enumerate(works)), ((),) * 5)
    kinds, places = graph.kinds
    assert [(work is other, processor) for work, processor in kinds] == [(True, "npu"), (False, "cpu"), (True, "cpu")]
    assert places.tolist() == [0, 1, 0, 2, 1]


def test_foreign_consumers_are_processors_not_subgraphs() -> None:
    graph = TaskGraph(subgraphs("npu", "cpu", "cpu", "gpu", "npu"), ((), (0,), (0,), (0,), (0,)), (Prefix((1, 2), ((4,), ())),))
    assert graph.foreign_consumers.tolist() == [2, 1, 1, 0, 0]
