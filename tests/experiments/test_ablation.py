"""The script on techniques: gains by hand, parts that add up to the TTFT, published steps picked up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from paper import Paper
from scripts import load_script, publish
from short import run_short

import socsim
from socsim.bottlenecks import IDLE
from socsim.experiments import beside_published

SPEED = "prefill_tokens_per_s"
Results = dict[tuple[str, int, str], socsim.Result]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return load_script("ablation")


@pytest.fixture(scope="module")
def results(script: dict[str, Any]) -> Results:
    runs = [("qwen1.5-1.8b", prompt, engine) for prompt in (256, 512) for engine in script["STEPS"]]
    return {run: socsim.run(script["SOC"], run[0], run[2], prompt_tokens=run[1]) for run in runs}


def test_gains_are_over_the_step_before_and_over_the_first(script: dict[str, Any], results: Results) -> None:
    rows = script["speeds"](results)
    speed = {key[1:]: result.record[SPEED] for key, result in results.items()}
    for row in rows:
        steps, place = list(script["STEPS"]), list(script["STEPS"]).index(row["engine"])
        gain = speed[row["prompt_tokens"], row["engine"]] / speed[row["prompt_tokens"], steps[place - 1]] if place else None
        assert row["step_speed_up"] == gain
        assert row["speed_up"] == speed[row["prompt_tokens"], row["engine"]] / speed[row["prompt_tokens"], "npu-naive"]


def test_parts_add_up_to_the_ttft(script: dict[str, Any], results: Results) -> None:
    for run, result in results.items():
        row = script["where"](*run, result)
        parts = {name: row[f"{name}_s"] for name in script["PARTS"]}
        assert sum(parts.values()) == pytest.approx(result.record["ttft_s"], rel=1e-9)
        assert parts["preparation"] == result.record["preparation_in_ttft_s"]
        assert (parts["preparation"] > 0.0) == (run[2] == "npu-naive")
        assert (parts["cpu_outliers"] > 0.0) == (run[2] in ("npu-chunk-outlier", "llm-npu"))
        shares = script["shares"](row)
        assert sum(shares[name] for name in script["PARTS"]) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("row", "part"),
    [
        (("npu", "qkv", "compute"), "npu_work"),
        (("npu", "merge_up_proj", "float"), "npu_work"),
        (("npu", "ffn", "synchronization"), "synchronization"),
        (("cpu", "attention", "waiting"), "cpu_attention"),
        (("cpu", "shadow_o_proj", "float"), "cpu_outliers"),
        (("cpu", "merge_o_proj", "float"), "cpu_outliers"),
        (("cpu", "attn_norm", "launch"), "other_cpu_work"),
        (("cpu", IDLE, "waiting"), "held_back"),
    ],
)
def test_part_of_a_row(script: dict[str, Any], row: tuple[str, str, str], part: str) -> None:
    assert script["part_of"](*row) == part
    assert part in script["PARTS"]
    assert part in script["LOOKS"]


def line(engine: str, speed: float, source: str, split: str = "validation") -> str:
    return f'snapdragon-8-gen-3,qwen1.5-1.8b,{engine},512,1,,{SPEED},{speed},tokens/s,"{source}",{split}'


def test_published_steps_are_claims(script: dict[str, Any], results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(
        monkeypatch, tmp_path,
        line("npu-naive", 20, "me, Fig 19"), line("npu-chunk", 90, "me, Fig 14"), line("npu-chunk", 100, "me, Fig 19", "calibration"),
        line("npu-chunk-outlier", 400, "somebody"), line("llm-npu", 500, "somebody"),
    )  # fmt: skip
    paper = Paper()
    rows = beside_published(script["speeds"](results), SPEED, SPEED, place=script["PLACE"])
    script["judge"](paper, rows)
    script["conclude"](paper, rows)
    speed = {engine: results["qwen1.5-1.8b", 512, engine].record[SPEED] for engine in script["STEPS"]}
    run = "qwen1.5-1.8b, 512 tokens"
    assert paper.claims == {
        f"prefill of npu-naive, {run}": (20.0, speed["npu-naive"]),
        f"prefill of npu-chunk, {run}": (100.0, speed["npu-chunk"]),
        f"gain by prebuilt chunk-sharing graphs, {run}": (5.0, speed["npu-chunk"] / speed["npu-naive"]),
        f"prefill of npu-chunk-outlier, {run}": (400.0, speed["npu-chunk-outlier"]),  # no gain: the step before is another's
        f"gain by out-of-order issue, {run}": (1.25, speed["llm-npu"] / speed["npu-chunk-outlier"]),
    }
    assert list(paper.fitted.values()) == [False, True, True, False, False]
    assert list(paper.sources.values()) == ["me, Fig 19"] * 3 + ["somebody"] * 2
    errors = [abs(speed[engine] / known - 1.0) for engine, known in (("npu-naive", 20), ("npu-chunk", 100), ("npu-chunk-outlier", 400))]
    assert f"Of 3 published speeds of the steps before llm-npu the simulation is off by {100 * sum(errors) / 3:.0f} %" in paper.text


def test_conclusions_are_gains_of_single_runs(
    script: dict[str, Any], results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, tmp_path)
    paper = Paper()
    script["conclude"](paper, beside_published(script["speeds"](results), SPEED, SPEED))
    speed = {key[1:]: result.record[SPEED] for key, result in results.items()}
    chunk, whole = ([speed[prompt, engine] / speed[prompt, "npu-naive"] for prompt in (256, 512)] for engine in ("npu-chunk", "llm-npu"))
    said = f"graphs {(chunk[0] * chunk[1]) ** 0.5:.2f} ({min(chunk):.2f} to {max(chunk):.2f})"
    assert said in paper.text
    assert f"all together {min(whole):.1f} to {max(whole):.1f}." in paper.text
    assert f"{chunk[0]:.1f} times as fast at 256 tokens and {chunk[1]:.1f} times at 512" in paper.text
    assert "No published speeds of the steps before llm-npu" in paper.text


@pytest.mark.parametrize(("gain", "said"), [(0.5, "Slower by a step: 1 of 3 prefills, most by out-of-order issue for m at 64"), (1.5, "")])
def test_slower_steps_are_named(script: dict[str, Any], gain: float, said: str) -> None:
    paper, run = Paper(), {"model": "m", "prompt_tokens": 64, "speed_up": 1.0, "error_percent": None}
    gains = dict(zip(script["STEPS"], (None, 2.0, 3.0, gain), strict=True))
    script["conclude"](paper, [run | {"engine": engine, "step_speed_up": each} for engine, each in gains.items()])
    assert said in paper.text
    assert ("Slower by a step" in paper.text) == bool(said)


@pytest.mark.parametrize("lines", [(), (line("npu-naive", 30, "me, Fig 1"), line("npu-naive", 20, "me, Fig 19"))])
def test_with_published_rows_and_without(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...]
) -> None:
    publish(monkeypatch, tmp_path, *lines)
    record = run_short(script, tmp_path / "out", monkeypatch, MODELS=("qwen1.5-1.8b",), EXPLAINED_PROMPTS=(256, 512))
    assert [(claim["published"], claim["source"]) for claim in record["claims"]] == ([(20.0, "me, Fig 19")] if lines else [])
