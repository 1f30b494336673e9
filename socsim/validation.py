"""Measured rows beside what the simulator says: error of each, mean absolute percentage errors, and the targets they are held to.

Nothing is fitted to what is shown, except where a model is left out: then all else is fitted again, without its rows.
Errors are predicted over measured, less one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from socsim.calibration.calibrate import fit_group
from socsim.calibration.groups import REFERENCE_ENGINE, graph_groups, operator_groups, run_groups
from socsim.calibration.targets import Findings
from socsim.catalog import list_socs, load_soc
from socsim.measurements import OperatorRow, SystemRow, load_table
from socsim.prediction import predict_latency, predict_value
from socsim.runs import make_case
from socsim.uncertainty import BAND_METRICS, uncertainty_bands

RUN_COLUMNS = ("soc", "model", "engine", "metric", "prompt_tokens", "settings", "measured", "predicted", "error_percent", "split", "source")
OPERATOR_COLUMNS = ("soc", "processor", "data_type", "shape", "measured_s", "predicted_s", "error_percent", "split", "source")
SPEED, DECODE, ENERGY = "prefill_tokens_per_s", "decode_s", "prefill_energy_j"


def _nothing() -> None:
    """Do nothing: the progress of a caller that shows none."""


def validate_runs(
    rows: Sequence[SystemRow], predict: Callable[[SystemRow], float] = predict_value, progress: Callable[[], None] = _nothing
) -> pd.DataFrame:
    """Return a table of rows of whole runs, simulated beside measured.

    Parameters
    ----------
    rows
        Measured rows.
    predict
        Function from a row to its prediction; default: simulated as the files say.
    progress
        Called after each row.

    Returns
    -------
    pandas.DataFrame
        A row each, with `RUN_COLUMNS`; values in the unit of the metric's name.
    """
    records = []
    for row in rows:
        value = predict(row)
        settings = " ".join(f"{path}={each}" for path, each in row.overrides.items())
        error = 100.0 * (value / row.value - 1.0)
        records.append(
            (row.soc, row.model, row.engine, row.metric, row.prompt_tokens, settings, row.value, value, error, row.split, row.source)
        )
        progress()
    return pd.DataFrame.from_records(records, columns=RUN_COLUMNS)


def validate_operators(rows: Sequence[OperatorRow]) -> pd.DataFrame:
    """Return a table of micro-benchmarks, modeled beside measured, with `OPERATOR_COLUMNS`; a path stands for its data type."""
    socs = {name: load_soc(name) for name in sorted({row.soc for row in rows})}
    records = []
    for row in rows:
        value = predict_latency(row, socs[row.soc])
        shape = " ".join(f"{'' if each.enters else '>'}{each.rows}x{each.inner}x{each.columns}" for each in row.products)
        records.append(
            {
                "soc": row.soc,
                "processor": row.processor,
                "data_type": row.path or row.data_type,
                "shape": shape,
                "measured_s": row.latency_s,
                "predicted_s": value,
                "error_percent": 100.0 * (value / row.latency_s - 1.0),
                "split": row.split,
                "source": row.source,
            }
        )
    return pd.DataFrame(records, columns=list(OPERATOR_COLUMNS))


def error_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean absolute percentage error of a table of runs by metric, engine, SoC and split, and the worst row of each."""
    groups = table.assign(absolute=table.error_percent.abs()).groupby(["metric", "engine", "soc", "split"], sort=True)
    summary = groups.absolute.agg(rows="size", mean_absolute_error_percent="mean", worst_percent="max")
    return summary.reset_index()


def per_group_slowdowns() -> pd.DataFrame:
    """Return the latency of per-group over per-tensor linears on the NPU, measured and predicted (Xu et al. 2025, Fig 4).

    The paper states neither prompt length nor group size: the comparison takes one chunk of the shipped ``npu-chunk``.
    """
    records = []
    for row in load_table("llm_npu_fig4_per_group_slowdown.csv"):
        per_tensor = {"engine.precision.quantization": "per-tensor", "engine.precision.group_size": None}
        seconds = []
        for overrides in ({}, per_tensor):
            costs = make_case(row["soc"], row["model"], "npu-chunk", prompt_tokens=256, overrides=overrides).costs
            on_npu = [subgraph.processor == "npu" for subgraph in costs.graph.subgraphs]
            seconds.append(float(costs.parts_s[on_npu].sum()))
        measured, predicted = float(row["per_group_over_per_tensor"]), seconds[0] / seconds[1]
        records.append((row["soc"], row["model"], measured, predicted, 100.0 * (predicted / measured - 1.0)))
    return pd.DataFrame.from_records(records, columns=("soc", "model", "measured", "predicted", "error_percent"))


def leave_one_model_out(
    operator_rows: Sequence[OperatorRow], system_rows: Sequence[SystemRow], progress: Callable[[str], None] = lambda _: None
) -> pd.DataFrame:
    """Return prefill speeds of the reference engine, each model predicted by figures that were fitted without its rows.

    What whole runs of the reference engine determine is fitted again without its runs of the model. Micro-benchmarks stay:
    they measure products, some of them in the shapes of the model that is left out; so do the runs of other engines.
    """
    speeds = [row for row in system_rows if row.engine == REFERENCE_ENGINE and row.metric == SPEED and row.split == "calibration"]
    models = sorted({row.model for row in speeds})
    socs = list_socs()
    before = [*operator_groups(socs, operator_rows), *graph_groups(socs, system_rows)]
    tables = []
    for model in models if len(models) > 1 else ():
        progress(f"without {model}")
        kept = [row for row in system_rows if row.split == "calibration" and not (row.engine == REFERENCE_ENGINE and row.model == model)]
        findings = Findings()
        for group in run_groups(socs, kept, before):
            if any(row.engine == REFERENCE_ENGINE for row in group.rows if isinstance(row, SystemRow)):
                found = fit_group(group, findings)
                findings.set(group.targets, found.values)
        tables.append(validate_runs([row for row in speeds if row.model == model], _predict_with(findings)))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(RUN_COLUMNS))


def _predict_with(findings: Findings) -> Callable[[SystemRow], float]:
    return lambda row: predict_value(row, findings.soc(row.soc), findings.engine(row.engine))


def band_coverage(rows: Sequence[SystemRow], progress: Callable[[], None] = _nothing) -> pd.DataFrame:
    """Return for each measured speed and energy its 10th to 90th percentile band and whether it lies inside."""
    records = []
    for row in rows:
        if row.metric not in BAND_METRICS:
            continue
        band = uncertainty_bands(
            row.soc, row.model, row.engine, prompt_tokens=row.prompt_tokens, output_tokens=row.output_tokens, overrides=row.overrides
        )[row.metric]
        inside = band.low <= row.value <= band.high
        records.append((row.soc, row.model, row.engine, row.metric, row.prompt_tokens, row.value, *band, inside, row.split))
        progress()
    columns = ("soc", "model", "engine", "metric", "prompt_tokens", "measured", "low", "median", "high", "inside", "split")
    return pd.DataFrame.from_records(records, columns=columns)


class Target(NamedTuple):
    """What a mean absolute percentage error should be at most, and what it is; None where there are no rows."""

    what: str
    limit_percent: float
    reached_percent: float | None
    rows: int

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there are no rows."""
        return None if self.reached_percent is None else self.reached_percent <= self.limit_percent


def targets(operators: pd.DataFrame, runs: pd.DataFrame, slowdowns: pd.DataFrame, left_out: pd.DataFrame | None) -> list[Target]:
    """Return the accuracy that this project aims at, and what the tables say of it."""
    fitted = runs[runs.split == "calibration"]
    table_3 = operators[operators.source.str.contains("Xu et al.")]
    speeds, decodes = fitted[fitted.metric == SPEED], fitted[fitted.metric == DECODE]
    others = pd.concat((speeds, decodes))

    def target(what: str, limit: float, chosen: pd.DataFrame, worst: bool = False) -> Target:
        errors = chosen.error_percent.abs()
        return Target(what, limit, float(errors.max() if worst else errors.mean()) if len(errors) else None, len(errors))

    def products(processor: str, data_type: str) -> pd.DataFrame:
        return table_3[(table_3.processor == processor) & (table_3.data_type == data_type)]

    result = [
        target("NPU int8 products, Table 3 and Fig 8", 12.0, products("npu", "int8")),
        target("CPU int8 products, Table 3", 12.0, products("cpu", "int8")),
        target("GPU fp16 products, Table 3", 12.0, products("gpu", "fp16")),
        target("per-group over per-tensor, worst model", 20.0, slowdowns, worst=True),
        target(f"{REFERENCE_ENGINE} prefill speed", 10.0, speeds[speeds.engine == REFERENCE_ENGINE]),
        target("prefill speed and decode time of the other engines", 8.0, others[others.engine != REFERENCE_ENGINE]),
        target("prefill energy, battery-rail", 10.0, fitted[(fitted.metric == ENERGY) & fitted.settings.str.contains("battery-rail")]),
    ]
    if left_out is not None:
        result.append(target(f"{REFERENCE_ENGINE} prefill speed, each model left out", 25.0, left_out))
    return result
