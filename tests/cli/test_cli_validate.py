from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from command_line import call, call_well

import socsim.validation
from socsim.cli.validation import UNITS, band_summary
from socsim.measurements import METRIC_UNITS, load_operator_rows
from socsim.runs import run

pytestmark = pytest.mark.usefixtures("_wide")
HEADER = "soc,model,engine,prompt_tokens,output_tokens,settings,metric,value,unit,source,split\n"
SPEED = "toy-phone,smollm2-135m,llm-npu,64,1,,prefill_tokens_per_s,{},tokens/s,mine,{}\n"
ENERGY = "toy-phone,smollm2-135m,cpu-only,64,1,run.power_calibration=whole-device,prefill_energy_j,{},mJ,mine,{}\n"
DECODE = "toy-phone,smollm2-135m,cpu-only,64,5,engine.cpu_threads=2,decode_s,{},ms,mine,{}\n"


def predicted(engine: str) -> dict[str, float]:
    return run("toy-phone", "smollm2-135m", engine, prompt_tokens=64).record


@pytest.fixture
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of one width, whatever runs the tests."""
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A speed of which 80 % is predicted for calibration, one that is predicted well and an energy for validation."""
    path = tmp_path / "runs.csv"
    speed, energy = predicted("llm-npu")["prefill_tokens_per_s"], predicted("cpu-only")["prefill_energy_j"]
    rows = [SPEED.format(speed / 0.8, "calibration"), SPEED.format(speed, "validation"), ENERGY.format(2e3 * energy, "validation")]
    path.write_text(HEADER + "".join(rows))
    return path


def test_rows_of_ones_own(capsys: pytest.CaptureFixture[str], measured: Path) -> None:
    report = call_well(capsys, "validate", "--measurements", str(measured), "--json").json
    assert list(report)[:1] == ["schema_version"]
    assert {"rows", "summary", "targets", "leave_one_model_out", "bands"} <= set(report)
    assert [row["error_percent"] for row in report["rows"]] == pytest.approx([-20, 0, -50])
    assert report["rows"][1]["measured"] == pytest.approx(predicted("llm-npu")["prefill_tokens_per_s"])
    errors = {(row["metric"], row["split"]): row["mean_absolute_error_percent"] for row in report["summary"]}
    speed = "prefill_tokens_per_s"
    assert errors == pytest.approx({(speed, "calibration"): 20, (speed, "validation"): 0, ("prefill_energy_j", "validation"): 50}, abs=1e-9)
    # Targets are held to the rows at hand: these have one for calibration.
    assert [(aim["what"], aim["rows"], aim["met"]) for aim in report["targets"]] == [("llm-npu prefill speed", 1, False)]
    assert report["leave_one_model_out"] is None
    assert [band["metric"] for band in report["bands"]] == [speed, speed, "prefill_energy_j"]
    assert all(band["low"] < band["median"] < band["high"] for band in report["bands"])
    assert report["band_summary"] == band_summary(report["bands"])


def test_a_split(capsys: pytest.CaptureFixture[str], measured: Path) -> None:
    for split, count in (("calibration", 1), ("validation", 2), ("all", 3)):
        report = call_well(capsys, "validate", "--measurements", str(measured), "--split", split, "--quick", "--json").json
        assert len(report["rows"]) == count
        assert {row["split"] for row in report["rows"]} <= {split, *(("calibration", "validation") if split == "all" else ())}
        assert report["bands"] is None


def test_no_rows_is_no_perfect_score(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + SPEED.format(100, "calibration"))
    options = ("validate", "--measurements", str(path), "--split", "validation")
    out = call_well(capsys, *options).out
    assert out == "There are no measured runs of split validation: nothing is validated.\n"
    report = call_well(capsys, *options, "--json").json
    assert (report["rows"], report["summary"], report["targets"], report["bands"]) == ([], [], [], [])


def test_tables(capsys: pytest.CaptureFixture[str], measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = call_well(capsys, "validate", "--measurements", str(measured)).out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    for words in (
        "prefill speed (tokens/s) on toy-phone, calibration",
        "prefill energy (J) on toy-phone, validation, run.power_calibration=whole-device",
        "mean absolute percentage error",
        "inside their 10th to 90th percentile band (aim: 70 to 90 %)",
        "not met",
    ):
        assert words in out
    assert "-20.0" in out
    short = call_well(capsys, "validate", "--measurements", str(measured), "--no-rows", "--quick").out
    assert "prefill speed (tokens/s) on toy-phone" not in short
    assert "percentile" not in short


def test_settings_that_differ_between_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + DECODE.format(100, "validation") + DECODE.format(100, "validation").replace("threads=2", "threads=4"))
    out = call_well(capsys, "validate", "--measurements", str(path), "--quick").out
    assert "decode time (s) on toy-phone, validation, by engine.cpu_threads" in out
    path.write_text(path.read_text() + DECODE.format(100, "validation").replace("engine.cpu_threads=2", "run.seed=3"))
    out = call_well(capsys, "validate", "--measurements", str(path), "--quick").out
    assert "engine.cpu_threads=4" in out
    assert "run.seed=3" in out


def test_several_files_and_a_plot(capsys: pytest.CaptureFixture[str], tmp_path: Path, measured: Path) -> None:
    other, plot = tmp_path / "others.csv", tmp_path / "parity.svg"
    other.write_text(HEADER + DECODE.format(100, "validation"))
    outcome = call_well(capsys, "validate", "--measurements", str(measured), str(other), "--quick", "--json", "--plot", str(plot))
    assert len(outcome.json["rows"]) == 4
    assert outcome.err == f"socsim: wrote: {plot}\n"
    assert "<svg" in plot.read_text()


def test_shipped_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """Held-out rows, whose targets have no rows; the products and ratios of the shipped tables are for calibration."""
    report = call_well(capsys, "validate", "--split", "validation", "--quick", "--json").json
    assert report["rows"]
    assert {row["split"] for row in report["rows"]} == {"validation"}
    assert len(report["targets"]) >= 7
    assert {(aim["rows"], aim["reached_percent"], aim["met"]) for aim in report["targets"]} == {(0, None, None)}
    assert report["per_group_slowdowns"] == []
    out = call_well(capsys, "validate", "--split", "validation", "--quick").out
    assert out.count("no rows") == len(report["targets"])
    assert "by engine.outlier_pruning_rate" in out


def test_models_are_left_out_of_shipped_rows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits without one model and bands take minutes: here their results are those of the plain predictions."""
    called = []

    def left_out(operators: list[object], runs: list[object], progress: object) -> pd.DataFrame:
        called.append((len(operators), len(runs)))
        progress("without some-model")  # type: ignore[operator]
        row = ("toy-phone", "some-model", "llm-npu", "prefill_tokens_per_s", 64, "", 10.0, 13.0, 30.0, "calibration", "mine")
        return pd.DataFrame.from_records([row], columns=socsim.validation.RUN_COLUMNS)

    monkeypatch.setattr(socsim.validation, "leave_one_model_out", left_out)
    monkeypatch.setattr(socsim.validation, "band_coverage", lambda runs, progress: pd.DataFrame())
    outcome = call_well(capsys, "validate", "--split", "calibration", "--json")
    assert outcome.err == "socsim: fitting: without some-model\n"
    report = outcome.json
    assert called == [(sum(row.split == "calibration" for row in load_operator_rows()), len(report["rows"]))]
    (row,) = report["leave_one_model_out"]
    assert (row["model"], row["error_percent"]) == ("some-model", 30.0)
    aim = report["targets"][-1]
    assert (aim["rows"], aim["reached_percent"], aim["limit_percent"], aim["met"]) == (1, 30.0, 25.0, False)
    assert all(aim["rows"] for aim in report["targets"])
    assert [row["model"] for row in report["per_group_slowdowns"]] == ["llama-2-7b", "qwen1.5-1.8b"]
    out = call_well(capsys, "validate", "--split", "calibration", "--no-rows").out
    assert "prefill speed of models that were left out" in out
    assert "some-model" in out


def test_bands_in_short() -> None:
    def band(low: float, high: float, inside: bool) -> dict[str, object]:
        return {"metric": "decode_s", "split": "validation", "low": low, "high": high, "inside": inside}

    (row,) = band_summary([band(1, 2, True), band(2, 8, False), band(1, 3, True), band(1, 1, True)])
    assert (row["rows"], row["inside_percent"], row["mean_high_over_low"]) == (4, 75.0, 2.5)
    assert band_summary([]) == []


def test_units_are_those_of_measurements() -> None:
    assert {metric: next(iter(units)) for metric, units in METRIC_UNITS.items()} == UNITS


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tokens/s", "tok/s", ["bad.csv:2: field 'unit'", "'tok/s'", "tokens/s"]),
        (",64,", ",0,", ["bad.csv:2: field 'prompt_tokens'", "'0'"]),
        (",100,", ",-100,", ["bad.csv:2: field 'value'", "above 0", "'-100'"]),
        (",100,", ",nan,", ["bad.csv:2: field 'value'", "a number", "'nan'"]),
        ("toy-phone", "toy-fone", ["bad.csv:2: unknown SoC 'toy-fone'", "did you mean 'toy-phone'"]),
        ("settings", "setting", ["bad.csv:1: unknown column 'setting'", "did you mean 'settings'"]),
        ("validation", "valid", ["bad.csv:2: field 'split'", "'valid'", "validation"]),
    ],
)
def test_files_that_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    path = tmp_path / "bad.csv"
    path.write_text((HEADER + SPEED.format(100, "validation")).replace(old, new))
    refused(capsys, ["validate", "--measurements", str(path)], *words)


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    outcome = call(capsys, *arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
    assert outcome.err.startswith("socsim: error: ")
    for word in words:
        assert word in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "validatoin"], ["--split", "'validatoin'", "did you mean 'validation'", "all"]),
        (["--plot", "a.gif"], ["unknown suffix '.gif'"]),
        (["--plot", "none/a.png"], ["no such folder 'none'"]),
        (["--measurements", "none.csv"], ["none.csv: cannot be read: No such file"]),
        (["some.csv"], ["some.csv"]),
    ],
)
def test_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    refused(capsys, ["validate", *arguments], *words)


def test_nothing_to_draw(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + SPEED.format(100, "calibration"))
    outcome = call(capsys, "validate", "--measurements", str(path), "--split", "validation", "--plot", str(tmp_path / "a.png"))
    assert outcome.code == 2
    assert "nothing is validated" in outcome.out
    assert "there are no rows to draw" in outcome.err
