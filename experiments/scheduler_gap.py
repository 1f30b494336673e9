"""How far from the best schedule is the paper's out-of-order rule, and what comes closer?

Every policy schedules prefills of five models on two phones, in up to 128 chunks. A lower bound says how far each is from the best at most;
where models are cut to a few blocks, a solver proves the best. Then conditions change: DRAM is so slow that sharing it is felt, durations
are off, a processor slows down. Comparisons with the paper's rule are with the faster of its two ties in each case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from socsim.experiments import FORMATS, Publication
from socsim.experiments.grid import MODELS, OURS, PHONES
from socsim.experiments.policy_grid import RULE, by_ratio, of, scheduled, spread
from socsim.experiments.small_cases import BLOCKS, NEVER_WAITS, proven_gaps, ratio_of_work, small_costs
from socsim.plots import bars, lines
from socsim.policy_comparison import PAPER, compare_policies
from socsim.runs import make_case
from socsim.schedulers import SCHEDULERS

APART = True  # takes minutes, so `--all` leaves it out
Axes = Mapping[str, Sequence[Any]]
PROMPTS = (256, 512, 768, 1024, 1280, 1536, 1792, 2048, 4096, 8192)
GRID: Axes = {"soc": PHONES, "model": MODELS, "prompt_tokens": PROMPTS, "chunk_tokens": (64, 128, 256, 512)}
QUICK_GRID: Axes = {"soc": PHONES[:1], "model": MODELS[:3:2], "prompt_tokens": (512, 1024), "chunk_tokens": (256,)}
CHANGED: Axes = {"soc": PHONES[:1], "prompt_tokens": (512, 1024, 2048), "chunk_tokens": (256,)}
"""Prompts of two, four and eight chunks, for which conditions change."""
QUICK_CHANGED: Axes = {"model": MODELS[:1], "prompt_tokens": (512,), "chunk_tokens": (256,)}
CONDITIONS: dict[str, dict[str, Any]] = {
    "as expected": {},
    "1/4 of DRAM": {"soc.dram.achievable_bytes_per_s": (0.25,)},
    "1/8 of DRAM": {"soc.dram.achievable_bytes_per_s": (0.125,)},
    "10 % noise": {"run.duration_noise": (0.1,), "run.seed": (0, 1, 2)},
    "30 % noise": {"run.duration_noise": (0.3,), "run.seed": (0, 1, 2)},
    "slow CPU": {"run.slowed_processor": ("cpu",), "run.slowed_from_s": (0.3,), "run.slowdown_factor": (1.5,)},
    "slow NPU": {"run.slowed_processor": ("npu",), "run.slowed_from_s": (0.3,), "run.slowdown_factor": (1.5,)},
}
"""DRAM so slow that its sharing is felt, as it is not on the phones; durations that are off; a processor that slows down after 0.3 s."""
QUICK_CONDITIONS = ("as expected", "1/4 of DRAM", "10 % noise")
RELATIVE = ("soc.dram.achievable_bytes_per_s",)
ROBUST = ("fifo", "wavefront", "lookahead", "planned")
SMALL: Axes = {"model": ("qwen1.5-1.8b", "phi-2"), "chunks": (2, 3, 4), "work_ratio": (0.3, 0.7, 1.1, 1.5)}
QUICK_SMALL: Axes = {"model": ("qwen1.5-1.8b",), "chunks": (2, 4), "work_ratio": (0.9,)}
SMALL_CHUNK, SOLVER_S, QUICK_SOLVER_S = 256, 120.0, 5.0
SHOWN = ("in-order", "fifo", RULE, "critical-path", "wavefront", "lookahead", "planned")
CLASSES = {"1 chunk": (1, 1), "2 and 3 chunks": (2, 3), "4 to 8 chunks": (4, 8), "more chunks": (9, 1000)}
FEW = (2, 8)
"""Chunks of the prompts for which the targets are."""
RATIOS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 10.0)
"""Edges of classes of the ratio of CPU to NPU work."""
SAID = f"{RULE}: out-of-order with the better of its ties"
SAME_PERCENT, FAR_PERCENT = 0.1, 10.0
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Schedule the grid, changed conditions and small cases, in short a corner of each, and publish gaps, regimes and targets."""
    grid, changed, small = (QUICK_GRID, QUICK_CHANGED, QUICK_SMALL) if quick else (GRID, CHANGED, SMALL)
    limit_s, jobs = (QUICK_SOLVER_S, 1) if quick else (SOLVER_S, None)
    conditions = {name: CONDITIONS[name] for name in QUICK_CONDITIONS} if quick else CONDITIONS
    about: dict[str, Any] = {
        "engine": OURS,
        "grid": grid,
        "conditions": conditions,
        "changed": changed,
        "small": small,
        "solver_s": limit_s,
    }
    with Publication(out, __file__, quick=quick, formats=formats, **about) as paper:
        paper.step("every policy in every case")
        cases = scheduled(axes(grid), SCHEDULERS, out, jobs=jobs)
        paper.table("cases", cases, f"Every policy in every case of {OURS}; {SAID}")
        publish_gaps(paper, cases)
        publish_regimes(paper, [row for row in cases if row["chunks"] > 1])
        runs = []
        for condition, change in conditions.items():
            paper.step(f"condition: {condition}")
            found = scheduled(axes({**grid, **changed, **change}), (*PAPER, *ROBUST), out, jobs=jobs)
            runs += [row | {"condition": condition} for row in found]
        leads = publish_conditions(paper, runs)
        publish_targets(paper, cases, leads, publish_small(paper, small, limit_s))
        tell_decision_times(paper)


def axes(values: Axes) -> list[dict[str, Any]]:
    """Return the axes of a sweep."""
    return [{"path": path, "values": list(each), "relative": path in RELATIVE} for path, each in values.items()]


def publish_gaps(paper: Publication, cases: Sequence[Row]) -> None:
    """Publish how far policies are above the lower bound by number of chunks, and how often they win over the paper's rule."""
    summary, shares = [], []
    for prompt, policy in product(CLASSES, dict.fromkeys(row["policy"] for row in cases)):
        gaps, faster = (of(cases, policy, f"{name}_percent", CLASSES[prompt]) for name in ("gap", "faster"))
        if not len(gaps):
            continue
        won = {"mean_faster_percent": float(faster.mean()), "least_faster_percent": float(faster.min())}
        counts = {"wins": int((faster > SAME_PERCENT).sum()), "losses": int((faster < -SAME_PERCENT).sum()), "cases": len(gaps)}
        summary.append(
            {"prompt": prompt, "policy": policy, "mean_gap_percent": float(gaps.mean())} | won | counts | spread(gaps, "gap_percent")
        )
        if policy in SHOWN:
            at = np.percentile(gaps, range(0, 101, 10)).tolist()
            shares += [{"prompt": prompt, "policy": policy, "gap": gap, "share": 10 * place} for place, gap in enumerate(at)]
    bound = "with one to three chunks, the bound itself may be out of reach"
    paper.table("policies", summary, f"Gap to the lower bound ({bound}), and wins and losses by more than 0.1 %; {SAID}")
    shares.sort(key=lambda row: SHOWN.index(row["policy"]))
    panels = [row for prompt in CLASSES for row in shares if row["prompt"] == prompt]
    figure = lines(
        panels, x="gap", y="share", series="policy", panel="prompt", share_y=True,
        x_label="at most this much above the lower bound (%)", y_label="share of cases (%)", across=2,
    )  # fmt: skip
    paper.figure("gap", figure, f"Share of cases in which a policy is at most so far above the lower bound; {bound}")


def publish_regimes(paper: Publication, cases: Sequence[Row]) -> None:
    """Publish where the paper's rule is far from the bound, by the ratio of CPU to NPU work."""
    regimes = by_ratio(cases, SHOWN, RATIOS)
    paper.table("regimes", regimes, "Mean gap by the ratio of CPU to NPU work, prompts of several chunks")
    figure = lines(
        regimes, x="work_ratio", y="mean_gap_percent", series="policy", columns=1, height_in=2.3,
        x_label="CPU work over NPU work", y_label="above the lower bound (%)",
    )  # fmt: skip
    paper.figure("regimes", figure, "Mean gap to the lower bound by the ratio of CPU to NPU work, prompts of several chunks")
    rule = [row for row in regimes if row["policy"] == RULE]
    far = list(takewhile(lambda row: row["mean_gap_percent"] > FAR_PERCENT, reversed(rule)))
    begin = f"more than {FAR_PERCENT:g} % from a ratio of {far[-1]['work_ratio']:.2f} on" if far else "then more or less"
    paper.conclude(
        f"By the ratio of CPU to NPU work, the paper's rule is {rule[0]['mean_gap_percent']:.1f} % above the bound at "
        f"{rule[0]['work_ratio']:.2f}, {begin}, and {rule[-1]['mean_gap_percent']:.1f} % at {rule[-1]['work_ratio']:.2f}."
    )


def publish_conditions(paper: Publication, runs: Sequence[Row]) -> list[Row]:
    """Publish how much faster than the paper's rule policies are under each condition."""
    result = []
    for condition, policy in product(dict.fromkeys(row["condition"] for row in runs), ROBUST):
        faster = of((row for row in runs if row["condition"] == condition), policy, "faster_percent", FEW)
        means = {"mean_faster_percent": float(faster.mean()), "least_faster_percent": float(faster.min())}
        result.append({"condition": condition, "policy": policy, "runs": len(faster)} | means)
    paper.table("conditions", result, "How much faster than the paper's rule, under conditions of which policies know nothing or much")
    figure = bars(result, x="condition", y="mean_faster_percent", series="policy", y_label="faster than the paper's rule (%)")
    paper.figure("conditions", figure, "Mean advantage over the paper's rule by condition, for prompts of two, four and eight chunks")
    return result


def publish_small(paper: Publication, small: Axes, limit_s: float) -> list[Row]:
    """Publish how far policies are above the best schedule of small cases."""
    rows = []
    for model, chunks, ratio in product(*small.values()):
        paper.step(f"best schedule: {BLOCKS} blocks of {model}, {chunks} chunks, CPU work {ratio:g} times that of the NPU")
        costs = small_costs(PHONES[0], model, chunks, SMALL_CHUNK, ratio)
        named = {"model": model, "chunks": chunks, "work_ratio": ratio_of_work(costs)}
        rows += [named | row for row in proven_gaps(costs, limit_s)]
    paper.table("small", rows, f"Makespan of {BLOCKS} blocks above the least, or above what is proven of it where that is not known")
    shown = [row | {"prompt": f"{row['chunks']} chunks, {row['model']}"} for row in rows if row["policy"] in SHOWN]
    shown.sort(key=lambda row: SHOWN.index(row["policy"]))
    shown.sort(key=lambda row: (row["chunks"], row["model"]))
    figure = lines(
        shown, x="work_ratio", y="gap_percent", series="policy", panel="prompt", share_y=True, across=2,
        x_label="CPU work over NPU work", y_label="above the proven bound (%)",
    )  # fmt: skip
    paper.figure("small", figure, f"Makespan of {BLOCKS} blocks above what is proven of the least")
    return rows


def publish_targets(paper: Publication, cases: Sequence[Row], conditions: Sequence[Row], small: Sequence[Row]) -> None:
    """Publish what was aimed at beside what came out, and say what was found."""
    few, least = ({name: of(cases, name, "faster_percent", chunks) for name in ("planned", "lookahead")} for chunks in (FEW, (1, 1000)))
    proven = [row for row in small if row["proven"]]
    above = {name: of(proven, name, "gap_percent") for name in ("planned", "lookahead", NEVER_WAITS, RULE)}
    faster = {row["condition"]: row["mean_faster_percent"] for row in conditions if row["policy"] == "planned"}
    small_targets: list[tuple[str, str, float, float]] = (
        [
            ("planned above the proven optimum, mean", "<=", 1.0, above["planned"].mean()),
            ("planned above the proven optimum, worst", "<=", 3.0, above["planned"].max()),
            ("lookahead above the proven optimum, mean", "<=", 4.0, above["lookahead"].mean()),
        ]
        if proven
        else []
    )
    targets = [
        *small_targets,
        ("planned faster than the rule, 2 to 8 chunks, mean", ">=", 6.0, few["planned"].mean()),
        ("planned faster than the rule, all cases, least", ">=", -0.1, least["planned"].min()),
        ("lookahead faster than the rule, 2 to 8 chunks, mean", ">=", 3.0, few["lookahead"].mean()),
        ("lookahead faster than the rule, all cases, least", ">=", -1.0, least["lookahead"].min()),
        ("planned faster than the rule, DRAM shared, mean", ">=", 4.0, faster["as expected"]),
        ("planned faster than the rule, 1/4 of DRAM, mean", ">=", 4.0, faster["1/4 of DRAM"]),
        ("what 10 % noise leaves of the lead of planned", ">=", 200.0 / 3.0, 100.0 * faster["10 % noise"] / faster["as expected"]),
    ]
    met = [found <= aim if sign == "<=" else found >= aim for _, sign, aim, found in targets]
    rows = [
        {"target": name, "aim": f"{sign} {aim:.3g} %", "found_percent": float(found), "met": bool(done)}
        for (name, sign, aim, found), done in zip(targets, met, strict=True)
    ]
    paper.table("targets", rows, "What was aimed at, and what came out")
    paper.conclude(say_gaps([row for row in cases if row["chunks"] > 1], few))
    paper.conclude(say_waiting(proven, above))
    missed = "; ".join(name for (name, *_), done in zip(targets, met, strict=True) if not done)
    where = "" if len(cases) > len(SCHEDULERS) * 100 else " by these few cases"
    paper.conclude(f"Targets met{where}: {sum(met)} of {len(met)}{f'; not met: {missed}' if missed else ''}.")


def say_gaps(several: Sequence[Row], few: Mapping[str, Any]) -> str:
    """Say how far policies are above the bound with several chunks, and how much faster than the paper's rule with few."""
    gap = {name: of(several, name, "gap_percent") for name in (RULE, "lookahead", "planned")}
    wins = 100.0 * (of(several, "fifo", "faster_percent") > SAME_PERCENT).mean()
    return (
        f"With several chunks ({len(gap[RULE])} cases), the paper's rule is {gap[RULE].mean():.1f} % above the lower bound on average, "
        f"lookahead {gap['lookahead'].mean():.1f} % and planned {gap['planned'].mean():.1f} %; plain fifo is faster than the rule in "
        f"{wins:.0f} % of them. With {FEW[0]} to {FEW[1]} chunks, planned is {few['planned'].mean():.1f} % faster than the rule on "
        f"average, lookahead {few['lookahead'].mean():.1f} %."
    )


def say_waiting(proven: Sequence[Row], above: Mapping[str, Any]) -> str:
    """Say how much of the gap to the optimum waiting on purpose closes."""
    if not proven:
        return f"In no small case an optimum was proven within {SOLVER_S:g} s."
    waits, planned, never = of(proven, "planned", "waits_percent"), above["planned"].mean(), above[NEVER_WAITS].mean()
    closed = f"{100.0 * (1.0 - planned / never):.0f} %" if never > planned else "nothing"
    return (
        f"Above the proven optima of {len(waits)} small cases, the paper's rule is {above[RULE].mean():.1f} % on average, lookahead "
        f"{above['lookahead'].mean():.1f} %, plans that never wait {never:.2f} % and those that may {planned:.2f} %: waiting closes "
        f"{closed} of what never waiting leaves. In {(waits > 0.0).sum()} of the plans the NPU waits on purpose, for up to "
        f"{waits.max():.1f} % of the time."
    )


def tell_decision_times(paper: Publication) -> None:
    """Tell, but don't publish, how long policies think on this machine: 8 chunks and 32 blocks."""
    case = make_case(PHONES[0], "llama-2-7b", OURS, prompt_tokens=2048)
    for each in compare_policies(case, list(SCHEDULERS)):
        paper.step(f"{each.result.timeline.scheduler}: {each.planning_s:.2f} s to prepare, {1e6 * each.decision_s:.1f} µs a decision")


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
