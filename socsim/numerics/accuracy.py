"""Accuracy of quantization schemes on a text, measured in parallel and kept in the cache."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from socsim.errors import SocsimError
from socsim.numerics.decoder import Array, Decoder
from socsim.numerics.forward import hidden_states
from socsim.numerics.linears import StaticLinear
from socsim.numerics.measures import Accuracy, FloatWork, Tally, compare, summarize
from socsim.numerics.profile import CHUNK_TOKENS, Profile
from socsim.numerics.profiles import Calibration, digest, load_profile
from socsim.numerics.schemes import Float32, Scheme
from socsim.numerics.texts import WINDOW_TOKENS, Text, Windows, check_tokens, split_text
from socsim.numerics.tokenizer import load_tokenizer
from socsim.numerics.weights import Weights, weights_folder

NUMERICS_VERSION = 3
"""To be raised when the same inputs come to give other results, or a scheme's name another meaning: the cache then counts no more."""
Result = TypeVar("Result")
Progress = Callable[[str], None]
"""Called with the name of each step when it begins."""


class Meter:
    """Measures schemes on windows of tokens, each a prompt of its own in chunks of 256; windows are computed in parallel.

    Parameters
    ----------
    weights
        The model.
    windows
        Token ids and last words.
    workers
        Windows at a time; default: one for each processor. Products should then use one thread each (``OPENBLAS_NUM_THREADS=1``).
    """

    def __init__(self, weights: Weights, windows: Windows, workers: int | None = None) -> None:
        self.weights, self.windows = weights, windows
        self.workers = workers or os.cpu_count() or 1
        self._float = Decoder(weights)

    @cached_property
    def references(self) -> list[Array]:
        """Normalized hidden states of each window in float32, of shape (tokens, hidden)."""
        return self._each(lambda place: hidden_states(self._float, self.windows.tokens[place], CHUNK_TOKENS))

    def measure(self, scheme: Scheme, profile: Profile) -> Accuracy:
        """Return the measures of a scheme, given the statistics of another text."""
        references, linears = self.references, scheme.linears(self.weights, profile)
        decoder = self._float if isinstance(scheme, Float32) else Decoder(self.weights, linears)

        def tally(place: int) -> Tally:
            work, window = FloatWork(), self.windows.tokens[place]
            hidden = references[place] if decoder is self._float else hidden_states(decoder, window, CHUNK_TOKENS, work.observe)
            return Tally(compare(decoder, references[place], hidden, window, self.windows.words[place]), work)

        hot = any(isinstance(linear, StaticLinear) for linear in linears.values())
        return summarize(self._each(tally), decoder, hot=hot)

    def _each(self, function: Callable[[int], Result]) -> list[Result]:
        """Return the results of a function for each window."""
        pool = ThreadPoolExecutor(self.workers)
        try:
            return list(pool.map(function, range(len(self.windows.tokens))))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # an interrupted run does not wait for the windows that are left


@dataclass(frozen=True, eq=False)
class Study:
    """A model, the text on which schemes are measured, and that on which they are calibrated; results are kept in the cache.

    Raises
    ------
    SocsimError
        Too few tokens are asked for, or both texts are the same.
    """

    weights: Weights
    text: Text
    tokens: int
    calibration: Calibration

    def __post_init__(self) -> None:
        check_tokens(self.tokens)
        if self.text.sha256 == self.calibration.text.sha256:
            raise SocsimError(f"{self.text.name}: is the text of the calibration, too; schemes are measured on another one")

    @property
    def about(self) -> dict[str, Any]:
        """What identifies the results of all schemes."""
        return {
            "weights": self.weights.name,
            "weights_sha256": self.weights.sha256,
            "text": self.text.name,
            "text_sha256": self.text.sha256,
            "tokens": self.tokens,
            "window_tokens": WINDOW_TOKENS,
            "chunk_tokens": CHUNK_TOKENS,
            "calibration_text": self.calibration.text.name,
            "calibration_text_sha256": self.calibration.text.sha256,
            "calibration_tokens": self.calibration.tokens,
            "profile": digest(self.calibration.about),
            "numerics_version": NUMERICS_VERSION,
        }

    def known(self, scheme: Scheme) -> Accuracy | None:
        """Return the measures of a scheme from the cache; none if they are not there, or damaged."""
        try:
            stored = json.loads(self._path(scheme).read_text(encoding="utf-8"))
            return Accuracy(**stored["accuracy"]) if stored["inputs"] == self._inputs(scheme) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def steps(self, schemes: Iterable[Scheme]) -> int:
        """Return how often `measure` calls `progress`, not counting the profile."""
        missing = len({digest(self._inputs(scheme)) for scheme in schemes if self.known(scheme) is None})
        return missing + 1 if missing else 0

    def measure(self, schemes: Sequence[Scheme], progress: Progress = lambda _: None) -> list[Accuracy]:
        """Return the measures of schemes; what is not in the cache is measured, and kept there.

        Parameters
        ----------
        schemes
            Any; none depends on the others.
        progress
            Called when each step begins: profile, float32, and each scheme.

        Raises
        ------
        SocsimError
            A text has too few tokens, or the cache cannot be written.
        """
        found = [self.known(scheme) for scheme in schemes]
        if any(each is None for each in found):
            windows = split_text(self.text, load_tokenizer(self.weights.name), self.tokens)
            profile, meter = load_profile(self.calibration, progress=progress), Meter(self.weights, windows)
            progress("reference in float32")
            meter.references  # noqa: B018 - the longest part of the first scheme otherwise
        return [each or self._measured(meter, profile, scheme, progress) for each, scheme in zip(found, schemes, strict=True)]

    def _measured(self, meter: Meter, profile: Profile, scheme: Scheme, progress: Progress) -> Accuracy:
        known = self.known(scheme)  # the same scheme may be there twice
        if known is None:
            progress(describe(scheme))
            known = meter.measure(scheme, profile)
            self._keep(scheme, known)
        return known

    def _keep(self, scheme: Scheme, accuracy: Accuracy) -> None:
        path = self._path(scheme)
        text = json.dumps({"inputs": self._inputs(scheme), "accuracy": asdict(accuracy)}, indent=2)
        partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
        try:
            path.parent.mkdir(exist_ok=True)
            partial.write_text(text + "\n", encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise SocsimError(f"{path}: cannot be written: {error.strerror}") from None
        finally:
            partial.unlink(missing_ok=True)

    def _inputs(self, scheme: Scheme) -> dict[str, Any]:
        named = {name: value for name, value in self.about.items() if name not in ("weights", "text", "calibration_text")}
        return named | {"scheme": options(scheme)}

    def _path(self, scheme: Scheme) -> Path:
        return weights_folder(self.weights.name) / "accuracy" / f"{digest(self._inputs(scheme))}.json"


def options(scheme: Scheme) -> dict[str, Any]:
    """Return the options of a scheme as plain values, as JSON gives them back; what it is called does not count."""
    stated: dict[str, Any] = {"kind": type(scheme).__name__}
    for name, value in vars(scheme).items():
        if name != "name":
            stated[name] = sorted(map(list, value)) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value
    return stated


def describe(scheme: Scheme) -> str:
    """Return name and main options of a scheme."""
    parts = [scheme.name]
    if scales := getattr(scheme, "weight_scales", None):
        parts.append(f"weights per {scales}")
    if (rate := getattr(scheme, "pruning_rate", None)) is not None and scheme.name.startswith("shadow"):
        parts.append(f"{rate:.0%} pruned")
    return ", ".join(parts)
