"""``socsim report``: every experiment on one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from socsim.cli.accuracy import use_one_thread_per_product
from socsim.cli.console import one_line
from socsim.cli.experiment import FORMATS, RESULTS, OutOption, QuickOption, exit_code, run_all
from socsim.cli.options import DEFAULT_ENGINE, DEFAULT_MODEL, DEFAULT_PROMPT_TOKENS, DEFAULT_SOC
from socsim.errors import SocsimError

if TYPE_CHECKING:
    from socsim.experiments.running import Experiment
    from socsim.report import Description

EXAMPLES = """\b
Examples:
  socsim report
  socsim report --quick --out results-quick
  socsim report mine.py
"""


def report_command(
    scripts: Annotated[
        list[str] | None, typer.Argument(metavar="FILE.py", help="Experiments of your own that belong on the page, too.")
    ] = None,
    out: OutOption = RESULTS,
    quick: QuickOption = False,
    force: Annotated[bool, typer.Option("--force", help="Run also experiments that are up to date.")] = False,
) -> int:
    """Run what is missing or out of date of all experiments, and write one page with all of them: DIR/index.html.

    The page needs no network: claims with verdicts, figures and tables, a timeline to zoom in, the configuration, the validation, and where
    everything comes from. An experiment that fails is on it with the reason, and the exit code is not 0. Long ones are on it if they were
    run before, by name.
    """
    use_one_thread_per_product()
    from socsim.experiments.publication import read_record
    from socsim.experiments.running import find_experiment, list_experiments

    shipped = [each for each in list_experiments() if not each.apart or read_record(out / each.name)]
    return make_report([*shipped, *map(find_experiment, scripts or ())], out, quick=quick, force=force)


def make_report(experiments: Sequence[Experiment], out: Path, *, quick: bool, force: bool = False) -> int:
    """Run experiments and write the page with them; return the exit code."""
    import socsim
    from socsim.cli.report import conditions, groups
    from socsim.cli.validate import ALL
    from socsim.cli.validate import make_report as validate
    from socsim.report import collect, write_page

    failures = run_all(experiments, out, quick=quick, formats=FORMATS, force=force)
    main = socsim.run(DEFAULT_SOC, DEFAULT_MODEL, DEFAULT_ENGINE, prompt_tokens=DEFAULT_PROMPT_TOKENS)
    contents = collect(
        experiments,
        out,
        quick=quick,
        failures={name: reason(error) for name, error in failures.items()},
        main=main,
        conditions=list(conditions(main)),
        metrics=[row for _, rows in groups(main) for row in rows],
        configuration=[describe(*each) for each in (("soc", DEFAULT_SOC), ("model", DEFAULT_MODEL), ("engine", DEFAULT_ENGINE))],
        validation=validate(None, ALL, quick=True),
    )
    one_line("wrote", write_page(contents, out))
    return exit_code(failures.values())


def reason(error: Exception) -> str:
    """Return why an experiment failed, in a line."""
    return str(error) if isinstance(error, SocsimError) else f"{type(error).__name__}: {error}"


def describe(what: str, name: str) -> Description:
    """Return what ``socsim show`` says of a SoC, model or engine."""
    from socsim.cli.catalog import read_entries
    from socsim.cli.units import value_text
    from socsim.report import Description

    (title, about), entries = read_entries(what, name)
    kind = {"soc": "SoC"}.get(what, what)
    return Description(kind, title, about, [(each.path, value_text(each.value, each.unit), each.kind, each.source) for each in entries])
