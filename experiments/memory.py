"""How much memory does a run take, by engine and part, and what do shared graphs and hot channels save? (Xu et al. 2025, Fig 17)

Peak memory of each engine stands beside the published totals. Then llm-npu with graphs that chunks share or that each chunk has for
itself, and with the float weights of hot channels or of all channels in memory, for a long prompt; what a phone has no room for is
computed all the same, and noted. Graph memory is what the NPU maps: weights, copies of them, and input and output tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from socsim.catalog import load_soc
from socsim.experiments import FORMATS, Publication, beside_published, errors_sentence, hollow
from socsim.experiments.grid import ENGINES, MODELS, OURS, PHONES
from socsim.measurements import load_table
from socsim.palette import SERIES
from socsim.plots import stacked_bars
from socsim.runs import make_case

SOC, MODEL, PROMPT = PHONES[1], "gemma-2b", 512
"""What Fig 17 was measured with."""
LONG_SOC, LONG_PROMPT = PHONES[0], 1024
GB = 1e9
OTHERS, OUTLIERS = "llm_npu_fig17_other_memory_gb", "llm-npu-outliers"
"""Published figures that are not an engine's, or of one that is not described; the part of llm-npu among them."""
TOTAL = "peak_memory_gb"
PARTS = {
    "weights_gb": "weights",
    "graph_weights_gb": "copies of weights",
    "graph_buffers_gb": "graph tensors",
    "shadow_weights_gb": "float weights",
    "kv_cache_gb": "KV cache",
    "activation_gb": "activations",
}
COLORS = dict(zip(PARTS, SERIES, strict=False))
PER_CHUNK = {"engine.graph": "per-chunk"}
ALL_CHANNELS = {"engine.hot_channel_fraction": 1.0, "engine.cold_outlier_fraction": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "shared, hot": {},
    "shared, all": ALL_CHANNELS,
    "per chunk, hot": PER_CHUNK,
    "per chunk, all": PER_CHUNK | ALL_CHANNELS,
}
"""Graphs, and channels whose float weights are in memory; the engine's own way first."""
COUNTED = "qwen1.5-1.8b"
"""The model of which the paper counts subgraphs: 24 blocks of six."""
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Compute all footprints, of variants those of two models in short, and publish parts and what sharing saves."""
    models = MODELS[: 2 if quick else None]
    grid: dict[str, Any] = {"soc": [SOC, LONG_SOC], "prompt": [PROMPT, LONG_PROMPT], "models": models, "engines": ENGINES}
    with Publication(out, __file__, quick=quick, formats=formats, **grid) as paper:
        engines = beside_published([footprint(SOC, MODEL, engine, PROMPT) for engine in ENGINES], TOTAL, TOTAL, place="Fig 17")
        others = [unsimulated(row) for row in load_table(OTHERS) if row["engine_or_part"] != OUTLIERS]
        paper.table("memory", engines + others, f"Peak memory, {PROMPT} tokens on {SOC}")
        variants = [
            footprint(LONG_SOC, model, OURS, LONG_PROMPT, name, overrides) for model in models for name, overrides in VARIANTS.items()
        ]
        paper.table("variants", variants, f"Peak memory of {OURS} by graphs and channels in memory, {LONG_PROMPT:,} tokens on {LONG_SOC}")
        draw(paper, engines, variants)
        sharing = [shared_graphs(model, variants) for model in models]
        paper.table("sharing", sharing, f"What shared graphs save: {OURS}, {LONG_PROMPT:,} tokens, shadow work not counted")
        judge(paper, engines, sharing)
        conclude(paper, engines, variants, sharing)


def draw(paper: Publication, engines: Sequence[Row], variants: Sequence[Row]) -> None:
    """Draw the parts of memory by engine, and by graphs and channels in memory."""
    used = {part: name for part, name in PARTS.items() if any(row[part] for row in engines)}
    figure = stacked_bars(
        engines, x="engine", parts=used, colors=COLORS, published=f"published_{TOTAL}", y_label="peak memory (GB)", columns=1,
    )  # fmt: skip
    paper.figure("memory", figure, f"Peak memory, {MODEL} with {PROMPT} tokens on {SOC}{hollow(engines, TOTAL)}")
    figure = stacked_bars(variants, x="variant", parts=PARTS, colors=COLORS, panel="model", y_label="peak memory (GB)")
    noted = ", ".join(f"{row['model']} ({row['variant']})" for row in variants if row["note"]) or "none"
    what = f"Peak memory of {OURS}, {LONG_PROMPT:,} tokens on {LONG_SOC}, graphs shared or per chunk, float weights of hot or all channels"
    paper.figure("variants", figure, f"{what}; more than the phone has: {noted}")


def footprint(soc: str, model: str, engine: str, prompt: int, variant: str = "", overrides: Row | None = None) -> Row:
    """Return the peak memory of a run and its parts, whether the phone has it or not."""
    case = make_case(soc, model, engine, prompt_tokens=prompt, overrides=(overrides or {}) | {"soc.dram.capacity_bytes": 1e15})
    room, found = load_soc(soc).dram.capacity_bytes, case.footprint
    return {
        "soc": soc,
        "model": model,
        "engine": engine,
        "prompt_tokens": prompt,
        **({"variant": variant} if variant else {}),
        TOTAL: found.total_bytes / GB,
        **{part: getattr(found, part.replace("_gb", "_bytes")) / GB for part in PARTS},
        "npu_memory_gb": found.npu_bytes / GB,
        "npu_sessions": found.npu_sessions,
        "note": f"more than the {room / GB:.0f} GB of the phone" if found.total_bytes > room else "",
    }


def unsimulated(row: dict[str, str]) -> Row:
    """Return the published total of an engine that cannot be simulated."""
    run = {"soc": row["soc"], "model": row["model"], "engine": row["engine_or_part"], "prompt_tokens": int(row["prompt_tokens"])}
    known = {f"published_{TOTAL}": float(row["memory_gb"]), "source": row["source"], "fitted": False}
    return run | {TOTAL: None} | known | {"note": "published; no such engine to simulate"}


def shared_graphs(model: str, variants: Sequence[Row]) -> Row:
    """Return how many subgraphs of a model's blocks chunks share, and what that saves, by count and in memory of graphs."""
    case = make_case(LONG_SOC, model, OURS, prompt_tokens=LONG_PROMPT, overrides={"engine.outlier_pruning_rate": 1.0})
    graph, chunks = case.costs.graph, len(case.chunks)
    kinds: dict[int, set[int]] = {}
    for subgraph in graph.subgraphs[: graph.prefill_count]:
        if subgraph.block < case.llm.num_hidden_layers:
            kinds.setdefault(subgraph.position, set()).add(id(subgraph.work))
    each = {row["variant"]: row for row in variants if row["model"] == model}
    shared, copied = (each[name]["npu_memory_gb"] for name in ("shared, hot", "per chunk, hot"))
    graphs = sum(map(len, kinds.values()))
    return {
        "model": model,
        "prompt_tokens": LONG_PROMPT,
        "chunks": chunks,
        "subgraphs": len(kinds),
        "shared_subgraphs": sum(len(works) == 1 for works in kinds.values()),
        "graphs_shared": graphs,
        "graphs_per_chunk": chunks * len(kinds),
        "fewer_graphs_percent": 100.0 * (1.0 - graphs / (chunks * len(kinds))),
        "graph_memory_shared_gb": shared,
        "graph_memory_per_chunk_gb": copied,
        "saved_gb": copied - shared,
        "saved_percent": 100.0 * (1.0 - shared / copied),
        "saved_of_peak_percent": 100.0 * (1.0 - each["shared, hot"][TOTAL] / each["per chunk, hot"][TOTAL]),
    }


def published_sharing() -> dict[str, str]:
    """Return what was published of shared graphs: ``shared`` and ``total`` subgraphs, ``mem_saved_GB``, and the ``source``."""
    fact = find(load_table("soc_facts"), id="graph.share")
    return dict(part.split(": ") for part in fact["value"].split("; ")) | {"source": fact["source"]}


def find(rows: Sequence[Row], **fields: str) -> Row:
    """Return the first row with some values."""
    return next(row for row in rows if all(row[name] == value for name, value in fields.items()))


def judge(paper: Publication, engines: Sequence[Row], sharing: Sequence[Row]) -> None:
    """Compare totals, outlier weights and what sharing saves with what was published."""
    for row in engines:
        what = f"peak memory of {row['engine']} ({MODEL}, {PROMPT} tokens)"
        paper.claim(what, row[f"published_{TOTAL}"], row[TOTAL], "GB", row["source"], fitted=row["fitted"])
    ours, outliers = find(engines, engine=OURS), find(load_table(OTHERS), engine_or_part=OUTLIERS)
    what = f"float weights of outlier channels ({MODEL}, {PROMPT} tokens)"
    paper.claim(what, float(outliers["memory_gb"]), ours["shadow_weights_gb"], "GB", outliers["source"])
    said, counted = published_sharing(), find(sharing, model=COUNTED)
    what = f"graph memory that sharing saves ({COUNTED}, {LONG_PROMPT:,} tokens)"
    paper.claim(what, float(said["mem_saved_GB"]), counted["saved_gb"], "GB", said["source"])


def conclude(paper: Publication, engines: Sequence[Row], variants: Sequence[Row], sharing: Sequence[Row]) -> None:
    """Say what the paper's engine takes, what sharing saves, and what hot channels take."""
    ours, counted, said = find(engines, engine=OURS), find(sharing, model=COUNTED), published_sharing()
    hot, full, copied = (find(variants, model=COUNTED, variant=name) for name in ("shared, hot", "shared, all", "per chunk, hot"))
    copies_gb, saved_gb = copied["graph_weights_gb"], float(said["mem_saved_GB"])
    paper.conclude(
        f"{OURS} takes {ours[TOTAL]:.1f} GB for {MODEL}, {ours['weights_gb']:.1f} GB of them weights. "
        f"{errors_sentence(engines, 'totals', ('engine',))}"
    )
    paper.conclude(
        f"By the layout, chunks share {counted['shared_subgraphs']} of {counted['subgraphs']} subgraphs of {COUNTED} (published: "
        f"{said['shared']} of {said['total']}): {counted['chunks']} chunks need {counted['fewer_graphs_percent']:.1f} % fewer graphs, and "
        f"{counted['saved_percent']:.1f} % ({counted['saved_gb']:.1f} GB) less memory for them. The published saving of "
        f"{saved_gb:.1f} GB is {saved_gb / copies_gb:.1f} times the int8 weights of all further copies ({copies_gb:.1f} GB)."
    )
    hot_mb, full_mb, ours_mb = (1000 * row["shadow_weights_gb"] for row in (hot, full, ours))
    said_mb = 1000 * float(find(load_table(OTHERS), engine_or_part=OUTLIERS)["memory_gb"])
    paper.conclude(
        f"Float weights of hot channels take {hot_mb:.0f} MB for {COUNTED}, of all channels of kept linears {full_mb:.0f} MB; of hot ones "
        f"for {MODEL} {ours_mb:.0f} MB, where {said_mb:.0f} MB were published."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
