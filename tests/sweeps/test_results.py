"""What is read back: columns, failures, durations, and sweeps that are not whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sweeps import CHUNKS, METRICS, spec

import socsim
from socsim.errors import SocsimError
from socsim.sweeps import SweepResult, read_sweep, sweep
from socsim.sweeps.store import part_name

PROMPTS: dict[str, Any] = {"path": "prompt_tokens", "values": [32, 64]}
CACHED: dict[str, Any] = {"path": "cached_tokens", "name": "cached", "values": [0, 40, 64]}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """Return a sweep of which three points fail."""
    given = spec(PROMPTS, CACHED, metrics=[*METRICS, "subgraphs", "bottleneck"])
    return sweep(given, tmp_path_factory.mktemp("sweep"), jobs=1)


def test_values_are_of_points_that_did_not_fail(result: SweepResult) -> None:
    found = result.values(["point", "prompt_tokens", "cached", "ttft_s", "tpot_s", "bottleneck", "error"])
    assert found["point"].tolist() == [0, 3, 4]
    assert found["prompt_tokens"].tolist() == [32, 64, 64]
    assert found["cached"].tolist() == [0, 0, 40]
    expected = [
        socsim.run(
            "toy-phone",
            "smollm2-135m",
            "llm-npu",
            prompt_tokens=prompt,
            cached_tokens=cached,
            overrides={"model.num_hidden_layers": 2},
        ).record["ttft_s"]
        for prompt, cached in ((32, 0), (64, 0), (64, 40))
    ]
    assert found["ttft_s"].tolist() == expected
    assert found["tpot_s"].dtype == np.float64
    assert np.isnan(found["tpot_s"]).all()  # one output token has no time per token
    assert found["bottleneck"].dtype == object
    assert all(isinstance(each, str) for each in found["bottleneck"])
    assert found["error"].tolist() == [None] * 3


def test_all_columns_in_their_order(result: SweepResult) -> None:
    assert result.axes == ("prompt_tokens", "cached")
    assert result.metrics == (*METRICS, "subgraphs", "bottleneck")
    assert result.numbers == (*METRICS, "subgraphs")
    assert list(result.values()) == ["point", *result.axes, *result.metrics, "status", "error"]
    assert list(result.values(["ttft_s", "point"])) == ["ttft_s", "point"]
    assert result.values(["subgraphs"])["subgraphs"].dtype == np.int64
    frame = result.to_dataframe()
    assert frame.point.tolist() == [0, 1, 2, 3, 4, 5]
    assert frame.status.tolist() == ["ok", "failed", "failed", "ok", "ok", "failed"]
    assert frame.ttft_s.isna().tolist() == [False, True, True, False, False, True]


def test_reasons_are_counted(result: SweepResult) -> None:
    assert result.counts() == (6, 3)
    errors = result.errors()
    assert list(errors.values()) == [1, 1, 1]
    assert list(errors) == sorted(errors)
    assert "cached_tokens 40 should be below prompt_tokens 32" in next(iter(errors))


def test_the_most_frequent_reason_is_first(tmp_path: Path) -> None:
    cached = {"path": "cached_tokens", "values": [8, 100, 200]}
    chunks = CHUNKS | {"values": [9000, 16, 32]}
    errors = sweep(spec(cached, chunks), tmp_path, jobs=1).errors()
    assert list(errors.values()) == [3, 3, 1]
    assert all(word in error for word, error in zip(("cached_tokens 100", "cached_tokens 200", "9000"), errors, strict=True))


def test_nothing_but_failures(tmp_path: Path) -> None:
    found = sweep(spec(CACHED | {"values": [64, 70]}), tmp_path, jobs=1)
    assert (found.counts(), list(found.errors().values())) == ((2, 2), [1, 1])
    assert {name: column.tolist() for name, column in found.values(["point", "ttft_s"]).items()} == {"point": [], "ttft_s": []}


def test_no_failure(tmp_path: Path) -> None:
    found = sweep(spec(), tmp_path, jobs=1)
    assert (found.counts(), found.errors()) == ((3, 0), {})


def test_a_sweep_that_is_not_whole(tmp_path: Path) -> None:
    sweep(spec(), tmp_path, jobs=1, limit=2)
    found = read_sweep(str(tmp_path))
    assert found.counts() == (2, 0)
    assert found.record["points"] == 3
    assert found.values(["chunk_tokens"])["chunk_tokens"].tolist() == [16, 32]


def test_points_are_in_order_over_many_parts(tmp_path: Path) -> None:
    chunks = CHUNKS | {"values": list(range(64, 0, -1))}
    noise = {"path": "run.seed", "values": [3, 2]}
    found = sweep(spec(chunks, noise, constraints=["chunk_tokens % 5 != run.seed"]), tmp_path, jobs=1)
    values = found.values(["point", "chunk_tokens", "run.seed"])
    expected = [
        (place, chunk, seed) for place, (chunk, seed) in enumerate((c, s) for c in range(64, 0, -1) for s in (3, 2)) if chunk % 5 != seed
    ]
    assert list(zip(*(values[name].tolist() for name in values), strict=True)) == expected
    assert found.counts() == (len(expected), 0)


JUNK = [b"junk\n", b"", b"PAR1" * 100]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("number", [0, 2])
def test_a_damaged_part_is_named(tmp_path: Path, junk: bytes, number: int) -> None:
    whole = sweep(spec(), tmp_path, jobs=1)
    part = tmp_path / "points" / part_name(number)
    before = part.read_bytes()
    part.write_bytes(junk)
    found = read_sweep(tmp_path)
    message = f"^{re.escape(str(part))}: is damaged; delete it, and compute it again with --resume$"
    for read in (found.counts, found.errors, found.values, found.to_dataframe, lambda: sweep(spec(), tmp_path, jobs=1, resume=True)):
        with pytest.raises(SocsimError, match=message):
            read()
    part.unlink()
    sweep(spec(), tmp_path, jobs=1, resume=True)
    assert part.read_bytes() == before
    assert whole.counts() == (3, 0)


def test_damage_within_a_part_and_several_of_them(tmp_path: Path) -> None:
    sweep(spec(), tmp_path, jobs=1)
    parts = [tmp_path / "points" / part_name(number) for number in (1, 2)]
    for part in parts:
        content = part.read_bytes()
        part.write_bytes(content[:4] + b"\xff" * 200 + content[204:])  # what is at its end says that all is well
    with pytest.raises(SocsimError, match=rf"^{re.escape(str(parts[0]))}: is damaged, and so are 1 more; delete them, and compute them"):
        read_sweep(tmp_path).values()
    (tmp_path / "timings" / part_name(0)).write_bytes(b"junk")
    with pytest.raises(SocsimError, match=r"timings.part-000000\.parquet: is damaged; delete it; nothing is computed from durations$"):
        read_sweep(tmp_path).timings()


def test_unknown_columns(result: SweepResult) -> None:
    with pytest.raises(SocsimError, match=r"unknown column of .* 'ttft' \(did you mean 'ttft_s'\?\); allowed: bottleneck, cached, error"):
        result.values(["ttft"])


def test_folders_that_hold_no_sweep(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(SocsimError, match=r"holds no sweep; a folder that 'socsim sweep' wrote has a record\.json$"):
            read_sweep(folder)
    (tmp_path / "record.json").write_text('{"experiment": "demo"}')
    with pytest.raises(SocsimError, match=r"holds no sweep; its record\.json is broken, or that of something else$"):
        read_sweep(tmp_path)
    (tmp_path / "record.json").unlink()
    sweep(spec(), tmp_path, jobs=1, limit=1)
    for path in (tmp_path / "points").iterdir():
        path.unlink()
    with pytest.raises(SocsimError, match="has no points yet; continue with 'socsim sweep"):
        read_sweep(tmp_path)
