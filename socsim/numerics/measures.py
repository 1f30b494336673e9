"""What a quantization scheme does to a model: predictions that differ from those in float32, and float work beside the int8 products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, nan, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.numerics.decoder import Array, Decoder, Shadow, Site
from socsim.numerics.texts import Span, Window

BLOCK_ROWS = 128
"""Positions whose logits are in memory together."""
FloatVector = NDArray[np.float64]
Truths = NDArray[np.bool_]


@dataclass(frozen=True)
class Accuracy:
    """Measures of a scheme on a text.

    Perplexity, divergence and agreement are over all positions that have a next token in their window. Standard errors are those of
    the mean of independent values, as llama.cpp's ``perplexity`` has them; neighboring tokens depend on each other, so that
    true ones are somewhat larger.

    Float work is that beside the int8 products; float32 and per-group have none by definition.
    """

    predictions: int
    """Positions."""
    perplexity: float
    perplexity_se: float
    perplexity_change_percent: float
    """Over float32."""
    perplexity_change_se_percent: float
    """Of the mean difference of the log-likelihoods, token by token."""
    kl: float
    """Mean Kullback-Leibler divergence of the predicted distribution from float32's, over the whole vocabulary, in nats a token."""
    kl_se: float
    top1_agreement: float
    """Share of positions whose likeliest token is float32's."""
    top1_agreement_se: float
    last_words: int
    """Last words of passages."""
    last_word_accuracy: float | None
    """Share of them of which each token is the likeliest, given the true ones before."""
    last_word_accuracy_se: float | None
    linears: int
    kept_linears: int
    """Linears that may have float work beside the int8 products."""
    outlier_channels: float
    """Channels multiplied in float beside the int8 products, mean over kept linears and chunks."""
    fetched_channels: float
    """Those of them whose weights are not in memory."""
    hot_share: float | None
    """Share of all outlier channels that are hot; none: there are none, or the scheme keeps all weights in memory."""
    shadow_mac_share: float
    """Multiplications of the float work over all multiplications of the linears of blocks."""


class Predictions(NamedTuple):
    """Predictions of the next token at the positions of a window."""

    reference_nll: FloatVector
    """Negative log-likelihood of the true token in float32."""
    nll: FloatVector
    divergence: FloatVector
    agrees: Truths
    """Whether the likeliest token is float32's."""
    right: Truths
    """Whether the likeliest token is the true one."""
    words_right: Truths
    """Of each last word of a passage."""


def compare(decoder: Decoder, reference: Array, hidden: Array, window: Window, words: Sequence[Span] = ()) -> Predictions:
    """Compare the predictions of a scheme with those in float32.

    Parameters
    ----------
    decoder
        Whose head makes logits.
    reference, hidden
        Normalized hidden states in float32 and under the scheme, of shape (tokens, hidden). Logits, a hundred times as large, are
        made from both, block by block.
    window
        The tokens.
    words
        First token, and the one behind the last, of words that are to be guessed.
    """
    truth, parts = window[1:], []
    for start in range(0, len(truth), BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, len(truth)))
        parts.append(_compare_rows(decoder.logits(reference[rows]), decoder.logits(hidden[rows]), truth[rows]))
    reference_nll, nll, divergence, agrees, right = (np.concatenate(part) for part in zip(*parts, strict=True))
    words_right = np.array([right[first - 1 : behind - 1].all() for first, behind in words], dtype=np.bool_)
    return Predictions(reference_nll, nll, divergence, agrees, right, words_right)


def _compare_rows(reference: Array, logits: Array, truth: Window) -> tuple[Array, ...]:
    """Return all but the last of `Predictions`; both logits are overwritten."""
    places = np.arange(len(truth))
    likeliest, best = reference.argmax(axis=1), logits.argmax(axis=1)
    nlls, sums = [], []
    for each, top in ((reference, likeliest), (logits, best)):
        each -= each[places, top][:, None]
        sums.append(np.log(np.exp(each).sum(axis=1, dtype=np.float64)))
        nlls.append(sums[-1] - each[places, truth])
    np.subtract(reference, logits, out=logits)
    weights = np.exp(reference, out=reference)
    mean = np.einsum("ij,ij->i", weights, logits) / weights.sum(axis=1, dtype=np.float64)
    return *nlls, np.maximum(mean - sums[0] + sums[1], 0.0), likeliest == best, best == truth


@dataclass
class FloatWork:
    """Float work beside the int8 products, summed over the linears and chunks of a window."""

    channels: int = 0
    fetched: int = 0
    macs: int = 0
    chunks: set[int] = field(default_factory=set)

    def observe(self, _: Site, chunk: int, shadow: Shadow) -> None:
        """Add what a linear computed for a chunk."""
        self.chunks.add(chunk)
        self.channels += len(shadow.channels)
        self.fetched += shadow.fetched
        self.macs += shadow.macs


class Tally(NamedTuple):
    """What was found on one window."""

    predictions: Predictions
    work: FloatWork


def summarize(tallies: Sequence[Tally], decoder: Decoder, *, hot: bool) -> Accuracy:
    """Return the measures over windows.

    Parameters
    ----------
    tallies
        One for each window, in their order.
    decoder
        The model under the scheme.
    hot
        Whether the scheme keeps only hot channels in memory.
    """
    joined = Predictions._make(map(np.concatenate, zip(*(tally.predictions for tally in tallies), strict=True)))
    loss, loss_se = mean_and_se(joined.nll)
    change, change_se = mean_and_se(joined.nll - joined.reference_nll)
    kl, kl_se = mean_and_se(joined.divergence)
    agreement, agreement_se = mean_and_se(joined.agrees)
    word, word_se = mean_and_se(joined.words_right)
    works, words = [tally.work for tally in tallies], len(joined.words_right)
    channels, fetched = sum(work.channels for work in works), sum(work.fetched for work in works)
    linear_chunks = max(sum(len(work.chunks) for work in works) * len(decoder.kept), 1)
    tokens = len(joined.nll) + len(tallies)
    linear_macs = tokens * decoder.llm.num_hidden_layers * sum(rows * columns for rows, columns in decoder.llm.linear_shapes.values())
    return Accuracy(
        predictions=len(joined.nll),
        perplexity=exp(loss),
        perplexity_se=exp(loss) * loss_se,
        perplexity_change_percent=100.0 * (exp(change) - 1.0),
        perplexity_change_se_percent=100.0 * exp(change) * change_se,
        kl=kl,
        kl_se=kl_se,
        top1_agreement=agreement,
        top1_agreement_se=agreement_se,
        last_words=words,
        last_word_accuracy=word if words else None,
        last_word_accuracy_se=word_se if words > 1 else None,
        linears=len(decoder.linears),
        kept_linears=len(decoder.kept),
        outlier_channels=channels / linear_chunks,
        fetched_channels=fetched / linear_chunks,
        hot_share=1.0 - fetched / channels if hot and channels else None,
        shadow_mac_share=sum(work.macs for work in works) / linear_macs,
    )


def mean_and_se(values: Array) -> tuple[float, float]:
    """Return the mean of independent values and its standard error."""
    count = len(values)
    if count < 2:
        return (float(values[0]) if count else nan), nan
    return float(np.mean(values, dtype=np.float64)), float(np.std(values, ddof=1, dtype=np.float64)) / sqrt(count)
