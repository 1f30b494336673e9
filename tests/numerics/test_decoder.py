"""The decoder against a Llama forward pass written out position by position, and its kernels under any split of their work."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.numerics.decoder import BLOCK_SITES, INPUTS, NO_SHADOW, RESIDUALS, Array, Decoder, Kernels, Shadow, Site
from socsim.numerics.forward import hidden_states
from socsim.numerics.random_model import random_weights
from socsim.numerics.weights import Weights
from socsim.specs import LINEARS

Vector = NDArray[np.float64]
SHAPES = [{"heads": 4, "kv_heads": 2}, {"heads": 4, "kv_heads": 1}, {"heads": 4, "kv_heads": 4}, {"heads": 8, "kv_heads": 2, "ffn": 33}]
TOKENS = np.random.default_rng(5).integers(128, size=19)


def model(seed: int = 0, **shape: int) -> Weights:
    """Return random weights of which no two arrays are equal, an untied head and unusual constants."""
    made, rng = random_weights(seed, **shape), np.random.default_rng(seed + 100)

    def scaled(weight: Array) -> Array:
        return np.asarray(weight * rng.uniform(0.5, 1.5, weight.shape), dtype=np.float32)

    blocks = tuple({name: scaled(each) if name.endswith("norm") else each for name, each in block.items()} for block in made.blocks)
    head, final_norm = scaled(made.head), scaled(made.final_norm)
    return replace(made, blocks=blocks, head=head, final_norm=final_norm, rope_theta=321.0, norm_eps=0.01)


def float64(array: Array) -> NDArray[np.float64]:
    return np.asarray(array, dtype=np.float64)


def rms_norm(x: Vector, weight: Array, eps: float) -> Vector:
    return x / math.sqrt(sum(float(each) ** 2 for each in x) / len(x) + eps) * float64(weight)


def turned(head: Vector, position: int, theta: float) -> Vector:
    half, result = len(head) // 2, head.copy()
    for pair in range(half):
        angle = position * theta ** (-2.0 * pair / len(head))
        result[pair] = head[pair] * math.cos(angle) - head[pair + half] * math.sin(angle)
        result[pair + half] = head[pair] * math.sin(angle) + head[pair + half] * math.cos(angle)
    return result


def attended(query: Vector, keys: list[Vector], values: list[Vector]) -> Vector:
    exponentials = [math.exp(float(query @ key) / math.sqrt(len(query))) for key in keys]
    return np.asarray(sum(each * value for each, value in zip(exponentials, values, strict=True)) / sum(exponentials))


def textbook(weights: Weights, tokens: NDArray[np.integer[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return normalized hidden states and logits of every position (Touvron et al. 2023; Su et al. 2021; Ainslie et al. 2023)."""
    llm, eps = weights.llm, weights.norm_eps
    size, group = llm.head_dim, llm.num_attention_heads // llm.num_key_value_heads
    stream = [float64(weights.embedding[token]) for token in tokens]
    for block in weights.blocks:
        w = {name: float64(array) for name, array in block.items()}
        keys: list[list[Vector]] = [[] for _ in range(llm.num_key_value_heads)]
        values: list[list[Vector]] = [[] for _ in range(llm.num_key_value_heads)]
        for position, x in enumerate(stream):
            normalized = rms_norm(x, w["attn_norm"], eps)
            q, k, v = (normalized @ w[name] for name in ("q_proj", "k_proj", "v_proj"))
            for head in range(llm.num_key_value_heads):
                keys[head].append(turned(k[head * size : (head + 1) * size], position, weights.rope_theta))
                values[head].append(v[head * size : (head + 1) * size])
            heads = []
            for head in range(llm.num_attention_heads):
                query = turned(q[head * size : (head + 1) * size], position, weights.rope_theta)
                heads.append(attended(query, keys[head // group], values[head // group]))
            x = x + np.concatenate(heads) @ w["o_proj"]
            normalized = rms_norm(x, w["ffn_norm"], eps)
            gate, up = normalized @ w["gate_proj"], normalized @ w["up_proj"]
            silu = np.array([each / (1.0 + math.exp(-each)) for each in gate])
            stream[position] = x + (silu * up) @ w["down_proj"]
    hidden = np.array([rms_norm(x, weights.final_norm, eps) for x in stream])
    return hidden, hidden @ float64(weights.head).T


def error(actual: Array, expected: Array) -> float:
    """Return the largest difference over the largest value."""
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_textbook_says_the_same(shape: dict[str, int]) -> None:
    weights = model(**shape)
    hidden, logits = textbook(weights, TOKENS)
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-5)):
        decoder = Decoder(weights, dtype=dtype)
        actual = hidden_states(decoder, TOKENS)
        assert actual.dtype == decoder.logits(actual).dtype == dtype
        assert error(actual, hidden) < tolerance
        assert error(decoder.logits(actual), logits) < tolerance


def test_large_gates_do_not_overflow() -> None:
    weights, gates = model(), list[float]()
    weights = replace(weights, blocks=tuple({**block, "gate_proj": block["gate_proj"] * np.float32(60.0)} for block in weights.blocks))

    def watch(name: str, chunk: int, block: int, value: Array) -> None:
        if name == "gate_proj":
            gates.append(float(value.min()))

    assert np.isfinite(hidden_states(Decoder(weights), TOKENS, watch=watch)).all()
    assert min(gates) < -100.0  # exp(100) is beyond float32
    assert error(hidden_states(Decoder(weights, dtype=np.float64), TOKENS), textbook(weights, TOKENS)[0]) < 1e-9


def heads_of(decoder: Decoder, rows: int, heads: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, heads * decoder.llm.head_dim))


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 1000), st.integers(0, 100))
@settings(max_examples=30)
def test_scores_depend_on_the_difference_of_positions(first: int, second: int, shift: int, seed: int) -> None:
    decoder = Decoder(model(), dtype=np.float64)
    q, k = heads_of(decoder, 1, 1, seed), heads_of(decoder, 1, 1, seed + 1)
    score = decoder.rotate(q, first) @ decoder.rotate(k, second).T
    np.testing.assert_allclose(decoder.rotate(q, first + shift) @ decoder.rotate(k, second + shift).T, score, atol=1e-9)
    if first != second and shift:
        assert abs((decoder.rotate(q, first) @ decoder.rotate(k, second + shift).T - score).item()) > 0.0


def test_rotation() -> None:
    decoder = Decoder(model(), dtype=np.float64)
    x = heads_of(decoder, 5, 3, 0)
    size = decoder.llm.head_dim
    for row, position in enumerate(range(7, 12)):
        expected = [turned(x[row, start : start + size], position, 321.0) for start in range(0, 3 * size, size)]
        np.testing.assert_allclose(decoder.rotate(x, 7)[row], np.concatenate(expected), rtol=1e-12)
    np.testing.assert_array_equal(decoder.rotate(x[:1], 0), x[:1])
    assert decoder.rotate(x.astype(np.float32), 7).dtype == np.float64  # a float32 model has float32 angles
    assert Decoder(model()).rotate(x.astype(np.float32), 7).dtype == np.float32


def test_every_group_of_heads_reads_its_own_keys_and_values() -> None:
    decoder = Decoder(model(heads=4, kv_heads=2), dtype=np.float64)
    size = decoder.llm.head_dim
    q, k, v = heads_of(decoder, 2, 4, 0), heads_of(decoder, 6, 2, 1), heads_of(decoder, 6, 2, 2)
    result = decoder.attend(q, k, v)
    assert result.shape == (2, 4 * size)
    for row in range(2):
        for head in range(4):
            own = slice(head // 2 * size, (head // 2 + 1) * size)
            seen = 5 + row  # the two queries are the last of six tokens
            expected = attended(q[row, head * size : (head + 1) * size], list(k[:seen, own]), list(v[:seen, own]))
            np.testing.assert_allclose(result[row, head * size : (head + 1) * size], expected, rtol=1e-12)


def test_attention_of_huge_scores() -> None:
    decoder = Decoder(model(heads=4, kv_heads=2))
    q, k = (heads_of(decoder, 6, heads, heads).astype(np.float32) * np.float32(1e4) for heads in (4, 2))
    v = heads_of(decoder, 6, 2, 9).astype(np.float32)
    assert np.isfinite(decoder.attend(q, k, v)).all()


@dataclass(frozen=True, eq=False)
class Halves:
    """A linear whose work is split: half on the NPU, half beside it; `silent`: beside it there is nothing to do after all."""

    weight: Array
    kept: bool
    silent: bool = False

    def main(self, x: Array) -> Array:
        half = x @ self.weight * (0.5 if self.kept and not self.silent else 1.0)
        return np.asarray(half)

    def shadow(self, x: Array) -> Shadow:
        return NO_SHADOW if self.silent else Shadow(0.5 * (x @ self.weight), np.arange(2), 1, 7)


def halves(weights: Weights, kept: Callable[[Site], bool], silent: Callable[[Site], bool] = lambda _: False) -> Decoder:
    linears = {
        (block, name): Halves(float64(arrays[name]), kept((block, name)), silent((block, name)))
        for block, arrays in enumerate(weights.blocks)
        for name in LINEARS
    }
    return Decoder(weights, linears, np.float64)


KEPT: dict[str, Callable[[Site], bool]] = {
    "all": lambda _: True,
    "none": lambda _: False,
    "attention": lambda site: site[1] in ("q_proj", "o_proj"),
    "keys and values": lambda site: site[1] in ("k_proj", "v_proj"),
    "down": lambda site: site == (1, "down_proj"),
    "ffn": lambda site: site[1] in ("gate_proj", "up_proj", "down_proj") and site[0] != 1,
}


@pytest.mark.parametrize("kept", KEPT)
def test_shadow_and_main_make_the_whole(kept: str) -> None:
    weights = model()
    decoder = halves(weights, KEPT[kept], silent=lambda site: site[0] == 2)
    assert decoder.kept == {site for site in decoder.linears if KEPT[kept](site)}
    seen: list[tuple[Site, int]] = []
    hidden = hidden_states(decoder, TOKENS, 8, lambda site, chunk, shadow: seen.append((site, chunk)))
    assert error(hidden, textbook(weights, TOKENS)[0]) < 1e-9
    expected = [((block, name), chunk) for chunk in range(3) for block in range(3) for name in LINEARS if (block, name) in decoder.kept]
    assert sorted(seen) == sorted(expected)
    assert [chunk for _, chunk in seen] == sorted(chunk for _, chunk in seen)


@pytest.mark.parametrize("fused", [frozenset(), frozenset({"attn_residual"}), frozenset({"ffn_residual"}), frozenset(RESIDUALS)])
@pytest.mark.parametrize("kept", ["all", "down", "none"])
def test_residuals_in_the_subgraph_of_their_linear_or_behind_its_merge(kept: str, fused: frozenset[str]) -> None:
    """Every kernel reads only what has been written before, in an order of its own for each way to split a residual addition."""
    weights, decoder = model(), halves(model(), KEPT[kept])
    buffers: dict[tuple[str, int, int], Array] = {}

    def write(name: str, chunk: int, block: int, value: Array) -> None:
        assert (name, chunk, block) not in buffers
        buffers[name, chunk, block] = value

    chunks = [TOKENS[:8], TOKENS[8:16], TOKENS[16:]]
    kernels = Kernels(decoder, chunks, lambda *place: buffers[place], write, fused=fused)
    for chunk in range(3):
        kernels.run("embedding", chunk, 0)
        for block in range(3):
            for site in BLOCK_SITES:
                kernels.run(site, chunk, block)
                done = RESIDUALS[site] if site in fused else site
                later = {RESIDUALS[residual] for residual in fused}
                if (block, done) in decoder.kept and site not in later:
                    kernels.run(f"shadow:{done}", chunk, block)
                    kernels.run(f"merge:{done}", chunk, block)
    kernels.run("final_norm", 2, 3)
    kernels.run("lm_head", 2, 3)
    hidden, logits = textbook(weights, TOKENS)
    assert error(buffers["final_norm", 2, 3], hidden[-1:]) < 1e-9
    assert error(buffers["lm_head", 2, 3], logits[-1:]) < 1e-9


def test_a_kept_linear_is_not_there_before_its_merge() -> None:
    decoder = halves(model(), KEPT["all"])
    buffers: dict[tuple[str, int, int], Array] = {}
    kernels = Kernels(
        decoder, [TOKENS], lambda *place: buffers[place], lambda name, chunk, block, x: buffers.update({(name, chunk, block): x})
    )
    for site in ("embedding", "attn_norm", "q_proj", "k_proj", "v_proj", "shadow:q_proj", "shadow:k_proj", "merge:k_proj"):
        kernels.run(site, 0, 0)
    for site in ("rope", "attention", "merge:v_proj"):
        with pytest.raises(KeyError):
            kernels.run(site, 0, 0)
    kernels.run("kv_append", 0, 0)
    kernels.run("merge:q_proj", 0, 0)
    kernels.run("rope", 0, 0)
    with pytest.raises(KeyError, match="v_proj"):
        kernels.run("attention", 0, 0)


@pytest.mark.parametrize("site", ["atention", "norm", "keys", "merge:atention", "merged:q_proj", "shadow:", ""])
def test_unknown_kernels(site: str) -> None:
    kernels = Kernels(Decoder(model()), [TOKENS], lambda *_: TOKENS, lambda *_: None)
    with pytest.raises(SocsimError, match=rf"^unknown site '{site}'.*; allowed: .*attention"):
        kernels.run(site, 0, 0)


def test_every_linear_reads_a_buffer_that_its_block_writes_before_it() -> None:
    for linear, buffer in INPUTS.items():
        assert BLOCK_SITES.index(buffer) < BLOCK_SITES.index(linear)
    assert set(INPUTS) == set(LINEARS)
