"""The script on bubbles: rows against single runs, published rates picked up, and what is said of the rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from paper import Paper
from scripts import claims, load_script, publish
from short import run_short

import socsim

SHORT = {"MODELS": ("gemma-2b",), "PROMPTS": (512,), "DRAWN": ("gemma-2b", 512)}
RUN = "snapdragon-8-gen-3,gemma-2b,llm-npu,512,1"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return load_script("bubbles")


def record_under(scheduler: str) -> dict[str, Any]:
    found: dict[str, Any] = socsim.run("snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=512, scheduler=scheduler).record
    return found


def test_rows_are_those_of_runs_under_each_scheduler(script: dict[str, Any]) -> None:
    rows = script["prefills"]("gemma-2b", 512)
    assert [row["scheduler"] for row in rows] == list(script["SCHEDULERS"])
    naive_s = record_under("in-order")["ttft_s"]
    for row in rows:
        record = record_under(row["scheduler"])
        assert (row["ttft_s"], row["npu_bubble_rate"]) == (record["ttft_s"], record["npu_bubble_rate"])
        assert row["speed_up"] == naive_s / record["ttft_s"]


def test_published_rates_are_claims(script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = (("in-order", 25, "Fig 14"), ("in-order", 30, "Fig 13"), ("out-of-order", 5, "Fig 13"))
    lines = [f'{RUN},engine.scheduler={name},npu_bubble_rate,{rate},%,"me, {place}",validation' for name, rate, place in rates]
    publish(monkeypatch, tmp_path, *lines)
    record = run_short(script, tmp_path / "out", monkeypatch, **SHORT)
    found = claims(record)
    assert list(found) == [f"NPU bubble rate under {name}, gemma-2b, 512 tokens" for name in ("in-order", "out-of-order")]
    errors = []
    for claim, (name, rate, place) in zip(found.values(), rates[1:], strict=True):
        simulated = 100.0 * record_under(name)["npu_bubble_rate"]
        assert claim == (rate, pytest.approx(simulated, rel=1e-3), f"me, {place}", False)
        errors.append(100.0 * (simulated / rate - 1.0))
    mean = sum(map(abs, errors)) / 2
    assert f"Of 2 published bubble rates the simulation is off by {mean:.0f} %" in record["conclusions"][0]


def test_published_rates_stand_on_the_npu_only(script: dict[str, Any]) -> None:
    known = [{"prompt_tokens": 512, "model": "m", "scheduler": "s", "npu_bubble_rate": 0.2, "cpu_bubble_rate": 0.3}]
    panels = script["by_processor"]([row | {"published_npu_bubble_rate": 0.25} for row in known])
    assert [row["panel"] for row in panels] == ["NPU, 512 tokens", "CPU, 512 tokens"]
    assert [(row["bubble_percent"], row["published_bubble_percent"]) for row in panels] == [(20.0, 25.0), (30.0, None)]


def test_without_published_rates(script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, tmp_path)
    record = run_short(script, tmp_path / "out", monkeypatch, **SHORT)
    assert record["claims"] == []
    assert "No published bubble rates" in record["conclusions"][0]


def row(name: str, ttft_s: float) -> dict[str, Any]:
    run = {"scheduler": name, "ttft_s": ttft_s, "speed_up": 1.0 / ttft_s, "model": "m", "prompt_tokens": 512, "npu_bubble_rate": 0.25}
    return run | {"published_npu_bubble_rate": 0.5, "error_percent": -50.0, "source": "a book", "fitted": True}


@pytest.mark.parametrize(
    ("times_s", "said"),
    [((1.0, 0.8, 0.9, 1.25), "the rule of the paper is best"), ((1.0, 0.8, 0.9, 0.5), "fifo beats the rule of the paper")],
)
def test_conclusions_name_the_fastest_scheduler_and_those_that_are_slower(
    script: dict[str, Any], times_s: tuple[float, ...], said: str
) -> None:
    paper = Paper()
    script["judge"](paper, [row(*each) for each in zip(script["SCHEDULERS"], times_s, strict=True)])
    assert "in-order 25 %" in paper.text
    assert "out-of-order 1.250 (1.250, slower in 0 of 1)" in paper.text
    assert f"fifo {1.0 / times_s[3]:.3f} ({1.0 / times_s[3]:.3f}, slower in {int(times_s[3] > 1.0)} of 1)" in paper.text
    assert said in paper.text
    assert "by up to 12.5 %" in paper.text
    assert set(paper.claims.values()) == {(50.0, 25.0)}
    assert set(paper.fitted.values()) == {True}
    assert set(paper.sources.values()) == {"a book"}
