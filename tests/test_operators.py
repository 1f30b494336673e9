"""Operations and bytes of single operators, by hand and by counting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from socsim.graph import Operator
from socsim.operators import OperatorModel, causal_pairs, visible_keys
from socsim.specs import LLM, Engine, validate

# 2 heads of 3, 1 of them for keys and values; all sizes differ, so that no mix-up goes unseen.
TINY = LLM(
    name="tiny",
    family="llama",
    hidden_size=5,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=3,
    intermediate_size=7,
    gated_ffn=True,
    vocab_size=11,
    tie_word_embeddings=True,
    norm="rmsnorm",
    max_position_embeddings=64,
)


def engine(**precision: Any) -> Engine:
    """Return an NPU and CPU engine; precision is per-tensor int8 unless said otherwise."""
    return validate(
        Engine,
        {
            "name": "test",
            "chunk_tokens": 4,
            "graph": "shared",
            "synchronization": "polling",
            "scheduler": "fifo",
            "outlier_channels": 2,
            "cold_outlier_fraction": 0.5,
            "shadow_outliers": precision.get("quantization", "per-tensor") == "per-tensor",
            "precision": {"linear_type": "int8", "weight_bits": 8, "quantization": "per-tensor"} | precision,
            "placement": {"linears": "npu", "other": "cpu"},
        },
        "test",
    )


def site(name: str, rows: int = 4, offset: int = 0, count: int = 1, llm: LLM = TINY, **precision: Any) -> tuple[Operator, ...]:
    return OperatorModel(llm, engine(**precision)).site(name, rows, offset, count)


@pytest.mark.parametrize("window", [None, 1, 3, 5, 8, 100])
@pytest.mark.parametrize("rows", [1, 2, 5, 9])
@pytest.mark.parametrize("offset", [0, 1, 4, 8])
def test_pairs_and_keys_by_counting(rows: int, offset: int, window: int | None) -> None:
    pairs = {(q, k) for q in range(offset, offset + rows) for k in range(q + 1) if window is None or q - k < window}
    assert causal_pairs(rows, offset, window) == len(pairs)
    assert visible_keys(rows, offset, window) == len({k for _, k in pairs})


def test_linear_per_tensor() -> None:
    assert site("q_proj") == (
        Operator(
            "q_proj",
            "product",
            "int8",
            ops=2 * 4 * 5 * 6,
            input_bytes=20,
            output_bytes=48,
            weight_bytes=30,
            rows=4,
            inner=5,
            columns=6,
            macs=120,
        ),
    )


def test_linear_with_bias() -> None:
    (operator,) = site("q_proj", llm=TINY.override({"qkv_bias": True}, "model"))
    assert (operator.ops, operator.weight_bytes) == (2 * 4 * 5 * 6 + 4 * 6, 30 + 6 * 2)


def test_linear_per_group() -> None:
    # down_proj is 7 x 5: two groups of up to 4 weights in each of 5 columns, each with an fp16 scale.
    (product,) = site("down_proj", quantization="per-group", group_size=4)
    assert product.weight_bytes == 35 + 2 * 5 * 2
    # 4 x 5 x 2 partial sums, each scaled and added; they stay on chip.
    assert (product.groups, product.conversion_ops, product.conversion_bytes) == (2, 2 * 40, 0)
    assert product.ops == 2 * 4 * 35 + 80


def test_linear_with_narrow_weights_dequantizes_them() -> None:
    (product,) = site("up_proj", linear_type="fp16", weight_bits=4, quantization="none")
    assert (product.conversion_ops, product.conversion_bytes) == (35, 17 + 70)
    assert (product.data_type, product.weight_bytes, product.input_bytes) == ("fp16", 17, 4 * 5 * 2)


def test_float_engine_neither_quantizes_nor_dequantizes() -> None:
    names = [
        op.name
        for name in ("attn_norm", "rope", "attention", "activation", "ffn_residual")
        for op in site(name, linear_type="fp16", weight_bits=16, quantization="none")
    ]
    assert names == ["attn_norm", "rope", "attention", "activation", "ffn_residual"]


def test_norm_and_quantize() -> None:
    norm, quantize = site("attn_norm")
    assert norm == Operator("attn_norm", "vector", "fp16", ops=4 * 20, input_bytes=40, output_bytes=40, weight_bytes=10)
    assert quantize == Operator("quantize_attn_norm", "vector", "fp16", ops=2 * 20, input_bytes=40, output_bytes=20)
    layer_norm = site("final_norm", llm=TINY.override({"norm": "layernorm"}, "model"))[0]
    assert (layer_norm.ops, layer_norm.weight_bytes) == (6 * 20, 20)


def test_attention() -> None:
    # 4 queries behind 2 tokens: 3 + 4 + 5 + 6 pairs a head, 6 keys.
    attention, quantize = site("attention", offset=2)
    assert attention == Operator(
        "attention",
        "attention",
        "fp16",
        ops=18 * 2 * (4 * 3 + 5),
        input_bytes=48,
        output_bytes=48,
        kv_bytes=2 * 6 * 3 * 2,
        rows=4,
        inner=6,
        columns=6,
        macs=18 * (4 * 3 + 5),
    )
    assert quantize.output_bytes == 24


def test_keys_and_values() -> None:
    *dequantize, rope = site("rope")
    assert [(op.name, op.ops) for op in dequantize] == [
        ("dequantize_q_proj", 4 * 6),
        ("dequantize_k_proj", 4 * 3),
        ("dequantize_v_proj", 4 * 3),
    ]
    assert rope.ops == 3 * 4 * (6 + 3)
    assert site("rope", llm=TINY.override({"partial_rotary_factor": 0.5}, "model"))[-1].ops == 3 * 4 * 9 // 2
    (append,) = site("kv_append", kv_cache_type="int8")
    assert (append.ops, append.kv_bytes, append.output_bytes) == (0, 2 * 4 * 3, 0)


@pytest.mark.parametrize(("gated", "ops"), [(True, [28, 28, 28 * 6, 56]), (False, [28, 28 * 5, 56])])
def test_activation(gated: bool, ops: list[int]) -> None:
    assert [op.ops for op in site("activation", llm=TINY.override({"gated_ffn": gated}, "model"))] == ops


def test_shadow_and_merge() -> None:
    gather, fetch, product = site("shadow:down_proj")
    assert (gather.input_bytes, gather.output_bytes) == (4 * 7 * 2, 4 * 2 * 4)
    assert (fetch.kind, fetch.weight_bytes) == ("fetch", 2 * 5 * 4 // 2)
    assert (product.ops, product.inner, product.data_type, product.weight_bytes) == (2 * 4 * 2 * 5, 2, "fp32", 2 * 5 * 4)
    (merge,) = site("merge:down_proj")
    assert (merge.ops, merge.input_bytes, merge.output_bytes) == (20, 80, 40)


@pytest.mark.parametrize(("bits", "width"), [(None, 1), (4, 0.5), (8, 1), (16, 2), (32, 4)])
def test_embedding_reads_the_rows_it_needs_as_wide_as_they_are_stored(bits: int | None, width: float) -> None:
    (embedding,) = site("embedding", embedding_bits=bits)
    assert (embedding.ops, embedding.input_bytes, embedding.output_bytes, embedding.weight_bytes) == (0, 0, 40, 20 * width)


@pytest.mark.parametrize(("bits", "data_type", "width"), [(16, "fp16", 2), (32, "fp32", 4)])
def test_lm_head_that_is_tied_to_a_float_embedding_is_a_float_product(bits: int, data_type: str, width: int) -> None:
    (head,) = site("lm_head", rows=1, embedding_bits=bits)
    assert head == Operator(
        "lm_head",
        "product",
        data_type,
        ops=2 * 5 * 11,
        input_bytes=5 * 2,
        output_bytes=11 * 2,
        weight_bytes=5 * 11 * width,
        inner=5,
        columns=11,
        macs=5 * 11,
    )


@pytest.mark.parametrize(("tied", "bits"), [(False, 32), (False, 16), (True, 8), (True, None)])
def test_other_lm_heads_are_linears_as_all_others(tied: bool, bits: int | None) -> None:
    (head,) = site("lm_head", rows=1, llm=TINY.override({"tie_word_embeddings": tied}, "model"), embedding_bits=bits)
    assert (head.data_type, head.weight_bytes, head.input_bytes) == ("int8", 5 * 11, 5)


def test_blocks_do_not_depend_on_the_embedding() -> None:
    for name in ("q_proj", "down_proj", "activation", "attention", "attn_norm"):
        assert site(name, embedding_bits=32) == site(name, embedding_bits=8)


@pytest.mark.parametrize(
    ("name", "linears"),
    [
        ("rope", ["q_proj", "k_proj", "v_proj"]),
        ("attn_residual", ["o_proj"]),
        ("activation", ["gate_proj", "up_proj"]),
        ("ffn_residual", ["down_proj"]),
    ],
)
def test_results_are_dequantized_only_for_another_processor(name: str, linears: list[str]) -> None:
    def dequantized(places: dict[str, str]) -> list[str]:
        model = OperatorModel(TINY, engine().override({"placement.operators": places}, "engine"))
        return [op.name.removeprefix("dequantize_") for op in model.site(name, 4, 0) if op.name.startswith("dequantize_")]

    assert dequantized({}) == linears  # linears are on the NPU, all else on the CPU
    assert dequantized({name: "npu"}) == []
    assert dequantized({name: "npu", linears[0]: "cpu"}) == linears[:1]
    assert dequantized(dict.fromkeys(linears, "cpu")) == []


@pytest.mark.parametrize(
    "name", ["attn_norm", "q_proj", "rope", "kv_append", "attention", "o_proj", "attn_residual", "activation", "down_proj", "lm_head"]
)
@pytest.mark.parametrize(
    "precision", [{}, {"quantization": "per-group", "group_size": 32}, {"linear_type": "fp16", "quantization": "none"}]
)
def test_executions_scale_everything_but_dimensions(name: str, precision: dict[str, Any]) -> None:
    once, thrice = site(name, **precision), site(name, count=3, **precision)
    scaled = ("ops", "input_bytes", "output_bytes", "weight_bytes", "kv_bytes", "macs", "count", "conversion_ops", "conversion_bytes")
    assert thrice == tuple(replace(op, **{field: 3 * getattr(op, field) for field in scaled}) for op in once)
