from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_gguf import END, MERGES, TOKENS
from tokenizers.pre_tokenizers import ByteLevel

from socsim.errors import SocsimError
from socsim.numerics.checkpoint import Vocabulary
from socsim.numerics.fetching import add_weights
from socsim.numerics.tokenizer import PRE_TOKENIZERS, Tokenizer, load_tokenizer, make_tokenizer
from socsim.numerics.weights import weights_folder

TINY = Vocabulary("gpt2", "smollm", TOKENS, [3, *[1] * (len(TOKENS) - 1)], MERGES)
SAMPLES = (
    "",
    " ",
    "Hello, world!",
    "1234567890",
    "3.14 + 2e-7",
    "naïve façade",
    "漢字かな",
    "مرحبا",
    "🙂👩‍👩‍👧",
    "a\tb\r\n\n  c",
    "\x00\x7f",
)


def names(tokenizer: Tokenizer, text: str) -> list[str]:
    return [TOKENS[token] for token in tokenizer.encode(text)]


def test_merges_written_out() -> None:
    tokenizer = make_tokenizer(TINY, "here")
    assert names(tokenizer, "hello") == ["hello"]
    assert names(tokenizer, "hello wo") == ["hello", "Ġwo"]
    assert names(tokenizer, "hell") == ["hell"]
    assert names(tokenizer, "ehl") == ["e", "h", "l"]
    assert names(tokenizer, "é") == ["Ã", "©"]  # its two bytes in UTF-8


def test_digits_are_split_as_the_model_was_trained() -> None:
    assert names(make_tokenizer(TINY, "here"), "a12") == ["a", "1", "2"]
    assert names(make_tokenizer(TINY._replace(pre="gpt-2"), "here"), "a12") == ["a", "12"]
    assert names(make_tokenizer(TINY._replace(pre="llama-bpe"), "here"), "a12") == ["a", "12"]


def test_words_that_are_whole_tokens() -> None:
    vocabulary = TINY._replace(tokens=[*TOKENS, "ell"], types=[*TINY.types, 1])  # no merges lead to it
    assert make_tokenizer(vocabulary, "here").encode("ell") == [TOKENS.index("e"), TOKENS.index("ll")]
    assert make_tokenizer(vocabulary._replace(pre="llama-bpe"), "here").encode("ell") == [len(TOKENS)]


def test_control_tokens_are_whole() -> None:
    tokenizer = make_tokenizer(TINY, "here")
    assert len(tokenizer) == len(TOKENS)
    assert names(tokenizer, f"he{END}he") == ["he", END, "he"]
    assert tokenizer.decode(tokenizer.encode(f"he{END}he")) == f"he{END}he"
    plain = make_tokenizer(TINY._replace(types=[1] * len(TOKENS)), "here")
    assert names(plain, END) == list(END)
    own = make_tokenizer(TINY._replace(types=[4, *TINY.types[1:]]), "here")
    assert names(own, END) == [END]


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
@given(text=st.text(max_size=30) | st.sampled_from(SAMPLES))
def test_every_text_comes_back(pre: str, text: str) -> None:
    tokenizer = make_tokenizer(TINY._replace(pre=pre), "here")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "llama"}, "tokenizer 'llama' is not supported; allowed: gpt2 (byte-level BPE)"),
        ({"pre": "smolm"}, "pre-tokenizer 'smolm' is not supported (did you mean 'smollm'?); allowed: gpt-2, llama-bpe, smollm"),
        ({"pre": "default"}, "pre-tokenizer 'default' is not supported; allowed: gpt-2, llama-bpe, smollm"),
        ({"merges": ["q zz"]}, "metadata 'tokenizer.ggml.tokens' and 'tokenizer.ggml.merges': "),
        ({"merges": ["one"]}, "metadata 'tokenizer.ggml.tokens' and 'tokenizer.ggml.merges': "),
    ],
)
def test_unsupported(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SocsimError) as error:
        make_tokenizer(TINY._replace(**changes), "my.gguf")
    assert str(error.value).startswith(f"my.gguf: {said}")


def slow_tokens(text: str, ids: dict[str, int], ranks: dict[tuple[str, str], int]) -> list[int]:
    """Tokenize ASCII text by the definition of BPE: the first merge of the list that fits, again and again."""
    splits = r"\d|'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[^\sA-Za-z\d]+|\s+(?!\S)|\s+"
    letter = {ord(char): mark for char, mark in zip(" \n\t", "ĠĊĉ", strict=True)}
    result = []
    for part in re.split(r"(\d)", text):  # digits are split off before words are
        for word in re.findall(splits, part):
            symbols = list(word.translate(letter))
            while len(symbols) > 1:
                best, place = min((ranks.get(pair, len(ranks)), n) for n, pair in enumerate(itertools.pairwise(symbols)))
                if best == len(ranks):
                    break
                symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
            result += [ids[symbol] for symbol in symbols]
    return result


def test_real_tokenizer_agrees_with_the_definition(tokenizer: Tokenizer) -> None:
    model = json.loads(tokenizer.to_json())["model"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    for topic in ("floating", "numbers", "shifting", "while", "typesseq"):
        text = topics[topic].encode("ascii", "ignore").decode()
        assert len(tokenizer.encode(text)) > 50
        assert tokenizer.encode(text) == slow_tokens(text, model["vocab"], ranks)


def test_real_tokenizer(tokenizer: Tokenizer) -> None:
    assert len(tokenizer) == 49152
    assert tokenizer.encode("<|im_start|>user\n")[0] == 1
    assert len(tokenizer.encode("2024")) == 4
    for text in SAMPLES:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    long = topics["while"] * 20
    assert tokenizer.decode(tokenizer.encode(long)) == long


def test_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    monkeypatch.setenv("SOCSIM_CACHE", str(tmp_path))
    with pytest.raises(SocsimError, match=r"weights 'mine' are not in the cache .*: run `socsim weights add FILE\.gguf --name mine`"):
        load_tokenizer("mine")
    add_weights(tiny, "mine")
    assert names(load_tokenizer("mine"), "hello 1") == ["hello", "Ġ", "1"]
    file = weights_folder("mine") / "tokenizer.json"
    file.write_text(file.read_text()[:1000])
    with pytest.raises(SocsimError, match=r"tokenizer\.json: is damaged: run `socsim weights remove mine`, then run `socsim weights add"):
        load_tokenizer("mine")


def test_tokens_are_bytes() -> None:
    assert len(ByteLevel.alphabet()) == 256
    assert make_tokenizer(TINY, "here").decode([TOKENS.index("Ã")]) == "\N{REPLACEMENT CHARACTER}"  # half a character
