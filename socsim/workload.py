"""From prompt, LLM and engine to the task graph: chunks, subgraphs by placement, shadow-outlier work, decode steps."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from socsim.errors import SocsimError
from socsim.graph import Prefix, Subgraph, TaskGraph, Work
from socsim.operators import OperatorModel
from socsim.outliers import kept_linears
from socsim.specs import LINEARS, LLM, Engine, Run

STAGES: dict[str, tuple[str, ...]] = {
    "attn_norm": ("attn_norm",),
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "attention": ("rope", "kv_append", "attention"),
    "o_proj": ("o_proj", "attn_residual"),
    "ffn_norm": ("ffn_norm",),
    "ffn": ("gate_proj", "up_proj", "activation", "down_proj", "ffn_residual"),
}
"""The six subgraphs of a block and the placement sites in each."""

_CONSUMER = {"q_proj": "rope", "k_proj": "rope", "v_proj": "rope", "gate_proj": "activation", "up_proj": "activation"}
"""Site that consumes a linear's result inside the block, and so runs the merge of its shadow."""


class Chunk(NamedTuple):
    """One chunk of the prompt."""

    offset: int
    """Tokens before it."""
    tokens: int
    """Tokens of the prompt in it."""
    rows: int
    """Rows that are computed, padding included."""


def chunk_plan(engine: Engine, run: Run) -> tuple[Chunk, ...]:
    """Split the part of the prompt that is not cached into chunks.

    Static graphs pad the last chunk; a prompt shorter than one chunk takes the shortest prebuilt length that holds it.

    Raises
    ------
    SocsimError
        `engine.chunk_tokens` is ``auto``: choose a length first.
    """
    tokens = run.prompt_tokens - run.cached_tokens
    if engine.chunk_tokens == "auto":
        raise SocsimError("chunk_tokens 'auto' has to be resolved to a number before the prompt is split")
    length = tokens if engine.chunk_tokens == "prompt" else engine.chunk_tokens
    if tokens < length:
        length = min((c for c in engine.prebuilt_chunk_tokens if tokens <= c <= length), default=length)
    starts = range(0, tokens, length)
    return tuple(
        Chunk(run.cached_tokens + start, min(length, tokens - start), length if engine.static_shapes else min(length, tokens - start)) for start in starts
    )


def check_context(llm: LLM, engine: Engine, run: Run) -> None:
    """Check chunk length and prompt against the model's context.

    Raises
    ------
    SocsimError
        A chunk is longer than the context.

    Warns
    -----
    UserWarning
        Prompt and output are longer than the context.
    """
    context = llm.max_position_embeddings
    if isinstance(engine.chunk_tokens, int) and engine.chunk_tokens > context:
        raise SocsimError(f"engine.chunk_tokens {engine.chunk_tokens} exceeds the context of {llm.name}; allowed: 1 to {context}")
    total = run.prompt_tokens + run.output_tokens - 1
    if total > context:
        warnings.warn(f"{total} tokens exceed the {context}-token context of {llm.name}; quality is undefined, cost is as computed", stacklevel=3)


@dataclass(slots=True)
class _Task:
    """One subgraph of a chunk before it is tied to a chunk; dependencies are places in the chunk."""

    stage: str
    block: int
    processor: str
    sites: list[str]
    needs: set[int] = field(default_factory=set)
    keys_of: set[int] = field(default_factory=set)
    """Places whose work in this and all earlier chunks must be done (producers of keys and values)."""
    open_end: bool = True
    """Whether the next stage may be merged into this subgraph."""


class _ChunkLayout:
    """The subgraphs that every chunk has in common, in the order block, stage."""

    def __init__(self, llm: LLM, engine: Engine) -> None:
        self.llm, self.engine = llm, engine
        self.kept = kept_linears(llm, engine)
        self.tasks: list[_Task] = []
        stream: set[int] = set()
        for block in range(llm.num_hidden_layers):
            stream = self._block(block, stream)
        self.result = stream

    def _block(self, block: int, stream: set[int]) -> set[int]:
        """Add one block behind the residual stream; return what the next one needs."""
        normalized = self._stage("attn_norm", block, stream)
        heads = self._stage("qkv", block, normalized)
        attention = self._stage("attention", block, heads)
        projected = self._stage("o_proj", block, attention)
        if self.llm.parallel_block:
            return projected | self._stage("ffn", block, normalized)
        return self._stage("ffn", block, self._stage("ffn_norm", block, projected))

    def _sites(self, stage: str, block: int) -> list[str]:
        """Return the placement sites of a stage; the embedding belongs to the first normalization."""
        linears = self.llm.linear_shapes
        sites = [site for site in STAGES[stage] if site not in LINEARS or site in linears]
        return ["embedding", *sites] if stage == "attn_norm" and block == 0 else sites

    def _stage(self, stage: str, block: int, needs: set[int]) -> set[int]:
        """Add one stage as runs of sites on one processor, with shadow work; return what follows needs."""
        runs = self._runs(stage, block)
        inputs: set[int] = needs
        for sites in runs:
            kept = [site for site in sites if (block, site) in self.kept]
            place = self._add(self._name(stage, sites, len(runs)), block, sites, needs, kept, keys=stage == "attention" and needs is inputs)
            if not kept:
                needs = {place}
                continue
            self.tasks[place].open_end = False
            # A linear whose input arises elsewhere in this stage (down_proj) starts a run, so `needs` is its input.
            needs = {self._shadow(linear, block, place, needs) for linear in kept}
        return needs

    def _runs(self, stage: str, block: int) -> list[list[str]]:
        """Split a stage where the processor changes, and where shadow work needs an input or a merge inside it."""
        runs: list[list[str]] = []
        before_merge = {(block, "gate_proj"), (block, "up_proj")} & self.kept
        for site in self._sites(stage, block):
            split = (site == "down_proj" and (block, site) in self.kept) or (site == "activation" and before_merge)
            same = runs and self._processor(runs[-1][-1]) == self._processor(site)
            if same and not split:
                runs[-1].append(site)
            else:
                runs.append([site])
        return runs

    def _name(self, stage: str, sites: list[str], parts: int) -> str:
        """Name a run of sites: the stage, or a part of it."""
        if parts == 1:
            return stage
        return f"{stage}_{'up' if 'up_proj' in sites else 'down' if 'down_proj' in sites else sites[0]}"

    def _processor(self, site: str) -> str:
        return self.engine.placement.processor(site)

    def _add(self, stage: str, block: int, sites: list[str], needs: set[int], kept: list[str], *, keys: bool) -> int:
        """Add a subgraph, or merge it into the one before where the engine does so; return its place."""
        processor = self._processor(sites[0])
        last = self.tasks[-1] if self.tasks else None
        if self.engine.merge_adjacent and last and last.open_end and last.processor == processor and not kept:
            place = len(self.tasks) - 1
            last.stage += f"+{stage}"
            last.sites += sites
        else:
            place = len(self.tasks)
            self.tasks.append(_Task(stage, block, processor, list(sites)))
        task = self.tasks[place]
        if keys:
            self._need_keys(task, needs)
        task.needs |= needs - {place}
        return place

    def _need_keys(self, task: _Task, producers: set[int]) -> None:
        """Make attention wait for the keys and values of all chunks; a merge of Q alone is needed of its own chunk only."""
        merges = {place for place in producers if self.tasks[place].stage.startswith("merge_")}
        key_merges = {place for place in merges if self.tasks[place].stage != "merge_q_proj"}
        if key_merges:
            task.keys_of |= key_merges
        elif merges:
            task.keys_of |= {place for merge in merges for place in self.tasks[merge].needs if not self.tasks[place].stage.startswith("shadow_")}
        else:
            task.keys_of |= producers

    def _shadow(self, linear: str, block: int, place: int, needs: set[int]) -> int:
        """Add the shadow and the merge of one kept linear; return the place of the merge."""
        consumer = _CONSUMER.get(linear)
        if consumer is None:
            following = "ffn_norm" if linear == "o_proj" and not self.llm.parallel_block else "attn_norm"
            consumer = "final_norm" if following == "attn_norm" and block + 1 == self.llm.num_hidden_layers else following
        shadow = len(self.tasks)
        self.tasks.append(_Task(f"shadow_{linear}", block, "cpu", [f"shadow:{linear}"], set(needs), open_end=False))
        self.tasks.append(_Task(f"merge_{linear}", block, self._processor(consumer), [f"merge:{linear}"], {place, shadow}, open_end=False))
        return shadow + 1


def prefill_graph(llm: LLM, engine: Engine, run: Run) -> TaskGraph:
    """Build the task graph of a prefill and its decode steps.

    Parameters
    ----------
    llm, engine
        What runs; `engine.chunk_tokens` is a number or ``prompt``.
    run
        Prompt, cached and output tokens.

    Returns
    -------
    TaskGraph
        Prefill by chunk, block and stage, final norm, LM head of the last token, then ``output_tokens - 1`` decode steps.

    Raises
    ------
    SocsimError
        A chunk is longer than the model's context, or its length is not resolved.
    """
    check_context(llm, engine, run)
    chunks = chunk_plan(engine, run)
    builder = _GraphBuilder(llm, engine)
    layout = _ChunkLayout(llm, engine)
    for index, chunk in enumerate(chunks):
        builder.add_chunk(layout, index, chunk)
    prefill_count = builder.add_head(layout, len(chunks))
    for step in range(run.output_tokens - 1):
        builder.add_decode_step(len(chunks) + step, run.prompt_tokens + step)
    return TaskGraph(tuple(builder.subgraphs), tuple(builder.predecessors), builder.prefixes(layout, len(chunks)), prefill_count)


class _GraphBuilder:
    """Collects subgraphs; equal work is one object, as chunks share graphs."""

    def __init__(self, llm: LLM, engine: Engine) -> None:
        self.llm, self.engine = llm, engine
        self.operators = OperatorModel(llm, engine)
        self.subgraphs: list[Subgraph] = []
        self.predecessors: list[tuple[int, ...]] = []
        self._works: dict[tuple[object, ...], Work] = {}

    def _work(self, sites: Iterable[str], rows: int, offset: int) -> Work:
        sites = tuple(sites)
        key = (sites, rows, offset if "attention" in sites else 0)
        if key not in self._works:
            parts = [self.operators.site(site, rows, offset if site == "attention" else 0) for site in sites]
            self._works[key] = Work(tuple(operator for part in parts for operator in part))
        return self._works[key]

    def add_chunk(self, layout: _ChunkLayout, index: int, chunk: Chunk) -> None:
        """Add the subgraphs of one chunk."""
        base = len(self.subgraphs)
        for place, task in enumerate(layout.tasks):
            work = self._work(task.sites, chunk.rows, chunk.offset)
            self.subgraphs.append(Subgraph(task.stage, index, task.block, place, task.processor, work))
            self.predecessors.append(tuple(sorted(base + other for other in task.needs - task.keys_of)))

    def prefixes(self, layout: _ChunkLayout, chunks: int) -> tuple[Prefix, ...]:
        """Return the dependencies of attention on the keys and values of all chunks up to its own."""
        size, result = len(layout.tasks), []
        waiting: dict[int, list[int]] = {}
        for place, task in enumerate(layout.tasks):
            for producer in task.keys_of:
                waiting.setdefault(producer, []).append(place)
        for producer, places in sorted(waiting.items()):
            members = tuple(chunk * size + producer for chunk in range(chunks))
            # A subgraph that makes keys and reads them as well needs those of earlier chunks only.
            own = [place for place in places if place == producer]
            others = [place for place in places if place != producer]
            waiters = tuple(
                tuple(chunk * size + place for place in others) + tuple((chunk + 1) * size + place for place in own if chunk + 1 < chunks)
                for chunk in range(chunks)
            )
            result.append(Prefix(members, waiters))
        return tuple(result)

    def add_head(self, layout: _ChunkLayout, chunks: int) -> int:
        """Add final norm and LM head of the prompt's last token; return the number of prefill subgraphs."""
        base = (chunks - 1) * len(layout.tasks)
        needs = tuple(sorted(base + place for place in layout.result))
        for step, site in enumerate(("final_norm", "lm_head")):
            processor = self.engine.placement.processor(site)
            self.subgraphs.append(
                Subgraph(site, chunks - 1, self.llm.num_hidden_layers, len(layout.tasks) + step, processor, self._work([site], 1, 0))
            )
            self.predecessors.append(needs)
            needs = (len(self.subgraphs) - 1,)
        return len(self.subgraphs)

    def add_decode_step(self, index: int, offset: int) -> None:
        """Add one decode step: one token through all blocks on the decode processor."""
        last = self.subgraphs[-1]
        sites = [site for stage in STAGES for site in STAGES[stage] if site not in LINEARS or site in self.llm.linear_shapes]
        if self.llm.parallel_block:
            sites.remove("ffn_norm")
        blocks = [self.operators.site(site, 1, offset if site == "attention" else 0, self.llm.num_hidden_layers) for site in sites]
        parts = [self.operators.site("embedding", 1, 0), *blocks, self.operators.site("final_norm", 1, 0), self.operators.site("lm_head", 1, 0)]
        work = Work(tuple(operator for part in parts for operator in part))
        position = last.position + 1 if last.stage == "lm_head" else last.position
        self.subgraphs.append(Subgraph("decode", index, self.llm.num_hidden_layers, position, self.engine.decode_processor, work))
        self.predecessors.append((len(self.subgraphs) - 2,))
