from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_gguf import FFN, HEADS, HIDDEN, KV_HEADS, MERGES, TOKENS, made_up_tensors, write_gguf

from socsim.errors import SocsimError
from socsim.numerics.checkpoint import half_apart, read_checkpoint, tensor_shapes
from socsim.specs import llm_from_config

HEAD = HIDDEN // HEADS


def test_rows_of_a_head_written_out() -> None:
    names = np.arange(8, dtype=np.float32)[:, None]  # two heads of four rows: pairs (0, 1), (2, 3) and (4, 5), (6, 7)
    assert half_apart(names, heads=2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def rotated_side_by_side(x: NDArray[np.float64], position: int) -> NDArray[np.float64]:
    """Rotate pairs of neighbors, as complex numbers: what GGUF's rows are for."""
    turned: NDArray[np.complex128] = x.view(np.complex128) * np.exp(1j * position * 100.0 ** (-2 * np.arange(len(x) // 2) / len(x)))
    return turned.view(np.float64)


def rotated_half_apart(x: NDArray[np.float64], position: int) -> NDArray[np.float64]:
    """Rotate pairs half a head apart."""
    size = len(x)
    angle = position * 100.0 ** (-np.arange(0, size, 2) / size)
    first, second = x[: size // 2], x[size // 2 :]
    return np.concatenate((first * np.cos(angle) - second * np.sin(angle), first * np.sin(angle) + second * np.cos(angle)))


def test_attention_scores_are_those_of_the_file(tmp_path: Path) -> None:
    checkpoint, stored = read_checkpoint(write_gguf(tmp_path / "tiny.gguf")), made_up_tensors()
    x, y = np.random.default_rng(1).standard_normal((2, HIDDEN))
    for head in range(HEADS):
        rows, kv_rows = (slice(n * HEAD, (n + 1) * HEAD) for n in (head, head * KV_HEADS // HEADS))
        theirs_q, theirs_k = (stored[f"blk.1.attn_{name}"].astype(np.float64) for name in "qk")
        theirs = rotated_side_by_side(theirs_q[rows] @ x, 7) @ rotated_side_by_side(theirs_k[kv_rows] @ y, 3)
        ours_q, ours_k = (checkpoint.tensors[f"blocks.1.{name}_proj"].astype(np.float64) for name in "qk")
        ours = rotated_half_apart(x @ ours_q[:, rows], 7) @ rotated_half_apart(y @ ours_k[:, kv_rows], 3)
        assert ours == pytest.approx(theirs, rel=1e-9)


def test_arrays_shape_and_order(tmp_path: Path) -> None:
    checkpoint, stored = read_checkpoint(write_gguf(tmp_path / "tiny.gguf")), made_up_tensors()
    llm = llm_from_config(checkpoint.config, "tiny", "here")
    assert {name: tensor.shape for name, tensor in checkpoint.tensors.items()} == tensor_shapes(llm)
    assert all(tensor.dtype == np.float32 and tensor.flags.c_contiguous for tensor in checkpoint.tensors.values())
    for ours, theirs in {"v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate", "up_proj": "ffn_up"}.items():
        np.testing.assert_array_equal(checkpoint.tensors[f"blocks.0.{ours}"], stored[f"blk.0.{theirs}"].T)
    np.testing.assert_array_equal(checkpoint.tensors["blocks.1.down_proj"], stored["blk.1.ffn_down"].T)
    np.testing.assert_array_equal(checkpoint.tensors["blocks.1.attn_norm"], stored["blk.1.attn_norm"])
    np.testing.assert_array_equal(checkpoint.tensors["blocks.1.ffn_norm"], stored["blk.1.ffn_norm"])
    np.testing.assert_array_equal(checkpoint.tensors["embedding"], stored["token_embd"])
    np.testing.assert_array_equal(checkpoint.tensors["final_norm"], stored["output_norm"])


def test_configuration(tmp_path: Path) -> None:
    config = read_checkpoint(write_gguf(tmp_path / "tiny.gguf")).config
    assert config == {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "intermediate_size": FFN,
        "vocab_size": len(TOKENS),
        "tie_word_embeddings": True,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    }
    without = write_gguf(tmp_path / "defaults.gguf", metadata={"llama.rope.freq_base": None, "llama.rope.dimension_count": None})
    assert read_checkpoint(without).config == config


def test_a_head_of_its_own(tmp_path: Path) -> None:
    head = np.ones((len(TOKENS), HIDDEN), dtype=np.float32)
    checkpoint = read_checkpoint(write_gguf(tmp_path / "tiny.gguf", tensors={"output": head}))
    assert not checkpoint.config["tie_word_embeddings"]
    np.testing.assert_array_equal(checkpoint.tensors["head"], head)


def test_vocabulary(tmp_path: Path) -> None:
    vocabulary = read_checkpoint(write_gguf(tmp_path / "tiny.gguf")).vocabulary
    assert (vocabulary.model, vocabulary.pre) == ("gpt2", "smollm")
    assert tuple(vocabulary.tokens) == TOKENS
    assert tuple(vocabulary.merges) == MERGES
    assert vocabulary.types[:2] == [3, 1]


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_1"])
def test_quantized_files(tmp_path: Path, kind: str) -> None:
    kind_ = GGMLQuantizationType[kind]
    checkpoint, stored = read_checkpoint(write_gguf(tmp_path / "tiny.gguf", kind=kind_)), made_up_tensors()["blk.0.ffn_up"]
    read = checkpoint.tensors["blocks.0.up_proj"]
    np.testing.assert_array_equal(read, dequantize(quantize(stored, kind_), kind_).T)
    assert np.abs(read - stored.T).max() < 0.5  # 4 bits for about -3 to 3


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("blk.1.ffn_up", None, "tensor 'blk.1.ffn_up.weight' is missing"),
        ("blk.1.ffn_up", np.zeros((FFN, 32), dtype=np.float32), "tensor 'blk.1.ffn_up.weight' has shape (32, 96); should have (64, 96)"),
        ("output_norm", np.full(HIDDEN, np.nan, dtype=np.float32), "tensor 'output_norm.weight' has 64 values that are not finite"),
        ("token_embd", np.full((len(TOKENS), HIDDEN), -np.inf, dtype=np.float32), "tensor 'token_embd.weight' has"),
        ("rope_freqs", np.ones(HEAD // 2, dtype=np.float32), "tensor 'rope_freqs.weight' is not supported"),
        ("blk.0.attn_q.bias", np.ones(HIDDEN, dtype=np.float32), "tensor 'blk.0.attn_q.bias.weight' is not supported"),
    ],
)
def test_wrong_tensors(tmp_path: Path, name: str, value: NDArray[Any] | None, said: str) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", tensors={name: value})
    with pytest.raises(SocsimError) as error:
        read_checkpoint(file)
    assert str(error.value).startswith(f"{file}: {said}")


def test_one_value_that_is_not_finite(tmp_path: Path) -> None:
    tensor = made_up_tensors()["blk.0.attn_k"]
    tensor[3, 5] = np.nan
    file = write_gguf(tmp_path / "tiny.gguf", tensors={"blk.0.attn_k": tensor}, kind=GGMLQuantizationType.F16)
    with pytest.raises(SocsimError, match=r"tensor 'blk\.0\.attn_k\.weight' has 1 value that is not finite"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("llama.block_count", None, "metadata 'llama.block_count' is missing"),
        ("llama.block_count", 2**32 - 1, "tensor 'blk.2.attn_norm.weight' is missing"),
        ("llama.feed_forward_length", [96, 96], "metadata 'llama.feed_forward_length' should be a whole number, not '[96, 96]'"),
        ("llama.embedding_length", 0, "metadata 'llama.embedding_length' should be a whole number above 0, not 0"),
        ("llama.attention.head_count", 0, "metadata 'llama.attention.head_count' should be a whole number above 0, not 0"),
        ("llama.attention.head_count_kv", 3, "num_attention_heads 4 is no multiple of num_key_value_heads 3"),
        ("llama.rope.dimension_count", 8, "metadata 'llama.rope.dimension_count' is 8; supported: 16"),
        ("llama.rope.scaling.type", "yarn", "metadata 'llama.rope.scaling.type' is 'yarn'; supported: 'none'"),
        ("llama.expert_count", 8, "metadata 'llama.expert_count' is 8; supported: 0"),
        ("llama.attention.layer_norm_rms_epsilon", "small", "metadata 'llama.attention.layer_norm_rms_epsilon' should be a number"),
        ("llama.rope.freq_base", float("nan"), "metadata 'llama.rope.freq_base' should be a finite number above 0, not nan"),
        ("tokenizer.ggml.tokens", None, "metadata 'tokenizer.ggml.tokens' is missing"),
        ("tokenizer.ggml.token_type", [1, 1], "metadata 'tokenizer.ggml.token_type' has 2 entries; should have 264"),
    ],
)
def test_wrong_metadata(tmp_path: Path, key: str, value: Any, said: str) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", metadata={key: value})
    with pytest.raises(SocsimError) as error:
        read_checkpoint(file)
    assert str(error.value).startswith(f"{file}: {said}")


def test_another_architecture(tmp_path: Path) -> None:
    with pytest.raises(SocsimError, match=r"architecture 'mamba' is not supported; allowed: llama$"):
        read_checkpoint(write_gguf(tmp_path / "tiny.gguf", architecture="mamba"))


def test_a_quantization_that_cannot_be_read(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", kind=GGMLQuantizationType.Q8_0)
    data = file.read_bytes()
    name = b"blk.0.ffn_up.weight"
    start = data.index(name) + len(name) + 4 + 2 * 8  # the number of dimensions, and two of them
    changed = data[:start] + int(GGMLQuantizationType.Q8_1).to_bytes(4, "little") + data[start + 4 :]
    file.write_bytes(changed)
    with pytest.raises(SocsimError) as error:
        read_checkpoint(file)
    said, _, types = str(error.value).partition("; supported: ")
    assert said == f"{file}: tensor 'blk.0.ffn_up.weight' is of type Q8_1"
    assert {"F32", "F16", "Q4_1", "Q8_0", "Q4_K", "Q6_K"} <= set(types.split(", "))
    assert "Q8_1" not in types


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04zip"])
def test_no_gguf_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(SocsimError) as error:
        read_checkpoint(file)
    assert str(error.value) == f"{file}: is no GGUF file: it does not start with the letters GGUF"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SocsimError, match=r"absent\.gguf: cannot be read: No such file"):
        read_checkpoint(tmp_path / "absent.gguf")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("whole") / "tiny.gguf").read_bytes()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
def test_truncated_anywhere(tmp_path: Path, whole: bytes, share: float) -> None:
    file = tmp_path / "part.gguf"
    file.write_bytes(whole[: int(share * (len(whole) - 64))])
    with pytest.raises(SocsimError, match=r"part\.gguf: is (a truncated or damaged GGUF file$|no GGUF file: it does not start)"):
        read_checkpoint(file)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(4, 12000), value=st.integers(0, 255))
def test_a_byte_changed_anywhere(tmp_path: Path, whole: bytes, place: int, value: int) -> None:
    file = tmp_path / "changed.gguf"
    file.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
    try:
        tensors = read_checkpoint(file).tensors
    except SocsimError as error:
        assert str(error).startswith(f"{file}: ")  # noqa: PT017 (both may be)
        leaked = [said for said in ("unpack", "reshape", "codec", "out of bounds") if said in str(error)]
        assert leaked == []
    else:
        assert all(np.isfinite(tensor).all() for tensor in tensors.values())
