"""GGUF files of Llama-family models to float32 arrays in Hugging Face's conventions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.specs import LLM, llm_from_config

ARCHITECTURES = ("llama",)
"""Values of ``general.architecture`` that are read: Llama, SmolLM, Mistral and whoever else computes as they do."""

FloatArray = NDArray[np.float32]

_NORMS = {"attn_norm": "attn_norm", "ffn_norm": "ffn_norm"}
_LINEARS = {
    "attn_q": "q_proj",
    "attn_k": "k_proj",
    "attn_v": "v_proj",
    "attn_output": "o_proj",
    "ffn_gate": "gate_proj",
    "ffn_up": "up_proj",
    "ffn_down": "down_proj",
}
_ROTATED = ("q_proj", "k_proj")


class Vocabulary(NamedTuple):
    """What a GGUF file says of its tokenizer."""

    model: str
    """Algorithm, ``gpt2`` for byte-level BPE."""
    pre: str
    """How text is split before merging."""
    tokens: Sequence[str]
    types: Sequence[int]
    """Kind of each token; 3: control."""
    merges: Sequence[str]
    """Pairs separated by a space, the most frequent first."""


class Checkpoint(NamedTuple):
    """A model as it was read from a GGUF file."""

    config: Mapping[str, Any]
    """In the form of a Hugging Face ``config.json``."""
    tensors: Mapping[str, FloatArray]
    """By name: ``embedding`` and, unless tied, ``head`` (vocabulary, hidden), ``final_norm``, ``blocks.0.q_proj`` (inputs, outputs) etc."""
    vocabulary: Vocabulary


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a GGUF file, whatever its quantization, as float32.

    Rows of Q and K, which GGUF stores for rotary positions on adjacent pairs, are put back in the order for pairs half a head apart.

    Raises
    ------
    SocsimError
        The file is no GGUF file, is truncated, is of another architecture, has tensors that are missing, unknown, of a wrong
        shape or an unsupported type, or a weight that is not finite.
    """
    reader = _open(path)
    metadata = _Metadata(str(path), {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")})
    stored = {tensor.name: tensor for tensor in reader.tensors}
    config = _config(metadata, tied="output.weight" not in stored)
    llm = llm_from_config(config, "model", str(path))
    _check_names(stored, llm, str(path))
    shapes = tensor_shapes(llm)
    tensors = {ours: _tensor(stored[theirs], shapes[ours], ours, llm.head_dim, str(path)) for theirs, ours in _places(llm)}
    return Checkpoint(config, tensors, _vocabulary(metadata, llm))


def tensor_shapes(llm: LLM) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of a model by its name in a `Checkpoint`; linears are (inputs, outputs)."""
    table = (llm.vocab_size, llm.hidden_size)
    shapes: dict[str, tuple[int, ...]] = {"embedding": table, "final_norm": (llm.hidden_size,)}
    if not llm.tie_word_embeddings:
        shapes["head"] = table
    for block in range(llm.num_hidden_layers):
        shapes |= {f"blocks.{block}.{norm}": (llm.hidden_size,) for norm in _NORMS.values()}
        shapes |= {f"blocks.{block}.{linear}": shape for linear, shape in llm.linear_shapes.items()}
    return shapes


def half_apart(rows: FloatArray, heads: int) -> FloatArray:
    """Reorder the rows of a Q or K weight (heads x size, inputs) from rotary pairs side by side to pairs half a head apart."""
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


class _Metadata(NamedTuple):
    """The key-value pairs of a file, with checks that name file and key."""

    where: str
    fields: Mapping[str, Any]

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """Return a whole number, number, text or list; without a default it must be there."""
        if key not in self.fields:
            if default is None:
                raise SocsimError(f"{self.where}: metadata '{key}' is missing")
            return default
        try:
            value = self.fields[key].contents()
        except (ValueError, IndexError):
            raise SocsimError(f"{self.where}: is a damaged GGUF file: its metadata '{key}' cannot be read") from None
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = {int: "a whole number", float: "a number", str: "a text"}.get(kind, "a list")
            raise SocsimError(f"{self.where}: metadata '{key}' should be {wanted}, not {str(value)[:40]!r}")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        """Return a whole number above 0."""
        value = int(self.get(key, int, default))
        if value < 1:
            raise SocsimError(f"{self.where}: metadata '{key}' should be a whole number above 0, not {value}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number above 0."""
        value = self.get(key, float, default)
        if not 0.0 < value < np.inf:
            raise SocsimError(f"{self.where}: metadata '{key}' should be a finite number above 0, not {value}")
        # It is stored in single precision: the shortest decimal that gives the same is what was meant.
        return float(str(np.float32(value)))


def _open(path: str | Path) -> Any:
    """Return a reader of a GGUF file, which maps the file into memory."""
    from gguf import GGUFReader

    try:
        with Path(path).open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise SocsimError(f"{path}: cannot be read: {error.strerror}") from None
    if magic != b"GGUF":
        raise SocsimError(f"{path}: is no GGUF file: it does not start with the letters GGUF")
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError):  # what they say is of the library's code
        raise SocsimError(f"{path}: is a truncated or damaged GGUF file") from None


def _config(metadata: _Metadata, *, tied: bool) -> dict[str, Any]:
    """Return the model's shape in the form of a Hugging Face ``config.json``."""
    architecture = metadata.get("general.architecture", str)
    if architecture not in ARCHITECTURES:
        raise SocsimError(f"{metadata.where}: architecture '{architecture}' is not supported; allowed: {', '.join(ARCHITECTURES)}")

    def count(key: str, default: int | None = None) -> int:
        return metadata.count(f"{architecture}.{key}", default)

    hidden, heads = count("embedding_length"), count("attention.head_count")
    size = count("attention.key_length", hidden // heads)
    only = {"rope.dimension_count": size, "attention.value_length": size, "expert_count": 0, "rope.scaling.type": "none"}
    for key, allowed in only.items():
        if (value := metadata.get(f"{architecture}.{key}", type(allowed), allowed)) != allowed:
            raise SocsimError(f"{metadata.where}: metadata '{architecture}.{key}' is {value!r}; supported: {allowed!r}")
    numbers = {
        "rms_norm_eps": metadata.number(f"{architecture}.attention.layer_norm_rms_epsilon"),
        "rope_theta": metadata.number(f"{architecture}.rope.freq_base", 10000.0),
    }
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": count("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": count("attention.head_count_kv", heads),
        "head_dim": size,
        "intermediate_size": count("feed_forward_length"),
        "vocab_size": len(metadata.get("tokenizer.ggml.tokens", list)),
        "tie_word_embeddings": tied,
        "max_position_embeddings": count("context_length"),
        **numbers,
    }


def _places(llm: LLM) -> Iterator[tuple[str, str]]:
    """Return the name of each array in GGUF files and in a `Checkpoint`."""
    yield "token_embd.weight", "embedding"
    yield "output_norm.weight", "final_norm"
    if not llm.tie_word_embeddings:
        yield "output.weight", "head"
    for block in range(llm.num_hidden_layers):
        for theirs, ours in (_NORMS | _LINEARS).items():
            yield f"blk.{block}.{theirs}.weight", f"blocks.{block}.{ours}"


def _check_names(stored: Mapping[str, Any], llm: LLM, where: str) -> None:
    """Refuse a file that lacks a tensor, or has one that would not be computed with (biases, experts, scaled frequencies)."""
    for name, _ in _places(llm):  # ends early where damaged metadata tells of billions of blocks
        if name not in stored:
            raise SocsimError(f"{where}: tensor '{name}' is missing")
    if unknown := sorted(stored.keys() - dict(_places(llm)).keys()):
        raise SocsimError(f"{where}: tensor '{unknown[0]}' is not supported: socsim computes with no such tensor")


def _tensor(stored: Any, expected: tuple[int, ...], name: str, head_dim: int, where: str) -> FloatArray:
    """Return one tensor in float32 and in the expected shape, linears as (inputs, outputs)."""
    from gguf.quants import dequantize

    linear = name.rpartition(".")[2] if name.startswith("blocks.") else ""
    shape = tuple(int(size) for size in (stored.shape if linear else reversed(stored.shape)))
    if shape != expected:
        raise SocsimError(f"{where}: tensor '{stored.name}' has shape {shape}; should have {expected}")
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(dequantize(stored.data, stored.tensor_type), dtype=np.float32)
    except NotImplementedError:
        types = ", ".join(_readable_types())
        raise SocsimError(f"{where}: tensor '{stored.name}' is of type {stored.tensor_type.name}; supported: {types}") from None
    if wrong := values.size - int(np.count_nonzero(np.isfinite(values))):
        raise SocsimError(f"{where}: tensor '{stored.name}' has {wrong} {'values that are' if wrong > 1 else 'value that is'} not finite")
    if linear in _ROTATED:
        values = half_apart(values, expected[1] // head_dim)
    return np.ascontiguousarray(values.T if linear in _LINEARS.values() else values)


def _readable_types() -> list[str]:
    """Return the names of the types that can be turned into float32."""
    from gguf.constants import GGML_QUANT_SIZES
    from gguf.quants import dequantize

    names = []
    for kind, (_, block_bytes) in GGML_QUANT_SIZES.items():
        try:
            dequantize(np.zeros((1, block_bytes), dtype=np.uint8), kind)
        except NotImplementedError:
            continue
        names.append(kind.name)
    return names


def _vocabulary(metadata: _Metadata, llm: LLM) -> Vocabulary:
    tokens = metadata.get("tokenizer.ggml.tokens", list)
    types = metadata.get("tokenizer.ggml.token_type", list, [1] * len(tokens))
    if len(types) != llm.vocab_size:
        raise SocsimError(f"{metadata.where}: metadata 'tokenizer.ggml.token_type' has {len(types)} entries; should have {llm.vocab_size}")
    return Vocabulary(
        model=metadata.get("tokenizer.ggml.model", str),
        pre=metadata.get("tokenizer.ggml.pre", str, "default"),
        tokens=tokens,
        types=types,
        merges=metadata.get("tokenizer.ggml.merges", list, []),
    )
