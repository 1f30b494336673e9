"""Subgraphs of a chunk: dependencies, shadow work, placement, merged stages."""

from __future__ import annotations

from collections import Counter

import pytest
from prefills import graph, llm_npu, shallow, total_ops

from socsim.catalog import list_models, load_engine, load_model
from socsim.graph import TaskGraph
from socsim.roofline import subgraph_dram_bytes
from socsim.specs import Run
from socsim.workload import prefill_graph


def test_dependencies_of_a_chain_of_blocks() -> None:
    task_graph = graph(shallow("smollm2-135m", 2), llm_npu(chunk_tokens=16), prompt_tokens=32)
    block = [(0,), (), (2,), (3,), (4,)]
    first = [(), *block, (5,), (6,), (), (8,), (9,), (10,)]
    assert list(task_graph.predecessors) == [*first, *(tuple(12 + p for p in needs) for needs in first), (23,), (24,)]
    assert [(prefix.members, prefix.waiters) for prefix in task_graph.prefixes] == [((1, 13), ((2,), (14,))), ((7, 19), ((8,), (20,)))]


def test_parallel_block() -> None:
    task_graph = graph(shallow("phi-2", 2), llm_npu(chunk_tokens=16), prompt_tokens=16)
    assert [s.stage for s in task_graph.subgraphs] == ["attn_norm", "qkv", "attention", "o_proj", "ffn"] * 2 + ["final_norm", "lm_head"]
    assert list(task_graph.predecessors) == [(), (0,), (), (2,), (0,), (3, 4), (5,), (), (7,), (5,), (8, 9), (10,)]


def needs_by_stage(task_graph: TaskGraph, chunk: int = 0) -> dict[str, tuple[str, ...]]:
    """Return stage and processor of one chunk with the stages that each needs, prefixes included."""
    rows = {}
    for index, s in enumerate(task_graph.subgraphs):
        if s.chunk == chunk:
            needed = sorted(set(task_graph.all_predecessors(index)))
            rows[f"{s.stage} {s.processor}"] = tuple(
                task_graph.subgraphs[p].stage for p in needed if task_graph.subgraphs[p].chunk == chunk
            )
    return rows


def test_kept_down_proj_splits_ffn() -> None:
    kept_one = llm_npu(chunk_tokens=16, outlier_pruning_rate=6 / 7)
    assert needs_by_stage(graph(shallow("qwen1.5-1.8b", 1), kept_one, prompt_tokens=16)) == {
        "attn_norm cpu": (),
        "qkv npu": ("attn_norm",),
        "attention cpu": ("qkv",),
        "o_proj npu": ("attention",),
        "ffn_norm cpu": ("o_proj",),
        "ffn_up npu": ("ffn_norm",),
        "ffn_down npu": ("ffn_up",),
        "shadow_down_proj cpu": ("ffn_up",),
        "merge_down_proj cpu": ("ffn_down", "shadow_down_proj"),
        "final_norm cpu": ("merge_down_proj",),
        "lm_head cpu": ("final_norm",),
    }


def test_shadow_and_merge_of_every_linear() -> None:
    task_graph = graph(shallow("qwen1.5-1.8b", 1), llm_npu(chunk_tokens=16, outlier_pruning_rate=0.0), prompt_tokens=48)
    assert needs_by_stage(task_graph, chunk=1) == {
        "attn_norm cpu": (),
        "qkv npu": ("attn_norm",),
        "shadow_q_proj cpu": ("attn_norm",),
        "merge_q_proj cpu": ("qkv", "shadow_q_proj"),
        "shadow_k_proj cpu": ("attn_norm",),
        "merge_k_proj cpu": ("qkv", "shadow_k_proj"),
        "shadow_v_proj cpu": ("attn_norm",),
        "merge_v_proj cpu": ("qkv", "shadow_v_proj"),
        "attention cpu": ("merge_q_proj", "merge_k_proj", "merge_v_proj"),
        "o_proj npu": ("attention",),
        "shadow_o_proj cpu": ("attention",),
        "merge_o_proj cpu": ("o_proj", "shadow_o_proj"),
        "ffn_norm cpu": ("merge_o_proj",),
        "ffn_up npu": ("ffn_norm",),
        "shadow_gate_proj cpu": ("ffn_norm",),
        "merge_gate_proj npu": ("ffn_up", "shadow_gate_proj"),
        "shadow_up_proj cpu": ("ffn_norm",),
        "merge_up_proj npu": ("ffn_up", "shadow_up_proj"),
        "ffn_activation npu": ("merge_gate_proj", "merge_up_proj"),
        "ffn_down npu": ("ffn_activation",),
        "shadow_down_proj cpu": ("ffn_activation",),
        "merge_down_proj cpu": ("ffn_down", "shadow_down_proj"),
    }
    # Keys and values come from the merges of all chunks so far, Q from the chunk's own.
    attention = [index for index, s in enumerate(task_graph.subgraphs) if s.stage == "attention"]
    earlier = Counter(task_graph.subgraphs[p].stage for p in task_graph.all_predecessors(attention[2]))
    assert earlier == {"merge_q_proj": 1, "merge_k_proj": 3, "merge_v_proj": 3}


@pytest.mark.parametrize("model", ["qwen1.5-1.8b", "phi-2"])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.6, 0.85, 0.95])
def test_attention_needs_keys_and_values_of_all_earlier_chunks(model: str, rate: float) -> None:
    task_graph = graph(shallow(model, 4), llm_npu(chunk_tokens=16, outlier_pruning_rate=rate), prompt_tokens=64)
    ancestors: list[set[int]] = []
    for index in range(len(task_graph)):
        needed = set(task_graph.all_predecessors(index))
        ancestors.append(needed.union(*(ancestors[p] for p in needed)))
    for index, s in enumerate(task_graph.subgraphs):
        if s.stage == "attention":
            before = [task_graph.subgraphs[p] for p in ancestors[index]]
            for stage in {
                "qkv",
                *(t.stage for t in task_graph.subgraphs if t.block == s.block and t.stage in ("merge_k_proj", "merge_v_proj")),
            }:
                assert {t.chunk for t in before if t.stage == stage and t.block == s.block} == set(range(s.chunk + 1))


@pytest.mark.parametrize("kept", ["", "q", "k", "v", "qk", "qv", "kv", "qkv"])
def test_attention_waits_for_the_merges_of_its_own_block(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.layout.kept_linears", lambda llm, engine: {(0, f"{letter}_proj") for letter in kept})
    task_graph = graph(shallow("qwen1.5-1.8b", 1), llm_npu(chunk_tokens=16), prompt_tokens=32)
    attention = max(index for index, s in enumerate(task_graph.subgraphs) if s.stage == "attention")
    found = sorted((task_graph.subgraphs[p].stage, task_graph.subgraphs[p].chunk) for p in task_graph.all_predecessors(attention))
    # Keys and values, or what they come from, of both chunks; Q of its own.
    keys = [f"merge_{letter}_proj" for letter in kept if letter in "kv"] or ["qkv"]
    queries = [("merge_q_proj", 1)] if "q" in kept else []
    assert found == sorted([(stage, chunk) for stage in keys for chunk in (0, 1)] + queries)


@pytest.mark.parametrize("model", list_models())
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_shadow_work_adds_to_the_operations_of_the_linears(model: str, rate: float) -> None:
    llm = shallow(model, 3)
    plain, kept = (graph(llm, llm_npu(chunk_tokens=32, outlier_pruning_rate=r), prompt_tokens=64) for r in (1.0, rate))
    extra = sum(s.work.ops for s in kept.subgraphs if s.stage.startswith(("shadow", "merge")))
    assert extra > 0
    assert total_ops(kept) == total_ops(plain) + extra


def test_merged_layout_has_two_subgraphs_a_block_and_norms_on_the_npu() -> None:
    two = load_engine("llm-npu-two-subgraphs").override({"outlier_pruning_rate": 1.0, "chunk_tokens": 16}, "engine")
    task_graph = graph(shallow("qwen1.5-1.8b", 3), two, prompt_tokens=32)
    middle = ("o_proj+ffn_norm+ffn+attn_norm+qkv", "npu")
    stages = [
        ("attn_norm_embedding", "cpu"),
        ("attn_norm_attn_norm+qkv", "npu"),
        ("attention", "cpu"),
        middle,
        ("attention", "cpu"),
        middle,
        ("attention", "cpu"),
        ("o_proj+ffn_norm+ffn", "npu"),
    ]
    assert [(s.stage, s.processor) for s in task_graph.subgraphs] == [*stages * 2, ("final_norm", "cpu"), ("lm_head", "cpu")]
    six = graph(shallow("qwen1.5-1.8b", 3), llm_npu(chunk_tokens=16), prompt_tokens=32)
    assert total_ops(task_graph) == total_ops(six)


def test_everything_on_one_processor_can_be_one_subgraph_a_chunk() -> None:
    merged = load_engine("cpu-only").override({"merge_adjacent": True, "chunk_tokens": 16}, "engine")
    task_graph = graph(shallow("smollm2-135m", 2), merged, prompt_tokens=48)
    assert len(task_graph) == 3 + 2
    # A subgraph that makes keys and reads them needs those of earlier chunks.
    assert [sorted(set(task_graph.all_predecessors(i))) for i in range(5)] == [[], [0], [0, 1], [2], [3]]


def test_everything_that_other_subgraphs_read_leaves() -> None:
    # One block of qwen1.5-1.8b, 256 rows: int8 weights; input int8; Q, K and V in fp16, each 2048 wide, with fp16 biases.
    llm = load_model("qwen1.5-1.8b").override({"num_hidden_layers": 1}, "model")
    engine = load_engine("llm-npu").override({"outlier_pruning_rate": 1.0}, "engine")
    graph = prefill_graph(llm, engine, Run(prompt_tokens=256))
    qkv, o_proj = (next(s.work for s in graph.subgraphs if s.stage == stage) for stage in ("qkv", "o_proj"))
    assert qkv.output_bytes == 3 * 256 * 2048 * 2
    weights = 3 * (2048 * 2048 + 2048 * 2)
    assert subgraph_dram_bytes(qkv, 8 * 2**20) == weights + 256 * 2048 + 3 * 256 * 2048 * 2
    assert o_proj.output_bytes == 256 * 2048 * 2
    assert subgraph_dram_bytes(o_proj, 8 * 2**20) == 2048 * 2048 + 256 * 2048 + 256 * 2048 * 2


def test_linears_on_other_processors_read_the_stages_input() -> None:
    llm = load_model("smollm2-135m").override({"num_hidden_layers": 2}, "model")
    changes = {"outlier_pruning_rate": 1.0, "placement.operators.k_proj": "gpu", "placement.operators.gate_proj": "gpu"}
    engine = load_engine("llm-npu").override(changes, "engine")
    graph = prefill_graph(llm, engine, Run(prompt_tokens=512))
    place = {(s.stage, s.chunk, s.block): index for index, s in enumerate(graph.subgraphs)}

    def needed(stage: str) -> set[int]:
        return set(graph.all_predecessors(place[stage, 1, 1]))

    norm = {place["attn_norm", 1, 1]}
    assert needed("qkv_q_proj") == needed("qkv_k_proj") == needed("qkv_v_proj") == norm
    own = {place["qkv_q_proj", 1, 1]}
    assert needed("attention") == own | {place[f"qkv_{name}", chunk, 1] for name in ("k_proj", "v_proj") for chunk in (0, 1)}
    assert needed("ffn_gate_proj") == {place["ffn_norm", 1, 1]}
    assert needed("ffn_up") == {place["ffn_norm", 1, 1], place["ffn_gate_proj", 1, 1]}
