"""Experiments that sweep keep their points, each sweep its own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from socsim.experiments.swept import POINTS, swept

SPEC: dict[str, Any] = {
    "base": {"soc": "toy-phone", "model": "smollm2-135m", "engine": "llm-npu", "prompt_tokens": 64, "set": {"model.num_hidden_layers": 2}},
    "axes": [{"path": "chunk_tokens", "values": [16, 32]}],
}


def test_progress_is_told_in_tenths(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="socsim.experiments"):
        swept(SPEC | {"axes": [{"path": "run.seed", "start": 0, "stop": 39, "points": 40}]}, tmp_path, jobs=1)
    assert [record.getMessage() for record in caplog.records] == [f"{done} of 40 points" for done in range(0, 41, 4)]


def test_points_are_computed_once_and_others_are_left_alone(tmp_path: Path) -> None:
    notes = tmp_path / "sweep" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    first = swept(SPEC, tmp_path, jobs=1)
    stamps = {path: path.stat().st_mtime_ns for path in first.folder.glob("points/*")}
    assert len(stamps) == 2
    other = swept(SPEC | {"axes": [{"path": "chunk_tokens", "values": [32, 64]}]}, tmp_path, jobs=1)
    assert other.folder != first.folder
    assert other.values(["chunk_tokens"])["chunk_tokens"].tolist() == [32, 64]
    again = swept(SPEC, tmp_path, jobs=1)
    assert again.folder == first.folder
    assert again.folder.name.startswith(POINTS)
    assert {path: path.stat().st_mtime_ns for path in first.folder.glob("points/*")} == stamps
    assert notes.read_text() == "mine"
