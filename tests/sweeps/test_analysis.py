"""Analysis of sweeps: fronts against brute force, sensitivity indices against known ones, swings and best points by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.sweeps import SweepResult, analysis, pareto_front, sensitivity, sweep, swings
from socsim.sweeps.analysis import Swing, best_points, indices, levels, to_minimize

Array = NDArray[Any]

BASE = {
    "soc": "toy-phone", "model": "smollm2-135m", "engine": "llm-npu", "prompt_tokens": 64, "chunk_tokens": 32,
    "set": {"model.num_hidden_layers": 2},
}  # fmt: skip
SPEEDS: list[dict[str, Any]] = [
    {"path": "soc.processors.npu.speed", "start": 0.5, "stop": 2.0, "spacing": "log"},
    {"path": "soc.processors.gpu.speed", "start": 0.5, "stop": 2.0},
]
SALTELLI: dict[str, Any] = {
    "base": BASE,
    "axes": SPEEDS,
    "sample": {"method": "saltelli", "points": 8, "seed": 0},
    "metrics": ["ttft_s", "tpot_s", "weights_bytes", "bottleneck"],
}


def front_by_pairs(objectives: Array) -> list[bool]:
    """Return the front as it is defined."""
    rows = [tuple(row) for row in objectives.tolist()]
    known = [row for row in rows if not any(value != value for value in row)]

    def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return all(a <= b for a, b in zip(one, other, strict=True)) and one != other

    return [row in known and not any(beats(other, row) for other in known) for row in rows]


VALUES = st.one_of(st.integers(0, 3).map(float), st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 1e-300]))


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.tuples(*[VALUES] * width), min_size=1, max_size=25)), st.integers(1, 4))
def test_a_front_is_what_pairs_of_points_say(rows: list[tuple[float, ...]], compared: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis, "COMPARED", compared)  # else lists this short would never be split
        assert pareto_front(np.array(rows)).tolist() == front_by_pairs(np.array(rows))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("values", [3, 40, 10**6])
def test_fronts_of_more_points_than_are_compared_at_once(width: int, values: int) -> None:
    objectives = np.random.default_rng(width).integers(0, values, (400, width)).astype(float)
    objectives[:, -1] -= objectives[:, 0]  # so that the front is not small
    assert pareto_front(objectives).tolist() == front_by_pairs(objectives)


def test_a_front_of_100_000_points_that_are_all_on_it() -> None:
    angle = np.linspace(0.0, 1.5, 100_000)
    assert pareto_front(np.stack([np.sin(angle), np.cos(angle), angle], axis=1)).all()
    assert pareto_front(np.stack([angle, angle, angle], axis=1)).nonzero()[0].tolist() == [0]


def test_equal_points_and_none_at_all() -> None:
    assert pareto_front(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0], [np.nan, 0.0]])).tolist() == [True, True, False, False]
    assert pareto_front(np.empty((0, 3))).tolist() == []
    assert pareto_front(np.array([[np.nan, 1.0]])).tolist() == [False]


def test_more_is_better_of_some_metrics() -> None:
    assert to_minimize("prefill_tokens_per_s", np.array([1.0, 2.0])).tolist() == [-1.0, -2.0]
    assert to_minimize("ttft_s", np.array([1.0, 2.0])).tolist() == [1.0, 2.0]


def ishigami(points: int) -> Array:
    """Return Ishigami's function, whose indices are known, at the points of saltelli."""
    from SALib.sample import sobol

    problem = {"num_vars": 3, "names": ["a", "b", "c"], "bounds": [[-np.pi, np.pi]] * 3}
    a, b, c = sobol.sample(problem, points, calc_second_order=False, seed=7).T
    return np.asarray(np.sin(a) + 7.0 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a))


def test_indices_of_a_function_whose_indices_are_known() -> None:
    found = indices(ishigami(2048), ["a", "b", "c"])
    assert [index.axis for index in found] == ["a", "b", "c"]
    assert [index.first for index in found] == pytest.approx([0.3139, 0.4424, 0.0], abs=0.03)
    assert [index.total for index in found] == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.03)
    for index, first, total in zip(found, (0.3139, 0.4424, 0.0), (0.5576, 0.4424, 0.2437), strict=True):
        assert abs(index.first - first) < 1.5 * index.first_margin < 0.15
        assert abs(index.total - total) < 1.5 * index.total_margin < 0.15


def test_intervals_are_the_same_each_time_and_depend_on_the_seed() -> None:
    values = ishigami(64)
    assert indices(values, "abc", seed=0) == indices(values, "abc", seed=0) != indices(values, "abc", seed=1)


def test_too_few_points_and_values_that_do_not_vary() -> None:
    with pytest.raises(SocsimError, match="is 3 at all points"):
        indices(np.full(10, 3.0), "abc")
    with pytest.raises(SocsimError, match="varies at too few points"):
        indices(np.array([1.0, 1.0, 2.0, 3.0, 1.0]), "abc")


@pytest.fixture(scope="module")
def saltelli(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    return sweep(SALTELLI, tmp_path_factory.mktemp("saltelli"), jobs=1)


def test_sensitivity_of_a_sweep(saltelli: SweepResult) -> None:
    npu, gpu = sensitivity(saltelli, "ttft_s")
    assert (npu.axis, gpu.axis) == ("soc.processors.npu.speed", "soc.processors.gpu.speed")
    assert npu.total == pytest.approx(1.0, abs=0.35)
    assert gpu[1:] == (0.0, 0.0, 0.0, 0.0)  # the engine does not use it
    assert sensitivity(saltelli, "ttft_s") == indices(saltelli.values(["ttft_s"])["ttft_s"], saltelli.axes, seed=0)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("ttft", "unknown metric of .* 'ttft' .did you mean 'ttft_s'"),
        ("bottleneck", "unknown metric of .* 'bottleneck'.*allowed: tpot_s, ttft_s, weights_bytes"),
        ("weights_bytes", "weights_bytes is .* at all points"),
        ("tpot_s", "need all 32 points; 32 are done, 0 of these failed, and 32 have no tpot_s"),
    ],
)
def test_metrics_without_indices(saltelli: SweepResult, metric: str, words: str) -> None:
    with pytest.raises(SocsimError, match=words):
        sensitivity(saltelli, metric)


CHUNKS: dict[str, Any] = {"path": "chunk_tokens", "values": [16, 32]}


@pytest.mark.parametrize(
    ("change", "limit", "words"),
    [
        ({"sample": None, "axes": [CHUNKS]}, None, "has no .sample.; .*saltelli"),
        ({"sample": {"method": "sobol", "points": 2}}, None, "has method = .sobol.; .*saltelli"),
        ({"axes": [*SPEEDS, CHUNKS]}, 1, "on all axes and no constraints, but axis 'chunk_tokens' has values or points"),
        ({"constraints": ["soc.processors.npu.speed < 9"]}, 1, "on all axes and no constraints, but there are constraints"),
        ({"sample": {"method": "saltelli", "points": 32}}, 1, "need all 128 points; 2 are done, 0 of these failed"),
        ({"base": BASE | {"chunk_tokens": 999999}}, None, "need all 32 points; 32 are done, 32 of these failed"),
    ],
)
def test_sweeps_without_indices(tmp_path: Path, change: dict[str, Any], limit: int | None, words: str) -> None:
    spec = {name: value for name, value in (SALTELLI | {"metrics": ["ttft_s"]} | change).items() if value is not None}
    with pytest.raises(SocsimError, match=words):
        sensitivity(sweep(spec, tmp_path / "out", jobs=1, limit=limit), "ttft_s")


def test_swings_are_differences_of_means() -> None:
    text = np.array(["b", "a", "b", "a", "a", "a"], dtype=object)
    number, alone = np.array([1, 1, 2, 2, 3, 3]), np.array([7.0] * 6)
    values = np.array([1.0, 2.0, 3.0, 4.0, 9.0, np.nan])
    assert swings({"text": text, "number": number, "alone": alone}, values) == [
        Swing("number", 1.5, (1, 1), 9.0, (3, 3), 5),
        Swing("text", 2.0, ("b", "b"), 5.0, ("a", "a"), 5),
    ]


def test_values_are_compared_where_all_others_are_alike() -> None:
    model = np.array(["small", "small", "small", "large", "large"], dtype=object)
    memory, chunk = np.array([4, 8, 16, 8, 16]), np.array([1, 1, 1, 1, 1])
    values = np.array([1.0, 2.0, 3.0, 20.0, 50.0])  # the large model does not fit in 4
    axes = {"model": model, "memory": memory, "chunk": chunk}
    assert swings(axes, values, crossed=tuple(axes)) == [
        Swing("model", 2.5, ("small", "small"), 35.0, ("large", "large"), 4),
        Swing("memory", 1.0, (4, 4), 3.0, (16, 16), 3),
    ]
    assert swings(axes, values)[1].largest == 26.5
    values[0] = np.nan
    assert [(swing.axis, swing.points) for swing in swings(axes, values, crossed=tuple(axes))] == [("model", 4), ("memory", 4)]
    values[4] = np.nan  # which leaves the large model at 8 alone
    assert swings(axes, values, crossed=tuple(axes)) == [
        Swing("model", 2.0, ("small", "small"), 20.0, ("large", "large"), 2),
        Swing("memory", 2.0, (8, 8), 3.0, (16, 16), 2),
    ]
    values[1] = np.nan
    assert swings(axes, values, crossed=tuple(axes)) == []


def test_many_numbers_are_put_into_ten_groups_as_large() -> None:
    column = np.random.default_rng(0).permutation(200) / 10.0
    (found,) = swings({"x": column}, column**2)
    assert (found.least_at, found.largest_at) == ((0.0, 1.9), (18.0, 19.9))
    assert found.least == pytest.approx(np.mean(np.arange(0.0, 2.0, 0.1) ** 2))
    assert found.width == pytest.approx(np.mean(np.arange(18.0, 20.0, 0.1) ** 2) - found.least)
    few = np.repeat(np.arange(20), 10)
    assert swings({"x": few}, few.astype(float))[0].largest_at == (19, 19)


def test_equal_numbers_are_in_one_group() -> None:
    column = np.r_[np.zeros(150), np.arange(1, 51)]
    (found,) = swings({"x": column}, np.where(column == 0, -1.0, column))
    assert (found.least, found.least_at) == ((-150 + sum(range(1, 11))) / 160, (0.0, 10.0))
    assert found.largest_at == (31.0, 50.0)


def test_levels_rise_or_stand_as_they_come() -> None:
    listed, level = levels(np.array([3, 1, 3]))
    assert (listed, level.tolist()) == ([1, 3], [1, 0, 1])
    listed, level = levels(np.array(["z", None, "a", "z"], dtype=object))
    assert (listed, level.tolist()) == (["z", None, "a"], [0, 1, 2, 0])


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.sampled_from([1.0, 2.0, 3.0, float("nan")])), max_size=30))
def test_best_points_are_the_first_with_the_best_value(rows: list[tuple[int, str, float]]) -> None:
    keys = [np.array([row[0] for row in rows], dtype=np.int64), np.array([row[1] for row in rows], dtype=object)]
    values = np.array([row[2] for row in rows], dtype=np.float64)
    best: dict[tuple[int, str], int] = {}
    for number, (x, y, value) in enumerate(rows):
        if value == value and ((x, y) not in best or value < rows[best[x, y]][2]):
            best[x, y] = number
    assert sorted(best_points(keys, "ttft_s", values).tolist()) == sorted(best.values())


def test_the_best_of_all_points() -> None:
    values = np.array([2.0, 5.0, np.nan, 1.0, 5.0])
    assert best_points([], "ttft_s", values).tolist() == [3]
    assert best_points([], "npu_utilization", values).tolist() == [1]
