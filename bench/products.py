"""Rates of the exact int8 product over numpy's float32 product, one thread each; exits with 1 if one misses its target.

Run with ``python bench/products.py``. Each ratio pairs two measurements taken in turn, so that a machine whose speed drifts
does not matter; printed is the median of the pairs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np

from socsim.numerics.products import int8_matmul, pack

ROWS, INNER, COLUMNS = 256, 2048, 5504
PAIRS = 25
TARGETS = {"numpy": 0.92, "numkong": 1.5}
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "VECLIB")} | {"VECLIB_MAXIMUM_THREADS": "1"}


def seconds(program: Callable[[], Any]) -> float:
    """Return the processor time of one execution: load of others does not matter, and a second thread would count."""
    start = time.process_time()
    program()
    return time.process_time() - start


def measured() -> list[tuple[str, float, str, float]]:
    """Measure in a process whose libraries have one thread."""
    random = np.random.default_rng(0)
    a, b = (random.integers(-128, 128, shape, np.int8) for shape in ((ROWS, INNER), (INNER, COLUMNS)))
    a_float, b_float = a.astype(np.float32), b.astype(np.float32)
    rows = []
    for backend, target in TARGETS.items():
        if find_spec(backend) is None:
            continue
        for form, right in (("raw", b), ("packed", pack(b, backend))):

            def product(right: Any = right, backend: str = backend) -> Any:
                return int8_matmul(a, right, backend)

            product()
            value = median(seconds(lambda: a_float @ b_float) / seconds(product) for _ in range(PAIRS))
            rows.append((f"int8 over float32 product, {ROWS}x{INNER}x{COLUMNS}, {backend}, {form} weights", value, ">=", target))
    return rows


def ratios() -> list[tuple[str, float, str, float]]:
    """Return name, value, relation and target of each ratio; numkong's only where it is installed."""
    # Libraries read how many threads they may have when numpy is imported: only a new process has not imported it.
    os.environ.update(ONE_THREAD)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measured).result()


def main() -> None:
    """Measure, print and judge."""
    missed = 0
    for name, value, relation, target in ratios():
        missed += value < target
        print(f"{name:78s} {value:6.3f}   {relation} {target:<6g} {'ok' if value >= target else 'MISSED'}", flush=True)
    if find_spec("numkong") is None:
        print("numkong is not installed: not measured")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
