"""What does an NPU graph cost before and after it runs, and when does rebuilding it pay? (Xu et al. 2025, Fig 2)

A static graph, here per tensor and without shadow outliers, is set up, built, optimized, executed and freed. The paper does not
state the prompt of its execution time; 256 tokens are an assumption. Then one engine gets its graphs in three ways: one rebuilt for
the exact length of each prompt, chunk graphs that are built before the first prompt and pad it, and those saved earlier and loaded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from socsim.catalog import load_soc
from socsim.errors import SocsimError
from socsim.experiments import FORMATS, Publication, errors_sentence
from socsim.experiments.grid import MODELS, OURS, PHONES
from socsim.experiments.words import span
from socsim.measurements import load_table
from socsim.plots import lines, stacked_bars
from socsim.runs import Result, run
from socsim.specs import GraphLifeCycle

SOC, ENGINE = PHONES[0], OURS
TABLE, TOKENS = "llm_npu_fig2_npu_graph_ms", 256
PHASES = ("setup", "build", "optimize", "execute", "free")
COPIED, FITTED = ("setup", "free"), ("build", "optimize")
"""Phases that the hardware file takes over from the figure as they are, and those whose figures are fitted to it."""
LENGTHS = (100, 300, 700, 1024, 2048)
SAME_S = 1e-9
SHOWN = LENGTHS[1]
PROMPTS = (1, 2, 3, 4, 5, 7, 10, 20, 50, 100)
STATIC_ENGINE, PER_TENSOR = "npu-chunk", {"engine.precision.quantization": "per-tensor", "engine.precision.group_size": None}
REBUILT = {"engine.graph": "rebuilt", "engine.chunk_tokens": "prompt", "engine.prebuilt_chunk_tokens": []}
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate the phases of all models, or in short of two, and the ways to get graphs."""
    models, lengths = (MODELS[:2], LENGTHS[:3]) if quick else (MODELS, LENGTHS)
    with Publication(out, __file__, quick=quick, formats=formats, soc=SOC, engine=ENGINE, models=models, prompt_tokens=lengths) as paper:
        rows = [row for model in models for row in phases(model)]
        paper.table("phases", rows, f"Phases of one NPU graph of {TOKENS} tokens")
        parts = {f"{phase}_s": phase for phase in PHASES}
        figure = stacked_bars(totals(rows), x="model", parts=parts, published="published_s", y_label="time (s)", columns=1)
        hollow = "; hollow: published, all phases together" if any(row["published_latency_ms"] for row in rows) else ""
        paper.figure("phases", figure, f"Phases of one NPU graph of {TOKENS} tokens on {SOC}{hollow}")
        costs = [preparation(model, length) for model in models for length in lengths]
        paper.table("break_even", costs, "Up to how many prompts rebuilding pays, and from how many of one length on a graph of its own")
        figure = lines(
            [row for cost in costs if cost["model"] in models[::2] and cost["prompt_tokens"] == SHOWN for row in cumulative(cost)],
            x="prompts", y="time_s", series="graphs", panel="model", log_x=True, log_y=True, share_y=True, columns=1 if quick else 2,
            x_label="prompts", y_label="until last first token (s)",
        )  # fmt: skip
        paper.figure("break_even", figure, f"Time until the last prompt has its first token; all have different lengths, about {SHOWN}")
        judge(paper, rows, costs)


def life_cycle() -> GraphLifeCycle:
    """Return what static graphs cost on the NPU."""
    found = load_soc(SOC).processors["npu"].graph_life_cycle
    if found is None or found.load_bytes_per_s is None:
        raise SocsimError(f"{SOC}: processors.npu has no graph_life_cycle with load_bytes_per_s, which this experiment is about")
    return found


def phases(model: str) -> list[Row]:
    """Return the phases of one graph, beside those published; it executes for as long as the NPU is busy."""
    result = run(SOC, model, STATIC_ENGINE, prompt_tokens=TOKENS, overrides=PER_TENSOR)
    cycle, once = life_cycle(), result.case.preparation
    busy_s = (result.metrics["npu_utilization"] or 0.0) * (result.metrics["makespan_s"] or 0.0)
    seconds = dict(zip(PHASES, (cycle.setup_s, once.build_s, once.optimize_s, busy_s, cycle.free_s), strict=True))
    known = {row["phase"]: row for row in load_table(TABLE) if (row["soc"], row["model"]) == (SOC, model)}
    found = []
    for phase in PHASES:
        row = {"soc": SOC, "model": model, "phase": phase, "latency_ms": 1e3 * seconds[phase]}
        row |= dict.fromkeys(("published_latency_ms", "error_percent", "source", "fitted"))
        if phase in known:
            said, fitted = float(known[phase]["latency_ms"]), phase in COPIED + FITTED and known[phase]["split"] == "calibration"
            row |= {"published_latency_ms": said, "error_percent": 100.0 * (1e3 * seconds[phase] / said - 1.0)}
            row |= {"source": known[phase]["source"], "fitted": fitted}
        found.append(row)
    return found


def totals(rows: Sequence[Row]) -> list[Row]:
    """Return a row for each model with its phases side by side, and what was published of all together."""
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(row["model"], {"model": row["model"]})[f"{row['phase']}_s"] = row["latency_ms"] / 1e3
    for model, total in found.items():
        said = [row["published_latency_ms"] for row in rows if row["model"] == model]
        total["published_s"] = None if None in said else sum(said) / 1e3
    return list(found.values())


def preparation(model: str, length: int) -> Row:
    """Return what the ways to get graphs cost before and for a prompt, and how many prompts make one pay."""
    chunked = run(SOC, model, ENGINE, prompt_tokens=length)
    exact = run(SOC, model, ENGINE, prompt_tokens=length, overrides=REBUILT)
    cycle, once_s = life_cycle(), exact.case.preparation.charged_s
    built_s, loaded_s = chunked.case.preparation.total_s, chunked.case.preparation.load_s or 0.0
    chunks_s, graph_s = execution_s(chunked), execution_s(exact)
    # N prompts that need a graph each, of which all but the last are freed, take as long as N prompts on chunk graphs:
    more_s = once_s + cycle.free_s + graph_s - chunks_s
    pays_built, pays_loaded = (math.floor((ahead_s - cycle.setup_s + cycle.free_s) / more_s) for ahead_s in (built_s, loaded_s))
    # Where chunk graphs are there already, one more graph saves time with each prompt of its length, if it is faster at all:
    saved_s = chunks_s - graph_s
    return {
        "model": model,
        "prompt_tokens": length,
        "padded_percent": 100.0 * (1.0 - length / sum(chunk.rows for chunk in chunked.case.chunks)),
        "chunk_graphs_built_s": built_s,
        "chunk_graphs_loaded_s": loaded_s,
        "chunks_executed_s": chunks_s,
        "graph_rebuilt_s": once_s,
        "graph_executed_s": graph_s,
        "graph_freed_s": cycle.free_s,
        "break_even_prompts_built": pays_built,
        "break_even_prompts_loaded": pays_loaded,
        "own_graph_pays_from_prompts": math.ceil((once_s + cycle.free_s) / saved_s) if saved_s > SAME_S else None,
    }


def execution_s(result: Result) -> float:
    """Return the time to the first token without any preparation."""
    return (result.metrics["ttft_s"] or 0.0) - result.case.preparation.charged_s


def cumulative(cost: Row) -> list[Row]:
    """Return the time from the start to the first token of the last of some prompts, by the way to get graphs."""
    each_s = cost["graph_rebuilt_s"] + cost["graph_executed_s"]
    found = []
    for prompts in PROMPTS:
        times = {
            "rebuilt for each prompt": life_cycle().setup_s + prompts * each_s + (prompts - 1) * cost["graph_freed_s"],
            "chunk graphs, built": cost["chunk_graphs_built_s"] + prompts * cost["chunks_executed_s"],
            "chunk graphs, loaded": cost["chunk_graphs_loaded_s"] + prompts * cost["chunks_executed_s"],
        }
        found += [{"model": cost["model"], "graphs": graphs, "prompts": prompts, "time_s": time_s} for graphs, time_s in times.items()]
    return found


def judge(paper: Publication, rows: Sequence[Row], costs: Sequence[Row]) -> None:
    """Compare the phases with those published, and say when rebuilding pays."""
    predicted = [row for row in rows if row["phase"] not in COPIED]
    for row in predicted:
        if row["published_latency_ms"] is not None:
            assumed = f", {TOKENS} tokens assumed" if row["phase"] == "execute" else ""
            what = f"{row['phase']} an NPU graph ({row['model']}{assumed})"
            paper.claim(what, row["published_latency_ms"], row["latency_ms"], "ms", row["source"], fitted=row["fitted"])
    shares = [100.0 * total["optimize_s"] / sum(total[f"{phase}_s"] for phase in PHASES) for total in totals(rows)]
    errors = errors_sentence(predicted, "times to build, optimize and execute", ("phase", "model"))
    paper.conclude(f"Optimizing is {span(shares, 0)} % of a graph's life. {errors}")
    paper.conclude(f"{rebuilding(costs)} {own_graphs(costs)}")


def rebuilding(costs: Sequence[Row]) -> str:
    """Say for how many prompts a graph for each takes less time than chunk graphs for all."""
    built, loaded = (span((row[f"break_even_prompts_{way}"] for row in costs), 0) for way in ("built", "loaded"))
    return (
        f"By model and prompt length, a graph of its own for each prompt takes less time than building all chunk graphs of {ENGINE} for at "
        f"most {built} prompts, and than loading them for at most {loaded}."
    )


def own_graphs(costs: Sequence[Row]) -> str:
    """Say where a graph for one prompt length pays beside chunk graphs that are there, and how much these pad."""
    own = [row for row in costs if row["own_graph_pays_from_prompts"] is not None]
    said = f"Once these are there, a graph for just one prompt length pays in {len(own)} of {len(costs)} cases"
    if not own:
        return f"{said}."
    first = min(own, key=lambda row: row["own_graph_pays_from_prompts"])
    return (
        f"{said}, in which {span((row['padded_percent'] for row in own), 0)} % of rows would be padding, and from "
        f"{first['own_graph_pays_from_prompts']} prompts of that length on ({first['model']}, {first['prompt_tokens']:,} tokens)."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
