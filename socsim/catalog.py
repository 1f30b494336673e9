"""Find and load descriptions: shipped by name, or a user's own by path."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from socsim.errors import SocsimError, unknown_name
from socsim.specs import LLM, Engine, SoC, Spec, llm_from_config, validate

KINDS = ("measured", "vendor", "fitted", "assumed")
"""How a number came about: measured on a device, quoted by its maker, fitted to measurements, or assumed."""

_SOURCE_FIELDS = {"source", "kind"}
SpecT = TypeVar("SpecT", bound=Spec)


class Figure(NamedTuple):
    """One value of a description with where it comes from."""

    path: str
    value: Any
    kind: str
    source: str


def _data_root() -> Path:
    """Return the folder that holds `hardware_models` and `traces`, in an installed wheel or a checkout."""
    package = Path(__file__).parent
    return package / "data" if (package / "data").is_dir() else package.parent


def hardware_path(name: str) -> Path:
    """Return the path of a shipped file beside the hardware descriptions."""
    return _data_root() / "hardware_models" / name


def trace_path(name: str) -> Path:
    """Return the path of a shipped file of measurements or workloads."""
    return _data_root() / "traces" / name


def experiment_files() -> dict[str, Path]:
    """Return the shipped experiment scripts by name."""
    return {file.stem: file for file in sorted((_data_root() / "experiments").resolve().glob("*.py"))}


_PATTERNS = {
    "soc": ("hardware_models", "soc_", ".toml"),
    "engine": ("hardware_models", "engine_", ".toml"),
    "model": ("traces", "llm_", ".json"),
}


def _shipped(kind: str) -> dict[str, Path]:
    """Return the shipped files of one kind by catalog name."""
    folder, prefix, suffix = _PATTERNS[kind]
    files = sorted((_data_root() / folder).glob(f"{prefix}*{suffix}"))
    return {file.name.removeprefix(prefix).removesuffix(suffix): file for file in files}


def list_socs() -> list[str]:
    """Return the names of the shipped SoCs."""
    return list(_shipped("soc"))


def list_engines() -> list[str]:
    """Return the names of the shipped engines."""
    return list(_shipped("engine"))


def list_models() -> list[str]:
    """Return the names of the shipped models."""
    return list(_shipped("model"))


def description_path(kind: str, name: str | Path) -> Path:
    """Return the file of a shipped name, or the path itself where it has a suffix or a folder."""
    shipped = _shipped(kind)
    if str(name) in shipped:
        return shipped[str(name)]
    path = Path(name)
    if path.suffix or len(path.parts) > 1 or path.exists():
        if not path.exists():
            raise SocsimError(f"{path}: no such file")
        return path / "config.json" if kind == "model" and path.is_dir() else path
    raise unknown_name(kind if kind != "soc" else "SoC", name, shipped)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SocsimError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SocsimError(f"{path}: is no UTF-8 text (byte {error.start})") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file.

    Raises
    ------
    SocsimError
        It cannot be read, or is malformed.
    """
    try:
        return tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise SocsimError(f"{path}: malformed TOML: {error}") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise SocsimError(f"{path}: malformed JSON: {error}") from None
    if not isinstance(data, dict):
        raise SocsimError(f"{path}: should hold a JSON object, not a {type(data).__name__}")
    return data


def _description(kind: str, path: Path, heirs: tuple[Path, ...] = ()) -> dict[tuple[str, ...], Figure]:
    """Return every value of a SoC or engine file by its place; a file that inherits has those of the other where it names none.

    A value is plain, or a table with ``value``, ``kind`` and ``source``.
    """
    data = read_toml(path)
    inherited = data.pop("inherits", None)
    base = {} if inherited is None else _inherited(kind, path, str(inherited), heirs)
    own = dict(_figures(data, (), "", "", str(path)))
    # An empty table replaces nothing: what is below it on the other stays.
    own = {place: figure for place, figure in own.items() if figure.value != {} or not any(at[: len(place)] == place for at in base)}
    kept = {
        place: figure._replace(kind="assumed", source=f"as on the {inherited}: {figure.source}")
        for place, figure in base.items()
        if not any(place[: len(other)] == other or other[: len(place)] == place for other in own)
    }
    return {**kept, **own}


def _inherited(kind: str, path: Path, name: str, heirs: tuple[Path, ...]) -> dict[tuple[str, ...], Figure]:
    """Return the values of the file from which another inherits."""
    try:
        beside = path.parent / name
        base = beside if name not in _shipped(kind) and beside.is_file() else description_path(kind, name)
    except SocsimError as error:
        raise SocsimError(f"{path}: inherits: {error}") from None
    heirs = (*heirs, path.resolve())
    if base.resolve() in heirs:
        raise SocsimError(f"{path}: inherits: '{name}' inherits from this file")
    return _description(kind, base, heirs)


def _figures(node: dict[str, Any], place: tuple[str, ...], kind: str, source: str, where: str) -> Iterator[tuple[tuple[str, ...], Figure]]:
    """Walk a parsed file; a table's source holds for what is below it unless that has its own."""
    kind, source = _kind(node, kind, place, where), node.get("source", source)
    for key, child in node.items():
        if key in _SOURCE_FIELDS:
            continue
        at = (*place, key)
        name = ".".join(at)
        if isinstance(child, dict) and "value" in child and set(child) <= {"value", *_SOURCE_FIELDS}:
            yield at, Figure(name, child["value"], _kind(child, kind, at, where), child.get("source", source))
        elif isinstance(child, dict) and child:
            yield from _figures(child, at, kind, source, where)
        else:
            yield at, Figure(name, child, kind, source)


def _kind(node: dict[str, Any], inherited: str, place: tuple[str, ...], where: str) -> str:
    kind = node.get("kind", inherited)
    if isinstance(kind, str) and kind and kind not in KINDS:
        raise SocsimError(f"{where}: {unknown_name('.'.join((*place, 'kind')), kind, KINDS)}")
    return str(kind)


def _load(kind: str, spec: type[SpecT], name: str | Path) -> SpecT:
    path = description_path(kind, name)
    data: dict[str, Any] = {"name": path.stem.removeprefix(_PATTERNS[kind][1])}
    for place, figure in _description(kind, path).items():
        node = data
        for key in place[:-1]:
            node = node.setdefault(key, {})
        node[place[-1]] = figure.value
    return validate(spec, data, str(path))


def load_soc(name: str | Path) -> SoC:
    """Load a SoC by catalog name or from a TOML file.

    Raises
    ------
    SocsimError
        The name is unknown, or the file is unreadable, malformed or not a valid SoC.
    """
    return _load("soc", SoC, name)


def load_engine(name: str | Path) -> Engine:
    """Load an engine by catalog name or from a TOML file.

    Raises
    ------
    SocsimError
        The name is unknown, or the file is unreadable, malformed or not a valid engine.
    """
    return _load("engine", Engine, name)


def load_model(name: str | Path) -> LLM:
    """Load an LLM by catalog name, or from a Hugging Face ``config.json`` or a folder that holds one.

    Raises
    ------
    SocsimError
        The name is unknown, the file is unreadable or malformed, or the model's family is not supported.
    """
    path = description_path("model", name)
    stem = path.stem.removeprefix("llm_")
    return llm_from_config(_read_json(path), path.absolute().parent.name if stem == "config" else stem, str(path))


@lru_cache(maxsize=4)
def published_parameters(name: str) -> int | None:
    """Return the parameter count that a shipped model's publisher states, if the file carries it."""
    value = _read_json(description_path("model", name)).get("socsim", {}).get("published_parameters")
    return int(value) if value else None


def inherited_from(kind: str, name: str | Path) -> str | None:
    """Return the name of the SoC or engine from which a file inherits, if it does."""
    base = read_toml(description_path(kind, name)).get("inherits")
    return None if base is None else str(base)


def own_paths(kind: str, name: str | Path) -> frozenset[str]:
    """Return the paths of the values that a SoC or engine file has itself, not inherited."""
    path = description_path(kind, name)
    data = read_toml(path)
    data.pop("inherits", None)
    return frozenset(figure.path for _, figure in _figures(data, (), "", "", str(path)))


def figures(kind: str, name: str | Path) -> list[Figure]:
    """Return every value of a SoC or engine file with its kind and source; of a file that inherits, the inherited ones first."""
    return [figure for figure in _description(kind, description_path(kind, name)).values() if figure.value != {}]
