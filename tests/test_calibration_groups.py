"""Which rows determine which figures: every fitted figure once, from calibration rows alone, and few of them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import socsim
from socsim.calibration.calibrate import fit_group
from socsim.calibration.files import calibrated_text
from socsim.calibration.groups import GRAPH_METRICS, REFERENCE_ENGINE, Group, graph_groups, operator_groups, power_groups, run_groups
from socsim.calibration.targets import (
    OPERATOR_RANGES,
    POWER_RANGES,
    SYSTEM_RANGES,
    Findings,
    Target,
    fitted_targets,
    parameters,
    written,
)
from socsim.catalog import description_path, list_engines, list_models, list_socs, load_soc
from socsim.errors import SocsimError
from socsim.measurements import OperatorRow, SystemRow, load_operator_rows, load_system_rows

OPERATORS = [row for row in load_operator_rows() if row.split == "calibration"]
RUNS = [row for row in load_system_rows() if row.split == "calibration"]
COST_MODEL = ("roofline", "cost", "operators", "linears", "workload", "layout")
"""Modules that make time and bytes of work; measured outlier statistics are in `socsim.outliers`, by model."""


def all_groups(operators: list[OperatorRow] = OPERATORS, runs: list[SystemRow] = RUNS) -> list[Group]:
    first = [*operator_groups(list_socs(), operators), *graph_groups(list_socs(), runs)]
    return [*first, *run_groups(list_socs(), runs, first), *power_groups(list_socs(), runs)]


def shipped_targets() -> list[Target]:
    socs = [target for name in list_socs() for target in fitted_targets("soc", name)]
    return socs + [target for name in list_engines() for target in fitted_targets("engine", name)]


def group(name: str) -> Group:
    return next(each for each in all_groups() if each.name == name)


def test_every_fitted_figure_is_in_one_group() -> None:
    found = Counter(target for each in all_groups() for target in each.targets)
    assert set(found.values()) == {1}
    assert set(found) == set(shipped_targets())


def test_groups_have_rows_and_rows_are_for_calibration() -> None:
    for each in all_groups():
        assert len(each.rows) >= sum(parameter.prior_sigma is None for parameter in _parameters(each)), each.name
        assert {row.split for row in each.rows} == {"calibration"}


def _parameters(each: Group) -> list[socsim.calibration.Parameter]:
    if isinstance(each.rows[0], OperatorRow):
        return parameters(each.targets, OPERATOR_RANGES)
    return parameters(each.targets, POWER_RANGES if each.rows[0].metric == "prefill_energy_j" else SYSTEM_RANGES)


def test_row_without_a_path_measures_what_the_processor_uses() -> None:
    soc, (row, *_) = "snapdragon-8-gen-3", [each for each in OPERATORS if each.path == "matrix-engine"]
    used = load_soc(soc).processors["npu"].throughput["fp16"]
    (found,) = operator_groups([soc], [row._replace(path=None)])
    assert found.name == f"{soc} npu {used}"


def test_every_row_is_of_what_its_group_fits() -> None:
    for each in all_groups():
        places = {target.path.split(".")[1] for target in each.targets if target.path.startswith("processors.")}
        for row in each.rows:
            if isinstance(row, OperatorRow):
                assert ({row.soc}, {row.processor}) == ({target.name for target in each.targets}, places), each.name
                assert each.name.endswith(row.path or row.data_type)
            elif each.name.startswith("engines on"):
                own, slow = ({target.name for target in each.targets if target.kind == kind} for kind in ("engine", "soc"))
                assert row.engine in own or (row.engine == REFERENCE_ENGINE and row.soc in slow), each.name
            elif each.name.endswith(REFERENCE_ENGINE):
                assert row.engine == REFERENCE_ENGINE
            elif "power" in each.name:
                assert (row.metric, row.overrides["run.power_calibration"]) == ("prefill_energy_j", each.name.rpartition(" ")[2])
            else:
                assert row.metric in GRAPH_METRICS


def test_micro_benchmarks_are_in_one_group_each() -> None:
    used = Counter(row.where for each in all_groups() for row in each.rows if isinstance(row, OperatorRow))
    assert set(used.values()) == {1}
    assert set(used) == {row.where for row in OPERATORS}


def test_figures_shared_by_data_types_are_fitted_with_the_first() -> None:
    """A call measured alone costs the same whatever it multiplies: two groups would each have a value for it."""
    gpu = [each for each in all_groups() if each.name.startswith("snapdragon-8-gen-3 gpu")]
    assert len(gpu) > 1
    assert sum(target.field == "isolated_call_s" for each in gpu for target in each.targets) == 1


@pytest.mark.parametrize(("name", "most"), [("npu int8", 8), ("cpu int8", 4), ("gpu fp16", 4)])
def test_products_have_few_fitted_figures(name: str, most: int) -> None:
    processor, data_type = name.split()
    targets = group(f"snapdragon-8-gen-3 {name}").targets
    assert 0 < len(targets) <= most
    # Nothing else of the products of that type is fitted elsewhere, such as to whole runs.
    others = {target for each in all_groups() for target in each.targets} - set(targets)
    of_products = ("isolated_call_s", "spill_bytes_per_s", "flat_input_slowdown", "launch_overhead_s", "tile")
    paths = tuple(f"processors.{processor}.{field}" for field in (*of_products, f"throughput.{data_type}"))
    assert not [target for target in others if target.path.startswith(paths)]


@pytest.mark.parametrize("name", list_engines())
def test_engines_have_at_most_two_fitted_figures(name: str) -> None:
    assert len(fitted_targets("engine", name)) <= 2


def test_reference_engine_has_no_fitted_figure() -> None:
    assert fitted_targets("engine", REFERENCE_ENGINE) == []


@pytest.mark.parametrize("module", COST_MODEL)
def test_cost_model_knows_no_model_and_no_engine(module: str) -> None:
    text = (Path(socsim.__file__).parent / f"{module}.py").read_text(encoding="utf-8").lower()
    families = {re.split(r"[-.0-9]", name)[0] for name in list_models()}
    assert {"qwen", "gemma", "phi"} <= families
    code = re.sub(r'"""[\s\S]*?"""|#.*', "", text)  # where an idea comes from may be said in words
    assert not [name for name in (*list_models(), *list_engines(), *list_socs()) if name in text]
    assert not [name for name in families if re.search(rf"\b{name}", code)]


def test_rows_of_other_socs_count_only_where_these_inherit() -> None:
    reference = group(f"snapdragon-8-gen-3 {REFERENCE_ENGINE}")
    assert {row.soc for row in reference.rows if isinstance(row, SystemRow)} == {"snapdragon-8-gen-3", "snapdragon-8-gen-2"}
    assert not [each for each in all_groups() if each.name.startswith(("toy-phone", "snapdragon-8-elite"))]


def test_no_rows_no_groups() -> None:
    assert all_groups([], []) == []


def test_speed_of_a_phone_without_rows_is_not_fitted() -> None:
    rows = [row for row in RUNS if row.soc == "snapdragon-8-gen-3"]
    assert [target for each in all_groups(OPERATORS, rows) for target in each.targets if target.field == "speed"] == []
    assert [target.name for each in all_groups() for target in each.targets if target.field == "speed"] == ["snapdragon-8-gen-2"] * 2


QUICK = [each for each in all_groups() if isinstance(each.rows[0], OperatorRow) or "graph life cycle" in each.name]


@pytest.mark.parametrize("each", QUICK, ids=[each.name for each in QUICK])
def test_shipped_figures_are_what_a_calibration_of_the_shipped_rows_gives(each: Group) -> None:
    found = fit_group(each, Findings())
    assert found.converged
    assert found.at_bounds == ()
    findings = Findings()
    findings.set(each.targets, found.values)
    name = each.targets[0].name
    assert calibrated_text("soc", name, findings) == description_path("soc", name).read_text(encoding="utf-8")


def test_power_of_whole_runs_is_what_a_calibration_of_the_shipped_rows_gives() -> None:
    each = group("snapdragon-8-gen-3 power battery-rail")
    findings = Findings()
    findings.set(each.targets, fit_group(each, findings).values)
    file = description_path("soc", "snapdragon-8-gen-3")
    assert calibrated_text("soc", "snapdragon-8-gen-3", findings) == file.read_text(encoding="utf-8")


def test_figure_that_no_row_could_show_must_not_be_marked_as_fitted() -> None:
    with pytest.raises(SocsimError, match=r"soc x: 'processors.npu.tile' is marked as fitted; figures that can be .*peak_ops_per_s"):
        parameters([Target("soc", "x", "processors.npu.tile")], OPERATOR_RANGES)


def test_search_does_not_start_from_the_file() -> None:
    """Else a calibration of its own result could give another one."""
    for each in all_groups():
        for parameter in _parameters(each):
            ranges = OPERATOR_RANGES | SYSTEM_RANGES | POWER_RANGES
            assert parameter.lower < parameter.initial < parameter.upper
            assert parameter.initial in {ranges[parameter.path.rpartition(".")[2]].initial, OPERATOR_RANGES["peak_ops_per_s"].initial}


def test_findings_of_a_base_hold_for_what_inherits_but_not_over_its_own_figures() -> None:
    findings = Findings()
    base = "snapdragon-8-gen-3"
    paths = ("processors.npu.launch_overhead_s", "processors.cpu.vector_bytes_per_s")
    findings.set([Target("soc", base, path) for path in paths], np.array([1e-3, 7e9]))
    elite = findings.soc("snapdragon-8-elite")
    assert elite.processors["cpu"].vector_bytes_per_s == 7e9
    assert elite.processors["npu"].launch_overhead_s == load_soc("snapdragon-8-elite").processors["npu"].launch_overhead_s == 43e-6
    assert findings.soc(base).processors["npu"].launch_overhead_s == 1e-3


@pytest.mark.parametrize("name", ["snapdragon-8-gen-2", "snapdragon-8-elite"])
def test_what_inherits_gets_the_value_that_the_other_file_will_hold(name: str) -> None:
    """Lists follow the cores of the SoC whose figure it is, as its file does when it is written and read again."""
    base, path = "snapdragon-8-gen-3", "power.battery-rail.processors.cpu.active_w"
    findings = Findings()
    findings.set([Target("soc", base, path)], np.array([2.0]))
    assert findings.soc(name).power["battery-rail"].processors["cpu"].active_w == tuple(written(load_soc(base), path, 2.0))


def test_trial_leaves_findings_alone() -> None:
    findings, target = Findings(), Target("engine", "mnn-cpu", "efficiency.cpu.linear")
    findings.set([target], np.array([2.0]))
    assert findings.with_trial([target], np.array([3.0])).engine("mnn-cpu").efficiency["cpu"].linear == 3.0
    assert findings.engine("mnn-cpu").efficiency["cpu"].linear == 2.0


def test_active_power_is_written_by_threads() -> None:
    soc = load_soc("toy-phone")
    assert written(soc, "power.whole-device.processors.cpu.active_w", 8.0) == [2.0, 4.0, 6.0, 8.0]
    assert written(soc, "power.whole-device.processors.gpu.active_w", 3.0) == [3.0]
    assert written(soc, "power.whole-device.base_w", 3.0) == 3.0
