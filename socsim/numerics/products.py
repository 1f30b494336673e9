"""Exact products of int8 matrices, in numpy or with the optional library ``numkong``; both give the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError, unknown_name

BACKENDS = ("numkong", "numpy")
MAX_INNER = 131_071
"""Longest inner dimension: 131,072 products of -128 and -128 would be 2**31, one more than int32 holds."""
_EXACT_INNER = 1024
"""Inner dimension up to which float32 is exact: 1024 products of up to 128 * 128 reach at most 2**24, and so does every partial sum."""


@dataclass(frozen=True, eq=False, slots=True)
class PackedWeights:
    """A right operand prepared once for many products, made by `pack`.

    Attributes
    ----------
    shape : tuple of int
        Inner dimension and columns of the matrix, (K, N).
    backend : str
        What computes the products: ``numpy`` or ``numkong``.
    prepared : object
        The matrix in the form that the backend multiplies: read-only float32 (four bytes a weight), or numkong's own (one byte).
    """

    shape: tuple[int, int]
    backend: str
    prepared: Any


def int8_matmul(a: NDArray[np.int8], b: NDArray[np.int8] | PackedWeights, backend: str | None = None) -> NDArray[np.int32]:
    """Return the exact product of two int8 matrices.

    Parameters
    ----------
    a : array of int8, shape (M, K)
        Left operand, in any memory layout; K is at most `MAX_INNER`.
    b : array of int8, shape (K, N), or PackedWeights
        Right operand, in any memory layout, or prepared by `pack`.
    backend : str, optional
        ``numpy`` or ``numkong``. By default that of packed weights, else numkong where it is installed (it is faster), else numpy.
        The result is the same bit by bit.

    Returns
    -------
    array of int32, shape (M, N)

    Raises
    ------
    SocsimError
        An operand is no int8 matrix, inner dimensions differ or are longer than `MAX_INNER`, or the backend is unknown,
        not installed or another than the weights were packed for.
    """
    _check_int8_matrix("a", a)
    if isinstance(b, PackedWeights):
        if backend not in (None, b.backend):
            raise SocsimError(f"backend '{backend}': b was packed for '{b.backend}'")
        backend = b.backend
    else:
        _check_int8_matrix("b", b)
        backend = _chosen(backend)
    if a.shape[1] != b.shape[0]:
        raise SocsimError(f"inner dimensions should be equal: a is {_size(a.shape)}, b is {_size(b.shape)}")
    if a.shape[1] > MAX_INNER:
        raise SocsimError(f"inner dimension {a.shape[1]}: an int32 sum is exact up to {MAX_INNER}")
    if backend == "numpy":
        return _float_product(a, b.prepared if isinstance(b, PackedWeights) else b)
    packed = b if isinstance(b, PackedWeights) else pack(b, backend)
    return np.asarray(_numkong().dots_packed(np.ascontiguousarray(a), packed.prepared))


def pack(b: NDArray[np.int8], backend: str | None = None) -> PackedWeights:
    """Prepare a right operand for many products; later changes of `b` do not matter.

    Parameters
    ----------
    b : array of int8, shape (K, N)
        Right operand, in any memory layout; K is at most `MAX_INNER`.
    backend : str, optional
        ``numpy`` or ``numkong``; by default numkong where it is installed, else numpy.

    Raises
    ------
    SocsimError
        `b` is no int8 matrix or too long, or the backend is unknown or not installed.
    """
    _check_int8_matrix("b", b)
    backend = _chosen(backend)
    rows, columns = b.shape
    if rows > MAX_INNER:
        raise SocsimError(f"inner dimension {rows}: an int32 sum is exact up to {MAX_INNER}")
    if backend == "numkong":
        # It multiplies rows by rows.
        return PackedWeights((rows, columns), backend, _numkong().dots_pack(np.ascontiguousarray(b.T)))
    as_float = b.astype(np.float32)
    as_float.setflags(write=False)
    return PackedWeights((rows, columns), backend, as_float)


def _float_product(a: NDArray[np.int8], b: NDArray[Any]) -> NDArray[np.int32]:
    """Multiply in blocks along the inner dimension in which float32 is exact; `b` is int8, or float32 made of it."""
    product = np.zeros((a.shape[0], b.shape[1]), np.int32)
    for start in range(0, a.shape[1], _EXACT_INNER):
        block = slice(start, start + _EXACT_INNER)
        partial = a[:, block].astype(np.float32) @ b[block].astype(np.float32, copy=False)
        if start == 0:
            product[...] = partial  # in one pass
        else:
            product += partial.astype(np.int32)
    return product


@cache
def _numkong() -> Any:
    """Return the module, or None where it is not installed; imported at the first product, because most commands need none."""
    try:
        return import_module("numkong")
    except ImportError:
        return None


def _chosen(backend: str | None) -> str:
    """Return the backend to use."""
    if backend is None:
        return "numkong" if _numkong() else "numpy"
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    if backend == "numkong" and not _numkong():
        raise SocsimError("backend 'numkong' is not installed: pip install 'phone-socsim[fast]'")
    return backend


def _check_int8_matrix(name: str, matrix: object) -> None:
    """Refuse what is no int8 matrix: a cast would hide values that do not fit."""
    if not isinstance(matrix, np.ndarray):
        raise SocsimError(f"{name} should be an int8 matrix, not {type(matrix).__name__}")
    if matrix.dtype != np.int8 or matrix.ndim != 2:
        raise SocsimError(f"{name} should be an int8 matrix, not {matrix.dtype} of {matrix.ndim} dimensions")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
