"""Files after a calibration: new figures with four significant digits, everything else byte for byte as it was."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from socsim.calibration.calibrate import Calibration
from socsim.calibration.ensemble import ensemble_text
from socsim.calibration.files import calibrated_text, inheriting_text, set_figures, toml_number, toml_value
from socsim.calibration.fit import Fit, fit
from socsim.calibration.groups import Group
from socsim.calibration.targets import Findings, Range, Target, fitted_targets, parameters, written
from socsim.catalog import description_path, figures, list_engines, list_socs, load_engine, load_soc
from socsim.measurements import SystemRow

Kind = Literal["soc", "engine"]

TEXT = """\
# A phone, "quoted" and 'quoted'.
source = "top"   # kept
kind   =  "assumed"

[processors.npu]
tile = { value = 32, kind = "measured", source = "steps # of 32" }  # inline
rate = {value=1e9,kind="fitted",source="a table"}
nested.deep.rate = 7e9
plain    = 1.5   # comment

[power]
active_w = [ 1.0, 2.0,  # one thread, two
  3.0 ]
listed = { value = [1.0, 2.0], kind = "fitted", source = "a list" }
"""


def test_only_the_figure_changes() -> None:
    assert set_figures(TEXT, {"processors.npu.plain": 2.71828}) == TEXT.replace("1.5", "2.718")
    assert set_figures(TEXT, {"processors.npu.rate": 34e12}) == TEXT.replace("value=1e9", "value=3.4e13")
    assert set_figures(TEXT, {"processors.npu.nested.deep.rate": 1.0}) == TEXT.replace("7e9", "1.0")
    listed = TEXT.replace("value = [1.0, 2.0]", "value = [0.3333, 1e-5]")
    assert set_figures(TEXT, {"power.listed": [1 / 3, 1e-5]}) == listed


def test_list_of_several_lines_becomes_one_line() -> None:
    changed = set_figures(TEXT, {"power.active_w": [0.5, 1.0]})
    assert changed == re.sub(r"active_w = \[[^]]*\]", "active_w = [0.5, 1.0]", TEXT)


def test_nothing_to_set_changes_nothing() -> None:
    assert set_figures(TEXT, {}) == TEXT


def test_own_phone_inherits_all_but_what_was_found(tmp_path: Path) -> None:
    findings, template = Findings(), "snapdragon-8-gen-3"
    found = {"processors.npu.throughput.int8.overhead_s": 0.000123456, "power.battery-rail.processors.cpu.active_w": 2.0}
    findings.set([Target("soc", template, path) for path in found], np.array(list(found.values())))
    path = tmp_path / "mine.toml"
    path.write_text(inheriting_text(template, findings, 'fitted to "my" file'), encoding="utf-8")
    mine, base = load_soc(path), load_soc(template)
    assert mine.processors["npu"].rates("int8").overhead_s == 0.0001235
    assert mine.power["battery-rail"].processors["cpu"].active_w == tuple(written(base, "power.battery-rail.processors.cpu.active_w", 2.0))
    assert mine.dram == base.dram
    own = {figure.path: (figure.kind, figure.source) for figure in figures("soc", str(path)) if figure.path in found}
    assert own == dict.fromkeys(found, ("fitted", 'fitted to "my" file'))


def test_own_phone_inherits_from_a_file_by_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(description_path("soc", "toy-phone"), tmp_path / "base.toml")
    (tmp_path / "mine.toml").write_text(inheriting_text("base.toml", Findings(), "nothing"), encoding="utf-8")
    monkeypatch.chdir("/")
    assert load_soc(tmp_path / "mine.toml").processors == load_soc(tmp_path / "base.toml").processors


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_numbers_are_toml_floats_of_four_significant_digits(value: float) -> None:
    text = toml_number(value)
    read = tomllib.loads(f"x = {text}")["x"]
    assert isinstance(read, float)
    assert read == float(f"{value:.4g}")
    assert read == pytest.approx(value, rel=5.001e-4)
    assert toml_number(read) == text


@pytest.mark.parametrize(
    ("value", "text"), [(34e12, "3.4e13"), (0.00026123, "0.0002612"), (1e-5, "1e-5"), (0.0, "0.0"), (12.0, "12.0"), (99995, "1e5")]
)
def test_numbers_by_hand(value: float, text: str) -> None:
    assert toml_number(value) == text
    assert toml_value([value, 1.0]).as_string() == f"[{text}, 1.0]"


def shipped(kind: Kind, name: str) -> dict[str, float]:
    """Return the fitted figures of a file; of a list by threads the one at the reference threads."""
    spec = load_soc(name) if kind == "soc" else load_engine(name)
    values: dict[str, float] = {}
    for target in fitted_targets(kind, name):
        node: Any = spec.model_dump()
        for part in target.path.split("."):
            node = node[part]
        listed = isinstance(node, tuple)
        threads = load_soc(name).processors[target.path.split(".")[-2]].reference_threads if listed else 0  # type: ignore[index]
        values[target.path] = node[threads - 1] if listed else node
    return values


def findings_of_files() -> Findings:
    findings = Findings()
    names: dict[Kind, list[str]] = {"soc": list_socs(), "engine": list_engines()}
    for kind, listed in names.items():
        for name in listed:
            values = shipped(kind, name)
            findings.set([Target(kind, name, path) for path in values], np.array(list(values.values())))
    return findings


def test_what_files_hold_already_changes_no_byte() -> None:
    findings = findings_of_files()
    assert len(findings.values) >= 7
    for kind, name in findings.values:
        place: Kind = "soc" if kind == "soc" else "engine"
        assert calibrated_text(place, name, findings) == description_path(kind, name).read_text(encoding="utf-8")


def test_findings_are_what_their_file_says_when_it_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "soc_mine.toml"
    shutil.copy(description_path("soc", "snapdragon-8-gen-3"), path)
    findings = Findings()
    fields = ("processors.cpu.row_bytes_per_s", "power.battery-rail.processors.cpu.active_w", "processors.npu.throughput.int8.overhead_s")
    findings.set([Target("soc", str(path), field) for field in fields], np.array([1.23456e10, 2.0, 3e-4]))
    expected = findings.soc(str(path)).processors["cpu"].row_bytes_per_s
    path.write_text(calibrated_text("soc", str(path), findings), encoding="utf-8")
    written = load_soc(path)
    assert (expected, written.processors["cpu"].row_bytes_per_s) == (1.23456e10, 1.235e10)
    assert written.power == findings.soc(str(path)).power
    changed = [new for old, new in zip(_lines("snapdragon-8-gen-3"), path.read_text().splitlines(), strict=True) if old != new]
    assert len(changed) == 3


def _lines(name: str) -> list[str]:
    return description_path("soc", name).read_text(encoding="utf-8").splitlines()


def run_row(metric: str, value: float) -> SystemRow:
    return SystemRow("x.csv:2", "toy-phone", "smollm2-135m", "llm-npu", 64, 1, {}, metric, value, "test", "calibration")


def constant(group: Group, initial: Range, measured: list[float]) -> Fit:
    """Fit rows that all are the one figure of a group."""
    known = parameters(group.targets, {group.targets[0].field: initial})
    return fit(known, measured, lambda values: [float(values[0])] * len(measured), group.name)


def toy_calibration() -> Calibration:
    """Return a calibration of two figures to made-up rows: speeds scatter, energies are exact."""
    speed, power = (Target("soc", "toy-phone", path) for path in ("processors.cpu.speed", "power.whole-device.processors.cpu.active_w"))
    groups = [
        Group("speed", (speed,), tuple(run_row("prefill_tokens_per_s", 10.0) for _ in range(8))),
        Group("power", (power,), tuple(run_row("prefill_energy_j", 4.0) for _ in range(2))),
    ]
    measured = [0.8, 0.9, 1.0, 1.1, 1.2, 0.95, 1.05, 1.15], [4.0, 4.0]
    fits = [(group, constant(group, Range(1.0, 0.1, 10.0), rows)) for group, rows in zip(groups, measured, strict=True)]
    calibration = Calibration(Findings(), fits)
    for group, found in fits:
        calibration.findings.set(group.targets, found.values)
    return calibration


def test_ensemble_has_every_figure_of_every_member_and_the_error_of_runs() -> None:
    lines = ensemble_text(toy_calibration(), members=3).splitlines()
    assert lines[0] == "member,kind,name,path,value"
    places = [line.split(",", 4)[:4] for line in lines[1:]]
    of_one = [
        ["error", "latency", ""],
        ["error", "energy", ""],
        ["soc", "toy-phone", "processors.cpu.speed"],
        ["soc", "toy-phone", "power.whole-device.processors.cpu.active_w"],
    ]
    assert places == [[str(member), *place] for member in range(3) for place in of_one]
    # Energies are exact: no spread, and a list by threads as in the file.
    assert next(line for line in lines if "active_w" in line).endswith('"[1.0, 2.0, 3.0, 4.0]"')
    assert {line for line in lines if "energy" in line} == {f"{member},error,energy,,1.0" for member in range(3)}


def test_errors_of_latency_are_the_inverse_of_those_of_speed() -> None:
    """A run that is faster than predicted has a latency below the prediction."""
    calibration = toy_calibration()
    factors = {float(line.rpartition(",")[2]) for line in ensemble_text(calibration, members=200).splitlines() if ",latency," in line}
    (_, speeds), _ = calibration.fits
    allowed = speeds.predicted / speeds.measured
    assert factors == {float(f"{factor:.4g}") for factor in allowed}


def test_ensemble_is_decided_by_its_seed() -> None:
    first, again, other = (ensemble_text(toy_calibration(), members=4, seed=seed) for seed in (0, 0, 1))
    assert first == again != other
