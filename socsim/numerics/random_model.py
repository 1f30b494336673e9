"""A tiny random model whose activations have outlier channels, as those of trained models do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from socsim.numerics.checkpoint import FloatArray
from socsim.numerics.weights import Weights
from socsim.specs import LLM, llm_from_config

OUTLIER_GAIN = 20.0
"""How much larger the planted channels are than the others."""
_LEARNED_GAIN = 3.0
"""How much more they matter than the others: trained linears read large channels with small weights."""
_STEP = 0.3
"""How much a block changes the stream beside what enters it."""


def random_weights(
    seed: int = 0,
    blocks: int = 3,
    hidden: int = 64,
    ffn: int = 96,
    heads: int = 4,
    kv_heads: int = 2,
    vocab: int = 128,
    outlier_channels: int = 3,
) -> Weights:
    """Make a random Llama-family model with outliers; the same arguments give the same weights.

    The same channels are large after every normalization within a block. In the FFN of the block in the middle one channel more is large.

    Parameters
    ----------
    seed
        Of the random numbers.
    blocks, hidden, ffn, heads, kv_heads, vocab
        Shape of the model.
    outlier_channels
        How many channels the normalizations enlarge.

    Raises
    ------
    SocsimError
        The numbers are the shape of no model.
    """
    shape = {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "vocab_size": vocab,
        "tie_word_embeddings": True,
        "max_position_embeddings": 2048,
    }
    llm = llm_from_config(shape, "random", "random weights")
    rng = np.random.default_rng(seed)
    outliers = rng.choice(hidden, size=outlier_channels, replace=False)
    norm = np.ones(hidden, dtype=np.float32)
    norm[outliers] = OUTLIER_GAIN
    made = tuple(_block(llm, rng, norm, outliers, outlier_in_ffn=block == blocks // 2) for block in range(blocks))
    embedding = np.float32(_STEP) * rng.standard_normal((vocab, hidden), dtype=np.float32)
    final_norm = np.ones(hidden, dtype=np.float32)
    for array in (embedding, final_norm, *(array for arrays in made for array in arrays.values())):
        array.setflags(write=False)
    return Weights("random", llm, llm.rope_theta, 1e-5, embedding, embedding, final_norm, made, "", f"random numbers, seed {seed}")


def _block(
    llm: LLM, rng: np.random.Generator, norm: FloatArray, outliers: NDArray[np.int64], *, outlier_in_ffn: bool
) -> dict[str, FloatArray]:
    """Return the arrays of one block."""
    arrays = {"attn_norm": norm, "ffn_norm": norm}
    for name, (inputs, outputs) in llm.linear_shapes.items():
        weight = rng.standard_normal((inputs, outputs), dtype=np.float32) / np.float32(inputs**0.5)
        if name in ("o_proj", "down_proj"):
            weight *= np.float32(_STEP)
        else:
            weight[outliers] *= np.float32(_LEARNED_GAIN / OUTLIER_GAIN)
        arrays[name] = weight
    if outlier_in_ffn:
        channel = rng.integers(llm.intermediate_size)
        arrays["up_proj"][:, channel] *= np.float32(OUTLIER_GAIN)
        arrays["down_proj"][channel] *= np.float32(_LEARNED_GAIN / OUTLIER_GAIN)
    return arrays
