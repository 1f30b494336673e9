"""Int8 products equal numpy's int64 product bit by bit, whatever the backend, layout and shape."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.numerics import products
from socsim.numerics.products import MAX_INNER, int8_matmul, pack

Matrix = NDArray[np.int8]
BACKENDS = [
    "numpy",
    pytest.param(
        "numkong",
        marks=pytest.mark.skipif(find_spec("numkong") is None, reason="numkong is not installed: pip install 'phone-socsim[fast]'"),
    ),
]
every_backend = pytest.mark.parametrize("backend", BACKENDS)
INNER = st.one_of(st.integers(0, 70), st.integers(1023, 1025), st.integers(2047, 2049))
EXTREMES = (-128, -127, -1, 0, 1, 127)


def check(a: Matrix, b: Matrix, backend: str | None) -> None:
    """Compare raw and packed with the int64 product."""
    expected = a.astype(np.int64) @ b.astype(np.int64)
    for right in (b, pack(b, backend)):
        actual = int8_matmul(a, right, backend)
        assert actual.dtype == np.int32
        assert actual.shape == expected.shape
        np.testing.assert_array_equal(actual, expected)


def random_matrix(seed: int, rows: int, columns: int) -> Matrix:
    return np.random.default_rng(seed).integers(-128, 128, (rows, columns), np.int8)


def adversarial_rows(inner: int) -> Matrix:
    """Rows whose products reach the largest sums, or the largest partial sums before they cancel."""
    constant = [np.full(inner, value) for value in (-128, 127)]
    random = np.random.default_rng(inner)
    positive, anything = random.integers(0, 128, inner), random.integers(-128, 128, inner)
    alternating = np.where(np.arange(inner) % 2, 127, -128)
    halves = np.where(np.arange(inner) < inner // 2, 127, -128)
    odd = np.where(np.arange(inner) == inner - 1, 127, -128)
    return np.stack([*constant, positive, anything, alternating, halves, odd]).astype(np.int8)


@every_backend
def test_hand_computed(backend: str) -> None:
    a = np.array([[1, -2, 3], [-128, 127, 0]], np.int8)
    b = np.array([[4, -128], [5, 127], [-6, 1]], np.int8)
    expected = [[4 - 10 - 18, -128 - 254 + 3], [-512 + 635, 16384 + 16129]]
    assert int8_matmul(a, b, backend).tolist() == expected
    assert int8_matmul(a, pack(b, backend)).tolist() == expected


@every_backend
@given(st.integers(0, 2**32), st.integers(0, 20), INNER, st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_random_shapes(backend: str, seed: int, rows: int, inner: int, columns: int) -> None:
    check(random_matrix(seed, rows, inner), random_matrix(seed + 1, inner, columns), backend)


@every_backend
@given(st.data(), st.integers(1, 4), st.integers(1, 40), st.integers(1, 5))
@settings(deadline=None)
def test_extreme_values(backend: str, data: st.DataObject, rows: int, inner: int, columns: int) -> None:
    def extreme(height: int, width: int) -> Matrix:
        cells = data.draw(st.lists(st.sampled_from(EXTREMES), min_size=height * width, max_size=height * width))
        return np.array(cells, np.int8).reshape(height, width)

    check(extreme(rows, inner), extreme(inner, columns), backend)


@every_backend
@pytest.mark.parametrize("inner", [1024, 1025, 2049, 65_537, MAX_INNER])
def test_adversarial_rows(backend: str, inner: int) -> None:
    rows = adversarial_rows(inner)
    check(rows, rows.T, backend)
    check(rows, np.ascontiguousarray(rows.T), backend)


@every_backend
@pytest.mark.parametrize(("left", "right"), [(-128, -128), (127, 127), (-128, 127)])
def test_largest_sums_of_every_block(backend: str, left: int, right: int) -> None:
    """Sums beyond 2**24 that are odd where they can be: float32 holds none of them."""
    for inner in (1024, 1025, MAX_INNER):
        actual = int8_matmul(np.full((2, inner), left, np.int8), np.full((inner, 3), right, np.int8), backend)
        assert actual.tolist() == [[left * right * inner] * 3] * 2


@every_backend
def test_the_first_sum_that_float32_does_not_hold(backend: str) -> None:
    """1024 * 128 * 128 + 1 = 2**24 + 1: a block of 1025 would lose the one."""
    row = np.full((1, 1025), -128, np.int8)
    row[0, -1] = 1
    assert int8_matmul(row, row.T, backend).tolist() == [[2**24 + 1]]
    assert int8_matmul(row[:, ::-1], row.T[::-1], backend).tolist() == [[2**24 + 1]]


@every_backend
@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 3), (2, 3, 0), (0, 0, 0), (1, 1, 1)])
def test_empty_dimensions(backend: str, shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    check(random_matrix(1, rows, inner), random_matrix(2, inner, columns), backend)


@every_backend
@pytest.mark.parametrize("inner", [5, 1030])
def test_any_memory_layout(backend: str, inner: int) -> None:
    a, b = random_matrix(3, 14, 2 * inner), random_matrix(4, 2 * inner, 18)
    lefts = (a[:, ::2], a[::-2, :inner], a[:, ::-2], np.asfortranarray(a[:, :inner]), a[:7, inner:])
    rights = (b[::2], b[:inner, ::-1], b[::-2, ::3], np.asfortranarray(b[:inner]), b[inner:, 1:17])
    for left in lefts:
        for right in rights:
            check(left, right, backend)


@every_backend
def test_operands_stay_as_they_are_and_may_be_read_only(backend: str) -> None:
    a, b = random_matrix(5, 4, 1030), random_matrix(6, 1030, 3)
    copies = a.copy(), b.copy()
    a.setflags(write=False)
    b.setflags(write=False)
    check(a, b, backend)
    assert (a == copies[0]).all()
    assert (b == copies[1]).all()


@every_backend
def test_packed_weights_and_results_are_apart_from_their_source(backend: str) -> None:
    a, b = random_matrix(7, 4, 9), random_matrix(8, 9, 3)
    packed = pack(b, backend)
    first = int8_matmul(a, packed)
    expected = first.copy()
    b[:] = 0
    second = int8_matmul(a, packed)
    second += 1
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(int8_matmul(a, packed), expected)
    assert (packed.shape, packed.backend) == ((9, 3), backend)
    if backend == "numpy":
        with pytest.raises(ValueError, match="read-only"):
            packed.prepared[:] = 0


@given(st.integers(0, 2**32), st.integers(1, 20), INNER, st.integers(1, 20))
@example(0, 3, 1025, 4)
@settings(max_examples=20, deadline=None)
def test_whatever_is_installed_is_exact(seed: int, rows: int, inner: int, columns: int) -> None:
    check(random_matrix(seed, rows, inner), random_matrix(seed + 1, inner, columns), None)


@pytest.fixture
def without_numkong(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "numkong", None)
    products._numkong.cache_clear()
    yield
    products._numkong.cache_clear()


@pytest.mark.usefixtures("without_numkong")
def test_without_numkong() -> None:
    a, b = random_matrix(9, 4, 9), random_matrix(10, 9, 3)
    check(a, b, None)
    assert pack(b).backend == "numpy"
    with pytest.raises(SocsimError, match=r"^backend 'numkong' is not installed: pip install 'phone-socsim\[fast\]'$"):
        int8_matmul(a, b, "numkong")


@pytest.mark.skipif(find_spec("numkong") is None, reason="numkong is not installed: pip install 'phone-socsim[fast]'")
def test_numkong_is_used_where_it_is_installed() -> None:
    b = random_matrix(10, 9, 3)
    assert pack(b).backend == "numkong"
    with pytest.raises(SocsimError, match=r"^backend 'numpy': b was packed for 'numkong'$"):
        int8_matmul(b.T, pack(b), "numpy")


GOOD = np.zeros((3, 3), np.int8)


@every_backend
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (GOOD.astype(np.uint8), GOOD, "a should be an int8 matrix, not uint8 of 2 dimensions"),
        (GOOD, GOOD.astype(np.float32), "b should be an int8 matrix, not float32 of 2 dimensions"),
        (GOOD[0], GOOD, "a should be an int8 matrix, not int8 of 1 dimensions"),
        (GOOD, GOOD[None], "b should be an int8 matrix, not int8 of 3 dimensions"),
        (GOOD.tolist(), GOOD, "a should be an int8 matrix, not list"),
        (GOOD[:, :2], GOOD, "inner dimensions should be equal: a is 3x2, b is 3x3"),
        (
            np.zeros((1, MAX_INNER + 1), np.int8),
            np.zeros((MAX_INNER + 1, 1), np.int8),
            "inner dimension 131072: an int32 sum is exact up to 131071",
        ),
    ],
)
def test_bad_operands(backend: str, a: Any, b: Any, message: str) -> None:
    with pytest.raises(SocsimError) as error:
        int8_matmul(a, b, backend)
    assert str(error.value) == message


@every_backend
def test_bad_packing(backend: str) -> None:
    with pytest.raises(SocsimError, match=r"^b should be an int8 matrix, not int16 of 2 dimensions$"):
        pack(GOOD.astype(np.int16), backend)
    with pytest.raises(SocsimError, match=r"^inner dimension 131072: an int32 sum is exact up to 131071$"):
        pack(np.zeros((MAX_INNER + 1, 1), np.int8), backend)
    with pytest.raises(SocsimError, match=r"^inner dimensions should be equal: a is 3x3, b is 2x3$"):
        int8_matmul(GOOD, pack(GOOD[:2], backend))


def test_unknown_backend_has_the_nearest_name() -> None:
    for call in (lambda: pack(GOOD, "numpi"), lambda: int8_matmul(GOOD, GOOD, "numpi")):
        with pytest.raises(SocsimError, match=r"^unknown backend 'numpi' \(did you mean 'numpy'\?\); allowed: numkong, numpy$"):
            call()
