"""Files that a command writes: checked before the simulation, reported after it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from socsim.cli.console import one_line
from socsim.errors import SocsimError

if TYPE_CHECKING:
    from socsim.runs import Result

PLOT_SUFFIXES = (".png", ".pdf", ".svg")


def check_outputs(*, trace: Path | None = None, plot: Path | None = None, log: Path | None = None, output: Path | None = None) -> None:
    """Check that files can be written, before anything is computed that would then be lost.

    Raises
    ------
    SocsimError
        A path is a folder, is in no folder, may not be written, has no suffix of a figure, or is given twice.
    """
    taken: dict[Path, str] = {}
    for option, path in (("--output", output), ("--trace", trace), ("--plot", plot), ("--log", log)):
        if path is None:
            continue
        _check_writable(option, path)
        first = taken.setdefault(path.resolve(), option)
        if first != option and not _is_device(path):
            raise SocsimError(f"{option} '{path}': is the file of {first} already; give each its own")
    if plot is not None and plot.suffix.lower() not in PLOT_SUFFIXES:
        raise SocsimError(f"--plot '{plot}': unknown suffix '{plot.suffix}'; allowed: {', '.join(PLOT_SUFFIXES)}")


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _check_writable(option: str, path: Path) -> None:
    if path.is_dir():
        raise SocsimError(f"{option} '{path}': is a folder, not a file")
    if not path.parent.is_dir():
        raise SocsimError(f"{option} '{path}': no such folder '{path.parent}'")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SocsimError(f"{option} '{path}': cannot be written: permission denied")


def run_title(result: Result) -> str:
    """Return a short name of a run."""
    return f"{result.case.engine.name}, {result.timeline.scheduler}"


def write_outputs(results: Sequence[Result], trace: Path | None, plot: Path | None, failure: SocsimError | None = None) -> None:
    """Write the files that were asked for; what fails does not keep the others from being written.

    Parameters
    ----------
    results
        The runs.
    trace, plot
        Files to write.
    failure
        What has failed before, and is still to be reported.

    Raises
    ------
    SocsimError
        The last failure, when all others are reported.
    """
    failures = [failure] if failure else []
    for write, path in ((_write_trace, trace), (_write_plot, plot)):
        try:
            if path:
                write(results, path)
        except SocsimError as error:
            failures.append(error)
    for reported in failures[:-1]:
        one_line("error", reported)
    if failures:
        raise failures[-1]


def _write_trace(results: Sequence[Result], path: Path) -> None:
    """Write runs as one Chrome trace, each as a process of its own."""
    from socsim.metrics import power_steps

    events = []
    for number, result in enumerate(results, start=1):
        trace = result.timeline.to_chrome_trace(power=power_steps(result.timeline, result.case.power))
        for event in trace["traceEvents"]:
            named = {"args": {"name": run_title(result)}} if event["name"] == "process_name" else {}
            events.append(event | {"pid": number} | named)
    about = {"runs": [run_title(result) for result in results], "event_order": results[0].timeline.event_order}
    try:
        with path.open("w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}, file, allow_nan=False)
    except OSError as error:
        raise SocsimError(f"--trace '{path}': cannot be written: {error.strerror}") from None
    one_line("wrote", path)


def _write_plot(results: Sequence[Result], path: Path) -> None:
    """Draw the Gantt charts of the prefills of runs, one above the other on one time axis."""
    from socsim.cost import NANOSECONDS
    from socsim.metrics import power_steps
    from socsim.plots import gantt, save

    first = results[0]
    makespans = [result.timeline.end_ns[: result.timeline.graph.prefill_count].max() for result in results]
    figure = gantt(
        [result.timeline for result in results],
        titles=[run_title(result) for result in results],
        ttft_s=[result.record["ttft_s"] for result in results],
        power=power_steps(first.timeline, first.case.power) if len(results) == 1 else None,
        window_s=(0.0, 1.01 * float(max(makespans)) / NANOSECONDS),  # decode steps, all alike, would crowd out the prefill
    )
    save(figure, path)
    one_line("wrote", path)
