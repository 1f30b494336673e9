"""Profiles in the cache: what the linears of a model read on a text, computed once."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from socsim.errors import SocsimError
from socsim.numerics.decoder import INPUTS, Decoder
from socsim.numerics.profile import TENSORS, Profile, TensorProfile, profile_text
from socsim.numerics.texts import Text, check_tokens, default_text, split_text
from socsim.numerics.tokenizer import load_tokenizer
from socsim.numerics.weights import Weights, weights_folder
from socsim.specs import LINEARS

CALIBRATION_TOKENS = 8192
PROFILE_VERSION = 1
"""Of the files, and of how a profile is made."""
_FIELDS = ("chunk_max", "channel_rms", "histogram")


class Calibration(NamedTuple):
    """What a profile is made of."""

    weights: Weights
    text: Text
    tokens: int = CALIBRATION_TOKENS

    @property
    def about(self) -> dict[str, Any]:
        """What identifies the profile."""
        return {
            "profile_version": PROFILE_VERSION,
            "weights_sha256": self.weights.sha256,
            "text_sha256": self.text.sha256,
            "tokens": self.tokens,
        }

    @property
    def path(self) -> Path:
        """Where the profile is kept: beside the weights."""
        return weights_folder(self.weights.name) / f"profile-{digest(self.about)}.npz"


def calibration(weights: Weights, text: Text | None = None, tokens: int = CALIBRATION_TOKENS) -> Calibration:
    """Return what a profile is to be made of; the default text is the calibration half of `default_text`.

    Raises
    ------
    SocsimError
        Too few tokens are asked for.
    """
    check_tokens(tokens)
    return Calibration(weights, text or default_text("calibration"), tokens)


def digest(about: dict[str, Any]) -> str:
    """Return a short name for what identifies a file."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def load_profile(made_of: Calibration, *, force: bool = False, progress: Callable[[str], None] = lambda _: None) -> Profile:
    """Load a profile from the cache; compute and save it if it is not there.

    Parameters
    ----------
    made_of
        Weights, which are in the cache, and text.
    force
        Whether to compute it in any case.
    progress
        Called when each window begins.

    Raises
    ------
    SocsimError
        The text has too few tokens, or the file cannot be written.
    """
    known = None if force else read_profile(made_of)
    if known is not None:
        return known
    windows = split_text(made_of.text, load_tokenizer(made_of.weights.name), made_of.tokens).tokens

    def done(tokens: int) -> None:
        if tokens < made_of.tokens:
            progress(f"profile, from token {tokens:,} of {made_of.tokens:,}")

    done(0)
    profile = profile_text(Decoder(made_of.weights), windows, done)
    write_profile(made_of, profile)
    return profile


def read_profile(made_of: Calibration) -> Profile | None:
    """Return a profile from the cache; none if it is not there, or damaged."""
    try:
        with made_of.path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if json.loads(str(file["about"])) != made_of.about:
                return None
            arrays = {name: file[name] for name in file.files if name != "about"}
        places = [(block, name) for block in range(made_of.weights.llm.num_hidden_layers) for name in TENSORS]
        return {place: _from_arrays(arrays, *place) for place in places}
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile):
        return None


def _from_arrays(arrays: dict[str, Any], block: int, name: str) -> TensorProfile:
    readers = {linear: LINEARS.index(linear) for linear, read in INPUTS.items() if read == name}
    rms, largest = arrays["output_rms"][block], arrays["output_max"][block]
    chunk_max, channel_rms, histogram = (arrays[f"{name}.{field}"][block] for field in _FIELDS)
    return TensorProfile(
        chunk_max,
        channel_rms,
        histogram,
        output_rms={linear: float(rms[place]) for linear, place in readers.items()},
        output_max={linear: float(largest[place]) for linear, place in readers.items()},
    )


def write_profile(made_of: Calibration, profile: Profile) -> None:
    """Write a profile into the cache, whole or not at all."""
    blocks = range(made_of.weights.llm.num_hidden_layers)
    arrays: dict[str, Any] = {
        f"{name}.{part}": np.stack([getattr(profile[block, name], part) for block in blocks]) for name in TENSORS for part in _FIELDS
    }
    arrays["about"] = np.array(json.dumps(made_of.about))
    for field in ("output_rms", "output_max"):
        arrays[field] = np.array([[getattr(profile[b, INPUTS[linear]], field)[linear] for linear in LINEARS] for b in blocks])
    path = made_of.path
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        np.savez(partial, **arrays)
        partial.replace(path)
    except OSError as error:
        raise SocsimError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
