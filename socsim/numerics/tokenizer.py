"""Text to tokens and back, by the vocabulary of a GGUF file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from socsim.errors import SocsimError, did_you_mean
from socsim.numerics.weights import DEFAULT_WEIGHTS, TOKENIZER, damaged, read_config, weights_folder

if TYPE_CHECKING:
    import tokenizers

    from socsim.numerics.checkpoint import Vocabulary

_CONTROL, _USER_DEFINED = 3, 4
_LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PRE_TOKENIZERS = ("gpt-2", "llama-bpe", "smollm")
"""Values of ``tokenizer.ggml.pre``, ways to split text before merging, that are supported."""


class Tokenizer:
    """Byte-level BPE: every text has tokens, which decode to the same text."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        """Return the size of the vocabulary."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text; names of control tokens in it become those, and no other control tokens are added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def to_json(self) -> str:
        """Return the tokenizer in the form of a Hugging Face ``tokenizer.json``."""
        return str(self._tokenizer.to_str())


def load_tokenizer(name: str = DEFAULT_WEIGHTS) -> Tokenizer:
    """Load the tokenizer of weights in the cache.

    Raises
    ------
    SocsimError
        They are not in the cache, or what is there is damaged or of another version.
    """
    import tokenizers

    read_config(name)
    path = weights_folder(name) / TOKENIZER
    try:
        return Tokenizer(tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8")))
    except Exception:  # the library raises nothing narrower
        raise damaged(path) from None


def make_tokenizer(vocabulary: Vocabulary, where: str) -> Tokenizer:
    """Build a tokenizer from what a GGUF file says.

    Parameters
    ----------
    vocabulary
        Tokens, merges and algorithm.
    where
        The file, for error messages.

    Raises
    ------
    SocsimError
        The algorithm or the way to split text is not supported, or a merge is of unknown tokens.
    """
    import tokenizers
    from tokenizers import decoders, models

    if vocabulary.model != "gpt2":
        raise SocsimError(f"{where}: tokenizer '{vocabulary.model}' is not supported; allowed: gpt2 (byte-level BPE)")
    ids = {token: place for place, token in enumerate(vocabulary.tokens)}
    merges = [(first, second) for first, _, second in (merge.partition(" ") for merge in vocabulary.merges)]
    try:
        # Llama 3 has words of several merges as one token, which is taken before any merge.
        tokenizer = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges=vocabulary.pre == "llama-bpe"))
    except Exception as error:  # the library raises nothing narrower
        raise SocsimError(f"{where}: metadata 'tokenizer.ggml.tokens' and 'tokenizer.ggml.merges': {error}") from None
    tokenizer.pre_tokenizer = _pre_tokenizer(vocabulary.pre, where)
    tokenizer.decoder = decoders.ByteLevel()
    for token, kind in zip(vocabulary.tokens, vocabulary.types, strict=True):
        if kind in (_CONTROL, _USER_DEFINED):
            tokenizer.add_tokens([tokenizers.AddedToken(token, special=kind == _CONTROL, normalized=False)])
    return Tokenizer(tokenizer)


def _pre_tokenizer(pre: str, where: str) -> Any:
    """Return what splits text into words before merging."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

    if pre not in PRE_TOKENIZERS:
        allowed = ", ".join(PRE_TOKENIZERS)
        raise SocsimError(f"{where}: pre-tokenizer '{pre}' is not supported{did_you_mean(pre, PRE_TOKENIZERS)}; allowed: {allowed}")
    if pre == "smollm":
        return Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)])
    if pre == "llama-bpe":
        return Sequence([Split(Regex(_LLAMA_3), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])
    return ByteLevel(add_prefix_space=False, use_regex=True)
