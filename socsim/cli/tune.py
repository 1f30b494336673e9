"""``socsim tune``: the settings of an engine that suit a SoC, a model and a workload best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from socsim.cli.console import keep_stdout_for, make_console, one_line, print_json
from socsim.cli.files import check_outputs
from socsim.cli.options import (
    DEFAULT_ENGINE,
    DEFAULT_MODEL,
    DEFAULT_SOC,
    JsonOption,
    ModelOption,
    SocOption,
    parse_count,
)
from socsim.cli.progress import counted_steps
from socsim.cli.tables import make_table, signed_percent
from socsim.cli.units import quantity
from socsim.errors import SocsimError

if TYPE_CHECKING:
    from rich.console import Console

    from socsim.tuning import Tuned

DEFAULT_OUTPUT = Path("tuned.toml")
DEFAULT_TRIALS = 100
EXAMPLES = """\b
Examples:
  socsim tune --model gemma-2b -o gemma-tuned.toml
  socsim tune --prompt-tokens 256 --prompt-tokens 1024 --energy-weight 0.5
  socsim tune --workload my-prompts.csv --keep placement --max-memory-gb 3
  socsim run --engine gemma-tuned.toml --model gemma-2b
"""

WorkloadOption = Annotated[
    str | None,
    typer.Option(
        "--workload",
        metavar="NAME|FILE.csv",
        help="Prompts: a shipped table, or a CSV with prompt_tokens and, if wanted, output_tokens, weight, name."
        "  [default: llm_npu_table5_prompts]",
    ),
]
PromptsOption = Annotated[
    list[int] | None, typer.Option("--prompt-tokens", metavar="N", parser=parse_count, help="Prompts of this length; repeatable.")
]
WeightOption = Annotated[
    float, typer.Option("--energy-weight", metavar="W", help="0: minimize time to first token; 1: energy; between: both, so weighted.")
]
MemoryOption = Annotated[float | None, typer.Option("--max-memory-gb", metavar="GB", help="Largest memory of a run.")]
LossOption = Annotated[
    float | None,
    typer.Option("--max-accuracy-loss", metavar="%", help="Largest rise of perplexity on the measured curve.  [default: the engine's own]"),
]
GraphsOption = Annotated[
    int | None,
    typer.Option(
        "--max-chunk-graphs", metavar="N", parser=parse_count, help="Most chunk lengths to prebuild.  [default: as many as the engine]"
    ),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="CHOICE", help="Leave chunks, pruning, placement, scheduler or decode as it is; repeatable."),
]
StorageOption = Annotated[
    Path | None, typer.Option("--storage", metavar="FILE", help="Keep what was tried; an interrupted search goes on from there.")
]


def tune_command(
    soc: SocOption = DEFAULT_SOC,
    model: ModelOption = DEFAULT_MODEL,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME|FILE", help="Engine to start from: a name from 'socsim list engines', or a TOML file.")
    ] = DEFAULT_ENGINE,
    workload: WorkloadOption = None,
    prompt_tokens: PromptsOption = None,
    energy_weight: WeightOption = 0.0,
    max_memory: MemoryOption = None,
    max_loss: LossOption = None,
    max_graphs: GraphsOption = None,
    keep: KeepOption = None,
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", parser=parse_count, help="Settings to sample; more are then tried one change at a time.")
    ] = DEFAULT_TRIALS,
    seed: Annotated[int, typer.Option("--seed", metavar="N", parser=parse_count, help="Seed of the sampler.")] = 0,
    storage: StorageOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.toml", help="Engine file to write.")] = DEFAULT_OUTPUT,
    as_json: JsonOption = False,
) -> None:
    """Find chunk lengths, pruning rate, placement, scheduler and decode processor that suit a workload best.

    The result is an engine file for 'socsim run --engine FILE', and a table of what each choice brings.
    """
    _check_numbers(energy_weight, max_memory, max_loss, max_graphs, trials, seed)
    for tokens in prompt_tokens or ():
        if tokens < 1:
            raise SocsimError(f"--prompt-tokens {tokens}: should be 1 or more")
    check_outputs(output=output)
    if workload is not None and prompt_tokens:
        raise SocsimError("--workload and --prompt-tokens: both say what is run; give one of the two")
    from socsim.catalog import load_engine, load_model, load_soc
    from socsim.prompts import Prompt, load_prompts
    from socsim.tuning import Problem, engine_text, tune

    prompts = [Prompt(f"{n} tokens", n, 1) for n in prompt_tokens or ()] or (load_prompts(workload) if workload else load_prompts())
    memory = None if max_memory is None else max_memory * 1e9
    problem = Problem(load_soc(soc), load_model(model), load_engine(engine), prompts, energy_weight, memory, max_loss, max_graphs)
    with keep_stdout_for(as_json), counted_steps("settings", trials) as told:
        found = tune(
            problem, trials=trials, seed=seed, keep=tuple(keep or ()), storage=storage, told=told,
        )  # fmt: skip
    searched = f"{len(prompts)} prompts, energy weight {energy_weight:g}, {trials} trials, seed {seed}"
    source = f"socsim tune of {engine} for {model} on {soc}, {searched}"
    if as_json:
        print_json(to_dict(found))
    else:
        print_tuned(make_console(), found, soc)
    if not found.settings:
        one_line("note", f"nothing better than {found.problem.engine.name} as it is was found in {found.tried} trials; no file is written")
        return
    try:
        output.write_text(engine_text(found, engine, source), encoding="utf-8")
    except OSError as error:
        raise SocsimError(f"--output '{output}': cannot be written: {error.strerror}") from None
    one_line("wrote", output)


def _check_numbers(
    energy_weight: float, max_memory: float | None, max_loss: float | None, max_graphs: int | None, trials: int, seed: int
) -> None:
    if not 0.0 <= energy_weight <= 1.0:
        raise SocsimError(f"--energy-weight {energy_weight:g}: should be between 0 and 1")
    if max_memory is not None and not 0.0 < max_memory < float("inf"):
        raise SocsimError(f"--max-memory-gb {max_memory:g}: should be above 0")
    if max_loss is not None and not 0.0 <= max_loss < float("inf"):
        raise SocsimError(f"--max-accuracy-loss {max_loss:g}: should be 0 or more")
    for option, number, least in (("--max-chunk-graphs", max_graphs, 1), ("--trials", trials, 1), ("--seed", seed, 0)):
        if number is not None and number < least:
            raise SocsimError(f"{option} {number}: should be {least} or more")


def to_dict(tuned: Tuned) -> dict[str, Any]:
    """Return what was found as plain values."""
    outcomes = {"usual": tuned.usual, "tuned": tuned.best}
    return {
        **{
            name: {
                "ttft_s": each.ttft_s,
                "energy_j": each.energy_j,
                "peak_memory_bytes": each.peak_memory_bytes,
                "accuracy_loss_percent": each.accuracy_loss_percent,
            }
            for name, each in outcomes.items()
        },
        "gain": tuned.gain,
        "tried": tuned.tried,
        "choices": [
            {"choice": each.group, "settings": dict(each.settings), "gain_alone": each.alone, "loss_without": each.last}
            for each in tuned.contributions
        ],
        "prompts": prompt_rows(tuned),
    }


def prompt_rows(tuned: Tuned) -> list[dict[str, Any]]:
    """Return what became of each prompt."""
    rows = []
    for prompt, usual, best in zip(tuned.problem.prompts, tuned.usual.results, tuned.best.results, strict=True):
        row: dict[str, Any] = {
            **prompt._asdict(),
            "chunk_tokens": usual.record["chunk_tokens"],
            "tuned_chunk_tokens": best.record["chunk_tokens"],
        }
        for name, metric in (("ttft_s", "ttft_s"), ("energy_j", "e2e_energy_j")):
            row |= {name: usual.metrics[metric], f"tuned_{name}": best.metrics[metric]}
        rows.append(row)
    return rows


def print_tuned(console: Console, tuned: Tuned, soc: str) -> None:
    """Print what was found: means, prompts, and what each choice brings."""
    from socsim.tuning.accuracy import MODEL

    usual, best, problem = tuned.usual, tuned.best, tuned.problem
    console.print(f"{problem.engine.name} on {problem.soc.name}, {problem.llm.name}; {tuned.tried} settings tried", style="bold")
    table = make_table(["mean over the workload", "as it is", "tuned", "change"], 3)
    pairs = [
        ("time to first token", quantity(usual.ttft_s, "s"), quantity(best.ttft_s, "s"), best.ttft_s / usual.ttft_s),
        ("energy, prompt and answer", quantity(usual.energy_j, "J"), quantity(best.energy_j, "J"), best.energy_j / usual.energy_j),
    ]
    for name, before, after, ratio in pairs:
        table.add_row(name, before, after, f"{signed_percent(100 * (ratio - 1))} %")
    memory = [quantity(each.peak_memory_bytes, "B") for each in (usual, best)]
    table.add_row("largest memory", *memory, f"{signed_percent(100 * (best.peak_memory_bytes / usual.peak_memory_bytes - 1))} %")
    if usual.accuracy_loss_percent is not None:
        losses = [f"{each.accuracy_loss_percent or 0.0:.1f} %" for each in (usual, best)]
        table.add_row(f"rise of perplexity (curve of {MODEL})", *losses, "")
    console.print(table)
    if tuned.contributions:
        table = make_table(["choice", "tuned", "gain alone", "loss without"], 2)
        for each in tuned.contributions:
            gains = ["not allowed" if gain is None else f"{signed_percent(100 * gain)} %" for gain in (each.alone, each.last)]
            table.add_row(each.group, settings_text(each.settings), *gains)
        what = f"as shares of {score_text(problem.energy_weight)} as it is"
        console.print(f"\nWhat each choice brings by itself, and what is lost without it, {what}:", soft_wrap=True)
        console.print(table)
    table = make_table(["prompt", "tokens", "weight", "chunk", "tuned", "TTFT", "tuned", "energy", "tuned"], 8)
    for row in prompt_rows(tuned):
        times = [quantity(row[name], "s") for name in ("ttft_s", "tuned_ttft_s")]
        joules = [quantity(row[name], "J") for name in ("energy_j", "tuned_energy_j")]
        tokens = f"{row['prompt_tokens']:,} + {row['output_tokens']:,}"
        table.add_row(row["name"], tokens, f"{row['weight']:g}", str(row["chunk_tokens"]), str(row["tuned_chunk_tokens"]), *times, *joules)
    console.print()
    console.print(table)
    if rests := assumed_figures(tuned, soc):
        console.print(f"\nThe placement rests on figures of the SoC that are assumed, not measured: {', '.join(rests)}", soft_wrap=True)


def score_text(energy_weight: float) -> str:
    """Say what is minimized."""
    names = {0.0: "the time to first token", 1.0: "the energy"}
    return names.get(energy_weight, f"{1 - energy_weight:g} x time to first token + {energy_weight:g} x energy")


def settings_text(settings: Any) -> str:
    """Return the settings of a group for people."""
    texts = []
    for path, value in settings.items():
        if isinstance(value, dict):
            groups: dict[str, list[str]] = {}
            for name, processor in sorted(value.items()):
                groups.setdefault(processor, []).append(name)
            texts += [f"{', '.join(names)} on the {processor.upper()}" for processor, names in sorted(groups.items())]
        elif path == "placement.other":
            texts.append(f"other float work on the {value.upper()}")
        elif path != "chunk_tokens":
            texts.append(f"{path.replace('_', ' ')} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return "; ".join(texts)


def assumed_figures(tuned: Tuned, soc: str) -> list[str]:
    """Return the assumed figures of processors that the tuned engine gives work which they did not have."""
    from socsim.catalog import figures

    before, after = tuned.usual.engine, tuned.best.engine
    changed = {group for group in ("placement", "decode") if group in tuned.settings}
    gained = {str(processor) for name, processor in after.placement.operators.items() if before.placement.processor(name) != processor}
    if "placement" in changed and before.placement.other != after.placement.other:
        gained.add(after.placement.other)
    if "decode" in changed:
        gained.add(after.decode_processor)
    prefixes = tuple(f"processors.{name}.{part}" for name in sorted(gained) for part in ("throughput", "vector", "row_bytes", "launch"))
    return [figure.path for figure in figures("soc", soc) if figure.kind == "assumed" and figure.path.startswith(prefixes)]
