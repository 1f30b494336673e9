"""Descriptions: frozen, checked, and changed by dotted path."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from socsim.catalog import load_engine, load_model, load_soc
from socsim.errors import SocsimError, did_you_mean, unknown_name
from socsim.roofline import product_s
from socsim.specs import Engine, Placement, Run, SoC, Spec, validate

SOC = load_soc("snapdragon-8-gen-3")
ENGINE = load_engine("llm-npu")


def get(spec: Any, path: str) -> Any:
    for part in path.split("."):
        spec = spec[int(part)] if isinstance(spec, (tuple, list)) else spec[part] if isinstance(spec, dict) else getattr(spec, part)
    return spec


@pytest.mark.parametrize(
    ("spec", "path", "value"),
    [
        (SOC, "processors.npu.launch_overhead_s", 20e-6),
        (SOC, "processors.npu.throughput.int8.peak_ops_per_s", 1e12),
        (SOC, "processors.npu.addressable_memory_bytes", None),
        (SOC, "processors.cpu.core_speeds", (1.0, 1.0, 1.0, 1.0)),
        (SOC, "processors.cpu.core_speeds.1", 0.5),
        (SOC, "power.whole-device.processors.cpu.active_w.0", 9.0),
        (SOC, "dram.capacity_bytes", 1e9),
        (SOC, "operating_points.sustained.rate_scale.npu", 0.3),
        (SOC, "operating_points.burst.rate_scale.npu", 0.9),
        (ENGINE, "outlier_pruning_rate", 0.5),
        (ENGINE, "chunk_tokens", "auto"),
        (ENGINE, "prebuilt_chunk_tokens", (64, 128)),
        (ENGINE, "prebuilt_chunk_tokens.3", 512),
        (ENGINE, "precision.weight_bits", 4),
        (ENGINE, "placement.operators.attention", "gpu"),
    ],
)
def test_override_reaches_a_field_and_leaves_the_rest_alone(spec: Spec, path: str, value: Any) -> None:
    before = spec.model_dump(mode="json")
    changed = spec.override({path: value}, "x")
    assert get(changed, path) == value
    assert spec.model_dump(mode="json") == before
    old = get(spec, path) if path != "operating_points.burst.rate_scale.npu" and path != "placement.operators.attention" else None
    if old is not None:
        assert changed.override({path: old}, "x") == spec


def test_several_overrides_are_checked_together() -> None:
    changed = SOC.override({"dram.peak_bytes_per_s": 1e9, "dram.achievable_bytes_per_s": 5e8}, "x")
    assert (changed.dram.peak_bytes_per_s, changed.dram.achievable_bytes_per_s) == (1e9, 5e8)
    assert SOC.override({}, "x") is SOC


@pytest.mark.parametrize(
    ("spec", "path", "value", "message"),
    [
        (
            SOC,
            "processors.npu.launch_overhead",
            1,
            r"unknown field 'processors\.npu\.launch_overhead' \(did you mean 'launch_overhead_s'\?\); allowed: ",
        ),
        (SOC, "processor.npu.tile", 1, r"no such field \(did you mean 'processors'\?\); allowed: description, dram, "),
        (SOC, "processors.nqu.tile", 1, r"no such field \(did you mean 'npu'\?\); allowed: cpu, gpu, npu"),
        (SOC, "dram.capacity_bytes.x", 1, r"dram\.capacity_bytes has no fields of its own"),
        (SOC, "processors.cpu.core_speeds.9", 1.0, r"core_speeds is a list of 6; allowed: 0 to 5"),
        (SOC, "processors.cpu.core_speeds.first", 1.0, r"core_speeds is a list of 6; allowed: 0 to 5"),
        (SOC, "dram.capacity_bytes", -1, r"field 'dram\.capacity_bytes': input should be greater than 0, not -1"),
        (SOC, "dram.capacity_bytes", "much", r"input should be a valid number, unable to parse string as a number, not 'much'"),
        (SOC, "dram.achievable_bytes_per_s", 1e15, r"dram: achievable_bytes_per_s 1e\+15 exceeds peak_bytes_per_s 6\.8e\+10"),
        (
            ENGINE,
            "precision.linear_type",
            "int4",
            r"field 'precision\.linear_type': input should be 'int8', 'fp16' or 'fp32', not 'int4' \(did you mean 'int8'\?\)",
        ),
        (ENGINE, "precision.quantization", "per-group", "quantization 'per-group' needs a group_size"),
        (
            ENGINE,
            "precision",
            {"linear_type": "int8", "weight_bits": 8, "quantization": "per-group", "group_size": 32},
            r"shadow_outliers needs precision\.quantization 'per-tensor'",
        ),
        (ENGINE, "outlier_channels", 0, "shadow_outliers needs outlier_channels above 0"),
        (ENGINE, "no.such", 1, "no such field"),
    ],
)
def test_bad_override(spec: Spec, path: str, value: Any, message: str) -> None:
    with pytest.raises(SocsimError, match=message) as error:
        spec.override({path: value}, "--set")
    assert str(error.value).startswith("--set")
    assert "\n" not in str(error.value)


def test_descriptions_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SOC.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt_tokens": 0}, "field 'prompt_tokens': input should be greater than 0, not 0"),
        ({"prompt_tokens": -5}, "field 'prompt_tokens': input should be greater than 0, not -5"),
        ({"prompt_tokens": 1.5}, "field 'prompt_tokens': input should be a valid integer"),
        ({}, "field 'prompt_tokens' is missing"),
        ({"prompt_tokens": 4, "output_tokens": 0}, "field 'output_tokens': input should be greater than 0, not 0"),
        ({"prompt_tokens": 4, "cached_tokens": -1}, "field 'cached_tokens': input should be greater than or equal to 0, not -1"),
        ({"prompt_tokens": 4, "slowdown_factor": 2.0}, "slowed_from_s and slowdown_factor need slowed_processor, which is not set"),
        ({"prompt_tokens": 4, "slowed_from_s": 0.1}, "slowed_from_s and slowdown_factor need slowed_processor, which is not set"),
        ({"prompt_tokens": 4, "cached_tokens": 4}, "cached_tokens 4 should be below prompt_tokens 4: the last token at least is prefilled"),
        (
            {"prompt_tokens": 4, "memory": "privat"},
            r"field 'memory': input should be 'shared', 'private' or 'infinite', not 'privat' \(did you mean 'private'\?\)",
        ),
        ({"prompt_tokens": 4, "duration_noise": -0.1}, "field 'duration_noise': input should be greater than or equal to 0"),
        ({"prompt_tokens": 4, "duration_noise": 6}, "field 'duration_noise': input should be less than or equal to 5, not 6"),
        ({"prompt_tokens": 4, "seed": -1}, "field 'seed': input should be greater than or equal to 0, not -1"),
        ({"prompt_token": 4}, r"unknown field 'prompt_token' \(did you mean 'prompt_tokens'\?\); allowed: cached_tokens, "),
    ],
)
def test_bad_runs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SocsimError, match=message):
        validate(Run, fields, "run")


def test_placement_follows_the_class_of_an_operator_unless_listed() -> None:
    placement = Placement(linears="npu", other="cpu", operators={"o_proj": "gpu", "activation": "npu"})
    names = ("q_proj", "down_proj", "o_proj", "activation", "attention", "lm_head")
    assert [placement.processor(name) for name in names] == ["npu", "npu", "gpu", "npu", "cpu", "cpu"]


def test_processors_of_an_engine() -> None:
    assert ENGINE.processors == ("cpu", "npu")
    npu_only: dict[str, Any] = {"placement.other": "npu", "placement.operators": {}, "decode_processor": "npu"}
    assert ENGINE.override(npu_only, "x").processors == ("cpu", "npu")  # shadow work is the CPU's
    assert ENGINE.override(npu_only | {"shadow_outliers": False}, "x").processors == ("npu",)


def test_thread_speedup() -> None:
    cpu = SOC.override({"processors.cpu.core_speeds": [1.0, 0.5, 0.25], "processors.cpu.reference_threads": 2}, "x").processors["cpu"]
    assert [cpu.thread_speedup(threads) for threads in (1, 2, 3, 9)] == pytest.approx([1 / 1.5, 1.0, 1.75 / 1.5, 1.75 / 1.5])


def test_parameters_by_hand() -> None:
    changes = {
        "hidden_size": 4,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 5,
        "intermediate_size": 7,
        "vocab_size": 11,
    }
    llm = load_model("llama-2-7b").override(changes, "model")
    block = 4 * 10 + 2 * 4 * 5 + 10 * 4 + 3 * 4 * 7 + 2 * 4
    assert llm.block_parameters == block
    assert llm.parameters == 2 * 11 * 4 + 3 * block + 4
    assert llm.override({"tie_word_embeddings": True}, "model").parameters == 11 * 4 + 3 * block + 4
    biases = {"qkv_bias": True, "o_bias": True, "ffn_bias": True, "lm_head_bias": True, "norm": "layernorm"}
    assert llm.override(biases, "model").parameters == 2 * 11 * 4 + 3 * (block + 20 + 4 + 18 + 8) + 8 + 11


def test_nearest_match() -> None:
    assert did_you_mean("Fifo", ["fifo", "sequential"]) == " (did you mean 'fifo'?)"
    assert did_you_mean(3, ["fifo"]) == ""
    assert str(unknown_name("color", "gren", {"red", "green"})) == "unknown color 'gren' (did you mean 'green'?); allowed: green, red"
    assert isinstance(unknown_name("color", "x", []), ValueError)


def test_shipped_specs_survive_a_round_trip() -> None:
    assert SoC.model_validate(SOC.model_dump(mode="json")) == SOC
    assert Engine.model_validate(ENGINE.model_dump(mode="json")) == ENGINE


def test_a_data_type_may_be_multiplied_as_another() -> None:
    gpu = load_soc("snapdragon-8-gen-3").processors["gpu"]
    assert gpu.rates("int8") == gpu.rates("fp32") == gpu.rates("fp16")
    assert [gpu.multiplied_type(name) for name in ("int8", "fp32", "fp16")] == ["fp16"] * 3
    npu = load_soc("snapdragon-8-gen-3").processors["npu"]
    assert npu.multiplied_type("fp16") == "fp16"  # by a named path, still as itself
    # As wide as it is multiplied: the same product takes as long, whichever of the types its operands had before.
    assert product_s(gpu, "int8", 64, 2048, 2048, weight_bytes=1.0) == product_s(gpu, "fp16", 64, 2048, 2048, weight_bytes=1.0)


def test_a_data_type_cannot_be_multiplied_as_one_that_is_not_there() -> None:
    data = load_soc("toy-phone").model_dump()
    data["processors"]["cpu"]["throughput"] = {"int8": "fp61", "fp16": {"peak_ops_per_s": 1e9}}
    with pytest.raises(SocsimError, match=r"path or data type 'fp61' \(did you mean 'fp16'\?\); allowed: fp16"):
        validate(SoC, data, "toy")
    data["processors"]["cpu"]["throughput"]["int8"] = "int8"
    with pytest.raises(SocsimError, match="path or data type 'int8'"):
        validate(SoC, data, "toy")


def test_values_that_paths_lead_into_are_left_as_they_were() -> None:
    lengths, table = [100, 200], {"q_proj": "cpu"}
    values = {"prebuilt_chunk_tokens": lengths, "prebuilt_chunk_tokens.0": 50, "placement.operators": table}
    changed = ENGINE.override(values | {"placement.operators.k_proj": "npu"}, "x")
    assert changed.prebuilt_chunk_tokens == (50, 200)
    assert (lengths, table) == ([100, 200], {"q_proj": "cpu"})
    assert ENGINE.override({"prebuilt_chunk_tokens": (100, 200), "prebuilt_chunk_tokens.0": 50}, "x") == ENGINE.override(
        {"prebuilt_chunk_tokens": [50, 200]}, "x"
    )
