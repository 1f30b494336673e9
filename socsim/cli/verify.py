"""``socsim verify``: a real prompt, simulated and computed under every scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from socsim.cli.console import make_console, one_line, print_json
from socsim.cli.options import (
    DEFAULT_ENGINE,
    DEFAULT_SOC,
    JsonOption,
    SetOption,
    SocOption,
    parse_chunk_tokens,
    parse_count,
    parse_overrides,
)
from socsim.cli.progress import named_steps
from socsim.cli.tables import make_table
from socsim.errors import SocsimError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

    from socsim.numerics.tokenizer import Tokenizer
    from socsim.numerics.verify import Verification
    from socsim.numerics.weights import Weights
    from socsim.runs import Case

EXIT_FAILED = 1
Record = dict[str, Any]

EXAMPLES = """\b
Examples:
  socsim verify
  socsim verify --schedulers fifo,my_policies:shortest_first --prompt-tokens 500
  socsim verify --measured-outliers --set engine.outlier_pruning_rate=0.5 --json
"""


def verify_command(
    schedulers: Annotated[
        str | None,
        typer.Option(
            "--schedulers", metavar="NAME,...", help="Policies, by name or module:function, separated by commas.  [default: all shipped]"
        ),
    ] = None,
    prompt_tokens: Annotated[
        int, typer.Option("--prompt-tokens", metavar="N", parser=parse_count, help="Tokens of the prompt, from the start of the text.")
    ] = 256,
    chunk_tokens: Annotated[
        str, typer.Option("--chunk-tokens", metavar="C|C,C,...|auto|prompt", help="Tokens of a chunk, or of each; as for 'socsim run'.")
    ] = "64",
    weights: Annotated[str | None, typer.Option("--weights", metavar="NAME", help="Real model, from 'socsim weights list'.")] = None,
    soc: SocOption = DEFAULT_SOC,
    engine: Annotated[
        str,
        typer.Option("--engine", metavar="NAME|FILE", help="Runtime engine; its precision decides how linears are quantized."),
    ] = DEFAULT_ENGINE,
    text: Annotated[
        Path | None, typer.Option("--text", metavar="FILE", help="Prompt, as UTF-8 text.  [default: documentation of Python]")
    ] = None,
    measured_outliers: Annotated[
        bool, typer.Option("--measured-outliers", help="Simulate again with the outlier channels and disk fetches that occurred.")
    ] = False,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate a real prompt under every scheduler, compute it in the simulated order, and compare the results bit by bit.

    Each subgraph's kernel runs when the simulator starts it and sees only what subgraphs that ended before have written. Splitting the
    prompt into chunks is checked as well. The exit code is 1 if anything differs.
    """
    overrides = parse_overrides(settings)
    from socsim.numerics.tokenizer import load_tokenizer
    from socsim.numerics.verify import real_case
    from socsim.numerics.weights import DEFAULT_WEIGHTS, load_weights
    from socsim.schedulers import SCHEDULERS, load_scheduler

    names = list(SCHEDULERS) if schedulers is None else list(dict.fromkeys(name.strip() for name in schedulers.split(",")))
    for name in names:
        load_scheduler(name)
    tokenizer = load_tokenizer(weights or DEFAULT_WEIGHTS)
    tokens, model = prompt_of(tokenizer, prompt_tokens, text), load_weights(weights or DEFAULT_WEIGHTS)
    case = real_case(model, soc, engine, prompt_tokens, chunk_tokens=parse_chunk_tokens(chunk_tokens), overrides=overrides)
    found = shown_verify(model, tokens, case, names, measured_outliers)
    record = to_record(found, tokenizer)
    if as_json:
        print_json(record)
    else:
        print_verification(make_console(), record)
    if not found.passed:
        one_line("error", "results differ")
        raise typer.Exit(EXIT_FAILED)


def shown_verify(
    weights: Weights, tokens: NDArray[np.int64], case: Case, schedulers: Sequence[str], measured_outliers: bool
) -> Verification:
    """Verify, showing how far it is."""
    from socsim.numerics.profiles import calibration, load_profile
    from socsim.numerics.texts import WINDOW_TOKENS
    from socsim.numerics.verify import SEQUENTIAL, verify

    made_of = calibration(weights)
    with named_steps("profiling", len(range(0, made_of.tokens, WINDOW_TOKENS))) as step:
        profile = load_profile(made_of, progress=step)
    with named_steps("computing", 2 + len([name for name in schedulers if name != SEQUENTIAL])) as step:
        return verify(weights, profile, tokens, case, schedulers, measured_outliers=measured_outliers, progress=step)


def prompt_of(tokenizer: Tokenizer, tokens: int, file: Path | None) -> NDArray[np.int64]:
    """Return the first tokens of a text, which is not the one that scales are calibrated on.

    Raises
    ------
    SocsimError
        The text has fewer tokens, or none are asked for.
    """
    import numpy as np

    from socsim.numerics.texts import default_text, read_text

    if tokens < 1:
        raise SocsimError(f"--prompt-tokens {tokens}: allowed: whole numbers from 1")
    text = read_text(file) if file else default_text("evaluation")
    ids = tokenizer.encode(text.text)
    if len(ids) < tokens:
        raise SocsimError(f"{text.name}: has {len(ids):,} tokens, fewer than the {tokens:,} asked for with --prompt-tokens")
    return np.array(ids[:tokens], dtype=np.int64)


def to_record(found: Verification, tokenizer: Tokenizer) -> Record:
    """Return what was found under stable names, as ``--json`` prints it."""
    from socsim.numerics.verify import FLOAT32_TOLERANCE, FLOAT64_TOLERANCE, outlier_means, shadow_s
    from socsim.version import __version__

    case, (channels, cold) = found.case, outlier_means(found.outliers)
    return {
        "schema_version": 1,
        "socsim_version": __version__,
        "soc": case.soc.name,
        "model": case.llm.name,
        "engine": case.engine.name,
        "prompt_tokens": case.run.prompt_tokens,
        "chunk_plan": [chunk.rows for chunk in case.chunks],
        "quantization": case.engine.precision.quantization,
        "weight_scales": case.engine.precision.weight_scales if case.engine.precision.quantization == "per-tensor" else None,
        "kept_linears": len(found.outliers),
        "passed": found.passed,
        "schedulers": [
            {
                "scheduler": each.scheduler,
                "ttft_s": each.ttft_s,
                "measured_outliers_ttft_s": each.measured_ttft_s,
                "subgraphs_moved": each.moved,
                "bit_identical": each.identical,
                "next_token": _token(each.logits, tokenizer),
            }
            for each in found.schedulers
        ],
        "chunked_over_unsplit": {
            "float64_difference": found.float64_difference,
            "float64_tolerance": FLOAT64_TOLERANCE,
            "float32_difference": found.float32_difference,
            "float32_tolerance": FLOAT32_TOLERANCE,
            "next_token_equal": found.split_token_equal,
            "next_token": _token(found.float32_logits, tokenizer),
        },
        "outliers": _outlier_rows(found),
        "outlier_channels_mean": channels,
        "cold_outlier_fraction": cold,
        "shadow_s": shadow_s(case),
        "measured_outliers_shadow_s": None if found.measured is None else shadow_s(found.measured),
        "overrides": dict(case.overrides),
    }


def _token(logits: Any, tokenizer: Tokenizer) -> Record:
    token = int(logits.argmax())
    return {"id": token, "text": tokenizer.decode([token])}


def _outlier_rows(found: Verification) -> list[Record]:
    """Return the float work that occurred, by linear over all blocks and chunks."""
    from socsim.specs import LINEARS

    rows = []
    for linear in LINEARS:
        shadows = [each for (_, name), group in found.outliers.items() if name == linear for each in group]
        if shadows:
            channels = [len(each.channels) for each in shadows]
            rows.append(
                {
                    "linear": linear,
                    "kept": sum(name == linear for _, name in found.outliers),
                    "channels_mean": sum(channels) / len(channels),
                    "channels_max": max(channels),
                    "fetched_mean": sum(each.fetched for each in shadows) / len(shadows),
                }
            )
    return rows


def print_verification(console: Console, record: Record) -> None:
    """Print what was found as tables."""
    chunks, measured = record["chunk_plan"], any(each["measured_outliers_ttft_s"] is not None for each in record["schedulers"])
    length = f"{'up to ' if min(chunks) < max(chunks) else ''}{max(chunks)}"
    console.print(
        f"{record['model']} on {record['soc']} under {record['engine']}: {record['prompt_tokens']} tokens, "
        f"{len(chunks)} chunk{'s' if len(chunks) > 1 else ''} of {length}; {_precision(record)}"
    )
    console.print()
    more = ["measured"] if measured else []
    table = make_table(["scheduler", "logits", "token", "moved", "TTFT (ms)", *more], 2 + len(more))
    table.columns[0].no_wrap = True
    for each in record["schedulers"]:
        logits = "identical" if each["bit_identical"] else "DIFFER"
        times = [each["ttft_s"], each["measured_outliers_ttft_s"]][: 1 + len(more)]
        table.add_row(
            each["scheduler"], logits, repr(each["next_token"]["text"]), str(each["subgraphs_moved"]), *(f"{1e3 * s:.1f}" for s in times)
        )
    console.print(table)
    notes = ["logits: of the last token, beside those of the sequential order; token: the likeliest next one"]
    notes += ["moved: subgraphs that start at another place than in that order"]
    notes += ["measured: TTFT with the outlier channels and fetches that occurred"] if measured else []
    console.print("; ".join(notes))
    console.print()
    split = record["chunked_over_unsplit"]
    if len(chunks) == 1:
        console.print("one chunk: there is no split to compare")
    table = make_table(["chunked over unsplit prompt, not quantized", "", "largest difference", "allowed"], 2)
    for dtype in ("float64", "float32"):
        difference, tolerance = split[f"{dtype}_difference"], split[f"{dtype}_tolerance"]
        table.add_row(f"hidden states, {dtype}", "ok" if difference <= tolerance else "TOO FAR", f"{difference:.1e}", f"{tolerance:.0e}")
    equal = "ok" if split["next_token_equal"] else "DIFFERS"
    table.add_row(f"next token, not quantized: {split['next_token']['text']!r}", equal, "", "")
    if len(chunks) > 1:
        console.print(table)
    if record["outliers"]:
        console.print()
        table = make_table(["linear", "kept", "channels, mean", "channels, most", "fetched, mean"], 4)
        for row in record["outliers"]:
            means = f"{row['channels_mean']:.1f}", str(row["channels_max"]), f"{row['fetched_mean']:.1f}"
            table.add_row(row["linear"], str(row["kept"]), *means)
        console.print(table)
        console.print(
            f"outlier channels of one linear in one chunk; all: {record['outlier_channels_mean']:.1f}, "
            f"{record['cold_outlier_fraction']:.0%} of them fetched from flash"
        )
        if measured:
            before, after = (1e3 * record[name] for name in ("shadow_s", "measured_outliers_shadow_s"))
            console.print(f"all shadow work on the CPU: {before:.3g} ms as the engine is described, {after:.3g} ms with these")


def _precision(record: Record) -> str:
    """Say how linears are computed."""
    if record["quantization"] == "none":
        return "linears not quantized"
    scales = f", weights per {record['weight_scales']}" if record["weight_scales"] else ""
    kept = f", outliers of {record['kept_linears']} linears kept" if record["kept_linears"] else ""
    return f"int8 {record['quantization']}{scales}{kept}"
