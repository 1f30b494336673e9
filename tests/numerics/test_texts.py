"""Texts and windows: which half is whose, what is refused, and which words are to be guessed."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from socsim.errors import SocsimError
from socsim.numerics.texts import WORD_CONTEXT_TOKENS, Text, default_text, last_words, read_text, split_text
from socsim.numerics.tokenizer import Tokenizer


class Letters(Tokenizer):
    """Each character is a token: its code point."""

    def __init__(self) -> None:
        pass

    def encode(self, text: str) -> list[int]:
        return list(map(ord, text))

    def decode(self, ids: object) -> str:
        assert isinstance(ids, list)
        return "".join(map(chr, ids))


def test_halves_share_no_topic_and_leave_none_out() -> None:
    calibration, evaluation = default_text("calibration"), default_text("evaluation")
    names = sorted(topics)
    assert calibration.text.startswith(topics[names[0]] + "\n\n" + topics[names[2]])
    assert evaluation.text.startswith(topics[names[1]] + "\n\n" + topics[names[3]])
    lengths = [len(topics[name]) + len("\n\n") for name in names]
    assert len(calibration.text) + len(evaluation.text) == sum(lengths) - 2 * len("\n\n")
    assert abs(len(calibration.text) - len(evaluation.text)) < 0.5 * len(evaluation.text)
    assert calibration.sha256 == hashlib.sha256(calibration.text.encode()).hexdigest() != evaluation.sha256


def test_python_without_help_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(SocsimError, match=r"comes without the help topics of pydoc.*--text"):
        default_text("evaluation")


def test_own_text(tmp_path: Path) -> None:
    path = tmp_path / "prose.txt"
    path.write_bytes("Grüße.\r\n".encode())
    text = read_text(path)
    assert (text.name, text.text) == (str(path), "Grüße.\r\n")  # as it is: line ends are tokens, too
    path.write_bytes(b"abc\xff")
    with pytest.raises(SocsimError, match=r"prose.txt: is not UTF-8: byte 0xff at offset 3$"):
        read_text(path)
    with pytest.raises(SocsimError, match=r"absent.txt: cannot be read: No such file or directory$"):
        read_text(tmp_path / "absent.txt")


def test_windows_are_prompts_of_512_tokens() -> None:
    text = Text("mine", "a" * 2000)
    windows = split_text(text, Letters(), 1100)
    assert [len(window) for window in windows.tokens] == [512, 512, 76]
    assert [window.dtype for window in windows.tokens] == [np.int64] * 3
    assert windows.words == ((), (), ())
    assert [len(window) for window in split_text(text, Letters(), 513).tokens] == [512]  # one token predicts none


def test_words_are_found_in_each_window() -> None:
    sentence = "x" * 40 + " word. "
    windows = split_text(Text("mine", sentence * 20), Letters(), 600)
    assert windows.words[0][0] == (41, 45)
    assert len(windows.words[0]) == 10  # the eleventh sentence ends behind the window
    for window, words in zip(windows.tokens, windows.words, strict=True):
        assert {Letters().decode(window[first:behind].tolist()) for first, behind in words} == {"word"}


@pytest.mark.parametrize("tokens", [0, -1, 63])
def test_too_few_tokens_asked_for(tokens: int) -> None:
    with pytest.raises(SocsimError, match=f"--tokens {tokens}: allowed: whole numbers from 64"):
        split_text(Text("mine", "a" * 100), Letters(), tokens)
    with pytest.raises(SocsimError, match=f"^--calibration-tokens {tokens}: allowed"):
        split_text(Text("mine", "a" * 100, "--calibration-tokens"), Letters(), tokens)


def test_text_shorter_than_asked_for() -> None:
    with pytest.raises(SocsimError, match=r"mine: has 1,000 tokens, fewer than the 4,096 asked for with --tokens"):
        split_text(Text("mine", "a" * 1000), Letters(), 4096)
    assert len(split_text(Text("mine", "a" * 1000), Letters(), 1000).tokens) == 2


CONTEXT = [" it"] * WORD_CONTEXT_TOKENS


@pytest.mark.parametrize(
    ("pieces", "spans"),
    [
        ([" the", " end", "."], [(1, 2)]),
        ([" the", " en", "d", ".\n", "More"], [(1, 3)]),
        ([" the", "\n", "end", "!", " So"], [(2, 3)]),
        ([" the", " end", "\n\n", "Next"], [(1, 2)]),
        ([" the", " end", "\n", "Next"], []),  # a line goes on
        ([" see", " a", "."], []),  # one letter
        ([" version", " v2", "."], []),
        ([" module", " os", ".path"], []),  # no end of a sentence
        ([" so", "me.thing", "."], []),
        ([" caf\ufffd", "\ufffd", "."], []),
        ([" one", ".", " Two", " words", "?"], [(0, 1), (3, 4)]),
    ],
)
def test_last_words_by_hand(pieces: list[str], spans: list[tuple[int, int]]) -> None:
    start = len(CONTEXT)
    assert last_words([*CONTEXT, *pieces]) == tuple((first + start, behind + start) for first, behind in spans)
    assert all(first >= WORD_CONTEXT_TOKENS for first, _ in last_words(pieces))
    assert last_words([*CONTEXT[1:], *pieces]) == tuple((a + start - 1, b + start - 1) for a, b in spans if a > 0)


@given(st.lists(st.text("ab .\n", min_size=1, max_size=4), max_size=200))
def test_last_words_are_words_before_an_end(pieces: list[str]) -> None:
    behind_last = 0
    for first, behind in last_words(pieces):
        assert WORD_CONTEXT_TOKENS <= first < behind <= len(pieces)
        assert first >= behind_last - 1  # a piece may hold the end of one word and the start of the next
        behind_last = behind
        assert any(letter in "".join(pieces[first:behind]) for letter in "ab")
