"""Values of axes: lists, ranges of numbers and of whole numbers, and samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_sweeps import plan, rows

from socsim.errors import SocsimError
from socsim.sweeps.dimensions import _between, as_array

METHODS = ["latin-hypercube", "sobol", "random", "saltelli"]
SPEED: dict[str, Any] = {"path": "soc.processors.npu.speed", "name": "npu", "start": 0.5, "stop": 4}
CHUNK: dict[str, Any] = {"path": "chunk_tokens", "start": 1, "stop": 4}


def column(*axes: dict[str, Any], name: str = "", **fields: Any) -> np.ndarray[Any, Any]:
    made = plan(*axes, **fields)
    return made.points(0, made.raw_count)[1][name or made.columns[0]]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (SPEED | {"points": 3}, [0.5, 2.25, 4.0]),
        (SPEED | {"points": 4, "spacing": "log"}, [0.5, 1.0, 2.0, 4.0]),
        (SPEED | {"start": 3, "stop": 1, "points": 3}, [3.0, 2.0, 1.0]),  # downwards, and floats as the field is
        (CHUNK | {"points": 4}, [1, 2, 3, 4]),
        (CHUNK | {"points": 3}, [1, 2, 4]),  # 2.5 is rounded to the even number
        (CHUNK | {"start": 16, "stop": 100, "points": 4, "spacing": "log"}, [16, 29, 54, 100]),
        (CHUNK | {"start": 64, "stop": 32, "points": 3}, [64, 48, 32]),
        ({"path": "chunk_tokens", "start": 0.5, "stop": 2.0, "points": 4, "relative": True}, [0.5, 1.0, 1.5, 2.0]),
    ],
)
def test_ranges(axis: dict[str, Any], expected: list[Any]) -> None:
    found = column(axis)
    assert found.tolist() == pytest.approx(expected, rel=1e-15)
    assert [type(value) for value in found.tolist()] == [type(value) for value in expected]
    assert found[0] == expected[0]
    assert found[-1] == expected[-1]


def test_a_range_is_of_whole_numbers_where_its_field_is_or_both_ends_are_if_the_field_does_not_say() -> None:
    whole = CHUNK | {"start": 10, "stop": 30, "points": 5}
    assert column(whole, base={"chunk_tokens": "auto"}).tolist() == [10, 15, 20, 25, 30]
    assert column(whole, base={"chunk_tokens": "auto"}).dtype == np.int64
    assert column({"path": "run.seed", "start": 0, "stop": 6, "points": 3}).dtype == np.int64
    assert column({"path": "run.duration_noise", "start": 0, "stop": 1, "points": 3}).tolist() == [0.0, 0.5, 1.0]


def test_too_many_points_for_whole_numbers() -> None:
    problem = (
        r"axis 'chunk_tokens': 5 points between 1 and 4 are not all different whole numbers; allowed: fewer points \(there are 4 numbe"
    )
    with pytest.raises(SocsimError, match=problem):
        plan(CHUNK | {"points": 5})


@pytest.mark.parametrize("end", ["start", "stop"])
@pytest.mark.parametrize("points", [{"points": 2}, {}])
def test_ends_of_whole_numbers_are_whole(end: str, points: dict[str, int]) -> None:
    sample = {} if points else {"sample": {"method": "random", "points": 4}}
    with pytest.raises(SocsimError, match=r"axis 'chunk_tokens': engine: field 'chunk_tokens': .*fractional part.*, not 2\.4"):
        plan(CHUNK | points | {end: 2.4}, **sample)


def test_linked_axes_of_different_length() -> None:
    axes = [{"path": "chunk_tokens", "values": [16, 32], "link": "x"}, {"path": "prompt_tokens", "values": [64], "link": "x"}]
    with pytest.raises(SocsimError, match="axes linked by 'x' should have as many values each, not chunk_tokens 2, prompt_tokens 1"):
        plan(*axes)


def test_a_link_may_be_called_as_another_axis() -> None:
    axes = [{"path": "chunk_tokens", "values": [16, 32], "link": "npu"}, {"path": "prompt_tokens", "values": [64, 96], "link": "npu"}]
    made = plan({"path": "soc.processors.npu.speed", "name": "npu", "values": [1.0, 2.0]}, *axes)
    assert rows(made) == [(1.0, 16, 64), (1.0, 32, 96), (2.0, 16, 64), (2.0, 32, 96)]


@pytest.mark.parametrize("method", METHODS)
def test_samples_are_the_same_for_a_seed_and_within_bounds(method: str) -> None:
    def sample(seed: int) -> list[tuple[Any, ...]]:
        axes = [SPEED | {"spacing": "log"}, CHUNK, {"path": "engine.outlier_pruning_rate", "start": 0.9, "stop": 0.1}]
        return rows(plan(*axes, sample={"method": method, "points": 16, "seed": seed}))

    found = sample(5)
    assert found == sample(5)
    assert found != sample(6)
    assert len(found) == (16 * 5 if method == "saltelli" else 16)
    assert all(0.5 <= speed <= 4 and chunk in (1, 2, 3, 4) and 0.1 <= rate <= 0.9 for speed, chunk, rate in found)
    assert all(type(chunk) is int for _, chunk, _ in found)
    assert {chunk for _, chunk, _ in found} == {1, 2, 3, 4}


def test_a_latin_hypercube_has_one_value_in_each_share_of_a_range() -> None:
    values = column(SPEED | {"stop": 4.5}, sample={"method": "latin-hypercube", "points": 8})
    assert sorted(np.floor((values - 0.5) / 0.5)) == list(range(8))
    logs = np.log2(column(SPEED | {"spacing": "log"}, sample={"method": "latin-hypercube", "points": 6}))
    assert sorted(np.floor((logs + 1) / 0.5)) == list(range(6))
    whole = column(CHUNK, sample={"method": "latin-hypercube", "points": 40})  # the ends are as likely as the others
    assert sorted(whole) == sorted([1, 2, 3, 4] * 10)


def test_saltelli_changes_one_axis_at_a_time() -> None:
    values = np.array(rows(plan(SPEED, CHUNK | {"stop": 4000}, sample={"method": "saltelli", "points": 4})))
    for first, *crossed, last in values.reshape(4, 4, 2):
        for place, each in enumerate(crossed):
            assert each[place] == last[place]
            assert each[1 - place] == first[1 - place]


def test_samples_are_one_dimension_where_the_first_sampled_axis_stands() -> None:
    made = plan(
        {"path": "scheduler", "values": ["fifo", "in-order"]},
        SPEED,
        {"path": "prompt_tokens", "values": [64, 96]},
        CHUNK,
        sample={"method": "random", "points": 3},
    )
    found = rows(made)
    assert [len(each) for each in made.dimensions] == [2, 3, 2]
    assert [(row[0], row[2]) for row in found] == [("fifo", 64), ("fifo", 96)] * 3 + [("in-order", 64), ("in-order", 96)] * 3
    drawn = [(row[1], row[3]) for row in found]
    assert drawn[0:6:2] == drawn[1:6:2] == drawn[6::2]
    assert len(set(drawn)) == 3


def test_rounding_does_not_leave_a_range() -> None:
    shares = np.array([0.0, 1.0, np.nextafter(1.0, 0.0)])
    rng = np.random.default_rng(0)
    for start, stop in rng.random((300, 2)) + 0.01:
        for log in (False, True):
            found = _between(start, stop, shares, log=log)
            assert min(start, stop) <= found.min() <= found.max() <= max(start, stop)


@pytest.mark.parametrize(
    ("values", "expected", "kind"),
    [
        ((1, 2), [1, 2], "int64"),
        ((1, 2.5), [1.0, 2.5], "float64"),
        ((True, False), [True, False], "bool"),
        ((True, 2), [True, 2], "object"),
        ((16, "auto"), [16, "auto"], "object"),
        (("null", 1.5), [None, 1.5], "object"),
        (((1, 2), (3, 4)), [[1, 2], [3, 4]], "object"),
    ],
)
def test_values_are_numbers_if_all_are(values: tuple[Any, ...], expected: list[Any], kind: str) -> None:
    array = as_array(values)
    assert (array.tolist(), str(array.dtype)) == (expected, kind)
    assert [type(value) for value in array.tolist()] == [type(value) for value in expected]
