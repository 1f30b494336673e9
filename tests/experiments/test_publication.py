"""What an experiment publishes is complete or not there at all, and the same bytes each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from socsim.errors import SocsimError
from socsim.experiments import Publication
from socsim.experiments.publication import PARTIAL, RECORD, is_current, read_record, read_table, recover, verdict
from socsim.plots import lines


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text('"""How long is a piece of string?\n\nAs long as it is.\n"""\n')
    return path


def publish(out: Path, script: Path, value: float = 1.25, *, extra: bool = False, **options: Any) -> None:
    with Publication(out, script, quick=False, formats=("svg",), phones=("a", "b"), **options) as paper:
        paper.table("lengths", [{"name": "a, b", "length_s": value}, {"name": "c", "length_s": None, "ok": True}], "Lengths")
        rows = [{"x": 1.0, "y": value, "name": "a"}, {"x": 2.0, "y": 3.0, "name": "a"}]
        paper.figure("lengths", lines(rows, x="x", y="y", series="name", x_label="x", y_label="y"))
        paper.conclude("It is long.")
        paper.claim("length", 1.0, value, "s", "somebody")
        paper.claim("width", None, value)
        if extra:
            paper.file("extra.txt", "more\n")


def test_the_record_says_all(tmp_path: Path, script: Path) -> None:
    publish(tmp_path / "out", script, 1.26789)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["lengths.csv", "lengths.svg", RECORD]
    record = read_record(tmp_path / "out")
    assert record is not None
    assert (record["experiment"], record["question"], record["quick"]) == ("mine", "How long is a piece of string?", False)
    assert record["conclusions"] == ["It is long."]
    assert record["claims"] == [
        {
            "what": "length",
            "published": 1.0,
            "simulated": 1.268,
            "unit": "s",
            "error_percent": 26.8,
            "verdict": "roughly agrees",
            "fitted": False,
            "source": "somebody",
        }
    ]
    assert record["tables"] == [{"file": "lengths.csv", "caption": "Lengths"}]
    assert record["figures"] == [{"files": ["lengths.svg"], "caption": ""}]
    assert record["provenance"]["parameters"] == {"phones": ["a", "b"]}
    assert record["provenance"]["seed"] == 0
    assert set(record["files"]) == {"lengths.csv", "lengths.svg"}


def test_tables_have_four_digits_and_come_back(tmp_path: Path, script: Path) -> None:
    publish(tmp_path, script, 1.26789)
    assert (tmp_path / "lengths.csv").read_text() == 'name,length_s,ok\n"a, b",1.268,\nc,,true\n'
    assert read_table(tmp_path / "lengths.csv") == (["name", "length_s", "ok"], [["a, b", "1.268", ""], ["c", "", "true"]])


def test_same_results_same_bytes(tmp_path: Path, script: Path) -> None:
    publish(tmp_path / "a", script)
    publish(tmp_path / "b", script)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_names_hold_no_folders(tmp_path: Path, script: Path) -> None:
    with Publication(tmp_path / "out", script, quick=False) as paper:
        paper.table("speed_../my phones/a.toml", [{"length_s": 2.0}])
    assert (tmp_path / "out" / "speed_..-my-phones-a.toml.csv").exists()


def test_large_numbers_have_no_exponent(tmp_path: Path, script: Path) -> None:
    publish(tmp_path, script, 102_649.7)
    assert read_table(tmp_path / "lengths.csv")[1][0] == ["a, b", "102600", ""]


@pytest.mark.parametrize(("error", "word"), [(0.0, "agrees"), (-20.0, "agrees"), (20.1, "roughly agrees"), (-50.1, "disagrees")])
def test_verdicts(error: float, word: str) -> None:
    assert verdict(error) == word


def test_an_error_leaves_what_was_there(tmp_path: Path, script: Path) -> None:
    publish(tmp_path / "out", script)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}

    def fail() -> None:
        with Publication(tmp_path / "out", script, quick=False) as paper:
            paper.table("lengths", [{"length_s": 2.0}])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


def test_files_that_are_gone_are_removed_and_those_of_others_stay(tmp_path: Path, script: Path) -> None:
    publish(tmp_path / "out", script, extra=True)
    (tmp_path / "out" / "mine.txt").write_text("of somebody else")
    publish(tmp_path / "out", script)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["lengths.csv", "lengths.svg", "mine.txt", RECORD]


@pytest.mark.parametrize("moves", range(4))
def test_an_interrupted_move_is_finished(tmp_path: Path, script: Path, monkeypatch: pytest.MonkeyPatch, moves: int) -> None:
    out, original, done = tmp_path / "out", Path.replace, list[str]()
    publish(out, script, 1.0, extra=True)

    def interrupted(self: Path, target: Path) -> Path:
        if target.parent == out:
            if len(done) == moves:
                raise KeyboardInterrupt
            done.append(target.name)
        return original(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    if moves < 3:  # table, figure, record
        with pytest.raises(KeyboardInterrupt):
            publish(out, script, 2.0)
        assert read_record(out) is None or moves == 0  # of the files, the first is another: the old record does not hold
    else:
        publish(out, script, 2.0)
    monkeypatch.setattr(Path, "replace", original)
    recover(out)
    publish(tmp_path / "straight", script, 2.0)
    assert {f.name: f.read_bytes() for f in out.iterdir()} == {f.name: f.read_bytes() for f in (tmp_path / "straight").iterdir()}


def test_an_incomplete_publication_is_dropped(tmp_path: Path, script: Path) -> None:
    publish(tmp_path / "out", script)
    (tmp_path / "out" / PARTIAL).mkdir()
    (tmp_path / "out" / PARTIAL / "lengths.csv").write_text("half a ta")
    recover(tmp_path / "out")
    assert not (tmp_path / "out" / PARTIAL).exists()
    assert read_record(tmp_path / "out") is not None


def test_what_is_current(tmp_path: Path, script: Path) -> None:
    out = tmp_path / "out"

    def current(quick: bool = False, formats: tuple[str, ...] = ("svg",)) -> bool:
        return is_current(out, script, quick=quick, formats=formats)

    assert not current()
    publish(out, script)
    assert current()
    assert current(quick=True)  # the long version is as good
    assert not current(formats=("svg", "pdf"))
    table = (out / "lengths.csv").read_bytes()
    (out / "lengths.csv").write_bytes(table + b"\n")
    assert not current()
    (out / "lengths.csv").write_bytes(table)
    assert current()
    record = json.loads((out / RECORD).read_text())
    (out / RECORD).write_text(json.dumps(record | {"quick": True}))
    assert current(quick=True)
    assert not current()
    for broken in ("{", "[]", '{"schema_version": 1, "files": {}}'):
        (out / RECORD).write_text(broken)
        assert not current(quick=True)


def test_problems_name_what_is_wrong(tmp_path: Path, script: Path) -> None:
    with pytest.raises(SocsimError, match="unknown format 'jpg'"):
        Publication(tmp_path, script, quick=False, formats=("jpg",))
    (tmp_path / "file").write_text("")
    with pytest.raises(SocsimError, match="file: cannot be written"):
        publish(tmp_path / "file", script)
