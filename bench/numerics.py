"""Rates of exact int8 products and of a quantized prefill over float32, one thread each; exits with 1 if one misses its target.

Run with ``python bench/numerics.py``. Each ratio pairs two measurements taken in turn, so that a machine whose speed drifts
does not matter; printed is the median of the pairs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

from socsim.numerics import linears
from socsim.numerics.decoder import Decoder
from socsim.numerics.forward import hidden_states
from socsim.numerics.products import int8_matmul, pack
from socsim.numerics.profiles import calibration, load_profile
from socsim.numerics.schemes import SCHEMES
from socsim.numerics.weights import DEFAULT_WEIGHTS, list_weights, load_weights

ROWS, INNER, COLUMNS = 256, 2048, 5504
PAIRS = 25
PROMPT = 512
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
    return rows + prefill_rows()


def prefill_rows() -> list[tuple[str, float, str, float]]:
    """Compare a prefill of SmolLM2 under ``shadow`` with one in float32, where the weights are there."""
    if DEFAULT_WEIGHTS not in list_weights():
        return []
    weights = load_weights()
    profile, tokens = load_profile(calibration(weights)), np.arange(1000, 1000 + PROMPT)
    plain, rows = Decoder(weights), []
    for backend in TARGETS:
        if backend != "numpy" and find_spec(backend) is None:
            continue
        with packed_by(backend):
            shadow = Decoder(weights, SCHEMES["shadow"].linears(weights, profile))
        hidden_states(plain, tokens), hidden_states(shadow, tokens)
        pairs = [(seconds(lambda: hidden_states(shadow, tokens)), seconds(lambda: hidden_states(plain, tokens))) for _ in range(5)]  # noqa: B023
        rows.append((f"prefill time over float32, {PROMPT} tokens, shadow, {backend}", median(a / b for a, b in pairs), "<=", 1.3))
    return rows


@contextmanager
def packed_by(backend: str) -> Iterator[None]:
    """Let schemes pack weights for one backend, whatever is installed."""
    with patch.object(linears, "pack", lambda b: pack(b, backend)):
        yield


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
        holds = value >= target if relation == ">=" else value <= target
        missed += not holds
        print(f"{name:78s} {value:6.3f}   {relation} {target:<6g} {'ok' if holds else 'MISSED'}", flush=True)
    if find_spec("numkong") is None:
        print("numkong is not installed: not measured")
    if DEFAULT_WEIGHTS not in list_weights():
        print("weights absent: prefill not measured; run `socsim weights fetch`")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
