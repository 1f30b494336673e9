"""Published figures beside simulated ones."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from socsim.calibration.groups import GRAPH_METRICS, RUN_METRICS
from socsim.catalog import description_path, load_engine
from socsim.errors import SocsimError
from socsim.measurements import SystemRow, load_system_rows

Row = dict[str, Any]
NO_SETTINGS: Mapping[str, Any] = {}
FITTED_METRICS = (*RUN_METRICS, *GRAPH_METRICS, "prefill_energy_j")
"""Metrics of measured rows that some figure is fitted to."""
RUN = ("soc", "model", "prompt_tokens", "output_tokens", "power_calibration")
"""Columns that say what was run, the engine apart; a table need not have all."""


def published_values(metric: str, place: str = "") -> dict[tuple[Any, ...], SystemRow]:
    """Return the measured rows of a metric in ``traces/`` by what was run, as `run_key` gives it.

    Parameters
    ----------
    metric
        Of `socsim.measurements.METRIC_UNITS`.
    place
        Figure or table, such as ``Fig 14``: where a run was published several times, its value counts. Otherwise, and among equals,
        it is the first in the order of files and lines.

    Raises
    ------
    SocsimError
        A row names a phone, model or engine that is not there.
    """
    rows = [row for row in load_system_rows() if row.metric == metric]
    rows.sort(key=lambda row: not (place and re.search(rf"\b{re.escape(place)}\b", row.source)))  # stable
    found: dict[tuple[Any, ...], SystemRow] = {}
    for row in rows:
        _check_names(row)
        found.setdefault(run_key(row.soc, row.model, row.engine, row.prompt_tokens, row.output_tokens, row.overrides), row)
    return found


def _check_names(row: SystemRow) -> None:
    try:
        for kind, name in (("soc", row.soc), ("model", row.model), ("engine", row.engine)):
            description_path(kind, name)
    except SocsimError as error:
        raise SocsimError(f"{row.where}: {error}") from None


def run_key(
    soc: str, model: str, engine: str, prompt_tokens: int, output_tokens: int = 1, overrides: Mapping[str, Any] = NO_SETTINGS
) -> tuple[Any, ...]:
    """Return what identifies a run; settings that an engine has anyway do not count."""
    usual = _engine(engine) if any(path.startswith("engine.") for path in overrides) else None
    settings = [(path, value) for path, value in sorted(overrides.items()) if usual is None or _value(usual, path) != value]
    return soc, model, engine, prompt_tokens, output_tokens, tuple(settings)


@lru_cache(maxsize=32)
def _engine(name: str) -> dict[str, Any]:
    return {"engine": load_engine(name).model_dump()}


def _value(node: Any, path: str) -> Any:
    """Return the value at a dotted path; None where there is none."""
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def beside_published(
    rows: Sequence[Row], column: str, metric: str, *, place: str = "", overrides: Mapping[str, Any] = NO_SETTINGS
) -> list[Row]:
    """Return rows with what was published beside a column of theirs.

    Parameters
    ----------
    rows
        With ``soc``, ``model``, ``engine``, ``prompt_tokens`` and, unless it is 1, ``output_tokens``.
    column
        The simulated value, in the unit of the metric's name; None where there is none.
    metric, place
        As in `published_values`.
    overrides
        Settings with which all rows were run; those of a single row in its ``overrides``, which the result does not have.

    Returns
    -------
    list of dict
        The rows with ``published_COLUMN``, ``error_percent``, ``source``, and ``fitted``: whether the published value was there to fit
        the model; None where nothing was published.
    """
    known, result = published_values(metric, place), []
    for row in rows:
        row = dict(row)
        own = {**overrides, **row.pop("overrides", {})}
        key = run_key(row["soc"], row["model"], row["engine"], row["prompt_tokens"], row.get("output_tokens", 1), own)
        found, value = known.get(key), row[column]
        error = 100.0 * (value / found.value - 1.0) if found and value is not None else None
        beside = {f"published_{column}": found and found.value, "error_percent": error}
        result.append(row | beside | {"source": found and found.source, "fitted": found and is_fitted(found)})
    return result


def is_fitted(row: SystemRow) -> bool:
    """Return whether a measured row is one of those that figures are fitted to."""
    return row.split == "calibration" and row.metric in FITTED_METRICS


def hollow(rows: Iterable[Row], column: str) -> str:
    """Return what a caption says of hollow markers: nothing where no row has a published value of a column."""
    return "; hollow: published" if any(row.get(f"published_{column}") is not None for row in rows) else ""


def measured_models(engine: str) -> list[str]:
    """Return the models with which an engine's times were measured, sorted."""
    return sorted({row.model for row in load_system_rows() if row.engine == engine and row.metric in RUN_METRICS})


def errors_sentence(rows: Sequence[Row], what: str, where: Sequence[str] = ("engine", "model", "prompt_tokens")) -> str:
    """Say how far simulated values are from published ones, on average and at worst.

    Parameters
    ----------
    rows
        As `beside_published` returns them; those without a published value do not count.
    what
        What was published, in the plural.
    where
        Columns that say which row is the worst.
    """
    known = [row for row in rows if row["error_percent"] is not None]
    if not known:
        return f"No published {what} are at hand to compare them with."
    mean, worst = sum(abs(row["error_percent"]) for row in known) / len(known), max(known, key=lambda row: abs(row["error_percent"]))
    run = ", ".join(f"{worst[name]:,} tokens" if name == "prompt_tokens" else str(worst[name]) for name in where)
    return (
        f"Of {len(known)} published {what} the simulation is off by {mean:.0f} % on average and by {worst['error_percent']:+.0f} % at "
        f"worst ({run})."
    )


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
        `by`, ``engine``, ``NAME`` over all simulated runs, ``published_runs`` (of both engines, in the same place), and over those
        ``NAME_of_published_runs``, as simulated, ``published_NAME``, ``error_percent``, and their `origin`; None where there are no runs.
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
        known = [(above, below) for above, below in pairs if _comparable(above, below, published)]
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
                **origin([row for pair in known for row in pair]),
            }
        )
    return found


def origin(rows: Sequence[Row]) -> Row:
    """Return ``source`` and ``fitted`` (whether any was there to fit the model) of published rows together; None without any."""
    if not rows:
        return {"source": None, "fitted": None}
    return {"source": "; ".join(dict.fromkeys(row["source"] for row in rows)), "fitted": any(row["fitted"] for row in rows)}


def _comparable(one: Row, other: Row, published: str) -> bool:
    """Return whether two rows were published in the same place: others may have been measured in different ways."""
    return None not in (one[published], other[published]) and bool(one["source"] == other["source"])


def _run_of(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(column) for column in RUN)


def without(rows: Sequence[Row], *columns: str) -> list[Row]:
    """Return rows without some columns, such as those that a table's caption says."""
    return [{column: value for column, value in row.items() if column not in columns} for row in rows]


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean of positive values; none of no values."""
    logarithms = [math.log(value) for value in values]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None


def counted(number: int, what: str) -> str:
    """Return a number with what is counted, such as ``1 run`` and ``9 runs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
