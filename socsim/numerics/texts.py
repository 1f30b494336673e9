"""Texts on which models are calibrated and evaluated, as windows of tokens, and the words in them that are to be guessed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.errors import SocsimError
from socsim.numerics.tokenizer import Tokenizer

WINDOW_TOKENS = 512
"""Tokens of a window; each is a prompt of its own."""
FEWEST_TOKENS = 64
"""Fewer say nothing."""
WORD_CONTEXT_TOKENS = 32
"""Tokens that stand before a word that is to be guessed, at least."""

_LAST_WORD = re.compile(r"(?<=\s)[A-Za-z]{2,}(?=[.!?](?:\s|$)|\n[ \t]*\n)")
Span = tuple[int, int]
"""First token and the one behind the last."""
Window = NDArray[np.int64]
"""Token ids."""


class Text:
    """A text with a name for messages, which also say by which option so many of its tokens were asked for."""

    def __init__(self, name: str, text: str, option: str = "--tokens") -> None:
        self.name, self.text, self.option = name, text, option

    @cached_property
    def sha256(self) -> str:
        """Of the text in UTF-8."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


class Windows(NamedTuple):
    """A text as prompts."""

    tokens: tuple[Window, ...]
    words: tuple[tuple[Span, ...], ...]
    """Of each window the last words of its passages."""


def default_text(part: Literal["calibration", "evaluation"]) -> Text:
    """Return half of the help topics of Python's own ``pydoc``: by name, every second is for calibration, the others for evaluation.

    They differ between versions of Python, which is why results name the text's SHA-256. Both halves share some sentences, as pydoc
    repeats itself: of the first 8,192 tokens for calibration and 4,096 for evaluation, which are the default, no run of 16 tokens is in
    both (SmolLM2's tokenizer, Python 3.11); of larger numbers there are such runs.

    Raises
    ------
    SocsimError
        This Python comes without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise SocsimError("this Python comes without the help topics of pydoc (pydoc_data): give a text with --text") from None
    chosen = [topics[name] for name in sorted(topics)][part == "evaluation" :: 2]
    return Text(f"pydoc topics for {part}", "\n\n".join(chosen))


def read_text(path: str | Path) -> Text:
    """Read a text in UTF-8.

    Raises
    ------
    SocsimError
        The file cannot be read or is not UTF-8.
    """
    try:
        return Text(str(path), Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise SocsimError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SocsimError(f"{path}: is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}") from None


def split_text(text: Text, tokenizer: Tokenizer, tokens: int) -> Windows:
    """Return the first tokens of a text as windows; the last may be shorter, and is left out if it has only one token.

    Raises
    ------
    SocsimError
        The text has fewer tokens, or too few are asked for.
    """
    check_tokens(tokens, text.option)
    ids = np.array(tokenizer.encode(text.text), dtype=np.int64)
    if len(ids) < tokens:
        raise SocsimError(f"{text.name}: has {len(ids):,} tokens, fewer than the {tokens:,} asked for with {text.option}")
    windows = [ids[start : min(start + WINDOW_TOKENS, tokens)] for start in range(0, tokens, WINDOW_TOKENS)]
    windows = [window for window in windows if len(window) > 1]
    return Windows(tuple(windows), tuple(last_words([tokenizer.decode([each]) for each in window.tolist()]) for window in windows))


def check_tokens(tokens: int, option: str = "--tokens") -> None:
    """Check a number of tokens to evaluate or to calibrate on.

    Raises
    ------
    SocsimError
        There are too few.
    """
    if tokens < FEWEST_TOKENS:
        raise SocsimError(f"{option} {tokens}: allowed: whole numbers from {FEWEST_TOKENS}")


def last_words(pieces: Sequence[str]) -> tuple[Span, ...]:
    """Return where the last words of passages stand in a window: before the end of a sentence, or of a paragraph.

    A word has at least two letters, all of them ASCII, and is preceded by `WORD_CONTEXT_TOKENS` tokens at least: it is to be guessed
    from these, as in LAMBADA (Paperno et al. 2016), though here nobody has checked that a person could.

    Parameters
    ----------
    pieces
        The text of each token; parts of characters may be anything that is no letter.
    """
    ends = np.cumsum([0, *map(len, pieces)])
    found = []
    for match in _LAST_WORD.finditer("".join(pieces)):
        first = int(np.searchsorted(ends, match.start(), side="right")) - 1
        behind = int(np.searchsorted(ends, match.end(), side="left"))
        if first >= WORD_CONTEXT_TOKENS:
            found.append((first, behind))
    return tuple(found)
