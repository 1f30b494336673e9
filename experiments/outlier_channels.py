"""Where are activation outliers, and how few channels carry them? (Xu et al. 2025, Figs 10, 11 and 12 left)

Outliers are counted on real weights, SmolLM2-135M, in chunks of 256 tokens. The paper's counts are of Qwen1.5-1.8B: shapes can be
compared, values cannot. What counts as an outlier is a rule, which the paper does not state. Where the rule is a budget of channels, as
in our schemes, their number is our choice, and only what is left open by it is a finding: on which channels they fall, and how
far beyond the threshold they go. Under the other two rules, one for all linears, the number of channels is a finding, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.catalog import load_engine, load_model
from socsim.experiments import FORMATS, Publication
from socsim.experiments.grid import MODELS, OURS
from socsim.experiments.real_model import real_calibration
from socsim.experiments.words import span
from socsim.measurements import load_table
from socsim.numerics.cases import importance_records
from socsim.numerics.decoder import INPUTS
from socsim.numerics.profile import CHUNK_TOKENS, Profile, TensorProfile
from socsim.numerics.profiles import load_profile
from socsim.numerics.schemes import Static
from socsim.outliers import kept_linears
from socsim.plots.points import points

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL, PUBLISHED, SOURCE = "smollm2-135m", MODELS[0], "Xu et al. 2025"
LINEARS = ("q_proj", "o_proj", "up_proj", "down_proj")
"""Those of the paper's figures; K and V read what Q reads, gate what up reads."""
HOT_PERCENT, PRUNED = 3.0, load_engine(OURS).outlier_pruning_rate
FACT, HOT_SHARE = "sync.outlier_stats", re.compile(rf"<{HOT_PERCENT:g}% of channels cover >([\d.]+)%")
Row = dict[str, Any]


class Rule(NamedTuple):
    """From which magnitude on a value is an outlier; `channels`, where it is set so that a chunk has so many of them on average."""

    name: str
    threshold: Callable[[TensorProfile], float]
    channels: float | None = None


RULES = (
    Rule("99.99th percentile", lambda tensor: tensor.percentile(99.99)),
    Rule("10 x RMS", lambda tensor: 10.0 * tensor.rms),
    Rule("budget of 5 channels", lambda tensor: tensor.budget(5.0), 5.0),
    Rule("budget of 20 channels", lambda tensor: tensor.budget(20.0), 20.0),
)
MAIN_RULE = RULES[0].name
"""Under which the mean over linears comes nearest to the paper's."""


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Count outliers by layer and channel, on less text in short, and publish them beside the paper's."""
    made_of = real_calibration(quick)
    where = f"{MODEL} on {made_of.tokens:,} tokens in chunks of {CHUNK_TOKENS}"
    with Publication(out, __file__, quick=quick, formats=formats, model=MODEL, profile=made_of.about) as paper:
        profile = load_profile(made_of, progress=paper.step)
        counts, known = layer_counts(profile), published_counts()
        paper.table("outlier_channels", [*counts, *known], f"Channels with outliers in a chunk: {where}; {PUBLISHED}, published")
        shown = [row for row in counts if not row["rule"].startswith("budget")]
        figure = by_depth(shown, known, "outlier_channels", "outlier channels of a chunk")
        about = f"Channels with outliers by depth, layers without any left out; {PUBLISHED}: rule not stated"
        paper.figure("outlier_channels", figure, about)
        hot = concentration(profile)
        about = f"Share of outliers in the {HOT_PERCENT:g} % of channels that have most in the other half of the text: {where}"
        paper.table("hot_channels", hot, about)
        about = f"How often channels have outliers, those that have none left out; dotted: {HOT_PERCENT:g} % of channels"
        paper.figure("hot_channels", rank_figure(profile), about)
        kept = Static("shadow", pruning_rate=PRUNED).kept(made_of.weights, profile)
        ranks = importance(importance_records(made_of.weights, profile), MODEL, "measured", kept)
        known = importance(published_importance(), PUBLISHED, f"{SOURCE}, Fig 12", kept_linears(load_model(PUBLISHED), load_engine(OURS)))
        paper.table("importance", ranks + known, f"Largest input over outlier threshold: {where}, budget of 20 channels; {PUBLISHED}")
        figure = by_depth(ranks, known, "importance", "largest over threshold")
        paper.figure("importance", figure, f"Outlier importance by depth: {MODEL}, budget of 20 channels, and {PUBLISHED}")
        by_linear = kept_by_linear(ranks + known)
        paper.table("kept_linears", by_linear, f"Linears that keep their outliers when {100 * PRUNED:g} % are pruned")
        judge(paper, counts, hot, by_linear)


def tensors(profile: Profile, linear: str) -> list[TensorProfile]:
    """Return the statistics of what a linear reads, block by block."""
    return [tensor for (_, buffer), tensor in sorted(profile.items()) if buffer == INPUTS[linear]]


def layer_counts(profile: Profile) -> list[Row]:
    """Return the mean number of outlier channels of a chunk by rule, linear and layer."""
    rows = []
    for rule in RULES:
        for linear in LINEARS:
            blocks = tensors(profile, linear)
            for layer, tensor in enumerate(blocks):
                mean = float(tensor.outlier_counts(rule.threshold(tensor)).sum() / len(tensor.chunk_max))
                place = {"linear": linear, "layer": layer, "relative_depth": layer / (len(blocks) - 1)}
                rows.append({"model": MODEL, "rule": rule.name, **place, "outlier_channels": mean, "source": "measured"})
    return rows


def published_counts() -> list[Row]:
    """Return the counts of the paper's figure 10."""
    found = [row for row in load_table("llm_npu_fig10_outlier_channels") if row["model"] == PUBLISHED]
    last = max((int(row["layer"]) for row in found), default=0)
    return [
        {"model": PUBLISHED, "rule": None, "linear": row["linear"], "layer": int(row["layer"]), "relative_depth": int(row["layer"]) / last}
        | {"outlier_channels": float(row["mean_outlier_channels"]), "source": f"{SOURCE}, Fig 10"}
        for row in found
    ]


def concentration(profile: Profile) -> list[Row]:
    """Return by rule and linear how many channels are outliers, and what share of all outliers, of all layers, is in hot ones.

    Under a budget of B channels, C hot ones can hold about C/B of the outliers at most.
    """
    rows = []
    for rule in RULES:
        for linear in LINEARS:
            over = [tensor.chunk_max > rule.threshold(tensor) for tensor in tensors(profile, linear)]
            chunks, channels = over[0].shape
            hot = int(HOT_PERCENT / 100.0 * channels + 1e-9)
            every, hottest = sum(int(each.sum()) for each in over), sum(outliers_in_hot(each, hot) for each in over)
            mean = every / chunks / len(over)
            rows.append(
                {
                    "rule": rule.name,
                    "linear": linear,
                    "channels": channels,
                    "outlier_channels": mean,
                    "outlier_channels_percent": 100.0 * mean / channels,
                    "hot_channels": hot,
                    "hot_share_percent": 100.0 * hottest / every,
                    "hot_share_at_most_percent": 100.0 * min(1.0, hot / rule.channels) if rule.channels else None,
                }
            )
    return rows


def outliers_in_hot(over: NDArray[np.bool_], hot: int) -> int:
    """Return how many outliers, given by chunk and channel, are in hot channels, which are chosen on the other half of the text.

    Chosen on the same chunks, a few channels hold much of any small sample: nine tenths of four chunks, seven of thirty-two.
    """
    half, found = len(over) // 2, 0
    for seen, others in ((over[:half], over[half:]), (over[half:], over[:half])):
        chosen = np.argsort(-seen.sum(axis=0), kind="stable")[:hot]
        found += int(others[:, chosen].sum())
    return found


def rank_figure(profile: Profile) -> Figure:
    """Return how often channels have outliers, the most frequent first; of all layers the mean of each rank."""
    rows, published = [], []
    table = [row for row in load_table("llm_npu_fig11_outliers_per_channel") if row["model"] == PUBLISHED]
    for linear in LINEARS:
        for rule in (RULES[0], RULES[-1]):
            times = np.mean([np.sort(each.outlier_counts(rule.threshold(each)))[::-1] for each in tensors(profile, linear)], axis=0)
            shown = sorted({int(1.25**step) - 1 for step in range(64)} & set(range(len(times))))  # evenly on a logarithmic axis
            rows += [rank_point(f"{MODEL}, {rule.name}", linear, place, len(times), float(times[place] / times[0])) for place in shown]
        known = [(int(row["channel_rank"]), float(row["times"])) for row in table if row["linear"] == linear]
        last, most = max(known, default=(0, 0.0))
        published += [rank_point(PUBLISHED, linear, last - rank, last + 1, times / most) for rank, times in known]
    return points(
        rows, published=published, x="channels_percent", y="times_percent", series="series", panel="linear", log_x=True, log_y=True,
        share_y=True, mark_x=HOT_PERCENT, x_label="channels by rank (%)", y_label="occurrences (% of hottest)",
    )  # fmt: skip


def rank_point(series: str, linear: str, place: int, channels: int, share: float) -> Row:
    """Return a channel at some place, 0 the hottest; the share is that of the hottest one's outliers."""
    return {"series": series, "linear": linear, "channels_percent": 100.0 * (place + 1) / channels, "times_percent": 100.0 * share}


def published_importance() -> list[dict[str, str]]:
    """Return the published importance of the linears of blocks."""
    return [row for row in load_table("llm_npu_fig12_outlier_importance") if row["model"] == PUBLISHED and row["layer"]]


def importance(found: Sequence[Mapping[str, Any]], model: str, source: str, kept: Collection[tuple[int, str]]) -> list[Row]:
    """Return the importance of each linear by depth, and whether it is among those that are kept."""
    last = max((int(row["layer"]) for row in found), default=0)
    rows = []
    for row in found:
        layer, linear = int(row["layer"]), f"{row['linear']}_proj"
        place = {"model": model, "linear": linear, "layer": layer, "relative_depth": layer / last}
        rows.append(place | {"importance": float(row["importance"]), "kept": (layer, linear) in kept, "source": source})
    return rows


def kept_by_linear(ranks: Sequence[Row]) -> list[Row]:
    """Return how many linears of each kind are kept, by model."""
    counts = Counter((row["model"], row["linear"]) for row in ranks if row["kept"])
    models, linears = (list(dict.fromkeys(row[column] for row in ranks)) for column in ("model", "linear"))
    return [{"model": model} | {linear: counts[model, linear] for linear in linears} for model in models]


def by_depth(rows: Sequence[Row], published: Sequence[Row], column: str, label: str) -> Figure:
    """Return a figure with a panel for each linear of the paper's figures."""
    own, others = (
        [row | {"series": ", ".join(filter(None, (row["model"], row.get("rule"))))} for row in part if row["linear"] in LINEARS]
        for part in (rows, published)
    )
    return points(
        own, published=others, x="relative_depth", y=column, series="series", panel="linear", log_y=True, share_y=True,
        x_label="relative depth", y_label=label,
    )  # fmt: skip


def published_hot_share() -> float | None:
    """Return which share of the outliers (%) the hottest channels exceed, as the paper says; none: it is not in ``traces/``."""
    values = [row["value"] for row in load_table("soc_facts") if row["id"] == FACT]
    found = HOT_SHARE.search(values[0]) if values else None
    return float(found[1]) if found else None


def judge(paper: Publication, counts: Sequence[Row], hot: Sequence[Row], kept: Sequence[Row]) -> None:
    """Say which shapes are alike."""
    chosen, known = [row for row in hot if row["rule"] == MAIN_RULE], published_hot_share()
    pooled = sum(row["hot_share_percent"] * row["outlier_channels"] for row in chosen) / sum(row["outlier_channels"] for row in chosen)
    paper.conclude(
        f"On {MODEL}, with the {MAIN_RULE} as threshold, {HOT_PERCENT:g} % of channels, chosen on one half of the text, carry "
        f"{pooled:.0f} % of the outliers of the other, {span((row['hot_share_percent'] for row in chosen), 0)} % by "
        f"linear{f'; the paper says over {known:g} % of its models' if known else ''}."
    )
    everywhere = {MODEL: [row for row in counts if row["rule"] == MAIN_RULE], f"{PUBLISHED} (Fig 10)": published_counts()}
    most = [f"in {model} {most_over_others(rows)}" for model, rows in everywhere.items() if rows]
    paper.conclude(
        f"The linear that reads most outlier channels is {' and '.join(most)}. How many there are depends on the rule, which the paper "
        f"does not state, so that levels are not compared."
    )
    linears = " and ".join(kept_in_words(row) for row in kept)
    paper.conclude(f"With {100 * PRUNED:g} % pruned, these linears keep their outliers: {linears}.")


def most_over_others(rows: Sequence[Row]) -> str:
    """Say which linear reads most outlier channels on average over layers, and how many times as many as the others."""
    means = {name: fmean(row["outlier_channels"] for row in rows if row["linear"] == name) for name in LINEARS}
    most = max(means, key=lambda name: means[name])
    return f"{most} ({means[most] / fmean(means[name] for name in LINEARS if name != most):.1f} times as many as the mean of the others)"


def kept_in_words(kept: Row) -> str:
    """Say how many of the kept linears of a model are of which kind, the most first."""
    counts = {name: number for name, number in kept.items() if name != "model" and number}
    listed = ", ".join(f"{counts[name]} {name}" for name in sorted(counts, key=lambda name: -counts[name]))
    return f"{sum(counts.values())} of {kept['model']} ({listed})"


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
