"""``socsim tune``: tables, JSON, the engine file, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call, call_well

import socsim


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def call_badly(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    done = call(capsys, *arguments)
    assert (done.code, done.out) == (2, "")
    return done.err


SMALL = ("tune", "--soc", "snapdragon-8-gen-3", "--model", "smollm2-135m", "--prompt-tokens", "100", "--trials", "3")


def test_tables_and_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    done = call_well(capsys, *SMALL, "--keep", "pruning", "-o", str(file))
    for words in ("time to first token", "rise of perplexity", "gain alone", "100 tokens", "rests on figures of the SoC that are assumed"):
        assert words in done.out
    assert f"wrote: {file}" in done.err
    before, after = (socsim.run("snapdragon-8-gen-3", "smollm2-135m", engine, prompt_tokens=100).record for engine in ("llm-npu", file))
    assert after["ttft_s"] < 0.9 * before["ttft_s"]
    assert "socsim tune of llm-npu for smollm2-135m on snapdragon-8-gen-3, 1 prompts" in file.read_text()


def test_json_says_what_the_file_does(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    found = json.loads(call_well(capsys, *SMALL, "--energy-weight", "1", "-o", str(file), "--json").out)
    record = socsim.run("snapdragon-8-gen-3", "smollm2-135m", file, prompt_tokens=100).record
    assert found["tuned"]["energy_j"] == record["e2e_energy_j"]
    assert found["tuned"]["ttft_s"] == record["ttft_s"] == found["prompts"][0]["tuned_ttft_s"]
    assert found["gain"] == pytest.approx(1 - found["tuned"]["energy_j"] / found["usual"]["energy_j"])
    assert {each["choice"] for each in found["choices"]} <= {"chunks", "pruning", "placement", "scheduler", "decode"}


def test_where_nothing_is_better_there_is_no_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keep = [word for name in ("chunks", "pruning", "placement", "scheduler", "decode") for word in ("--keep", name)]
    done = call_well(capsys, *SMALL, *keep, "-o", str(tmp_path / "mine.toml"))
    assert "nothing better than llm-npu as it is was found" in done.err
    assert not (tmp_path / "mine.toml").exists()
    assert "gain alone" not in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--energy-weight", "1.5"), "--energy-weight 1.5: should be between 0 and 1"),
        (("--max-memory-gb", "0"), "--max-memory-gb 0: should be above 0"),
        (("--max-chunk-graphs", "0"), "--max-chunk-graphs 0: should be 1 or more"),
        (("--max-accuracy-loss", "-3"), "--max-accuracy-loss -3: should be 0 or more"),
        (("--keep", "order"), "unknown choice 'order'"),
        (("--workload", "table6"), "unknown workload 'table6'"),
        (("--workload", "none.csv"), "none.csv: cannot be read: No such file or directory"),
        (("--max-accuracy-loss", "0.1"), "--max-accuracy-loss 0.1: even without pruning 3.5 % is lost on the measured curve"),
        (("-o", "nowhere/mine.toml"), "--output 'nowhere/mine.toml': no such folder 'nowhere'"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    where = () if "-o" in arguments else ("-o", str(tmp_path / "mine.toml"))
    prompt = ("--prompt-tokens", "64") if "--workload" not in arguments else ()
    assert message in call_badly(capsys, "tune", "--model", "smollm2-135m", *prompt, "--trials", "1", *where, *arguments)
    assert not (tmp_path / "mine.toml").exists()


def test_a_workload_or_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    assert "give one of the two" in call_badly(capsys, *SMALL, "--workload", "llm_npu_table5_prompts")
