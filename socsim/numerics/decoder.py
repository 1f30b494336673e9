"""A decoder-only model as kernels, one for each placement site of a block, that read and write named buffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from socsim.errors import unknown_name
from socsim.specs import LINEARS

if TYPE_CHECKING:
    from socsim.numerics.weights import Weights

Array = NDArray[Any]
Site = tuple[int, str]
"""A linear: its block and name."""

INPUTS = {
    "q_proj": "attn_norm", "k_proj": "attn_norm", "v_proj": "attn_norm", "o_proj": "attention",
    "gate_proj": "ffn_norm", "up_proj": "ffn_norm", "down_proj": "activation",
}  # fmt: skip
"""Buffer that each linear reads."""

RESIDUALS = {"attn_residual": "o_proj", "ffn_residual": "down_proj"}
"""Linear whose result each residual addition adds."""

BLOCK_SITES = (
    "attn_norm", "q_proj", "k_proj", "v_proj", "rope", "kv_append", "attention", "o_proj", "attn_residual",
    "ffn_norm", "gate_proj", "up_proj", "activation", "down_proj", "ffn_residual",
)  # fmt: skip
SITES = ("embedding", *BLOCK_SITES, "final_norm", "lm_head")
"""All kernels beside those of shadows and merges, in the order of a pass."""


class Linear(Protocol):
    """One linear under a quantization scheme: the product on the NPU, and float work beside it where the scheme keeps that."""

    @property
    def kept(self) -> bool:
        """Whether `shadow` has work to do."""

    def main(self, x: Array) -> Array:
        """Return the product of inputs (rows, K), of shape (rows, N)."""

    def shadow(self, x: Array) -> Shadow:
        """Return what has to be added to `main` for the same inputs."""


class Shadow(NamedTuple):
    """Float work of one linear for one chunk."""

    result: Array | None
    """Of shape (rows, N); none: nothing was beyond the int8 range."""
    channels: NDArray[np.intp]
    """Channels of the input that were multiplied in float."""
    fetched: int
    """How many of them have no weights in memory and are read from flash."""
    macs: int
    """Multiplications in float."""


NO_SHADOW = Shadow(None, np.zeros(0, dtype=np.intp), 0, 0)
"""Nothing to compute in float."""


@dataclass(frozen=True, eq=False)
class FloatLinear:
    """A linear that is not quantized."""

    weight: Array
    kept: bool = False

    def main(self, x: Array) -> Array:
        """Return the product of inputs (rows, K), of shape (rows, N)."""
        product: Array = x @ self.weight
        return product

    def shadow(self, x: Array) -> Shadow:  # noqa: ARG002 - what all linears take
        """Return nothing: the product is exact."""
        return NO_SHADOW


class Decoder:
    """A language model whose linears follow a quantization scheme.

    Parameters
    ----------
    weights
        Llama-family weights.
    linears
        Each linear by block and name; default: not quantized.
    dtype
        ``float32`` or ``float64``: in which everything but int8 products is computed.
    """

    def __init__(self, weights: Weights, linears: Mapping[Site, Linear] | None = None, dtype: type[np.floating[Any]] = np.float32) -> None:
        self.weights, self.llm, self.dtype = weights, weights.llm, dtype
        self.linears = linears or {
            (block, name): FloatLinear(np.asarray(weights.blocks[block][name], dtype=dtype))
            for block in range(self.llm.num_hidden_layers)
            for name in LINEARS
        }

    @cached_property
    def kept(self) -> frozenset[Site]:
        """Linears that have float work beside their product."""
        return frozenset(site for site, linear in self.linears.items() if linear.kept)

    @cached_property
    def _frequencies(self) -> Array:
        size = self.llm.head_dim
        return self.weights.rope_theta ** (-np.arange(0, size, 2, dtype=np.float64) / size)

    def normalize(self, x: Array, weight: Array) -> Array:
        """Return the root-mean-square normalization of x (rows, hidden) times a weight (hidden,)."""
        mean_square = np.einsum("ij,ij->i", x, x)[:, None] / self.dtype(x.shape[1])
        normalized: Array = x / np.sqrt(mean_square + self.dtype(self.weights.norm_eps)) * weight.astype(self.dtype, copy=False)
        return normalized

    def rotate(self, x: Array, offset: int) -> Array:
        """Return heads (rows, heads x size) rotated by their positions, which count from `offset`; pairs are half a head apart."""
        size = self.llm.head_dim
        angles = np.arange(offset, offset + len(x), dtype=np.float64)[:, None] * self._frequencies
        cos, sin = (each.astype(self.dtype)[:, None, :] for each in (np.cos(angles), np.sin(angles)))
        heads = x.reshape(len(x), -1, size)
        first, second = heads[..., : size // 2], heads[..., size // 2 :]
        rotated = np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)
        return rotated.reshape(len(x), -1)

    def attend(self, queries: Array, keys: Array, values: Array) -> Array:
        """Return causal attention of the last rows of a sequence.

        Parameters
        ----------
        queries
            Rotated, of shape (rows, heads x size): the last rows of the sequence.
        keys, values
            Of shape (tokens, KV heads x size); keys rotated.
        """
        rows, tokens, size, kv_heads = len(queries), len(keys), self.llm.head_dim, self.llm.num_key_value_heads
        q = queries.reshape(rows, kv_heads, -1, size).transpose(1, 2, 0, 3).reshape(kv_heads, -1, size) * self.dtype(size**-0.5)
        k, v = (each.reshape(tokens, kv_heads, size).transpose(1, 0, 2) for each in (keys, values))
        scores = (q @ k.transpose(0, 2, 1)).reshape(kv_heads, -1, rows, tokens)
        future = np.arange(tokens)[None, :] > np.arange(tokens - rows, tokens)[:, None]
        np.copyto(scores, self.dtype(-np.inf), where=future)
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        heads = (scores.reshape(kv_heads, -1, tokens) @ v).reshape(kv_heads, -1, rows, size)
        attended: Array = heads.transpose(2, 0, 1, 3).reshape(rows, -1)
        return attended

    def logits(self, hidden: Array) -> Array:
        """Return logits (rows, vocabulary) of normalized hidden states (rows, hidden)."""
        product: Array = hidden @ self.weights.head.T.astype(self.dtype, copy=False)
        return product


CARRIED = ("k_proj", "v_proj")
"""Buffers that outlive their block, as later chunks read them: the KV cache."""


def drop_spent(buffers: dict[tuple[str, int, int], Any], chunk: int, block: int) -> None:
    """Drop what only a block of a chunk needed, when the next one's input is there."""
    for place in [place for place in buffers if place[1:] == (chunk, block) and place[0] not in CARRIED]:
        del buffers[place]


Read = Callable[[str, int, int], Array]
"""Reads a buffer by name, chunk and block."""
Write = Callable[[str, int, int, Array], None]
Observe = Callable[[Site, int, Shadow], None]
"""Sees the float work of a linear for a chunk."""


@dataclass(eq=False)
class Kernels:
    """The kernels of one prompt, split into chunks.

    Buffers are read and written through functions, so that a replay can check when a buffer is there. A kept linear writes
    ``main:NAME``; its shadow writes ``shadow:NAME``; its merge writes what the linear would have written, or what the residual
    addition behind it would have, where both are one subgraph (`fused`).
    """

    decoder: Decoder
    tokens: Sequence[NDArray[np.integer[Any]]]
    """Token ids of each chunk."""
    read: Read
    write: Write
    observe: Observe = lambda *_: None
    fused: frozenset[str] = frozenset(RESIDUALS)
    """Residual additions that are computed in the subgraph of their linear."""
    _keys: dict[tuple[int, int], Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.offsets = np.cumsum([0, *map(len, self.tokens)]).tolist()

    def run(self, site: str, chunk: int, block: int) -> None:
        """Run the kernel of a placement site, of ``shadow:LINEAR`` or of ``merge:LINEAR``.

        Raises
        ------
        SocsimError
            There is no such kernel.
        """
        what, _, linear = site.partition(":")
        if what in ("shadow", "merge") and linear in INPUTS:
            (self._shadow if what == "shadow" else self._merge)(linear, chunk, block)
        elif site in INPUTS:
            name = f"main:{site}" if (block, site) in self.decoder.kept else site
            self.write(name, chunk, block, self.decoder.linears[block, site].main(self.read(INPUTS[site], chunk, block)))
        elif site in RESIDUALS:
            self._residual(site, chunk, block)
        elif site in SITES:
            getattr(self, f"_{site}")(chunk, block)
        else:
            raise unknown_name("site", site, SITES)

    def _shadow(self, linear: str, chunk: int, block: int) -> None:
        found = self.decoder.linears[block, linear].shadow(self.read(INPUTS[linear], chunk, block))
        self.observe((block, linear), chunk, found)
        self.write(f"shadow:{linear}", chunk, block, np.zeros(0) if found.result is None else found.result)

    def _merge(self, linear: str, chunk: int, block: int) -> None:
        residual = next((name for name in self.fused if RESIDUALS[name] == linear), None)
        target = residual or linear
        main, shadow = self.read(f"main:{target}", chunk, block), self.read(f"shadow:{linear}", chunk, block)
        self._finish(target, chunk, block, main + shadow if len(shadow) else main)

    def _residual(self, site: str, chunk: int, block: int) -> None:
        linear = RESIDUALS[site]
        partial = (block, linear) in self.decoder.kept and site in self.fused
        stream = self.read("hidden" if site == "attn_residual" else "attn_residual", chunk, block)
        total = stream + self.read(f"main:{linear}" if partial else linear, chunk, block)
        self._finish(f"main:{site}" if partial else site, chunk, block, total)

    def _finish(self, target: str, chunk: int, block: int, value: Array) -> None:
        if target == "ffn_residual":
            self.write("hidden", chunk, block + 1, value)
        else:
            self.write(target, chunk, block, value)

    def _embedding(self, chunk: int, block: int) -> None:
        self.write("hidden", chunk, block, self.decoder.weights.embedding[self.tokens[chunk]].astype(self.decoder.dtype, copy=False))

    def _attn_norm(self, chunk: int, block: int) -> None:
        self._norm("attn_norm", "hidden", chunk, block)

    def _ffn_norm(self, chunk: int, block: int) -> None:
        self._norm("ffn_norm", "attn_residual", chunk, block)

    def _norm(self, site: str, stream: str, chunk: int, block: int) -> None:
        weight = self.decoder.weights.blocks[block][site]
        self.write(site, chunk, block, self.decoder.normalize(self.read(stream, chunk, block), weight))

    def _rope(self, chunk: int, block: int) -> None:
        self.write("rope", chunk, block, self.decoder.rotate(self.read("q_proj", chunk, block), self.offsets[chunk]))

    def _kv_append(self, chunk: int, block: int) -> None:
        """Rotate the chunk's keys, as its own attention and those of later chunks need them."""
        self._rotated_keys(chunk, block)

    def _rotated_keys(self, chunk: int, block: int) -> Array:
        keys = self.read("k_proj", chunk, block)  # checked on every use; rotated once
        if (chunk, block) not in self._keys:
            self._keys[chunk, block] = self.decoder.rotate(keys, self.offsets[chunk])
        return self._keys[chunk, block]

    def _attention(self, chunk: int, block: int) -> None:
        keys = np.concatenate([self._rotated_keys(each, block) for each in range(chunk + 1)])
        values = np.concatenate([self.read("v_proj", each, block) for each in range(chunk + 1)])
        self.write("attention", chunk, block, self.decoder.attend(self.read("rope", chunk, block), keys, values))

    def _activation(self, chunk: int, block: int) -> None:
        gate, up = self.read("gate_proj", chunk, block), self.read("up_proj", chunk, block)
        self.write("activation", chunk, block, gate / (1.0 + np.exp(-np.clip(gate, -80.0, None))) * up)

    def _final_norm(self, chunk: int, block: int) -> None:
        last = self.read("hidden", chunk, block)[-1:]
        self.write("final_norm", chunk, block, self.decoder.normalize(last, self.decoder.weights.final_norm))

    def _lm_head(self, chunk: int, block: int) -> None:
        self.write("lm_head", chunk, block, self.decoder.logits(self.read("final_norm", chunk, block)))
