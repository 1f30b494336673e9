from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socsim.cli.units import digits, field_unit, percent, quantity, scale


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.3142, "s", "1.314 s"),
        (0.0893, "s", "89.30 ms"),
        (4.3e-5, "s", "43.00 us"),
        (4332.4, "s", "4,332 s"),
        (0.99996, "s", "1.000 s"),
        (999.96e-6, "s", "1.000 ms"),
        (0.0, "s", "0 s"),
        (4294967296, "B", "4.295 GB"),
        (61.9e9, "B/s", "61.90 GB/s"),
        (1.693e13, "ops/s", "16.93 Tops/s"),
        (40e-12, "J/B", "40.00 pJ/B"),
        (3.9e-9, "s/B", "3.900 ns/B"),
        (779.2, "tokens/s", "779.2 tokens/s"),
        (12345.6, "tokens/s", "12,346 tokens/s"),
        (0.85, "", "0.8500"),
        (-0.0015, "s", "-1.500 ms"),
    ],
)
def test_quantities_have_si_prefixes_and_four_digits(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@pytest.mark.parametrize(("value", "text"), [(4.3e-5, "43 us"), (5e9, "5 Gs"), (0.85, "850 ms")])
def test_trimmed_quantities_end_in_no_zeros(value: float, text: str) -> None:
    assert quantity(value, "s" if value < 1 else "B", 6, trim=True) == text.replace("Gs", "GB")


def test_whole_numbers_keep_all_digits() -> None:
    assert digits(1836828672) == "1,836,828,672"
    assert digits(1234.5678, 6, trim=True) == "1,234.57"


@given(st.floats(1e-9, 1e15), st.sampled_from(["B", "W", "J", "ops/s"]))
def test_scaled_values_have_one_to_three_digits_before_the_point(value: float, unit: str) -> None:
    divisor, prefixed = scale(value, unit)
    assert prefixed.endswith(unit)
    assert 0.99995 <= value / divisor < 1000 or value >= 1e15


def test_percent() -> None:
    assert percent(0.7849) == "78.5 %"


@pytest.mark.parametrize(
    ("path", "value", "unit"),
    [
        ("processors.npu.launch_overhead_s", 1e-5, "s"),
        ("processors.npu.graph_life_cycle.optimize_s_per_weight_byte", 1e-9, "s/B"),
        ("processors.npu.graph_life_cycle.build_s_per_subgraph", 1e-3, "s/subgraph"),
        ("dram.peak_bytes_per_s", 6e10, "B/s"),
        ("processors.npu.throughput.int8.peak_ops_per_s", 1e13, "ops/s"),
        ("power.whole-device.processors.cpu.active_w", (2.7, 4.5), "W"),
        ("power.whole-device.dram_j_per_byte", 4e-11, "J/B"),
        ("power.battery-rail.processors.cpu.memory_bound_share", 0.3, "ratio"),
        ("processors.npu.flat_input_slowdown", 1.62, "ratio"),
        ("processors.npu.speed", 1.29, "ratio"),
        ("makespan_gap", 0.2, "ratio"),
        ("makespan_lower_bound_s", 0.5, "s"),
        ("processors.gpu.row_bytes_per_s", 4e10, "B/s"),
        ("efficiency.npu.linear", 0.5, "ratio"),
        ("efficiency.npu.weights", None, ""),
        ("placement.other", "cpu", ""),
        ("precision.embedding_bits", 32, "bits"),
        ("dram.capacity_bytes", 1e9, "B"),
        ("prebuilt_chunk_tokens", (32, 64), "tokens"),
        ("chunk_tokens", "auto", ""),
        ("shadow_outliers", True, ""),
        ("operating_points.sustained.rate_scale.npu", 0.8, "ratio"),
        ("processors.npu.tile", 32, "elements"),
        ("hidden_size", 2048, "elements"),
        ("sliding_window", None, ""),
    ],
)
def test_the_unit_follows_from_the_name(path: str, value: object, unit: str) -> None:
    assert field_unit(path, value) == unit


def test_every_number_of_every_shipped_description_has_a_unit(capsys: pytest.CaptureFixture[str]) -> None:
    from command_line import call_well

    names = [
        (kind, entry["name"])
        for kind in ("soc", "engine", "model")
        for entry in call_well(capsys, "list", f"{kind}s", "--json").json[f"{kind}s"]
    ]
    for kind, name in names:
        for field in call_well(capsys, "show", kind, name, "--json").json["fields"]:
            values = field["value"] if isinstance(field["value"], list) else [field["value"]]
            number = any(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
            assert bool(field["unit"]) == number, (name, field)
