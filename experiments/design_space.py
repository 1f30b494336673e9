"""Which phone should one build for llm.npu: a faster NPU, more bandwidth, or cheaper synchronization?

Every combination of a factor on the NPU's rates, one on DRAM bandwidth (peak, achievable, and what each processor can draw), one on what
handing over between processors costs, and a chunk length. At every point each resource in turn is made free: the one that then helps most
bounds the prefill. As in the other what-ifs, the rates at which kernels bring weights in stay with the processors, not with DRAM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from socsim.catalog import load_engine, load_soc
from socsim.experiments import FORMATS, Publication
from socsim.experiments.grid import OURS, PHONES
from socsim.experiments.swept import swept
from socsim.plots import Column, category_map, heat_map, pareto
from socsim.sweeps.analysis import best_points, pareto_front

APART = True  # takes minutes, so `--all` leaves it out
SOC, MODEL, PROMPT = PHONES[0], "qwen1.5-1.8b", 1024
NPU = [0.25, 0.35, 0.5, 0.71, 1.0, 1.41, 2.0, 2.83, 4.0, 5.66, 8.0, 11.3]
DRAM = [0.125, 0.177, 0.25, 0.354, 0.5, 0.707, 1.0, 1.41, 2.0]
SYNC = [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
CHUNKS = [64, 128, 256, 384, 512, 1024]
USUAL_CHUNK = 256
QUICK: dict[str, list[Any]] = {"npu": [0.5, 1.0, 4.0], "dram": [0.25, 1.0], "sync": [0.0, 1.0], "chunk": [256, 512]}
METRICS = ("ttft_s", "prefill_tokens_per_s", "prefill_energy_j", "peak_memory_bytes", "npu_bubble_rate", "bottleneck", "gain_if_free")
PHONE, AIMS = ("npu", "dram", "sync"), ("ttft_s", "prefill_energy_j", "peak_memory_bytes")
LABELS = {"npu": "NPU (factor)", "dram": "DRAM bandwidth (factor)", "sync": "synchronization (factor)"}

Values = Mapping[str, NDArray[Any]]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Sweep the design space, or in short a corner of it, and publish maps, the Pareto front and what bounds the prefill where."""
    axes: dict[str, list[Any]] = QUICK if quick else {"npu": NPU, "dram": DRAM, "sync": SYNC, "chunk": CHUNKS}
    values = swept(spec(axes), out, jobs=1 if quick else None).values()
    everything = np.arange(len(values["ttft_s"]))
    with Publication(
        out, __file__, quick=quick, formats=formats, soc=SOC, engine=OURS, model=MODEL, prompt_tokens=PROMPT, axes=axes
    ) as paper:
        where = f"{MODEL}, {PROMPT:,} tokens, {OURS} on {SOC}"
        paper.table("design_space", rows(values, everything), f"Every point: {where}")
        front = pareto_front(np.column_stack([values[name] for name in AIMS]).astype(np.float64))
        chosen = np.flatnonzero(front)[np.argsort(values["ttft_s"][front], kind="stable")]
        paper.table("pareto", rows(values, chosen), f"Points that no other beats in time, energy and memory: {where}")
        draw_front(paper, values, front, where)
        draw_maps(paper, values, where)
        for sentence in (what_bounds, what_pays, what_chunk):
            paper.conclude(sentence(values))


def spec(axes: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return the sweep over some values of each axis."""
    mechanism, processors = load_engine(OURS).synchronization, load_soc(SOC).processors
    dram = ["soc.dram.peak_bytes_per_s", "soc.dram.achievable_bytes_per_s"]
    dram += [f"soc.processors.{name}.bandwidth_bytes_per_s" for name in processors]
    sync = [f"soc.synchronization.{mechanism}.{field}" for field in ("latency_s", "launch_work_s")]
    return {
        "base": {"soc": SOC, "model": MODEL, "engine": OURS, "prompt_tokens": PROMPT},
        "metrics": METRICS,
        "axes": [
            {"name": "npu", "path": "soc.processors.npu.speed", "values": axes["npu"], "relative": True},
            {"name": "dram", "path": dram, "values": axes["dram"], "relative": True},
            {"name": "sync", "path": sync, "values": axes["sync"], "relative": True},
            {"name": "chunk", "path": "chunk_tokens", "values": axes["chunk"]},
        ],
    }


def rows(values: Values, places: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return points as rows of a table."""
    shown = {**values, "peak_memory_gb": values["peak_memory_bytes"] / 1e9}
    columns = {name: shown[name][places].tolist() for name in (*PHONE, "chunk", *METRICS[:3], "peak_memory_gb", *METRICS[4:])}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def draw_front(paper: Publication, values: Values, front: NDArray[np.bool_], where: str) -> None:
    """Draw time and energy of all points, and which of them are on the front of time, energy and memory."""
    figure = pareto(
        Column("TTFT (s)", values["ttft_s"], log=True), Column("prefill energy (J)", values["prefill_energy_j"], log=True), front,
        color=chunks(values, np.arange(len(front)), values["chunk"]),
    )  # fmt: skip
    paper.figure("pareto", figure, f"All points, and those that no other beats in time, energy and memory: {where}")


def draw_maps(paper: Publication, values: Values, where: str) -> None:
    """Draw speed, bottleneck and best chunk over the NPU and one other axis, with the third as on the phone."""
    winners = values["chunk"][list(phones(values).values())]
    for across, fixed in (("dram", "sync"), ("sync", "dram")):
        usual = {name: column[values[fixed] == 1.0] for name, column in values.items()}
        best = best_points([usual["npu"], usual[across]], "ttft_s", usual["ttft_s"])
        x, y = Column(LABELS["npu"], usual["npu"][best], log=True), Column(LABELS[across], usual[across][best], log=across == "dram")
        kept = f"best chunk at each point, {LABELS[fixed].removesuffix(' (factor)')} as on the phone: {where}"
        speed = Column("prefill (tokens/s)", usual["prefill_tokens_per_s"][best])
        paper.figure(f"speed_{across}", heat_map(x, y, speed), f"Prefill speed; {kept}")
        bound = Column("bottleneck", usual["bottleneck"][best])
        paper.figure(f"bottleneck_{across}", category_map(x, y, bound), f"The resource that would help most if it cost nothing; {kept}")
        paper.figure(f"chunk_{across}", category_map(x, y, chunks(usual, best, winners)), f"Chunk length with the least TTFT; {kept}")


def chunks(values: Values, places: NDArray[np.int64], known: NDArray[np.int64]) -> Column:
    """Return chunk lengths as names, in colors that tell all those apart that are known."""
    names = {length: f"{length:,} tokens" for length in sorted(set(known.tolist()))}
    return Column(
        "chunk", np.array([names[length] for length in values["chunk"][places].tolist()], dtype=object), order=tuple(names.values())
    )


def phones(values: Values) -> dict[tuple[float, ...], int]:
    """Return the fastest point of each phone, which is a factor on each of the NPU, DRAM and synchronization."""
    best = best_points([values[name] for name in PHONE], "ttft_s", values["ttft_s"])
    return {tuple(float(values[name][place]) for name in PHONE): int(place) for place in best}


def what_bounds(values: Values) -> str:
    """Say which resource bounds how many phones, and what bounds the phone as it is."""
    best = phones(values)
    counted = Counter(values["bottleneck"][list(best.values())].tolist())
    shares = ", ".join(f"{name} {100 * count / len(best):.0f} %" for name, count in counted.most_common())
    own = values["bottleneck"][best[1.0, 1.0, 1.0]]
    return f"With the best chunk for each of {len(best):,} phones, prefill is bound by: {shares}. The phone as it is: {own}."


def what_pays(values: Values) -> str:
    """Say what the best value of each axis alone brings over the phone as it is, and what all of them bring together."""
    ttft_s = {phone: float(values["ttft_s"][place]) for phone, place in phones(values).items()}
    usual, names = (1.0, 1.0, 1.0), ("an NPU", "DRAM", "synchronization")
    ends = (*(max(values[name].tolist()) for name in ("npu", "dram")), min(values["sync"].tolist()))
    alone = [(*usual[:place], end, *usual[place + 1 :]) for place, end in enumerate(ends)]
    gains = [ttft_s[usual] / ttft_s[phone] for phone in (*alone, ends)]
    told = ", ".join(f"{name} x{end:g} {gain:.2f}" for name, end, gain in zip(names, ends, gains, strict=False))
    return f"Times as fast as the phone as it is, each with its best chunk: {told}; all three together {gains[-1]:.2f}."


def what_chunk(values: Values) -> str:
    """Say how often each chunk length is the best, and what staying with the usual one costs."""
    best, usual = phones(values), np.flatnonzero(values["chunk"] == USUAL_CHUNK)
    counted = Counter(values["chunk"][list(best.values())].tolist())
    shares = ", ".join(f"{chunk:,} tokens on {100 * count / len(best):.0f} %" for chunk, count in sorted(counted.items()))
    least = np.array([values["ttft_s"][best[tuple(float(values[name][place]) for name in PHONE)]] for place in usual])
    losses = 100.0 * (values["ttft_s"][usual] / least - 1.0)
    return (
        f"The fastest chunk is of {shares} of the phones; staying with {USUAL_CHUNK} everywhere costs {losses.mean():.1f} % on average and "
        f"{losses.max():.0f} % at most."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
