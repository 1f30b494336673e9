"""From prompt to task graph: operations against a closed form, chunks, subgraphs, dependencies, decode."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from typing import Any

import pytest

from socsim.catalog import list_models, load_engine, load_model, trace_path
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.roofline import subgraph_dram_bytes
from socsim.specs import LLM, Engine, Run
from socsim.workload import Chunk, chunk_plan, prefill_graph


def llm_npu(**changes: Any) -> Engine:
    """Return llm.npu without shadow outliers, unless they are asked for."""
    return load_engine("llm-npu").override({"outlier_pruning_rate": 1.0} | changes, "engine")


def shallow(model: str, layers: int) -> LLM:
    return load_model(model).override({"num_hidden_layers": layers}, "model")


def graph(model: str | LLM, engine: Engine, **run: int) -> TaskGraph:
    return prefill_graph(load_model(model) if isinstance(model, str) else model, engine, Run(**run))


def total_ops(task_graph: TaskGraph) -> int:
    return sum(subgraph.work.ops for subgraph in task_graph.subgraphs)


def closed_form_ops(model: str, tokens: int) -> int:
    """Operations of a quantized prefill, written down from the numbers of the configuration file."""
    c = json.loads(trace_path(f"llm_{model}.json").read_text())
    phi = c["model_type"] == "phi"
    hidden, ffn, vocab = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    query, key_value = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    norm, up_linears = (6 if phi else 4) * hidden, 1 if phi else 2
    macs = hidden * (query + 2 * key_value) + query * hidden + (up_linears + 1) * hidden * ffn
    biases = {"phi": query + 2 * key_value + hidden + ffn + hidden, "qwen2": query + 2 * key_value}.get(c["model_type"], 0)
    norms = (1 if phi else 2) * (norm + 2 * hidden)  # each with quantization
    heads = (
        query + 2 * key_value + round(3 * (query + key_value) * c.get("partial_rotary_factor", 1.0)) + 2 * query
    )  # dequantize, RoPE, quantize
    activation = up_linears * ffn + (5 if phi else 6) * ffn + 2 * ffn  # dequantize, activation and gate, quantize
    residuals = 2 * (hidden + hidden)  # each with dequantization
    pairs = tokens * (tokens + 1) // 2
    attention = pairs * c["num_attention_heads"] * (4 * c["head_dim"] + 5)
    block = tokens * (2 * macs + biases + norms + heads + activation + residuals) + attention
    head = norm + 2 * hidden + 2 * hidden * vocab + (vocab if phi else 0)
    return int(c["num_hidden_layers"] * block + head)


@pytest.mark.parametrize("model", list_models())
def test_operations_equal_the_closed_form(model: str) -> None:
    whole = graph(model, llm_npu(chunk_tokens="prompt"), prompt_tokens=1024)
    assert total_ops(whole) == closed_form_ops(model, 1024)


@pytest.mark.parametrize("model", list_models())
def test_split_prefill_has_the_operations_of_the_unsplit_one(model: str) -> None:
    for chunk_tokens in (32, 256, 1024):
        assert total_ops(graph(model, llm_npu(chunk_tokens=chunk_tokens), prompt_tokens=1024)) == closed_form_ops(model, 1024)


def test_split_prefill_moves_each_weight_once_a_chunk() -> None:
    one, four = (graph("smollm2-135m", llm_npu(chunk_tokens=c), prompt_tokens=256) for c in (256, 64))
    head = sum(s.work.weight_bytes for s in one.subgraphs[-2:])
    embedding = 256 * 576
    weights = [sum(s.work.weight_bytes for s in g.subgraphs) - head - embedding for g in (one, four)]
    assert weights[1] == 4 * weights[0]


def test_kv_cache_bytes() -> None:
    # A chunk writes its own keys and values and reads those of all tokens so far; fp16, 3 KV heads of 64, 30 blocks.
    token = 2 * 3 * 64 * 2 * 30
    task_graph = graph("smollm2-135m", llm_npu(chunk_tokens=64), prompt_tokens=256)
    assert sum(s.work.kv_bytes for s in task_graph.subgraphs) == token * (256 + 64 + 128 + 192 + 256)


@pytest.mark.parametrize(
    ("prompt", "cached", "engine", "plan"),
    [
        (512, 0, {}, [(0, 256, 256), (256, 256, 256)]),
        (300, 0, {}, [(0, 256, 256), (256, 44, 256)]),
        (300, 0, {"graph": "none"}, [(0, 256, 256), (256, 44, 44)]),
        (300, 100, {}, [(100, 200, 256)]),
        (600, 100, {}, [(100, 256, 256), (356, 244, 256)]),
        (256, 0, {}, [(0, 256, 256)]),
        (20, 0, {}, [(0, 20, 32)]),
        (64, 0, {}, [(0, 64, 64)]),
        (65, 0, {}, [(0, 65, 128)]),
        (20, 0, {"chunk_tokens": 16}, [(0, 16, 16), (16, 4, 16)]),
        (20, 0, {"prebuilt_chunk_tokens": []}, [(0, 20, 256)]),
        (200, 0, {"chunk_tokens": 300, "prebuilt_chunk_tokens": [64, 512]}, [(0, 200, 300)]),
        (777, 0, {"chunk_tokens": "prompt"}, [(0, 777, 777)]),
        (777, 100, {"chunk_tokens": "prompt"}, [(100, 677, 677)]),
    ],
)
def test_chunks(prompt: int, cached: int, engine: dict[str, Any], plan: list[tuple[int, int, int]]) -> None:
    assert chunk_plan(llm_npu(**engine), Run(prompt_tokens=prompt, cached_tokens=cached)) == tuple(Chunk(*chunk) for chunk in plan)


def test_chunk_length_has_to_be_resolved() -> None:
    with pytest.raises(SocsimError, match="chunk_tokens 'auto' has to be resolved to a number"):
        chunk_plan(llm_npu(chunk_tokens="auto"), Run(prompt_tokens=10))


def test_cached_tokens_leave_out_their_chunks() -> None:
    full = graph("smollm2-135m", llm_npu(), prompt_tokens=1024)
    rest = graph("smollm2-135m", llm_npu(), prompt_tokens=1024, cached_tokens=512)
    later = [s.work.ops for s in full.subgraphs if s.chunk >= 2]
    assert [s.work.ops for s in rest.subgraphs] == later
    assert [s.work.kv_bytes for s in rest.subgraphs] == [s.work.kv_bytes for s in full.subgraphs if s.chunk >= 2]
    assert rest.prefixes[0].members == (1, 181)  # two chunks of 30 blocks of six


def test_qwen_has_six_subgraphs_a_block_and_578_in_four_chunks() -> None:
    task_graph = graph("qwen1.5-1.8b", llm_npu(), prompt_tokens=1024)
    assert len(task_graph) == task_graph.prefill_count == 4 * 144 + 2 == 578
    stages = [("attn_norm", "cpu"), ("qkv", "npu"), ("attention", "cpu"), ("o_proj", "npu"), ("ffn_norm", "cpu"), ("ffn", "npu")]
    expected = [
        (stage, chunk, block, 6 * block + place, processor)
        for chunk in range(4)
        for block in range(24)
        for place, (stage, processor) in enumerate(stages)
    ]
    assert [s[:5] for s in task_graph.subgraphs] == [*expected, ("final_norm", 3, 24, 144, "cpu"), ("lm_head", 3, 24, 145, "cpu")]


def test_120_of_144_subgraphs_are_shared_by_all_chunks() -> None:
    task_graph = graph("qwen1.5-1.8b", llm_npu(), prompt_tokens=1024)
    works = [{id(task_graph.subgraphs[144 * chunk + place].work) for chunk in range(4)} for place in range(144)]
    assert Counter(len(work) for work in works) == {1: 120, 4: 24}
    assert {task_graph.subgraphs[place].stage for place in range(144) if len(works[place]) == 4} == {"attention"}


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


def test_sliding_window_bounds_attention() -> None:
    windowed = shallow("mistral-7b", 1).override({"sliding_window": 64}, "model")
    attention = [s.work for s in graph(windowed, llm_npu(chunk_tokens=64), prompt_tokens=256).subgraphs if s.stage == "attention"]
    pairs = [64 * 65 // 2, 64 * 64, 64 * 64, 64 * 64]
    assert [next(op.ops for op in work.operators if op.kind == "attention") for work in attention] == [
        p * 32 * (4 * 128 + 5) for p in pairs
    ]
    assert [work.kv_bytes for work in attention] == [2 * 8 * 128 * 2 * (64 + keys) for keys in (64, 127, 127, 127)]


def test_decode_steps_follow_one_by_one_and_read_a_growing_cache() -> None:
    task_graph = graph("smollm2-135m", llm_npu(chunk_tokens=64), prompt_tokens=100, output_tokens=4)
    count = task_graph.prefill_count
    steps = task_graph.subgraphs[count:]
    assert [(s.stage, s.chunk, s.block, s.processor) for s in steps] == [("decode", 2 + i, 30, "cpu") for i in range(3)]
    assert list(task_graph.predecessors[count:]) == [(count - 1,), (count,), (count + 1,)]
    token = 2 * 3 * 64 * 2 * 30
    assert [s.work.kv_bytes for s in steps] == [token * (1 + 101 + i) for i in range(3)]


def test_decode_step_reads_every_weight_once_and_computes_as_a_prompt_of_one_token() -> None:
    step = graph("smollm2-135m", llm_npu(chunk_tokens=64), prompt_tokens=100, output_tokens=2).subgraphs[-1].work
    norms = (2 * 30 + 1) * 576
    matrices = load_model("smollm2-135m").parameters - norms
    assert step.weight_bytes == matrices + 2 * norms + 576  # int8, norms in fp16, and a row of the tied embedding
    assert step.ops == closed_form_ops("smollm2-135m", 1) + 100 * 30 * 9 * (4 * 64 + 5)


def test_decode_on_the_gpu_and_without_ffn_norm_in_parallel_blocks() -> None:
    engine = llm_npu(chunk_tokens=64, decode_processor="gpu")
    step = graph(shallow("phi-2", 2), engine, prompt_tokens=64, output_tokens=2).subgraphs[-1]
    assert step.processor == "gpu"
    names = [op.name for op in step.work.operators]
    assert "ffn_norm" not in names
    assert names.count("attn_norm") == 1
    assert next(op for op in step.work.operators if op.name == "attn_norm").count == 2


def test_prompt_of_131072_tokens_has_a_linear_number_of_edges() -> None:
    gemma = load_model("gemma-2b")
    edges = {}
    for tokens in (1024, 131072):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task_graph = prefill_graph(gemma, llm_npu(), Run(prompt_tokens=tokens))
        chunks = tokens // 256
        assert len(task_graph) == chunks * 18 * 6 + 2
        edges[chunks] = sum(map(len, task_graph.predecessors)) + sum(len(w) for prefix in task_graph.prefixes for w in prefix.waiters)
        assert sum(len(prefix.members) for prefix in task_graph.prefixes) == chunks * 18
    assert edges[512] - 2 == 128 * (edges[4] - 2)


def test_prompt_beyond_the_context_warns() -> None:
    with pytest.warns(UserWarning, match="2049 tokens exceed the 2048-token context of phi-2"):
        graph(shallow("phi-2", 1), llm_npu(), prompt_tokens=2048, output_tokens=2)


def test_prompt_that_fills_the_context_does_not_warn() -> None:
    assert len(graph(shallow("phi-2", 1), llm_npu(), prompt_tokens=2048))


def test_chunk_beyond_the_context_is_refused() -> None:
    with pytest.raises(SocsimError, match=r"engine\.chunk_tokens 4096 exceeds the context of phi-2; allowed: 1 to 2048"):
        graph("phi-2", llm_npu(chunk_tokens=4096), prompt_tokens=10)


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
