"""Loading measured rows: every invalid file says why, products read back, units become SI."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socsim.errors import SocsimError
from socsim.measurements import (
    DATA_TYPE_BITS,
    METRIC_UNITS,
    PROCESSORS,
    Product,
    load_operator_rows,
    load_system_rows,
    load_table,
    parse_products,
)
from socsim.specs.base import DataType, ProcessorName

INVALID = Path(__file__).parent / "data" / "measurements" / "invalid"
OPERATORS = "soc, processor, data_type, products, square_inputs, latency, unit, source, split"
SYSTEM = "soc, model, engine, prompt_tokens, output_tokens, settings, metric, value, unit, source, split"
PRODUCTS = "should be ROWSxINNERxCOLUMNS, each above 0, such as 64x2048x2048, joined by '+' or '>'"
SETTINGS = "should be PATH=VALUE, joined by ';', such as engine.outlier_pruning_rate=0.5"

MESSAGES = {
    "operators_column-twice.csv": ":2: column 'soc' stands twice",
    "operators_empty-latency.csv": ":3: field 'latency' is empty",
    "operators_empty-source.csv": ":3: field 'source' is empty",
    "operators_empty.csv": f": has no rows; should have a header, with the columns {OPERATORS}, and rows below it",
    "operators_inf-latency.csv": ":3: field 'latency': should be a number, not 'inf'",
    "operators_missing-column.csv": f":2: column 'split' is missing; needed: {OPERATORS}",
    "operators_missing-several-columns.csv": f":2: column 'data_type' is missing; needed: {OPERATORS}",
    "operators_nan-latency.csv": ":3: field 'latency': should be a number, not 'nan'",
    "operators_negative-latency.csv": ":3: field 'latency': should be a finite number above 0, not '-0.9'",
    "operators_no-rows.csv": f": has no rows; should have a header, with the columns {OPERATORS}, and rows below it",
    "operators_not-utf-8.csv": ": is no UTF-8 text (byte 117)",
    "operators_only-comments.csv": f": has no rows; should have a header, with the columns {OPERATORS}, and rows below it",
    "operators_open-quote.csv": ":2: malformed CSV: unexpected end of data",
    "operators_overflowing-latency.csv": ":3: field 'latency': should be a finite number above 0, not '1e999'",
    "operators_products-empty.csv": ":3: field 'products' is empty",
    "operators_products-fraction.csv": f":3: field 'products': '64x2048x2048.5' in '64x2048x2048.5' {PRODUCTS}",
    "operators_products-negative.csv": f":3: field 'products': '64x-2048x2048' in '64x-2048x2048' {PRODUCTS}",
    "operators_products-open-end.csv": f":3: field 'products': '' in '64x2048x2048>' {PRODUCTS}",
    "operators_products-other-joint.csv": f":3: field 'products': '64x2048x2048*64x2048x2048' in '64x2048x2048*64x2048x2048' {PRODUCTS}",
    "operators_products-two-dimensions.csv": f":3: field 'products': '64x2048' in '64x2048' {PRODUCTS}",
    "operators_products-zero.csv": f":3: field 'products': '64x0x2048' in '64x0x2048' {PRODUCTS}",
    "operators_second-row.csv": ":7: field 'latency': should be a number, not 'fast'",
    "operators_semicolons.csv": f":1: unknown column '{OPERATORS.replace(', ', ';')}'; allowed: {OPERATORS}, path, weight_bits",
    "operators_too-few-cells.csv": ":3: has 8 cells; should have 9, as the header",
    "operators_too-many-cells.csv": ":2: has 10 cells; should have 9, as the header",
    "operators_underscore-in-latency.csv": ":3: field 'latency': should be a number, not '1_000'",
    "operators_unknown-column.csv": f":2: unknown column 'latancy' (did you mean 'latency'?); allowed: {OPERATORS}, path, weight_bits",
    "operators_unknown-data-type.csv": ":3: field 'data_type': unknown data_type 'int4' (did you mean 'int8'?); allowed: fp16, fp32, int8",
    "operators_unknown-processor.csv": ":3: field 'processor': unknown processor 'npuu' (did you mean 'npu'?); allowed: cpu, gpu, npu",
    "operators_unknown-split.csv": (
        ":3: field 'split': unknown split 'calibrate' (did you mean 'calibration'?); allowed: calibration, validation"
    ),
    "operators_unknown-unit.csv": ":3: field 'unit': unknown unit 'msec' (did you mean 'ms'?); allowed: ms, s, us",
    "operators_unnamed-column.csv": f":2: unknown column ''; allowed: {OPERATORS}, path, weight_bits",
    "operators_weight-bits-wider-than-data-type.csv": ":3: field 'weight_bits': should be a whole number from 1 to 8, not '16'",
    "operators_weight-bits-word.csv": ":3: field 'weight_bits': should be a whole number from 1 to 8, not 'four'",
    "operators_weight-bits-zero.csv": ":3: field 'weight_bits': should be a whole number from 1 to 8, not '0'",
    "operators_word-for-latency.csv": ":3: field 'latency': should be a number, not 'fast'",
    "operators_word-for-truth.csv": ":3: field 'square_inputs': unknown square_inputs 'yes'; allowed: false, true",
    "operators_zero-latency.csv": ":3: field 'latency': should be a finite number above 0, not '0'",
    "system_decode-without-steps.csv": ":3: field 'output_tokens': should be a whole number from 2 to 1000000000, not '1'",
    "system_fraction-of-a-token.csv": ":3: field 'prompt_tokens': should be a whole number from 1 to 1000000000, not '256.5'",
    "system_huge-tokens.csv": ":3: field 'prompt_tokens': should be a whole number from 1 to 1000000000, not '99999999999999'",
    "system_negative-tokens.csv": ":3: field 'output_tokens': should be a whole number from 1 to 1000000000, not '-1'",
    "system_operator-columns.csv": f":1: unknown column 'processor'; allowed: {SYSTEM}",
    "system_setting-of-nothing.csv": f":3: field 'settings': {SETTINGS}, not 'engine=64'",
    "system_setting-of-unknown-start.csv": (
        ":3: field 'settings': unknown start of path 'engin' (did you mean 'engine'?); allowed: engine, model, run, soc"
    ),
    "system_setting-open-end.csv": f":3: field 'settings': {SETTINGS}, not 'engine.chunk_tokens=64;'",
    "system_setting-twice.csv": (
        ":3: field 'settings': should name engine.chunk_tokens once, not 'engine.chunk_tokens=64;engine.chunk_tokens=128'"
    ),
    "system_setting-with-empty-value.csv": f":3: field 'settings': {SETTINGS}, not 'engine.chunk_tokens='",
    "system_setting-without-value.csv": f":3: field 'settings': {SETTINGS}, not 'engine.chunk_tokens'",
    "system_unit-of-another-metric.csv": ":3: field 'unit': unknown unit 'J'; allowed: tokens/s",
    "system_unknown-metric.csv": (
        ":3: field 'metric': unknown metric 'prefil_tokens_per_s' (did you mean 'prefill_tokens_per_s'?)"
        f"; allowed: {', '.join(sorted(METRIC_UNITS))}"
    ),
    "system_zero-tokens.csv": ":3: field 'prompt_tokens': should be a whole number from 1 to 1000000000, not '0'",
    "system_zero-value.csv": ":3: field 'value': should be a finite number above 0, not '0.0'",
    "table_empty-unit.csv": ":2: field 'unit' is empty",
    "table_no-source.csv": ":1: column 'source' is missing; needed: unit, source, split",
    "table_unknown-split.csv": ":2: field 'split': unknown split 'test'; allowed: calibration, validation",
}
"""What is said of each invalid file after its path."""

OPERATOR = "my-phone,npu,int8,1x2x3,true,{latency},{unit},bench,calibration"
RUN = "my-phone,gemma-2b,llm-npu,256,9,{settings},{metric},{value},{unit},bench,validation"


def load(path: Path) -> Any:
    loaders: dict[str, Any] = {"operators": load_operator_rows, "system": load_system_rows}
    family = path.name.partition("_")[0]
    return loaders[family]([path]) if family in loaders else load_table(path)


def written(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join((header.replace(" ", ""), *rows)) + "\n")
    return path


def test_every_invalid_file_has_its_message() -> None:
    assert {path.name for path in INVALID.iterdir()} == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_invalid_file(name: str) -> None:
    with pytest.raises(SocsimError) as error:
        load(INVALID / name)
    assert str(error.value) == f"{INVALID / name}{MESSAGES[name]}"


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(SocsimError, match=r"nowhere\.csv: cannot be read: No such file or directory$"):
        load_operator_rows([tmp_path / "nowhere.csv"])
    with pytest.raises(SocsimError, match=r"cannot be read: Is a directory$"):
        load_system_rows([tmp_path])


def test_unknown_table_has_the_nearest_name() -> None:
    with pytest.raises(SocsimError, match=r"^unknown table 'llm_npu_fig4_per_group' \(did you mean 'llm_npu_fig4_per_group_slowdown'\?\)"):
        load_table("llm_npu_fig4_per_group")


def test_names_are_those_of_descriptions() -> None:
    assert get_args(ProcessorName) == PROCESSORS
    assert get_args(DataType) == tuple(DATA_TYPE_BITS)


@pytest.mark.parametrize(
    ("latency", "unit", "seconds"),
    [("1.5", "s", 1.5), ("0.9", "ms", 0.0009), ("912", "us", 0.000912), ("1e3", "ms", 1.0), (".5", "s", 0.5)],
)
def test_latency_in_seconds(tmp_path: Path, latency: str, unit: str, seconds: float) -> None:
    path = written(tmp_path / "mine.csv", OPERATORS, OPERATOR.format(latency=latency, unit=unit))
    assert [row.latency_s for row in load_operator_rows([path])] == [seconds]


@pytest.mark.parametrize(
    ("metric", "value", "unit", "expected"),
    [
        ("prefill_tokens_per_s", "420", "tokens/s", 420.0),
        ("decode_s", "2.2", "s", 2.2),
        ("decode_s", "2200", "ms", 2.2),
        ("prefill_energy_j", "950", "mJ", 0.95),
        ("peak_memory_gb", "2.832", "GB", 2.832),
    ],
)
def test_value_in_the_unit_of_its_metric(tmp_path: Path, metric: str, value: str, unit: str, expected: float) -> None:
    path = written(tmp_path / "mine.csv", SYSTEM, RUN.format(settings="", metric=metric, value=value, unit=unit))
    assert [(row.metric, row.value, row.overrides) for row in load_system_rows([path])] == [(metric, expected, {})]


def test_settings_are_toml_scalars_or_text(tmp_path: Path) -> None:
    settings = 'engine.a=0.5; engine.b = 64;run.c=true;run.d=battery-rail;run.e="1";soc.f=[1'
    path = tmp_path / "mine.csv"
    quoted = '"' + settings.replace('"', '""') + '"'
    written(path, SYSTEM, RUN.format(settings=quoted, metric="decode_s", value=1, unit="s"))
    (row,) = load_system_rows([path])
    assert row.overrides == {"engine.a": 0.5, "engine.b": 64, "run.c": True, "run.d": "battery-rail", "run.e": "1", "soc.f": "[1"}
    assert [type(value) for value in row.overrides.values()] == [float, int, bool, str, str, str]


def test_lines_are_counted_with_comments_blank_lines_mark_and_returns(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    row = OPERATOR.format(latency=1, unit="ms")
    path.write_bytes(
        "\r\n".join(("\ufeff# of a spreadsheet", "", OPERATORS.replace(" ", ""), row, "# between", " " + row)).encode() + b"\r\n"
    )
    rows = load_operator_rows([path])
    assert [row.where for row in rows] == [f"{path}:4", f"{path}:6"]
    assert rows[0]._replace(where="") == rows[1]._replace(where="")


def test_files_are_loaded_in_the_order_given(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{name}.csv", OPERATORS, OPERATOR.format(latency=1, unit="s")) for name in "ba"]
    assert [row.where for row in load_operator_rows(paths)] == [f"{path}:2" for path in paths]
    assert load_operator_rows([]) == []


def test_columns_in_any_order_and_optional_ones(tmp_path: Path) -> None:
    header = ", ".join(["path", *reversed(OPERATORS.split(", ")), "weight_bits"])
    cells = ",".join(["matrix-engine", *reversed(OPERATOR.format(latency=1, unit="s").split(",")), "4"])
    (row,) = load_operator_rows([written(tmp_path / "mine.csv", header, cells)])
    assert (row.soc, row.processor, row.path, row.weight_bits) == ("my-phone", "npu", "matrix-engine", 4)
    assert (row.products, row.square_inputs, row.latency_s, row.split) == ((Product(1, 2, 3, True),), True, 1.0, "calibration")


def test_products_of_a_gated_feed_forward_network() -> None:
    assert parse_products("16x2048x5504+16x2048x5504>16x5504x2048") == (
        Product(16, 2048, 5504, enters=True),
        Product(16, 2048, 5504, enters=True),
        Product(16, 5504, 2048, enters=False),
    )


DIMENSION = st.integers(1, 10**9 - 1)
PRODUCT = st.builds(Product, DIMENSION, DIMENSION, DIMENSION, st.booleans())


@given(st.lists(PRODUCT, min_size=1, max_size=6), st.sampled_from(["", " "]))
def test_products_read_back(products: list[Product], space: str) -> None:
    products[0] = products[0]._replace(enters=True)
    text = "".join(f"{space}{'+' if p.enters else '>'}{space}{p.rows}x{p.inner}x{p.columns}" for p in products).strip().removeprefix("+")
    assert parse_products(text) == tuple(products)


@given(st.integers(0, 13), st.sampled_from("*-.,;/_eX=٣"))
def test_products_with_a_foreign_character_are_refused(place: int, character: str) -> None:
    good = "16x20x5>16x5x2"
    with pytest.raises(SocsimError, match="ROWSxINNERxCOLUMNS"):
        parse_products(good[:place] + character + good[place:])
