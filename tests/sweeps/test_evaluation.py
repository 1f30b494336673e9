"""Points: each is what `socsim.run` says to the same values, whatever was computed before; one that fails harms no other."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import CHUNKS, plan, rows

import socsim
from socsim import __version__, prefills
from socsim.bottlenecks import explain
from socsim.catalog import load_soc
from socsim.errors import SocsimError
from socsim.sweeps import Plan
from socsim.sweeps import evaluation as evaluation_module
from socsim.sweeps.evaluation import Batch, Evaluator, run_batch, seconds_per_point, surroundings
from socsim.sweeps.metrics import BOUNDS, GAPS, METRICS

RECORDED = [name for name in METRICS if name not in (*BOUNDS, *GAPS)]
SHALLOW = {"model.num_hidden_layers": 2}
SPEED: dict[str, Any] = {"path": "soc.processors.npu.speed", "name": "npu", "values": [0.5, 2]}


def by_hand(soc: str = "toy-phone", model: str = "smollm2-135m", engine: str = "llm-npu", **options: Any) -> dict[str, Any]:
    options = {"prompt_tokens": 64, **options, "overrides": SHALLOW | options.get("overrides", {})}
    return socsim.run(soc, model, engine, **options).record


def batches(made: Plan, numbers: list[int] | None = None) -> list[Batch]:
    return [run_batch(made.to_json(), number, surroundings(made)) for number in (range(made.batches) if numbers is None else numbers)]


def table(found: list[Batch]) -> list[dict[str, Any]]:
    """Return the rows of batches."""
    return [dict(zip(each.columns, row, strict=True)) for each in found for row in zip(*each.columns.values(), strict=True)]


def assert_same(made: Plan, expected: list[dict[str, Any]]) -> None:
    """Assert that points are as expected, first with nothing remembered, then backwards with all that was."""
    evaluation_module._evaluator.cache_clear()
    points = table(batches(made))
    assert [row["error"] for row in points] == [None] * len(expected)
    assert [{name: row[name] for name in RECORDED} for row in points] == [{name: each[name] for name in RECORDED} for each in expected]
    assert [row["point"] for row in points] == list(range(len(expected)))
    backwards = batches(made, list(range(made.batches))[::-1])[::-1]
    assert table(backwards) == points
    alone = Evaluator(made)
    assert [alone.point(dict(zip(made.columns, row, strict=True))) for row in rows(made)] == [[row[m] for m in RECORDED] for row in points]


def renamed(axis: dict[str, Any]) -> dict[str, Any]:
    return axis | {"name": axis.get("name") or axis["path"].replace(".", "_") + "_axis"}


def test_fields_of_all_descriptions() -> None:
    axes = [
        renamed({"path": "run.duration_noise", "values": [0.0, 0.3]}),
        SPEED,
        renamed({"path": "engine.outlier_pruning_rate", "values": [0, 0.85]}),
        renamed({"path": "model.num_hidden_layers", "values": [1, 3]}),
        renamed({"path": "prompt_tokens", "values": [48, 64]}),
    ]
    made = plan(*axes, metrics=RECORDED, base={"output_tokens": 3, "cached_tokens": 8, "chunk_tokens": 32, "scheduler": "fifo"})
    options: dict[str, Any] = {"output_tokens": 3, "cached_tokens": 8, "chunk_tokens": 32, "scheduler": "fifo"}
    expected = [
        by_hand(
            prompt_tokens=prompt,
            **options,
            overrides={
                "run.duration_noise": noise,
                "soc.processors.npu.speed": speed,
                "engine.outlier_pruning_rate": rate,
                "model.num_hidden_layers": layers,
            },
        )
        for noise, speed, rate, layers, prompt in product([0.0, 0.3], [0.5, 2], [0, 0.85], [1, 3], [48, 64])
    ]
    assert_same(made, expected)


def test_engines_models_and_phones() -> None:
    axes = [
        {"path": "engine", "values": ["llm-npu", "npu-naive", "cpu-only"]},
        {"path": "model", "values": ["smollm2-135m", "qwen1.5-1.8b"]},
        {"path": "soc", "values": ["snapdragon-8-gen-3", "toy-phone"]},
    ]
    made = plan(*axes, metrics=RECORDED)
    expected = [by_hand(soc, model, engine) for engine, model, soc in product(*(axis["values"] for axis in axes))]
    assert_same(made, expected)


def test_chunks_of_every_kind_and_schedulers() -> None:
    axes: list[dict[str, Any]] = [
        renamed(CHUNKS | {"values": [16, "auto", "prompt"]}),
        {"path": "scheduler", "values": ["in-order", "socsim.schedulers:fifo", "out-of-order"]},
        {"path": "engine.prebuilt_chunk_tokens", "name": "prebuilt", "values": [[16, 32], [32, 64]]},
    ]
    made = plan(*axes, metrics=RECORDED)
    expected = [
        by_hand(chunk_tokens=chunk, scheduler=scheduler, overrides={"engine.prebuilt_chunk_tokens": lengths})
        for chunk, scheduler, lengths in product([16, "auto", "prompt"], axes[1]["values"], [[16, 32], [32, 64]])
    ]
    assert len({each["chunk_tokens"] for each in expected}) > 2
    assert_same(made, expected)


def test_factors_apply_to_what_the_base_has() -> None:
    paths = [
        "soc.dram.peak_bytes_per_s",
        "soc.dram.achievable_bytes_per_s",
        "soc.processors.npu.bandwidth_bytes_per_s",
        "soc.processors.npu.speed",
    ]
    axes: list[dict[str, Any]] = [
        {"path": "soc", "values": ["toy-phone", "snapdragon-8-gen-3"]},
        {"path": paths, "name": "factor", "values": [0.7, 1.1], "relative": True},
        renamed(CHUNKS | {"values": [0.5, 0.78], "relative": True}),
    ]
    made = plan(*axes, metrics=RECORDED, base={"chunk_tokens": 33, "set": SHALLOW | {"soc.processors.npu.speed": 3.0}})
    expected = []
    for soc, factor, chunk in product(axes[0]["values"], [0.7, 1.1], [16, 26]):  # 16.5 and 25.74 are rounded, halves to even numbers
        usual = load_soc(soc)
        values = (usual.dram.peak_bytes_per_s, usual.dram.achievable_bytes_per_s, usual.processors["npu"].bandwidth_bytes_per_s, 3.0)
        changes = {path: value * factor for path, value in zip(paths, values, strict=True)}
        expected.append(by_hand(soc, chunk_tokens=chunk, overrides=changes))
    assert_same(made, expected)


@pytest.mark.parametrize(("item", "expected"), [({"values": [50, 90]}, [50, 90]), ({"values": [0.5, 0.25], "relative": True}, [50, 25])])
def test_items_of_a_list_that_the_base_has(item: dict[str, Any], expected: list[int]) -> None:
    lengths = {"engine.prebuilt_chunk_tokens": [100, 200]}
    made = plan(
        {"path": "engine.prebuilt_chunk_tokens.0", "name": "first", **item},
        metrics=RECORDED,
        base={"chunk_tokens": "auto", "prompt_tokens": 120, "set": SHALLOW | lengths},
    )
    changes = [{"engine.prebuilt_chunk_tokens": (100, 200), "engine.prebuilt_chunk_tokens.0": first} for first in expected]
    by_items = [by_hand(chunk_tokens="auto", prompt_tokens=120, overrides=change) for change in changes]
    by_lists = [
        by_hand(chunk_tokens="auto", prompt_tokens=120, overrides={"engine.prebuilt_chunk_tokens": [first, 200]}) for first in expected
    ]
    assert [{name: each[name] for name in RECORDED} for each in by_items] == [{name: each[name] for name in RECORDED} for each in by_lists]
    assert len({each["ttft_s"] for each in by_lists}) == 2
    assert_same(made, by_lists)


def test_null_empties_a_field_and_lists_are_lists() -> None:
    spill = {"path": "soc.processors.npu.spill_bytes_per_s", "name": "spill", "values": ["null", 1e6]}
    tied = {"path": "model.tie_word_embeddings", "name": "tied", "values": [True, False]}
    made = plan(spill, tied, metrics=RECORDED)
    expected = [
        by_hand(overrides={"soc.processors.npu.spill_bytes_per_s": rate, "model.tie_word_embeddings": tied})
        for rate, tied in product([None, 1e6], [True, False])
    ]
    assert len({(each["ttft_s"], each["weights_bytes"]) for each in expected}) == 4
    assert_same(made, expected)


def test_what_bounds_a_point() -> None:
    made = plan(SPEED | {"values": [0.01, 100]}, metrics=["bottleneck", "ttft_s", "gain_if_free"])
    for row, speed in zip(table(batches(made)), (0.01, 100), strict=True):
        result = socsim.run(
            "toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=64, overrides=SHALLOW | {"soc.processors.npu.speed": speed}
        )
        assert row["ttft_s"] == result.record["ttft_s"]
        assert explain(result).conclusion.lower().startswith(row["bottleneck"].lower())
        assert row["gain_if_free"] >= 1
    assert table(batches(made))[0]["bottleneck"] != table(batches(made))[1]["bottleneck"]


def test_graphs_that_no_longer_fit_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefills, "REMEMBERED_SUBGRAPHS", 1)
    made = plan(renamed(CHUNKS), SPEED, metrics=RECORDED)
    assert_same(
        made, [by_hand(chunk_tokens=chunk, overrides={"soc.processors.npu.speed": speed}) for chunk in (16, 32, 64) for speed in (0.5, 2)]
    )


FAILING: list[tuple[dict[str, Any], str]] = [
    (renamed(CHUNKS | {"values": [16, 10_000, 32]}), "chunk_tokens 10000 .* context of smollm2-135m"),
    ({"path": "soc.dram.capacity_bytes", "values": [8e9, 1e6, 4e9]}, r"smollm2-135m.* needs at least .* allowed: 0\.001 GB"),
    ({"path": "cached_tokens", "values": [0, 64, 32]}, "cached_tokens 64 should be below prompt_tokens 64"),
    ({"path": "scheduler", "values": ["fifo", "failing_policy:prepare", "in-order"]}, "^scheduler raised KeyError: 'lost'$"),
]


@pytest.mark.parametrize(("axis", "error"), FAILING)
def test_a_point_that_fails_has_the_reason_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis: dict[str, Any], error: str
) -> None:
    (tmp_path / "failing_policy.py").write_text("def prepare(graph, expected_ns, seed):\n    raise KeyError('lost')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    first, second, third = table(batches(plan(axis, metrics=RECORDED)))
    assert (second["status"], [second[name] for name in RECORDED]) == ("failed", [None] * len(RECORDED))
    assert re.search(error, second["error"]), second["error"]
    good = plan(axis | {"values": [axis["values"][0], axis["values"][2]]}, metrics=RECORDED)
    for row, expected in zip((first, third), table(batches(good)), strict=True):
        assert row | {"point": 0} == expected | {"point": 0}
        assert (row["status"], row["error"]) == ("ok", None)
        assert row["ttft_s"] > 0


def test_a_batch_counts_what_failed_and_times_each_point() -> None:
    made = plan(
        {"path": "prompt_tokens", "values": [8, 16]}, {"path": "cached_tokens", "start": 0, "stop": 127, "points": 128}, metrics=RECORDED
    )
    assert (made.batch_points, made.batches) == (4, 64)
    batch = run_batch(made.to_json(), 1, surroundings(made))
    assert batch.number == 1
    assert batch.columns["point"] == [4, 5, 6, 7]
    assert (batch.failed, len(batch.seconds)) == (0, 4)
    assert run_batch(made.to_json(), 2, surroundings(made)).failed == 4  # 8 cached tokens of 8
    assert min(batch.seconds) > 0
    part = Evaluator(made).batch(1, most=2)
    assert part.columns == {name: column[:2] for name, column in batch.columns.items()}


def test_a_batch_may_be_empty() -> None:
    made = plan(CHUNKS, constraints=["chunk_tokens != 32"])
    assert [each.columns["point"] for each in batches(made)] == [[0], [], [2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"socsim": "0.0.1"}, f"has socsim {__version__}, the client 0.0.1; install the same on both"),
        ({"code_sha256": "0000"}, f"has other code of socsim {__version__} than the client; install the same on both"),
        ({"traces_sha256": "0000"}, r"has other files in traces/ than the client: llm_npu_fig12_outlier_importance\.csv or smollm2_"),
        ({"versions": {"scipy": "0.1"}}, r"has python 3\.\S+, the client None; install the same on both"),
        ({"schedulers": {"wrapped:prepare": "0000"}}, "has another file of scheduler 'wrapped:prepare' than the client; install"),
    ],
)
def test_another_socsim_library_or_policy_refuses(
    change: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wrapped.py").write_text(
        "from socsim.schedulers import fifo\ndef prepare(*given):\n    return fifo(*given)\n", encoding="utf-8"
    )
    made = plan(base={"scheduler": "wrapped:prepare"})
    client = surroundings(made)
    assert run_batch(made.to_json(), 0, client).failed == 0
    with pytest.raises(SocsimError, match=message):
        run_batch(made.to_json(), 0, client | change)
    if "versions" in change:
        with pytest.raises(SocsimError, match=r"has scipy \d\S+, the client 0\.1; install"):
            run_batch(made.to_json(), 0, client | {"versions": client["versions"] | {"scipy": "0.1"}})


def test_memory_that_is_short_is_no_failed_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(evaluation_module, "run_case", short)
    evaluator = Evaluator(plan())
    with pytest.raises(MemoryError):
        evaluator.batch(0)


def test_a_point_takes_some_time() -> None:
    assert 0 < seconds_per_point(plan()) < 60
    assert seconds_per_point(plan(constraints=["chunk_tokens < 0"])) == 0


def test_gap_to_the_lower_bound_is_that_of_the_run() -> None:
    names = [*GAPS, "makespan_s"]
    for row in table(batches(plan(CHUNKS, metrics=names))):
        result = socsim.run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=64, chunk_tokens=row["chunk_tokens"], overrides=SHALLOW)
        assert {name: row[name] for name in GAPS} == result.gap
        assert row["makespan_s"] == pytest.approx(row["makespan_lower_bound_s"] * (1 + row["makespan_gap"]))
