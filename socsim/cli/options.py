"""Options that commands share, and the values that need parsing."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from socsim.errors import SocsimError, did_you_mean

DEFAULT_SOC = "snapdragon-8-gen-3"
DEFAULT_MODEL = "qwen1.5-1.8b"
DEFAULT_ENGINE = "llm-npu"
DEFAULT_PROMPT_TOKENS = 1024


def parse_count(text: str | int) -> int:
    """Return a whole number, or say that the text is none; its range is checked with the run that it belongs to."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no whole number") from None


SocOption = Annotated[str, typer.Option("--soc", metavar="NAME|FILE", help="Phone SoC: a name from 'socsim list socs', or a TOML file.")]
ModelOption = Annotated[
    str, typer.Option("--model", metavar="NAME|FILE", help="LLM: a name from 'socsim list models', or a Hugging Face config.json.")
]
PromptOption = Annotated[int, typer.Option("--prompt-tokens", metavar="N", parser=parse_count, help="Tokens of the prompt.")]
OutputOption = Annotated[
    int,
    typer.Option(
        "--output-tokens",
        metavar="K",
        parser=parse_count,
        help="Tokens to produce; the prefill gives the first, each decode step one more.",
    ),
]
CachedOption = Annotated[
    int,
    typer.Option(
        "--cached-tokens",
        metavar="N",
        parser=parse_count,
        help="First tokens whose keys and values are there already; only the rest is prefilled.",
    ),
]
ChunkOption = Annotated[
    str | None,
    typer.Option(
        "--chunk-tokens",
        metavar="C|C,C,...|auto|prompt",
        help="Tokens of a chunk, or of each in order; auto: the prebuilt lengths with the least TTFT; prompt: one chunk.  "
        "[default: the engine's]",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Change any field of soc, model, engine or run, in SI units; lists as [1, 2], null for none; repeatable.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
NoRowsOption = Annotated[bool, typer.Option("--no-rows", help="Leave out the single measured rows.")]
ExplainOption = Annotated[
    bool, typer.Option("--explain", help="Tell what bounded the run: critical path, TTFT without each resource, idle gaps.")
]
TraceOption = Annotated[Path | None, typer.Option("--trace", metavar="FILE", help="Write a Chrome trace (JSON), which opens in Perfetto.")]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw the Gantt chart of the prefill as .png, .pdf or .svg.")
]
LogOption = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="Write every scheduling decision as CSV: time, processor, candidates with scores, choice."),
]


class Workload(NamedTuple):
    """What is simulated, apart from engine and scheduler."""

    soc: str
    model: str
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    chunk_tokens: int | str | list[int] | None
    overrides: dict[str, Any]

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of `socsim.runs.make_case` beside the names."""
        return {name: value for name, value in self._asdict().items() if name not in ("soc", "model")}


def parse_overrides(settings: Sequence[str] | None) -> dict[str, Any]:
    """Return the values of ``--set`` by path; the last one of a path counts.

    Raises
    ------
    SocsimError
        One is not of the form ``path=value``.
    """
    overrides = {}
    for setting in settings or ():
        path, equals, value = setting.partition("=")
        if not equals or not path.strip() or not value.strip():
            raise SocsimError(f"--set '{setting}': should be PATH=VALUE, such as engine.outlier_pruning_rate=0.5")
        overrides[path.strip()] = parse_value(value.strip())
    return overrides


def parse_value(text: str) -> Any:
    """Return a TOML number, boolean, string, array or inline table as what it means, ``null`` as None, other text as it is."""
    if text == "null":
        return None
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed["value"]
    return value if len(parsed) == 1 and isinstance(value, (bool, int, float, str, list, dict)) else text


def parse_chunk_tokens(text: str | None) -> int | str | list[int] | None:
    """Return a chunk length as a number, those of all chunks as a list, or one of the words that stand for either.

    Raises
    ------
    SocsimError
        It is none of them.
    """
    words = ("auto", "prompt")
    if text is None or text in words:
        return text
    try:
        return [int(length) for length in text.split(",")] if "," in text else int(text)
    except ValueError:
        hint = did_you_mean(text, words)
        allowed = f"a whole number above 0, several with commas between them, {', '.join(words)}"
        raise SocsimError(f"--chunk-tokens '{text}': allowed: {allowed}{hint}") from None


class SeveralFiles(TyperCommand):
    """A command whose ``--measurements`` takes several files."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments in which the option stands before each of its files."""
        return super().parse_args(ctx, repeat_measurements(args))


def repeat_measurements(arguments: Sequence[str]) -> list[str]:
    """Return arguments with ``--measurements`` before each CSV file that follows another one of it."""
    option, result = "--measurements", list[str]()
    expected = following = False
    for text in arguments:
        further = following and Path(text).suffix.lower() == ".csv" and not text.startswith("-")
        result += [option, text] if further else [text]
        following = further or expected or text.startswith(f"{option}=")
        expected = text == option
    return result
