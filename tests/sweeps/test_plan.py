"""Plans: the order and numbers of points, batches, constraints over axes and fields, and the way to text and back."""

from __future__ import annotations

from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import CHUNKS, plan, rows, spec

from socsim.catalog import load_soc
from socsim.errors import SocsimError
from socsim.sweeps import Plan, load_plan
from socsim.sweeps import plan as plan_module

SPEED: dict[str, Any] = {"path": "soc.processors.npu.speed", "name": "npu", "values": [0.5, 1, 2.0, 4]}
SCHEDULERS: dict[str, Any] = {"path": "scheduler", "values": ["in-order", "fifo"]}


def test_the_last_axis_varies_fastest() -> None:
    made = plan(SPEED, SCHEDULERS, CHUNKS)
    assert made.columns == ("npu", "scheduler", "chunk_tokens")
    assert rows(made) == list(product([0.5, 1.0, 2.0, 4.0], ["in-order", "fifo"], [16, 32, 64]))
    assert made.count == made.raw_count == 24
    numbers, values = made.points(5, 9)
    assert numbers.tolist() == [5, 6, 7, 8]
    assert values["chunk_tokens"].tolist() == [64, 16, 32, 64]
    assert list(values) == list(made.columns)


def test_linked_axes_advance_together_where_the_first_of_them_stands() -> None:
    made = plan(SPEED | {"link": "x"}, CHUNKS, {"path": "engine.outlier_pruning_rate", "values": [0, 0.1, 0.2, 0.3], "link": "x"})
    expected = [(speed, chunk, rate) for speed, rate in zip([0.5, 1, 2, 4], [0, 0.1, 0.2, 0.3], strict=True) for chunk in (16, 32, 64)]
    assert rows(made) == expected


def test_numbers_of_points_are_places_before_constraints() -> None:
    made = plan(SPEED, CHUNKS, constraints=["chunk_tokens <= 32 * npu", "npu != 4"])
    numbers, values = made.points(0, made.raw_count)
    every = list(product([0.5, 1.0, 2.0, 4.0], [16, 32, 64]))
    expected = [(place, point) for place, point in enumerate(every) if point[1] <= 32 * point[0] and point[0] != 4]
    assert numbers.tolist() == [place for place, _ in expected] == [0, 3, 4, 6, 7, 8]
    assert list(zip(values["npu"], values["chunk_tokens"], strict=True)) == [point for _, point in expected]
    assert (made.count, made.raw_count) == (6, 12)


@pytest.mark.parametrize("at_once", [1, 7, 1 << 17])
@pytest.mark.parametrize("constraints", [[], ["rate <= chunk_tokens * npu / 300"], ["npu < 0"]])
def test_sizes_of_batches_are_those_of_their_points(monkeypatch: pytest.MonkeyPatch, at_once: int, constraints: list[str]) -> None:
    monkeypatch.setattr(plan_module, "COUNTED_AT_ONCE", at_once)
    rate = {"path": "engine.outlier_pruning_rate", "name": "rate", "start": 0.0, "stop": 0.9, "points": 23}
    made = plan(SPEED, rate, CHUNKS, constraints=constraints)
    ranges = [made.batch_range(number) for number in range(made.batches)]
    assert made.batch_points == 4  # of 276 points, so that there are at least 64 batches
    assert ranges[0] == (0, 4)
    assert ranges[-1] == (272, 276)
    assert [start for start, _ in ranges[1:]] == [stop for _, stop in ranges[:-1]]
    parts = [made.points(*each)[0].tolist() for each in ranges]
    assert made.batch_sizes == [len(part) for part in parts]
    assert list(chain(*parts)) == made.points(0, made.raw_count)[0].tolist()
    assert made.count == sum(made.batch_sizes)


@pytest.mark.parametrize(
    ("points", "batch_points", "batches"), [(2, 1, 2), (63, 1, 63), (4096, 64, 64), (100_000, 64, 1563), (400_000, 100, 4000)]
)
def test_parts_depend_on_the_number_of_points_alone(points: int, batch_points: int, batches: int) -> None:
    made = plan({"path": "run.duration_noise", "start": 0.0, "stop": 1.0, "points": points})
    assert (made.batch_points, made.batches) == (batch_points, batches)
    assert made.batch_range(batches - 1)[1] == points


def test_too_many_points_are_refused() -> None:
    paths = ["soc.processors.npu.speed", "soc.processors.npu.vector_bytes_per_s", "engine.outlier_pruning_rate"]
    axes = [{"path": path, "start": 0.1, "stop": 0.9, "points": 20_000} for path in paths]
    with pytest.raises(SocsimError, match=r"has 8e\+12 points, allowed: 1e\+09; sample the ranges instead"):
        plan(*axes)


DRAM = {"path": "soc.dram.peak_bytes_per_s", "name": "dram", "values": [0.5, 1.0], "relative": True}
BOTH_SOCS = {"path": "soc", "values": ["toy-phone", "snapdragon-8-gen-3"]}
BOTH_ENGINES = {"path": "engine", "name": "runtime", "values": ["llm-npu", "npu-chunk", "cpu-only"]}


@pytest.mark.parametrize(
    ("constraint", "axes", "expected"),
    [
        ("npu > 1", [SPEED], [(2.0,), (4.0,)]),
        ("soc.processors.npu.speed > 1", [SPEED], [(2.0,), (4.0,)]),
        ("engine.chunk_tokens > 16 and chunk_tokens < 64", [CHUNKS], [(32,)]),
        ("chunk_tokens < prompt_tokens / 2", [CHUNKS], [(16,)]),
        ("chunk_tokens < run.prompt_tokens / 2", [CHUNKS], [(16,)]),
        ("output_tokens == 1 and cached_tokens == 0", [CHUNKS], [(16,), (32,), (64,)]),
        ("model.num_hidden_layers == 2 and chunk_tokens == 16", [CHUNKS], [(16,)]),  # as the base sets it, not as the model has it
        ("scheduler == 'fifo'", [SCHEDULERS], [("fifo",)]),
        ("scheduler == 'out-of-order'", [CHUNKS], [(16,), (32,), (64,)]),
        ("dram < 1", [DRAM], [(0.5,)]),  # its factor
        ("soc == 'toy-phone'", [BOTH_SOCS], [("toy-phone",)]),
        ("runtime != 'llm-npu' and engine.decode_processor == 'cpu'", [BOTH_ENGINES], [("npu-chunk",), ("cpu-only",)]),
        ("engine.processors.x < 1", [CHUNKS], None),
    ],
)
def test_constraints_are_about_columns_and_fields(constraint: str, axes: list[Any], expected: list[Any] | None) -> None:
    if expected is None:
        with pytest.raises(SocsimError, match=r"unknown field 'engine\.processors\.x'"):
            plan(*axes, constraints=[constraint])
    else:
        assert rows(plan(*axes, constraints=[constraint])) == expected


def test_fields_of_descriptions_that_are_an_axis_are_those_of_each() -> None:
    toy, gen3 = (load_soc(name).dram.peak_bytes_per_s for name in ("toy-phone", "snapdragon-8-gen-3"))
    assert toy < gen3 / 2
    between = (gen3 / 2 + toy) / 2
    assert rows(plan(BOTH_SOCS, constraints=[f"soc.dram.peak_bytes_per_s > {between}"])) == [("snapdragon-8-gen-3",)]
    # A factor applies to what the phone of the same point has, whichever axis stands first.
    every = [(soc, factor) for soc in BOTH_SOCS["values"] for factor in (0.5, 1.0)]
    for limit in (toy / 2, toy, gen3 / 2, gen3):
        expected = [(soc, factor) for soc, factor in every if {"toy-phone": toy}.get(soc, gen3) * factor < limit]
        assert rows(plan(BOTH_SOCS, DRAM, constraints=[f"soc.dram.peak_bytes_per_s < {limit!r}"])) == expected
        swapped = rows(plan(DRAM, BOTH_SOCS, constraints=[f"soc.dram.peak_bytes_per_s < {limit!r}"]))
        assert sorted((soc, factor) for factor, soc in swapped) == sorted(expected)


def test_factors_on_whole_numbers_are_rounded_in_constraints_too() -> None:
    layers = {"path": "model.num_hidden_layers", "name": "depth", "values": [0.5, 1.2, 1.3], "relative": True}
    assert rows(plan(layers, constraints=["model.num_hidden_layers == 2"])) == [(1.2,)]  # of 2 layers


@pytest.mark.parametrize(
    ("constraint", "problem"),
    [
        ("chunk_token <= 3", r"constraint 'chunk_token <= 3': unknown name 'chunk_token' \(did you mean 'chunk_tokens'\?\); allowed: cach"),
        ("sok.dram.x <= 3", r"unknown name 'sok\.dram\.x'"),
        ("soc == 'toy-phone'", r"unknown name 'soc' \(did you mean 'soc\.FIELD'\?\)"),
        ("engine.chunk_token <= 3", r"unknown field 'engine\.chunk_token' \(did you mean 'engine\.chunk_tokens'\?\)"),
        ("soc.dram.a < 3", r"unknown field 'soc\.dram\.a'.*; allowed: soc\.dram\.achievable_bytes_per_s, soc\.dram\.capacity_bytes"),
        ("run.sed == 3", r"unknown field 'run\.sed' \(did you mean 'run\.seed'\?\)"),
        ("engine.prebuilt_chunk_tokens.9 == 3", "is no expression"),
        ("soc.dram == 1", r"constraint 'soc\.dram == 1': 'soc\.dram' has fields of its own; allowed: one of these"),
        ("engine.prebuilt_chunk_tokens == 1", r"'engine\.prebuilt_chunk_tokens' has fields of its own"),
        ("chunk_tokens", "should be true or false"),
    ],
)
def test_constraints_that_say_nothing_are_refused(constraint: str, problem: str) -> None:
    with pytest.raises(SocsimError, match=problem):
        plan(CHUNKS, constraints=[constraint])


ROUND_TRIPS: list[list[dict[str, Any]]] = [
    [SPEED, SCHEDULERS, CHUNKS],
    [{"path": "chunk_tokens", "values": [16, "auto", "prompt"]}],
    [{"path": "engine.prebuilt_chunk_tokens", "name": "lengths", "values": [[32, 64], [64, 128]]}],
    [{"path": "engine.merge_adjacent", "values": [True, False]}],
    [{"path": "soc.processors.npu.spill_bytes_per_s", "values": ["null", 1e9, 0.1 + 0.2]}],
    [{"path": "soc.processors.npu.speed", "start": 1, "stop": 3, "points": 4}],
    [{"path": "chunk_tokens", "start": 16, "stop": 64, "points": 3, "spacing": "log"}],
    [BOTH_SOCS, BOTH_ENGINES, DRAM],
]


@pytest.mark.parametrize("axes", ROUND_TRIPS)
def test_a_plan_comes_back_from_its_text(axes: list[dict[str, Any]]) -> None:
    made = plan(*axes, constraints=["prompt_tokens == 64"], description="x")
    text = made.to_json()
    again = Plan.from_json(text)
    assert again.to_json() == text
    assert again.spec == made.spec
    assert again.descriptions == made.descriptions
    assert rows(again) == rows(made)
    assert [[type(value) for value in row] for row in rows(again)] == [[type(value) for value in row] for row in rows(made)]
    assert plan(*axes, constraints=["prompt_tokens == 64"], description="x").to_json() == text


@pytest.mark.parametrize("method", ["latin-hypercube", "sobol", "random", "saltelli"])
def test_samples_come_back_from_text(method: str) -> None:
    axes = [{"path": "soc.processors.npu.speed", "start": 0.5, "stop": 4}, {"path": "chunk_tokens", "start": 16, "stop": 64}]
    made = plan(*axes, sample={"method": method, "points": 8, "seed": 3})
    assert rows(Plan.from_json(made.to_json())) == rows(made)


def test_a_plan_is_made_of_a_spec_too() -> None:
    made = plan(SPEED, CHUNKS)
    assert load_plan(made.spec).to_json() == made.to_json()
    assert load_plan(spec(SPEED, CHUNKS)).where == "sweep"


def test_nested_tables_are_paths() -> None:
    nested = plan(base={"set": {"model": {"num_hidden_layers": 2}, "soc": {"processors": {"npu": {"speed": 2.0}}}, "run.seed": 3}})
    flat = plan(base={"set": {"model.num_hidden_layers": 2, "soc.processors.npu.speed": 2.0, "run.seed": 3}})
    assert nested.to_json() == flat.to_json()


def test_the_example_is_right() -> None:
    made = load_plan(Path(__file__).parents[2] / "docs" / "my-sweep.toml")
    assert made.columns == ("npu", "dram", "chunk_tokens")
    assert made.count == sum(dram <= 2 * npu for npu, dram, _ in rows(made)) > 50
