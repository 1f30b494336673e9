"""One quantized linear: int8 products with scales per tensor, row or group, and float work on outlier channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from socsim.numerics.decoder import NO_SHADOW, Array, Shadow
from socsim.numerics.products import PackedWeights, int8_matmul, pack

INT8_LIMIT = 127
"""Largest magnitude that int8 values take: symmetric, so that -128 is not used."""


def quantize(scaled: Array) -> NDArray[np.int8]:
    """Return values in steps of their scale, rounded half to even and limited to the int8 range."""
    rounded = np.rint(scaled)
    return np.clip(rounded, -INT8_LIMIT, INT8_LIMIT, out=rounded).astype(np.int8)


def quantize_weight(weight: Array, *, per_channel: bool) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 weights (K, N) and their scales, of shape (1, N) per output channel or (1, 1)."""
    largest = np.abs(weight).max(axis=0, keepdims=True) if per_channel else np.abs(weight).max(keepdims=True)
    scale = (np.where(largest > 0.0, largest, 1.0) / INT8_LIMIT).astype(np.float32)
    return quantize(weight / scale), scale


@dataclass(frozen=True, eq=False)
class StaticLinear:
    """A linear with one static activation scale; a kept one computes the residual of its outlier channels in float.

    With x the input over its scale s and its smoothing factors, q = clip(round(x)), O the channels with an |x| beyond 127 and
    r = x - q: ``x . w ~ s s_w q . w_q + s r[:, O] . w[O, :]``. The paper prints multiples of 128 instead of r (Xu et al. 2025,
    Eq. 1), which is no identity: q + 128 floor(x/128) is not x.
    """

    packed: PackedWeights
    scale: NDArray[np.float32]
    """Activation scale times weight scales, of shape (1, N) or (1, 1)."""
    inverse: NDArray[np.float32]
    """What the input is multiplied by before rounding, of shape (K,) or ()."""
    float_weight: Array | None
    """Weights of a kept linear times the activation scale, (K, N)."""
    hot: NDArray[np.bool_] | None
    """Channels of a kept linear whose float weights are in memory, (K,)."""
    output_step: float | None = None
    """Step to which the product is rounded, limited to 127 steps; none: it is not."""

    @classmethod
    def of(
        cls,
        float_weight: Array | None,
        quantized: NDArray[np.int8],
        weight_scale: NDArray[np.float32],
        scale: float,
        smoothing: Array | None,
        hot: NDArray[np.bool_] | None,
        output_step: float | None = None,
    ) -> Self:
        """Return the linear; `float_weight` and `hot` are given for a kept one."""
        inverse = np.float32(1.0 / scale) / (np.float32(1.0) if smoothing is None else smoothing)
        beside = None if float_weight is None else float_weight * np.float32(scale)
        return cls(pack(quantized), np.float32(scale) * weight_scale, np.asarray(inverse, dtype=np.float32), beside, hot, output_step)

    @property
    def kept(self) -> bool:
        """Whether outliers are computed in float."""
        return self.float_weight is not None

    def main(self, x: Array) -> Array:
        """Return the int8 product of inputs (rows, K), dequantized, of shape (rows, N)."""
        product = _dequantized(int8_matmul(quantize(x * self.inverse), self.packed), self.scale, x)
        if self.output_step is not None:
            step = x.dtype.type(self.output_step)
            product = quantize(product / step) * step
        return product

    def shadow(self, x: Array) -> Shadow:
        """Return the float product of the residuals in outlier channels."""
        if self.float_weight is None or self.hot is None:
            return NO_SHADOW
        scaled = x * self.inverse
        channels = np.flatnonzero(np.maximum(scaled.max(axis=0), -scaled.min(axis=0)) > INT8_LIMIT)
        if not len(channels):
            return NO_SHADOW
        values = scaled[:, channels]
        residual = values - quantize(values)
        result = residual @ self.float_weight[channels]
        return Shadow(result, channels, int(np.count_nonzero(~self.hot[channels])), residual.size * result.shape[1])


@dataclass(frozen=True, eq=False)
class RowLinear:
    """A linear with a scale for each row of activations; channels with a value beyond a threshold are multiplied in float."""

    packed: PackedWeights
    weight_scale: NDArray[np.float32]
    float_weight: Array
    threshold: float
    kept: bool = True

    @classmethod
    def of(cls, weight: Array, threshold: float, *, per_channel: bool) -> Self:
        """Return the linear of weights (K, N)."""
        quantized, scale = quantize_weight(weight, per_channel=per_channel)
        return cls(pack(quantized), scale, weight, threshold)

    def _outliers(self, x: Array) -> NDArray[np.bool_]:
        outliers: NDArray[np.bool_] = np.abs(x).max(axis=0) >= self.threshold
        return outliers

    def main(self, x: Array) -> Array:
        """Return the int8 product of all other channels, of shape (rows, N)."""
        rest = np.where(self._outliers(x), np.float32(0.0), x)
        scale = np.maximum(np.abs(rest).max(axis=1, keepdims=True), np.float32(1e-12)) / np.float32(INT8_LIMIT)
        return _dequantized(int8_matmul(quantize(rest / scale), self.packed), scale * self.weight_scale, x)

    def shadow(self, x: Array) -> Shadow:
        """Return the float product of the outlier channels."""
        channels = np.flatnonzero(self._outliers(x))
        if not len(channels):
            return NO_SHADOW
        result = x[:, channels] @ self.float_weight[channels]
        return Shadow(result, channels, 0, result.size * len(channels))


@dataclass(frozen=True, eq=False)
class GroupedLinear:
    """A linear with a scale for each group of inputs, of weights by output channel and of activations by row.

    Each group is an int8 product of its own; its int32 result times both scales is summed in float, as an NPU has to do it.
    """

    packed: tuple[PackedWeights, ...]
    """Rounded weights of each group, (group, N)."""
    weight_scale: NDArray[np.float32]
    """Of shape (groups, N)."""
    group_size: int
    kept: bool = False

    @classmethod
    def of(cls, weight: Array, group_size: int) -> Self:
        """Return the linear of weights (K, N); the last group may be shorter."""
        parts = [quantize_weight(weight[rows], per_channel=True) for rows in _groups(len(weight), group_size)]
        return cls(tuple(pack(quantized) for quantized, _ in parts), np.concatenate([scale for _, scale in parts]), group_size)

    def main(self, x: Array) -> Array:
        """Return the product of inputs (rows, K), of shape (rows, N)."""
        total: Array = np.zeros((len(x), self.weight_scale.shape[1]), dtype=x.dtype)
        for place, columns in enumerate(_groups(x.shape[1], self.group_size)):
            part = x[:, columns]
            scale = np.maximum(np.abs(part).max(axis=1, keepdims=True), x.dtype.type(1e-12)) / x.dtype.type(INT8_LIMIT)
            product = _dequantized(int8_matmul(quantize(part / scale), self.packed[place]), scale, x)
            product *= self.weight_scale[place]
            total += product
        return total

    def shadow(self, x: Array) -> Shadow:  # noqa: ARG002 - what all linears take
        """Return nothing: no outliers are kept."""
        return NO_SHADOW


def _groups(length: int, group_size: int) -> list[slice]:
    return [slice(start, min(start + group_size, length)) for start in range(0, length, group_size)]


def _dequantized(product: NDArray[np.int32], scale: Array, x: Array) -> Array:
    """Return a product times its scales in the type of its input: numpy's own choice for int32 is float64."""
    result: Array = np.multiply(product, scale, dtype=x.dtype)
    return result
