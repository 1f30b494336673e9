"""Every kind of bad input: exit code 2, nothing on standard output, one line that says what, which value, what is allowed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from command_line import COMMANDS, SMALL, call, call_well

from socsim.cli import app, main
from socsim.cli.files import PLOT_SUFFIXES


def assert_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    outcome = call(capsys, *arguments)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert outcome.err.startswith("socsim: error: ")
    assert outcome.err.count("\n") == 1, outcome.err
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # unknown names
        (["run", "--soc", "snapdragon-8-gen3"], ["unknown SoC 'snapdragon-8-gen3'", "did you mean 'snapdragon-8-gen-3'", "toy-phone"]),
        (["run", "--model", "gema-2b"], ["unknown model 'gema-2b'", "did you mean 'gemma-2b'"]),
        (["run", "--engine", "llm-np"], ["unknown engine 'llm-np'", "did you mean 'llm-npu'"]),
        (["run", "--scheduler", "fif"], ["unknown scheduler 'fif'", "did you mean 'fifo'", "module:function"]),
        (["show", "engine", "llm-np"], ["did you mean 'llm-npu'"]),
        (["show", "sock", "x"], ["'sock'", "did you mean 'soc'", "allowed: engine, model, soc"]),
        (["list", "engins"], ["'engins'", "did you mean 'engines'"]),
        # sizes
        (["run", "--prompt-tokens", "0"], ["prompt_tokens", "greater than 0", "not 0"]),
        (["run", "--prompt-tokens", "-4"], ["prompt_tokens", "not -4"]),
        (["run", "--prompt-tokens", "many"], ["--prompt-tokens", "'many' is no whole number"]),
        (["run", "--output-tokens", "0"], ["output_tokens", "not 0"]),
        (["run", "--cached-tokens", "-1"], ["cached_tokens", "not -1"]),
        (["run", "--cached-tokens", "1024"], ["cached_tokens 1024", "below prompt_tokens 1024"]),
        (["run", "--chunk-tokens", "0"], ["chunk_tokens", "not 0"]),
        (["run", "--chunk-tokens", "-256"], ["chunk_tokens", "not -256"]),
        (["run", "--chunk-tokens", "aut"], ["--chunk-tokens 'aut'", "did you mean 'auto'"]),
        # context and memory
        (["run", "--chunk-tokens", "99999"], ["chunk_tokens 99999", "context of qwen1.5-1.8b", "1 to 32768"]),
        (["run", "--set", "soc.dram.capacity_bytes=1e9"], ["qwen1.5-1.8b", "needs", "1 GB", "largest part is weights"]),
        # overrides
        (["run", "--set", "seed"], ["--set 'seed'", "PATH=VALUE"]),
        (["run", "--set", "sok.x=3"], ["'sok.x'", "soc., model., engine. or run.", "did you mean 'soc'"]),
        (["run", "--set", "engine.outlier_pruning_rat=0"], ["outlier_pruning_rat", "did you mean 'outlier_pruning_rate'"]),
        (["run", "--set", "engine.outlier_pruning_rate=2"], ["outlier_pruning_rate", "not 2"]),
        (["run", "--set", "soc.processors.npu.tile=wide"], ["processors.npu.tile", "'wide'"]),
        (["run", "--set", "run.power_calibration=batery-rail"], ["'batery-rail'", "did you mean 'battery-rail'"]),
        # the command line itself
        (["rnu"], ["rnu", "socsim --help"]),
        (["run", "--engin", "llm-npu"], ["--engin", "--engine", "socsim run --help"]),
        (["run", "--engine"], ["option '--engine' requires an argument"]),
        (["run", "extra"], ["extra"]),
        (["show", "soc"], ["missing argument"]),
        # a comparison names the engine
        (["compare", "--engine", "llm-npu", "--engine", "npu-naiv"], ["unknown engine 'npu-naiv'"]),
        (["compare", "--engine", "npu-chunk", "--set", "engine.cpu_threads=0"], ["engine npu-chunk: ", "cpu_threads"]),
        (["compare", "--engine", "llm-npu", "--scheduler", "fifi"], ["unknown scheduler 'fifi'"]),
    ],
)
def test_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    assert_refused(capsys, arguments, *words)


@pytest.mark.parametrize(
    ("option", "name", "content", "words"),
    [
        ("--soc", "a.toml", b"a = [", ["a.toml: malformed TOML"]),
        ("--soc", "a.toml", b"\xff\xfe", ["a.toml: is no UTF-8 text"]),
        ("--soc", "a.toml", b"description = 'x'", ["a.toml: field 'processors' is missing"]),
        ("--engine", "a.toml", b"chunk_tokens = 256", ["a.toml: field"]),
        ("--model", "config.json", b"{", ["config.json: malformed JSON"]),
        ("--model", "config.json", b"[]", ["config.json: should hold a JSON object"]),
        ("--model", "config.json", b'{"model_type": "bert"}', ["'bert'", "allowed: gemma, llama"]),
        ("--model", "config.json", b'{"model_type": "llama", "hidden_size": -1}', ["config.json: field"]),
    ],
)
def test_files(capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str, name: str, content: bytes, words: list[str]) -> None:
    (tmp_path / name).write_bytes(content)
    assert_refused(capsys, ["run", option, str(tmp_path / name)], *words)


def test_unreadable_paths(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert_refused(capsys, ["run", "--soc", str(tmp_path / "none.toml")], "none.toml: no such file")
    assert_refused(capsys, ["run", "--engine", str(tmp_path)], str(tmp_path), "cannot be read")
    assert_refused(capsys, ["run", "--model", str(tmp_path)], "config.json")


@pytest.mark.parametrize("option", ["--trace", "--plot", "--log"])
def test_unwritable_paths_are_found_before_the_simulation(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr("socsim.runs.make_case", lambda *_, **__: pytest.fail("built a case before the paths were checked"))
    (tmp_path / "folder.png").mkdir()
    for command in ("run", "compare"):
        assert_refused(capsys, [command, option, str(tmp_path / "none" / "a.png")], option, "no such folder", str(tmp_path / "none"))
        assert_refused(capsys, [command, option, str(tmp_path / "folder.png")], option, "is a folder")
        assert_refused(capsys, [command, option, ""], option, "is a folder")


def test_files_without_permission(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # who runs the tests may be allowed everything
    assert_refused(capsys, ["run", "--trace", str(tmp_path / "a.json")], "a.json", "permission denied")


def test_plots_of_an_unknown_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert_refused(capsys, ["run", "--plot", str(tmp_path / "a.gif")], "unknown suffix '.gif'", "allowed: .png, .pdf, .svg")
    assert_refused(capsys, ["run", "--plot", str(tmp_path / "a")], "unknown suffix ''")


def test_the_suffixes_that_are_allowed_can_be_written() -> None:
    from socsim.plots import METADATA

    assert set(PLOT_SUFFIXES) == set(METADATA)


def test_one_file_for_two_outputs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(tmp_path / "a.json")
    assert_refused(capsys, ["run", "--trace", path, "--log", path], "--log", "--trace", "a.json")


needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@needs_full_device
@pytest.mark.parametrize("option", ["--trace", "--log"])
def test_a_full_disk_loses_no_result(capsys: pytest.CaptureFixture[str], tmp_path: Path, option: str) -> None:
    plot = tmp_path / "a.svg"
    outcome = call(capsys, "run", *SMALL, "--set", "model.num_hidden_layers=1", "--json", option, "/dev/full", "--plot", str(plot))
    assert outcome.code == 2
    assert "/dev/full" in outcome.err
    assert "No space left" in outcome.err
    assert outcome.json["ttft_s"] > 0
    assert plot.exists()


@needs_full_device
def test_two_files_that_fail_are_both_reported(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = call(capsys, "run", *SMALL, "--set", "model.num_hidden_layers=1", "--trace", "/dev/full", "--log", "/dev/full")
    assert outcome.code == 2
    assert [line.startswith("socsim: error: ") for line in outcome.err.splitlines()] == [True, True]


def test_a_prompt_beyond_the_context_warns_once_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--soc", "toy-phone", "--model", "smollm2-135m", "--set", "model.max_position_embeddings=256", "--prompt-tokens", "300")
    outcome = call_well(capsys, "compare", *options, "--engine", "npu-chunk", "--scheduler", "fifo", "--scheduler", "in-order", "--json")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("socsim: warning: 300 tokens exceed the 256-token context of smollm2-135m")
    assert len(outcome.json["runs"]) == 2


def test_interrupting_is_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("socsim.runs.run_case", interrupt)
    assert call(capsys, "run", *SMALL) == (130, "", "")
    monkeypatch.setattr("socsim.cli.app", interrupt)
    assert call(capsys, "run") == (130, "", "")


def test_errors_of_socsim_itself_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("socsim.runs.run_case", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["run", *SMALL])


def test_json_holds_no_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    from socsim.cli.console import print_json

    with pytest.raises(ValueError, match="JSON"):
        print_json({"ttft_s": json.loads("NaN")})


def test_the_application_is_what_main_runs() -> None:
    assert {command.name for command in app.registered_commands} == set(COMMANDS)


def test_unknown_fields(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "hardware_models" / "soc_toy-phone.toml"
    (tmp_path / "a.toml").write_text("flsh = 1\n" + shipped.read_text())
    assert_refused(capsys, ["run", "--soc", str(tmp_path / "a.toml")], "a.toml: unknown field 'flsh'", "did you mean 'flash'")
