"""Quantization schemes on a tiny model with planted outliers: who keeps what, at which scale, and how far off the result is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from socsim.errors import SocsimError
from socsim.numerics.decoder import INPUTS, Array, Decoder, Shadow, Site
from socsim.numerics.forward import hidden_states
from socsim.numerics.linears import GroupedLinear, RowLinear, StaticLinear, quantize_weight
from socsim.numerics.profile import BINS, TENSORS, Profile, TensorProfile, profile_text
from socsim.numerics.random_model import OUTLIER_GAIN, random_weights
from socsim.numerics.schemes import NORMS, SCHEMES, Float32, LlmInt8, PerGroup, Scheme, Static, rounding_error, smoothing_factors
from socsim.numerics.weights import Weights
from socsim.specs import LINEARS

SEEDS = (0, 1)
SITES = [(block, name) for block in range(3) for name in LINEARS]


@cache
def profiled(seed: int) -> tuple[Weights, Profile]:
    weights, rng = random_weights(seed), np.random.default_rng(seed)
    return weights, profile_text(Decoder(weights), [rng.integers(128, size=300) for _ in range(2)])


def logits(decoder: Decoder, seed: int = 0, **options: Any) -> Array:
    """Return logits of a text that was not profiled."""
    hidden = hidden_states(decoder, np.random.default_rng(seed + 50).integers(128, size=200), **options)
    assert hidden.dtype == np.float32
    return decoder.logits(hidden)


def error(scheme: Scheme, seed: int) -> float:
    """Return the relative error of logits against those of the model in float32."""
    weights, profile = profiled(seed)
    expected = logits(Decoder(weights), seed)
    return float(np.linalg.norm(logits(Decoder(weights, scheme.linears(weights, profile)), seed) - expected) / np.linalg.norm(expected))


def static(scheme: Static, seed: int = 0) -> dict[Site, StaticLinear]:
    weights, profile = profiled(seed)
    linears = scheme.linears(weights, profile)
    return {site: linear for site, linear in linears.items() if isinstance(linear, StaticLinear)}


@pytest.mark.parametrize("seed", SEEDS)
def test_how_far_off_the_schemes_are(seed: int) -> None:
    errors = {name: error(scheme, seed) for name, scheme in SCHEMES.items()}
    worst = errors.pop("per-tensor")
    assert errors.pop("float32") == 0.0
    assert worst > 0.2
    assert errors.pop("per-group") < worst / 2  # the random outliers fill groups
    norms_smoothed, all_smoothed = errors.pop("smoothquant"), error(Static("x", smoothing=0.5), seed)
    assert max(all_smoothed, *errors.values()) < worst / 5
    assert worst / 5 < norms_smoothed < worst / 1.5  # outliers of the other inputs are left
    assert min(errors.values()) > 0.005  # nothing is secretly float
    assert max(errors["shadow"], errors["llm-int8"]) < all_smoothed


@pytest.mark.parametrize("seed", SEEDS)
def test_what_options_cost(seed: int) -> None:
    shadow = error(Static("x", pruning_rate=0.0), seed)
    assert error(Static("x", pruning_rate=0.0, weight_scales="tensor"), seed) > 2 * shadow
    assert error(Static("x", pruning_rate=0.0, static_output=True), seed) > 2 * shadow
    assert error(Static("x", pruning_rate=0.85), seed) > 2 * shadow
    assert error(Static("x", pruned_fallback="clip"), seed) > error(Static("x"), seed)
    assert error(LlmInt8(weight_scales="tensor"), seed) > 2 * error(LlmInt8(), seed)
    assert error(PerGroup(group_size=8), seed) < error(PerGroup(), seed)
    assert error(LlmInt8(threshold=np.inf), seed) > 2 * error(LlmInt8(), seed)


@pytest.mark.parametrize("name", SCHEMES)
def test_the_same_bytes_twice(name: str) -> None:
    def run() -> bytes:
        weights, rng = random_weights(4), np.random.default_rng(4)
        profile = profile_text(Decoder(weights), [rng.integers(128, size=70)])
        return logits(Decoder(weights, SCHEMES[name].linears(weights, profile)), chunk_tokens=64).tobytes()

    assert run() == run()


def test_the_schemes() -> None:
    assert list(SCHEMES) == ["float32", "per-tensor", "per-group", "smoothquant", "llm-int8", "shadow", "shadow-plus"]
    assert all(scheme.name == name for name, scheme in SCHEMES.items())
    assert (LlmInt8().threshold, PerGroup().group_size) == (6.0, 32)  # as published
    weights, profile = profiled(0)
    assert all(list(scheme.linears(weights, profile)) == SITES for scheme in SCHEMES.values())
    kept = {name: sum(linear.kept for linear in scheme.linears(weights, profile).values()) for name, scheme in SCHEMES.items()}
    assert kept == {"shadow": 21, "llm-int8": 21, "shadow-plus": 3, "per-tensor": 0, "smoothquant": 0, "per-group": 0, "float32": 0}
    kinds = {name: {type(linear) for linear in scheme.linears(weights, profile).values()} for name, scheme in SCHEMES.items()}
    assert kinds["per-group"] == {GroupedLinear}
    assert kinds["llm-int8"] == {RowLinear}
    assert kinds["shadow"] == kinds["shadow-plus"] == kinds["smoothquant"] == kinds["per-tensor"] == {StaticLinear}
    assert logits(Decoder(weights, Float32().linears(weights, profile))).tobytes() == logits(Decoder(weights)).tobytes()


@pytest.mark.parametrize("seed", SEEDS)
def test_planted_outliers_are_found(seed: int) -> None:
    weights, profile = profiled(seed)
    planted = np.flatnonzero(weights.blocks[0]["attn_norm"] == OUTLIER_GAIN).tolist()
    in_ffn = int(profile[1, "activation"].channel_max.argmax())
    assert len(planted) == 3
    found: dict[Site, list[Shadow]] = {site: [] for site in SITES}
    scheme = Static("x", pruning_rate=0.0, outlier_channels=4, hot_fraction=3 / 64)
    decoder = Decoder(weights, scheme.linears(weights, profile))
    logits(decoder, seed, chunk_tokens=100, observe=lambda site, chunk, shadow: found[site].append(shadow))
    for site in SITES:
        assert len(found[site]) == 2
        for shadow in found[site]:
            if INPUTS[site[1]] in ("attn_norm", "ffn_norm"):
                assert set(planted) <= set(shadow.channels.tolist())
                assert shadow.fetched == len(shadow.channels) - 3  # those in memory are the planted ones
                assert shadow.macs == 100 * len(shadow.channels) * weights.blocks[0][site[1]].shape[1]
            if site == (1, "down_proj"):
                assert in_ffn in shadow.channels


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 70), (0.5, 35), (0.85, 10), (0.9, 7), (0.99, 0), (1.0, 0)])
def test_how_many_are_kept(rate: float, kept: int) -> None:
    """Of 70 linears; 1 - 0.9 is a little less than a tenth."""
    weights = random_weights(blocks=10, hidden=8, ffn=8, heads=2, kv_heads=1, vocab=16, outlier_channels=1)
    profile = profile_text(Decoder(weights), [np.arange(16)])
    linears = Static("x", pruning_rate=rate, outlier_channels=1).linears(weights, profile)
    assert sum(linear.kept for linear in linears.values()) == kept == int((1 - rate) * 70 + 1e-6)


def by_hand(maxima: Mapping[str, ArrayLike], rms: Mapping[str, ArrayLike], output_rms: Mapping[str, float] | None = None) -> Profile:
    """Return a profile of one block with one chunk."""
    return {
        (0, buffer): TensorProfile(
            np.array([values], dtype=np.float32),
            np.broadcast_to(np.asarray(rms[buffer], dtype=np.float32), np.shape(values)),
            np.zeros(len(BINS) - 1, dtype=np.int64),
            {name: (output_rms or {}).get(name, 1.0) for name in LINEARS},
            dict.fromkeys(LINEARS, 1.0),
        )
        for buffer, values in maxima.items()
    }


MAXIMA: Mapping[str, list[float]] = {
    "attn_norm": [10, 5, 1, 1],
    "attention": [1, 3, 9, 1],
    "ffn_norm": [8, 8, 1, 1],
    "activation": [1, 8, 2],
}
RMS = {"attn_norm": 1.0, "attention": 3.0, "ffn_norm": 0.5, "activation": 4.0}
SMALL = random_weights(blocks=1, hidden=4, ffn=3, heads=2, kv_heads=1, vocab=8, outlier_channels=1)


def kept_in_order(profile: Profile, **options: Any) -> list[str]:
    """Return the linears in the order in which ever less pruning keeps them."""
    order: list[str] = []
    for count in range(1, 8):
        scheme = Static("x", pruning_rate=1 - count / 7, outlier_channels=1, **options)
        kept = {name for (_, name), linear in scheme.linears(SMALL, profile).items() if linear.kept}
        assert len(kept) == count
        assert kept >= set(order)
        order += kept - set(order)
    return order


def test_importance_is_the_largest_input_over_the_threshold() -> None:
    """With one outlier channel in the chunk the threshold is the second largest: 10/5, 9/3, 8/8 and 8/2."""
    order = ["down_proj", "o_proj", "q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"]
    assert kept_in_order(by_hand(MAXIMA, RMS)) == order


def test_importance_is_the_largest_input_over_the_usual() -> None:
    """10/1, 9/3, 8/0.5 and 8/4."""
    order = ["gate_proj", "up_proj", "q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
    assert kept_in_order(by_hand(MAXIMA, RMS), importance="max/rms") == order


@pytest.mark.parametrize("smoothing", [None, 0.2])
def test_importance_is_the_estimated_error_without_float_work(smoothing: float | None) -> None:
    output_rms = dict(zip(LINEARS, (0.3, 2.0, 0.7, 1.0, 0.2, 5.0, 0.4), strict=True))
    profile, scores = by_hand(MAXIMA, RMS, output_rms), {}
    for name in LINEARS:
        place, weight = (0, INPUTS[name]), SMALL.blocks[0][name].astype(np.float64)
        factor = np.ones(len(weight)) if smoothing is None else smoothing_factors(SMALL, place, profile[place], smoothing)
        step = max(MAXIMA[INPUTS[name]] / factor) / 127
        noise = np.minimum(step * step / 12, (RMS[INPUTS[name]] / factor) ** 2)
        scores[name] = (noise[:, None] * (weight * factor[:, None]) ** 2).sum() / weight.shape[1] / output_rms[name] ** 2
    assert kept_in_order(profile, importance="error", smoothing=smoothing) == sorted(LINEARS, key=lambda name: -scores[name])


def test_importance_after_smoothing() -> None:
    """With exponent 1 the largest of every channel, or of two in `attention`, is 1: none stands out, and ties go to the earlier."""
    assert kept_in_order(by_hand(MAXIMA, RMS), smoothing=1.0) == list(LINEARS)


def test_rounding_error_by_hand() -> None:
    """Steps of 1: a value is off by a twelfth on average; one that is 0.1 on average, by its square."""
    profile = by_hand({"attn_norm": [127, 1]}, {"attn_norm": [9.0, 0.1]})[0, "attn_norm"]
    assert rounding_error(profile, np.array([[1.0, 2.0], [3.0, 4.0]])) == pytest.approx(((1 + 4) / 12 + (9 + 16) * 0.01) / 2)


def test_rounding_error_is_what_rounding_costs() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, (2000, 30)).astype(np.float32)
    x[0, 0] = 20.0
    x[:, 20:] *= 0.01  # always rounded to zero
    weight = rng.standard_normal((30, 8)).astype(np.float32)
    tensor = by_hand({"attn_norm": np.abs(x).max(axis=0)}, {"attn_norm": np.sqrt((x**2).mean(axis=0))})[0, "attn_norm"]
    step = np.float32(20.0 / 127)
    off = (np.rint(x / step) * step - x) @ weight
    assert rounding_error(tensor, weight) == pytest.approx(float((off**2).mean()), rel=0.1)


def test_chosen_linears_override_all_else() -> None:
    chosen = frozenset({(1, "down_proj"), (2, "q_proj")})
    assert {site for site, linear in static(Static("x", keep=chosen)).items() if linear.kept} == chosen
    assert not any(linear.kept for linear in static(Static("x", pruning_rate=0.0, keep=frozenset())).values())


@pytest.mark.parametrize("weight_scales", ["tensor", "channel"])
def test_scales(weight_scales: Any) -> None:
    weights, profile = profiled(0)
    keep = frozenset({(0, "q_proj"), (1, "down_proj")})
    options: list[dict[str, Any]] = [{"outlier_channels": 2.5}, {"percentile": 98.0}, {"percentile": 98.0, "pruned_fallback": "clip"}]
    for each in options:
        linears = static(Static("x", keep=keep, weight_scales=weight_scales, **each))
        for (block, name), linear in linears.items():
            tensor = profile[block, INPUTS[name]]
            largest = tensor.largest
            if (block, name) in keep or "pruned_fallback" in each:
                largest = tensor.percentile(98.0) if "percentile" in each else tensor.budget(2.5)
            assert largest <= tensor.largest
            scale = quantize_weight(weights.blocks[block][name], per_channel=weight_scales == "channel")[1] * largest / 127
            np.testing.assert_allclose(linear.scale, scale, rtol=1e-6)
            np.testing.assert_allclose(linear.inverse, 127 / largest, rtol=1e-6)
            assert linear.output_step is None
            assert (linear.hot is not None) == linear.kept == ((block, name) in keep)
            if linear.hot is not None:
                np.testing.assert_array_equal(linear.hot, tensor.hot_channels(largest, 0.03))


def test_scales_of_outputs() -> None:
    _, profile = profiled(0)
    for (block, name), linear in static(Static("x", static_output=True)).items():
        assert linear.output_step == profile[block, INPUTS[name]].output_max[name] / 127


def test_smoothing_factors_by_hand() -> None:
    """Inputs of up to 10 and weights of up to 2.5 meet at 10**0.8 / 2.5**0.2; nothing is divided by zero."""
    weights = random_weights(blocks=1, hidden=4, ffn=3, heads=2, kv_heads=1, vocab=8, outlier_channels=1)
    gate, up = np.zeros((4, 3), dtype=np.float32), np.zeros((4, 3), dtype=np.float32)
    gate[0], up[0], gate[1, 2] = 0.5, [1.0, -2.5, 2.0], 0.25
    weights = replace(weights, blocks=({**weights.blocks[0], "gate_proj": gate, "up_proj": up},))
    tensor = by_hand({"ffn_norm": [10, 0, 3, 1]}, RMS)[0, "ffn_norm"]
    factors = smoothing_factors(weights, (0, "ffn_norm"), tensor, 0.8)
    expected = [10**0.8 / 2.5**0.2, 1e-5**0.8 / 0.25**0.2, 3**0.8 / 1e-5**0.2, 1 / 1e-5**0.2]
    np.testing.assert_allclose(factors, expected, rtol=1e-5)
    assert factors.dtype == np.float32


def folded(weights: Weights, factors: Mapping[tuple[int, str], Array]) -> Weights:
    """Return the model whose norms, V and up projection divide by the factors that the next linears multiply by."""
    llm, blocks = weights.llm, []
    for block, arrays in enumerate(weights.blocks):
        attn, attention, ffn, activation = (
            np.asarray(factors[block, buffer], dtype=np.float64) for buffer in ("attn_norm", "attention", "ffn_norm", "activation")
        )
        heads = attention.reshape(llm.num_key_value_heads, -1, llm.head_dim)
        assert (heads == heads[:, :1]).all()  # else V could not divide by them
        after: dict[str, NDArray[Any]] = {
            **{norm: arrays[norm] / factor for norm, factor in (("attn_norm", attn), ("ffn_norm", ffn))},
            **{name: arrays[name] * attn[:, None] for name in ("q_proj", "k_proj")},
            "v_proj": arrays["v_proj"] * attn[:, None] / heads[:, 0].reshape(-1),
            "o_proj": arrays["o_proj"] * attention[:, None],
            "gate_proj": arrays["gate_proj"] * ffn[:, None],
            "up_proj": arrays["up_proj"] * ffn[:, None] / activation,
            "down_proj": arrays["down_proj"] * activation[:, None],
        }
        blocks.append(after)
    return replace(weights, blocks=tuple(blocks))


def outputs_divided_by(weights: Weights, site: Site, factors: Mapping[tuple[int, str], Array]) -> Array:
    """Return by what the outputs of a linear of the folded model are smaller."""
    block, name = site
    if name == "up_proj":
        return factors[block, "activation"]
    heads = factors[block, "attention"].reshape(weights.llm.num_key_value_heads, -1, weights.llm.head_dim)
    return heads[:, 0].reshape(-1) if name == "v_proj" else np.ones(1)


def in_float32(weights: Weights) -> Weights:
    return replace(weights, blocks=tuple({name: array.astype(np.float32) for name, array in block.items()} for block in weights.blocks))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.7, 1.0])
def test_smoothing_can_be_folded_into_the_weights(alpha: float) -> None:
    """The function stays the same; smoothing is to quantize the folded model without smoothing."""
    weights, profile = profiled(1)
    factors = {place: smoothing_factors(weights, place, tensor, alpha) for place, tensor in profile.items()}
    model, tokens = folded(weights, factors), np.arange(100)
    expected = hidden_states(Decoder(weights, dtype=np.float64), tokens)
    np.testing.assert_allclose(hidden_states(Decoder(model, dtype=np.float64), tokens), expected, rtol=0.0, atol=1e-9)
    rng, single = np.random.default_rng(1), in_float32(model)
    its_profile = profile_text(Decoder(single), [rng.integers(128, size=300) for _ in range(2)])
    smoothed = Static("x", smoothing=alpha, pruning_rate=0.5, importance="max/rms", outlier_channels=3)
    plain = replace(smoothed, smoothing=None).linears(single, its_profile)
    for site, linear in static(smoothed, 1).items():
        other = plain[site]
        assert isinstance(other, StaticLinear)
        assert linear.kept == other.kept
        divided = outputs_divided_by(weights, site, factors)
        np.testing.assert_allclose(linear.scale, other.scale * divided, rtol=1e-4)
        factor = factors[site[0], INPUTS[site[1]]]
        np.testing.assert_allclose(linear.inverse * factor, np.broadcast_to(other.inverse, factor.shape), rtol=1e-4)
        if linear.float_weight is not None:
            np.testing.assert_allclose(linear.float_weight, np.asarray(other.float_weight) * divided, rtol=1e-4, atol=1e-6)
    quantized, folded_too = logits(Decoder(weights, static(smoothed, 1)), 1), logits(Decoder(single, plain), 1)
    original = logits(Decoder(weights), 1)
    assert np.linalg.norm(quantized - folded_too) < 0.3 * np.linalg.norm(quantized - original)  # a few values round the other way


def test_smoothing_makes_channels_equal() -> None:
    """With exponent 1 each channel reaches 1; the largest input meets 127 steps."""
    weights, profile = profiled(0)
    place = (1, "attn_norm")
    np.testing.assert_allclose(profile[place].divided(smoothing_factors(weights, place, profile[place], 1.0)).channel_max, 1.0, rtol=1e-5)
    assert static(Static("x", smoothing=0.0))[0, "q_proj"].inverse.shape == (64,)  # exponent 0 is smoothing, too
    assert static(Static("x"))[0, "q_proj"].inverse.shape == ()


@pytest.mark.parametrize("smoothed", [NORMS, ("activation",), ()])
@pytest.mark.parametrize("weight_scales", ["tensor", "channel"])
def test_buffers_that_are_not_smoothed(smoothed: tuple[str, ...], weight_scales: Any) -> None:
    """Each linear is that with all buffers smoothed, or that without smoothing, to the bit."""
    keep = frozenset({(0, "q_proj"), (1, "o_proj"), (2, "down_proj"), (2, "up_proj")})
    every = Static("x", weight_scales=weight_scales, smoothing=0.5, keep=keep, outlier_channels=3, static_output=True)
    some, all_of_them, none = (static(each) for each in (replace(every, smoothed=smoothed), every, replace(every, smoothing=None)))
    for site, linear in some.items():
        other, unlike = (all_of_them, none) if INPUTS[site[1]] in smoothed else (none, all_of_them)
        for field in ("scale", "inverse", "float_weight", "hot", "output_step"):
            np.testing.assert_array_equal(getattr(linear, field), getattr(other[site], field))
        x = np.random.default_rng(0).standard_normal((5, len(profiled(0)[0].blocks[0][site[1]]))).astype(np.float32)
        assert linear.main(x).tobytes() == other[site].main(x).tobytes() != unlike[site].main(x).tobytes()
        assert linear.inverse.shape != unlike[site].inverse.shape


def test_who_smooths_what() -> None:
    """SmoothQuant's authors smooth the inputs of attention and FFN in models like Llama: what the two norms make."""
    smoothquant, plus = SCHEMES["smoothquant"], SCHEMES["shadow-plus"]
    assert isinstance(smoothquant, Static)
    assert isinstance(plus, Static)
    assert (smoothquant.smoothing, plus.smoothed) == (0.5, TENSORS)
    names = {name for (_, name), linear in static(smoothquant).items() if linear.inverse.shape}
    assert names == {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}
    assert all(linear.inverse.shape for linear in static(plus).values())


@pytest.mark.parametrize("importance", ["max/scale", "max/rms", "error"])
def test_importance_of_buffers_that_are_not_smoothed(importance: Any) -> None:
    none = kept_in_order(by_hand(MAXIMA, RMS), importance=importance)
    assert kept_in_order(by_hand(MAXIMA, RMS), importance=importance, smoothing=1.0, smoothed=()) == none


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothing": 0.5, "percentile": 99.0}, "a percentile of magnitudes is not known after smoothing; give outlier_channels instead"),
        ({"smoothing": 0.0, "percentile": 99.0}, "a percentile of magnitudes is not known after smoothing; give outlier_channels instead"),
        ({"pruning_rate": 1.5}, "pruning_rate of scheme 'x' should be a number from 0 to 1, not 1.5"),
        ({"pruning_rate": -0.1}, "pruning_rate of scheme 'x' should be a number from 0 to 1, not -0.1"),
        ({"hot_fraction": 3.0}, "hot_fraction of scheme 'x' should be a number from 0 to 1, not 3.0"),
        ({"percentile": 100.1}, "percentile of scheme 'x' should be a number from 0 to 100, not 100.1"),
        ({"outlier_channels": -1}, "outlier_channels of scheme 'x' should be a number from 0 to inf, not -1"),
        ({"smoothing": np.nan}, "smoothing of scheme 'x' should be a number from 0 to 1, not nan"),
        ({"importance": "max/rsm"}, "unknown importance 'max/rsm' (did you mean 'max/rms'?); allowed: error, max/rms, max/scale"),
        (
            {"smoothed": ("attn_norm", "ffn_nrom")},
            "unknown smoothed 'ffn_nrom' (did you mean 'ffn_norm'?); allowed: activation, attention, attn_norm, ffn_norm",
        ),
        ({"weight_scales": "row"}, "unknown weight_scales 'row'; allowed: channel, tensor"),
        ({"pruned_fallback": "clipp"}, "unknown pruned_fallback 'clipp' (did you mean 'clip'?); allowed: clip, max-abs"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SocsimError) as caught:
        Static("x", **options)
    assert str(caught.value) == message


@pytest.mark.parametrize("importance", ["max/scale", "max/rms", "error"])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_inputs_that_are_always_zero(importance: Any, rate: float) -> None:
    profile = by_hand(
        {name: np.zeros_like(values) for name, values in MAXIMA.items()}, dict.fromkeys(RMS, 0.0), dict.fromkeys(LINEARS, 0.0)
    )
    for scheme in (
        Static("x", pruning_rate=rate, importance=importance),
        Static("x", pruning_rate=rate, importance=importance, smoothing=0.5),
    ):
        linears = scheme.linears(SMALL, profile)
        for (_, name), linear in linears.items():
            assert not linear.main(np.zeros((2, len(SMALL.blocks[0][name])), dtype=np.float32)).any()


def test_tiny_inputs_have_tiny_scales() -> None:
    tiny = {name: [value * 1e-6 for value in values] for name, values in MAXIMA.items()}
    for rate in (0.0, 1.0):
        scheme = Static("x", pruning_rate=rate, outlier_channels=1)
        scales = [
            [linear.scale for linear in scheme.linears(SMALL, by_hand(maxima, RMS)).values() if isinstance(linear, StaticLinear)]
            for maxima in (MAXIMA, tiny)
        ]
        for normal, small in zip(*scales, strict=True):
            np.testing.assert_allclose(small, normal * 1e-6, rtol=1e-5)
