"""Slices of a sweep and the best of their points, against the values of all points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from socsim.errors import SocsimError
from socsim.sweeps import SweepResult, sweep
from socsim.sweeps.slices import Best, Slice, log_spaced

NPU, CPU = "soc.processors.npu.speed", "soc.processors.cpu.speed"
SPEC: dict[str, Any] = {
    "base": {
        "soc": "toy-phone", "model": "smollm2-135m", "engine": "llm-npu", "prompt_tokens": 64, "set": {"model.num_hidden_layers": 2},
    },
    "axes": [
        {"path": NPU, "values": [0.5, 1.0, 2.0], "link": "both"},
        {"path": CPU, "values": [1.0, 2.0, 3.0], "link": "both"},
        {"path": "chunk_tokens", "values": [16, 32, 999999]},
        {"path": "run.seed", "start": 0, "stop": 44, "points": 45},
    ],
    "metrics": ["ttft_s", "tpot_s", "prefill_tokens_per_s"],
}  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    return sweep(SPEC, tmp_path_factory.mktemp("sweep"), jobs=1)


def test_a_slice_has_the_points_that_did_not_fail(result: SweepResult) -> None:
    every, points = Slice(result, {}), Slice(result, {NPU: 2.0, "chunk_tokens": 16})
    assert (len(every.values("ttft_s")), len(points.values("ttft_s"))) == (3 * 2 * 45, 45)
    assert set(points.values(CPU).tolist()) == {3.0}
    assert every.levels("chunk_tokens") == [16, 32]
    assert every.varying == [NPU, "chunk_tokens", "run.seed"]
    assert points.varying == ["run.seed"]
    assert every.companions(CPU) == (NPU, CPU)
    assert (every.is_log(NPU), every.is_log(CPU), every.is_log("run.seed")) == (True, False, False)
    assert (every.has_values("ttft_s"), every.has_values("tpot_s")) == (True, False)


def test_what_is_run_is_no_choice(result: SweepResult, tmp_path: Path) -> None:
    every = Slice(result, {})
    assert {axis: every.is_workload(axis) for axis in result.axes} == {NPU: False, CPU: False, "chunk_tokens": False, "run.seed": True}
    axes = [
        {"path": NPU, "values": [1.0, 2.0], "link": "both"},
        {"path": "prompt_tokens", "values": [32, 64], "link": "both"},
        {"name": "depth", "path": "model.num_hidden_layers", "values": [1, 2]},
    ]
    linked = Slice(sweep(SPEC | {"axes": axes}, tmp_path / "linked", jobs=1), {})
    assert [linked.is_workload(axis) for axis in (NPU, "prompt_tokens", "depth")] == [True, True, True]


def test_rows_that_have_a_metric(result: SweepResult) -> None:
    points = Slice(result, {NPU: 2.0})
    assert points.known(["ttft_s", NPU], np.array([3, 5])).tolist() == [3, 5]
    assert points.known(["ttft_s"]).tolist() == list(range(90))
    with pytest.raises(SocsimError, match="'tpot_s' has no value at any of the points"):
        points.known(["tpot_s"])


@pytest.mark.parametrize(("metric", "best"), [("ttft_s", min), ("prefill_tokens_per_s", max)])
def test_the_best_of_each_value(result: SweepResult, metric: str, best: Any) -> None:
    points = Slice(result, {})
    found = Best(points, ["chunk_tokens"], metric)
    assert found.others == [NPU, "run.seed"]
    assert dict(zip(found.values("chunk_tokens").tolist(), points.values(metric)[found.rows].tolist(), strict=True)) == {
        chunk: best(points.values(metric)[points.values("chunk_tokens") == chunk].tolist()) for chunk in (16, 32)
    }
    assert [points.values(metric)[row] for row in found.by([])] == [best(points.values(metric).tolist())]


def test_many_numbers_are_in_groups(result: SweepResult) -> None:
    found = Best(Slice(result, {}), ["run.seed", NPU], "ttft_s")
    assert list(found.edges) == ["run.seed"]
    assert found.edges["run.seed"].tolist() == [0.0, 11.0, 22.0, 33.0, 44.0]
    assert sorted(set(found.values("run.seed").tolist())) == [5.5, 16.5, 27.5, 38.5]
    assert len(found.rows) == 4 * 3
    assert found.others == ["chunk_tokens"]


def test_many_names_are_too_many(tmp_path: Path) -> None:
    names = [f"axis {number}" for number in range(41)]
    spec = SPEC | {"axes": [{"path": "soc.description", "values": names}]}
    with pytest.raises(SocsimError, match=r"axis 'soc.description' has 41 names at these points; allowed: at most 40"):
        Best(Slice(sweep(spec, tmp_path / "names", jobs=1), {}), ["soc.description"], "ttft_s")


@pytest.mark.parametrize(
    ("values", "log"),
    [([64, 128, 256], True), ([1, 2, 3], False), ([1, 2], False), ([0, 1, 10], False), ([1, 3, 10, 30], True), ([10, 20, 30, 40], False)],
)
def test_numbers_that_are_equal_factors_apart(values: list[float], log: bool) -> None:
    assert log_spaced(values) is log
