"""``socsim sweep``: many runs that differ in a few fields, on this machine or a cluster."""

from __future__ import annotations

import logging
import re
import shlex
import socket
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from socsim.cli.console import make_console, one_line
from socsim.cli.options import parse_count
from socsim.cli.progress import counted_points, duration_text
from socsim.cli.tables import make_table
from socsim.cli.units import digits, field_unit, percent, quantity, value_text
from socsim.errors import SocsimError

if TYPE_CHECKING:
    from rich.console import Console

    from socsim.sweeps import Plan, SweepResult

RESULTS = Path("results")
ALL_FAILED = 1
ERRORS = 5
"""Different errors of points that are printed."""
VALUES = 6
"""Values of an axis that are printed."""
CLUSTER_S = 20
"""How long a cluster has to answer."""

EXAMPLES = """\b
Examples:
  socsim sweep my-sweep.toml --dry-run
  socsim sweep my-sweep.toml -o results/mine --jobs 2
  socsim sweep my-sweep.toml -o results/mine --resume
  socsim sweep my-sweep.toml --cluster tcp://10.0.0.1:8786
"""


def sweep_command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="What to sweep: a base run, axes, constraints, metrics.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the results.  [default: results/, named as SPEC]")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", parser=parse_count, help="Processes on this machine.  [default: one a core]")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", metavar="ADDRESS", help="Scheduler of a Dask cluster that computes instead.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue what is in the folder; start if there is nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print points and estimated duration, and stop.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", parser=parse_count, help="Stop after N more points, in whole batches.")
    ] = None,
) -> int:
    """Simulate every point of a design space.

    Points go to DIR/points as Parquet, one row each, in immutable parts; 'socsim plot DIR' draws them. Whatever interrupts a sweep,
    parts that are done are kept, and --resume continues it with the same bytes as if nothing had happened. A point that fails has the
    reason in its row; the exit code is 1 if all do.
    """
    for option, number in (("--jobs", jobs), ("--limit", limit)):
        if number is not None and number < 1:
            raise SocsimError(f"{option} {number}: should be 1 or more")
    if jobs is not None and cluster is not None:
        raise SocsimError("--jobs and --cluster: a cluster has its own workers; give one of the two")
    from socsim.sweeps import available_cores, load_plan, sweep

    plan, console = load_plan(spec), make_console()
    if not plan.count:
        raise SocsimError(f"{plan.where}: no point meets all constraints")
    folder = out or RESULTS / spec.stem
    if dry_run:
        with _executor(cluster) as (_, workers):
            print_plan(console, plan, jobs or workers or available_cores())
        return 0
    again = ["socsim", "sweep", str(spec), "-o", str(folder), "--resume"]
    try:
        with (
            counted_points(spec.stem, plan.count) as progress,
            _executor(cluster) as (executor, workers),
        ):
            result = sweep(plan, folder, executor=executor, jobs=jobs or workers, resume=resume, limit=limit, progress=progress)
    except KeyboardInterrupt:
        one_line("note", f"interrupted; what is done is kept, continue with: {shlex.join(again)}")
        raise
    print_result(console, result)
    done, failed = result.counts()
    if done < plan.count:
        one_line("note", f"{plan.count - done:,} points are left: {shlex.join(again)}")
    return ALL_FAILED if done and failed == done else 0


@contextmanager
def _executor(address: str | None) -> Iterator[tuple[Executor | None, int | None]]:
    """Connect to a cluster if there is one; with its executor comes the number of threads of its workers."""
    if address is None:
        yield None, None
        return
    try:
        from distributed import Client
    except ImportError:
        raise SocsimError("--cluster: needs Dask: pip install 'phone-socsim[cluster]'") from None
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("asyncio", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong gets one line of ours; theirs are tracebacks
    _check_address(address)
    try:
        client = Client(address, timeout=CLUSTER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SocsimError(f"--cluster '{address}': no Dask scheduler answers there: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CLUSTER_S)
        except TimeoutError:
            raise SocsimError(
                f"--cluster '{address}': has no workers after {CLUSTER_S} s; start some with 'dask worker {address}'"
            ) from None
        yield client.get_executor(pure=False), sum(client.nthreads().values())


def _check_address(address: str) -> None:
    """Check that somebody listens at an address, which Dask would try for long and complain about at length."""
    found = re.fullmatch(r"(?:tcp|tls)://\[?([^/\s]+?)\]?:(\d+)", address)
    if not found or not 0 < int(found[2]) < 65536:
        raise SocsimError(f"--cluster '{address}': should be tcp://HOST:PORT or tls://HOST:PORT")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=CLUSTER_S).close()
    except OSError as error:
        raise SocsimError(f"--cluster '{address}': no Dask scheduler answers there: {error.strerror or error}") from None


def print_plan(console: Console, plan: Plan, jobs: int) -> None:
    """Print what a sweep would do, and how long it would take."""
    from socsim.sweeps.evaluation import seconds_per_point

    table = make_table(["axis", "field", "values", "number"], 1)
    for axis in plan.spec.axes:
        listed = next(each.values[axis.column].tolist() for each in plan.dimensions if axis.column in each.values)
        values = f"{axis.start:g} to {axis.stop:g}, sampled" if axis.sampled else values_text(listed)
        table.add_row(axis.column, ", ".join(axis.paths), values + (", times the base" if axis.relative else ""), f"{len(listed):,}")
    console.print(table)
    left_out = plan.raw_count - plan.count
    meets = f" of {plan.raw_count:,}, as {left_out:,} do not meet the constraints" if left_out else ""
    console.print(f"\n{plan.count:,} points{meets}; {plan.batches:,} parts; metrics: {', '.join(plan.metrics)}", soft_wrap=True)
    each = seconds_per_point(plan)
    workers = f"{jobs} worker" + ("s" if jobs > 1 else "")
    console.print(f"About {duration_text(plan.count * each / jobs)} with {workers}: a point takes about {1e3 * each:.2g} ms here.")


def values_text(values: Sequence[Any]) -> str:
    """Return the values of an axis, those in the middle of many left out."""
    shown = list(values) if len(values) <= VALUES else [*values[:3], "...", *values[-2:]]
    return ", ".join(
        digits(value, 4, trim=True) if isinstance(value, (int, float)) and not isinstance(value, bool) else value_text(value, "")
        for value in shown
    )


def metric_text(name: str, value: float) -> str:
    """Return a metric with its unit."""
    unit = field_unit(name, value)
    return percent(value) if unit == "ratio" or name.endswith("utilization") else quantity(value, unit)


def print_result(console: Console, result: SweepResult) -> None:
    """Print the spread of each metric, where the best point is, and why points failed."""
    import numpy as np

    from socsim.sweeps.metrics import LARGER_IS_BETTER

    done, failed = result.counts()
    table = make_table(["metric", "least", "median", "largest", "best at"], 0)
    for name in result.numbers:
        columns = result.values(["point", name])  # one after the other, as there may be millions of points
        values = columns[name].astype(float)
        if not np.isfinite(values).any():
            continue
        number = int(columns["point"][int(np.nanargmax(values) if name in LARGER_IS_BETTER else np.nanargmin(values))])
        at = {axis: level.tolist()[0] for axis, level in result.plan.points(number, number + 1)[1].items()}
        ends = [float(each) for each in (np.nanmin(values), np.nanmedian(values), np.nanmax(values))]
        best = ", ".join(f"{short_name(axis, at)} {values_text([value])}" for axis, value in at.items())
        table.add_row(name, *(metric_text(name, value) for value in ends), best if ends[0] < ends[-1] else "the same everywhere")
    if table.row_count:
        for column in table.columns:
            column.vertical = "top"
        console.print(table)
    for name in set(result.metrics) - set(result.numbers):
        counted = Counter(result.values([name])[name].tolist()).most_common()
        console.print(f"\n{name}: {', '.join(f'{value} {count:,}' for value, count in counted)}", soft_wrap=True)
    points = f"{done - failed:,} of {result.record['points']:,} points"
    console.print(f"\n{points} in {result.folder / 'points'}, {failed:,} failed", soft_wrap=True)
    errors = list(result.errors().items())
    for error, count in errors[:ERRORS]:
        console.print(f"  {count:,} x {error}", soft_wrap=True)
    if errors[ERRORS:]:
        console.print(f"  {sum(count for _, count in errors[ERRORS:]):,} for other reasons, which are in the column 'error'")


def short_name(column: str, columns: Collection[str]) -> str:
    """Return the last part of a column's name, if no other one ends with it."""
    last = column.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in columns) == 1 else column
