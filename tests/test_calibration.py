"""Calibrations from end to end: figures of a made-up phone come back from what the simulator says of it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from socsim.calibration import Calibration, calibrate, calibrate_own
from socsim.calibration.calibrate import _values, fit_group
from socsim.calibration.fit import Parameter, fit
from socsim.calibration.groups import Group, operator_groups, power_groups
from socsim.calibration.own import own_rows
from socsim.calibration.targets import Findings, Target, fitted_targets
from socsim.catalog import description_path, load_soc
from socsim.errors import SocsimError
from socsim.measurements import OperatorRow, SystemRow, parse_products
from socsim.prediction import predict_latency, predict_value
from socsim.specs import SoC

FITTED = {
    "processors.npu.throughput.int8.peak_ops_per_s": 4.321e12,
    "processors.npu.throughput.int8.overhead_s": 3.456e-4,
    "processors.npu.throughput.int8.weight_bytes_per_s": 6.543e9,
    "processors.npu.isolated_call_s": 2.222e-3,
    "processors.cpu.row_bytes_per_s": 5.555e9,
}
SHAPES = (
    "2048x2048x2048",
    "512x4096x4096",
    "1x64x64",
    "64x64x64",
    "64x2048x2048",
    "256x2048x2048",
    "1024x2048x2048",
    "64x2048x8192",
    "256x64x64+256x64x64",
)


def truth(path: Path) -> SoC:
    return load_soc(path).override(FITTED, "truth")


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """Return the file of a phone, some of whose figures are fitted; their values in the file are placeholders."""
    text = description_path("soc", "toy-phone").read_text(encoding="utf-8")
    peak, *npu, row = [f'{path} = {{ value = {2 * value}, kind = "fitted", source = "test" }}\n' for path, value in FITTED.items()]
    text = text.replace("throughput.int8.peak_ops_per_s = 1e12\n", peak.removeprefix("processors.npu."))
    more = "".join(line.removeprefix("processors.npu.") for line in npu)
    text = text.replace("[processors.npu.graph_life_cycle]", f"{more}[processors.npu.graph_life_cycle]")
    text = text.replace("[processors.cpu]\n", f"[processors.cpu]\n{row.removeprefix('processors.cpu.')}")
    text = text.replace("base_w = 1.0", 'base_w = { value = 1.0, kind = "fitted", source = "test" }')
    text = re.sub(r"(bandwidth|peak|achievable)_bytes_per_s = .*", r"\1_bytes_per_s = 1e11", text)  # which hides no rate
    path = tmp_path / "soc_mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def operator_row(soc: str | Path, products: str, latency_s: float = 1.0, split: str = "calibration") -> OperatorRow:
    where = f"mine.csv:{products}"
    return OperatorRow(where, str(soc), "npu", "int8", None, None, parse_products(products), True, latency_s, "test", split)


def operator_rows(path: Path) -> list[OperatorRow]:
    rows = [operator_row(path, shape) for shape in SHAPES]
    return [row._replace(latency_s=predict_latency(row, truth(path))) for row in rows]


def run_row(path: Path | str, metric: str, prompt_tokens: int, value: float = 1.0) -> SystemRow:
    overrides = {"run.power_calibration": "whole-device"} if metric == "prefill_energy_j" else {}
    return SystemRow("mine.csv:9", str(path), "smollm2-135m", "llm-npu", prompt_tokens, 2, overrides, metric, value, "test", "calibration")


def run_rows(path: Path, *metrics: str) -> list[SystemRow]:
    """Return what the simulator says of runs on the true phone, of which the base draws 2.5 W."""
    soc = truth(path).override({"power.whole-device.base_w": 2.5}, "truth")
    rows = [run_row(path, metric, tokens) for metric in metrics for tokens in (32, 64)]
    return [row._replace(value=predict_value(row, soc)) for row in rows]


def test_figures_of_micro_benchmarks_come_back(phone: Path) -> None:
    found = calibrate([str(phone)], operator_rows(phone), [])
    values = found.findings.values["soc", str(phone)]
    shown = {path: value for path, value in FITTED.items() if "npu" in path}
    assert values == shown
    assert found.problems == []
    assert [target.path for target in found.undetermined] == ["processors.cpu.row_bytes_per_s", "power.whole-device.base_w"]


def test_rows_for_validation_change_nothing(phone: Path) -> None:
    rows = operator_rows(phone)
    absurd = [operator_row(phone, "128x512x512", 1e6, "validation"), *(row._replace(latency_s=1e9, split="validation") for row in rows)]
    runs = [run_row(phone, "prefill_tokens_per_s", 64)._replace(split="validation")]
    with_absurd, without = calibrate([str(phone)], [*absurd, *rows], runs), calibrate([str(phone)], rows, [])
    assert with_absurd.findings.values == without.findings.values
    assert [group.rows for group, _ in with_absurd.fits] == [group.rows for group, _ in without.fits]


def test_one_wild_micro_benchmark_hardly_moves_the_rest(phone: Path) -> None:
    rows = operator_rows(phone)
    rows[4] = rows[4]._replace(latency_s=10 * rows[4].latency_s)
    found = calibrate([str(phone)], [*rows, *operator_rows(phone)], []).findings.values["soc", str(phone)]
    assert np.log([found[path] / value for path, value in FITTED.items() if path in found]) == pytest.approx(0.0, abs=0.1)


def test_too_few_rows_are_an_error_that_names_the_figures(phone: Path) -> None:
    with pytest.raises(SocsimError, match=r"mine.toml npu int8: 2 measured rows are too few for 4 parameters \(.*overhead_s.*\)"):
        calibrate([str(phone)], operator_rows(phone)[:2], [])


def test_figures_that_no_row_shows_stay_as_they_are(phone: Path) -> None:
    """Of products of one row where that has a rate of its own, neither weights nor peak can be seen."""
    path = phone.with_name("soc_row.toml")
    path.write_text(phone.read_text().replace("[processors.npu]\n", "[processors.npu]\nrow_bytes_per_s = 1e9\n"), encoding="utf-8")
    rows = [operator_row(path, f"1x64x{size}") for size in (64, 6400, 64000, 640000)]
    rows = [row._replace(latency_s=predict_latency(row, truth(path))) for row in rows]
    found = calibrate([str(path)], rows, [])
    assert set(found.findings.values["soc", str(path)]) == {path for path in FITTED if "overhead" in path or "isolated" in path}
    assert {target.field for target in found.undetermined} == {"peak_ops_per_s", "weight_bytes_per_s", "row_bytes_per_s", "base_w"}
    values = found.findings.values["soc", str(path)]
    # The fixed times of a product and of a call appear only as their sum.
    assert sum(values.values()) == pytest.approx(3.456e-4 + 2.222e-3, rel=1e-3)
    ((_, one_fit),) = found.fits
    assert any(list(direction) == [f"{path}: processors.npu.throughput.int8.overhead_s"] for direction in one_fit.undetermined())


def test_groups_are_fitted_in_order_and_those_of_runs_again(phone: Path) -> None:
    called: list[str] = []
    rows = run_rows(phone, "decode_s")[:1] + run_rows(phone, "prefill_energy_j")
    found = calibrate([str(phone)], operator_rows(phone), rows, called.append, sweeps=2)
    assert called == [f"{phone} npu int8", f"{phone} llm-npu", f"{phone} llm-npu", f"{phone} power whole-device"]
    assert [group.name for group, _ in found.fits] == list(dict.fromkeys(called))
    assert found.undetermined == []
    values = found.findings.values["soc", str(phone)]
    # A prior pulls at each, away from what few rows say.
    assert values["processors.cpu.row_bytes_per_s"] == pytest.approx(5.555e9, rel=0.03)
    assert values["power.whole-device.base_w"] == pytest.approx(2.5, rel=0.03)


def test_power_is_fitted_to_what_the_simulator_says(phone: Path) -> None:
    """Each run is simulated once for all trials; the result is that of simulating it with the figures that were found."""
    (group,) = power_groups([str(phone)], run_rows(phone, "prefill_energy_j"))
    findings = Findings()
    found = fit_group(group, findings)
    findings.set(group.targets, found.values)
    assert found.predicted.tolist() == [predict_value(row, findings.soc(str(phone))) for row in group.rows if isinstance(row, SystemRow)]


def test_later_groups_use_what_earlier_ones_found(phone: Path) -> None:
    (group,) = operator_groups([str(phone)], operator_rows(phone))
    findings = Findings()
    findings.set([Target("soc", str(phone), "processors.npu.launch_overhead_s")], np.array([2e-3]))
    isolated = fit_group(group, findings).values[[target.field for target in group.targets].index("isolated_call_s")]
    assert isolated == pytest.approx(2.222e-3 - 1e-3, rel=1e-3)  # the launch takes 1 ms more than in the rows


def test_problems_name_group_and_figure() -> None:
    parameter = Parameter("soc: rate", 1.0, 0.5, 2.0)
    rows = (operator_row("x", "1x2x3"), operator_row("x", "4x5x6"))
    at_bound = fit((parameter,), [9.0, 9.0], lambda values: [float(values[0])] * 2, "x")
    sound = fit((parameter,), [1.5, 1.5], lambda values: [float(values[0])] * 2, "x")
    assert Calibration(Findings(), [(Group("first", (), rows), at_bound), (Group("second", (), rows), sound)]).problems == [
        "first: soc: rate ended at a bound of its search"
    ]
    unsound = dataclasses.replace(sound, converged=False)
    assert Calibration(Findings(), [(Group("second", (), rows), unsound)]).problems == ["second: the fit did not converge"]
    milliseconds = dataclasses.replace(sound, measured=np.array([1.5, 1500.0]))
    assert Calibration(Findings(), [(Group("second", (), rows), milliseconds)]).problems == [
        "mine.csv:4x5x6: measured 1000 times as much as fitted; a wrong unit?"
    ]


HEADER = "soc,processor,data_type,products,square_inputs,latency,unit,source,split\n"


def csv_of(path: Path, rows: list[OperatorRow], name: str, split: str = "calibration") -> Path:
    lines = [f"{name},npu,int8,{row.where.partition(':')[2]},true,{row.latency_s!r},s,test,{split}\n" for row in rows]
    path.write_text(HEADER + "".join(lines), encoding="utf-8")
    return path


def test_runs_are_simulated_again_only_when_a_figure_of_theirs_differs(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = []

    def predict(row: SystemRow, soc: SoC, engine: object) -> float:
        simulated.append(row.soc)
        return soc.processors["cpu"].row_bytes_per_s or 0.0

    monkeypatch.setitem(_values.__globals__, "predict_value", predict)
    values = _values([run_row(phone, "decode_s", 32), run_row("toy-phone", "decode_s", 32)])
    target = Target("soc", str(phone), "processors.cpu.row_bytes_per_s")
    findings = Findings()
    findings.set([target], np.array([1e9]))
    first = values(findings)
    assert first[0] == 1e9
    assert values(findings) == first
    assert simulated == [str(phone), "toy-phone"]
    assert values(findings.with_trial([target], np.array([2e9]))) == [2e9, first[1]]
    assert simulated == [str(phone), "toy-phone", str(phone)]


def test_own_phone_takes_all_else_from_another(phone: Path, tmp_path: Path) -> None:
    file = csv_of(tmp_path / "mine.csv", operator_rows(phone), "my-phone")
    found = calibrate_own(str(phone), [file], ["my-phone"])
    assert found.findings.values == {("soc", str(phone)): {path: value for path, value in FITTED.items() if "npu" in path}}


def test_own_rows_for_validation_are_no_error(phone: Path, tmp_path: Path) -> None:
    rows = operator_rows(phone)
    fitted = csv_of(tmp_path / "mine.csv", rows, "my-phone")
    checked = csv_of(tmp_path / "check.csv", [row._replace(latency_s=9.0) for row in rows], "my-phone", "validation")
    alone, both = (calibrate_own(str(phone), files, ["my-phone"]) for files in ([fitted], [fitted, checked]))
    assert alone.findings.values == both.findings.values
    with pytest.raises(SocsimError, match=r"check.csv:2: no row of the phone has split 'calibration'"):
        calibrate_own(str(phone), [checked], ["my-phone"])


def test_own_rows_of_another_phone_are_left_out(phone: Path, tmp_path: Path) -> None:
    mine, other = (csv_of(tmp_path / f"{name}.csv", operator_rows(phone)[:5], name) for name in ("mine", "other"))
    with pytest.warns(UserWarning, match=r"other.csv:\d+: soc 'other' is left out: rows of mine or a path are fitted"):
        rows = own_rows([mine, other], "toy-phone", ["mine", "a path"])
    assert [row.soc for row in rows] == ["toy-phone"] * 5
    assert {row.where.partition(":")[0] for row in rows} == {str(mine)}
    with pytest.raises(
        SocsimError, match=r"mine.csv, .*other.csv: no row has soc 'mime' \(did you mean 'mine'\?\); there are: mine, other"
    ):
        own_rows([mine, other], "toy-phone", ["mime"])


def test_rows_of_a_single_phone_are_taken_whatever_it_is_called(phone: Path, tmp_path: Path) -> None:
    file = csv_of(tmp_path / "mine.csv", operator_rows(phone), "anything")
    assert len(own_rows([file], "toy-phone", ["my-phone"])) == len(operator_rows(phone))


def test_own_products_without_fitted_figures_are_an_error(phone: Path, tmp_path: Path) -> None:
    file = csv_of(tmp_path / "mine.csv", operator_rows(phone), "mine")
    file.write_text(file.read_text() + "mine,gpu,fp16,64x64x64,true,1,ms,test,calibration\n", encoding="utf-8")
    message = r"mine.csv:11: .*mine.toml has no figures marked as fitted for fp16 products on the gpu; .*: processors.npu.throughput.int8"
    with pytest.raises(SocsimError, match=message):
        calibrate_own(str(phone), [file], ["mine"])
    with pytest.raises(SocsimError, match="it has them in: no table"):
        calibrate_own("toy-phone", [file], ["mine"])


def test_worked_example_is_calibrated_soundly() -> None:
    example = Path(__file__).parent.parent / "docs" / "my-phone.csv"
    names = {row.split(",")[0] for row in example.read_text().splitlines() if row[:1].isalpha()} - {"soc"}
    found = calibrate_own("snapdragon-8-gen-3", [example], sorted(names))
    assert found.problems == []
    assert set(found.findings.values["soc", "snapdragon-8-gen-3"]) <= {t.path for t in fitted_targets("soc", "snapdragon-8-gen-3")}
    assert all(result.mean_absolute_error < 0.15 for _, result in found.fits)
