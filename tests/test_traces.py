"""Shipped measurements: all load, every row says where it comes from, and a second reading of the sources agrees."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from socsim.catalog import list_engines, list_models, list_socs, load_model, load_soc, trace_path
from socsim.measurements import OperatorRow, SystemRow, load_operator_rows, load_system_rows, load_table
from socsim.specs import LLM

ROWS = {
    "aihub_small_nets": 16,
    "attention_v79_fp16": 19,
    "ddr_read_bw_8g3": 6,
    "heteroinfer_table3_ranges": 6,
    "llm_npu_fig10_outlier_channels": 96,
    "llm_npu_fig11_outliers_per_channel": 48,
    "llm_npu_fig12_accuracy_loss": 52,
    "llm_npu_fig12_outlier_importance": 169,
    "llm_npu_fig16_accuracy": 5,
    "llm_npu_fig17_other_memory_gb": 2,
    "llm_npu_fig2_npu_graph_ms": 10,
    "llm_npu_fig4_per_group_slowdown": 2,
    "llm_npu_table5_prompts": 5,
    "llm_npu_table6_accuracy_percent": 125,
    "op_latency_v79_prefill58": 12,
    "operators_heteroinfer_table3": 12,
    "operators_llm_npu_fig8": 16,
    "operators_llm_npu_table3": 24,
    "operators_xiaomi14u_ggml": 12,
    "smollm2_outlier_importance": 210,
    "smollm2_pruning_curve": 30,
    "soc_facts": 174,
    "system_llm_npu_fig14": 37,
    "system_llm_npu_fig15": 12,
    "system_llm_npu_fig16": 5,
    "system_llm_npu_fig17": 3,
    "system_llm_npu_fig2": 4,
    "system_llm_npu_table5_decode": 6,
}
HELD_OUT = {"system_llm_npu_fig16", "llm_npu_fig16_accuracy", "system_llm_npu_fig17", "llm_npu_fig17_other_memory_gb"}
README = trace_path("README.md")


def rows_of(rows: list[OperatorRow], name: str) -> list[OperatorRow]:
    return [row for row in rows if row.where.startswith(f"{name}.csv:")]


def test_every_file_has_its_rows() -> None:
    assert {path.stem: len(load_table(path.stem)) for path in trace_path("").glob("*.csv")} == ROWS
    assert len(load_operator_rows()) == sum(count for name, count in ROWS.items() if name.startswith("operators_"))
    assert len(load_system_rows()) == sum(count for name, count in ROWS.items() if name.startswith("system_"))


@pytest.mark.parametrize("name", ROWS)
def test_rows_have_unit_source_and_split_and_are_not_repeated(name: str) -> None:
    rows = load_table(name)
    assert all(row["unit"] and row["source"] for row in rows)
    assert {row["split"] for row in rows} == {"validation" if name in HELD_OUT else "calibration"}
    assert len({tuple(row.values()) for row in rows}) == len(rows)


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith(("operators_", "system_", "llm_npu_fig2_", "llm_npu_fig4_"))])
def test_nothing_is_measured_twice(name: str) -> None:
    values = {"latency", "value", "latency_ms", "per_group_over_per_tensor"}
    what = [tuple(cell for column, cell in row.items() if column not in values) for row in load_table(name)]
    assert len(set(what)) == len(what)


def test_shipped_rows_go_by_file_name_in_order() -> None:
    for rows in (load_operator_rows(), load_system_rows()):
        files = [row.where.partition(":")[0] for row in rows]
        assert files == sorted(files)
        assert all("/" not in file for file in files)


def test_names_are_in_the_catalog() -> None:
    operators, runs = load_operator_rows(), load_system_rows()
    assert {row.soc for row in operators} | {row.soc for row in runs} <= set(list_socs())
    assert {row.model for row in runs} <= set(list_models())
    assert {row.engine for row in runs} <= set(list_engines())
    for row in operators:
        processor = load_soc(row.soc).processors[row.processor]  # type: ignore[index]
        assert row.path in (None, *processor.paths)
        assert row.data_type in processor.throughput


def linears(llm: LLM, names: str) -> list[tuple[int, int]]:
    return [llm.linear_shapes[f"{name}_proj"] for name in names.split()]


def test_figure_8_has_the_linears_of_its_models() -> None:
    rows = rows_of(load_operator_rows(), "operators_llm_npu_fig8")
    expected: list[tuple[int, list[tuple[int, int]], int]] = []
    for model in ("qwen1.5-1.8b", "gemma-2b"):
        llm = load_model(model)
        expected += [(tokens, linears(llm, "q k v"), 3) for tokens in (16, 64, 256, 1024)]
        expected += [(tokens, linears(llm, "gate up down"), 2) for tokens in (16, 64, 256, 1024)]
    assert len(rows) == len(expected)
    for row, (tokens, shapes, entering) in zip(rows, expected, strict=True):
        assert [product.rows for product in row.products] == [tokens] * 3
        assert [(product.inner, product.columns) for product in row.products] == shapes
        assert [product.enters for product in row.products] == [place < entering for place in range(3)]
        assert row.square_inputs


def test_held_out_figure_names_its_pruning_rates() -> None:
    rows = [row for row in load_system_rows() if row.where.startswith("system_llm_npu_fig16.csv:")]
    assert len(rows) == ROWS["system_llm_npu_fig16"]
    percents = [float(row["outlier_pruning_percent"]) for row in load_table("llm_npu_fig16_accuracy")]
    assert [row.overrides for row in rows] == [{"engine.outlier_pruning_rate": pytest.approx(percent / 100)} for percent in percents]


def test_graph_preparation_is_the_same_in_both_files() -> None:
    phases = {(row["model"], row["phase"]): float(row["latency_ms"]) / 1e3 for row in load_table("llm_npu_fig2_npu_graph_ms")}
    runs = [row for row in load_system_rows() if row.where.startswith("system_llm_npu_fig2.csv")]
    assert {(row.model, row.metric.split("_")[1]): row.value for row in runs} == {
        key: value for key, value in phases.items() if key[1] in ("build", "optimize")
    }


def shipped_values() -> Iterator[tuple[tuple[str, str], tuple[float, str]]]:
    """Yield shipped values by file and row as the second reading names them."""
    for row in load_table("operators_llm_npu_table3"):
        yield (
            ("llm_npu_table3_matmul_ms.csv", f"{row['processor']} {row['data_type']} {row['products']}"),
            (float(row["latency"]), row["unit"]),
        )
    for row in load_table("llm_npu_fig2_npu_graph_ms"):
        yield ("llm_npu_fig2_npu_graph_ms.csv", f"{row['model']} {row['phase']}"), (float(row["latency_ms"]), row["unit"])
    for row in load_table("llm_npu_table5_prompts"):
        for column in ("prompt_tokens_min", "prompt_tokens_max"):
            yield ("llm_npu_table5_prompts.csv", f"{row['dataset']} {column}"), (float(row[column]), row["unit"])


def test_second_reading_agrees() -> None:
    with (Path(__file__).parent / "data" / "measurements" / "second_reading.csv").open(newline="") as file:
        second = {(row["file"], row["row"]): (float(row["value"]), row["unit"]) for row in csv.DictReader(file)}
    shipped = dict(shipped_values())
    assert len(second) == 38
    assert {key: shipped.get(key) for key in second} == second


def test_readme_lists_every_file() -> None:
    listed = re.findall(r"^\| `(\S+)\.csv` \|", README.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(ROWS)


def test_examples_of_the_readme_load(tmp_path: Path) -> None:
    examples = re.findall(r"```csv\n(.*?)```", README.read_text(), re.DOTALL)
    paths = [tmp_path / f"{number}.csv" for number in range(len(examples))]
    for path, text in zip(paths, examples, strict=True):
        path.write_text(text)
    operators, runs = load_operator_rows(paths[:1]), load_system_rows(paths[1:])
    assert [(row.latency_s, row.path, row.weight_bits) for row in operators] == [(0.000912, "matrix-engine", 4), (0.00227, None, None)]
    assert [row.value for row in runs] == [400.0, 0.95]
    assert isinstance(runs[0], SystemRow)
    assert runs[0].overrides == {"engine.outlier_pruning_rate": 0.5, "engine.cpu_threads": 4}
