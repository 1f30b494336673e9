"""Calls the command line in this process, as a user would in a shell."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from socsim.cli import main

COMMANDS = (
    *("run", "compare", "schedule", "validate", "calibrate", "list", "show", "verify", "accuracy"),
    *("experiment", "report", "sweep", "plot", "tune"),
)
"""All that are registered, apart from those with commands of their own."""
SMALL = ("--soc", "toy-phone", "--model", "smollm2-135m", "--prompt-tokens", "300")
"""A case that takes a few milliseconds; two chunks of 256."""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    code = stop.value.code or 0
    assert isinstance(code, int)
    return Outcome(code, out, err)


def call_well(capsys: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    outcome = call(capsys, *arguments)
    assert outcome.code == 0, outcome.err
    return outcome
