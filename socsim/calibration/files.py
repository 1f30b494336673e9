"""Write what a calibration found: description files with four significant digits, byte for byte the same for the same findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import tomlkit
from tomlkit import TOMLDocument

from socsim.calibration.targets import Findings, written
from socsim.catalog import description_path, load_soc


def toml_number(value: float) -> str:
    """Return a number with four significant digits as it stands in a file, such as ``3.4e13`` or ``0.00026``."""
    text = f"{value:.4g}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text if "." in text else f"{text}.0"


def toml_value(value: float | list[float]) -> Any:
    """Return a number or a list of them as a TOML item with four significant digits."""
    text = f"[{', '.join(toml_number(each) for each in value)}]" if isinstance(value, list) else toml_number(value)
    return tomlkit.parse(f"x = {text}")["x"]


def set_figures(text: str, values: Mapping[str, float | list[float]], source: str | None = None) -> str:
    """Return the text of a description with some figures replaced; everything else stays as it is.

    Parameters
    ----------
    text
        A TOML file.
    values
        New values by dotted path.
    source
        New source of these figures; default: as it is.
    """
    document: TOMLDocument = tomlkit.parse(text)
    for path, value in values.items():
        *tables, last = path.split(".")
        node: Any = document
        for table in tables:
            node = node[table]
        old = node[last]
        if isinstance(old, dict):
            old["value"] = toml_value(value)
            place = old
        else:
            node[last] = toml_value(value)
            place = node
        if source is not None:
            place["source"] = source
    return tomlkit.dumps(document)


def calibrated_text(kind: Literal["soc", "engine"], name: str, findings: Findings, source: str | None = None) -> str:
    """Return the text of a description file with what was found for it, and another source of that if one is given."""
    found = findings.values.get((kind, name), {})
    path = description_path(kind, name)
    values: dict[str, float | list[float]] = dict(found)
    if kind == "soc":
        soc = load_soc(name)
        values = {place: written(soc, place, value) for place, value in found.items()}
    return set_figures(path.read_text(encoding="utf-8"), values, source)
