"""What results depend on, and the question of a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from socsim.catalog import hardware_path
from socsim.errors import SocsimError
from socsim.experiments import inputs
from socsim.experiments.inputs import inputs_sha256, question


@pytest.fixture
def no_memory() -> None:
    inputs._shared_sha256.cache_clear()


@pytest.mark.usefixtures("no_memory")
def test_another_script_or_number_is_another_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, folder = tmp_path / "a.py", tmp_path / "hardware_models"
    script.write_text('"""Why?"""')
    folder.mkdir()
    for file in hardware_path("").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    before = inputs_sha256(script)
    monkeypatch.setattr(inputs, "hardware_path", lambda name: folder / name)
    inputs._shared_sha256.cache_clear()
    assert inputs_sha256(script) == before  # not where it lies, but what it says
    with (folder / "soc_toy-phone.toml").open("a") as toy:
        toy.write("# changed\n")
    inputs._shared_sha256.cache_clear()
    changed = inputs_sha256(script)
    script.write_text('"""Why not?"""')
    assert len({before, changed, inputs_sha256(script)}) == 3
    monkeypatch.undo()
    inputs._shared_sha256.cache_clear()


def test_questions(tmp_path: Path) -> None:
    script = tmp_path / "a.py"
    script.write_text('"""Why?\n\nBecause.\n"""\n')
    assert question(script) == "Why?"
    script.write_text("x = 1\n")
    with pytest.raises(SocsimError, match=r"a\.py: has no docstring"):
        question(script)
    script.write_text("x = = 1\n")
    with pytest.raises(SocsimError, match=r"a\.py: is no Python"):
        question(script)
    with pytest.raises(SocsimError, match=r"none\.py: cannot be read"):
        question(tmp_path / "none.py")
