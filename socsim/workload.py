"""From prompt, LLM and engine to the task graph: chunks, subgraphs by placement, shadow-outlier work, decode steps."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from socsim.errors import SocsimError
from socsim.graph import Prefix, Subgraph, TaskGraph, Work
from socsim.layout import CONSUMER, PRODUCERS, STAGES, ChunkLayout
from socsim.operators import OperatorModel
from socsim.specs import LINEARS, LLM, Engine, Run


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

    Static graphs pad the last chunk; a prompt shorter than one chunk takes the shortest prebuilt length that holds it, unless
    the engine lists the length of each chunk.

    Raises
    ------
    SocsimError
        `engine.chunk_tokens` is ``auto``: choose a length first. Or it lists chunks that do not hold the prompt, or more than that takes.
    """
    tokens = run.prompt_tokens - run.cached_tokens
    lengths = _chunk_lengths(engine, tokens)
    starts = [0, *accumulate(lengths[:-1])]
    if sum(lengths) < tokens or starts[-1] >= tokens:
        kind = "uncached tokens" if run.cached_tokens else "tokens"
        raise SocsimError(
            f"engine.chunk_tokens {list(lengths)} holds {sum(lengths)} tokens, {starts[-1]} without its last chunk; "
            f"allowed for {tokens} {kind}: at least {tokens}, and less without the last chunk"
        )
    sizes = [min(length, tokens - start) for length, start in zip(lengths, starts, strict=True)]
    rows = lengths if engine.static_shapes else sizes
    return tuple(Chunk(run.cached_tokens + start, size, row) for start, size, row in zip(starts, sizes, rows, strict=True))


def _chunk_lengths(engine: Engine, tokens: int) -> Sequence[int]:
    """Return the length of each chunk in which an engine prefills some tokens."""
    if isinstance(engine.chunk_tokens, tuple):
        return engine.chunk_tokens
    if engine.chunk_tokens == "auto":
        raise SocsimError("chunk_tokens 'auto' has to be resolved to numbers before the prompt is split")
    length = tokens if engine.chunk_tokens == "prompt" else engine.chunk_tokens
    if tokens < length:
        length = min((c for c in engine.prebuilt_chunk_tokens if tokens <= c <= length), default=length)
    return [length] * -(-tokens // length)


def check_context(llm: LLM, engine: Engine, run: Run) -> None:
    """Check chunk lengths and prompt against the model's context.

    Raises
    ------
    SocsimError
        A chunk is longer than the context.

    Warns
    -----
    UserWarning
        Prompt and output are longer than the context.
    """
    context, chunk_tokens = llm.max_position_embeddings, engine.chunk_tokens
    lengths = chunk_tokens if isinstance(chunk_tokens, tuple) else (chunk_tokens,) if isinstance(chunk_tokens, int) else ()
    longest = max(lengths, default=0)
    if longest > context:
        raise SocsimError(f"engine.chunk_tokens {longest} exceeds the context of {llm.name}; allowed: 1 to {context}")
    total = run.prompt_tokens + run.output_tokens - 1
    if total > context:
        warnings.warn(
            f"{total} tokens exceed the {context}-token context of {llm.name}; the cost is as computed, the quality undefined", stacklevel=3
        )


def prefill_graph(llm: LLM, engine: Engine, run: Run) -> TaskGraph:
    """Build the task graph of a prefill and its decode steps.

    Parameters
    ----------
    llm, engine
        What runs; `engine.chunk_tokens` is not ``auto``.
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
    layout = ChunkLayout(llm, engine)
    builder.add_chunks(layout, chunks)
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

    def _work(self, sites: tuple[str, ...], rows: int, offset: int) -> Work:
        key = (sites, rows, offset if "attention" in sites else 0)
        if key not in self._works:
            parts = [self.operators.site(site, rows, offset if site == "attention" else 0) for site in sites]
            for place, site in enumerate(sites):
                if not set(PRODUCERS.get(site, (site,))) & set(sites):
                    parts[place] = (replace(parts[place][0], enters=True), *parts[place][1:])
                if CONSUMER.get(site, site) not in sites:
                    parts[place] = (*parts[place][:-1], replace(parts[place][-1], leaves=True))
            self._works[key] = Work(tuple(operator for part in parts for operator in part))
        return self._works[key]

    def add_chunks(self, layout: ChunkLayout, chunks: Sequence[Chunk]) -> None:
        """Add the subgraphs of all chunks."""
        common = [(task, tuple(task.sites), sorted(task.needs - task.keys_of)) for task in layout.tasks]
        for index, chunk in enumerate(chunks):
            base = len(self.subgraphs)
            for place, (task, sites, needs) in enumerate(common):
                work = self._work(sites, chunk.rows, chunk.offset)
                self.subgraphs.append(Subgraph(task.stage, index, task.block, place, task.processor, work, sites))
                self.predecessors.append(tuple([base + other for other in needs]))

    def prefixes(self, layout: ChunkLayout, chunks: int) -> tuple[Prefix, ...]:
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

    def add_head(self, layout: ChunkLayout, chunks: int) -> int:
        """Add final norm and LM head of the prompt's last token; return the number of prefill subgraphs."""
        base = (chunks - 1) * len(layout.tasks)
        needs = tuple(sorted(base + place for place in layout.result))
        for step, site in enumerate(("final_norm", "lm_head")):
            processor = self.engine.placement.processor(site)
            position, work = len(layout.tasks) + step, self._work((site,), 1, 0)
            self.subgraphs.append(Subgraph(site, chunks - 1, self.llm.num_hidden_layers, position, processor, work, (site,)))
            self.predecessors.append(needs)
            needs = (len(self.subgraphs) - 1,)
        return len(self.subgraphs)

    def add_decode_step(self, index: int, offset: int) -> None:
        """Add one decode step: one token through all blocks on the decode processor."""
        last = self.subgraphs[-1]
        sites = [site for stage in STAGES for site in STAGES[stage] if site not in LINEARS or site in self.llm.linear_shapes]
        if self.llm.parallel_block:
            sites.remove("ffn_norm")
        site_operators, blocks = self.operators.site, self.llm.num_hidden_layers
        parts = [site_operators(site, 1, offset if site == "attention" else 0, blocks) for site in sites]
        parts = [site_operators("embedding", 1, 0), *parts, site_operators("final_norm", 1, 0), site_operators("lm_head", 1, 0)]
        work = Work(tuple(operator for part in parts for operator in part))
        position = last.position + 1 if last.stage == "lm_head" else last.position
        self.subgraphs.append(Subgraph("decode", index, self.llm.num_hidden_layers, position, self.engine.decode_processor, work))
        self.predecessors.append((len(self.subgraphs) - 2,))
