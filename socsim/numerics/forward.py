"""A prompt through all kernels in sequential order: chunk by chunk, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.numerics.decoder import BLOCK_SITES, RESIDUALS, Array, Decoder, Kernels, Observe, drop_spent

Watch = Callable[[str, int, int, Array], None]
"""Sees a buffer when it is written: name, chunk, block, value."""


def hidden_states(
    decoder: Decoder,
    tokens: NDArray[np.integer[Any]],
    chunk_tokens: int | Sequence[int] | None = None,
    observe: Observe = lambda *_: None,
    watch: Watch = lambda *_: None,
) -> Array:
    """Return the normalized hidden states of a prompt, of shape (tokens, hidden).

    Parameters
    ----------
    decoder
        The model.
    tokens
        Token ids, of shape (tokens,).
    chunk_tokens
        Longest chunk, or that of each chunk; default: the whole prompt.
    observe
        Sees the float work of each kept linear.
    watch
        Sees every buffer.
    """
    size = chunk_tokens or len(tokens)
    starts = range(size, len(tokens), size) if isinstance(size, int) else np.cumsum(size[:-1])
    chunks = np.split(tokens, starts)
    buffers: dict[tuple[str, int, int], Array] = {}

    def write(name: str, chunk: int, block: int, value: Array) -> None:
        buffers[name, chunk, block] = value
        watch(name, chunk, block, value)

    kernels = Kernels(decoder, chunks, lambda *place: buffers[place], write, observe)
    blocks, results = decoder.llm.num_hidden_layers, []
    for chunk in range(len(chunks)):
        kernels.run("embedding", chunk, 0)
        for block in range(blocks):
            for site in BLOCK_SITES:
                kernels.run(site, chunk, block)
                _float_work(kernels, decoder, site, chunk, block)
            drop_spent(buffers, chunk, block)
        results.append(decoder.normalize(buffers.pop(("hidden", chunk, blocks)), decoder.weights.final_norm))
    return np.concatenate(results)


def _float_work(kernels: Kernels, decoder: Decoder, site: str, chunk: int, block: int) -> None:
    """Run shadow and merge of a kept linear: behind it, or behind the residual addition in its subgraph."""
    linear = RESIDUALS.get(site, site)
    if (block, linear) in decoder.kept and site not in RESIDUALS.values():
        kernels.run(f"shadow:{linear}", chunk, block)
        kernels.run(f"merge:{linear}", chunk, block)
