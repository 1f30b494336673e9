"""The script on bubbles: rows against single runs, published rates picked up, and what is said of the rule."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import socsim
from socsim.experiments import Publication, beside_published
from socsim.experiments.publication import read_record

SCRIPT = Path(__file__).parents[2] / "experiments" / "bubbles.py"
COLUMNS = "soc,model,engine,prompt_tokens,output_tokens,settings,metric,value,unit,source,split"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def rows(script: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = script["prefills"]("gemma-2b", 512)
    return found


def test_rows_are_those_of_runs_under_each_scheduler(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    assert [row["scheduler"] for row in rows] == list(script["SCHEDULERS"])
    for row in rows:
        record = socsim.run(row["soc"], row["model"], "llm-npu", prompt_tokens=512, scheduler=row["scheduler"]).record
        assert (row["ttft_s"], row["npu_bubble_rate"]) == (record["ttft_s"], record["npu_bubble_rate"])
        assert row["speed_up"] == rows[0]["ttft_s"] / row["ttft_s"]
    assert rows[1]["overrides"] == {}  # as published rows of the engine's own scheduler have it
    assert rows[0]["overrides"] == {"engine.scheduler": "in-order"}


def test_published_rates_are_claims_and_markers(
    script: dict[str, Any], rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = "snapdragon-8-gen-3,gemma-2b,llm-npu,512,1,engine.scheduler=in-order"
    (tmp_path / "system_mine.csv").write_text(f"{COLUMNS}\n{run},npu_bubble_rate,25,%,somebody,validation\n")
    monkeypatch.setattr("socsim.measurements.trace_path", lambda name: tmp_path / name)
    known = beside_published(rows, "npu_bubble_rate", "npu_bubble_rate")
    with Publication(tmp_path / "out", SCRIPT, quick=True, formats=()) as paper:
        script["judge"](paper, known)
    record = read_record(tmp_path / "out")
    assert record is not None
    (claim,) = record["claims"]
    assert claim["what"] == "NPU bubble rate under in-order, gemma-2b, 512 tokens"
    assert (claim["published"], claim["unit"]) == (25.0, "%")
    assert claim["simulated"] == pytest.approx(100.0 * rows[0]["npu_bubble_rate"], rel=1e-3)
    panels = script["by_processor"](known)
    assert [row["published_bubble_percent"] for row in panels] == [25.0] + [None] * 7
    assert {row["panel"] for row in panels} == {"NPU, 512 tokens", "CPU, 512 tokens"}


def test_conclusions_name_the_fastest_scheduler_and_those_that_are_slower(script: dict[str, Any], tmp_path: Path) -> None:
    def row(name: str, ttft_s: float) -> dict[str, Any]:
        return {
            "scheduler": name, "ttft_s": ttft_s, "speed_up": 1.0 / ttft_s, "model": "m", "prompt_tokens": 512, "npu_bubble_rate": 0.25,
            "published_npu_bubble_rate": None,
        }  # fmt: skip

    with Publication(tmp_path, SCRIPT, quick=True, formats=()) as paper:
        script["judge"](paper, [row(*each) for each in zip(script["SCHEDULERS"], (1.0, 0.8, 0.9, 1.25), strict=True)])
    record = read_record(tmp_path)
    assert record is not None
    bubbles, speed = record["conclusions"]
    assert "in-order 25 %" in bubbles
    assert "out-of-order 1.250 (1.25 to 1.25, slower in 0)" in speed
    assert "fifo 0.800 (0.80 to 0.80, slower in 1)" in speed
    assert "the rule of the paper is best" in speed
    assert "by up to 12.5 %" in speed
    assert record["claims"] == []
