"""``socsim verify`` on a few tokens of real text."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from command_line import call, call_well

import socsim.numerics.verify
from socsim.numerics.decoder import Decoder
from socsim.numerics.profile import Profile, profile_text
from socsim.numerics.tokenizer import Tokenizer
from socsim.numerics.weights import Weights
from socsim.schedulers import SCHEDULERS

SMALL = ["--prompt-tokens", "40", "--chunk-tokens", "16", "--schedulers"]


@pytest.fixture(scope="module")
def short_profile(weights: Weights, tokenizer: Tokenizer) -> Profile:
    import numpy as np

    return profile_text(Decoder(weights), [np.array(tokenizer.encode("Scales of a short text serve a test as well as others. " * 3))])


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch, short_profile: Profile) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("socsim.numerics.profiles.load_profile", lambda *_, **__: short_profile)


def test_tables_say_what_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    output = call_well(capsys, "verify", *SMALL, "fifo,out-of-order")
    assert (
        "smollm2-135m on snapdragon-8-gen-3 under llm-npu: 40 tokens, 3 chunks of 16; int8 per-tensor, weights per tensor, " in output.out
    )
    assert "outliers of 32 linears kept" in " ".join(output.out.split())
    assert re.search(r"fifo +identical +'.*' +[1-9]\d* +\d+\.\d", output.out)
    assert re.search(r"hidden states, float64 +ok +\d\.\de-1\d +1e-09", output.out)
    assert re.search(r"down_proj +\d+ +\d+\.\d +\d+ +\d+\.\d", output.out)
    assert "measured" not in output.out
    assert "socsim: computing: out-of-order" in output.err
    assert max(map(len, output.out.splitlines())) <= 120


def test_json_holds_everything(capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(call_well(capsys, "verify", "--json", "--measured-outliers", *SMALL, "sequential, fifo").out)
    assert record["passed"] is True
    assert [each["scheduler"] for each in record["schedulers"]] == ["sequential", "fifo"]
    assert record["schedulers"][0]["subgraphs_moved"] == 0
    assert record["schedulers"][1]["subgraphs_moved"] > 0
    assert all(each["measured_outliers_ttft_s"] > 0.0 for each in record["schedulers"])
    assert record["chunk_plan"] == [16, 16, 16]
    assert sum(row["kept"] for row in record["outliers"]) == record["kept_linears"] == 32
    assert record["outliers"][0].keys() == {"linear", "kept", "channels_mean", "channels_max", "fetched_mean"}


def test_measured_outliers_add_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    out = call_well(capsys, "verify", "--measured-outliers", *SMALL, "fifo").out
    assert "measured: TTFT" in out
    assert re.search(r"all shadow work on the CPU: [\d.]+ ms as the engine is described, [\d.]+ ms with these", out)


def test_one_chunk_is_no_split(capsys: pytest.CaptureFixture[str]) -> None:
    out = call_well(capsys, "verify", "--prompt-tokens", "8", "--schedulers", "fifo", "--engine", "gpu-only").out
    assert "one chunk: there is no split to compare" in out
    assert "largest difference" not in out
    assert "linears not quantized" in out


def test_all_shipped_schedulers_are_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    out = call_well(capsys, "verify", *SMALL[:-1], "--engine", "npu-chunk").out
    assert [line.split()[0] for line in out.splitlines() if "identical" in line] == list(SCHEDULERS)
    assert "fetched" not in out


def test_a_difference_is_an_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = socsim.numerics.verify.verify

    def broken(*arguments: Any, **options: Any) -> Any:
        found = whole(*arguments, **options)
        wrong = tuple(dataclasses.replace(each, identical=False) for each in found.schedulers)
        return dataclasses.replace(found, schedulers=wrong, float32_difference=1.0, split_token_equal=False)

    monkeypatch.setattr("socsim.numerics.verify.verify", broken)
    output = call(capsys, "verify", *SMALL, "fifo")
    assert output.code == 1
    assert output.err.endswith("socsim: error: results differ\n")
    assert {"DIFFER", "DIFFERS"} <= set(output.out.split())
    assert "TOO FAR" in output.out


def test_own_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("One two three four five six seven eight nine ten eleven twelve.", encoding="utf-8")
    assert "9 tokens, 1 chunk of 32" in call_well(capsys, "verify", "--text", str(path), "--prompt-tokens", "9", "--schedulers", "fifo").out
    output = call(capsys, "verify", "--text", str(path), "--schedulers", "fifo")
    assert output.code == 2
    assert re.search(r"text.txt: has \d\d tokens, fewer than the 256 asked for with --prompt-tokens", output.err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--schedulers", "fifi"], ["unknown scheduler 'fifi'", "did you mean 'fifo'"]),
        (["--prompt-tokens", "0"], ["--prompt-tokens 0", "whole numbers from 1"]),
        (["--prompt-tokens", "many"], ["'many' is no whole number"]),
        (["--weights", "smollm"], ["smollm", "smollm2-135m"]),
        (["--soc", "snapdragon"], ["unknown SoC 'snapdragon'"]),
        (["--text", "absent.txt"], ["absent.txt", "cannot be read"]),
        (["--chunk-tokens", "0"], ["chunk_tokens"]),
        (["--schedulers", ""], ["unknown scheduler ''"]),
        (["--set", "run.cached_tokens=64"], ["run.cached_tokens", "allowed: 0"]),
    ],
)
def test_bad_input_is_found_before_anything_is_computed(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socsim.numerics.profiles.load_profile", lambda *_, **__: pytest.fail("a profile was made"))
    output = call(capsys, "verify", *arguments)
    assert (output.code, output.out) == (2, "")
    for word in words:
        assert word in output.err
