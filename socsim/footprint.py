"""What must be in memory for a run, and what must be prepared before it: weights, graphs, KV cache, shadow weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from socsim.errors import SocsimError
from socsim.graph import DATA_TYPE_BYTES, TaskGraph
from socsim.linears import NORM_BYTES, SHADOW_WEIGHT_BYTES
from socsim.operators import OperatorModel
from socsim.outliers import kept_linears
from socsim.specs import LLM, Engine, GraphLifeCycle, Run, SoC
from socsim.workload import Chunk


@dataclass(frozen=True)
class Footprint:
    """Peak memory of a run by part, in bytes."""

    weights_bytes: int
    """All weights, once."""
    graph_weights_bytes: int
    """Further copies of weights in static graphs that are not shared by chunks."""
    graph_buffers_bytes: int
    """Input and output tensors of static graphs."""
    kv_cache_bytes: int
    activation_bytes: int
    """Input and output of the operator that has the most."""
    shadow_weights_bytes: int
    """Float weights of hot outlier channels."""
    npu_bytes: int
    """The part that the NPU maps: its weights, their copies, its graph buffers."""
    npu_sessions: int
    """NPU sessions needed, as each maps no more than its address space; 0 without NPU."""

    @property
    def total_bytes(self) -> int:
        """All parts together; the NPU's are contained in them."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, int]:
        """Bytes of each part by its name, without ``_bytes``."""
        return {name.removesuffix("_bytes"): value for name, value in vars(self).items() if not name.startswith("npu_")}


def npu_weight_bytes(llm: LLM, engine: Engine) -> int:
    """Return the bytes of weights that the NPU reads in a prefill."""
    model = OperatorModel(llm, engine)
    blocks = sum(model.weight_bytes(k, n) for name, (k, n) in llm.linear_shapes.items() if engine.placement.processor(name) == "npu")
    head = model.head_weight_bytes if engine.placement.processor("lm_head") == "npu" else 0
    return llm.num_hidden_layers * blocks + head


def _weight_bytes(llm: LLM, engine: Engine) -> int:
    """Return the bytes of all weights as the engine stores them; tied embeddings count once."""
    model = OperatorModel(llm, engine)
    linears = {name: k * n for name, (k, n) in llm.linear_shapes.items()}
    stored = sum(model.weight_bytes(k, n) for k, n in llm.linear_shapes.values())
    rest = llm.block_parameters - sum(linears.values())
    embedding = model.embedding_bytes(llm.vocab_size * llm.hidden_size)
    head = 0 if llm.tie_word_embeddings else model.head_weight_bytes
    head += llm.vocab_size * NORM_BYTES if llm.lm_head_bias else 0
    return llm.num_hidden_layers * (stored + rest * NORM_BYTES) + embedding + head + llm.norm_size * NORM_BYTES


def kv_cache_bytes(llm: LLM, engine: Engine, tokens: int) -> int:
    """Return the bytes of keys and values of some tokens; a sliding window keeps no more than itself."""
    kept = tokens if llm.sliding_window is None else min(tokens, llm.sliding_window)
    return 2 * llm.num_hidden_layers * kept * llm.key_value_size * DATA_TYPE_BYTES[engine.precision.kv_cache_type]


def _shadow_weight_bytes(llm: LLM, engine: Engine) -> int:
    """Return the bytes of the float weights of hot channels, of all linears that keep their outliers."""
    shapes = llm.linear_shapes
    return sum(
        ceil(shapes[name][0] * engine.hot_channel_fraction) * shapes[name][1] * SHADOW_WEIGHT_BYTES for _, name in kept_linears(llm, engine)
    )


def _graph_buffer_bytes(graph: TaskGraph, engine: Engine) -> int:
    """Return the bytes of input and output tensors of the NPU's static graphs.

    A shared graph exists once for each block, stage and chunk length, and once a chunk where it depends on the place in
    the prompt (attention); graphs that are not shared exist once a chunk.
    """
    if not engine.static_shapes:
        return 0
    sizes = {}
    for subgraph in graph.subgraphs[: graph.prefill_count]:
        if subgraph.processor == "npu":
            variant = id(subgraph.work) if engine.graph == "shared" else subgraph.chunk
            sizes[subgraph.position, variant] = subgraph.work.operators[0].input_bytes + subgraph.work.output_bytes
    return sum(sizes.values())


def memory_needs(llm: LLM, engine: Engine, run: Run, graph: TaskGraph, chunks: Sequence[Chunk]) -> Footprint:
    """Return the peak memory of a run by part, whatever the SoC; the sessions that its NPU needs are left at 0."""
    npu_weights = npu_weight_bytes(llm, engine)
    copies = (len(chunks) - 1) * npu_weights if engine.graph == "per-chunk" else 0
    buffers = _graph_buffer_bytes(graph, engine)
    works = {id(work): work for work, _ in graph.kinds[0]}.values()
    return Footprint(
        weights_bytes=_weight_bytes(llm, engine),
        graph_weights_bytes=copies,
        graph_buffers_bytes=buffers,
        kv_cache_bytes=kv_cache_bytes(llm, engine, run.prompt_tokens + run.output_tokens - 1),
        activation_bytes=max(((op.input_bytes + op.output_bytes) // op.count for work in works for op in work.operators), default=0),
        shadow_weights_bytes=_shadow_weight_bytes(llm, engine),
        npu_bytes=npu_weights + copies + buffers,
        npu_sessions=0,
    )


def memory_footprint(needs: Footprint, llm: LLM, soc: SoC, run: Run) -> Footprint:
    """Return the peak memory of a run on a SoC, from what the run needs anywhere.

    Raises
    ------
    SocsimError
        It exceeds the phone's memory; the message says which part is the largest.
    """
    limit = soc.processors["npu"].addressable_memory_bytes if "npu" in soc.processors else None
    _check_fits(llm, soc, run, needs.parts)
    return replace(needs, npu_sessions=(ceil(needs.npu_bytes / limit) if limit else 1) if needs.npu_bytes else 0)


def check_fits(llm: LLM, engine: Engine, soc: SoC, run: Run) -> None:
    """Check what is known before the task graph is built: that weights and KV cache fit the phone's memory.

    Raises
    ------
    SocsimError
        They exceed it.
    """
    tokens = run.prompt_tokens + run.output_tokens - 1
    _check_fits(llm, soc, run, {"weights": _weight_bytes(llm, engine), "kv_cache": kv_cache_bytes(llm, engine, tokens)})


def _check_fits(llm: LLM, soc: SoC, run: Run, parts: dict[str, int]) -> None:
    total = sum(parts.values())
    if total > soc.dram.capacity_bytes:
        largest = max(parts, key=lambda name: parts[name])
        raise SocsimError(
            f"{llm.name} with {run.prompt_tokens} prompt and {run.output_tokens} output tokens needs at least {total / 1e9:.4g} GB "
            f"on {soc.name}, allowed: {soc.dram.capacity_bytes / 1e9:.4g} GB (dram.capacity_bytes); "
            f"the largest part is {largest} with {parts[largest] / 1e9:.4g} GB"
        )


@dataclass(frozen=True)
class Preparation:
    """Time before the first prompt, and the part of it that every prompt waits for again."""

    total_s: float = 0.0
    charged_s: float = 0.0
    build_s: float = 0.0
    """Describing one set of graphs, those of one chunk length, to the runtime."""
    optimize_s: float = 0.0
    """Compiling one set of graphs."""
    load_s: float | None = None
    """Loading all graphs that were optimized and saved before, instead of building them; None where that is not known."""


def graph_preparation(llm: LLM, engine: Engine, soc: SoC, graph: TaskGraph, chunks: Sequence[Chunk]) -> Preparation:
    """Return what static graphs cost before the prompt.

    Building depends on the number of subgraphs, optimizing and loading on the bytes of weights in them. Shared graphs are
    built for each prebuilt chunk length and the one in use; graphs of each chunk once a chunk. An engine that rebuilds
    pays for building and optimizing, once for each chunk length, before every prompt; freeing comes after it.
    """
    cycle: GraphLifeCycle | None = soc.processors["npu"].graph_life_cycle if "npu" in soc.processors else None
    weights = npu_weight_bytes(llm, engine)
    if cycle is None or engine.graph == "none" or not weights:
        return Preparation()
    subgraphs = graph.prefill_positions.get("npu", 0)
    build_s, optimize_s = cycle.build_s_per_subgraph * subgraphs, cycle.optimize_s_per_weight_byte * weights
    once = build_s + optimize_s
    used = {chunk.rows for chunk in chunks}
    if engine.graph == "rebuilt":
        charged_s = len(used) * once
        return Preparation(cycle.setup_s + charged_s + len(used) * cycle.free_s, charged_s, build_s, optimize_s)
    sets = len(chunks) if engine.graph == "per-chunk" else len({*engine.prebuilt_chunk_tokens, *used})
    # Chunk lengths share weights where graphs are shared; graphs of each chunk have copies of their own.
    copies = len(chunks) if engine.graph == "per-chunk" else 1
    load_s = cycle.setup_s + copies * weights / cycle.load_bytes_per_s if cycle.load_bytes_per_s is not None else None
    return Preparation(cycle.setup_s + sets * once, 0.0, build_s, optimize_s, load_s)
