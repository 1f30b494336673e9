"""Workloads: prompts and answers of some lengths, each with a weight, shipped or a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from socsim.catalog import trace_path
from socsim.csv_lines import Line, read_lines
from socsim.errors import SocsimError, unknown_name

PUBLISHED = "llm_npu_table5_prompts"
"""The workloads of Xu et al. 2025, Table 5."""
OWN = ("prompt_tokens",)
OPTIONAL = ("name", "output_tokens", "weight")


class Prompt(NamedTuple):
    """A prompt and an answer that stand for all of a kind."""

    name: str
    prompt_tokens: int
    output_tokens: int
    weight: float = 1.0


def load_prompts(name: str | Path = PUBLISHED) -> list[Prompt]:
    """Return the prompts of a workload.

    Of published ranges of lengths it is the middle, as ``traces/README.md`` takes it; halves are rounded down.

    Parameters
    ----------
    name
        A shipped table of lengths, or a CSV file with the column ``prompt_tokens`` and, if wanted, ``name``, ``output_tokens`` (1 where
        it has none) and ``weight`` (1).

    Raises
    ------
    SocsimError
        The name is unknown, or the file is not as it should be.
    """
    shipped = {path.stem: path for path in trace_path("").glob("*_prompts.csv")}
    if str(name) in shipped:
        ranges = ("prompt_tokens_min", "prompt_tokens_max", "output_tokens_min", "output_tokens_max")
        lines = read_lines(shipped[str(name)], ("dataset", *ranges), None)
        return [Prompt(line.text("dataset"), _middle(line, "prompt_tokens"), _middle(line, "output_tokens")) for line in lines]
    path = Path(name)
    if not path.suffix and not path.exists():
        raise unknown_name("workload", name, shipped)
    return [_own(line) for line in read_lines(path, OWN, OPTIONAL)]


def _middle(line: Line, column: str) -> int:
    return (line.count(f"{column}_min") + line.count(f"{column}_max")) // 2


def _own(line: Line) -> Prompt:
    tokens = line.count("prompt_tokens")
    weight = line.cells.get("weight") or "1"
    try:
        number = float(weight)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise SocsimError(f"{line.where}: field 'weight': should be a number above 0, not '{weight}'")
    outputs = line.count("output_tokens") if line.cells.get("output_tokens") else 1
    return Prompt(line.cells.get("name") or f"{tokens} tokens", tokens, outputs, number)
