"""``socsim list`` and ``socsim show``: what there is to simulate, every number with unit and source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from socsim.cli.console import make_console, print_json
from socsim.cli.options import JsonOption
from socsim.cli.units import field_unit, value_text
from socsim.errors import unknown_name

LISTS = ("socs", "models", "engines", "schedulers")
SHOWN = ("soc", "model", "engine")

LIST_EXAMPLES = """\b
Example:
  socsim list engines
"""
SHOW_EXAMPLES = """\b
Examples:
  socsim show soc snapdragon-8-gen-3
  socsim show model path/to/config.json --json
"""


class Entry(NamedTuple):
    """One field of a description: its path below ``soc.``, ``model.`` or ``engine.``, and where its value is from."""

    path: str
    value: Any
    unit: str
    kind: str
    source: str


def list_command(
    what: Annotated[str, typer.Argument(metavar="socs|models|engines|schedulers", help="What to list.")],
    as_json: JsonOption = False,
) -> None:
    """List what is shipped, with one line on each."""
    if what not in LISTS:
        raise unknown_name("list", what, LISTS)
    entries = dict(_summaries(what))
    if as_json:
        print_json({what: [{"name": name, "description": text} for name, text in entries.items()]})
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in entries.items():
        table.add_row(name, text)
    make_console().print(table)


def _summaries(what: str) -> Iterator[tuple[str, str]]:
    """Return names and one-line descriptions."""
    from socsim import catalog
    from socsim.schedulers import SCHEDULERS, scheduler_summary

    if what == "socs":
        yield from ((name, catalog.load_soc(name).description) for name in catalog.list_socs())
    elif what == "engines":
        yield from ((name, catalog.load_engine(name).description) for name in catalog.list_engines())
    elif what == "schedulers":
        yield from ((name, scheduler_summary(name)) for name in SCHEDULERS)
    else:
        for name in catalog.list_models():
            llm = catalog.load_model(name)
            shape = f"{llm.num_hidden_layers} blocks, context {llm.max_position_embeddings:,} tokens"
            yield name, f"{llm.family} family, {llm.parameters / 1e9:.3g} billion parameters, {shape}"


def show_command(
    what: Annotated[str, typer.Argument(metavar="soc|model|engine", help="Kind of description.")],
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A name from 'socsim list', or a file of your own.")],
    as_json: JsonOption = False,
) -> None:
    """Show every number of a description with its unit, kind and source.

    Kinds: measured on a device, vendor (quoted by the maker), fitted to measurements, assumed; derived from the others;
    default of socsim, where the file leaves it out.
    """
    if what not in SHOWN:
        raise unknown_name("description", what, SHOWN)
    title, entries = read_entries(what, name)
    if as_json:
        print_json({what: title[0], "description": title[1], "fields": [entry._asdict() for entry in entries]})
    else:
        _print_entries(what, title, entries)


def read_entries(what: str, name: str) -> tuple[tuple[str, str], list[Entry]]:
    """Return name and description of a SoC, model or engine, and every number of it with its source."""
    return _model_entries(name) if what == "model" else _spec_entries(what, name)


def _spec_entries(what: str, name: str) -> tuple[tuple[str, str], list[Entry]]:
    """Return name and description of a SoC or an engine, and its fields with what its file says of each."""
    from socsim.catalog import figures, load_engine, load_soc

    spec = load_soc(name) if what == "soc" else load_engine(name)
    origin = {figure.path: (figure.kind, figure.source) for figure in figures(what, name)}
    entries = []
    for path, value in _leaves(spec.model_dump(), ""):
        kind, source = origin.get(path, ("default", ""))
        entries.append(Entry(path, value, field_unit(path, value), kind, source))
    return (spec.name, spec.description), entries


def _leaves(node: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Return all fields of a description except its name and description."""
    for key, child in node.items():
        if not path and key in ("name", "description"):
            continue
        if isinstance(child, dict):
            yield from _leaves(child, f"{path}{key}.")
        else:
            yield f"{path}{key}", child


def _model_entries(name: str) -> tuple[tuple[str, str], list[Entry]]:
    """Return name and description of a model, its shape, and what follows from it."""
    from socsim.catalog import load_engine, load_model, published_parameters
    from socsim.footprint import kv_cache_bytes

    llm = load_model(name)
    config, source = _read_config(name)
    entries = []
    for path, value in _leaves(llm.model_dump(), ""):
        stated = config.get("model_type" if path == "family" else path) is not None
        kind = ("vendor", source) if stated else ("derived", f"follows from model_type '{llm.family}' and the other fields")
        entries.append(Entry(path, value, field_unit(path, value), *kind))
    published = published_parameters(name)
    kv_bytes = kv_cache_bytes(llm, load_engine("llm-npu"), 1)
    entries += [
        Entry("parameters", llm.parameters, "parameters", "derived", "sum over the shape; tied embeddings count once"),
        *([Entry("published_parameters", published, "parameters", "vendor", source)] if published else []),
        Entry("kv_cache_bytes_per_token", kv_bytes, "B", "derived", "fp16 keys and values of all blocks, as in engine llm-npu"),
    ]
    return (llm.name, f"{llm.family} family"), entries


def _read_config(name: str) -> tuple[dict[str, Any], str]:
    """Return a model's file, which has been loaded before, and its source."""
    from socsim.catalog import list_models, trace_path

    path = trace_path(f"llm_{name}.json") if name in list_models() else Path(name)
    path = path / "config.json" if path.is_dir() else path
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config, str(config.get("socsim", {}).get("source", path))


def _print_entries(what: str, title: tuple[str, str], entries: list[Entry]) -> None:
    """Print fields by table of the file, and their sources numbered below."""
    console = make_console()
    console.print(f"{what} {title[0]}: {title[1]}\n")
    values = {entry.path: value_text(entry.value, entry.unit) for entry in entries}
    field_width = max(len(entry.path.rpartition(".")[2]) for entry in entries) + 2
    # A long list takes a line of its own width; it should not move all other values.
    value_width = max(len(values[entry.path]) for entry in entries if not isinstance(entry.value, (list, tuple)))
    console.print(f"{'field':<{field_width}} {'value':>{value_width}}  {'kind':<8} source", style="bold")
    numbers: dict[str, int] = {}
    shown = ""
    for entry in sorted(entries, key=lambda entry: "." in entry.path):  # a field after a table would seem to be in it
        parent, _, field = entry.path.rpartition(".")
        if parent != shown:
            shown = parent
            console.print(f"\n{parent}", style="bold")
        number = f"[{numbers.setdefault(entry.source, len(numbers) + 1)}]" if entry.source else "-"
        name = f"  {field}" if parent else field
        console.print(f"{name:<{field_width}} {values[entry.path]:>{value_width}}  {entry.kind:<8} {number:>6}")
    console.print("\nsources", style="bold")
    for source, place in numbers.items():
        console.print(f"[{place}] {source}")
    example = next(entry.path for entry in entries if entry.unit)
    console.print(f"\nTo change a field for one run, give it in SI units without prefix: --set {what}.{example}=VALUE")
