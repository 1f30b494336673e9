"""Writes GGUF files of a tiny Llama-family model, whole or with one thing wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from numpy.typing import NDArray
from tokenizers.pre_tokenizers import ByteLevel

HIDDEN, FFN, HEADS, KV_HEADS, BLOCKS = 64, 96, 4, 2, 2
MERGES = ("h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o", "1 2")
END = "<|end|>"
TOKENS = (END, *sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES))
SHAPES = {
    "token_embd": (len(TOKENS), HIDDEN),
    "output_norm": (HIDDEN,),
    **{f"blk.{block}.{norm}": (HIDDEN,) for block in range(BLOCKS) for norm in ("attn_norm", "ffn_norm")},
    **{
        f"blk.{block}.{name}": shape
        for block in range(BLOCKS)
        for name, shape in {
            "attn_q": (HIDDEN, HIDDEN),
            "attn_k": (HIDDEN // 2, HIDDEN),
            "attn_v": (HIDDEN // 2, HIDDEN),
            "attn_output": (HIDDEN, HIDDEN),
            "ffn_gate": (FFN, HIDDEN),
            "ffn_up": (FFN, HIDDEN),
            "ffn_down": (HIDDEN, FFN),
        }.items()
    },
}
"""Of each tensor without ``.weight``: (outputs, inputs)."""
METADATA: Mapping[str, Any] = {
    "llama.block_count": BLOCKS,
    "llama.context_length": 128,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": FFN,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 10000.0,
    "llama.rope.dimension_count": HIDDEN // HEADS,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": list(TOKENS),
    "tokenizer.ggml.token_type": [3, *[1] * (len(TOKENS) - 1)],
    "tokenizer.ggml.merges": list(MERGES),
}


def made_up_tensors(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return random tensors as a file holds them, by name without ``.weight``."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in SHAPES.items()}


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    metadata: Mapping[str, Any] | None = None,
    tensors: Mapping[str, NDArray[Any] | None] | None = None,
    kind: GGMLQuantizationType = GGMLQuantizationType.F32,
    seed: int = 0,
) -> Path:
    """Write a model and return the path.

    Parameters
    ----------
    path
        The file.
    architecture
        Its ``general.architecture``.
    metadata, tensors
        What differs from the usual by name; none: is left out.
    kind
        How matrices are stored.
    seed
        Of the random tensors.
    """
    writer = GGUFWriter(path, architecture)
    for key, value in {**METADATA, **(metadata or {})}.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif value is not None:
            writer.add_float32(key, value)
    for name, tensor in {**made_up_tensors(seed), **(tensors or {})}.items():
        if tensor is not None:
            stored = kind if tensor.ndim == 2 else GGMLQuantizationType.F32
            raw = stored != GGMLQuantizationType.F32
            writer.add_tensor(f"{name}.weight", quantize(tensor, stored) if raw else tensor, raw_dtype=stored if raw else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
