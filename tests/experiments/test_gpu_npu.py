"""The script on the GPU beside the NPU: set-ups against single runs, the GPU's rates, published rows picked up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from paper import Paper
from scripts import claims, load_script, publish
from short import run_short

import socsim

SPEED = "prefill_tokens_per_s"
RUN = "snapdragon-8-gen-3,gemma-2b,llm-npu,256,9"
BOTH = "engine.placement.other=gpu;engine.decode_processor=gpu"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return load_script("gpu_npu")


@pytest.fixture(scope="module")
def rows(script: dict[str, Any]) -> list[dict[str, Any]]:
    return [script["simulate"]("gemma-2b", 256, work, decode) for work in script["FLOAT_WORK"] for decode in script["DECODE"]]


def record_with(**settings: str) -> dict[str, Any]:
    """Return the record of the same run with settings of the engine, here with ``__`` for dots."""
    overrides = {f"engine.{name.replace('__', '.')}": value for name, value in settings.items()}
    found: dict[str, Any] = socsim.run(
        "snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=256, output_tokens=9, overrides=overrides
    ).record
    return found


def test_without_the_gpu_it_is_the_engine_as_it_is(rows: list[dict[str, Any]]) -> None:
    record = record_with()
    for name in (SPEED, "decode_tokens_per_s", "npu_bubble_rate"):
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
    pairs = script["pairs"](rows, "decode", "CPU", "GPU")
    assert [(one["decode"], other["decode"], one["float_work"] == other["float_work"]) for one, other in pairs] == [
        ("CPU", "GPU", True)
    ] * 3


def test_conclusions_are_ratios_of_single_runs(script: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    paper, usual, gpu = Paper(), record_with(), record_with(placement__other="gpu")
    blocking = record_with(placement__other="gpu", synchronization="blocking")
    script["conclude"](paper, rows)
    assert f": 256 tokens {gpu[SPEED] / usual[SPEED]:.2f} ({blocking[SPEED] / usual[SPEED]:.2f} with blocking hand-overs)." in paper.text
    assert f"{gpu['prefill_energy_j'] / usual['prefill_energy_j']:.2f} under whole-device" in paper.text
    assert f"is {100 * gpu['npu_bubble_rate']:.0f} % with it and {100 * usual['npu_bubble_rate']:.0f} % without" in paper.text
    gain = record_with(decode_processor="gpu")["decode_tokens_per_s"] / usual["decode_tokens_per_s"]
    assert f"Decode is {gain:.2f} times as fast on the GPU" in paper.text
    assert "element-wise work, GPU, 200 GB/s (assumed;" in paper.text


def test_published_runs_with_the_gpu_are_claims(script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(
        monkeypatch, tmp_path,
        f'{RUN},{BOTH},{SPEED},400,tokens/s,"me, Fig 14",validation',
        f'{RUN},{BOTH},{SPEED},500,tokens/s,"me, Fig 18",calibration',
        f"{RUN},engine.decode_processor=gpu,decode_s,500,ms,somebody,validation",
        f"{RUN},,{SPEED},400,tokens/s,somebody,validation",
    )  # fmt: skip
    paper = Paper()
    paper.table = lambda name, rows, caption: tables.append((name, len(rows)))  # type: ignore[attr-defined]
    tables: list[tuple[str, int]] = []
    script["judge"](paper)
    prefill, decode = paper.claims
    assert prefill == f"prefill of gemma-2b on snapdragon-8-gen-3, 256 and 9 tokens, {BOTH.replace(';', '; ')}"
    both = record_with(placement__other="gpu", decode_processor="gpu")
    assert paper.claims[prefill] == pytest.approx((500.0, both[SPEED]))
    assert paper.claims[decode] == pytest.approx((0.5, 8 * record_with(decode_processor="gpu")["tpot_s"]))
    assert (paper.fitted[prefill], paper.sources[prefill]) == (True, "me, Fig 18")
    assert (paper.fitted[decode], paper.sources[decode]) == (False, "somebody")
    assert tables == [("published", 2)]
    errors = [abs(simulated / (published or 0.0) - 1.0) for published, simulated in paper.claims.values()]
    assert f"Of 2 published values of runs with the GPU the simulation is off by {100 * sum(errors) / 2:.0f} %" in paper.text


@pytest.mark.parametrize("lines", [(), (f'{RUN[:-1]}1,engine.placement.other=gpu,{SPEED},500,tokens/s,"me, Fig 18",validation',)])
def test_with_published_rows_and_without(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...]
) -> None:
    publish(monkeypatch, tmp_path, *lines)
    record = run_short(script, tmp_path / "out", monkeypatch, MODELS=("gemma-2b",), PROMPTS=(64, 256), ENERGY_PROMPT=256)
    assert [claim[0] for claim in claims(record).values()] == [500.0 for _ in lines]
    assert record["conclusions"][-1].startswith("Of 1 published" if lines else "No published values of runs with the GPU")
    table = (tmp_path / "out" / "gpu_npu.csv").read_text()
    assert ("me, Fig 18" in table) == bool(lines)
    assert table.startswith("model,prompt_tokens,")  # phone and engine are in the caption
