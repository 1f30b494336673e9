"""How long should a chunk be: latency per token on the NPU against rows that only pad the prompt? (Xu et al. 2025, Fig 8)

Long chunks use the NPU better until their tensors no longer fit on its chip, but pad more. First come the graphs of one block, measured
and modeled; then whole prompts, with one chunk length for all of their chunks: no shorter graph is there for the rest of a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from socsim.catalog import load_model, load_soc
from socsim.errors import SocsimError
from socsim.experiments import FORMATS, Publication, errors_sentence, origin
from socsim.experiments.grid import MODELS, OURS, PHONES
from socsim.measurements import OperatorRow, load_operator_rows
from socsim.plots import lines
from socsim.prediction import predict_latency
from socsim.runs import run

SOC, ENGINE = PHONES[0], OURS
TABLE = "operators_llm_npu_fig8.csv"
GRAPHS = {"QKV": ("q_proj", "k_proj", "v_proj"), "FFN": ("gate_proj", "up_proj", "down_proj")}
BOTH = "QKV and FFN"
LENGTHS, USUAL, OTHERS = (32, 64, 128, 256, 512, 1024), 256, (64, 1024)
PROMPTS = (100, 300, 700, 1024, 2048)
LATENCIES = ("latency_ms_per_token", "published_latency_ms_per_token")
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Compare the measured graphs of a block, and simulate prompts by chunk length; in short fewer models and prompts."""
    models, prompts = (MODELS[:2], PROMPTS[1:4]) if quick else (MODELS, PROMPTS)
    with Publication(out, __file__, quick=quick, formats=formats, soc=SOC, engine=ENGINE, models=models, prompt_tokens=prompts) as paper:
        graphs = with_sums([block_graph(row) for row in load_operator_rows() if row.where.startswith(TABLE)])
        if graphs:
            publish_graphs(paper, graphs)
        runs = [prefill(model, prompt, length) for model in models for prompt in prompts for length in LENGTHS]
        paper.table("chunk_length", runs, "Time to first token and padding by chunk length")
        shown = [row | {"prompt": f"{row['prompt_tokens']:,} tokens"} for row in runs]
        axes: dict[str, Any] = {"x": "chunk_tokens", "series": "prompt", "log_x": True, "x_label": "chunk (tokens)"}
        figure = lines(shown, y="ttft_s", panel="model", log_y=True, y_label="TTFT (s)", **axes)
        paper.figure("chunk_length", figure, f"Time to first token of {ENGINE} on {SOC} by chunk length, for prompts of several lengths")
        first = [row for row in shown if row["model"] == models[0] and row["prompt_tokens"] % LENGTHS[-1]]
        figure = lines(first, y="padded_percent", y_label="rows that pad (%)", columns=1, **axes)
        paper.figure("padding", figure, "Rows that only pad a prompt, by chunk length; the same for all models")
        best = [best_length(runs, model, prompt) for model in models for prompt in prompts]
        paper.table("best_length", best, f"Chunk length with the least time to first token, and how much longer {USUAL} tokens take")
        judge(paper, graphs, best)


def publish_graphs(paper: Publication, graphs: Sequence[Row]) -> None:
    """Publish measured graphs of a block beside modeled ones."""
    paper.table("graphs", graphs, "NPU graphs of one block by chunk length")
    figure = lines(
        graphs, x="chunk_tokens", y=LATENCIES[0], series="graph", panel="model", published=LATENCIES[1],
        log_x=True, log_y=True, share_y=True, across=2, x_label="chunk (tokens)", y_label="latency (ms/token)",
    )  # fmt: skip
    paper.figure("graphs", figure, f"NPU graphs of one block on {SOC}; hollow: published")


def block_graph(row: OperatorRow) -> Row:
    """Return a measured graph of a block with what the cost model says of it, each by token."""
    widths, rows = [(product.inner, product.columns) for product in row.products], row.products[0].rows
    known = ((model, graph) for model in MODELS for graph, names in GRAPHS.items() if widths == shapes(model, names))
    model, graph = next(known, (None, None))
    if model is None:
        raise SocsimError(f"{row.where}: these products are no {' or '.join(GRAPHS)} of {', '.join(MODELS)}")
    modeled, measured = (1e3 * seconds / rows for seconds in (predict_latency(row, load_soc(row.soc)), row.latency_s))
    named = {"soc": row.soc, "model": model, "graph": graph, "chunk_tokens": rows}
    return compared(named, modeled, measured) | {"source": row.source, "fitted": row.split == "calibration"}


def shapes(model: str, names: Sequence[str]) -> list[tuple[int, int]]:
    """Return inputs and outputs of some linears; none of a linear that the model does not have."""
    known = load_model(model).linear_shapes
    return [known[name] for name in names if name in known]


def compared(named: Row, modeled: float, measured: float) -> Row:
    """Return latencies by token with their error."""
    return named | {LATENCIES[0]: modeled, LATENCIES[1]: measured, "error_percent": 100.0 * (modeled / measured - 1.0)}


def with_sums(graphs: Sequence[Row]) -> list[Row]:
    """Return graphs, and for each model and chunk length all of them together, where all were measured."""
    sums = []
    for soc, model, length in dict.fromkeys((row["soc"], row["model"], row["chunk_tokens"]) for row in graphs):
        own = [row for row in graphs if (row["soc"], row["model"], row["chunk_tokens"]) == (soc, model, length)]
        if {row["graph"] for row in own} == set(GRAPHS):
            named = {"soc": soc, "model": model, "graph": BOTH, "chunk_tokens": length}
            modeled, measured = (sum(row[name] for row in own) for name in LATENCIES)
            sums.append(compared(named, modeled, measured) | origin(own))
    return [*graphs, *sums]


def prefill(model: str, prompt: int, length: int) -> Row:
    """Return the time to first token of a prompt in chunks of one length, and the share of rows that pad it."""
    result = run(SOC, model, ENGINE, prompt_tokens=prompt, chunk_tokens=length, overrides={"engine.prebuilt_chunk_tokens": []})
    rows = sum(chunk.rows for chunk in result.case.chunks)
    return {
        "soc": SOC,
        "model": model,
        "engine": ENGINE,
        "prompt_tokens": prompt,
        "chunk_tokens": length,
        "chunks": len(result.case.chunks),
        "padded_percent": 100.0 * (1.0 - prompt / rows),
        "ttft_s": result.metrics["ttft_s"],
        "ttft_ms_per_token": 1e3 * (result.metrics["ttft_s"] or 0.0) / prompt,
        "npu_bubble_percent": 100.0 * (result.metrics["npu_bubble_rate"] or 0.0),
    }


def best_length(runs: Sequence[Row], model: str, prompt: int) -> Row:
    """Return the chunk length with the least time to first token, the longest of equal ones, beside the usual one."""
    own = [row for row in runs if (row["model"], row["prompt_tokens"]) == (model, prompt)]
    best = min(reversed(own), key=lambda row: row["ttft_s"])
    usual = next(row for row in own if row["chunk_tokens"] == USUAL)
    return {
        "model": model,
        "prompt_tokens": prompt,
        "best_chunk_tokens": best["chunk_tokens"],
        "ttft_s": best["ttft_s"],
        "padded_percent": best["padded_percent"],
        f"ttft_with_{USUAL}_s": usual["ttft_s"],
        f"padded_with_{USUAL}_percent": usual["padded_percent"],
        "longer_percent": 100.0 * (usual["ttft_s"] / best["ttft_s"] - 1.0),
    }


def judge(paper: Publication, graphs: Sequence[Row], best: Sequence[Row]) -> None:
    """Compare what chunk length does to a block's graphs, and say which one prompts should have."""
    sums = [row for row in graphs if row["graph"] == BOTH]
    found = [
        claim_lengths(paper, model, [row for row in sums if row["model"] == model]) for model in dict.fromkeys(row["model"] for row in sums)
    ]
    single = [row | {"chunk": f"chunks of {row['chunk_tokens']:,} tokens"} for row in graphs if row["graph"] != BOTH]
    if found:
        paper.conclude(f"A block's {BOTH} graphs take the least time per token with chunks of {' and '.join(found)}.")
    paper.conclude(errors_sentence(single, "latencies of such graphs", ("graph", "model", "chunk")))
    worst = max(best, key=lambda row: row["longer_percent"])
    rest = [row["longer_percent"] for row in best if row["prompt_tokens"] > USUAL]
    soonest = sum(row["longer_percent"] == 0.0 for row in best)
    paper.conclude(
        f"Whole prompts have their first token soonest with chunks of {USUAL} tokens in {soonest} of {len(best)} cases, and at most "
        f"{max(rest):.0f} % later with them if the prompt is longer than a chunk. Without shorter graphs, they cost most in "
        f"{worst['model']} with {worst['prompt_tokens']:,} tokens ({worst['longer_percent']:+.0f} % over {worst['best_chunk_tokens']})."
    )


def claim_lengths(paper: Publication, model: str, sums: Sequence[Row]) -> str:
    """Compare which chunk length takes the least time per token, and what other lengths take; return the first in words."""
    by_length = {row["chunk_tokens"]: row for row in sums}
    modeled, said = (min(by_length, key=lambda length: by_length[length][name]) for name in LATENCIES)
    paper.claim(f"chunk length with the least latency per token of {BOTH} ({model})", said, modeled, "tokens", **origin(sums))
    for length in OTHERS:
        pair = [by_length[each] for each in (length, USUAL) if each in by_length]
        if len(pair) == 2 and pair[0]["source"] == pair[1]["source"]:
            simulated, published = (pair[0][name] / pair[1][name] for name in LATENCIES)
            what = f"latency per token of {BOTH} at {length:,} over {USUAL} tokens ({model})"
            paper.claim(what, published, simulated, "x", **origin(pair))
    return f"{modeled:,} tokens for {model} (published: {said:,})"


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
