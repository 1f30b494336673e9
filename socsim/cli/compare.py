"""``socsim compare``: one prompt under several engines and schedulers, side by side."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from socsim.cli.console import keep_stdout_for, make_console, print_json
from socsim.cli.files import check_outputs, write_outputs
from socsim.cli.options import (
    DEFAULT_MODEL,
    DEFAULT_PROMPT_TOKENS,
    DEFAULT_SOC,
    CachedOption,
    ChunkOption,
    ExplainOption,
    JsonOption,
    LogOption,
    ModelOption,
    OutputOption,
    PlotOption,
    PromptOption,
    SetOption,
    SocOption,
    TraceOption,
    Workload,
    parse_chunk_tokens,
    parse_overrides,
)
from socsim.cli.run import simulate_case
from socsim.errors import SocsimError

if TYPE_CHECKING:
    from socsim.bottlenecks import Explanation
    from socsim.runs import Case, Result

EXAMPLES = """\b
Examples:
  socsim compare
  socsim compare --engine cpu-only --engine llm-npu --output-tokens 16
  socsim compare --engine llm-npu --scheduler in-order --scheduler out-of-order --plot gantt.png
"""


class Finished(NamedTuple):
    """What a comparison knows of one run."""

    result: Result
    explanation: Explanation | None


def compare_command(
    soc: SocOption = DEFAULT_SOC,
    model: ModelOption = DEFAULT_MODEL,
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", metavar="NAME|FILE", help="Runtime engine by name or TOML file; repeatable.  [default: all shipped]"),
    ] = None,
    prompt_tokens: PromptOption = DEFAULT_PROMPT_TOKENS,
    output_tokens: OutputOption = 1,
    cached_tokens: CachedOption = 0,
    chunk_tokens: ChunkOption = None,
    scheduler: Annotated[
        list[str] | None,
        typer.Option(
            "--scheduler", metavar="NAME|MODULE:FUNCTION", help="Policy for each of the engines; repeatable.  [default: the engine's own]"
        ),
    ] = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
    explain: ExplainOption = False,
    trace: TraceOption = None,
    plot: PlotOption = None,
    log: LogOption = None,
) -> None:
    """Simulate one prompt under several engines and schedulers, one table row each.

    The speed-up is relative to the first row. With --log, each run gets a file of its own, numbered by row.
    """
    overrides, chunk = parse_overrides(settings), parse_chunk_tokens(chunk_tokens)
    check_outputs(trace=trace, plot=plot, log=log)
    workload = Workload(soc, model, prompt_tokens, output_tokens, cached_tokens, chunk, overrides)
    from socsim.catalog import list_engines

    with keep_stdout_for(as_json):
        cases = make_cases(workload, engine or list_engines(), scheduler or [None])
        finished, failure = _simulate_all(cases, explain, log)
    if not finished and failure:
        raise failure
    _print(finished, as_json)
    write_outputs([run.result for run in finished], trace, plot, failure)


def make_cases(workload: Workload, engines: Sequence[str], schedulers: Sequence[str | None]) -> list[Case]:
    """Check and build all runs before the first is simulated, engine by engine.

    Raises
    ------
    SocsimError
        An engine cannot run; the message names it.
    """
    from socsim.catalog import load_model, load_soc
    from socsim.runs import make_case
    from socsim.schedulers import load_scheduler

    soc, model = load_soc(workload.soc), load_model(workload.model)
    for name in schedulers:
        if name is not None:
            load_scheduler(name)
    cases = []
    for engine in engines:
        try:
            cases += [make_case(soc, model, engine, scheduler=scheduler, **workload.options()) for scheduler in schedulers]
        except SocsimError as error:
            raise SocsimError(str(error) if engine in str(error) else f"engine {engine}: {error}") from None
    return cases


def _simulate_all(cases: Sequence[Case], explain: bool, log: Path | None) -> tuple[list[Finished], SocsimError | None]:
    """Simulate all cases; a policy that fails ends it, and what was finished before is kept."""
    from socsim.bottlenecks import explain as explain_result

    finished: list[Finished] = []
    for number, case in enumerate(_with_progress(cases), start=1):
        try:
            result, failure = simulate_case(case, log and _numbered(log, number, case))
            finished.append(Finished(result, explain_result(result, case.engine.scheduler) if explain else None))
            if failure:
                return finished, failure
        except SocsimError as error:
            return finished, SocsimError(f"engine {case.engine.name}, scheduler {case.engine.scheduler}: {error}")
    return finished, None


def _with_progress(cases: Sequence[Case]) -> Iterable[Case]:
    """Return the cases, with a progress bar on standard error if there are several and somebody looks."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(cases, "simulating", console=console, transient=True) if len(cases) > 1 and console.is_terminal else cases


def _numbered(log: Path, number: int, case: Case) -> Path:
    """Return the file of one run's decisions, such as ``log-2-llm-npu-fifo.csv``."""
    name = re.sub(r"[^\w.]+", "-", f"{number} {case.engine.name} {case.engine.scheduler}")
    return log.with_name(f"{log.stem}-{name}{log.suffix}")


def _print(finished: Sequence[Finished], as_json: bool) -> None:
    """Print a comparison as JSON or as a table with each run's conclusion."""
    if as_json:
        from socsim.cli.report import full_record
        from socsim.runs import SCHEMA_VERSION

        runs = [full_record(run.result) | ({"explain": run.explanation.to_dict()} if run.explanation else {}) for run in finished]
        print_json({"schema_version": SCHEMA_VERSION, "runs": runs})
        return
    from socsim.cli.comparison import print_comparison
    from socsim.cli.explanation import print_conclusions

    console = make_console()
    print_comparison(console, [run.result for run in finished])
    if finished[0].explanation:
        print_conclusions(console, [(run.result, run.explanation) for run in finished if run.explanation])
