"""From prompt to task graph: operations against a closed form, chunks, subgraphs, dependencies, decode."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from typing import Any

import pytest
from prefills import graph, llm_npu, shallow, total_ops

from socsim.catalog import list_models, load_model, trace_path
from socsim.errors import SocsimError
from socsim.specs import Run
from socsim.workload import Chunk, chunk_plan, prefill_graph


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
    activation = (5 if phi else 6) * ffn + 2 * ffn  # activation and gate, quantize; on the NPU as the linears before it, so is the residual
    residuals = 2 * hidden
    pairs = tokens * (tokens + 1) // 2
    attention = pairs * c["num_attention_heads"] * (4 * c["head_dim"] + 5)
    block = tokens * (2 * macs + biases + norms + heads + activation + residuals) + attention
    quantize_head = 0 if c.get("tie_word_embeddings", c["model_type"] == "gemma") else 2 * hidden  # a tied head multiplies floats
    head = norm + quantize_head + 2 * hidden * vocab + (vocab if phi else 0)
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
    embedding = 256 * 576 * 4  # the table is fp32
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
        (300, 0, {"chunk_tokens": [256, 64]}, [(0, 256, 256), (256, 44, 64)]),
        (300, 0, {"chunk_tokens": [64, 256]}, [(0, 64, 64), (64, 236, 256)]),
        (300, 100, {"chunk_tokens": [40, 100, 200]}, [(100, 40, 40), (140, 100, 100), (240, 60, 200)]),
        (300, 0, {"chunk_tokens": [256, 64], "graph": "none"}, [(0, 256, 256), (256, 44, 44)]),
        (20, 0, {"chunk_tokens": [256]}, [(0, 20, 256)]),
        (777, 0, {"chunk_tokens": "prompt"}, [(0, 777, 777)]),
        (777, 100, {"chunk_tokens": "prompt"}, [(100, 677, 677)]),
    ],
)
def test_chunks(prompt: int, cached: int, engine: dict[str, Any], plan: list[tuple[int, int, int]]) -> None:
    assert chunk_plan(llm_npu(**engine), Run(prompt_tokens=prompt, cached_tokens=cached)) == tuple(Chunk(*chunk) for chunk in plan)


def test_chunk_length_has_to_be_resolved() -> None:
    with pytest.raises(SocsimError, match="chunk_tokens 'auto' has to be resolved to numbers"):
        chunk_plan(llm_npu(chunk_tokens="auto"), Run(prompt_tokens=10))


@pytest.mark.parametrize(
    ("lengths", "cached", "message"),
    [
        ([256, 32], 0, r"\[256, 32\] holds 288 tokens, 256 without its last chunk; allowed for 300 tokens: at least 300, and less without"),
        ([256, 64, 32], 0, r"\[256, 64, 32\] holds 352 tokens, 320 without its last chunk; allowed for 300 tokens: at least 300, and less"),
        (
            [100, 100, 64],
            100,
            r"\[100, 100, 64\] holds 264 tokens, 200 without its last chunk; allowed for 200 uncached tokens: at least 200",
        ),
    ],
)
def test_listed_chunks_hold_the_prompt_and_no_chunk_is_empty(lengths: list[int], cached: int, message: str) -> None:
    with pytest.raises(SocsimError, match=rf"^engine\.chunk_tokens {message}"):
        chunk_plan(llm_npu(chunk_tokens=lengths), Run(prompt_tokens=300, cached_tokens=cached))


def test_work_does_not_depend_on_how_a_prompt_is_split() -> None:
    """Products and causal attention are the same, whatever the chunks, as long as none is padded."""
    for lengths in ([256, 64, 32], [32, 256, 64], [100, 252]):
        assert total_ops(graph("smollm2-135m", llm_npu(chunk_tokens=lengths), prompt_tokens=352)) == closed_form_ops("smollm2-135m", 352)


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
    table = 49152 * 576
    blocks = load_model("smollm2-135m").parameters - norms - table
    # int8 blocks, norms in fp16, and the fp32 table: all of it as LM head, and a row of it.
    assert step.weight_bytes == blocks + 2 * norms + 4 * table + 4 * 576
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
    with pytest.raises(SocsimError, match=r"engine\.chunk_tokens 4000 exceeds the context of phi-2; allowed: 1 to 2048"):
        graph("phi-2", llm_npu(chunk_tokens=[64, 4000]), prompt_tokens=100)
