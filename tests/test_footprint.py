"""Peak memory and preparation, against closed forms."""

from __future__ import annotations

from typing import Any

import pytest

from socsim.catalog import load_engine, load_model, load_soc
from socsim.errors import SocsimError
from socsim.footprint import Footprint, Preparation, graph_preparation, kv_cache_bytes, memory_footprint, memory_needs, npu_weight_bytes
from socsim.outliers import kept_linears
from socsim.specs import LLM, Engine, Run, SoC
from socsim.workload import chunk_plan, prefill_graph

SOC = load_soc("snapdragon-8-gen-3")
SMOL = load_model("smollm2-135m")
BLOCK_MACS = 576 * (576 + 2 * 192) + 576 * 576 + 3 * 576 * 1536
"""Weights of the linears of a block of smollm2-135m, which has 30."""


def llm_npu(**changes: Any) -> Engine:
    return load_engine("llm-npu").override({"outlier_pruning_rate": 1.0} | changes, "engine")


def footprint(engine: Engine, llm: LLM = SMOL, soc: SoC = SOC, **tokens: int) -> Footprint:
    run = Run(**({"prompt_tokens": 1024} | tokens))
    needs = memory_needs(llm, engine, run, prefill_graph(llm, engine, run), chunk_plan(engine, run))
    return memory_footprint(needs, llm, soc, run)


@pytest.mark.parametrize("model", ["qwen1.5-1.8b", "gemma-2b", "llama-2-7b"])
def test_kv_cache(model: str) -> None:
    llm = load_model(model)
    token = 2 * llm.num_hidden_layers * llm.num_key_value_heads * llm.head_dim * 2
    assert kv_cache_bytes(llm, llm_npu(), 1000) == 1000 * token
    assert kv_cache_bytes(llm, llm_npu(**{"precision.kv_cache_type": "int8"}), 1000) == 1000 * token // 2


def test_kv_cache_of_a_run_holds_prompt_and_output() -> None:
    token = 2 * 30 * 3 * 64 * 2
    assert footprint(llm_npu(), prompt_tokens=1000, output_tokens=11).kv_cache_bytes == 1010 * token
    assert footprint(llm_npu(), prompt_tokens=1000, cached_tokens=500).kv_cache_bytes == 1000 * token


def test_sliding_window_bounds_the_kv_cache() -> None:
    mistral = load_model("mistral-7b")
    assert kv_cache_bytes(mistral, llm_npu(), 4096) == kv_cache_bytes(mistral, llm_npu(), 10**6) == 2 * 32 * 4096 * 8 * 128 * 2


def test_weights_are_counted_once_as_stored() -> None:
    vocabulary, norms = 49152 * 576, (2 * 30 + 1) * 576
    alike = {"precision.embedding_bits": None}
    assert footprint(llm_npu(**alike)).weights_bytes == 30 * BLOCK_MACS + vocabulary + 2 * norms
    assert footprint(llm_npu(**alike, **{"precision.weight_bits": 4})).weights_bytes == (30 * BLOCK_MACS + vocabulary) // 2 + 2 * norms
    untied = SMOL.override({"tie_word_embeddings": False}, "model")
    assert footprint(llm_npu(**alike), untied).weights_bytes == 30 * BLOCK_MACS + 2 * vocabulary + 2 * norms


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
def test_a_tied_embedding_counts_once_in_its_own_bits_and_an_untied_head_in_those_of_weights(bits: int) -> None:
    vocabulary, norms = 49152 * 576, (2 * 30 + 1) * 576
    engine = llm_npu(**{"precision.embedding_bits": bits})
    assert footprint(engine).weights_bytes == 30 * BLOCK_MACS + vocabulary * bits // 8 + 2 * norms
    untied = SMOL.override({"tie_word_embeddings": False}, "model")
    assert footprint(engine, untied).weights_bytes == 30 * BLOCK_MACS + vocabulary * bits // 8 + vocabulary + 2 * norms


def test_groups_add_their_scales() -> None:
    per_group = load_engine("npu-chunk")
    assert per_group.precision.group_size is not None
    scales = 30 * BLOCK_MACS // per_group.precision.group_size * 2
    per_tensor = llm_npu(**{"precision.embedding_bits": per_group.precision.embedding_bits})
    # The tied LM head counts as embedding, which has no groups.
    assert footprint(per_group).weights_bytes == footprint(per_tensor).weights_bytes + scales
    assert npu_weight_bytes(SMOL, per_group) == 30 * BLOCK_MACS + scales


def test_npu_holds_what_it_computes() -> None:
    assert npu_weight_bytes(SMOL, llm_npu()) == 30 * BLOCK_MACS
    for bits, width in ((32, 4), (16, 2), (8, 1), (None, 1)):
        head_too = llm_npu(**{"placement.operators": {"lm_head": "npu"}, "precision.embedding_bits": bits})
        assert npu_weight_bytes(SMOL, head_too) == 30 * BLOCK_MACS + 49152 * 576 * width
    assert npu_weight_bytes(SMOL, load_engine("cpu-only")) == 0


def test_graphs_that_are_not_shared_copy_weights_and_buffers_for_every_chunk() -> None:
    shared, copied = footprint(llm_npu()), footprint(llm_npu(graph="per-chunk"))
    assert (shared.graph_weights_bytes, copied.graph_weights_bytes) == (0, 3 * 30 * BLOCK_MACS)
    assert copied.graph_buffers_bytes == 4 * shared.graph_buffers_bytes
    # Input and output of qkv, o_proj and ffn at 256 rows; int8 in, fp16 out. The last operator of qkv is v_proj.
    assert shared.graph_buffers_bytes == 30 * 256 * ((576 + 2 * (576 + 2 * 192)) + (576 + 2 * 576) + (576 + 2 * 576))
    assert footprint(llm_npu(graph="none")).graph_buffers_bytes == 0
    assert copied.npu_bytes == 4 * shared.npu_bytes


def test_shadow_weights_of_hot_channels() -> None:
    engine = llm_npu(outlier_pruning_rate=0.85)
    shapes = SMOL.linear_shapes
    kept = kept_linears(SMOL, engine)
    assert len(kept) == 32  # 15 % of 210, rounded
    assert footprint(engine).shadow_weights_bytes == sum(-(-shapes[name][0] * 3 // 100) * shapes[name][1] * 4 for _, name in kept)
    assert footprint(llm_npu()).shadow_weights_bytes == 0


def test_total_is_the_sum_of_its_parts() -> None:
    found = footprint(llm_npu(outlier_pruning_rate=0.5, graph="per-chunk"))
    parts = (
        found.weights_bytes,
        found.graph_weights_bytes,
        found.graph_buffers_bytes,
        found.kv_cache_bytes,
        found.activation_bytes,
        found.shadow_weights_bytes,
    )
    assert min(parts) > 0
    assert found.total_bytes == sum(parts)


def test_activations_are_those_of_the_largest_operator() -> None:
    # The gated activation reads two tensors of 256 x 1536 fp16 and writes one.
    assert footprint(llm_npu()).activation_bytes == 3 * 256 * 1536 * 2


@pytest.mark.parametrize(("limit", "sessions"), [(None, 1), (1e12, 1), (60e6, 3)])
def test_npu_sessions(limit: float | None, sessions: int) -> None:
    soc = SOC.override({"processors.npu.addressable_memory_bytes": limit}, "soc")
    found = footprint(llm_npu(), soc=soc)
    assert 120e6 < found.npu_bytes < 180e6
    assert found.npu_sessions == sessions
    assert footprint(load_engine("cpu-only")).npu_sessions == 0


def test_model_that_does_not_fit() -> None:
    soc = SOC.override({"dram.capacity_bytes": 2e9}, "soc")
    with pytest.raises(
        SocsimError,
        match=r"^llama-2-7b with 64 prompt and 1 output tokens needs at least 7\.\d+ GB on snapdragon-8-gen-3, "
        r"allowed: 2 GB \(dram\.capacity_bytes\); "
        r"the largest part is weights with 7\.\d+ GB$",
    ):
        footprint(llm_npu(), load_model("llama-2-7b"), soc, prompt_tokens=64)


def test_kv_cache_that_does_not_fit() -> None:
    with pytest.warns(UserWarning, match="exceed"), pytest.raises(SocsimError, match=r"the largest part is kv_cache with 27\.48 GB$"):
        footprint(llm_npu(), load_model("gemma-2b").override({"num_key_value_heads": 8}, "model"), prompt_tokens=186368)


def prepared(engine: Engine, soc: SoC = SOC, prompt: int = 1024) -> Preparation:
    run = Run(prompt_tokens=prompt)
    return graph_preparation(SMOL, engine, soc, prefill_graph(SMOL, engine, run), chunk_plan(engine, run))


def test_stages_of_preparation() -> None:
    changes = {"build_s_per_subgraph": 1e-3, "optimize_s_per_weight_byte": 1e-8, "setup_s": 0.5, "load_bytes_per_s": 1e9}
    soc = SOC.override({f"processors.npu.graph_life_cycle.{field}": value for field, value in changes.items()}, "soc")
    weights = 30 * BLOCK_MACS
    for engine in (llm_npu(), llm_npu(graph="per-chunk"), llm_npu(graph="rebuilt")):
        assert prepared(engine, soc).build_s == pytest.approx(0.09)
        assert prepared(engine, soc).optimize_s == pytest.approx(weights * 1e-8)
    # More subgraphs a block take longer to describe, not to compile.
    split = llm_npu(**{"placement.operators": {"activation": "cpu", "attn_residual": "npu", "ffn_residual": "npu"}})
    assert prepared(split, soc).build_s == pytest.approx(0.12)
    assert prepared(split, soc).optimize_s == prepared(llm_npu(), soc).optimize_s
    # Chunk lengths share the weights that are loaded; graphs of each of the four chunks have their own.
    assert prepared(llm_npu(), soc).load_s == pytest.approx(0.5 + weights / 1e9)
    assert prepared(llm_npu(graph="per-chunk"), soc).load_s == pytest.approx(0.5 + 4 * weights / 1e9)
    assert prepared(llm_npu(graph="rebuilt"), soc).load_s is None
    unknown = soc.override({"processors.npu.graph_life_cycle.load_bytes_per_s": None}, "soc")
    assert prepared(llm_npu(), unknown).load_s is None
    assert prepared(load_engine("cpu-only"), soc) == Preparation(0.0, 0.0, 0.0, 0.0, None)


def test_preparation() -> None:
    cycle = SOC.processors["npu"].graph_life_cycle
    assert cycle is not None
    weights = 30 * BLOCK_MACS
    once = 90 * cycle.build_s_per_subgraph + cycle.optimize_s_per_weight_byte * weights  # qkv, o_proj and ffn of 30 blocks

    def preparation(engine: Engine, soc: SoC = SOC, prompt: int = 1024) -> tuple[float, float]:
        found = prepared(engine, soc, prompt)
        return found.total_s, found.charged_s

    assert preparation(llm_npu()) == pytest.approx((cycle.setup_s + 4 * once, 0.0))
    assert preparation(llm_npu(prebuilt_chunk_tokens=[])) == pytest.approx((cycle.setup_s + once, 0.0))
    assert preparation(llm_npu(prebuilt_chunk_tokens=[32], chunk_tokens=64)) == pytest.approx((cycle.setup_s + 2 * once, 0.0))
    assert preparation(llm_npu(graph="per-chunk")) == pytest.approx((cycle.setup_s + 4 * once, 0.0))
    assert preparation(llm_npu(graph="per-chunk"), prompt=2048) == pytest.approx((cycle.setup_s + 8 * once, 0.0))
    assert preparation(llm_npu(graph="rebuilt")) == pytest.approx((cycle.setup_s + once + cycle.free_s, once))
    listed = {"chunk_tokens": [512, 256, 256, 100]}  # one more length than is prebuilt, and another one
    assert preparation(llm_npu(**listed), prompt=1100) == pytest.approx((cycle.setup_s + 6 * once, 0.0))
    assert preparation(llm_npu(graph="per-chunk", **listed), prompt=1100) == pytest.approx((cycle.setup_s + 4 * once, 0.0))
    assert preparation(llm_npu(graph="rebuilt", **listed), prompt=1100) == pytest.approx(
        (cycle.setup_s + 3 * (once + cycle.free_s), 3 * once)
    )
    assert preparation(load_engine("cpu-only")) == (0.0, 0.0)
    assert preparation(llm_npu(), SOC.override({"processors.npu.graph_life_cycle": None}, "soc")) == (0.0, 0.0)
    cpu_linears = {"placement.linears": "cpu", "shadow_outliers": False}
    assert preparation(llm_npu(**cpu_linears)) == (0.0, 0.0)
