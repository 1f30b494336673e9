"""Shipped scripts, run quickly, and published values that stand in the place of those in ``traces/``."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from socsim.measurements import load_system_rows

HEADER = "soc,model,engine,prompt_tokens,output_tokens,settings,metric,value,unit,source,split\n"


def load_script(name: str) -> dict[str, Any]:
    """Return what a script defines."""
    return runpy.run_path(str(Path(__file__).parents[2] / "experiments" / f"{name}.py"))


def run_quick(name: str, out: Path) -> dict[str, Any]:
    """Run the short version of a script, and return its record."""
    load_script(name)["main"](out, True, ("png",))
    record: dict[str, Any] = json.loads((out / "record.json").read_text(encoding="utf-8"))
    return record


def claims(record: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return published and simulated value, source, and whether it was fitted, by what is claimed."""
    return {each["what"]: (each["published"], each["simulated"], each["source"], each["fitted"]) for each in record["claims"]}


def table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def publish(monkeypatch: pytest.MonkeyPatch, folder: Path, *lines: str) -> None:
    """Let these be the only published rows; none if there are none."""
    path = folder / "system_only.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    rows = load_system_rows([path]) if lines else []
    monkeypatch.setattr("socsim.experiments.published.load_system_rows", lambda: rows)
