"""What the page holds, as plain values: sections from the records of experiments, and what the caller knows of the main run."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from socsim.experiments.headings import heading
from socsim.experiments.publication import FORMATS, PACKAGES, is_current, read_record, read_table
from socsim.experiments.running import Experiment
from socsim.plots import gantt, save
from socsim.report.tables import VERDICTS, Table, make_claims_table, make_table, make_table_of_records
from socsim.report.timeline import time_table, timeline_figure, used_families
from socsim.runs import Result
from socsim.version import __version__

Row = tuple[str, ...]
PIXELS_PER_POINT = 4 / 3


class Image(NamedTuple):
    """A figure with its natural size in pixels; `source` is a ``data:`` address."""

    source: str
    caption: str
    width: int
    height: int


class Section(NamedTuple):
    """One experiment; `missing` is why there are no results, empty where there are."""

    name: str
    title: str
    place: str
    question: str
    missing: str = ""
    quick: bool = False
    conclusions: Sequence[str] = ()
    images: Sequence[Image] = ()
    tables: Sequence[Table] = ()
    provenance: Sequence[tuple[str, str]] = ()


class Description(NamedTuple):
    """The SoC, model or engine of the main run: rows of field, value with unit, kind and source."""

    kind: str
    name: str
    about: str
    fields: Sequence[Row]


class Count(NamedTuple):
    """How many claims have a verdict, and how many of them are of values that were there to fit the model."""

    claims: int
    fitted: int


class Contents(NamedTuple):
    """Everything on the page."""

    sections: Sequence[Section]
    counts: Mapping[str, Count]
    claims: Table
    conditions: Sequence[Row]
    metrics: Table
    timeline: str
    families: Sequence[Mapping[str, str]]
    gantt: Image
    times: Table
    targets: Table
    validation: Sequence[Table]
    configuration: Sequence[Table]
    command: str
    versions: Sequence[Row]

    @property
    def missing(self) -> list[Section]:
        """Experiments without results."""
        return [section for section in self.sections if section.missing]

    @property
    def shortened(self) -> list[Section]:
        """Experiments of which only the short version is there."""
        return [section for section in self.sections if section.quick]


def collect(
    experiments: Sequence[Experiment],
    out: Path,
    *,
    quick: bool,
    failures: Mapping[str, str],
    main: Result,
    conditions: Sequence[Row],
    metrics: Sequence[Row],
    configuration: Sequence[Description],
    validation: Mapping[str, Any],
) -> Contents:
    """Gather what the page holds.

    Parameters
    ----------
    experiments
        All that belong on it; results of those that are not up to date are not shown.
    out
        Folder in which each has its folder.
    quick
        Whether short versions do.
    failures
        Why experiments failed, by name.
    main
        The run that the timeline shows.
    conditions, metrics
        What was simulated in it: name and value; its results: name, value with unit, and field of the record.
    configuration
        What it was simulated with.
    validation
        ``rows``, ``summary``, ``targets`` and ``per_group_slowdowns``, as ``socsim validate --quick --json`` has them.
    """
    found = [_section(experiment, out / experiment.name, quick, failures.get(experiment.name, "")) for experiment in experiments]
    found.sort(key=lambda pair: _order(pair[0]))
    claims = [(section.name, claim) for section, record in found for claim in record.get("claims", ())]
    return Contents(
        sections=[section for section, _ in found],
        counts={word: _count([claim for _, claim in claims if claim["verdict"] == word]) for word in VERDICTS},
        claims=make_claims_table(claims),
        conditions=conditions,
        metrics=make_table("Metrics", ("metric", "value", "field of the record"), metrics, named=True),
        timeline=timeline_figure(main.timeline),
        families=[family._asdict() for family in used_families(main.timeline).values()],
        gantt=_gantt(main),
        times=time_table(main.timeline),
        targets=_targets(validation["targets"]),
        validation=_validation(validation),
        configuration=[_description(description) for description in configuration],
        command="socsim report --quick" if quick else "socsim report",
        versions=_versions(),
    )


def _count(claims: Sequence[Mapping[str, Any]]) -> Count:
    return Count(len(claims), sum(bool(claim["fitted"]) for claim in claims))


def _section(experiment: Experiment, folder: Path, quick: bool, failure: str) -> tuple[Section, Mapping[str, Any]]:
    """Return the section of an experiment with its record, which is empty where results are missing."""
    question = experiment.question
    section = Section(experiment.name, _title(experiment.name), _place(question), question)
    current = not failure and is_current(folder, experiment.script, quick=quick, formats=FORMATS)
    record = (read_record(folder) or {}) if current else {}
    if not record:
        return section._replace(missing=failure or "it left no complete record"), record
    section = section._replace(
        quick=record["quick"],
        conclusions=record["conclusions"],
        images=[_figure(folder, figure, question) for figure in record["figures"]],
        tables=[make_table(table["caption"] or table["file"], *read_table(folder / table["file"])) for table in record["tables"]],
        provenance=_provenance(record),
    )
    return section, record


def _figure(folder: Path, figure: Mapping[str, Any], question: str) -> Image:
    file = next(name for name in figure["files"] if name.endswith(".svg"))
    return _image((folder / file).read_bytes(), figure["caption"] or question)


def _gantt(main: Result) -> Image:
    """Return the timeline as it is printed."""
    with TemporaryDirectory() as folder:
        save(gantt(main.timeline, ttft_s=[main.record["ttft_s"]]), path := Path(folder) / "gantt.svg")
        return _image(path.read_bytes(), "What each processor does when, and DRAM bandwidth")


def _image(svg: bytes, caption: str) -> Image:
    """Return a figure that needs no file; its size is in its first element, in points."""
    head = svg[: svg.index(b">", svg.index(b"<svg"))].decode()
    width, height = (float(re.search(rf'\b{side}="([\d.]+)pt"', head)[1]) * PIXELS_PER_POINT for side in ("width", "height"))  # type: ignore[index]
    return Image(f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}", caption, round(width), round(height))


def _provenance(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the results of an experiment come from, as names and values."""
    known = record["provenance"]
    parameters = [(heading(name), _value(value)) for name, value in known["parameters"].items()]
    versions = ", ".join(f"{name} {known[name]}" for name in ("socsim", "python", *PACKAGES))
    return [
        ("command", f"socsim experiment {record['experiment']}{' --quick' if record['quick'] else ''}"),
        ("version", "quick" if record["quick"] else "full"),
        *parameters,
        ("seed", str(known["seed"])),
        ("versions", versions),
        ("SHA-256 of inputs", record["inputs_sha256"]),
    ]


def _value(value: Any) -> str:
    """Return a parameter for people."""
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_value(each)}" for name, each in value.items())
    return ", ".join(map(_value, value)) if isinstance(value, list) else str(value)


def _title(name: str) -> str:
    words = heading(name)
    return words[:1].upper() + words[1:]


def _place(question: str) -> str:
    """Return which figure or table of the paper a question is about, such as ``Fig 14``."""
    place = re.search(r"\bet al\.,? \d{4}, ([^)]+)\)", question)
    return place[1] if place else ""


def _order(section: Section) -> tuple[int, float, str]:
    """Return what sections are ordered by: the paper's figures, its tables, what is not in it."""
    kind = next((place for place, word in enumerate(("Fig", "Table")) if section.place.startswith(word)), 2)
    number = re.search(r"\d+", section.place)
    return kind, float(number[0]) if number else 0.0, section.name


def _targets(targets: Sequence[Mapping[str, Any]]) -> Table:
    words = {None: "no rows", True: "met", False: "not met"}
    rows = [
        {
            "mean absolute percentage error of": target["what"],
            "aim_percent": target["limit_percent"],
            "reached_percent": target["reached_percent"],
            "verdict": words[target["met"]],
            "rows": target["rows"],
        }
        for target in targets
    ]
    table = make_table_of_records("Targets of this project", rows, named=True)
    styles = {"met": "verdict agrees", "not met": "verdict disagrees"}
    marked = [[cell._replace(style=styles.get(cell.text, "")) for cell in row] for row in table.rows]
    return table._replace(rows=marked)


def _validation(validation: Mapping[str, Any]) -> list[Table]:
    """Return measured rows beside predictions, the mean errors first; names of metrics carry their unit."""

    def named(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "metric": heading(row["metric"])} for row in rows]

    slowdowns = "Per-group over per-tensor linears on the NPU, ratio of latencies"
    return [
        make_table_of_records("Mean absolute percentage errors", named(validation["summary"])),
        make_table_of_records("Measured runs beside predictions", named(validation["rows"])),
        make_table_of_records(slowdowns, validation["per_group_slowdowns"]),
    ]


def _description(description: Description) -> Table:
    caption = f"{description.kind} {description.name}: {description.about}"
    table = make_table(caption, ("field", "value", "kind", "origin"), description.fields, named=True)
    return table._replace(columns=[column._replace(number=False) for column in table.columns])


def _versions() -> list[Row]:
    """Return what this page was made with."""
    python = ".".join(map(str, sys.version_info[:3]))
    return [("socsim", __version__), ("python", python), *((name, version(name)) for name in (*PACKAGES, "plotly", "jinja2"))]
