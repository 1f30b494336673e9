"""``socsim experiment``: the figures and tables of the paper, and what-ifs, simulated and published side by side."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from socsim.cli.accuracy import use_one_thread_per_product
from socsim.cli.console import make_console, one_line
from socsim.cli.progress import named_steps
from socsim.errors import SocsimError, unknown_name

if TYPE_CHECKING:
    from rich.console import Console

    from socsim.experiments.running import Experiment

RESULTS = Path("results")
FORMATS = ("png", "pdf", "svg")
"""Those of `socsim.experiments`, which help does without importing."""
LONGEST_TABLE, EXCERPT = 30, 12
"""Rows of a table that is still printed whole, and of one that is not."""
LONGEST_NAME = 32
"""Characters of a cell that is still kept on one line."""
GAP = 2
"""Between columns: padding and divider."""
NOT_PRINTED = ("source", "fitted")
LAST_DROPPED = ("published", "error", "verdict")
"""How names of columns begin that are dropped after others, as those are of which something was published, where a table is too wide."""
RUN = ("_tokens", "chunk", "block")
"""How names of columns of numbers end that say what a row is about; they are dropped last, with those of words."""
CLAIMS = "What was published, and what was simulated"
BAD_INPUT, FAILED = 2, 1

EXAMPLES = """\b
Examples:
  socsim experiment
  socsim experiment prefill_speed ablation --format pdf
  socsim experiment --all --out results
  socsim experiment path/to/mine.py --quick
"""

OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder in which each experiment has a folder of its own.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="Short versions: fewer models, shorter texts; results are marked as such.")]


def experiment_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME|FILE.py", help="Experiments by name or script; none: list them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All shipped experiments but those that are marked as long.")] = False,
    out: OutOption = RESULTS,
    quick: QuickOption = False,
    formats: Annotated[
        list[str] | None, typer.Option("--format", metavar="|".join(FORMATS), help="Format of figures; repeatable.  [default: all]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run also what is up to date.")] = False,
) -> int:
    """Run experiments: each simulates a grid and writes tables, figures and a record, with what was published beside it.

    What is up to date is not run again: results are, as long as script, package, hardware files, traces and libraries are the same. An
    interrupted command goes on where it stopped. Accuracy is measured on real weights ('socsim weights fetch'), which takes minutes once.
    """
    for name in formats or ():
        if name not in FORMATS:
            raise unknown_name("--format", name, FORMATS)
    use_one_thread_per_product()
    from socsim.experiments.running import find_experiment, list_experiments

    if not names and not everything:
        print_list(list_experiments())
        return 0
    if names and everything:
        raise SocsimError(f"--all: means every experiment; leave out {', '.join(names)}")
    usual = [experiment for experiment in list_experiments() if not experiment.apart]
    chosen = usual if everything else [find_experiment(name) for name in dict.fromkeys(names or ())]
    alone, wanted = len(chosen) == 1, tuple(dict.fromkeys(formats or FORMATS))
    failures = run_all(chosen, out, quick=quick, formats=wanted, force=force, whole=alone)
    if alone and failures:
        raise failures[chosen[0].name]
    return exit_code(failures.values())


def print_list(experiments: Sequence[Experiment]) -> None:
    """Print what each experiment asks."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for experiment in experiments:
        table.add_row(experiment.name, f"{experiment.question}{' (long: run by name)' if experiment.apart else ''}")
    make_console().print(table)


def run_all(
    experiments: Sequence[Experiment], out: Path, *, quick: bool, formats: Sequence[str], force: bool, whole: bool = False
) -> dict[str, Exception]:
    """Run experiments, print what came out, and return what went wrong by name; one that fails does not keep the others from running.

    With `whole`, tables are printed, too, and errors left to the caller; else each experiment prints its sentences only.
    """
    from socsim.experiments.running import run_experiment

    check_folders(experiments, out)
    console, failures = make_console(), dict[str, Exception]()
    with announced_steps(len(experiments)) as begin:
        for number, experiment in enumerate(experiments, start=1):
            begin(experiment.name if whole else f"{experiment.name} ({number} of {len(experiments)})")
            try:
                with redirect_stdout(sys.stdout if whole else io.StringIO()):
                    state = run_experiment(experiment, out / experiment.name, quick=quick, formats=formats, force=force)
            except KeyboardInterrupt:
                one_line("note", f"interrupted; what is finished is kept, and the same command goes on with {experiment.name}")
                raise
            except Exception as error:
                failures[experiment.name] = error
                if isinstance(error, SocsimError) and not whole:
                    one_line("error", f"{experiment.name}: {error}")
                elif not whole:
                    traceback.print_exc()
            else:
                print_results(console, out / experiment.name, state, whole=whole)
    if failures and not whole:
        one_line("error", f"{len(failures)} of {len(experiments)} experiments failed")
    return failures


def check_folders(experiments: Sequence[Experiment], out: Path) -> None:
    """Check that each experiment can have a folder of its own.

    Raises
    ------
    SocsimError
        Two have one name, or there is a file where the folder should be.
    """
    for name, count in Counter(experiment.name for experiment in experiments).items():
        if count > 1:
            raise SocsimError(f"'{name}' is the name of two experiments, whose results would be in one folder; run them apart")
    if out.exists() and not out.is_dir():
        raise SocsimError(f"--out '{out}': is no folder")


def exit_code(failures: Iterable[Exception]) -> int:
    """Return 0 where nothing failed, 2 where only input was bad, else 1."""
    return min((BAD_INPUT if isinstance(error, SocsimError) else FAILED for error in failures), default=0)


@contextmanager
def announced_steps(total: int) -> Iterator[Callable[[str], None]]:
    """Show which experiment runs, and what it announces of its steps."""
    with named_steps("experiments", total) as show:
        current = [""]

        class Steps(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                show.detail(f"{current[0]}: {record.getMessage()}")

        def begin(name: str) -> None:
            current[0] = name
            show(name)

        log, handler = logging.getLogger("socsim.experiments"), Steps()
        log.addHandler(handler)
        level = log.level
        log.setLevel(logging.INFO)
        try:
            yield begin
        finally:
            log.setLevel(level)
            log.removeHandler(handler)


def print_results(console: Console, out: Path, state: str, *, whole: bool) -> None:
    """Print what an experiment found and where it is."""
    from socsim.experiments.publication import read_record, read_table

    record: dict[str, Any] = read_record(out) or {}
    if whole:
        console.print(record["question"], style="bold")
        for table in record["tables"]:
            columns, rows = read_table(out / table["file"])
            print_table(console, columns, rows, table["caption"] or table["file"], table["file"])
        print_claims(console, record["claims"])
    else:
        console.print(f"{record['experiment']} ({'up to date' if state == 'current' else 'done'})", style="bold")
    for sentence in record["conclusions"] if whole or state == "done" else ():
        console.print(sentence, soft_wrap=True)
    if whole:
        again = "up to date" if state == "current" else "written"
        console.print(f"\n{again} in {out}: {', '.join([*record['files'], 'record.json'])}", soft_wrap=True)


def print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str, file: str = "") -> None:
    """Print a table, or the first rows of a long one, and as many of its columns as fit, those of published values before others.

    What is the same in all rows is said once.
    """
    from rich import box
    from rich.table import Table

    from socsim.experiments.headings import heading, is_number

    names = [heading(column) for column in columns]
    shown = rows if len(rows) <= LONGEST_TABLE or not file else rows[:EXCERPT]
    same = [place for place in range(len(columns)) if len(rows) > 1 and len({row[place] for row in rows}) == 1]
    kept = [place for place, name in enumerate(columns) if name not in NOT_PRINTED and place not in same]
    cells = {place: [row[place] for row in shown] for place in kept}
    widths, dropped = {place: column_width([names[place]], cells[place]) for place in kept}, list[int]()
    if sum(widths[place] + GAP for place in kept) > console.width:
        widths = {place: column_width(names[place].split(), cells[place]) for place in kept}
    while sum(widths[place] + GAP for place in kept) > console.width and len(kept) > 1:
        numbers = [place for place in kept if all(is_number(row[place] or "0") for row in rows) and not columns[place].endswith(RUN)]
        free = [p for p in numbers if not columns[p].startswith(LAST_DROPPED) and f"published_{columns[p]}" not in columns]
        dropped.append((free or numbers or kept)[-1])
        kept.remove(dropped[-1])
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for place in kept:
        number, sentences = all(is_number(row[place] or "0") for row in rows), any(len(row[place]) > LONGEST_NAME for row in shown)
        wide = None if sentences else widths[place]
        table.add_column(names[place], justify="right" if number else "left", vertical="bottom", overflow="fold", width=wide)
    for row in shown:
        table.add_row(*(row[place] for place in kept))
    console.print(f"\n{caption}")
    if common := ", ".join(f"{names[p]} {rows[0][p]}" for p in same if rows[0][p] and columns[p] not in NOT_PRINTED):
        console.print(f"All rows: {common}", soft_wrap=True)
    console.print(table)
    if len(shown) < len(rows):
        console.print(f"... {len(rows) - len(shown)} more rows in {file}")
    if dropped:
        console.print(f"... also in {file}: {', '.join(names[place] for place in sorted(dropped))}", soft_wrap=True)


def column_width(heads: Sequence[str], cells: Sequence[str]) -> int:
    """Return how wide a column is: as its longest cell that is no sentence, and the longest line of its heading."""
    least = LONGEST_NAME if any(len(cell) > LONGEST_NAME for cell in cells) else 1
    return max(least, *map(len, [*heads, *(cell for cell in cells if len(cell) <= LONGEST_NAME)]))


def print_claims(console: Console, claims: Sequence[dict[str, Any]]) -> None:
    """Print published values beside simulated ones, with verdicts."""
    columns = ["claim", "verdict", "published", "simulated", "unit", "error_percent", "kind"]
    named = [claim | {"claim": claim["what"], "kind": "fitted" if claim["fitted"] else "predicted"} for claim in claims]
    if named:
        print_table(console, columns, [[str(claim[column]) for column in columns] for claim in named], CLAIMS)
    console.print()
