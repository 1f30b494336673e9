"""Statistics of what linears read, against plain numpy on the values themselves, and by hand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from socsim.numerics.decoder import INPUTS, Array, Decoder
from socsim.numerics.forward import hidden_states
from socsim.numerics.profile import BINS, CHUNK_TOKENS, TENSORS, TensorProfile, profile_text
from socsim.numerics.random_model import random_weights
from socsim.numerics.weights import Weights

NO_COUNTS = np.zeros(len(BINS) - 1, dtype=np.int64)


def profile(chunk_max: ArrayLike, rms: ArrayLike = 1.0, histogram: NDArray[np.int64] = NO_COUNTS) -> TensorProfile:
    maxima = np.asarray(chunk_max, dtype=np.float32)
    channel_rms = np.broadcast_to(np.asarray(rms, dtype=np.float32), maxima.shape[1:])
    return TensorProfile(maxima, channel_rms, histogram, {}, {})


def counted(values: ArrayLike) -> TensorProfile:
    """Return a profile of values in one channel."""
    magnitudes = np.abs(np.asarray(values, dtype=np.float32))
    return profile([[magnitudes.max()]], histogram=np.histogram(np.clip(magnitudes, BINS[0], BINS[-1]), BINS)[0])


@pytest.fixture(scope="module")
def uneven() -> Weights:
    """Return weights of which a channel of a buffer is always zero, another beyond all bins, and one below."""
    weights = random_weights(2, vocab=64)
    norm = np.linspace(0.5, 2.0, 64, dtype=np.float32)
    norm[[3, 4, 5]] = 0.0, 1e7, 1e-8
    return replace(weights, blocks=(*weights.blocks[:2], {**weights.blocks[2], "ffn_norm": norm}))


def test_statistics_are_those_of_the_values(uneven: Weights) -> None:
    """Two prompts of 300 and 20 tokens: three chunks, of 256, 44 and 20 tokens."""
    windows = [np.random.default_rng(seed).integers(64, size=size) for seed, size in enumerate((300, 20))]
    values: dict[tuple[int, str], list[Array]] = defaultdict(list)
    for window in windows:
        hidden_states(Decoder(uneven), window, 256, watch=lambda name, chunk, block, value: values[block, name].append(value))
    done: list[int] = []
    profiles = profile_text(Decoder(uneven), windows, done.append)
    assert done == [300, 320]
    assert CHUNK_TOKENS == 256
    assert set(profiles) == {(block, name) for block in range(3) for name in ("attn_norm", "attention", "ffn_norm", "activation")}
    for (block, name), tensor in profiles.items():
        chunks = [np.abs(chunk.astype(np.float64)) for chunk in values[block, name]]
        assert [len(chunk) for chunk in chunks] == [256, 44, 20]
        np.testing.assert_array_equal(tensor.chunk_max, [chunk.max(axis=0) for chunk in chunks])
        everything = np.concatenate(chunks)
        np.testing.assert_allclose(tensor.channel_rms, np.sqrt((everything**2).mean(axis=0)), rtol=1e-6)
        assert tensor.rms == pytest.approx(np.sqrt((everything**2).mean()), rel=1e-6)
        assert tensor.largest == everything.max()
        np.testing.assert_array_equal(tensor.channel_max, everything.max(axis=0))
        np.testing.assert_array_equal(tensor.histogram, np.histogram(np.clip(everything, BINS[0], BINS[-1]), BINS)[0])
        readers = [linear for linear in INPUTS if INPUTS[linear] == name]
        assert list(tensor.output_rms) == list(tensor.output_max) == readers
        for linear in readers:
            output = np.concatenate(values[block, linear]).astype(np.float64)
            assert tensor.output_rms[linear] == pytest.approx(np.sqrt((output**2).mean()), rel=1e-6)
            assert tensor.output_max[linear] == np.abs(output).max()


def test_the_first_norm_by_hand(uneven: Weights) -> None:
    """The first linears read normalized embeddings."""
    tokens = np.arange(64)
    embedding = uneven.embedding.astype(np.float64)
    expected = embedding / np.sqrt((embedding**2).mean(axis=1, keepdims=True) + 1e-5) * uneven.blocks[0]["attn_norm"]
    tensor = profile_text(Decoder(uneven), [tokens])[0, "attn_norm"]
    np.testing.assert_allclose(tensor.chunk_max, np.abs(expected).max(axis=0, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(tensor.channel_rms, np.sqrt((expected**2).mean(axis=0)), rtol=1e-5)
    query = expected @ uneven.blocks[0]["q_proj"]
    assert tensor.output_max["q_proj"] == pytest.approx(np.abs(query).max(), rel=1e-5)


def test_a_profile_in_float64_is_the_same(uneven: Weights) -> None:
    tokens = np.arange(64)
    single, double = (profile_text(Decoder(uneven, dtype=dtype), [tokens])[2, "activation"] for dtype in (np.float32, np.float64))
    np.testing.assert_allclose(double.chunk_max, single.chunk_max, rtol=1e-3)
    assert double.histogram.sum() == single.histogram.sum() == 64 * 96
    assert double.chunk_max.dtype == single.chunk_max.dtype == np.float32


def test_bins() -> None:
    assert (BINS[0], BINS[-1]) == (2.0**-20, 2.0**20)
    assert (np.diff(BINS) / BINS[:-1]).max() <= 1 / 128
    assert (np.diff(BINS) > 0).all()


def test_percentiles_by_hand() -> None:
    tensor = counted([1.0] * 90 + [2.0] * 9 + [50.0])
    step = 1 + 1 / 128
    assert [tensor.percentile(percent) for percent in (50, 90)] == pytest.approx([step] * 2, rel=1e-6)
    assert [tensor.percentile(percent) for percent in (90.5, 99)] == pytest.approx([2 * step] * 2, rel=1e-6)
    assert [tensor.percentile(percent) for percent in (99.5, 100)] == [50.0, 50.0]  # never more than the largest


@given(st.lists(st.floats(-1e5, 1e5, width=32).filter(lambda x: abs(x) > 1e-5), min_size=1, max_size=60), st.floats(0.1, 100.0))
def test_a_percentile_is_the_smallest_bin_that_holds_the_share(values: list[float], percent: float) -> None:
    tensor, magnitudes = counted(values), np.abs(np.array(values, dtype=np.float32))
    found = tensor.percentile(percent)
    assert (magnitudes <= found).mean() >= percent / 100 - 1e-12
    assert (magnitudes < found * (1 - 1 / 100)).mean() < percent / 100


def test_budget_by_hand() -> None:
    tensor = profile([[1, 8, 3, 5], [2, 8, 3, 4]])  # in order: 8 8 5 4 3 3 2 1
    assert [tensor.budget(channels) for channels in (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5)] == [8, 8, 5, 4, 3, 3, 2, 1]
    assert [tensor.budget(channels) for channels in (4, 100)] == [1, 1]
    assert profile(np.arange(100.0).reshape(100, 1)).budget(0.29) == 99 - 29  # 0.29 * 100 is 28.999999999999996


@given(st.integers(1, 4), st.integers(1, 6), st.data())
def test_a_budget_is_never_exceeded_and_used_up(chunks: int, channels: int, data: st.DataObject) -> None:
    cells = data.draw(st.lists(st.integers(0, 6), min_size=chunks * channels, max_size=chunks * channels))
    tensor, allowed = profile(np.reshape(cells, (chunks, channels))), data.draw(st.sampled_from([0, 0.25, 0.5, 1, 2, 2.5, 7]))
    threshold = tensor.budget(allowed)
    assert (tensor.chunk_max > threshold).sum() <= allowed * chunks
    if allowed < channels:
        assert (tensor.chunk_max >= threshold).sum() > allowed * chunks  # a smaller one would be too small
    np.testing.assert_array_equal(tensor.outlier_counts(threshold), (np.reshape(cells, (chunks, channels)) > threshold).sum(axis=0))


def test_hot_channels_by_hand() -> None:
    tensor = profile([[9, 1, 9, 9, 1], [9, 1, 1, 9, 9], [1, 1, 1, 9, 5]])
    assert tensor.outlier_counts(5.0).tolist() == [2, 0, 1, 3, 1]
    hot = {fraction: np.flatnonzero(tensor.hot_channels(5.0, fraction)).tolist() for fraction in (0.0, 0.19, 0.2, 0.4, 0.6, 0.8, 1.0)}
    # Of channels 2 and 4, both once an outlier, the first comes first; channel 1 never is one.
    assert hot == {0.0: [], 0.19: [], 0.2: [3], 0.4: [0, 3], 0.6: [0, 2, 3], 0.8: [0, 2, 3, 4], 1.0: [0, 2, 3, 4]}
    assert not tensor.hot_channels(9.0, 1.0).any()
    many = np.random.default_rng(0).integers(3, size=(2, 1000))
    counts = (many > 1).sum(axis=0)
    first = sorted(range(1000), key=lambda channel: (-counts[channel], channel))[:290]
    assert np.flatnonzero(profile(many).hot_channels(1.0, 0.29)).tolist() == sorted(first)
    assert profile(np.ones((1, 100))).hot_channels(0.5, 0.29).sum() == 29  # 0.29 * 100 is 28.999999999999996


@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=5), st.floats(0.0, 1.0))
def test_hot_channels_are_the_most_frequent(rows: list[list[int]], fraction: float) -> None:
    tensor = profile(rows)
    counts, hot = tensor.outlier_counts(1.0), tensor.hot_channels(1.0, fraction)
    assert hot.sum() <= fraction * 7 + 1e-6
    assert (counts[hot] > 0).all()
    if hot.any() and not hot.all():
        assert counts[hot].min() >= counts[~hot].max()


def test_divided() -> None:
    tensor = profile([[2.0, 9.0], [4.0, 3.0]], rms=[1.0, 6.0])
    halved = tensor.divided(np.array([2.0, 3.0], dtype=np.float32))
    assert halved.chunk_max.tolist() == [[1.0, 3.0], [2.0, 1.0]]
    assert halved.channel_rms.tolist() == [0.5, 2.0]
    assert (halved.largest, tensor.largest) == (3.0, 9.0)
    assert halved.rms == pytest.approx(np.sqrt((0.25 + 4.0) / 2))


def test_tensors() -> None:
    assert TENSORS == ("attn_norm", "attention", "ffn_norm", "activation")
