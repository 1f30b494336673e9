"""The command line: arguments to calls of `socsim`, and their results to tables or JSON.

Nothing heavy is imported here: each command loads what it needs when it runs, so that ``socsim --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from socsim import __version__
from socsim.cli import (
    accuracy,
    calibrate,
    catalog,
    compare,
    experiment,
    plot,
    report_page,
    run,
    schedule,
    sweep,
    tune,
    validate,
    verify,
    weights,
)
from socsim.cli.console import one_line, one_line_warnings
from socsim.cli.options import SeveralFiles
from socsim.errors import SocsimError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 1

EXAMPLES = """\b
Examples (each command's --help has more):
  socsim run --model gemma-2b --prompt-tokens 512
  socsim compare --engine cpu-only --engine llm-npu
  socsim validate --quick
"""

app = typer.Typer(
    help="Simulate large language models on phone SoCs: how fast, how frugal, before you have the phone.",
    epilog=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    add_completion=False,
    rich_markup_mode=None,  # rich help would double the time of --help
    pretty_exceptions_enable=False,
)
app.command("run", short_help="Simulate one prompt.", epilog=run.EXAMPLES)(run.run_command)
app.command("compare", short_help="Simulate one prompt under several engines and schedulers.", epilog=compare.EXAMPLES)(
    compare.compare_command
)
app.command("schedule", short_help="Simulate one prefill under all schedulers, beside a proven bound.", epilog=schedule.EXAMPLES)(
    schedule.schedule_command
)
app.command("validate", cls=SeveralFiles, short_help="Show predictions beside what was measured.", epilog=validate.EXAMPLES)(
    validate.validate_command
)
app.command("calibrate", cls=SeveralFiles, short_help="Fit SoCs and engines to measurements.", epilog=calibrate.EXAMPLES)(
    calibrate.calibrate_command
)
app.command("list", short_help="List socs, models, engines or schedulers.", epilog=catalog.LIST_EXAMPLES)(catalog.list_command)
app.command("show", short_help="Show every number of a SoC, model or engine with its source.", epilog=catalog.SHOW_EXAMPLES)(
    catalog.show_command
)
app.command("verify", short_help="Compute a real prompt in every scheduler's order.", epilog=verify.EXAMPLES)(verify.verify_command)
app.command("accuracy", short_help="Measure what quantization does to a real model.", epilog=accuracy.EXAMPLES)(accuracy.accuracy_command)
app.command("experiment", short_help="Make the figures and tables of the paper, and others.", epilog=experiment.EXAMPLES)(
    experiment.experiment_command
)
app.command("sweep", short_help="Simulate every point of a design space.", epilog=sweep.EXAMPLES)(sweep.sweep_command)
app.command("plot", short_help="Draw what a sweep found.", epilog=plot.EXAMPLES)(plot.plot_command)
app.command("tune", short_help="Find the best settings of an engine for a workload.", epilog=tune.EXAMPLES)(tune.tune_command)
app.command("report", short_help="Write all experiments as one page.", epilog=report_page.EXAMPLES)(report_page.report_command)
app.add_typer(weights.app, name="weights", short_help="Fetch or add the weights of real models.")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"socsim {__version__}")
        raise typer.Exit


VersionOption = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")]


@app.callback(invoke_without_command=True)
def _without_command(context: typer.Context, version: VersionOption = False) -> None:  # noqa: ARG001 (its callback has done all)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 when all went well, 1 when a fit is not sound, 2 on bad input, 130 when interrupted."""
    if sys.stdout is None:  # closed by the caller: there is nobody to print to
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (for the rest of the process)
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.append(str(Path.cwd()))  # a scheduler given as module:function may be a file of the current folder
    sys.exit(_exit_code(arguments))


def program(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line as all that this process does: when interrupted, it ends at once, whatever its threads still compute."""
    try:
        main(arguments)
    except SystemExit as stop:
        if stop.code != EXIT_INTERRUPTED:
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_INTERRUPTED)


def run_script(script: str) -> NoReturn:
    """Run an experiment's file as ``socsim experiment`` does, with the arguments of this process, and exit."""
    program(["experiment", script, *sys.argv[1:]])


def _exit_code(arguments: Sequence[str] | None) -> int:
    """Run the command line, with every foreseeable failure as one line."""
    try:
        with one_line_warnings():
            code = app(args=arguments, prog_name="socsim", standalone_mode=False)
        sys.stdout.flush()
    except SocsimError as error:
        one_line("error", error)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        _drop_stdout()
        one_line("error", f"{error.filename or 'standard output'}: {error.strerror}")
    except Exception as error:
        if not hasattr(error, "format_message"):  # a usage error: its class is in another place in each version of typer
            raise
        one_line("error", _usage_message(error))
    else:
        return code if isinstance(code, int) else 0
    return EXIT_BAD_INPUT


def _usage_message(error: Exception) -> str:
    """Return what is wrong with the arguments and where to look."""
    message = str(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    return f"{message[:1].lower()}{message[1:]} (see '{context.command_path if context else 'socsim'} --help')"


def _drop_stdout() -> None:
    """Keep the interpreter from trying once more to write what standard output did not take."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
