"""A simulated timeline played with real numbers: every subgraph computes when the simulator says that it starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.graph import Subgraph, TaskGraph
from socsim.numerics.decoder import RESIDUALS, Array, Decoder, Kernels, Observe, Site, drop_spent
from socsim.timeline import Timeline


def replay(timeline: Timeline, decoder: Decoder, tokens: NDArray[np.integer[Any]], observe: Observe = lambda *_: None) -> Array:
    """Compute a prompt in the order of a timeline and return the logits of its last token, of shape (vocabulary,).

    Each subgraph of the prefill runs its kernels at its start, in simulated order, and sees only buffers of subgraphs that it depends
    on and that have ended by then. Rows that pad the last chunk are left out: no other row depends on them.

    Parameters
    ----------
    timeline
        A simulated run of the model, without cached tokens.
    decoder
        The model; its kept linears are those with shadow work in the timeline's graph.
    tokens
        Token ids, of shape (tokens,).
    observe
        Sees the float work of each kept linear.

    Raises
    ------
    SocsimError
        The tokens are not those of the timeline's chunks, the graph keeps other outliers than the decoder, or a subgraph reads a
        buffer that is not written: the schedule, or the graph, is wrong.
    """
    graph = timeline.graph
    chunks = _split(graph, tokens)
    if kept_linears_of(graph) != decoder.kept:
        raise SocsimError(
            f"the graph has shadow work for {len(kept_linears_of(graph))} linears, the decoder for {len(decoder.kept)}, or for others"
        )
    buffers = _Buffers(timeline)
    kernels = Kernels(decoder, chunks, buffers.read, buffers.write, observe, _fused(graph))
    start_ns, prefill = timeline.start_ns, graph.prefill_count
    for index in np.lexsort((np.arange(prefill), start_ns[:prefill])).tolist():
        buffers.reader = index
        for site, block in sites_of(graph.subgraphs[index]):
            kernels.run(site, graph.subgraphs[index].chunk, block)
    return buffers.result()


def kept_linears_of(graph: TaskGraph) -> frozenset[Site]:
    """Return the linears for which a task graph has shadow work."""
    return frozenset(
        (block, site.removeprefix("shadow:"))
        for subgraph in graph.subgraphs[: graph.prefill_count]
        for site, block in sites_of(subgraph)
        if site.startswith("shadow:")
    )


def sites_of(subgraph: Subgraph) -> Iterator[tuple[str, int]]:
    """Yield the placement sites of a subgraph with their blocks: stages that were merged into one may reach into the next block."""
    block = subgraph.block
    for place, site in enumerate(subgraph.sites):
        if site == "attn_norm" and place and subgraph.sites[place - 1] != "embedding":
            block += 1
        yield site, block


def _fused(graph: TaskGraph) -> frozenset[str]:
    """Return the residual additions that are computed in the subgraph of their linear."""
    together = (set(subgraph.sites) for subgraph in graph.subgraphs)
    return frozenset(residual for sites in together for residual, linear in RESIDUALS.items() if {residual, linear} <= sites)


def _split(graph: TaskGraph, tokens: NDArray[np.integer[Any]]) -> list[NDArray[np.integer[Any]]]:
    """Split tokens into the chunks of a graph, of which the last may be padded."""
    rows: dict[int, int] = {}
    for subgraph in graph.subgraphs[: graph.prefill_count]:
        for operator in subgraph.work.operators:
            if operator.name == "q_proj":
                rows[subgraph.chunk] = operator.rows
    *before, last = [rows[chunk] for chunk in sorted(rows)] or [0]
    if not rows:
        raise SocsimError("the graph has no QKV linears: it is no prefill of a model")
    if not 0 < len(tokens) - sum(before) <= last:
        raise SocsimError(f"{len(tokens)} tokens are no prompt of {len(rows)} chunks of {', '.join(map(str, rows.values()))} rows")
    return np.split(tokens, np.cumsum(before))


def _ancestors(graph: TaskGraph) -> list[int]:
    """Return for each subgraph of the prefill those that it depends on, directly or not, as bits of a number."""
    result: list[int] = []
    for index in range(graph.prefill_count):
        bits = 0
        for other in graph.all_predecessors(index):
            bits |= result[other] | 1 << other
        result.append(bits)
    return result


class _Buffers:
    """What subgraphs wrote, and when it can be read."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.reader = -1
        """Subgraph that runs."""
        self._written: dict[tuple[str, int, int], tuple[Array, int]] = {}
        self._ancestors = _ancestors(timeline.graph)

    def read(self, name: str, chunk: int, block: int) -> Array:
        """Return a buffer that the running subgraph has written, or one that it depends on and that has ended by its start."""
        timeline, reader = self.timeline, self.reader
        value, writer = self._written.get((name, chunk, block), (None, -1))
        if value is None:
            raise self._wrong(name, chunk, block, "nobody has written")
        if writer != reader:
            stage = timeline.graph.subgraphs[writer].stage
            if timeline.end_ns[writer] > timeline.start_ns[reader]:
                raise self._wrong(name, chunk, block, f"{stage} still writes")
            if not self._ancestors[reader] >> writer & 1:
                raise self._wrong(name, chunk, block, f"{stage} wrote, on which it does not depend: it was there by chance")
        return value

    def _wrong(self, name: str, chunk: int, block: int, why: str) -> SocsimError:
        subgraph, start_ns = self.timeline.graph.subgraphs[self.reader], self.timeline.start_ns[self.reader]
        return SocsimError(
            f"{subgraph.stage} of chunk {subgraph.chunk}, block {subgraph.block} starts at {start_ns} ns "
            f"and reads '{name}' of chunk {chunk}, block {block}, which {why}"
        )

    def write(self, name: str, chunk: int, block: int, value: Array) -> None:
        """Keep a buffer, and drop what only the block before it needed."""
        self._written[name, chunk, block] = value, self.reader
        if name == "hidden" and block:
            drop_spent(self._written, chunk, block - 1)

    def result(self) -> Array:
        """Return the logits of the last token."""
        found = [value for (name, _, _), (value, _) in self._written.items() if name == "lm_head"]
        if len(found) != 1:
            raise SocsimError(f"the graph computes the LM head {len(found)} times, not once")
        logits: Array = found[0][0]
        return logits
