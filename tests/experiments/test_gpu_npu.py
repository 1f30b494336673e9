"""The script on the GPU beside the NPU: set-ups against single runs, the GPU's rates, published rows picked up."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import socsim
from socsim.experiments import Publication
from socsim.experiments.publication import read_record

SCRIPT = Path(__file__).parents[2] / "experiments" / "gpu_npu.py"
COLUMNS = "soc,model,engine,prompt_tokens,output_tokens,settings,metric,value,unit,source,split"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def rows(script: dict[str, Any]) -> list[dict[str, Any]]:
    return [script["simulate"]("gemma-2b", 256, work, decode) for work in script["FLOAT_WORK"] for decode in script["DECODE"]]


def test_without_the_gpu_it_is_the_engine_as_it_is(rows: list[dict[str, Any]]) -> None:
    record = socsim.run("snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=256, output_tokens=9).record
    for name in ("prefill_tokens_per_s", "decode_tokens_per_s", "npu_bubble_rate"):
        assert rows[0][name] == record[name]
    assert rows[0]["whole_device_prefill_energy_j"] == record["prefill_energy_j"]
    assert rows[0]["overrides"] == {}


def test_whichever_rates_the_gpu_has_its_products_take_their_bytes_time(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    gpu = socsim.load_soc("snapdragon-8-gen-3").processors["gpu"]
    faster = {"soc.processors.gpu.throughput.fp16.peak_ops_per_s": 1000.0 * gpu.rates("int8").peak_ops_per_s}
    settings = script["FLOAT_WORK"]["GPU"] | script["DECODE"]["GPU"] | faster
    record = socsim.run("snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=256, output_tokens=9, overrides=settings).record
    same = next(row for row in rows if (row["float_work"], row["decode"]) == ("GPU", "GPU"))
    assert same["decode_tokens_per_s"] == record["decode_tokens_per_s"]


def test_ratios_compare_rows_that_differ_in_one_thing(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    speed = {(row["float_work"], row["decode"]): row["prefill_tokens_per_s"] for row in rows}
    product = speed["GPU", "CPU"] / speed["CPU", "CPU"] * speed["GPU", "GPU"] / speed["CPU", "GPU"]
    assert script["ratio"](rows, "GPU", "prefill_tokens_per_s") == pytest.approx(product**0.5)
    pairs = script["pairs"](rows, "decode", "CPU", "GPU")
    assert [(one["decode"], other["decode"], one["float_work"] == other["float_work"]) for one, other in pairs] == [
        ("CPU", "GPU", True)
    ] * 3


def test_published_runs_with_the_gpu_are_claims(
    script: dict[str, Any], rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = "snapdragon-8-gen-3,gemma-2b,llm-npu,256,9"
    (tmp_path / "system_mine.csv").write_text(
        f"{COLUMNS}\n"
        f"{run},engine.placement.other=gpu;engine.decode_processor=gpu,prefill_tokens_per_s,500,tokens/s,somebody,validation\n"
        f"{run},engine.decode_processor=gpu,decode_s,500,ms,somebody,validation\n"
        f"{run},,prefill_tokens_per_s,400,tokens/s,somebody,validation\n"
    )
    monkeypatch.setattr("socsim.measurements.trace_path", lambda name: tmp_path / name)
    with Publication(tmp_path / "out", SCRIPT, quick=True, formats=()) as paper:
        script["judge"](paper)
    record = read_record(tmp_path / "out")
    assert record is not None
    prefill, decode = record["claims"]
    both = next(row for row in rows if (row["float_work"], row["decode"]) == ("GPU", "GPU"))
    assert (prefill["published"], prefill["unit"]) == (500.0, "tokens/s")
    assert prefill["simulated"] == pytest.approx(both["prefill_tokens_per_s"], rel=1e-3)
    assert (decode["published"], decode["unit"]) == (0.5, "s")
    assert decode["simulated"] == pytest.approx(8 / both["decode_tokens_per_s"], rel=1e-2)
    assert [table["file"] for table in record["tables"]] == ["published.csv"]
