"""How fast are matrix products on NPU, CPU and GPU, and what holds a model's subgraphs back? (Xu et al. 2025, Table 3)

Measured products and graphs of products stand beside what the cost model says of them. Then every processor gets its roofline,
what its DRAM bandwidth and its peak allow, with the subgraphs of one prompt and of one decode step below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from socsim.catalog import load_soc
from socsim.experiments import FORMATS, Publication, errors_sentence, geometric_mean, origin
from socsim.experiments.grid import OURS, PHONES
from socsim.measurements import OperatorRow, load_operator_rows
from socsim.plots import latency_by_shape
from socsim.plots.roofline import attainable_tops, roofline
from socsim.runs import make_case
from socsim.validation import validate_operators

SOC, MODEL, ENGINES = PHONES[0], "qwen1.5-1.8b", (OURS, "llama.cpp-cpu", "mlc-gpu")
PROMPT, QUICK_PROMPT = 1024, 256
TABLE = "operators_llm_npu_table3.csv"
NPU, CPU, GPU, SLOW = ("npu", "int8"), ("cpu", "int8"), ("gpu", "fp16"), ("npu", "software-2024")
WAYS = {CPU: "CPU int8", GPU: "GPU fp16", SLOW: "NPU fp16 with the software of 2024"}
"""What int8 on the NPU is compared with."""
TERA, GIGA = 1e12, 1e9
Row = dict[str, Any]


def main(out: Path, quick: bool = False, formats: Sequence[str] = FORMATS) -> None:
    """Compare all measured products, or in short those of Table 3, and publish them with the rooflines."""
    prompt = QUICK_PROMPT if quick else PROMPT
    with Publication(out, __file__, quick=quick, formats=formats, soc=SOC, model=MODEL, engines=ENGINES, prompt_tokens=prompt) as paper:
        measured = [row for row in load_operator_rows() if row.where.startswith(TABLE) or not quick]
        rows, ratios = publish_products(paper, measured) if measured else ([], [])
        points = [point for engine in ENGINES for point in subgraphs(engine, prompt)]
        large = [point for point in points if point["stage"] != "final_norm"]  # one row, far below all others
        what = f"Subgraphs of {MODEL} ({prompt:,} prompt tokens, one decode step)"
        paper.figure("roofline", roofline(peaks(), large), f"{what} under what {SOC} attains")
        paper.table("subgraphs", points, "Subgraphs under the roofline; attained: share of what bandwidth and peak of the data type allow")
        judge(paper, rows, ratios)
        paper.conclude(nearest(points))


def publish_products(paper: Publication, measured: Sequence[OperatorRow]) -> tuple[list[Row], list[Row]]:
    """Publish measured products beside modeled ones, and return both, with the speed-ups of those in Table 3."""
    validated: list[Row] = [{str(name): value for name, value in row.items()} for row in validate_operators(measured).to_dict("records")]
    rows = [product(row) for row in validated]
    paper.table("products", rows, "Latency of matrix products, modeled and measured; 'A >B': B's input is made from what stands before")
    paper.figure("products", latency_by_shape(validated), f"Matrix products on {SOC}; hollow: measured")
    ratios = speed_ups([row for row, source in zip(rows, measured, strict=True) if source.where.startswith(TABLE)])
    paper.table("speed_ups", ratios, "How many times as fast int8 on the NPU is, by product of Table 3")
    return rows, ratios


def product(row: Row) -> Row:
    """Return a modeled and a measured product as it stands in the table."""
    named = {name: row[name] for name in ("soc", "processor", "data_type", "shape")}
    latencies = {"latency_ms": 1e3 * row["predicted_s"], "published_latency_ms": 1e3 * row["measured_s"]}
    about = {"error_percent": row["error_percent"], "source": row["source"], "fitted": row["split"] == "calibration"}
    return named | latencies | about


def speed_ups(rows: Sequence[Row]) -> list[Row]:
    """Return how many times as fast int8 on the NPU is as each other way that was measured in the same place, for each product."""
    known = {(row["shape"], row["processor"], row["data_type"]): row for row in rows}
    found = []
    for shape in dict.fromkeys(row["shape"] for row in rows):
        for way in WAYS:
            ours, other = known.get((shape, *NPU)), known.get((shape, *way))
            if ours and other and ours["source"] == other["source"]:
                speed_up, said = (other[name] / ours[name] for name in ("latency_ms", "published_latency_ms"))
                named = {"shape": shape, "processor": way[0], "data_type": way[1], "speed_up": speed_up, "published_speed_up": said}
                found.append(named | {"error_percent": 100.0 * (speed_up / said - 1.0)} | origin([ours, other]))
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


def judge(paper: Publication, rows: Sequence[Row], ratios: Sequence[Row]) -> None:
    """Compare the speed-ups of Table 3, and say how far products are off."""
    told = []
    for way, what in WAYS.items():
        chosen = [row for row in ratios if (row["processor"], row["data_type"]) == way]
        said, modeled = (geometric_mean(row[name] for row in chosen) for name in ("published_speed_up", "speed_up"))
        if said is not None and modeled is not None:
            named = f"NPU int8 products over {what}, geometric mean of {len(chosen)} products"
            paper.claim(named, said, modeled, "x", **origin(chosen))
            digits = 0 if said >= 100.0 else 1
            told.append(f"{modeled:.{digits}f} times as fast as {what} (published: {said:.{digits}f})")
    if told:
        paper.conclude(f"In int8 the NPU multiplies {', '.join(told)}.")
    fitted = f" The model is fitted to {sum(row['fitted'] for row in rows)} of them." if rows else ""
    paper.conclude(errors_sentence(rows, "latencies of products", ("processor", "data_type", "shape")) + fitted)


def nearest(points: Sequence[Row]) -> str:
    """Say how near int8 subgraphs on the NPU, and decode steps, come to their roofs."""
    ours = [point for point in points if point["engine"] == OURS]
    linears = [point for point in ours if (point["processor"], point["data_type"]) == NPU]
    best, decode = max(linears, key=lambda point: point["attained_percent"]), next(point for point in ours if point["stage"] == "decode")
    return (
        f"Of the int8 subgraphs of {OURS} on the NPU, {best['stage']} comes nearest to its roof: it attains "
        f"{best['attained_percent']:.0f} % of what its {best['intensity_ops_per_byte']:.0f} operations a byte allow. A decode step on "
        f"the {decode['processor'].upper()} attains {decode['attained_percent']:.0f} % at {decode['intensity_ops_per_byte']:.1f}."
    )


if __name__ == "__main__":
    from socsim.cli import run_script

    run_script(__file__)
