"""Shipped scripts, run on a grid that is shorter than that of their own short version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from socsim.experiments.publication import read_record


def run_short(script: Mapping[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch, **constants: Any) -> dict[str, Any]:
    """Run a loaded script with other constants and no figure's files, and return its record."""
    for name, value in constants.items():
        assert name in script
        monkeypatch.setitem(script["main"].__globals__, name, value)
    script["main"](out, True, ())
    record = read_record(out)
    assert record is not None
    return record
