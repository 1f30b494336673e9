"""How accurate is a real model under each quantization scheme, beside what the paper measured on its models? (Xu et al. 2025, Table 6)

Perplexity, divergence from float32 and agreement are measured on SmolLM2-135M with the texts of ``socsim accuracy``. The paper's models
are too large for that here: their accuracies on five benchmarks stand beside for reference. Model, task and measure differ, so
there is nothing to compare number by number; only which schemes lose little can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from socsim.experiments import FORMATS, Publication
from socsim.experiments.published import counted
from socsim.experiments.real_model import real_study, texts_of
from socsim.measurements import load_table
from socsim.numerics.cases import records, scheme_cases
from socsim.plots import scheme_losses

QUICK_SCHEMES = ("float32", "per-tensor", "per-group", "smoothquant", "shadow")
SAME = {"smoothquant": "SmoothQuant", "llm-int8": "LLM.int8()", "per-group": "K-Quant", "shadow, 85 % pruned": "llm.npu"}
"""What schemes are called in the paper."""
REFERENCE, PUBLISHED, SOURCE = "FP16", "llm_npu_table6_accuracy_percent", "Xu et al. 2025, Table 6"
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Measure all schemes, in short some on less text, and publish them beside the paper's accuracies."""
    study = real_study(quick)
    cases = scheme_cases(QUICK_SCHEMES, "channel") if quick else scheme_cases()
    with Publication(out, __file__, quick=quick, formats=formats, study=study.about) as paper:
        rows = records(cases, study.measure([case.scheme for case in cases], paper.step))
        model = study.weights.name
        paper.table("accuracy", [measures(row) for row in rows], f"{model}, measured {texts_of(study)}; se: standard error")
        published = published_losses()
        if published:
            paper.table("published_accuracy", published, f"Accuracy of other models on other tasks, as published ({SOURCE})")
        shown = [row for row in published if row["scheme"] != REFERENCE]
        paper.figure("accuracy", scheme_losses(rows, shown), f"Left: {model}, measured. Right, hollow: mean over benchmarks, {SOURCE}")
        judge(paper, rows, shown, model)


def measures(row: Row) -> Row:
    """Return a row of the table: shares in percent, names with units."""
    shares = ("top1_agreement", "top1_agreement_se", "last_word_accuracy", "last_word_accuracy_se", "shadow_mac_share")
    return {
        "scheme": row["label"],
        "weight_scales": row["weight_scales"],
        "kl_nats_per_token": row["kl"],
        "kl_se_nats_per_token": row["kl_se"],
        "perplexity": row["perplexity"],
        "perplexity_change_percent": row["perplexity_change_percent"],
        **{f"{name}_percent": None if row[name] is None else 100.0 * row[name] for name in shares},
        **{name: row[name] for name in ("kept_linears", "outlier_channels", "fetched_channels")},
    }


def published_losses() -> list[Row]:
    """Return published accuracies by model and scheme: each benchmark, their mean, and how much that is below floating point."""
    table = load_table(PUBLISHED)
    known = {(row["model"], row["scheme"], row["benchmark"]): float(row["accuracy_percent"]) for row in table}
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in table))
    rows = []
    for model, scheme in dict.fromkeys((row["model"], row["scheme"]) for row in table):
        mean, best = (fmean(known[model, each, benchmark] for benchmark in benchmarks) for each in (scheme, REFERENCE))
        values = {f"{benchmark.lower()}_percent": known[model, scheme, benchmark] for benchmark in benchmarks}
        rows.append({"model": model, "scheme": scheme, **values, "mean_percent": mean, "loss_points": best - mean, "source": SOURCE})
    return rows


def judge(paper: Publication, rows: Sequence[Row], published: Sequence[Row], model: str) -> None:
    """Say how schemes rank on the real model, and how those that the paper has rank there."""
    own = sorted((row for row in rows if row["kl"] > 0.0 and row["weight_scales"] != "tensor"), key=lambda row: row["kl"])
    ranked = ", ".join(f"{row['label']} {row['perplexity_change_percent']:+.1f} %" for row in own)
    paper.conclude(f"{model}, weights per channel, the least divergence first, change of perplexity: {ranked}.")
    losses = {name: [row["loss_points"] for row in published if row["scheme"] == name] for name in SAME.values()}
    means = {SAME[row["label"]]: fmean(losses[SAME[row["label"]]]) for row in own if losses.get(SAME.get(row["label"], ""))}
    if len(means) < 2:
        return
    pairs = list(combinations(means, 2))  # the first of a pair diverges less here
    models = counted(len({row["model"] for row in published}), "model")
    alike = sum(means[one] < means[other] for one, other in pairs)
    paper.conclude(
        f"The paper has the like of {', '.join(means)}, from the least divergence here to the most; there they lose "
        f"{', '.join(f'{loss:+.1f}' for loss in means.values())} points of accuracy, mean over {models} and all benchmarks: {alike} of "
        f"{counted(len(pairs), 'pair')} have the same order. Models, tasks and measures differ, so that numbers cannot be compared."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
