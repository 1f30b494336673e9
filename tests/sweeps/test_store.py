"""The folder of a sweep: what is in it, who may write there, and what is refused with the change named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from small_sweeps import CHUNKS, plan, spec

import socsim.sweeps.store as store_module
from socsim import __version__
from socsim.catalog import trace_path
from socsim.errors import SocsimError
from socsim.outliers import TABLES
from socsim.sweeps import Plan, load_plan, sweep
from socsim.sweeps.evaluation import LIBRARIES, Evaluator, surroundings
from socsim.sweeps.store import Store, part_name

SPEED: dict[str, Any] = {"path": "soc.processors.npu.speed", "name": "npu", "values": [0.5, 1, 2]}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "points").iterdir())}


def test_columns_have_the_types_of_their_values() -> None:
    axes = [
        {"path": "chunk_tokens", "name": "mixed", "values": [16, "auto"]},
        {"path": "prompt_tokens", "values": [32, 64]},
        SPEED,
        {"path": "engine.merge_adjacent", "values": [True, False]},
        {"path": "engine.prebuilt_chunk_tokens", "name": "lists", "values": [[16, 32], [32, 64]]},
        {"path": "soc.processors.npu.spill_bytes_per_s", "name": "spill", "values": ["null", 1e9]},
        {"path": "scheduler", "values": ["fifo"]},
    ]
    schema = Store(Path("x"), plan(*axes, metrics=["ttft_s", "subgraphs", "bottleneck"])).schema
    text, whole, number = pa.string(), pa.int64(), pa.float64()
    assert list(zip(schema.names, schema.types, strict=True)) == [
        ("point", whole),
        ("mixed", text),
        ("prompt_tokens", whole),
        ("npu", number),
        ("engine.merge_adjacent", pa.bool_()),
        ("lists", text),
        ("spill", text),
        ("scheduler", text),
        ("ttft_s", number),
        ("subgraphs", whole),
        ("bottleneck", text),
        ("status", text),
        ("error", text),
    ]


def test_texts_lists_and_nothing_in_columns_of_text(tmp_path: Path) -> None:
    axes: list[dict[str, Any]] = [
        {"path": "chunk_tokens", "name": "mixed", "values": [16, "auto"], "link": "x"},
        {"path": "engine.prebuilt_chunk_tokens", "name": "lists", "values": [[16, 32], [32, 64]], "link": "x"},
        {"path": "soc.processors.npu.spill_bytes_per_s", "name": "spill", "values": ["null", 1e9], "link": "x"},
    ]
    found = sweep(spec(*axes), tmp_path, jobs=1).values(["mixed", "lists", "spill"])
    assert {name: column.tolist() for name, column in found.items()} == {
        "mixed": ["16", "auto"],
        "lists": ["[16, 32]", "[32, 64]"],
        "spill": [None, "1000000000.0"],
    }


def test_one_part_a_batch_and_durations_apart(tmp_path: Path) -> None:
    made = plan(SPEED, CHUNKS | {"values": list(range(1, 65))}, constraints=["chunk_tokens != 7"])
    result = sweep(made, tmp_path, jobs=1)
    assert (made.batch_points, made.batches, made.count) == (3, 64, 189)
    assert sorted(contents(tmp_path)) == [f"part-{number:06d}.parquet" for number in range(64)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "points", "record.json", "timings"]
    assert pq.read_table(tmp_path / "points" / part_name(2))["point"].to_pylist() == [7, 8]
    timings = result.timings()
    assert timings.point.tolist() == result.values(["point"])["point"].tolist()
    assert timings.seconds.min() > 0
    assert timings.worker.str.endswith(f":{os.getpid()}").all()


def test_the_spec_is_kept_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        '# note\nmetrics = ["ttft_s"]\n[base]\nsoc = "toy-phone"\nmodel = "smollm2-135m"\nengine = "llm-npu"\nprompt_tokens = 32\n'
        'set.model.num_hidden_layers = 2\n[[axes]]\npath = "chunk_tokens"\nvalues = [16, 32]\n',
        encoding="utf-8",
    )
    sweep(path, tmp_path / "out", jobs=1)
    assert (tmp_path / "out/spec.toml").read_bytes() == path.read_bytes()
    path.write_text(path.read_text("utf-8").replace("# note", "# another note"), encoding="utf-8")
    sweep(path, tmp_path / "out", jobs=1, resume=True)


def test_the_record_says_what_all_was_computed_from(tmp_path: Path) -> None:
    made = plan(SPEED, CHUNKS)
    sweep(made, tmp_path, jobs=1)
    record = json.loads((tmp_path / "record.json").read_text("utf-8"))
    assert (record["schema_version"], record["socsim"], record["points"], record["parts"]) == (1, __version__, 9, 9)
    assert record["plan"] == json.loads(made.to_json())
    assert set(record["versions"]) >= {"numpy", "simpy", "pyarrow"}
    assert Plan.from_json(json.dumps(record["plan"])).to_json() == made.to_json()


def test_parts_are_the_same_however_they_come(tmp_path: Path) -> None:
    """Processes, an interrupted sweep, and parts that are committed backwards."""
    made = plan(SPEED, CHUNKS)
    whole = contents(sweep(made, tmp_path / "one", jobs=1).folder)
    assert contents(sweep(made, tmp_path / "two", jobs=2).folder) == whole
    for step, held in ((2, 2), (5, 7), (None, 9)):
        assert len(contents(sweep(made, tmp_path / "steps", jobs=1, resume=True, limit=step).folder)) == held
    assert contents(tmp_path / "steps") == whole
    store, evaluator = Store(tmp_path / "back", made), Evaluator(made)
    with store.opened(resume=False):
        for number in reversed(range(made.batches)):
            assert store.missing() == list(range(number + 1))
            store.commit(evaluator.batch(number))
    assert contents(tmp_path / "back") == whole


def test_what_is_committed_is_not_computed_again(tmp_path: Path) -> None:
    made = plan(SPEED, CHUNKS)
    sweep(made, tmp_path, jobs=1)
    (tmp_path / "points" / part_name(4)).unlink()
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "points").iterdir()}
    seen: list[tuple[int, int]] = []
    sweep(made, tmp_path, jobs=1, resume=True, progress=lambda done, failed: seen.append((done, failed)))
    assert seen == [(8, 0), (9, 0)]
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in before} == before


CHANGES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda given: given["base"].update(prompt_tokens=65), "spec.base.prompt_tokens was 64, is 65"),
    (lambda given: given["axes"][0].update(values=[16, 32, 48]), "spec.axes.0.values.2 was 64, is 48"),
    (
        lambda given: given["axes"][0].update(values=[16, 32]),
        "parts was 3, is 2; spec.axes.0.values.2 was 64, is not set; points was 3, is 2",
    ),
    (lambda given: given.update(metrics=["ttft_s", "e2e_s", "tpot_s"]), "spec.metrics.1 was peak_memory_bytes, is e2e_s"),
    (
        lambda given: given["base"]["set"].update({"soc.processors.npu.speed": 2}),
        "spec.base.set.soc.processors.npu.speed was not set, is 2",
    ),
    (lambda given: given["base"].update(engine="npu-chunk"), "now: spec.base.engine was llm-npu, is npu-chunk; "),
    (lambda given: given.update(constraints=["chunk_tokens > 0"]), "spec.constraints.0 was not set, is chunk_tokens > 0"),
]


@pytest.mark.parametrize(("change", "told"), CHANGES)
def test_another_sweep_is_not_resumed_and_the_change_named(tmp_path: Path, change: Callable[[dict[str, Any]], Any], told: str) -> None:
    given = json.loads(json.dumps(spec()))
    sweep(given, tmp_path, jobs=1, limit=1)
    before = contents(tmp_path)
    change(given)
    with pytest.raises(SocsimError) as caught:
        sweep(given, tmp_path, jobs=1, resume=True)
    assert str(caught.value).startswith(f"{tmp_path}: cannot be resumed, as the sweep is another one now: ")
    assert set(told.split("; ")) <= set(str(caught.value).partition("now: ")[2].split("; ")) or told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def test_another_version_code_or_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(spec(), tmp_path, jobs=1, limit=1)
    other = {"socsim": "99.0", "code_sha256": "abc"}
    monkeypatch.setattr(store_module, "surroundings", lambda plan: surroundings(plan) | other)
    with pytest.raises(SocsimError, match=f"now: code_sha256 was [0-9a-f]{{64}}, is abc; socsim was {__version__}, is 99.0$"):
        sweep(spec(), tmp_path, jobs=1, resume=True)
    monkeypatch.undo()
    monkeypatch.setattr(store_module, "surroundings", lambda plan: surroundings(plan) | {"versions": dict.fromkeys(LIBRARIES, "0")})
    with pytest.raises(SocsimError, match=r"now: versions\.SALib was .*, is 0; versions\.numpy was .*, is 0; .*\(and 4 more\)$"):
        sweep(spec(), tmp_path, jobs=1, resume=True)


def test_a_changed_policy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    own = tmp_path / "wrapped_policy.py"
    own.write_text("from socsim.schedulers import fifo\ndef prepare(*given):\n    return fifo(*given)\n", encoding="utf-8")
    given = spec({"path": "scheduler", "values": ["fifo", "wrapped_policy:prepare"]})
    sweep(given, tmp_path / "out", jobs=1, limit=1)
    own.write_text(own.read_text("utf-8") + "# changed\n", encoding="utf-8")
    with pytest.raises(SocsimError, match=r"now: schedulers\.wrapped_policy:prepare was [0-9a-f]+, is [0-9a-f]+$"):
        sweep(given, tmp_path / "out", jobs=1, resume=True)


def test_a_folder_with_results_is_not_written_over(tmp_path: Path) -> None:
    sweep(spec(), tmp_path, jobs=1, limit=1)
    with pytest.raises(SocsimError, match="holds a sweep already; continue it with --resume, or choose another folder"):
        sweep(spec(), tmp_path, jobs=1)


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"points": 3}', None])
def test_a_broken_record_is_no_reason_to_mix_results(tmp_path: Path, broken: str | None) -> None:
    sweep(spec(), tmp_path, jobs=1, limit=1)
    record = tmp_path / "record.json"
    record.unlink() if broken is None else record.write_text(broken, encoding="utf-8")
    for resume in (False, True):
        with pytest.raises(SocsimError, match=r"record\.json: is missing or broken, so what the points there are of is not known$"):
            sweep(spec(), tmp_path, jobs=1, resume=resume)
    for path in (tmp_path / "points").iterdir():
        path.unlink()
    assert sweep(spec(), tmp_path, jobs=1, resume=True).counts() == (3, 0)  # nothing is lost without points


def test_one_sweep_at_a_time_writes_there(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / ".lock")
    with lock, pytest.raises(SocsimError, match="another sweep is writing there; wait for it, or choose another folder"):
        sweep(spec(), tmp_path, jobs=1)
    assert not (tmp_path / "record.json").exists()
    assert sweep(spec(), tmp_path, jobs=1).counts() == (3, 0)
    with lock.acquire(timeout=0):  # it was given back
        pass


def test_what_an_interrupted_write_left_is_removed(tmp_path: Path) -> None:
    sweep(spec(), tmp_path, jobs=1, limit=1)
    left = [tmp_path / part / f".{part_name(number)}.partial" for part in ("points", "timings") for number in (0, 1)]
    for path in left:
        path.write_bytes(b"half a part")
    assert pq.read_table(tmp_path / "points")["point"].to_pylist() == [0]  # whoever reads the folder passes over them
    (tmp_path / "timings" / part_name(2)).write_bytes(b"one whose points were not written")
    result = sweep(spec(), tmp_path, jobs=1, resume=True)
    assert not any(path.exists() for path in left)
    assert result.timings().point.tolist() == [0, 1, 2]
    assert result.counts() == (3, 0)


def test_a_failed_commit_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan()
    batch = Evaluator(made).batch(0)
    write = pq.write_table

    def half(table: Any, path: Path) -> None:
        write(table, path)
        if path.parent.name == "points":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", half)
    store = Store(tmp_path, made)
    with store.opened(resume=False):
        with pytest.raises(SocsimError, match=r"points/part-000000\.parquet: cannot be written: No space left on device$"):
            store.commit(batch)
        assert store.missing() == [0, 1, 2]
        assert list((tmp_path / "points").iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for place in ("file", "file/below"):
        with pytest.raises(SocsimError, match=r"file.*: cannot be written: (File exists|Not a directory)$"):
            sweep(load_plan(spec()), tmp_path / place, jobs=1)


def test_words_may_change_between_two_parts(tmp_path: Path) -> None:
    axis = {"path": "chunk_tokens", "values": [16, 32, 64]}
    sweep(spec(axis, description="first thoughts"), tmp_path, jobs=1, limit=1)
    done = sweep(spec(axis | {"label": "chunk length"}, description="second thoughts"), tmp_path, jobs=1, resume=True)
    assert done.counts() == (3, 0)
    with pytest.raises(SocsimError, match=r"now: spec\.axes\.0\.name was , is chunk$"):
        sweep(spec(axis | {"name": "chunk"}), tmp_path, jobs=1, resume=True)


def test_another_table_of_outliers_is_another_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    sweep(spec(), out, jobs=1, limit=1)
    for name in TABLES:
        (tmp_path / name).write_bytes(trace_path(name).read_bytes() + b"# read again\n")
    monkeypatch.setattr("socsim.sweeps.evaluation.trace_path", lambda name: tmp_path / name)
    with pytest.raises(SocsimError, match=r"now: traces_sha256 was [0-9a-f]{64}, is [0-9a-f]{64}$"):
        sweep(spec(), out, jobs=1, resume=True)
