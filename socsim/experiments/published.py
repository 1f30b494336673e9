"""Published figures beside simulated ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from socsim.measurements import SystemRow, load_system_rows

Row = dict[str, Any]
NO_SETTINGS: Mapping[str, Any] = {}


def published_values(metric: str) -> dict[tuple[Any, ...], SystemRow]:
    """Return the measured rows of a metric in ``traces/`` by what was run, as `run_key` gives it."""
    return {
        run_key(row.soc, row.model, row.engine, row.prompt_tokens, row.output_tokens, row.overrides): row
        for row in load_system_rows()
        if row.metric == metric
    }


def run_key(
    soc: str, model: str, engine: str, prompt_tokens: int, output_tokens: int = 1, overrides: Mapping[str, Any] = NO_SETTINGS
) -> tuple[Any, ...]:
    """Return what identifies a run."""
    return soc, model, engine, prompt_tokens, output_tokens, tuple(sorted(overrides.items()))


def beside_published(rows: Sequence[Row], column: str, metric: str, overrides: Mapping[str, Any] = NO_SETTINGS) -> list[Row]:
    """Return rows with what was published beside a column of theirs: ``published_COLUMN``, ``error_percent``, ``source``.

    Parameters
    ----------
    rows
        With ``soc``, ``model``, ``engine``, ``prompt_tokens`` and, unless it is 1, ``output_tokens``.
    column
        The simulated value, in the unit of the metric's name; None where there is none.
    metric
        Of `socsim.measurements.METRIC_UNITS`.
    overrides
        Settings with which all rows were run; those of a single row in its ``overrides``, which the result does not have.
    """
    known, result = published_values(metric), []
    for row in rows:
        row = dict(row)
        own = {**overrides, **row.pop("overrides", {})}
        key = run_key(row["soc"], row["model"], row["engine"], row["prompt_tokens"], row.get("output_tokens", 1), own)
        found, value = known.get(key), row[column]
        error = 100.0 * (value / found.value - 1.0) if found and value is not None else None
        result.append(
            row | {f"published_{column}": found and found.value, "error_percent": error, "source": found.source if found else None}
        )
    return result


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean of positive values; none of no values."""
    logarithms = [math.log(value) for value in values]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None
