"""Write what a calibration found: description files with four significant digits, byte for byte the same for the same findings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tomlkit
from tomlkit import TOMLDocument

from socsim.calibration.targets import Findings, written
from socsim.catalog import description_path, list_socs, load_soc


def toml_number(value: float) -> str:
    """Return a number with four significant digits as it stands in a file, such as ``3.4e13`` or ``0.00026``."""
    text = f"{value:.4g}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text if "." in text else f"{text}.0"


def toml_value(value: float | list[float]) -> Any:
    """Return a number or a list of them as a TOML item with four significant digits."""
    text = f"[{', '.join(toml_number(each) for each in value)}]" if isinstance(value, list) else toml_number(value)
    return tomlkit.parse(f"x = {text}")["x"]


def set_figures(text: str, values: Mapping[str, float | list[float]]) -> str:
    """Return the text of a description with some figures replaced; everything else stays as it is.

    Parameters
    ----------
    text
        A TOML file.
    values
        New values by dotted path.
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
        else:
            node[last] = toml_value(value)
    return tomlkit.dumps(document)


def calibrated_text(kind: Literal["soc", "engine"], name: str, findings: Findings) -> str:
    """Return the text of a description file with what was found for it."""
    found = findings.values.get((kind, name), {})
    path = description_path(kind, name)
    values: dict[str, float | list[float]] = dict(found)
    if kind == "soc":
        soc = load_soc(name)
        values = {place: written(soc, place, value) for place, value in found.items()}
    return set_figures(path.read_text(encoding="utf-8"), values)


def inheriting_text(template: str, findings: Findings, source: str) -> str:
    """Return the text of a SoC that inherits from another and names only what was found for it.

    Parameters
    ----------
    template
        Name or file of the SoC that it inherits from: all else counts as assumed.
    findings
        Values found for the template's figures.
    source
        Where they come from.
    """
    soc, tables = load_soc(template), dict[str, list[str]]()
    for path, value in findings.values.get(("soc", template), {}).items():
        table, _, field = path.rpartition(".")
        whole = written(soc, path, value)
        text = f"[{', '.join(toml_number(each) for each in whole)}]" if isinstance(whole, list) else toml_number(whole)
        tables.setdefault(table, []).append(
            f'{field} = {{ value = {text}, kind = "fitted", source = {tomlkit.string(source).as_string()} }}'
        )
    lines = [
        "# Fitted by socsim calibrate; all else is assumed to be as on the SoC that it inherits from.",
        f"inherits = {tomlkit.string(template if template in list_socs() else str(Path(template).resolve())).as_string()}",
        "",
        f"description = {tomlkit.string(f'{source}; all else as on the {template}').as_string()}",
    ]
    for table, figures in tables.items():
        lines += ["", f"[{table}]", *figures]
    return "\n".join(lines) + "\n"
