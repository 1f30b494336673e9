"""Settings that all tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from socsim.numerics.tokenizer import Tokenizer
    from socsim.numerics.weights import Weights

settings.register_profile("socsim", deadline=None, derandomize=True, database=None)
settings.load_profile("socsim")


@pytest.fixture(autouse=True)
def _short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `planned` try few orders: what it must hold to does not depend on how long it searches."""
    monkeypatch.setattr("socsim.schedulers.order_search.MOST", 25)


@pytest.fixture(scope="session")
def weights() -> Weights:
    """Return the weights of SmolLM2-135M, or skip where they are absent and not required."""
    from socsim.numerics.weights import DEFAULT_WEIGHTS, list_weights, load_weights

    if DEFAULT_WEIGHTS not in list_weights() and os.environ.get("SOCSIM_REQUIRE_WEIGHTS") != "1":
        pytest.skip("weights absent: run `socsim weights fetch`")
    return load_weights()


@pytest.fixture(scope="session")
def tokenizer(weights: Weights) -> Tokenizer:
    """Return the tokenizer of SmolLM2-135M, or skip where the weights are absent and not required."""
    from socsim.numerics.tokenizer import load_tokenizer

    return load_tokenizer(weights.name)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a GGUF file of a tiny model."""
    from tiny_gguf import write_gguf

    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")
