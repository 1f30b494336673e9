"""``socsim accuracy``: what quantization schemes do to a real model, on a text."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from socsim.cli.console import make_console, one_line, print_json
from socsim.cli.files import check_outputs
from socsim.cli.options import JsonOption, parse_count
from socsim.cli.progress import named_steps
from socsim.errors import SocsimError, unknown_name

if TYPE_CHECKING:
    from socsim.numerics.accuracy import Study
    from socsim.numerics.cases import Case
    from socsim.numerics.profiles import Calibration

TABLES = ("schemes", "ablation", "curve", "importance")
SCHEME_NAMES = ("float32", "per-tensor", "per-group", "smoothquant", "llm-int8", "shadow", "shadow-plus")
"""Those of `socsim.numerics.schemes.SCHEMES`, which help does without importing."""
NATS, RATIO = "nats/token", "ratio"
Record = dict[str, Any]

EXAMPLES = """\b
Examples:
  socsim accuracy
  socsim accuracy --schemes shadow,shadow-plus --weight-scales channel --pruning-rate 0.5 --pruning-rate 0.9
  socsim accuracy --table ablation
  socsim accuracy --table curve --output curve.csv --plot curve.png
"""
CALIBRATE_EXAMPLES = """\b
Examples:
  socsim weights calibrate
  socsim weights calibrate --name mine --text prose.txt --tokens 4096
"""

NameOption = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Weights, from 'socsim weights list'.")]
TableOption = Annotated[
    str,
    typer.Option(
        "--table",
        metavar="|".join(TABLES),
        help="Schemes beside each other; from shadow to shadow-plus; by pruning rate; or how far outliers of each linear go.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Compute it again.")]


def accuracy_command(
    schemes: Annotated[
        list[str] | None,
        typer.Option("--schemes", metavar="NAME,...", help=f"Of {', '.join(SCHEME_NAMES)}; repeatable.  [default: all]"),
    ] = None,
    weight_scales: Annotated[
        str, typer.Option("--weight-scales", metavar="tensor|channel|both", help="One scale per weight matrix or per output channel.")
    ] = "both",
    pruning_rate: Annotated[
        list[float] | None,
        typer.Option("--pruning-rate", metavar="R", help="Share of linears without float work, of shadow and shadow-plus; repeatable."),
    ] = None,
    table: TableOption = "schemes",
    text: Annotated[
        Path | None, typer.Option("--text", metavar="FILE", help="Text to measure on, in UTF-8.  [default: documentation of Python]")
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", parser=parse_count, help="Tokens of it.")] = 4096,
    calibration_text: Annotated[
        Path | None,
        typer.Option("--calibration-text", metavar="FILE", help="Text for scales and outliers.  [default: other documentation]"),
    ] = None,
    calibration_tokens: Annotated[
        int, typer.Option("--calibration-tokens", metavar="N", parser=parse_count, help="Tokens of that.")
    ] = 8192,
    weights: Annotated[str | None, typer.Option("--weights", metavar="NAME", help="Real model, from 'socsim weights list'.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the divergence as .png, .pdf or .svg.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the table as CSV.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what quantization schemes do to a real model: perplexity, divergence from float32, agreement, float work beside int8.

    The text is cut into prompts of 512 tokens in chunks of 256. Scales and outliers are found on another text: the first run
    profiles 8,192 tokens for that, which takes half a minute, once. What was measured is kept in the cache, of an interrupted run, too.
    """
    if table not in TABLES:
        raise unknown_name("--table", table, TABLES)
    check_outputs(plot=plot, output=output)
    if plot and table == "importance":
        raise SocsimError(f"--plot '{plot}': there is no figure of --table importance")
    use_one_thread_per_product()
    from socsim.numerics.profiles import CALIBRATION_TOKENS

    names = [name.strip() for each in schemes or () for name in each.split(",")]
    cases = cases_of(table, names, weight_scales, pruning_rate or ())
    made_of = calibration_of(weights, calibration_text, calibration_tokens, "--calibration-tokens")
    report = accuracy_report(study_of(made_of, text, tokens), cases) if cases else importance_report(made_of)
    given = {
        "--table": table if table != "schemes" else None,
        "--schemes": ",".join(names),
        "--weight-scales": weight_scales if weight_scales != "both" else None,
        "--pruning-rate": " --pruning-rate ".join(f"{rate:g}" for rate in pruning_rate or ()),
        "--text": text if cases else None,
        "--tokens": tokens if cases else None,
        "--calibration-text": calibration_text,
        "--calibration-tokens": calibration_tokens if calibration_tokens != CALIBRATION_TOKENS else None,
        "--weights": weights,
    }
    report |= {"table": table, "command": "socsim accuracy" + "".join(f" {option} {value}" for option, value in given.items() if value)}
    show(report, as_json, plot, output)


def cases_of(table: str, names: list[str], weight_scales: str, rates: Sequence[float]) -> list[Case]:
    """Return the rows of a table; none of that of importance, for which nothing is measured."""
    from socsim.numerics.cases import DEFAULT_RATES, ablation_cases, curve_cases, scheme_cases

    if table == "schemes":
        cases = scheme_cases(names, weight_scales, rates)
        if rates and all(case.scheme.name not in DEFAULT_RATES for case in cases):
            raise SocsimError(f"--pruning-rate: applies to {' and '.join(DEFAULT_RATES)}; --schemes has neither")
        return cases
    if names or rates or weight_scales != "both":
        raise SocsimError(f"--table {table}: has schemes of its own; --schemes, --weight-scales and --pruning-rate go with 'schemes' only")
    return {"ablation": ablation_cases, "curve": curve_cases}.get(table, list)()


def use_one_thread_per_product() -> None:
    """Have numpy's products use one thread each, as several prompts are computed at a time; threads of one product wait for each other."""
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def calibration_of(weights: str | None, text: Path | None, tokens: int, option: str) -> Calibration:
    """Return what a profile is to be made of; messages name the option of its tokens."""
    from socsim.numerics.profiles import calibration
    from socsim.numerics.texts import check_tokens, default_text, read_text
    from socsim.numerics.weights import DEFAULT_WEIGHTS, load_weights

    check_tokens(tokens, option)
    chosen = read_text(text) if text else default_text("calibration")
    chosen.option = option
    return calibration(load_weights(weights or DEFAULT_WEIGHTS), chosen, tokens)


def study_of(made_of: Calibration, text: Path | None, tokens: int) -> Study:
    """Return what is measured on what."""
    from socsim.numerics.accuracy import Study
    from socsim.numerics.texts import default_text, read_text

    return Study(made_of.weights, read_text(text) if text else default_text("evaluation"), tokens, made_of)


def profile_steps(made_of: Calibration, *, force: bool = False) -> int:
    """Return how many steps a profile takes: none if it is in the cache, unless it is computed in any case."""
    from socsim.numerics.profiles import read_profile
    from socsim.numerics.texts import WINDOW_TOKENS

    return 0 if not force and read_profile(made_of) is not None else -(-made_of.tokens // WINDOW_TOKENS)


def accuracy_report(study: Study, cases: list[Case]) -> Record:
    """Return the measures of schemes, and what they depend on."""
    from socsim.numerics.cases import records

    schemes = [case.scheme for case in cases]
    if steps := study.steps(schemes):
        with named_steps("measuring", steps + profile_steps(study.calibration)) as progress:
            found = study.measure(schemes, progress)
    else:
        found = study.measure(schemes)
    return {"schema_version": 1, **study.about, "python": sys.version.split()[0], "unit": NATS, "rows": records(cases, found)}


def importance_report(made_of: Calibration) -> Record:
    """Return the outlier importance of each linear, and what it depends on."""
    from socsim.numerics.cases import importance_records
    from socsim.numerics.profiles import load_profile

    with named_steps("measuring", profile_steps(made_of)) as progress:
        rows = importance_records(made_of.weights, load_profile(made_of, progress=progress))
    about = {"weights": made_of.weights.name, "text": made_of.text.name, **made_of.about}
    return {"schema_version": 1, **about, "python": sys.version.split()[0], "unit": RATIO, "rows": rows}


def show(report: Record, as_json: bool, plot: Path | None, output: Path | None) -> None:
    """Print and write what was found."""
    if as_json:
        print_json(report)
    else:
        from socsim.cli.quantization import print_accuracy, print_importance

        (print_importance if report["table"] == "importance" else print_accuracy)(make_console(), report)
    if output is not None:
        from socsim.numerics.cases import to_csv

        about = {name: value for name, value in report.items() if name not in ("schema_version", "rows", "command", "unit", "table")}
        try:
            output.write_text(to_csv(report["rows"], about, report["command"], report["unit"]), encoding="utf-8")
        except OSError as error:
            raise SocsimError(f"--output '{output}': cannot be written: {error.strerror}") from None
        one_line("wrote", output)
    if plot is not None:
        from socsim.plots import pruning_curves, save, scheme_losses

        save((pruning_curves if report["table"] == "curve" else scheme_losses)(report["rows"]), plot)
        one_line("wrote", plot)


def calibrate_weights_command(
    name: NameOption = None,
    text: Annotated[Path | None, typer.Option("--text", metavar="FILE", help="Text in UTF-8.  [default: documentation of Python]")] = None,
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", parser=parse_count, help="Tokens of it.")] = 8192,
    force: ForceOption = False,
) -> None:
    """Record what the linears of a model read on a text, and keep it in the cache: scales, outliers and pruning follow from that.

    That takes half a minute for 8,192 tokens, once; other commands do it in their first run where it is missing. With a text of your
    own, name it to 'socsim accuracy' as --calibration-text.
    """
    use_one_thread_per_product()
    made_of = calibration_of(name, text, tokens, "--tokens")
    steps = profile_steps(made_of, force=force)
    from socsim.numerics.profiles import load_profile

    with named_steps("calibrating", steps) as progress:
        load_profile(made_of, force=force, progress=progress)
    state = "now" if steps else "already"
    typer.echo(f"the profile of '{made_of.weights.name}' on {tokens:,} tokens of {made_of.text.name} is {state} in {made_of.path}")
