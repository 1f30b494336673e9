"""Quantized linears by hand, and the identity that float work on outlier channels restores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from socsim.numerics.decoder import NO_SHADOW, Array
from socsim.numerics.linears import GroupedLinear, RowLinear, StaticLinear, quantize, quantize_weight


def float32(values: ArrayLike) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def static(weight: ArrayLike, scale: float, hot: ArrayLike | None = None, **options: Any) -> StaticLinear:
    """Return a kept linear of weights with one scale; `hot`: none of its channels by default."""
    weight = float32(weight)
    quantized, weight_scale = quantize_weight(weight, per_channel=options.pop("per_channel", False))
    hot = np.zeros(len(weight), dtype=np.bool_) if hot is None else np.asarray(hot, dtype=np.bool_)
    return StaticLinear.of(weight, quantized, weight_scale, scale, options.pop("smoothing", None), hot, **options)


def pruned(weight: ArrayLike, scale: float, output_step: float | None = None) -> StaticLinear:
    quantized, weight_scale = quantize_weight(float32(weight), per_channel=False)
    return StaticLinear.of(None, quantized, weight_scale, scale, None, None, output_step)


def test_rounding_is_half_to_even_and_limited() -> None:
    values = [-1e9, -128.0, -127.5, -126.5, -1.5, -0.5, 0.5, 1.5, 2.5, 126.5, 127.4, 127.5, 128.0, math.inf]
    expected = [-127, -127, -127, -126, -2, 0, 0, 2, 2, 126, 127, 127, 127, 127]
    for dtype in (np.float32, np.float64):
        rounded = quantize(np.array(values, dtype=dtype))
        assert rounded.dtype == np.int8
        assert rounded.tolist() == expected


@given(st.lists(st.floats(-200.0, 200.0, width=32), min_size=1, max_size=20))
def test_rounding_is_to_the_nearest(values: list[float]) -> None:
    original = float32(values)
    rounded = quantize(original).astype(np.float64)
    assert np.abs(rounded).max() <= 127
    inside = np.abs(original) <= 127.0
    assert (np.abs(rounded - original)[inside] <= 0.5).all()
    assert (rounded[~inside] == 127 * np.sign(original[~inside])).all()
    np.testing.assert_array_equal(original, float32(values))  # left as it was


def test_weights_by_hand() -> None:
    weight = float32([[12.7, 0.0, -1.27], [-6.35, 0.0, 0.63], [1.0, 0.0, 0.64]])
    quantized, scale = quantize_weight(weight, per_channel=False)
    assert quantized.tolist() == [[127, 0, -13], [-64, 0, 6], [10, 0, 6]]  # 63.5 goes to the even 64
    np.testing.assert_allclose(scale, [[0.1]], rtol=1e-6)
    quantized, scale = quantize_weight(weight, per_channel=True)
    assert quantized.tolist() == [[127, 0, -127], [-64, 0, 63], [10, 0, 64]]
    np.testing.assert_allclose(scale, [[0.1, 1 / 127, 0.01]], rtol=1e-6)
    assert scale.dtype == np.float32
    assert not quantize_weight(float32(np.zeros((2, 2))), per_channel=False)[0].any()


@pytest.mark.parametrize("per_channel", [False, True])
def test_main_is_the_integer_product_times_scales(per_channel: bool) -> None:
    rng = np.random.default_rng(0)
    x, weight = float32(30.0 * rng.standard_normal((5, 40))), float32(rng.standard_normal((40, 7)))
    scale = 0.25  # a power of two, so that x / scale is exact
    linear = static(weight, scale, per_channel=per_channel)
    largest = np.abs(weight).max(axis=0) if per_channel else np.abs(weight).max()
    weight_scale = np.asarray(largest, dtype=np.float64) / 127
    q = np.clip(np.rint(x.astype(np.float64) / scale), -127, 127).astype(np.int64)
    w = np.rint(weight / weight_scale).astype(np.int64)
    assert np.abs(x / scale).max() > 127  # some are cut off
    np.testing.assert_allclose(linear.main(x), (q @ w) * scale * weight_scale, rtol=1e-6)


@st.composite
def identity_cases(draw: st.DrawFn) -> tuple[Array, Array, float, Array, list[int]]:
    """Draw inputs, weights that int8 holds exactly, scale, smoothing factors and outlier channels; all else is a multiple of the scale."""
    rows, inputs, outputs = (draw(st.integers(1, 6)) for _ in range(3))
    whole = st.integers(-127, 127)
    steps = np.array(draw(st.lists(whole, min_size=rows * inputs, max_size=rows * inputs)), dtype=np.float64).reshape(rows, inputs)
    weight = np.array(draw(st.lists(whole, min_size=inputs * outputs, max_size=inputs * outputs)), dtype=np.float64)
    weight = weight.reshape(inputs, outputs)
    weight[0, :] = 127.0  # so that the weight scale is a power of two
    outliers = sorted(draw(st.sets(st.integers(0, inputs - 1))))
    for channel in outliers:
        steps[:, channel] += draw(st.lists(st.floats(-1000, 1000, width=32), min_size=rows, max_size=rows))
        steps[draw(st.integers(0, rows - 1)), channel] = draw(st.sampled_from([127.125, -127.125, 300.7, -5000.2, 1e6]))
    scale, smoothing = 2.0 ** draw(st.integers(-6, 6)), 2.0 ** np.array([draw(st.integers(-2, 2)) for _ in range(inputs)])
    return steps * scale * smoothing, weight / 32.0 / smoothing[:, None], scale, smoothing, outliers


@given(identity_cases())
def test_main_and_shadow_are_the_product(case: tuple[Array, Array, float, Array, list[int]]) -> None:
    """Whatever is beyond int8 is in the float part, and nothing twice."""
    x, weight, scale, smoothing, outliers = case
    smoothed = float32(weight * smoothing[:, None])
    quantized, weight_scale = quantize_weight(smoothed, per_channel=False)
    hot = np.zeros(len(weight), dtype=np.bool_)
    linear = StaticLinear.of(smoothed, quantized, weight_scale, scale, float32(smoothing), hot)
    main, shadow = linear.main(float32(x)), linear.shadow(float32(x))
    assert shadow.channels.tolist() == outliers
    total = main if shadow.result is None else main + shadow.result
    tolerance = 1e-6 * (np.abs(x) @ np.abs(weight)).max()
    np.testing.assert_allclose(total, x @ weight, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("x", [200.0, -200.0, 128.0, 300.0])
def test_the_printed_equation_is_no_identity(x: float) -> None:
    """Xu et al. 2025, Eq. 1 adds multiples of 128 to what int8 holds: 127 + 128 for 200, and 73 would be right."""
    linear = static([[127.0]], 1.0)
    main, shadow = linear.main(float32([[x]])), linear.shadow(float32([[x]]))
    assert shadow.result is not None
    clipped = 127.0 if x > 0 else -127.0
    assert (main.item(), shadow.result.item()) == (127.0 * clipped, 127.0 * (x - clipped))
    for printed in (math.floor(x / 128.0), math.trunc(x / 128.0)):
        assert clipped + 128.0 * printed != x


def test_the_residual_of_all_rows_of_an_outlier_channel() -> None:
    """Two channels: the second is never beyond 127 and keeps its rounding error; the first keeps none, in either row."""
    linear = static([[127.0], [127.0]], 1.0)
    x = float32([[300.0, 126.75], [0.25, 127.0]])
    assert linear.main(x).tolist() == [[127.0 * (127 + 127)], [127.0 * 127]]
    shadow = linear.shadow(x)
    assert shadow.result is not None
    assert shadow.result.tolist() == [[127.0 * 173.0], [127.0 * 0.25]]
    assert shadow.channels.tolist() == [0]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nothing_beside_the_product_where_nothing_is_beyond(sign: float) -> None:
    linear = static([[1.0], [2.0]], 0.5)
    assert linear.shadow(float32([[sign * 63.5, 0.0], [1.0, 0.0]])) is NO_SHADOW
    assert linear.shadow(float32([[sign * 63.625, 0.0], [1.0, 0.0]])).channels.tolist() == [0]
    assert (NO_SHADOW.result, len(NO_SHADOW.channels), NO_SHADOW.fetched, NO_SHADOW.macs) == (None, 0, 0, 0)


def test_a_pruned_linear_cuts_off() -> None:
    linear = pruned([[127.0]], 1.0)
    assert not linear.kept
    assert linear.main(float32([[300.0]])).tolist() == [[127.0 * 127.0]]
    assert linear.shadow(float32([[300.0]])) is NO_SHADOW
    assert static([[127.0]], 1.0).kept


def test_only_cold_channels_are_fetched() -> None:
    linear = static(np.ones((5, 3)), 1.0, hot=[True, False, True, False, False])
    shadow = linear.shadow(float32([[200, 200, 1, 1, 1], [1, 1, 1, 1, -200]]))
    assert shadow.channels.tolist() == [0, 1, 4]
    assert shadow.fetched == 2
    assert shadow.macs == 2 * 3 * 3  # rows, channels, outputs


def test_rounded_outputs() -> None:
    """The product, in steps of 4, is rounded half to even and limited to 127 steps."""
    weight, x = [[127.0, -127.0]], [[1.0], [2.0], [4.0], [5.0]]
    assert pruned(weight, 1.0, 4.0).main(float32(x)).tolist() == [[128.0, -128.0], [256.0, -256.0], [508.0, -508.0], [508.0, -508.0]]
    assert pruned([[127.0, 10.0]], 1.0, 4.0).main(float32([[1.0]])).tolist() == [[128.0, 8.0]]  # 31.75 and 2.5 steps
    assert pruned(weight, 1.0).main(float32(x))[:, 0].tolist() == [127.0, 254.0, 508.0, 635.0]


def test_rows_by_hand() -> None:
    """Channel 1 reaches the threshold of 6 in row 0, and is out of both rows' int8 product and scale."""
    weight = float32([[127.0, 12.7], [127.0, -127.0], [25.4, 127.0]])
    linear = RowLinear.of(weight, 6.0, per_channel=False)
    x = float32([[1.27, -6.0, 0.5], [0.0, 3.0, 2.54]])
    q0 = np.array([127, 50])  # of 1.27 / 127
    q1 = np.array([0, 127])  # of 2.54 / 127
    w = np.array([[127, 13], [25, 127]])  # of 1.0; channels 0 and 2
    np.testing.assert_allclose(linear.main(x), [0.01 * (q0 @ w), 0.02 * (q1 @ w)], rtol=1e-6)
    shadow = linear.shadow(x)
    assert shadow.result is not None
    np.testing.assert_allclose(shadow.result, [[-762.0, 762.0], [381.0, -381.0]], rtol=1e-6)
    assert (shadow.channels.tolist(), shadow.fetched, shadow.macs) == ([1], 0, 2 * 1 * 2)
    assert linear.shadow(float32([[9.0, -9.0, 0.5]] * 5)).macs == 5 * 2 * 2  # rows, channels, outputs
    below = float32([[1.27, -5.99, 0.5]])
    assert linear.shadow(below) is NO_SHADOW
    assert linear.kept


def test_rows_with_a_scale_for_each_output() -> None:
    linear = RowLinear.of(float32([[1.27, 127.0], [-0.635, 1.0]]), 6.0, per_channel=True)
    w = np.array([[127, 127], [-64, 1]])
    np.testing.assert_allclose(linear.main(float32([[0.0, 1.27]])), np.array([[0, 127]]) @ w * 0.01 * [0.01, 1.0], rtol=1e-6)


def test_rows_of_nothing_but_outliers_or_zeros() -> None:
    linear = RowLinear.of(float32([[1.0], [1.0]]), 6.0, per_channel=True)
    x = float32([[7.0, 0.0], [0.0, 0.0]])
    shadow = linear.shadow(x)
    assert shadow.result is not None
    assert (linear.main(x).tolist(), shadow.result.tolist()) == ([[0.0], [0.0]], [[7.0], [0.0]])


def test_groups_by_hand() -> None:
    """Groups of 2 of 3 inputs: the last has one, and a scale of its own."""
    weight = float32([[1.27, 0.0], [0.634, 0.0], [2.0, -5.0]])
    linear = GroupedLinear.of(weight, 2)
    # Steps 0.01 in group 0 of output 0; group 1 has one weight for each output, and loses nothing.
    rounded_weight = np.array([[1.27, 0.0], [0.63, 0.0], [2.0, -5.0]])
    np.testing.assert_allclose(linear.weight_scale, [[0.01, 1 / 127], [2 / 127, 5 / 127]], rtol=1e-6)
    x = float32([[127.0, 2.4, 0.03], [-0.127, 0.0254, 0.0]])
    rounded = np.array([[127.0, 2.0, 0.03], [-0.127, 0.025, 0.0]])
    np.testing.assert_allclose(linear.main(x), rounded @ rounded_weight, rtol=1e-5)
    assert not linear.kept
    assert linear.shadow(x) is NO_SHADOW


def test_a_group_of_everything_is_one_scale() -> None:
    rng = np.random.default_rng(2)
    x, weight = float32(rng.standard_normal((3, 10))), float32(rng.standard_normal((10, 4)))
    row = RowLinear.of(weight, np.inf, per_channel=True)
    np.testing.assert_allclose(GroupedLinear.of(weight, 10).main(x), row.main(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(GroupedLinear.of(weight, 99).main(x), row.main(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_any_size_of_values(size: float) -> None:
    """Inputs or weights a million times smaller or larger give a product as much smaller or larger."""
    rng = np.random.default_rng(3)
    x, weight, factor = float32(rng.uniform(-5, 5, (3, 10))), float32(rng.standard_normal((10, 4))), np.float32(size)
    per_group, rows = GroupedLinear.of(weight, 4).main(x), RowLinear.of(weight, np.inf, per_channel=True).main(x)
    product = static(weight, 0.05).main(x)
    for inputs, weights in ((x * factor, weight), (x, weight * factor)):
        np.testing.assert_allclose(GroupedLinear.of(weights, 4).main(inputs), per_group * factor, rtol=0.1, atol=0.02 * size)
        np.testing.assert_allclose(RowLinear.of(weights, np.inf, per_channel=True).main(inputs), rows * factor, rtol=0.1, atol=0.02 * size)
        scale = 0.05 * size if inputs is not x else 0.05
        np.testing.assert_allclose(static(weights, scale).main(inputs), product * factor, rtol=0.1, atol=0.02 * size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_are_in_the_type_of_the_input(dtype: type[np.floating[Any]]) -> None:
    weight, x = float32([[1.0], [2.0]]), np.array([[300.0, 1.0]], dtype=dtype)
    grouped = GroupedLinear.of(weight, 2)
    assert grouped.main(x).dtype == dtype
    for linear in (static(weight, 1.0), static(weight, 1.0, output_step=1.0), RowLinear.of(weight, 6.0, per_channel=True)):
        shadow = linear.shadow(x)
        assert shadow.result is not None
        assert linear.main(x).dtype == shadow.result.dtype == dtype
