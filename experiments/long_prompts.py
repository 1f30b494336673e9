"""What do long prompts cost in time, energy and memory, and where does the bottleneck move? (256 to 131,072 tokens)

The model's context is 8,192 tokens. Longer prompts are simulated with a longer one (``model.max_position_embeddings``): they cost what
they would, but the model was not trained for them. The paper measures up to 1,024 tokens (Xu et al. 2025, Fig 14).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from socsim.bounding import bound_of
from socsim.catalog import load_model
from socsim.cost import PARTS
from socsim.errors import SocsimError
from socsim.experiments import FORMATS, Publication, beside_published, errors_sentence, origin
from socsim.experiments.grid import OURS, PHONES
from socsim.experiments.words import changes
from socsim.plots import lines
from socsim.runs import Result, run

SOC, MODEL = PHONES[0], "gemma-2b"
IN_ORDER, CPU, GPU = f"{OURS} in order", "llama.cpp-cpu", "tflite-gpu"
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    CPU: (CPU, {}),
    GPU: (GPU, {}),
    OURS: (OURS, {}),
    IN_ORDER: (OURS, {"engine.scheduler": "in-order"}),
}
"""Engine and settings of each series."""
LENGTHS, QUICK = tuple(2**power for power in range(8, 18)), 2048
SPEED, ENERGY, BUBBLES = "prefill_tokens_per_s", "energy_j_per_token", "npu_bubble_percent"
PARTS_S = {"linears": "linear_s", "attention": "attention_s", "element-wise": "float_s"}
PUBLISHED = f"published_{SPEED}"
SHORT, LONG = 256, 1024
"""Published prompt lengths whose speeds are compared."""
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Simulate prompts of all lengths, or in short up to 2,048 tokens."""
    lengths = [length for length in LENGTHS if length <= QUICK or not quick]
    with Publication(out, __file__, quick=quick, formats=formats, soc=SOC, model=MODEL, systems=[*SYSTEMS], prompt_tokens=lengths) as paper:
        rows = []
        for length in lengths:
            paper.step(f"{length:,} tokens")
            rows += [prefill(system, length) for system in SYSTEMS]
        rows = beside_published(rows, SPEED, SPEED, place="Fig 14")
        paper.table("long_prompts", rows, f"Prefill of {MODEL} by prompt length; linear, attention, float: busy time of all processors")
        axes: dict[str, Any] = {"x": "prompt_tokens", "y": "value", "log_x": True, "x_label": "prompt (tokens)", "panel": "panel"}
        beyond = f"; prompts above {load_model(MODEL).max_position_embeddings:,} tokens exceed the model's context"
        hollow = "; hollow: published" if any(row[PUBLISHED] is not None for row in rows) else ""
        points = panels(rows, {SPEED: "prefill speed (tokens/s)", ENERGY: "prefill energy (J/token)"})
        figure = lines(points, series="system", published="published", log_y=True, y_label="", across=2, **axes)
        paper.figure("speed", figure, f"Prefill of {MODEL} on {SOC}, power of the whole device{hollow}{beyond}")
        points = panels(rows, {"peak_memory_gb": "peak memory (GB)", BUBBLES: "NPU bubble rate (%)"})
        figure = lines(points, series="system", y_label="", across=2, **axes)
        paper.figure("memory", figure, f"Memory and NPU bubbles of {MODEL} on {SOC}{beyond}")
        points = [
            row | {"panel": row["system"], "part": part, "value": row.get(column)}
            for row in rows
            if row["system"] != IN_ORDER  # does the same work
            for part, column in PARTS_S.items()
        ]
        figure = lines(points, series="part", log_y=True, share_y=True, y_label="busy (s)", **axes)
        paper.figure("parts", figure, f"Busy time of all processors by kind of work, {MODEL} on {SOC}{beyond}")
        judge(paper, rows)


def prefill(system: str, length: int) -> Row:
    """Return what the prefill of a prompt costs, and what bounds it; without figures if it cannot run, with a note why."""
    engine, settings = SYSTEMS[system]
    context = load_model(MODEL).max_position_embeddings
    overrides = settings | ({"model.max_position_embeddings": length} if length > context else {})
    row: Row = {"soc": SOC, "model": MODEL, "system": system, "engine": engine, "prompt_tokens": length, "overrides": overrides}
    try:
        result = run(SOC, MODEL, engine, prompt_tokens=length, overrides=overrides)
    except SocsimError as error:  # such as a phone whose memory it does not fit
        return row | {SPEED: None, "note": str(error)}
    bound = bottleneck(result) if system != IN_ORDER else {}  # takes long
    return row | figures(result) | bound | {"note": "beyond the model's context" if length > context else None}


def figures(result: Result) -> Row:
    """Return time, energy, memory and bubbles of a run, and the busy time of all processors by kind of work."""
    record, busy_s = result.record, busy_by_part(result)
    return {
        "ttft_s": record["ttft_s"],
        SPEED: record[SPEED],
        "prefill_energy_j": record["prefill_energy_j"],
        ENERGY: record["prefill_energy_j"] / record["prompt_tokens"],
        "peak_memory_gb": record["peak_memory_bytes"] / 1e9,
        "kv_cache_gb": record["kv_cache_bytes"] / 1e9,
        BUBBLES: 100.0 * record["npu_bubble_rate"] if record["npu_utilization"] else None,
        **{column: sum(s for (_, kind), s in busy_s.items() if kind == part) for part, column in PARTS_S.items()},
    }


def bottleneck(result: Result) -> Row:
    """Return what bounds a run, with the kind of work that takes most of it if it is a processor's, and the gain without it."""
    bound = bound_of(result)
    processor, busy_s = bound.resource.processor if bound.resource else None, busy_by_part(result)
    heaviest = max(PARTS_S, key=lambda part: busy_s[processor, part]) if processor else None
    return {"bottleneck": bound.bottleneck, "heaviest_work": heaviest, "gain_if_free": bound.gain_if_free}


def busy_by_part(result: Result) -> dict[tuple[str, str], float]:
    """Return the busy time of each processor in the prefill by kind of work."""
    graph, parts_s = result.timeline.graph, result.case.costs.parts_s
    busy_s: dict[tuple[str, str], float] = {}
    for name in graph.processors:
        own = [index for index, subgraph in enumerate(graph.subgraphs[: graph.prefill_count]) if subgraph.processor == name]
        total = dict(zip(PARTS, parts_s[own].sum(axis=0).tolist(), strict=True))
        busy_s |= {(name, part): total[column.removesuffix("_s")] for part, column in PARTS_S.items()}
    return busy_s


def panels(rows: Sequence[Row], columns: dict[str, str]) -> list[Row]:
    """Return a point for each row and column, with the panel that a column has; order matters to speed and bubbles only."""
    return [
        row | {"panel": panel, "value": row.get(column), "published": row.get(f"published_{column}")}
        for column, panel in columns.items()
        for row in rows
        if row["system"] != IN_ORDER or column in (SPEED, BUBBLES)
    ]


def judge(paper: Publication, rows: Sequence[Row]) -> None:
    """Compare how speed grows with the prompt where it was published, and say what bounds long prompts."""
    known = {system: {row["prompt_tokens"]: row for row in rows if row["system"] == system and row[SPEED]} for system in SYSTEMS}
    for system, found in known.items():
        ends = [found[length] for length in (SHORT, LONG) if length in found and found[length][PUBLISHED] is not None]
        if len(ends) == 2 and ends[0]["source"] == ends[1]["source"]:
            said, simulated = (ends[1][name] / ends[0][name] for name in (PUBLISHED, SPEED))
            paper.claim(f"prefill speed of {system} at {LONG:,} over {SHORT} tokens ({MODEL})", said, simulated, "x", **origin(ends))
    paper.conclude(growth([*known[OURS].values()]))
    paper.conclude(crossings(known))
    longest = max((row["prompt_tokens"] for row in rows if row[PUBLISHED] is not None), default=None)
    beyond = f" All beyond {longest:,} tokens is extrapolated." if longest else ""
    paper.conclude(errors_sentence(rows, "speeds", ("system", "prompt_tokens")) + beyond)


def growth(ours: Sequence[Row]) -> str:
    """Say how speed, energy, memory and bubbles change up to the longest prompt, and what bounds it."""
    best, last = max(ours, key=lambda row: row[SPEED]), ours[-1]
    bounds = [row["bottleneck"] + (f" ({row['heaviest_work']})" if row["heaviest_work"] else "") for row in ours]
    lengths = [f"{row['prompt_tokens']:,}" for row in ours]
    return (
        f"{OURS} prefills {MODEL} fastest with {best['prompt_tokens']:,} tokens, at {best[SPEED]:.0f} tokens/s and "
        f"{1e3 * best[ENERGY]:.1f} mJ a token. With {lengths[-1]}, the longest prompt, these are {last[SPEED]:.0f} tokens/s and "
        f"{1e3 * last[ENERGY]:.1f} mJ; it takes {last['peak_memory_gb']:.1f} GB, and the bubble rate of the NPU is {last[BUBBLES]:.0f} %. "
        f"What bounds the prefill, by rising length from {lengths[0]} tokens on: {changes([*zip(lengths, bounds, strict=True)])}."
    )


def crossings(known: dict[str, dict[int, Row]]) -> str:
    """Say where attention outgrows linears, what the order of subgraphs brings, and where the GPU is the faster one."""
    ours, in_order = known[OURS], known[IN_ORDER]
    heavy: dict[str, list[str]] = {}
    for system, found in known.items():
        if system != IN_ORDER:  # does the same work
            heavy.setdefault(where(found, lambda row: row["attention_s"] > row["linear_s"]), []).append(system)
    gains = [100.0 * (row[SPEED] / in_order[length][SPEED] - 1.0) for length, row in ours.items() if length in in_order]
    faster = where(known[GPU], lambda row: row["prompt_tokens"] in ours and row[SPEED] > ours[row["prompt_tokens"]][SPEED])
    places = [f"{place} ({', '.join(systems)})" for place, systems in heavy.items()]
    return (
        f"Attention takes longer than all linears {', '.join(places)}. "
        f"Out-of-order execution changes the speed of in-order by {min(gains):+z.0f} to {max(gains):+z.0f} %. {GPU} is faster than {OURS} "
        f"{faster}."
    )


def where(found: dict[int, Row], holds: Callable[[Row], bool]) -> str:
    """Say with which prompt lengths something holds."""
    lengths = sorted(found)
    held = [length for length in lengths if holds(found[length])]
    if not held:
        return "at no length"
    if held == lengths[-len(held) :]:
        return f"from {held[0]:,} tokens on"
    return f"with {' and '.join(f'{length:,}' for length in held)} tokens"


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
