"""The README's Python runs and prints what it says, and its commands run."""

from __future__ import annotations

import doctest
import re
import shlex
import sys
from pathlib import Path
from shutil import copyfile, copytree

import pytest
from typer.testing import CliRunner

from socsim.cli import app
from socsim.sweeps import sweep

README = Path(__file__).parent.parent / "README.md"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return the socsim commands of all console blocks, continuation lines joined."""
    text = "\n".join(blocks("console")).replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ socsim ")]


def test_python_blocks_print_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "\n".join(blocks("python"))
    assert ">>>" in source
    test = doctest.DocTestParser().get_doctest(source, {}, "README.md", str(README), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


LONG = ("weights", "verify", "accuracy", "tune")
"""Commands that take long: tests of their own run them, here only their options are checked."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the README sweeps, which it then plots."""
    folder = tmp_path_factory.mktemp("swept")
    sweep(README.parent / "docs" / "my-sweep.toml", folder / "my-sweep", jobs=1)
    return folder


@pytest.mark.parametrize("command", commands())
def test_commands_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.chdir(tmp_path)
    if " plot " in command:
        copytree(request.getfixturevalue("swept"), tmp_path / "results")
    (tmp_path / "docs").mkdir()
    copyfile(README.parent / "docs" / "my-sweep.toml", tmp_path / "docs" / "my-sweep.toml")
    (tmp_path / "my_policies.py").write_text("\n".join(blocks("python my_policies.py")), encoding="utf-8")
    (tmp_path / "my_experiment.py").write_text("\n".join(blocks("python my_experiment.py")), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_policies", raising=False)
    copyfile(README.parent / "hardware_models" / "soc_toy-phone.toml", tmp_path / "my-phone.toml")
    copyfile(README.parent / "docs" / "my-phone.csv", tmp_path / "my-phone.csv")
    arguments = shlex.split(command, comments=True)[1:]
    result = CliRunner().invoke(app, [*arguments, "--help"] if arguments[0] in LONG else arguments)
    assert result.exit_code == 0, result.output


def test_readme_has_commands() -> None:
    assert len(commands()) >= 5


def test_the_sweep_that_is_shown_is_the_one_that_is_run() -> None:
    assert blocks("toml docs/my-sweep.toml") == [(README.parent / "docs" / "my-sweep.toml").read_text(encoding="utf-8")]
