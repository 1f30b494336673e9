"""What does pruning of shadow outliers cost, and what does it bring? Measured accuracy beside simulated speed.

Run with ``python experiments/accuracy_curve.py --out DIR``. Accuracy and outlier counts were measured on SmolLM2-135M
(``socsim accuracy --table curve``); the simulator takes the counts and says how fast the same model is prefilled. Writes a table
(``accuracy_curve.csv``) and a figure.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import socsim
from socsim.measurements import load_table
from socsim.plots import pruning_curves, save

SOC, MODEL = "snapdragon-8-gen-3", "smollm2-135m"
ENGINES = {"shadow": "llm-npu", "shadow-plus": "llm-npu-plus"}
"""Engine that keeps the linears which a scheme keeps."""
PROMPTS = (256, 1024)
CURVE = "smollm2_pruning_curve"
NUMBERS = ("pruning_rate", "outlier_budget", "kl", "kl_se", "perplexity_change_percent", "outlier_channels", "fetched_channels")


def main(out: Path, quick: bool = False) -> None:
    """Simulate, print and write.

    Parameters
    ----------
    out
        Folder for the results; made if needed.
    quick
        The short prompt only.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = [row | {name: float(row[name]) for name in NUMBERS} for row in load_table(CURVE)]
    rows = [row for row in rows if row["outlier_budget"] == rows[0]["outlier_budget"]]  # the usual one; others follow
    speeds = {f"{MODEL}, {prompt:,} tokens": [speed(row, prompt) for row in rows] for prompt in (PROMPTS[:1] if quick else PROMPTS)}
    for suffix in ("png", "pdf"):
        save(pruning_curves(rows, speeds), out / f"accuracy_curve.{suffix}")
    with (out / "accuracy_curve.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["scheme", "weight_scales", "pruning_rate", "kl_nats", *(f"{case} (tokens/s)" for case in speeds)])
        for place, row in enumerate(rows):
            measured = [row["scheme"], row["weight_scales"], row["pruning_rate"], row["kl"]]
            writer.writerow([*measured, *(f"{each[place]:.4g}" for each in speeds.values())])
    for line in conclusion(rows, speeds):
        print(line)
    print(f"written to {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


def speed(row: dict[str, Any], prompt_tokens: int) -> float:
    """Return the simulated prefill speed in tokens/s with the outliers that were measured."""
    overrides: dict[str, Any] = {"engine.outlier_pruning_rate": row["pruning_rate"]}
    if row["outlier_channels"] > 0.0:
        overrides["engine.outlier_channels"] = max(round(row["outlier_channels"]), 1)
        overrides["engine.cold_outlier_fraction"] = row["fetched_channels"] / row["outlier_channels"]
    result = socsim.run(SOC, MODEL, ENGINES[row["scheme"]], prompt_tokens=prompt_tokens, overrides=overrides)
    return float(result.record["prefill_tokens_per_s"])


def conclusion(rows: list[dict[str, Any]], speeds: dict[str, list[float]]) -> list[str]:
    """Say for each scheme what pruning 85 % of the linears brings and costs."""
    found = {(row["scheme"], row["weight_scales"], row["pruning_rate"]): place for place, row in enumerate(rows)}
    lines = []
    for scheme, scales in dict.fromkeys((row["scheme"], row["weight_scales"]) for row in rows):
        none, most = found[scheme, scales, 0.0], found[scheme, scales, 0.85]
        faster = ", ".join(f"{case} {each[most] / each[none]:.2f}x as fast" for case, each in speeds.items())
        lines.append(
            f"{scheme}, weights per {scales}: 85 % pruned takes the divergence from {rows[none]['kl']:.4f} to {rows[most]['kl']:.4f} nats "
            f"a token and makes {faster}."
        )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=Path("results/accuracy_curve"), help="folder for the results (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="the short prompt only")
    arguments = parser.parse_args()
    main(arguments.out, arguments.quick)
