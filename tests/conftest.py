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


@pytest.fixture(scope="session")
def weights() -> Weights:
    """Return the weights of SmolLM2-135M, or skip where they are absent and not required."""
    from socsim.errors import SocsimError
    from socsim.numerics.weights import load_weights

    try:
        return load_weights()
    except SocsimError as error:
        if os.environ.get("SOCSIM_REQUIRE_WEIGHTS") == "1":
            raise
        pytest.skip(f"weights absent: run `socsim weights fetch` ({error})")


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
