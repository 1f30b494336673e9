"""How fast are matrix products on NPU, CPU and GPU, and what holds a model's subgraphs back? (Xu et al. 2025, Table 3)

Measured products and graphs of products stand beside what the cost model says of them. Then every processor gets its roofline,
what its DRAM bandwidth and its peak allow, with the subgraphs of one prompt and of one decode step below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from socsim.catalog import load_soc
from socsim.experiments import FORMATS, Publication, geometric_mean
from socsim.measurements import load_operator_rows
from socsim.plots import latency_by_shape
from socsim.plots.roofline import attainable_tops, roofline
from socsim.runs import make_case
from socsim.validation import validate_operators

SOC, MODEL, ENGINES = "snapdragon-8-gen-3", "qwen1.5-1.8b", ("llm-npu", "llama.cpp-cpu", "mlc-gpu")
OURS, PROMPT, QUICK_PROMPT = ENGINES[0], 1024, 256
TABLE, SOURCE = "operators_llm_npu_table3.csv", "Xu et al. 2025, Table 3"
NPU, CPU, GPU, SLOW = ("npu", "int8"), ("cpu", "int8"), ("gpu", "fp16"), ("npu", "software-2024")
TERA, GIGA = 1e12, 1e9
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Compare all measured products, or in short those of Table 3, and publish them with the rooflines."""
    prompt = QUICK_PROMPT if quick else PROMPT
    with Publication(out, __file__, quick=quick, formats=formats, soc=SOC, model=MODEL, engines=ENGINES, prompt_tokens=prompt) as paper:
        measured = [row for row in load_operator_rows() if row.where.startswith(TABLE) or not quick]
        validated: list[Row] = [
            {str(name): value for name, value in row.items()} for row in validate_operators(measured).to_dict("records")
        ]
        rows = [product(row) for row in validated]
        paper.table("products", rows, "Latency of matrix products, modeled and measured; 'A >B': B's input is made from what stands before")
        paper.figure("products", latency_by_shape(validated), f"Matrix products on {SOC}; hollow: measured")
        own = [row for row, source in zip(rows, measured, strict=True) if source.where.startswith(TABLE)]
        ratios = speed_ups(own)
        paper.table("speed_ups", ratios, "How many times as fast int8 on the NPU is, by product of Table 3")
        points = [point for engine in ENGINES for point in subgraphs(engine, prompt)]
        large = [point for point in points if point["stage"] != "final_norm"]  # one row, far below all others
        paper.figure(
            "roofline",
            roofline(peaks(), large),
            f"Subgraphs of {MODEL} ({prompt:,} prompt tokens, one decode step) under what {SOC} attains",
        )
        paper.table("subgraphs", points, "Subgraphs under the roofline; attained: share of what bandwidth and peak of the data type allow")
        judge(paper, rows, ratios, points)


def product(row: Row) -> Row:
    """Return a modeled and a measured product as it stands in the table."""
    named = {name: row[name] for name in ("soc", "processor", "data_type", "shape")}
    latencies = {"latency_ms": 1e3 * row["predicted_s"], "published_latency_ms": 1e3 * row["measured_s"]}
    return named | latencies | {name: row[name] for name in ("error_percent", "split", "source")}


def speed_ups(rows: Sequence[Row]) -> list[Row]:
    """Return how many times as fast int8 on the NPU is as each other way, published and modeled, for each product."""
    known = {(row["shape"], row["processor"], row["data_type"]): row for row in rows}
    found = []
    for shape in dict.fromkeys(row["shape"] for row in rows):
        for way in (CPU, GPU, SLOW):
            ours, other = known[shape, *NPU], known[shape, *way]
            speed_up, said = (other[name] / ours[name] for name in ("latency_ms", "published_latency_ms"))
            error = 100.0 * (speed_up / said - 1.0)
            named = {"shape": shape, "processor": way[0], "data_type": way[1]}
            found.append(named | {"speed_up": speed_up, "published_speed_up": said, "error_percent": error})
    return found


def peaks() -> list[Row]:
    """Return the roofs of each processor, one for each data type that it multiplies without converting operands to another."""
    known = load_soc(SOC).processors
    return [
        roof(name, data_type)
        for name in ("npu", "cpu", "gpu")
        for data_type, chosen in known[name].throughput.items()
        if not isinstance(chosen, str) or chosen in known[name].paths
    ]


def roof(name: str, data_type: str) -> Row:
    """Return what bounds a processor: its DRAM bandwidth, and its peak in a data type."""
    soc = load_soc(SOC)
    processor = {str(each): figures for each, figures in soc.processors.items()}[name]
    return {
        "processor": name,
        "data_type": data_type,
        "peak_tops": processor.rates(data_type).peak_ops_per_s * processor.speed / TERA,
        "bandwidth_gb_per_s": min(processor.bandwidth_bytes_per_s, soc.dram.achievable_bytes_per_s) / GIGA,
    }


def subgraphs(engine: str, prompt: int) -> list[Row]:
    """Return the subgraphs of a prompt and one decode step as points under the roofline, those that are alike once."""
    costs = make_case(SOC, MODEL, engine, prompt_tokens=prompt, output_tokens=2).costs
    roofs: dict[tuple[str, str], Row] = {}
    found: dict[tuple[Any, ...], Row] = {}
    for subgraph, expected_ns, moved in zip(costs.graph.subgraphs, costs.expected_ns, costs.dram_bytes.tolist(), strict=True):
        heaviest = max(subgraph.work.operators, key=lambda operator: operator.ops)
        key = subgraph.processor, heaviest.data_type
        bounds = roofs[key] if key in roofs else roofs.setdefault(key, roof(*key))
        intensity, achieved = subgraph.work.ops / moved, subgraph.work.ops / expected_ns / 1e3
        attainable = attainable_tops(intensity, bounds["peak_tops"], bounds["bandwidth_gb_per_s"])
        point = {
            "engine": engine,
            "processor": subgraph.processor,
            "stage": subgraph.stage,
            "chunk": subgraph.chunk,
            "block": subgraph.block,
            "data_type": heaviest.data_type,
            "gops": subgraph.work.ops / GIGA,
            "dram_mb": moved / 1e6,
            "latency_ms": expected_ns / 1e6,
            "intensity_ops_per_byte": intensity,
            "achieved_tops": achieved,
            "attainable_tops": attainable,
            "attained_percent": 100.0 * achieved / attainable,
        }
        found.setdefault((subgraph.stage, subgraph.processor, subgraph.work.ops, moved), point)
    return list(found.values())


def judge(paper: Publication, rows: Sequence[Row], ratios: Sequence[Row], points: Sequence[Row]) -> None:
    """Compare the speed-ups of Table 3, and say how far products are off and subgraphs from their roofs."""
    means = {}
    for way, what in ((CPU, "CPU int8"), (GPU, "GPU fp16"), (SLOW, "NPU fp16 with the software of 2024")):
        chosen = [row for row in ratios if (row["processor"], row["data_type"]) == way]
        said, modeled = (geometric_mean(row[name] for row in chosen) or 0.0 for name in ("published_speed_up", "speed_up"))
        paper.claim(f"NPU int8 products over {what}, geometric mean of {len(chosen)} products", said, modeled, "x", SOURCE, fitted=True)
        means[way] = modeled, said
    worst = max(rows, key=lambda row: abs(row["error_percent"]))
    mean = sum(abs(row["error_percent"]) for row in rows) / len(rows)
    paper.conclude(
        f"In int8 the NPU multiplies {means[CPU][0]:.1f} times as fast as the CPU (published: {means[CPU][1]:.1f}) and {means[GPU][0]:.1f} "
        f"times as fast as the GPU in fp16 ({means[GPU][1]:.1f}); with the software of 2024 its own fp16 takes {means[SLOW][0]:.0f} times "
        f"as long ({means[SLOW][1]:.0f}). The model is off by {mean:.0f} % on average over {len(rows)} products, "
        f"{sum(row['split'] == 'calibration' for row in rows)} of which it is fitted to, and by {worst['error_percent']:+.0f} % at worst "
        f"({worst['processor'].upper()} {worst['data_type']}, {worst['shape']})."
    )
    linears = [point for point in points if point["engine"] == OURS and point["processor"] == "npu" and point["data_type"] == "int8"]
    best = max(linears, key=lambda point: point["attained_percent"])
    decode = next(point for point in points if point["engine"] == OURS and point["stage"] == "decode")
    paper.conclude(
        f"No int8 subgraph of {OURS} is near its roof: the best, {best['stage']}, attains {best['attained_percent']:.0f} % of what its "
        f"{best['intensity_ops_per_byte']:.0f} operations a byte allow, as laying inputs out and starting products take most of the rest; "
        f"a decode step on the CPU attains {decode['attained_percent']:.0f} % at {decode['intensity_ops_per_byte']:.1f} operations a byte."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
