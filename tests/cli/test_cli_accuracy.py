"""``socsim accuracy`` and ``socsim weights calibrate`` on a tiny model: tables, JSON, files, what is kept, and bad input."""

from __future__ import annotations

import csv
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call, call_well

from socsim.cli import _exit_code
from socsim.cli.accuracy import SCHEME_NAMES, accuracy_command, calibrate_weights_command
from socsim.numerics.accuracy import Meter
from socsim.numerics.fetching import add_weights
from socsim.numerics.measures import Accuracy
from socsim.numerics.profile import CHUNK_TOKENS, Profile
from socsim.numerics.profiles import CALIBRATION_TOKENS
from socsim.numerics.schemes import SCHEMES, Scheme
from socsim.numerics.texts import WINDOW_TOKENS
from socsim.numerics.weights import weights_folder


@pytest.fixture(autouse=True)
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> list[str]:
    """Return options for a tiny model, in a cache of its own, on short texts."""
    monkeypatch.setenv("SOCSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")
    add_weights(tiny, "small")
    (tmp_path / "mine.txt").write_text("well hello world. " * 40)
    (tmp_path / "other.txt").write_text("12 hell wow " * 40)
    mine, other = str(tmp_path / "mine.txt"), str(tmp_path / "other.txt")
    return ["--weights", "small", "--text", mine, "--tokens", "300", "--calibration-text", other, "--calibration-tokens", "100"]


def test_table_of_all_schemes(capsys: pytest.CaptureFixture[str], short: list[str]) -> None:
    outcome = call_well(capsys, "accuracy", *short)
    rows = [line.split() for line in outcome.out.splitlines()[3:] if " ±" in line]
    assert rows[0][:2] == ["float32", "-"]
    assert [row[:2] for row in rows[1:7]] == [
        ["per-tensor", "channel"], ["per-tensor", "tensor"], ["per-group", "group"], ["smoothquant", "channel"], ["smoothquant", "tensor"],
        ["llm-int8", "channel"],
    ]  # fmt: skip
    assert "small on 300 tokens of" in outcome.out
    assert "±: standard" in " ".join(outcome.out.split())
    assert max(map(len, outcome.out.splitlines())) <= 120
    steps = outcome.err.splitlines()
    assert steps[:3] == [
        "socsim: measuring: profile, from token 0 of 100",
        "socsim: measuring: reference in float32",
        "socsim: measuring: float32",
    ]
    assert len(steps) == 2 + 14
    again = call_well(capsys, "accuracy", *short)
    assert (again.out, again.err) == (outcome.out, "")


@pytest.mark.parametrize(("width", "columns"), [(118, 12), (117, 10), (96, 10), (95, 7), (80, 7)])
def test_narrow_terminals_have_fewer_columns(
    capsys: pytest.CaptureFixture[str], short: list[str], monkeypatch: pytest.MonkeyPatch, width: int, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out = call_well(capsys, "accuracy", *short, "--schemes", "shadow", "--weight-scales", "channel", "--pruning-rate", "0.5").out
    row = next(line for line in out.splitlines() if line.startswith("shadow, 50 %")).removeprefix("shadow, 50 %")
    assert len(row.replace(" ±", "±").split()) == columns - 1
    flat = " ".join(out.split())
    names = {12: "", 10: "perplexity, words", 7: "perplexity, words, fetched, hot, MACs"}[columns]
    assert (f"Left out: {names}; see a wider terminal or --json" in out.splitlines()) == bool(names)  # in one line
    assert ("Left out" in flat) == bool(names)
    for column, note in {"fetched": "read from flash", "words": "last words guessed"}.items():
        assert (f"{column}: {note}" in flat) == (column not in names)
    assert max(map(len, out.splitlines())) <= width


def test_notes_explain_what_is_there(capsys: pytest.CaptureFixture[str], short: list[str]) -> None:
    out = " ".join(call_well(capsys, "accuracy", *short, "--schemes", "float32,per-group").out.split())
    assert "top-1: agreement" in out
    assert not [word for word in ("pruned", "aimed at", "float work", "kept", "fetched", "Left out") if word in out]
    out = " ".join(call_well(capsys, "accuracy", *short, "--schemes", "shadow").out.split())
    assert "%: of the linears pruned; KL: " in out
    assert "kept: of 14 linears, those with float work" in out


def test_all_columns_of_the_ablation(capsys: pytest.CaptureFixture[str], short: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "156")
    out = call_well(capsys, "accuracy", "--table", "ablation", *short).out
    assert "Left out" not in out
    assert "channels, ch.: float channels aimed at" in " ".join(out.split())
    assert any(line.startswith("shadow, nothing pruned, threshold at 99.9th percentile  ") for line in out.splitlines())


def test_interrupted_run_keeps_what_is_finished(
    capsys: pytest.CaptureFixture[str], short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Meter.measure

    def interrupted(meter: Meter, scheme: Scheme, profile: Profile) -> Accuracy:
        if scheme.name == "per-group":
            raise KeyboardInterrupt
        return measure(meter, scheme, profile)

    arguments = ["accuracy", *short, "--schemes", "float32,smoothquant,per-group", "--weight-scales", "channel"]
    with monkeypatch.context() as patched:
        patched.setattr(Meter, "measure", interrupted)
        outcome = call(capsys, *arguments)
    assert (outcome.code, outcome.out) == (130, "")
    steps = call_well(capsys, *arguments).err.splitlines()
    assert steps == ["socsim: measuring: reference in float32", "socsim: measuring: per-group"]


def test_json_names_everything_that_results_depend_on(capsys: pytest.CaptureFixture[str], short: list[str]) -> None:
    chosen = ["--schemes", "shadow,float32", "--schemes", "per-group", "--weight-scales", "tensor", "--pruning-rate", "0.5"]
    report = call_well(capsys, "accuracy", *short, *chosen, "--json").json
    assert [(row["scheme"], row["weight_scales"], row["pruning_rate"]) for row in report["rows"]] == [
        ("shadow", "tensor", 0.5), ("float32", None, None), ("per-group", "group of 32", None),
    ]  # fmt: skip
    assert (report["schema_version"], report["table"], report["tokens"], report["calibration_tokens"]) == (1, "schemes", 300, 100)
    assert {"weights_sha256", "text_sha256", "calibration_text_sha256", "python", "numerics_version", "profile"} <= set(report)
    assert report["command"] == (
        f"socsim accuracy --schemes shadow,float32,per-group --weight-scales tensor --pruning-rate 0.5 --text {short[3]} --tokens 300 "
        f"--calibration-text {short[7]} --calibration-tokens 100 --weights small"
    )
    row = report["rows"][0]
    assert row["predictions"] == 299
    assert row["perplexity"] > 1
    assert row["kept_linears"] == 7
    again = call_well(capsys, *report["command"].split()[1:], "--json").json
    assert again == report


def test_no_words_to_guess(capsys: pytest.CaptureFixture[str], short: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("hello " * 100)
    options = [*short[:5], "100", *short[6:], "--schemes", "float32"]
    (row,) = call_well(capsys, "accuracy", *options, "--json").json["rows"]
    assert (row["last_words"], row["last_word_accuracy"], row["last_word_accuracy_se"]) == (0, None, None)
    assert "-" in call_well(capsys, "accuracy", *options).out.splitlines()[3].split()[-7:]


@pytest.mark.parametrize(("table", "rows"), [("schemes", 14), ("ablation", 16), ("curve", 30)])
def test_tables_are_written_and_drawn(capsys: pytest.CaptureFixture[str], short: list[str], tmp_path: Path, table: str, rows: int) -> None:
    output, plot = tmp_path / "table.csv", tmp_path / "plot.svg"
    outcome = call_well(capsys, "accuracy", "--table", table, *short, "-o", str(output), "--plot", str(plot))
    assert outcome.err.splitlines()[-2:] == [f"socsim: wrote: {output}", f"socsim: wrote: {plot}"]
    lines = output.read_text().splitlines()
    assert lines[0].startswith("# socsim accuracy")
    assert any(line.startswith("# text_sha256: ") for line in lines)
    assert len(list(csv.DictReader(line for line in lines if not line.startswith("#")))) == rows
    assert plot.read_text().startswith("<?xml")
    assert max(map(len, outcome.out.splitlines())) <= 120


def test_importance_of_each_linear(capsys: pytest.CaptureFixture[str], short: list[str], tmp_path: Path) -> None:
    output = tmp_path / "importance.csv"
    outcome = call_well(capsys, "accuracy", "--table", "importance", *short, "--output", str(output))
    assert [line.split()[0] for line in outcome.out.splitlines()[2:4]] == ["0", "1"]
    rows = list(csv.DictReader(line for line in output.read_text().splitlines() if not line.startswith("#")))
    assert [(row["linear_index"], row["layer"], row["linear"], row["unit"]) for row in rows[6:8]] == [
        ("6", "0", "down", "ratio"), ("7", "1", "q", "ratio"),
    ]  # fmt: skip
    assert len(rows) == 14
    assert (
        rows[0].keys()
        == dict.fromkeys(
            ["model", "linear_index", "layer", "linear", "importance", "smoothed_importance", "unit", "source", "split"]
        ).keys()
    )


def test_calibrate(capsys: pytest.CaptureFixture[str], short: list[str]) -> None:
    arguments = ["weights", "calibrate", "--name", "small", "--text", short[7], "--tokens", "100"]
    first, again, forced = (call_well(capsys, *arguments, *more) for more in ([], [], ["--force"]))
    (path,) = weights_folder("small").glob("profile-*.npz")
    assert first.out == f"the profile of 'small' on 100 tokens of {short[7]} is now in {path}\n"
    assert again.out == first.out.replace("now", "already")
    assert forced.out == first.out
    assert [outcome.err for outcome in (first, again, forced)] == ["socsim: calibrating: profile, from token 0 of 100\n", "", first.err]
    assert "profile" not in call_well(capsys, "accuracy", *short, "--schemes", "shadow").err  # it is there


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["--schemes", "shadow,smothquant"], "unknown scheme 'smothquant' (did you mean 'smoothquant'?); allowed: "),
        (["--schemes", ""], "unknown scheme ''"),
        (["--weight-scales", "row"], "unknown --weight-scales 'row'"),
        (["--pruning-rate", "2"], "--pruning-rate 2: allowed: from 0"),
        (["--pruning-rate", "0.5", "--schemes", "llm-int8"], "--pruning-rate: applies to shadow and shadow-plus; --schemes has neither"),
        (["--calibration-tokens", "0"], "--calibration-tokens 0: allowed: whole numbers from 64"),
        (["--table", "ablaton"], "unknown --table 'ablaton' (did you mean 'ablation'?)"),
        (["--table", "curve", "--schemes", "shadow"], "--table curve: has schemes of its own"),
        (["--table", "importance", "--plot", "a.png"], "--plot 'a.png': there is no figure of --table importance"),
        (["--tokens", "9"], "--tokens 9: allowed: whole numbers from 64"),
        (["--tokens", "90000"], "fewer than the 90,000 asked for with --tokens"),
        (["--calibration-tokens", "90000"], "fewer than the 90,000 asked for with --calibration-tokens"),
        (["--weights", "smal"], "weights 'smal' are not in the cache"),
        (["--text", "absent.txt"], "absent.txt: cannot be read"),
        (["--plot", "a.bmp"], "--plot 'a.bmp': unknown suffix '.bmp'"),
        (["--output", "absent/a.csv"], "--output 'absent/a.csv': no such folder 'absent'"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], short: list[str], changes: list[str], said: str) -> None:
    outcome = call(capsys, "accuracy", *short, *changes)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err.splitlines()[-1]
    assert outcome.err.splitlines()[-1].startswith("socsim: error: ")


def test_text_that_is_not_utf_8_or_that_of_calibration(capsys: pytest.CaptureFixture[str], short: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"abcd\xfe")
    assert "mine.txt: is not UTF-8: byte 0xfe at offset 4" in call(capsys, "accuracy", *short).err
    (tmp_path / "mine.txt").write_bytes((tmp_path / "other.txt").read_bytes())
    assert "mine.txt: is the text of the calibration, too" in call(capsys, "accuracy", *short).err


def test_help_states_the_constants() -> None:
    """They are written out there, as help does without the modules that have them."""
    assert inspect.signature(accuracy_command).parameters["calibration_tokens"].default == CALIBRATION_TOKENS
    assert inspect.signature(calibrate_weights_command).parameters["tokens"].default == CALIBRATION_TOKENS
    assert tuple(SCHEMES) == SCHEME_NAMES
    for command in (accuracy_command, calibrate_weights_command):
        assert f"{CALIBRATION_TOKENS:,} tokens" in str(command.__doc__)
    assert f"prompts of {WINDOW_TOKENS} tokens in chunks of {CHUNK_TOKENS}" in str(accuracy_command.__doc__)


@pytest.mark.parametrize("command", [["accuracy"], ["weights", "calibrate"]])
def test_help_has_an_example_and_is_quick(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "half a minute" in " ".join(out.split())
    assert command != ["accuracy"] or all(name in out for name in SCHEME_NAMES)
    assert f"  socsim {' '.join(command)}" in out[out.index("Examples:") :]
    program = f"import sys; from socsim.cli import _exit_code; _exit_code({[*command, '--help']!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not set(done.stderr.split()) & {"tokenizers", "numpy", "matplotlib", "socsim.numerics"}
