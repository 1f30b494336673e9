"""``socsim schedule``: all scheduling policies on one prefill, and how far each is from what no order beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsim.cli.console import keep_stdout_for, make_console, one_line, print_json
from socsim.cli.files import check_outputs
from socsim.cli.options import (
    DEFAULT_ENGINE,
    DEFAULT_MODEL,
    DEFAULT_PROMPT_TOKENS,
    DEFAULT_SOC,
    ChunkOption,
    JsonOption,
    ModelOption,
    PlotOption,
    PromptOption,
    SetOption,
    SocOption,
    parse_chunk_tokens,
    parse_overrides,
)
from socsim.cli.progress import counted_steps
from socsim.errors import SocsimError

if TYPE_CHECKING:
    from socsim.policy_comparison import Comparison
    from socsim.runs import Case

DEFAULT_TIME_LIMIT_S = 60.0

EXAMPLES = """\b
Examples:
  socsim schedule --model gemma-2b --prompt-tokens 512
  socsim schedule --optimal --time-limit 20 --plot gantts.pdf
  socsim schedule --scheduler out-of-order --scheduler my_policies:longest_first
  socsim schedule --chunk-tokens 256,128,256,256 --set run.memory=private --json
"""


def schedule_command(
    soc: SocOption = DEFAULT_SOC,
    model: ModelOption = DEFAULT_MODEL,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME|FILE", help="Runtime engine: a name from 'socsim list engines', or a TOML file.")
    ] = DEFAULT_ENGINE,
    prompt_tokens: PromptOption = DEFAULT_PROMPT_TOKENS,
    chunk_tokens: ChunkOption = None,
    scheduler: Annotated[
        list[str] | None,
        typer.Option(
            "--scheduler",
            metavar="NAME|MODULE:FUNCTION",
            help="Policy: a name from 'socsim list schedulers', or your own function; repeatable.  [default: all shipped]",
        ),
    ] = None,
    optimal: Annotated[
        bool, typer.Option("--optimal", help="Search with OR-Tools for the best order of all, and prove how good it is.")
    ] = False,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", metavar="SECONDS", help=f"How long --optimal may search.  [default: {DEFAULT_TIME_LIMIT_S:g}]"),
    ] = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Compare scheduling policies on one prefill: makespan, distance to the lower bound, bubbles, energy, and time to decide.

    Planning and decision times are those of this machine and change from run to run, as may what a search that runs out of time finds.
    Chunks are the same for all: with --chunk-tokens auto, those that suit the engine's own scheduler.
    """
    overrides, chunk = parse_overrides(settings), parse_chunk_tokens(chunk_tokens)
    check_outputs(plot=plot)
    limit_s = _check_time_limit(optimal, time_limit)
    from socsim.cost import true_costs
    from socsim.optimal import check_solvable
    from socsim.runs import make_case
    from socsim.schedulers import SCHEDULERS, load_scheduler

    with keep_stdout_for(as_json):
        policies = scheduler or list(SCHEDULERS)
        for name in policies:
            load_scheduler(name)  # before anything is built
        case = make_case(soc, model, engine, prompt_tokens=prompt_tokens, chunk_tokens=chunk, overrides=overrides)
        if optimal:
            check_solvable(true_costs(case.costs, case.run))
        comparison = _compare(case, policies, limit_s)
    from socsim.cli.policy_table import comparison_record, print_policies

    if as_json:
        print_json(comparison_record(comparison, limit_s))
    else:
        print_policies(make_console(), comparison)
    if plot:
        _draw(comparison, plot)


def _check_time_limit(optimal: bool, time_limit_s: float | None) -> float | None:
    """Return how long to search for the best order; None: not at all."""
    if time_limit_s is None:
        return DEFAULT_TIME_LIMIT_S if optimal else None
    if not optimal:
        raise SocsimError(f"--time-limit {time_limit_s:g}: only goes with --optimal")
    if not 0 < time_limit_s < math.inf:
        raise SocsimError(f"--time-limit {time_limit_s:g}: allowed: seconds above 0")
    return time_limit_s


def _compare(case: Case, policies: Sequence[str], limit_s: float | None) -> Comparison:
    """Simulate all policies, then search for the best order if that is wanted."""
    from socsim.policy_comparison import Comparison, best_schedule, compare_policies

    with counted_steps("simulating", len(policies)) as progress:
        results = compare_policies(case, policies, progress)
    if limit_s is None:
        return Comparison(case, results)
    with counted_steps(f"solving, up to {limit_s:g} s", 1):
        return Comparison(case, results, best_schedule(case, limit_s))


def _draw(comparison: Comparison, path: Path) -> None:
    """Draw the Gantt charts of all runs, one above the other on one time axis."""
    from socsim.cli.policy_table import facts
    from socsim.plots import gantt, save
    from socsim.policy_comparison import makespan_s

    runs = comparison.runs
    window_s = (0.0, 1.01 * max(map(makespan_s, runs)))
    save(gantt([run.timeline for run in runs], facts=facts(comparison), window_s=window_s), path)
    one_line("wrote", path)
