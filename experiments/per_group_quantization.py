"""What do scales per group cost on an NPU, and what do they buy over scales per tensor and shadow outliers? (Xu et al. 2025, Fig 4)

An NPU runs a linear with scales per group as one small product for each group, and sums them in float. The cost is simulated for one
chunk of 256 tokens; all else is as in ``npu-chunk``. Accuracy is measured on SmolLM2-135M, and set against the cost of that
model, with the outliers that it was found to have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import socsim
from socsim.experiments import FORMATS, Publication, errors_sentence
from socsim.experiments.grid import MODELS as PAPER_MODELS
from socsim.experiments.grid import PER_TENSOR, PHONES
from socsim.experiments.real_model import met_outliers, real_study, texts_of
from socsim.measurements import load_table
from socsim.numerics.accuracy import Study
from socsim.numerics.schemes import Granularity, PerGroup, Scheme, Static
from socsim.plots import bars
from socsim.plots.points import points

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOC, PROMPT, REAL = PHONES[0], 256, "smollm2-135m"
MODELS = (*PAPER_MODELS, REAL)
PUBLISHED = "llm_npu_fig4_per_group_slowdown"


class Variant(NamedTuple):
    """How linears are quantized, in the simulator and in numpy; `curve` and `label` say where it stands in the figure."""

    name: str
    engine: str
    overrides: Mapping[str, Any]
    scheme: Scheme
    curve: str
    label: str


def group_variant(size: int) -> Variant:
    """Return int8 with scales per group."""
    name = f"groups of {size}"
    return Variant(name, "npu-chunk", {"engine.precision.group_size": size}, PerGroup(group_size=size), "groups", name)


def shadow_variant(rate: float) -> Variant:
    """Return int8 per tensor with float work beside it for the linears that are not pruned."""
    scheme, name = Static("shadow", weight_scales="channel", pruning_rate=rate), f"shadow, {100 * rate:g} % pruned"
    return Variant(name, "npu-chunk-outlier", {"engine.outlier_pruning_rate": rate}, scheme, "shadow", f"{100 * rate:g} % pruned")


TENSOR = Variant("per tensor", "npu-chunk", PER_TENSOR, Static("per-tensor", weight_scales="channel"), "shadow", "per tensor")
SHADOW = (shadow_variant(0.85), shadow_variant(0.0))
GROUPS = tuple(group_variant(size) for size in (128, 64, 32))
VARIANTS = (TENSOR, *SHADOW, *GROUPS)
PUBLISHED_AT, FINEST = GROUPS[1].name, GROUPS[2].name
"""The shipped engine's, as the paper does not state its own, and the one that even the short version measures."""


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate the cost of all models, or in short of two, measure accuracy of the real one, and publish both."""
    study = real_study(quick)
    measured = [each for each in VARIANTS if not quick or each.curve != "groups" or each.name == FINEST]
    models = MODELS[:2] if quick else MODELS
    scales: tuple[Granularity, ...] = ("channel",) if quick else ("channel", "tensor")
    with Publication(out, __file__, quick=quick, formats=formats, soc=SOC, models=models, prompt_tokens=PROMPT, study=study.about) as paper:
        rows = [row for model in models for row in costs(model)]
        paper.table("per_group_cost", rows, f"One chunk of {PROMPT} tokens on {SOC}: time of the NPU's subgraphs, and to the first token")
        paper.figure("per_group_cost", cost_figure(rows), f"Cost over per-tensor scales, {SOC}; hollow: published, group size not stated")
        known = measure(paper, study, measured, scales)
        paper.table("per_group_accuracy", known, f"Accuracy and cost of {REAL}: measured {texts_of(study)}; simulated on {SOC}")
        paper.figure("per_group_accuracy", accuracy_figure(known), f"Divergence from float32 against cost, {REAL}")
        judge(paper, rows, known)


def costs(model: str) -> list[dict[str, Any]]:
    """Return the simulated times of a model, and what was published of the NPU's."""
    published = next((row for row in load_table(PUBLISHED) if (row["soc"], row["model"]) == (SOC, model)), None)
    found = {variant.name: times(model, variant) for variant in VARIANTS}
    base_npu_s, base_ttft_s = found[TENSOR.name]
    rows = []
    for name, (npu_s, ttft_s) in found.items():
        ratio, there = npu_s / base_npu_s, published if name == PUBLISHED_AT else None
        known = there and float(there["per_group_over_per_tensor"])
        rows.append(
            {
                "model": model,
                "scheme": name,
                "npu_s": npu_s,
                "ttft_s": ttft_s,
                "npu_over_per_tensor": ratio,
                "published_npu_over_per_tensor": known,
                "error_percent": known and 100.0 * (ratio / known - 1.0),
                "ttft_over_per_tensor": ttft_s / base_ttft_s,
                "source": there and there["source"],
            }
        )
    return rows


def times(model: str, variant: Variant, outliers: Mapping[str, Any] | None = None) -> tuple[float, float]:
    """Return the time of all subgraphs on the NPU together, and that to the first token, in s."""
    result = socsim.run(SOC, model, variant.engine, prompt_tokens=PROMPT, overrides={**variant.overrides, **(outliers or {})})
    on_npu = [subgraph.processor == "npu" for subgraph in result.case.costs.graph.subgraphs]
    return float(result.case.costs.parts_s[on_npu].sum()), float(result.record["ttft_s"])


def measure(paper: Publication, study: Study, variants: Sequence[Variant], scales: Sequence[Granularity]) -> list[dict[str, Any]]:
    """Return measured accuracy beside the simulated cost of the same model, for each kind of weight scales where a scheme has some."""
    chosen: list[tuple[Variant, Scheme, str]] = []
    for variant in variants:
        if isinstance(variant.scheme, Static):
            chosen += [(variant, replace(variant.scheme, weight_scales=each), each) for each in scales]
        else:
            chosen.append((variant, variant.scheme, "group"))
    rows = []
    for (variant, _, kind), found in zip(chosen, study.measure([scheme for _, scheme, _ in chosen], paper.step), strict=True):
        npu_s, ttft_s = times(REAL, variant, met_outliers(asdict(found)))
        rows.append(
            {
                "scheme": variant.name,
                "weight_scales": kind,
                "kl_nats_per_token": found.kl,
                "kl_se_nats_per_token": found.kl_se,
                "perplexity_change_percent": found.perplexity_change_percent,
                "outlier_channels": found.outlier_channels,
                "npu_s": npu_s,
                "ttft_s": ttft_s,
            }
        )
    return rows


def accuracy_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Return divergence against cost: a curve of group sizes, and one from scales per tensor to all shadow outliers."""
    known = {variant.name: variant for variant in VARIANTS}
    shown = []
    for row in rows:
        variant, scales = known[row["scheme"]], row["weight_scales"]
        series = "scales per group" if variant.curve == "groups" else f"shadow, weights per {scales}"
        shown.append(row | {"series": series, "label": None if scales == "tensor" else variant.label})
    return points(
        shown, x="ttft_s", y="kl_nats_per_token", series="series", label="label", log_x=True, log_y=True,
        x_label=f"time to first token, {PROMPT} tokens (s)", y_label="KL divergence (nats/token)", columns=1, height_in=2.2,
    )  # fmt: skip


def cost_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Return both costs over those with scales per tensor."""
    titles = {"npu_over_per_tensor": "NPU", "ttft_over_per_tensor": "time to first token"}
    shown = [
        {"model": row["model"], "scheme": row["scheme"], "time": title, "ratio": row[name], "published": row.get(f"published_{name}")}
        for name, title in titles.items()
        for row in rows
        if row["scheme"] != TENSOR.name
    ]
    return bars(
        shown, x="model", y="ratio", series="scheme", panel="time", published="published", across=2, share_y=True,
        y_label="time over per-tensor scales",
    )  # fmt: skip


def judge(paper: Publication, rows: Sequence[dict[str, Any]], known: Sequence[dict[str, Any]]) -> None:
    """Compare slow-downs with those published, to which nothing is fitted, and say what groups and shadow outliers buy."""
    for row in rows:
        if published := row["published_npu_over_per_tensor"]:
            what = f"NPU time per group over per tensor ({row['model']}, {SOC}; {PUBLISHED_AT} assumed)"
            paper.claim(what, published, row["npu_over_per_tensor"], "x", row["source"])
    ratios = [row["npu_over_per_tensor"] for row in rows if row["scheme"].startswith("groups")]
    paper.conclude(
        f"With scales per group the NPU takes {min(ratios):.1f} to {max(ratios):.1f} times as long as with scales per tensor, by size and "
        f"model. The paper states no size; {PUBLISHED_AT} are our assumption. {errors_sentence(rows, 'slow-downs', ('model',))}"
    )
    found = {row["scheme"]: row for row in known if row["weight_scales"] != "tensor"}
    tensor, *others = (found[name] for name in (TENSOR.name, FINEST, *(variant.name for variant in reversed(SHADOW))))
    bought = "; ".join(
        f"{row['perplexity_change_percent']:+.1f} % with {row['scheme']}, for {row['ttft_s'] / tensor['ttft_s']:.1f} times the time to the "
        f"first token"
        for row in others
    )
    paper.conclude(
        f"On {REAL}, which the paper did not measure, with weights per channel, perplexity changes by "
        f"{tensor['perplexity_change_percent']:+.1f} % with scales per tensor; {bought}."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
