"""The script on techniques: gains by hand, parts that add up to the TTFT, published steps picked up."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import socsim
from socsim.bottlenecks import IDLE
from socsim.experiments import Publication, beside_published
from socsim.experiments.publication import read_record

SCRIPT = Path(__file__).parents[2] / "experiments" / "ablation.py"
COLUMNS = "soc,model,engine,prompt_tokens,output_tokens,settings,metric,value,unit,source,split"
SPEED = "prefill_tokens_per_s"
Results = dict[tuple[str, int, str], socsim.Result]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def results(script: dict[str, Any]) -> Results:
    runs = [("qwen1.5-1.8b", prompt, engine) for prompt in (256, 512) for engine in script["STEPS"]]
    return {run: socsim.run(script["SOC"], run[0], run[2], prompt_tokens=run[1]) for run in runs}


def test_gains_are_over_the_step_before_and_over_the_first(script: dict[str, Any], results: Results) -> None:
    rows = script["speeds"](results)
    speed = {key[1:]: result.record[SPEED] for key, result in results.items()}
    for row in rows:
        steps, place = list(script["STEPS"]), list(script["STEPS"]).index(row["engine"])
        before = steps[max(place - 1, 0)]
        assert row["step_speed_up"] == speed[row["prompt_tokens"], row["engine"]] / speed[row["prompt_tokens"], before]
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


def test_published_steps_are_claims(script: dict[str, Any], results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"npu-naive": 20, "npu-chunk": 100, "npu-chunk-outlier": 400}
    lines = [f"snapdragon-8-gen-3,qwen1.5-1.8b,{engine},512,1,,{SPEED},{speed},tokens/s,me,validation" for engine, speed in speeds.items()]
    (tmp_path / "system_mine.csv").write_text("\n".join([COLUMNS, *lines, ""]))
    monkeypatch.setattr("socsim.measurements.trace_path", lambda name: tmp_path / name)
    rows = beside_published(script["speeds"](results), SPEED, SPEED)
    with Publication(tmp_path / "out", SCRIPT, quick=True, formats=()) as paper:
        script["judge"](paper, rows)
        script["conclude"](paper, rows)
    record = read_record(tmp_path / "out")
    assert record is not None
    gains = {claim["what"]: (claim["published"], claim["simulated"]) for claim in record["claims"] if claim["unit"] == "x"}
    chunk = next(row for row in rows if (row["engine"], row["prompt_tokens"]) == ("npu-chunk", 512))
    assert list(gains) == [f"gain by {script['STEPS'][engine]}, qwen1.5-1.8b, 512 tokens" for engine in ("npu-chunk", "npu-chunk-outlier")]
    assert next(iter(gains.values())) == (5.0, pytest.approx(chunk["step_speed_up"], rel=1e-3))
    assert len(record["claims"]) == 5
    assert "prebuilt chunk-sharing graphs" in record["conclusions"][0]
    assert f"{chunk['step_speed_up']:.1f} at 512" in record["conclusions"][1]
