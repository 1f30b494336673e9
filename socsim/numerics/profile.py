"""What the inputs of linears look like on a text: the basis of static scales, outlier thresholds and importance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.numerics.decoder import INPUTS, Array, Decoder
from socsim.numerics.forward import hidden_states

CHUNK_TOKENS = 256
"""Tokens in which channels with outliers are counted, as in the paper's chunks."""
_FIRST_BIN, _LAST_BIN = 107 << 7, 147 << 7
BINS = (np.arange(_FIRST_BIN, _LAST_BIN + 1, dtype=np.uint32) << 16).view(np.float32)
"""Edges of the histogram of magnitudes, from 2**-20 to 2**20: float32 numbers whose mantissa has 7 bits, so steps of at most 0.8 %."""
TENSORS = tuple(dict.fromkeys(INPUTS.values()))
"""Buffers that linears read."""


@dataclass(frozen=True, eq=False)
class TensorProfile:
    """Statistics of one buffer that linears read, over a text."""

    chunk_max: NDArray[np.float32]
    """Largest magnitude of each channel in each chunk, of shape (chunks, channels)."""
    channel_rms: NDArray[np.float32]
    """Root mean square of each channel, of shape (channels,)."""
    histogram: NDArray[np.int64]
    """Number of magnitudes in each of `BINS`, the lower edge included; smaller and larger ones are in the first and last."""
    output_rms: Mapping[str, float]
    """Root mean square of the output of each linear that reads the buffer."""
    output_max: Mapping[str, float]
    """Largest magnitude of the output of each linear that reads the buffer."""

    @property
    def largest(self) -> float:
        """Largest magnitude."""
        return float(self.chunk_max.max())

    @property
    def rms(self) -> float:
        """Root mean square of all values."""
        return float(np.sqrt(np.mean(np.square(self.channel_rms, dtype=np.float64))))

    @property
    def channel_max(self) -> NDArray[np.float32]:
        """Largest magnitude of each channel, of shape (channels,)."""
        largest: NDArray[np.float32] = self.chunk_max.max(axis=0)
        return largest

    def divided(self, factors: NDArray[np.float32]) -> TensorProfile:
        """Return the statistics of the buffer with each channel divided by a factor; percentiles stay as they are."""
        return replace(self, chunk_max=self.chunk_max / factors, channel_rms=self.channel_rms / factors)

    def percentile(self, percent: float) -> float:
        """Return the magnitude that a share of all values does not exceed."""
        reached = np.cumsum(self.histogram) >= self.histogram.sum() * percent / 100.0
        return min(float(BINS[1:][np.argmax(reached)]), self.largest)

    def budget(self, channels: float) -> float:
        """Return the magnitude that on average no more than some channels of a chunk exceed."""
        ordered = np.sort(self.chunk_max, axis=None)[::-1]
        place = int(channels * len(self.chunk_max) + 1e-9)
        return float(ordered[min(place, len(ordered) - 1)])

    def outlier_counts(self, threshold: float) -> NDArray[np.int64]:
        """Return in how many chunks each channel exceeds a magnitude, of shape (channels,)."""
        counts: NDArray[np.int64] = (self.chunk_max > threshold).sum(axis=0)
        return counts

    def hot_channels(self, threshold: float, fraction: float) -> NDArray[np.bool_]:
        """Return which channels are outliers most often: at most a fraction of all, and none that never is one."""
        counts = self.outlier_counts(threshold)
        order = np.argsort(-counts, kind="stable")[: int(fraction * len(counts) + 1e-9)]
        hot = np.zeros(len(counts), dtype=np.bool_)
        hot[order] = counts[order] > 0
        return hot


Profile = Mapping[tuple[int, str], TensorProfile]
"""Statistics by block and buffer."""


def profile_text(
    decoder: Decoder, windows: Sequence[NDArray[np.integer[Any]]], progress: Callable[[int], None] = lambda _: None
) -> dict[tuple[int, str], TensorProfile]:
    """Run a model, not quantized, on windows of tokens and return what its linears read.

    Parameters
    ----------
    decoder
        The model.
    windows
        Token ids; each window is a prompt of its own.
    progress
        Called with the number of tokens done.
    """
    maxima: dict[tuple[int, str], list[Array]] = {}
    squares: dict[tuple[int, str], Array] = {}
    histograms: dict[tuple[int, str], NDArray[np.int64]] = {}
    tokens = 0

    def watch(name: str, _: int, block: int, value: Array) -> None:
        if name not in TENSORS and name not in INPUTS:
            return
        place, magnitude = (block, name), np.abs(value)
        maxima.setdefault(place, []).append(magnitude.max(axis=0))
        squares[place] = squares.get(place, 0.0) + np.square(value, dtype=np.float64).sum(axis=0)
        if name in TENSORS:
            histograms[place] = histograms.get(place, 0) + _histogram(magnitude)

    for window in windows:
        hidden_states(decoder, window, CHUNK_TOKENS, watch=watch)
        tokens += len(window)
        progress(tokens)
    return {
        (block, name): TensorProfile(
            np.stack(maxima[block, name]).astype(np.float32),
            np.sqrt(squares[block, name] / tokens).astype(np.float32),
            histograms[block, name],
            {linear: float(np.sqrt(np.mean(squares[block, linear]) / tokens)) for linear in _readers(name)},
            {linear: float(np.max(maxima[block, linear])) for linear in _readers(name)},
        )
        for block, name in histograms
    }


def _histogram(magnitude: Array) -> NDArray[np.int64]:
    """Count magnitudes by the upper half of their bits, which is many times faster than searching for their bins."""
    upper = np.ascontiguousarray(magnitude, dtype=np.float32).view(np.uint32) >> 16
    return np.bincount(np.clip(upper, _FIRST_BIN, _LAST_BIN - 1).ravel() - _FIRST_BIN, minlength=len(BINS) - 1)


def _readers(buffer: str) -> list[str]:
    return [linear for linear, read in INPUTS.items() if read == buffer]
