from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import call, call_well

import socsim.calibration
from socsim.calibration import Calibration, calibrate
from socsim.catalog import list_engines, list_socs, load_soc
from socsim.cli.options import repeat_measurements
from socsim.measurements import load_operator_rows

ROOT = Path(__file__).parents[2]
SOC = "snapdragon-8-gen-3"
HEADER = "soc,processor,data_type,products,square_inputs,latency,unit,source,split\n"
PRODUCTS = ("64x2048x2048", "64x2048x8192", "64x2048x11008", "32x4096x4096", "32x4096x8192", "32x4096x11008")


def write_rows(path: Path, latencies_ms: list[float], processor: str = "cpu", soc: str = "mine") -> Path:
    rows = [
        f"{soc},{processor},int8,{shape},false,{latency},ms,my own,calibration\n"
        for shape, latency in zip(PRODUCTS, latencies_ms, strict=False)
    ]
    path.write_text(HEADER + "".join(rows))
    return path


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A made-up phone whose CPU takes half the time of the Redmi K70 Pro's."""
    return write_rows(tmp_path / "mine.csv", [2.1, 3.4, 5.8, 3.75, 6.55, 9.8])


@pytest.fixture
def _small_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit the products of one processor only, which takes a moment."""

    def small(socs: list[str], operators: object, runs: object, progress: Callable[[str], None]) -> Calibration:
        assert socs == list_socs()
        rows = [row for row in load_operator_rows() if (row.processor, row.data_type) == ("cpu", "int8")]
        return calibrate(socs, rows, [], progress)

    monkeypatch.setattr(socsim.calibration, "calibrate", small)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped files, which may be changed."""
    for folder in ("hardware_models", "traces"):
        shutil.copytree(ROOT / folder, tmp_path / "checkout" / folder)
    monkeypatch.setattr("socsim.catalog._data_root", lambda: tmp_path / "checkout")
    return tmp_path / "checkout" / "hardware_models"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_phone_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path, measured: Path) -> None:
    new, plot = tmp_path / "mine.toml", tmp_path / "fit.svg"
    outcome = call_well(capsys, "calibrate", SOC, "--measurements", str(measured), "-o", str(new), "--plot", str(plot))
    assert [line.partition(": wrote: ")[2] for line in outcome.err.splitlines()] == [str(new), str(plot)]
    assert "<svg" in plot.read_text()
    mine, template = load_soc(new), load_soc(SOC)
    assert mine.processors["npu"] == template.processors["npu"]
    assert mine.processors["cpu"].isolated_call_s < template.processors["cpu"].isolated_call_s
    table: Any = tomllib.loads(new.read_text())["processors"]["cpu"]
    assert table["isolated_call_s"]["source"] == "fitted to mine.csv"
    assert "mean absolute error" in outcome.out
    assert "64x2048x2048" in outcome.out
    assert call_well(capsys, "run", "--soc", str(new), "--model", "smollm2-135m", "--prompt-tokens", "64", "--json").json["soc"] == "mine"


def test_json_holds_what_the_file_holds(capsys: pytest.CaptureFixture[str], tmp_path: Path, measured: Path) -> None:
    new = tmp_path / "mine.toml"
    options = ("calibrate", SOC, "--measurements", str(measured), "-o", str(new))
    result = call_well(capsys, *options, "--json").json
    (fit,) = result["fits"]
    assert (result["problems"], result["files"], fit["converged"]) == ([], [str(new)], True)
    assert [row["products"] for row in fit["rows"]] == list(PRODUCTS)
    assert fit["rows"][0]["measured"] == pytest.approx(2.1e-3)
    errors = [abs(row["fitted"] / row["measured"] - 1) * 100 for row in fit["rows"]]
    assert [abs(row["error_percent"]) for row in fit["rows"]] == pytest.approx(errors)
    assert fit["mean_absolute_error_percent"] == pytest.approx(sum(errors) / len(errors))
    cpu = load_soc(new).processors["cpu"]
    values = {figure["path"].rpartition(".")[2]: figure["value"] for figure in fit["figures"]}
    assert values["isolated_call_s"] == cpu.isolated_call_s
    paths = {target["path"] for target in result["unseen"]}
    assert "processors.npu.throughput.int8.overhead_s" in paths
    assert paths.isdisjoint(figure["path"] for figure in fit["figures"])
    short = call_well(capsys, *options, "--json", "--no-rows").json
    assert "rows" not in short["fits"][0]
    assert PRODUCTS[0] not in call_well(capsys, *options, "--no-rows").out


def test_table_shows_units_and_fits_a_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = call_well(capsys, "calibrate", SOC, "--measurements", str(measured), "-o", str(tmp_path / "mine.toml")).out
    assert max(map(len, out.splitlines())) <= 80
    for words in ("2.1 ms", "Gops/s", "GB/s", "no row shows these figures"):
        assert words in out


def test_rows_of_several_files(capsys: pytest.CaptureFixture[str], tmp_path: Path, measured: Path) -> None:
    """Several files after one option, as well as the option several times."""
    npu = write_rows(tmp_path / "npu.csv", [0.9, 1.5, 2.0, 1.7, 2.9, 4.1], "npu")
    new = tmp_path / "mine.toml"
    first = call_well(capsys, "calibrate", SOC, "--measurements", str(measured), str(npu), "-o", str(new), "--json")
    again = call_well(capsys, "calibrate", "-o", str(new), "--measurements", str(measured), "--measurements", str(npu), SOC, "--json")
    assert [fit["name"] for fit in first.json["fits"]] == [f"{SOC} npu int8", f"{SOC} cpu int8"]
    assert first.json == again.json
    assert again.err == f"socsim: unchanged: {new}\n"


def test_what_rows_leave_open_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    npu = write_rows(tmp_path / "npu.csv", [0.9, 1.5, 2.0, 1.7, 2.9, 4.1], "npu")
    outcome = call_well(capsys, "calibrate", SOC, "--measurements", str(npu), "-o", str(tmp_path / "mine.toml"))
    flat = " ".join(outcome.out.split())
    assert "note: the rows hardly" in flat
    # Rows of single products cannot show what exceeds the on-chip memory between products.
    (line,) = (line for line in outcome.out.splitlines() if "processors.npu.spill_bytes_per_s" in line and "GB/s" in line)
    assert "no row shows it" in line
    assert load_soc(tmp_path / "mine.toml").processors["npu"].spill_bytes_per_s == load_soc(SOC).processors["npu"].spill_bytes_per_s


def test_a_fit_at_a_bound_writes_nothing_unless_allowed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    absurd, new, plot = write_rows(tmp_path / "mine.csv", [1e-7] * 6), tmp_path / "mine.toml", tmp_path / "a.svg"
    options = ("calibrate", SOC, "--measurements", str(absurd), "-o", str(new), "--plot", str(plot))
    outcome = call(capsys, *options)
    assert outcome.code == 1
    assert "at a bound" in outcome.out
    warning, *_, error = outcome.err.splitlines()
    assert warning.startswith(f"socsim: warning: {SOC} cpu int8: ")
    assert warning.endswith("ended at a bound of its search")
    assert error.startswith("socsim: error: nothing is written")
    assert (new.exists(), plot.exists()) == (False, False)
    refused = call(capsys, *options, "--json")
    assert (refused.code, refused.json["files"]) == (1, [])
    assert refused.json["problems"]
    allowed = call_well(capsys, *options, "--allow-bounds")
    assert warning in allowed.err
    assert (new.exists(), plot.exists()) == (True, True)


@pytest.mark.usefixtures("_small_fit")
def test_repeating_it_leaves_shipped_files_as_they_are(capsys: pytest.CaptureFixture[str], shipped: Path) -> None:
    before = contents(shipped)
    outcome = call_well(capsys, "calibrate")
    first = contents(shipped)
    # The small fit takes in nothing but the CPU's products; the ensemble holds just these.
    assert {name for name in first if first[name] != before[name]} == {"ensemble.csv"}
    assert f"wrote: {shipped / 'ensemble.csv'}" in outcome.err
    assert f"fitting: {SOC} cpu int8" in outcome.err
    again = call_well(capsys, "calibrate")
    assert contents(shipped) == first
    assert "wrote" not in again.err
    changed = shipped / f"soc_{SOC}.toml"
    value = f"isolated_call_s = {{ value = {load_soc(SOC).processors['cpu'].isolated_call_s:.4g}"
    text = changed.read_text()
    assert value in text
    changed.write_text(text.replace(value, "isolated_call_s = { value = 0.7"))
    call_well(capsys, "calibrate", SOC)
    assert contents(shipped) == first


@pytest.mark.usefixtures("_small_fit")
def test_copies_in_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = contents(ROOT / "hardware_models")
    result = call_well(capsys, "calibrate", "-o", str(tmp_path), "--json").json
    assert result["files"] == [str(tmp_path / f"soc_{SOC}.toml"), str(tmp_path / "ensemble.csv")]
    assert contents(ROOT / "hardware_models") == before
    assert (tmp_path / f"soc_{SOC}.toml").read_bytes() == before[f"soc_{SOC}.toml"]
    call_well(capsys, "calibrate", SOC, "-o", str(tmp_path / "one.toml"))
    assert (tmp_path / "one.toml").read_bytes() == before[f"soc_{SOC}.toml"]


@pytest.mark.usefixtures("_small_fit")
def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    err = call_well(capsys, "calibrate", "-o", str(tmp_path)).err
    assert "fitting: " not in err
    assert "━" in err
    assert f"{SOC} cpu int8" in err


def test_files_of_an_installed_package_stay_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shipped: Path
) -> None:
    monkeypatch.setattr(socsim, "__file__", str(shipped.parent / "__init__.py"))
    outcome = call(capsys, "calibrate")
    assert (outcome.code, outcome.out) == (2, "")
    assert "belong to an installed package" in outcome.err
    assert "--output FOLDER" in outcome.err
    assert "--output FILE" in call(capsys, "calibrate", SOC).err


def test_files_without_permission(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # who runs the tests may be allowed everything
    assert "permission denied; give --output FOLDER" in call(capsys, "calibrate").err
    assert "permission denied" in call(capsys, "calibrate", "-o", str(tmp_path)).err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mine,cpu,int8,64x2048x2048,false,4.2,parsec,my own,calibration", ["bad.csv:2: field 'unit'", "'parsec'", "ms"]),
        ("mine,cpu,int8,64x2048x2048,false,-4.2,ms,my own,calibration", ["bad.csv:2: field 'latency'", "above 0", "'-4.2'"]),
        ("mine,cpu,int8,64x2048x2048,false,fast,ms,my own,calibration", ["bad.csv:2: field 'latency'", "a number", "'fast'"]),
        ("mine,cpu,int8,64x2048,false,4.2,ms,my own,calibration", ["bad.csv:2: field 'products'", "ROWSxINNERxCOLUMNS"]),
        ("mine,cpu,int8,64x2048x2048,false,4.2,ms,my own", ["bad.csv:2: has 8 cells; should have 9"]),
        ("mine,cpu,int8,64x2048x2048,false,4.2,ms,my own,calibration", ["cpu int8: 1 measured rows are too few for 3 parameters"]),
        ("mine,cpu,int8,64x2048x2048,false,4.2,ms,my own,validation", ["bad.csv:2: no row of the phone has split 'calibration'"]),
        (
            "\n".join(f"{name},cpu,int8,64x2048x2048,false,4.2,ms,my own,calibration" for name in ("other", "third")),
            ["bad.csv: no row has soc 'mine'", "there are: other, third"],
        ),
        ("mine,gpu,int8,64x2048x2048,false,4.2,ms,my own,calibration", ["bad.csv:2: ", "no figures marked as fitted for int8", "gpu"]),
    ],
)
def test_files_that_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, words: list[str]) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"{HEADER}{line}\n")
    refused(capsys, ["calibrate", SOC, "--measurements", str(path), "-o", str(tmp_path / "mine.toml")], *words)
    assert not (tmp_path / "mine.toml").exists()


def test_a_file_with_wrong_columns(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(HEADER.replace("latency", "latencies") + "a,b\n")
    options = ["calibrate", SOC, "--measurements", str(path), "-o", str(tmp_path / "mine.toml")]
    refused(capsys, options, "bad.csv:1: unknown column 'latencies'", "did you mean 'latency'")


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    outcome = call(capsys, *arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
    assert outcome.err.startswith("socsim: error: ")
    for word in words:
        assert word in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["calibrate", "snapdragon-8-gen3"], ["unknown SoC 'snapdragon-8-gen3'", "did you mean 'snapdragon-8-gen-3'"]),
        (["calibrate", "toy-phone"], ["toy-phone has no figures of its own", f"some in: snapdragon-8-gen-2, {SOC}"]),
        (["calibrate", "-o", "none"], ["--output 'none': no such folder"]),
        (["calibrate", SOC, "-o", "none/a.toml"], ["--output 'none/a.toml': no such folder 'none'"]),
        (["calibrate", SOC, "-o", "."], ["--output '.': is a folder"]),
        (["calibrate", "--plot", "a.gif"], ["unknown suffix '.gif'"]),
        (["calibrate", "--measurements", "mine.csv"], ["--measurements: needs SOC"]),
        (["calibrate", SOC, "--measurements", "mine.csv"], ["--measurements: needs --output FILE"]),
        (["calibrate", SOC, "--measurements", "none.csv", "-o", "a.toml"], ["none.csv: cannot be read: No such file"]),
        (["calibrate", SOC, "--measurements", "mine.csv", "-o", "mine.csv"], ["--output 'mine.csv': is a file of --measurements"]),
        (["calibrate", "snapdragon", "--measurements", "mine.csv", "-o", "mine.toml"], ["unknown SoC 'snapdragon'"]),
        (["calibrate", SOC, "toy-phone"], ["toy-phone"]),
    ],
)
@pytest.mark.usefixtures("measured")
def test_arguments(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socsim.calibration, "calibrate", lambda *_: pytest.fail("fitted before the arguments were checked"))
    refused(capsys, arguments, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


def test_engines_are_written_with_socs(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the full fit finds for engines goes to their files: here one engine, with the value that it has."""
    from socsim.calibration.targets import Findings, fitted_targets
    from socsim.catalog import load_engine

    name = next(name for name in list_engines() if fitted_targets("engine", name))
    targets = fitted_targets("engine", name)
    findings = Findings()
    values = [load_engine(name).model_dump() for _ in targets]
    for place, target in enumerate(targets):
        for part in target.path.split("."):
            values[place] = values[place][part]
    findings.set(targets, values)  # type: ignore[arg-type]
    monkeypatch.setattr(socsim.calibration, "calibrate", lambda *_: Calibration(findings))
    assert call_well(capsys, "calibrate", "-o", str(tmp_path), "--json").json["fits"] == []
    assert (tmp_path / f"engine_{name}.toml").read_bytes() == (ROOT / "hardware_models" / f"engine_{name}.toml").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--measurements a.csv b.CSV soc", "--measurements a.csv --measurements b.CSV soc"),
        ("--measurements=a.csv b.csv -o c.csv d.csv", "--measurements=a.csv --measurements b.csv -o c.csv d.csv"),
        ("a.csv --measurements b", "a.csv --measurements b"),
        ("--measurements", "--measurements"),
    ],
)
def test_files_after_one_option(arguments: str, expected: str) -> None:
    assert repeat_measurements(arguments.split()) == expected.split()
