"""Measured beside predicted: errors, summaries, targets, and figures fitted without what is then predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from socsim import validation
from socsim.calibration.fit import Fit
from socsim.calibration.groups import REFERENCE_ENGINE, Group
from socsim.calibration.targets import Findings
from socsim.catalog import load_soc
from socsim.measurements import OperatorRow, SystemRow, load_operator_rows, load_system_rows, parse_products
from socsim.prediction import predict_latency, predict_value
from socsim.uncertainty import Band, uncertainty_bands
from socsim.validation import (
    OPERATOR_COLUMNS,
    RUN_COLUMNS,
    Target,
    band_coverage,
    error_summary,
    leave_one_model_out,
    per_group_slowdowns,
    targets,
    validate_operators,
    validate_runs,
)

PAPER = "Xu et al. 2025, Table 3"


def run_row(value: float = 100.0, **fields: Any) -> SystemRow:
    given: dict[str, Any] = {"soc": "toy-phone", "model": "smollm2-135m", "engine": "llm-npu", "metric": "prefill_tokens_per_s"}
    given |= {"prompt_tokens": 32, "output_tokens": 1, "overrides": {}, "split": "calibration"} | fields
    return SystemRow(where="x.csv:2", value=value, source="test", **given)


def product_row(processor: str = "npu", data_type: str = "int8", source: str = PAPER, products: str = "10x20x30") -> OperatorRow:
    return OperatorRow("x.csv:2", "toy-phone", processor, data_type, None, None, parse_products(products), True, 1e-3, source, "validation")


def table(*rows: SystemRow, predicted: Sequence[float]) -> pd.DataFrame:
    values = iter(predicted)
    return validate_runs(rows, lambda _: next(values))


def test_errors_are_predicted_over_measured_less_one() -> None:
    found = table(run_row(100.0), run_row(80.0), run_row(50.0), predicted=[110.0, 60.0, 50.0])
    assert tuple(found.columns) == RUN_COLUMNS
    assert found.error_percent.tolist() == pytest.approx([10.0, -25.0, 0.0])
    assert found.measured.tolist() == [100.0, 80.0, 50.0]
    assert found.predicted.tolist() == [110.0, 60.0, 50.0]


def test_rows_are_shown_with_their_settings_and_split() -> None:
    row = run_row(overrides={"engine.cpu_threads": 2, "run.memory": "private"}, split="validation")
    found = table(row, predicted=[1.0]).iloc[0]
    assert (found.settings, found.split, found.prompt_tokens) == ("engine.cpu_threads=2 run.memory=private", "validation", 32)


def test_rows_are_simulated_as_the_files_say() -> None:
    calls: list[None] = []
    rows = [run_row(), run_row(metric="prefill_energy_j")]
    found = validate_runs(rows, progress=lambda: calls.append(None))
    assert found.predicted.tolist() == [predict_value(row) for row in rows]
    assert len(calls) == 2


def test_products_are_modeled_beside_measured() -> None:
    found = validate_operators([product_row(products="10x20x30+10x20x30>10x30x20")])
    assert tuple(found.columns) == OPERATOR_COLUMNS
    row = found.iloc[0]
    assert row["shape"] == "10x20x30 10x20x30 >10x30x20"
    soc = load_soc("toy-phone")
    assert row.predicted_s == predict_latency(product_row(products="10x20x30+10x20x30>10x30x20"), soc)
    assert row.error_percent == pytest.approx(100 * (row.predicted_s / 1e-3 - 1))


def test_path_is_shown_in_place_of_the_data_type() -> None:
    rows = [row for row in load_operator_rows() if row.path == "software-2024"]
    assert set(validate_operators(rows).data_type) == {"software-2024"}


def test_summary_is_by_metric_engine_soc_and_split() -> None:
    rows = run_row(), run_row(), run_row(split="validation"), run_row(engine="cpu-only"), run_row(metric="prefill_energy_j")
    found = error_summary(table(*rows, predicted=[110.0, 70.0, 105.0, 98.0, 100.0]))
    expected = [
        ("prefill_energy_j", "llm-npu", "toy-phone", "calibration", 1, 0.0, 0.0),
        ("prefill_tokens_per_s", "cpu-only", "toy-phone", "calibration", 1, 2.0, 2.0),
        ("prefill_tokens_per_s", "llm-npu", "toy-phone", "calibration", 2, 20.0, 30.0),
        ("prefill_tokens_per_s", "llm-npu", "toy-phone", "validation", 1, 5.0, 5.0),
    ]
    assert [row[:5] for row in found.itertuples(index=False)] == [row[:5] for row in expected]
    assert found.iloc[:, 5:].to_numpy() == pytest.approx(np.array([row[5:] for row in expected]))


def test_without_rows_tables_are_empty_but_have_their_columns() -> None:
    operators, runs = validate_operators([]), validate_runs([])
    assert (tuple(operators.columns), tuple(runs.columns)) == (OPERATOR_COLUMNS, RUN_COLUMNS)
    assert len(error_summary(runs)) == 0
    found = targets(operators, runs, pd.DataFrame(columns=["error_percent"]), leave_one_model_out([], []))
    assert len(found) == 8
    assert {(target.reached_percent, target.rows, target.met) for target in found} == {(None, 0, None)}


def test_target_is_met_up_to_its_limit() -> None:
    assert [Target("x", 10.0, reached, 1).met for reached in (9.9, 10.0, 10.1, None)] == [True, True, False, None]


def by_name(found: Sequence[Target]) -> dict[str, Target]:
    return {target.what: target for target in found}


def test_targets_by_hand() -> None:
    operators = validate_operators(
        [product_row(), product_row(), product_row("cpu"), product_row("gpu", "fp16", "other"), product_row("npu", "fp16")]
    ).assign(error_percent=[5.0, -15.0, 13.0, 99.0, 99.0])
    runs = table(
        run_row(),
        run_row(split="validation"),
        run_row(engine="mnn-cpu"),
        run_row(engine="mnn-cpu", metric="decode_s", output_tokens=2),
        run_row(metric="decode_s", output_tokens=2),
        run_row(metric="prefill_energy_j", overrides={"run.power_calibration": "battery-rail"}),
        run_row(metric="prefill_energy_j", overrides={"run.power_calibration": "whole-device"}),
        run_row(metric="peak_memory_gb"),
        predicted=[109.0, 900.0, 94.0, 108.0, 900.0, 111.0, 900.0, 900.0],
    )
    slowdowns = pd.DataFrame({"error_percent": [3.0, -21.0]})
    found = by_name(targets(operators, runs, slowdowns, None))
    reached = {what: (target.rows, target.met) for what, target in found.items()}
    assert reached == {
        "NPU int8 products, Table 3 and Fig 8": (2, True),
        "CPU int8 products, Table 3": (1, False),
        "GPU fp16 products, Table 3": (0, None),
        "per-group over per-tensor, worst model": (2, False),
        "llm-npu prefill speed": (1, True),
        "prefill speed and decode time of the other engines": (2, True),
        "prefill energy, battery-rail": (1, False),
    }
    values = [target.reached_percent for target in found.values()]
    assert values == [pytest.approx(10.0), pytest.approx(13.0), None, 21.0, *(pytest.approx(each) for each in (9.0, 7.0, 11.0))]


def test_left_out_models_are_a_target_of_their_own() -> None:
    left_out = table(run_row(), run_row(), predicted=[120.0, 60.0])
    found = targets(validate_operators([]), validate_runs([]), pd.DataFrame(columns=["error_percent"]), left_out)[-1]
    assert found.reached_percent == pytest.approx(30.0)
    assert (found.limit_percent, found.rows, found.met) == (25.0, 2, False)


def test_per_group_slowdowns_are_near_the_measured_ones() -> None:
    found = per_group_slowdowns()
    assert len(found) == 2
    assert found.error_percent.to_numpy() == pytest.approx(100 * (found.predicted / found.measured - 1).to_numpy())
    assert found.error_percent.abs().max() <= 20.0


@pytest.mark.parametrize(("processor", "data_type"), [("npu", "int8"), ("cpu", "int8"), ("gpu", "fp16")])
def test_products_of_the_paper_are_within_their_target(processor: str, data_type: str) -> None:
    rows = [row for row in load_operator_rows() if (row.processor, row.data_type, row.path) == (processor, data_type, None)]
    rows = [row for row in rows if "Xu et al." in row.source]
    assert len(rows) >= 6
    assert validate_operators(rows).error_percent.abs().mean() <= 12.0


def spy_on_fits(monkeypatch: pytest.MonkeyPatch) -> list[Group]:
    """Fit nothing: keep what would be fitted, and leave every figure as it is in its file."""
    groups: list[Group] = []

    def spy(group: Group, findings: Findings) -> Fit:
        groups.append(group)
        figures = np.ones(len(group.targets))
        return Fit((), figures, np.empty(0), np.empty(0), np.zeros((1, len(figures))), True)

    monkeypatch.setattr(validation, "fit_group", spy)
    monkeypatch.setattr(Findings, "set", lambda *_: None)
    return groups


def test_model_that_is_left_out_is_not_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = load_system_rows()
    speeds = [row for row in rows if (row.engine, row.metric, row.split) == (REFERENCE_ENGINE, "prefill_tokens_per_s", "calibration")]
    short = [row for row in rows if row not in speeds or row.prompt_tokens == 64]
    expected = [row for row in speeds if row.prompt_tokens == 64]
    models = sorted({row.model for row in expected})
    assert len(models) >= 2
    groups = spy_on_fits(monkeypatch)
    progress: list[str] = []
    seen: list[int] = []

    def count(message: str) -> None:
        progress.append(message)
        seen.append(len(groups))

    found = leave_one_model_out(load_operator_rows(), short, count)
    assert progress == [f"without {model}" for model in models]
    for model, start, end in zip(models, seen, [*seen[1:], len(groups)], strict=True):
        fitted = [row for group in groups[start:end] for row in group.rows if isinstance(row, SystemRow)]
        assert any(row.engine == REFERENCE_ENGINE for row in fitted)
        assert {row.split for row in fitted} == {"calibration"}
        assert not [row for row in fitted if row.engine == REFERENCE_ENGINE and row.model == model]
        assert not {group.name for group in groups[start:end] if isinstance(group.rows[0], OperatorRow)}
    assert found.groupby("model").size().to_dict() == {model: sum(row.model == model for row in expected) for model in models}
    assert found.predicted.tolist() == [predict_value(row) for model in models for row in expected if row.model == model]


def test_one_model_cannot_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = spy_on_fits(monkeypatch)
    others = run_row(model="qwen1.5-1.8b", split="validation"), run_row(model="qwen1.5-1.8b", engine="mnn-cpu")
    assert len(leave_one_model_out([], [run_row(), *others])) == 0
    assert groups == []


def test_coverage_of_one_row_by_its_band() -> None:
    row = run_row(output_tokens=2, overrides={"engine.cpu_threads": 2})
    band = uncertainty_bands(
        "toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=32, output_tokens=2, overrides={"engine.cpu_threads": 2}
    )["prefill_tokens_per_s"]
    calls: list[None] = []
    memory = run_row(metric="peak_memory_gb")  # which has no band
    found = band_coverage([memory, row._replace(value=band.median)], lambda: calls.append(None))
    assert len(found) == len(calls) == 1
    only = found.iloc[0]
    assert (only.low, only["median"], only.high, only.inside) == (*band, True)


@pytest.mark.parametrize(("value", "inside"), [(0.9, False), (1.0, True), (3.0, True), (3.1, False)])
def test_both_ends_of_a_band_are_inside(monkeypatch: pytest.MonkeyPatch, value: float, inside: bool) -> None:
    band = Band(1.0, 2.0, 3.0)
    monkeypatch.setattr(validation, "uncertainty_bands", lambda *_, **__: {"prefill_energy_j": band})
    found = band_coverage([run_row(value, metric="prefill_energy_j")])
    assert found.inside.tolist() == [inside]


def test_coverage_without_rows_is_an_empty_table() -> None:
    assert band_coverage([]).columns.tolist()[-2:] == ["inside", "split"]
