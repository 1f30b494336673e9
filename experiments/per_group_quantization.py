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
from socsim.experiments import FORMATS, Publication
from socsim.experiments.real_model import met_outliers, real_study, texts_of
from socsim.measurements import load_table
from socsim.numerics.accuracy import Study
from socsim.numerics.schemes import Granularity, PerGroup, Scheme, Static
from socsim.plots import bars
from socsim.plots.points import points
from socsim.validation import per_group_slowdowns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOC, PROMPT, REAL = "snapdragon-8-gen-3", 256, "smollm2-135m"
MODELS = ("qwen1.5-1.8b", "llama-2-7b", "gemma-2b", "phi-2", "mistral-7b", REAL)
SOURCE = "Xu et al. 2025, Fig 4"
PER_TENSOR: Mapping[str, Any] = {"engine.precision.quantization": "per-tensor", "engine.precision.group_size": None}


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


VARIANTS = (
    Variant("per tensor", "npu-chunk", PER_TENSOR, Static("per-tensor", weight_scales="channel"), "shadow", "per tensor"),
    shadow_variant(0.85),
    shadow_variant(0.0),
    *(group_variant(size) for size in (128, 64, 32)),
)
PUBLISHED_AT, FINEST = "groups of 64", "groups of 32"
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
    published = {row["model"]: float(row["per_group_over_per_tensor"]) for row in load_table("llm_npu_fig4_per_group_slowdown")}
    rows: list[dict[str, Any]] = []
    for variant in VARIANTS:
        npu_s, ttft_s = times(model, variant)
        row: dict[str, Any] = {"model": model, "scheme": variant.name, "npu_s": npu_s, "ttft_s": ttft_s}
        base = rows[0] if rows else row  # the first is per tensor
        ratio, known = row["npu_s"] / base["npu_s"], published.get(model) if variant.name == PUBLISHED_AT else None
        row |= {"npu_over_per_tensor": ratio, "published_npu_over_per_tensor": known}
        row |= {"error_percent": known and 100.0 * (ratio / known - 1.0), "ttft_over_per_tensor": row["ttft_s"] / base["ttft_s"]}
        rows.append(row | {"source": SOURCE if known else None})
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
        if row["scheme"] != VARIANTS[0].name
    ]
    return bars(
        shown, x="model", y="ratio", series="scheme", panel="time", published="published", across=2, share_y=True,
        y_label="time over per-tensor scales",
    )  # fmt: skip


def judge(paper: Publication, rows: Sequence[dict[str, Any]], known: Sequence[dict[str, Any]]) -> None:
    """Compare slow-downs with those published, and say what groups and shadow outliers buy."""
    errors = []
    for soc, model, published, simulated, error in per_group_slowdowns().itertuples(index=False):
        paper.claim(f"NPU time per group over per tensor ({model}, {soc})", published, simulated, "x", SOURCE)
        errors.append(f"{simulated:.1f}x for {model} (published: {published:.1f}x, {error:+.0f} %)")
    ratios = [row["npu_over_per_tensor"] for row in rows if row["scheme"].startswith("groups")]
    paper.conclude(
        f"Scales per group make the NPU {min(ratios):.1f} to {max(ratios):.0f} times as slow as scales per tensor do, by size and model. "
        f"G{PUBLISHED_AT[1:]}, our assumption as the paper states no size, make it {' and '.join(errors)}."
    )
    found = {row["scheme"]: row for row in known if row["weight_scales"] != "tensor"}
    tensor, most, none = (found[variant.name] for variant in VARIANTS[:3])

    def said(row: dict[str, Any]) -> str:
        return f"{row['perplexity_change_percent']:+.1f} % for {row['ttft_s'] / tensor['ttft_s']:.1f}x the time to the first token"

    paper.conclude(
        f"On {REAL}, which the paper did not measure, with weights per channel, perplexity changes by "
        f"{tensor['perplexity_change_percent']:+.0f} % with scales per tensor, by {said(found[FINEST])} with {FINEST}, "
        f"by {said(none)} with shadow outliers of all linears, and by {said(most)} with those of 15 % of them."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
