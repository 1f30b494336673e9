"""Quantization schemes: how the linears of a model are multiplied, and what of them stays in float."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError, unknown_name
from socsim.numerics.decoder import INPUTS, Array, FloatLinear, Linear, Site
from socsim.numerics.linears import INT8_LIMIT, GroupedLinear, RowLinear, StaticLinear, quantize_weight
from socsim.numerics.profile import TENSORS, Profile, TensorProfile
from socsim.specs import LINEARS

if TYPE_CHECKING:
    from socsim.numerics.weights import Weights

Granularity = Literal["tensor", "channel"]
"""One scale for a weight matrix, as llm.npu has it, or one for each of its output channels."""
Importance = Literal["max/scale", "max/rms", "error"]
"""What ranks linears: largest input over the threshold of outliers (llm.npu) or over the usual input, or estimated error.

The last is estimated from the statistics of a profile (`rounding_error`); nothing is measured without a linear's float work.
"""
Fallback = Literal["max-abs", "clip"]
"""Scale of a pruned linear: of its largest input, or of a kept one, which cuts outliers off."""

NORMS = ("attn_norm", "ffn_norm")
"""What norms make: the buffers that the authors of SmoothQuant smooth in models like Llama, the inputs of attention and FFN."""

_SMALLEST = 1e-12
"""Stands for zero in divisors: of an input that is always zero."""


class Scheme(Protocol):
    """A quantization scheme for a whole model."""

    @property
    def name(self) -> str:
        """How it is called in tables."""

    def linears(self, weights: Weights, profile: Profile) -> dict[Site, Linear]:
        """Return every linear of a model under the scheme, given statistics of what it reads."""


def _sites(weights: Weights) -> list[Site]:
    return [(block, name) for block in range(weights.llm.num_hidden_layers) for name in LINEARS]


@dataclass(frozen=True)
class Float32:
    """No quantization."""

    name: str = "float32"

    def linears(self, weights: Weights, profile: Profile) -> dict[Site, Linear]:  # noqa: ARG002 - what all schemes take
        """Return every linear of a model as it is."""
        return {site: FloatLinear(weights.blocks[site[0]][site[1]]) for site in _sites(weights)}


@dataclass(frozen=True)
class PerGroup:
    """int8 with a scale for each group of inputs: of weights in advance, of each row of activations when it comes (K-quants, Q8_0)."""

    name: str = "per-group"
    group_size: int = 32

    def linears(self, weights: Weights, profile: Profile) -> dict[Site, Linear]:  # noqa: ARG002 - what all schemes take
        """Return every linear of a model with grouped scales."""
        return {site: GroupedLinear.of(weights.blocks[site[0]][site[1]], self.group_size) for site in _sites(weights)}


@dataclass(frozen=True)
class LlmInt8:
    """LLM.int8(): a scale for each row of activations when it comes; channels beyond a threshold in float (Dettmers et al. 2022)."""

    name: str = "llm-int8"
    weight_scales: Granularity = "channel"
    threshold: float = 6.0

    def linears(self, weights: Weights, profile: Profile) -> dict[Site, Linear]:  # noqa: ARG002 - what all schemes take
        """Return every linear of a model with scales by row and outlier channels in float."""
        per_channel = self.weight_scales == "channel"
        return {site: RowLinear.of(weights.blocks[site[0]][site[1]], self.threshold, per_channel=per_channel) for site in _sites(weights)}


@dataclass(frozen=True)
class Static:
    """int8 with one static scale for each activation tensor, and what may go with that.

    ``per-tensor`` prunes everything; ``smoothquant`` smooths what norms make; ``shadow`` keeps outliers in float (llm.npu, Xu et
    al. 2025, Section 3.3); ``shadow-plus`` smooths all, and keeps the outliers of linears whose largest input is far above the usual one.

    A kept linear has the scale that leaves `outlier_channels` of a chunk beyond the int8 range on average, or that of a
    percentile of all magnitudes; the residual of these channels is multiplied in float. A pruned linear has the scale of the largest
    magnitude, or with ``clip`` that of a kept one, whose outliers are then cut off.

    Raises
    ------
    SocsimError
        An option is out of its range, or a percentile is given together with smoothing.
    """

    name: str
    weight_scales: Granularity = "channel"
    pruning_rate: float = 1.0
    importance: Importance = "max/scale"
    outlier_channels: float = 20.0
    """Above the paper's 5 to 15; chosen after the evaluation text, where unpruned ``shadow`` raises SmolLM2's perplexity by 1.5 % with
    15 and by 0.8 % with 20."""
    percentile: float | None = None
    pruned_fallback: Fallback = "max-abs"
    smoothing: float | None = None
    """Exponent of activations in the smoothing factors (alpha of Xiao et al. 2023); none: no smoothing."""
    smoothed: tuple[str, ...] = TENSORS
    """Buffers whose channels are divided by smoothing factors, if there is smoothing; linears read others as they are."""
    hot_fraction: float = 0.03
    """Share of channels whose float weights stay in memory."""
    keep: frozenset[Site] | None = None
    """Linears whose outliers are kept, whatever `pruning_rate` and `importance` say; none: as these say."""
    static_output: bool = False
    """Products are rounded to int8 with a static scale as well, as graphs of the vendor's runtime may do."""

    def __post_init__(self) -> None:
        ranges = {"pruning_rate": 1, "outlier_channels": np.inf, "percentile": 100, "smoothing": 1, "hot_fraction": 1}
        for field, highest in ranges.items():
            value = getattr(self, field)
            if value is not None and not 0 <= value <= highest:
                raise SocsimError(f"{field} of scheme '{self.name}' should be a number from 0 to {highest}, not {value}")
        for field, names in (("weight_scales", Granularity), ("importance", Importance), ("pruned_fallback", Fallback)):
            if getattr(self, field) not in get_args(names):
                raise unknown_name(field, getattr(self, field), get_args(names))
        for buffer in self.smoothed:
            if buffer not in TENSORS:
                raise unknown_name("smoothed", buffer, TENSORS)
        if self.smoothing is not None and self.percentile is not None:
            raise SocsimError("a percentile of magnitudes is not known after smoothing; give outlier_channels instead")

    def linears(self, weights: Weights, profile: Profile) -> dict[Site, Linear]:
        """Return every linear of a model with static scales."""
        factors, smoothed = self._smooth(weights, profile)
        kept = self.kept(weights, profile)
        result: dict[Site, Linear] = {}
        for block, name in _sites(weights):
            place, weight = (block, INPUTS[name]), weights.blocks[block][name]
            if place in factors:
                weight = weight * factors[place][:, None]
            quantized, scale = quantize_weight(weight, per_channel=self.weight_scales == "channel")
            tensor, keep = smoothed[place], (block, name) in kept
            threshold = self.threshold(tensor) if keep or self.pruned_fallback == "clip" else max(tensor.largest, _SMALLEST)
            result[block, name] = StaticLinear.of(
                weight if keep else None,
                quantized,
                scale,
                threshold / INT8_LIMIT,
                factors.get(place),
                tensor.hot_channels(threshold, self.hot_fraction) if keep else None,
                tensor.output_max[name] / INT8_LIMIT if self.static_output else None,
            )
        return result

    def _smooth(self, weights: Weights, profile: Profile) -> tuple[dict[tuple[int, str], Array], Profile]:
        """Return smoothing factors by block and buffer, and the statistics of the smoothed buffers."""
        if self.smoothing is None:
            return {}, profile
        places = [place for place in profile if place[1] in self.smoothed]
        factors: dict[tuple[int, str], Array] = {p: smoothing_factors(weights, p, profile[p], self.smoothing) for p in places}
        return factors, {place: each.divided(factors[place]) if place in factors else each for place, each in profile.items()}

    def threshold(self, tensor: TensorProfile) -> float:
        """Return the magnitude beyond which values of a kept linear's input are outliers."""
        magnitude = tensor.budget(self.outlier_channels) if self.percentile is None else tensor.percentile(self.percentile)
        return max(magnitude, _SMALLEST)

    def ranking(self, weights: Weights, profile: Profile) -> dict[Site, float]:
        """Return the importance of each linear's outliers, by block and name in the order of the model."""
        factors, smoothed = self._smooth(weights, profile)
        return {site: self._importance(weights, site, smoothed[site[0], INPUTS[site[1]]], factors) for site in _sites(weights)}

    def kept(self, weights: Weights, profile: Profile) -> frozenset[Site]:
        """Return the linears whose outliers are kept: the most important ones; ties go to the earlier.

        Their number is rounded down, so that at least `pruning_rate` of the linears have no float work (the simulator rounds it to
        the nearest).
        """
        if self.keep is not None:
            return self.keep
        scores = self.ranking(weights, profile)
        order = sorted(scores, key=lambda site: -scores[site])
        return frozenset(order[: int((1.0 - self.pruning_rate) * len(order) + 1e-9)])

    def _importance(self, weights: Weights, site: Site, tensor: TensorProfile, factors: Mapping[tuple[int, str], Array]) -> float:
        """Return how much a linear gains by its outliers: their size, or the estimated error of rounding without float work."""
        if self.importance == "max/scale":
            return tensor.largest / self.threshold(tensor)
        if self.importance == "max/rms":
            return tensor.largest / max(tensor.rms, _SMALLEST)
        block, name = site
        weight = weights.blocks[block][name]
        factor = factors.get((block, INPUTS[name]), np.ones(len(weight), dtype=np.float32))
        return rounding_error(tensor, weight * factor[:, None]) / max(tensor.output_rms[name], _SMALLEST) ** 2


def rounding_error(tensor: TensorProfile, weight: Array) -> float:
    """Return an estimate of the squared error that rounding to 255 steps of the largest magnitude makes in an output.

    It is made of the statistics of a profile, as if errors did not depend on each other; nothing is measured. A value is off by a
    twelfth of the squared step on average, but never by more than itself.
    """
    step = tensor.largest / INT8_LIMIT
    noise = np.minimum(step**2 / 12.0, np.square(tensor.channel_rms, dtype=np.float64))
    return float(noise @ np.square(weight, dtype=np.float64).sum(axis=1) / weight.shape[1])


def smoothing_factors(weights: Weights, place: tuple[int, str], tensor: TensorProfile, alpha: float) -> NDArray[np.float32]:
    """Return what each channel of an activation is divided by before rounding, of shape (channels,).

    The factors can be folded into what makes the activation (a norm's weight, V, or the up projection), so that they
    cost nothing: heads that share their values share factors. For V and the up projection that is exact if weights have a scale per
    output channel, which then takes up the factor; with one scale per tensor, folding would change how these weights are rounded,
    which is not modeled. Source: Xiao et al. 2023 (SmoothQuant), Eq. 4.
    """
    block, buffer = place
    readers = [weights.blocks[block][name] for name in LINEARS if INPUTS[name] == buffer]
    activation = tensor.channel_max
    weight: Array = np.max([np.abs(each).max(axis=1) for each in readers], axis=0)
    if buffer == "attention":
        activation, weight = (_shared_by_heads(weights, each) for each in (activation, weight))
    factors = np.maximum(activation, 1e-5) ** alpha / np.maximum(weight, 1e-5) ** (1.0 - alpha)
    return factors.astype(np.float32)


def _shared_by_heads(weights: Weights, values: Array) -> Array:
    """Return the largest of each channel over the heads that share keys and values."""
    heads = values.reshape(weights.llm.num_key_value_heads, -1, weights.llm.head_dim)
    shared: Array = np.broadcast_to(heads.max(axis=1, keepdims=True), heads.shape).reshape(-1)
    return shared


# The exponent 0.7 and the ranking by max/rms were the best of a few on calibration text that no profile has seen (SmolLM2-135M).
SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Float32(),
        Static("per-tensor"),
        PerGroup(),
        Static("smoothquant", smoothing=0.5, smoothed=NORMS),
        LlmInt8(),
        Static("shadow", pruning_rate=0.0),
        Static("shadow-plus", pruning_rate=0.85, importance="max/rms", smoothing=0.7),
    )
}
"""The schemes by name, with their usual options."""
