"""A prompt in chunks gives what it gives at once, and no token sees a later one."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from socsim.numerics.decoder import BLOCK_SITES, Array, Decoder
from socsim.numerics.forward import hidden_states
from socsim.numerics.random_model import random_weights

WEIGHTS = random_weights(3, kv_heads=1)
TOKENS = np.random.default_rng(1).integers(128, size=23)
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-5}
"""Largest difference over the largest value that another order of summation may make."""


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("chunk_tokens", [1, 3, 7, 22, 23, 100, [10, 13], [2, 16, 4, 8]])
def test_chunks_change_nothing(chunk_tokens: int | list[int], dtype: type[np.floating]) -> None:
    decoder = Decoder(WEIGHTS, dtype=dtype)
    whole, chunked = hidden_states(decoder, TOKENS), hidden_states(decoder, TOKENS, chunk_tokens)
    assert whole.shape == chunked.shape == (23, 64)
    assert whole.dtype == chunked.dtype == dtype
    np.testing.assert_allclose(chunked, whole, rtol=0.0, atol=TOLERANCE[dtype] * np.abs(whole).max())


@pytest.mark.parametrize("changed", [0, 1, 11, 22])
def test_no_token_sees_a_later_one(changed: int) -> None:
    decoder = Decoder(WEIGHTS)
    others = TOKENS.copy()
    others[changed] = (others[changed] + 1) % 128
    before, after = hidden_states(decoder, TOKENS), hidden_states(decoder, others)
    np.testing.assert_array_equal(before[:changed], after[:changed])
    assert (before[changed:] != after[changed:]).any(axis=1).all()  # and every later one sees it


def test_what_is_watched() -> None:
    seen: list[tuple[str, int, int]] = []
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str, chunk: int, block: int, value: Array) -> None:
        seen.append((name, chunk, block))
        shapes[name] = value.shape

    hidden_states(Decoder(WEIGHTS), TOKENS, 10, watch=watch)
    written = [site for site in BLOCK_SITES if site not in ("kv_append", "ffn_residual")]
    expected = []
    for chunk in range(3):
        expected.append(("hidden", chunk, 0))
        for block in range(3):
            expected += [*((site, chunk, block) for site in written), ("hidden", chunk, block + 1)]
    assert seen == expected
    assert shapes == {
        site: (3, {"k_proj": 16, "v_proj": 16, "gate_proj": 96, "up_proj": 96, "activation": 96}.get(site, 64)) for site in shapes
    }


def test_what_a_block_leaves_behind() -> None:
    """Of the blocks before, only keys, values and the stream are still in memory."""
    alive: list[tuple[str, int, int, weakref.ref[Array]]] = []

    def watch(name: str, chunk: int, block: int, value: Array) -> None:
        if name == "attn_norm":
            before = {(old, other) for old, at, other, array in alive if array() is not None and (at, other) < (chunk, block)}
            assert {old for old, _ in before} <= {"k_proj", "v_proj"}
            assert chunk == block == 0 or before
        alive.append((name, chunk, block, weakref.ref(value)))

    hidden_states(Decoder(WEIGHTS), TOKENS, 10, watch=watch)
