"""Published figures beside simulated ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from socsim.measurements import SystemRow, load_system_rows

Row = dict[str, Any]
NO_SETTINGS: Mapping[str, Any] = {}
RUN = ("soc", "model", "prompt_tokens", "output_tokens", "power_calibration")
"""Columns that say what was run, the engine apart; a table need not have all."""


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


def advantages(
    rows: Sequence[Row], column: str, *, of: str, by: Sequence[str] = (), less_is_better: bool = False, name: str = "speed_up"
) -> list[Row]:
    """Return how far an engine is ahead of each other one: geometric means of ratios, simulated and published.

    Parameters
    ----------
    rows
        As `beside_published` returns them for `column`; those are compared that agree in `RUN`. None is left out.
    column
        What is compared.
    of
        The engine that is compared with the others.
    by
        Columns; a mean for each combination of their values. Without any, one for each engine.
    less_is_better
        Whether the ratio is the other engine's value over that of `of` (times, energies), not the reverse (speeds).
    name
        What the ratio is called.

    Returns
    -------
    list of dict
        `by`, ``engine``, ``NAME`` over all simulated runs, ``published_runs`` (of both engines), and over those ``NAME_of_published_runs``,
        as simulated, ``published_NAME`` and ``error_percent``; None where there are no runs.
    """
    ours = {_run_of(row): row for row in rows if row["engine"] == of}
    groups: dict[tuple[Any, ...], list[tuple[Row, Row]]] = {}
    for row in rows:
        mine = ours.get(_run_of(row))
        if mine and row["engine"] != of and None not in (mine[column], row[column]):
            pair = (row, mine) if less_is_better else (mine, row)
            groups.setdefault((*(row[each] for each in by), row["engine"]), []).append(pair)
    found, published = [], f"published_{column}"
    for key, pairs in groups.items():
        known = [(above, below) for above, below in pairs if None not in (above[published], below[published])]
        simulated = geometric_mean(above[column] / below[column] for above, below in known)
        said = geometric_mean(above[published] / below[published] for above, below in known)
        found.append(
            {
                **dict(zip((*by, "engine"), key, strict=True)),
                name: geometric_mean(above[column] / below[column] for above, below in pairs),
                "published_runs": len(known),
                f"{name}_of_published_runs": simulated,
                f"published_{name}": said,
                "error_percent": 100.0 * (simulated / said - 1.0) if simulated and said else None,
            }
        )
    return found


def _run_of(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(column) for column in RUN)


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean of positive values; none of no values."""
    logarithms = [math.log(value) for value in values]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None
