"""What does each technique buy? One prompt under llm.npu, its steps and the engines it is compared with, then under every scheduler.

Run with ``make demo`` or ``python experiments/demo.py --out DIR``. Prints two tables and writes their records
(``comparison.json``), Gantt charts and a trace for Perfetto.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

import socsim
from socsim.bottlenecks import explain
from socsim.cli.comparison import print_comparison
from socsim.metrics import power_steps
from socsim.plots import gantt, save

SOC, MODEL = "snapdragon-8-gen-3", "qwen1.5-1.8b"
STEPS = ("npu-naive", "npu-chunk", "npu-chunk-outlier", "llm-npu", "llm-npu-two-subgraphs")
OTHERS = ("llama.cpp-cpu", "mnn-cpu", "tflite-gpu", "mlc-gpu", "powerinfer2-npu")
DRAWN = ("sequential", "in-order", "out-of-order", "fifo")
"""Schedulers in the figure, from no overlap to the fewest bubbles."""


def main(out: Path, quick: bool = False) -> None:
    """Simulate, print and write.

    Parameters
    ----------
    out
        Folder for the results; made if needed.
    quick
        A short prompt instead of 1,024 tokens.
    """
    out.mkdir(parents=True, exist_ok=True)
    prompt, output = (300, 2) if quick else (1024, 32)
    steps = socsim.compare(SOC, MODEL, STEPS, prompt_tokens=prompt, output_tokens=output)
    others = socsim.compare(SOC, MODEL, ("llm-npu", *OTHERS), prompt_tokens=prompt, output_tokens=output)
    policies = socsim.compare(SOC, MODEL, ["llm-npu"], schedulers=socsim.SCHEDULERS, prompt_tokens=prompt, output_tokens=output)
    console = Console(width=None if Console().is_terminal else 120)
    console.print("\n[bold]llm-npu beside other engines, each under its own scheduler[/bold]")
    print_comparison(console, others)
    console.print("\n[bold]The steps to llm-npu, each under its own scheduler[/bold]")
    print_comparison(console, steps)
    console.print("\n[bold]llm-npu under every scheduler[/bold]")
    print_comparison(console, policies)
    by_name = {result.timeline.scheduler: result for result in policies}
    console.print(conclusion(by_name), soft_wrap=True)
    console.print(explain(by_name["out-of-order"]).conclusion, soft_wrap=True)
    write(out, [*steps, *others[1:]], by_name)
    console.print(f"\nwritten to {out}: {', '.join(sorted(path.name for path in out.iterdir()))}", soft_wrap=True)


def conclusion(results: dict[str, socsim.Result]) -> str:
    """Say in two sentences what overlap and out-of-order issue bring, as simulated."""
    ttft = {name: result.record["ttft_s"] for name, result in results.items()}
    bubbles = {name: result.record["npu_bubble_rate"] for name, result in results.items()}
    best = min(ttft, key=lambda name: ttft[name])
    steps = ", ".join(f"{name} {bubbles[name]:.1%}" for name in results)
    return (
        f"Naive overlap makes the prefill {ttft['sequential'] / ttft['in-order']:.2f}x as fast as no overlap, out-of-order issue "
        f"{ttft['in-order'] / ttft['out-of-order']:.2f}x as fast as naive overlap; the fastest here is {best} "
        f"({ttft['in-order'] / ttft[best]:.2f}x). NPU bubble rates: {steps}."
    )


def write(out: Path, engines: list[socsim.Result], policies: dict[str, socsim.Result]) -> None:
    """Write records, figures and a trace."""
    records = {"schema_version": 1, "engines": [r.record for r in engines], "schedulers": [r.record for r in policies.values()]}
    (out / "comparison.json").write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    chosen = policies["out-of-order"]
    power = power_steps(chosen.timeline, chosen.case.power)
    trace = chosen.timeline.to_chrome_trace(power)
    (out / "trace.json").write_text(json.dumps(trace) + "\n", encoding="utf-8")
    drawn = [policies[name].timeline for name in DRAWN]
    makespan_s = policies["in-order"].record["makespan_s"]
    for suffix in ("png", "pdf"):
        save(gantt(drawn, titles=list(DRAWN), window_s=(0.0, 0.25 * makespan_s)), out / f"gantt_schedulers.{suffix}")
        save(gantt(chosen.timeline, power=power, window_s=(0.0, 0.1 * makespan_s)), out / f"gantt.{suffix}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("results/demo"), help="folder for the results (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a short prompt")
    arguments = parser.parse_args()
    main(arguments.out, arguments.quick)
