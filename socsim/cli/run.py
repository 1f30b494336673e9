"""``socsim run``: one prompt under one engine and scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsim.cli.console import keep_stdout_for, make_console, one_line, print_json
from socsim.cli.files import check_outputs, write_outputs
from socsim.cli.options import (
    DEFAULT_ENGINE,
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
from socsim.cli.progress import counted_steps
from socsim.errors import SocsimError

if TYPE_CHECKING:
    from socsim.bottlenecks import Explanation
    from socsim.runs import Case, Result
    from socsim.uncertainty import Band

EXAMPLES = """\b
Examples:
  socsim run --model gemma-2b --prompt-tokens 512 --output-tokens 32
  socsim run --engine npu-chunk --explain --plot gantt.png
  socsim run --uncertainty --soc snapdragon-8-gen-2
  socsim run --set soc.processors.npu.launch_overhead_s=20e-6 --json
  socsim run --scheduler my_policies:shortest_first --log decisions.csv
"""


def run_command(
    soc: SocOption = DEFAULT_SOC,
    model: ModelOption = DEFAULT_MODEL,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME|FILE", help="Runtime engine: a name from 'socsim list engines', or a TOML file.")
    ] = DEFAULT_ENGINE,
    prompt_tokens: PromptOption = DEFAULT_PROMPT_TOKENS,
    output_tokens: OutputOption = 1,
    cached_tokens: CachedOption = 0,
    chunk_tokens: ChunkOption = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="NAME|MODULE:FUNCTION",
            help="Policy: a name from 'socsim list schedulers', or your own function.  [default: the engine's]",
        ),
    ] = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
    explain: ExplainOption = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Add bands that hold 80 % of the predictions of equally plausible parameters.")
    ] = False,
    trace: TraceOption = None,
    plot: PlotOption = None,
    log: LogOption = None,
) -> None:
    """Simulate one prompt and print time, throughput, utilization, energy and memory."""
    overrides, chunk = parse_overrides(settings), parse_chunk_tokens(chunk_tokens)
    check_outputs(trace=trace, plot=plot, log=log)
    workload = Workload(soc, model, prompt_tokens, output_tokens, cached_tokens, chunk, overrides)
    from socsim.bottlenecks import explain as explain_result
    from socsim.runs import make_case
    from socsim.schedulers import load_scheduler

    with keep_stdout_for(as_json):
        if scheduler is not None:
            load_scheduler(scheduler)  # before anything is built
        case = make_case(soc, model, engine, scheduler=scheduler, **workload.options())
        result, failure = simulate_case(case, log)
        explanation = explain_result(result, case.engine.scheduler) if explain else None
        bands = simulate_bands(workload, engine, scheduler) if uncertainty and not failure else {}
    _print(result, explanation, bands, as_json)
    write_outputs([result], trace, plot, failure)


def simulate_bands(workload: Workload, engine: str, scheduler: str | None) -> dict[str, Band]:
    """Return the uncertainty of a run, simulated under each parameter set of the ensemble."""
    from socsim.uncertainty import load_ensemble, uncertainty_bands

    with counted_steps("uncertainty", len(load_ensemble())) as progress:
        return uncertainty_bands(workload.soc, workload.model, engine, scheduler=scheduler, progress=progress, **workload.options())


def _print(result: Result, explanation: Explanation | None, bands: Mapping[str, Band], as_json: bool) -> None:
    """Print a run as JSON or as tables."""
    from socsim.cli.report import full_record, print_bands, print_result

    if as_json:
        more = {"explain": explanation.to_dict()} if explanation else {}
        if bands:
            more["uncertainty"] = {metric: {"p10": band.low, "p50": band.median, "p90": band.high} for metric, band in bands.items()}
        print_json(full_record(result) | more)
        return
    from socsim.cli.explanation import print_explanation

    console = make_console()
    print_result(console, result)
    if bands:
        print_bands(console, bands)
    if explanation:
        print_explanation(console, explanation)


def simulate_case(case: Case, log: Path | None = None) -> tuple[Result, SocsimError | None]:
    """Simulate a case under its engine's scheduler, with every decision written to a file if one is given.

    A file that cannot be completed when the run is over is returned as a failure, so that the result is not lost.
    """
    from socsim.runs import run_case

    if log is None:
        return run_case(case), None
    from socsim.decisions import decision_log

    result = None
    try:
        with decision_log(case.engine.scheduler, log) as policy:
            result = run_case(case, policy)
    except SocsimError as error:
        if result is None:
            raise
        return result, error
    one_line("wrote", log)
    return result, None
