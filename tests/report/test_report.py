"""The page without a browser: it holds everything, needs nothing, says what is missing, and is the same each time."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_page import HOSTILE, Made, make_page

import socsim
from socsim.cli import main
from socsim.cli.report_page import make_report
from socsim.errors import SocsimError
from socsim.experiments.publication import read_record
from socsim.experiments.running import Experiment, run_experiment
from socsim.measurements import load_system_rows
from socsim.palette import FAMILIES
from socsim.report.tables import Cell, make_table, number_text
from socsim.report.timeline import time_table, timeline_figure

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """What is in a page; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_page(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(made: Made) -> Page:
    return Page(made.text)


def test_the_page_needs_no_network_and_no_other_file(made: Made, page: Page) -> None:
    addresses = [attributes[name] or "" for _, attributes in page.tags for name in ("src", "href") if name in attributes]
    assert addresses
    assert {address for address in addresses if not address.startswith(("data:", "#"))} == set()
    (style,) = re.findall(r"<style>(.*?)</style>", made.text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    policies = [meta["content"] or "" for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert [policy.startswith("default-src 'none';") for policy in policies] == [True]


def test_the_page_is_well_formed(page: Page) -> None:
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert max(Counter(names).values()) == 1
    targets = {(link["href"] or "").removeprefix("#") for link in page.all("a")}
    assert targets - set(names) == set()
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(image["alt"] and image["width"] and image["height"] for image in page.all("img"))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))


def test_the_page_holds_what_experiments_found(made: Made, page: Page) -> None:
    images = {image["src"]: image["alt"] for image in page.all("img")}
    for experiment in made.experiments[:2]:
        folder = made.path.parent / experiment.name
        record = read_record(folder)
        assert record is not None
        assert record["tables"]
        assert record["figures"]
        assert experiment.question in page.text
        for words in (*record["conclusions"], *(claim["what"] for claim in record["claims"]), record["inputs_sha256"]):
            assert " ".join(words.split()) in page.text
        assert f"socsim experiment {experiment.name} --quick" in page.text
        for figure in record["figures"]:
            (file,) = (name for name in figure["files"] if name.endswith(".svg"))
            source = f"data:image/svg+xml;base64,{base64.b64encode((folder / file).read_bytes()).decode()}"
            assert images[source] == figure["caption"]
        for table in record["tables"]:
            assert table["caption"] in page.text


def test_the_summary_counts_verdicts_and_says_which_claims_were_fitted(made: Made, page: Page) -> None:
    record = read_record(made.path.parent / "prefill_speed")
    assert record is not None
    real = Counter(claim["verdict"] for claim in record["claims"])
    for word, own in (("agrees", 1), ("roughly agrees", 1), ("disagrees", 1)):
        assert re.search(rf"\b{real[word] + own} {word} ", page.text), word
    assert "off roughly agrees 100 140 s +40.0 fitted hand_made" in page.text
    assert "near agrees 100 110 s +10.0 predicted hand_made" in page.text


def test_what_has_no_results_is_shown_with_the_reason(made: Made, page: Page) -> None:
    assert made.code == 1  # a mistake in a script counts more than bad input
    assert "Missing: weights <x> are missing: run 'socsim weights fetch'" in page.text
    assert "Missing: ZeroDivisionError: division by zero" in page.text
    assert "2 of 4 experiments have no results" in page.text
    assert "2 of 4 experiments are quick versions" in page.text


def test_words_of_experiments_are_no_markup(page: Page) -> None:
    assert " ".join(HOSTILE.split()) in page.text
    assert len(page.all("script")) == 3
    assert page.all("b") == [{}, {}, {}]  # the three counts


def test_tables_of_experiments(made: Made, page: Page) -> None:
    assert "All rows: phone model same. Published: a book." in page.text
    assert "name time (s) ten 10 nine 9 none many 12,340" in page.text
    long = [details for details in page.all("details") if "long" in (details["class"] or "")]
    assert [("open" in details) for details in long] == [False]
    assert "A long table: 200 rows, which are not printed." in page.text
    assert "<tr><td class=brief>many</td><td class=number>12,340</td></tr>" in made.text


def test_provenance(page: Page) -> None:
    assert "version quick words a, b nested deep: 1, 2 seed 7 versions socsim" in page.text
    assert f"socsim {socsim.__version__} python" in page.text
    assert "plotly" in page.text
    assert "command socsim report --quick" in page.text


def test_configuration_has_units_kinds_and_sources(page: Page) -> None:
    assert "SoC snapdragon-8-gen-3: Qualcomm Snapdragon 8 Gen 3" in page.text
    assert "num_hidden_layers 24 blocks vendor " in page.text
    assert re.search(r"dram\.achievable_bytes_per_s [\d.]+ GB/s measured \S", page.text)
    assert re.search(r"chunk_tokens 256 tokens measured Xu et al\.", page.text)


def test_validation_has_targets_and_rows(page: Page) -> None:
    assert re.search(r"NPU int8 products, Table 3 and Fig 8 12 [\d.]+ (not )?met \d+", page.text)
    assert f"Measured runs beside predictions ({len(load_system_rows())} rows)" in page.text
    assert re.search(r"snapdragon-8-gen-3 gemma-2b llm-npu prefill \(tokens/s\) 64 220 [\d.]+ -?[\d.]+ calibration", page.text)
    assert "socsim validate has them" in page.text


def test_the_same_input_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    assert make_report(made.experiments, tmp_path / "elsewhere", quick=True) == made.code
    assert (tmp_path / "elsewhere" / "index.html").read_bytes() == made.path.read_bytes()


@pytest.fixture
def single(made: Made, tmp_path: Path) -> Experiment:
    script = tmp_path / "single.py"
    script.write_text(made.experiments[1].script.read_text())
    return Experiment("single", script)


def test_results_that_are_out_of_date_are_not_shown(single: Experiment, tmp_path: Path) -> None:
    assert make_report([single], tmp_path / "out", quick=False) == 0
    assert "A long table" in (tmp_path / "out" / "index.html").read_text()
    single = single._replace(script=tmp_path / "other" / "single.py")
    single.script.parent.mkdir()
    single.script.write_text('"""What now?"""\nfrom socsim import SocsimError\ndef main(*_):\n    raise SocsimError("not today")\n')
    assert make_report([single], tmp_path / "out", quick=False) == 2
    text = (tmp_path / "out" / "index.html").read_text()
    assert "Missing: not today" in text
    assert "A long table" not in text


def test_a_page_is_written_whole_or_not_at_all(single: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    make_report([single], out, quick=True)
    before = (out / "index.html").read_bytes()

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_report([single], out, quick=True)
    assert (out / "index.html").read_bytes() == before
    assert {path.name for path in out.iterdir()} == {"index.html", "single"}


def test_a_page_that_cannot_be_written(single: Experiment, tmp_path: Path) -> None:
    (tmp_path / "out" / "index.html").mkdir(parents=True)
    with pytest.raises(SocsimError, match=r"index\.html: cannot be written: Is a directory"):
        make_report([single], tmp_path / "out", quick=True)


def test_the_command(single: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("socsim.experiments.running.experiment_files", lambda: {single.name: single.script})
    for arguments, state in (((), "done"), ((), "up to date"), (("--force",), "done")):
        with pytest.raises(SystemExit) as stop:
            main(["report", "--out", str(tmp_path / "out"), "--quick", *arguments])
        out, err = capsys.readouterr()
        assert not stop.value.code
        assert f"single ({state})" in out
        assert f"wrote: {tmp_path / 'out' / 'index.html'}" in err


def test_a_long_experiment_is_on_the_page_once_it_was_run(single: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / "long.py"
    long.write_text(single.script.read_text(encoding="utf-8") + "\nAPART = True\n", encoding="utf-8")
    monkeypatch.setattr("socsim.experiments.running.experiment_files", lambda: {single.name: single.script, "long": long})
    for run_before in (False, True):
        if run_before:
            run_experiment(Experiment("long", long), tmp_path / "out" / "long", quick=True, formats=("png", "pdf", "svg"))
        with pytest.raises(SystemExit) as stop:
            main(["report", "--out", str(tmp_path / "out"), "--quick"])
        assert not stop.value.code
        assert ('<section id="long"' in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")) == run_before


def test_the_page_takes_scripts_of_ones_own(single: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.experiments.running.experiment_files", lambda: {single.name: single.script})
    own = tmp_path / "of_my_own.py"
    own.write_text(single.script.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main(["report", "--out", str(tmp_path / "out"), "--quick", str(own)])
    assert not stop.value.code
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '<section id="of_my_own"' in page
    assert f'<section id="{single.name}"' in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", ""), ("0", "0"), ("12345", "12,345"), ("1.234e+07", "12,340,000"), ("-0.5", "-0.5"), ("2e-05", "2e-05"), ("0.0012", "0.0012")],
)
def test_numbers_for_people(text: str, shown: str) -> None:
    assert number_text(text) == shown


def test_only_columns_of_numbers_are_aligned_as_such() -> None:
    table = make_table("", ("time_s", "soc", "empty", "mixed"), [["1", "a", "", "1"], ["", "b", "", "nan"]])
    assert table.columns == [("time (s)", True), ("phone", False), ("mixed", False)]  # nothing is in the other
    assert table.rows[1] == [Cell(""), Cell("b"), Cell("nan")]


@pytest.fixture(scope="module")
def run() -> socsim.Result:
    return socsim.run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=512)


def test_the_timeline_has_every_subgraph_once(run: socsim.Result) -> None:
    frame = run.timeline.to_dataframe()
    figure: dict[str, Any] = json.loads(timeline_figure(run.timeline))
    bars = [trace for trace in figure["data"] if trace["type"] == "bar" and trace["hoverinfo"] == "text"]
    assert [trace["marker"]["color"] for trace in bars] == [f.color for f in FAMILIES.values() if f.label in {t["name"] for t in bars}]
    drawn = sorted((y, b, round(b + x, 4)) for trace in bars for y, b, x in zip(trace["y"], trace["base"], trace["x"], strict=True))
    known = sorted((p.upper(), s * 1e3, e * 1e3) for p, s, e in zip(frame.processor, frame.start_s, frame.end_s, strict=True))
    assert [row[0] for row in drawn] == [row[0] for row in known]
    np.testing.assert_allclose([row[1:] for row in drawn], [row[1:] for row in known], atol=2e-4)


def test_labels_say_what_a_subgraph_is(run: socsim.Result) -> None:
    row = run.timeline.to_dataframe().query("stage == 'qkv' and chunk == 1 and block == 3").iloc[0]
    figure = json.loads(timeline_figure(run.timeline))
    texts = [text for trace in figure["data"] for text in trace.get("hovertext", ())]
    (text,) = (text for text in texts if text.startswith("<b>qkv</b> on NPU<br>chunk 1, block 3<br>"))
    duration_ms = (row.end_s - row.start_s) * 1e3
    assert f"{row.start_s * 1e3:.3f} to {row.end_s * 1e3:.3f} ms: {duration_ms:.3f} ms" in text
    assert f"linear {row.linear_s * 1e3:.3f}" in text.replace("<br>", " ")
    assert f"DRAM {row.dram_bytes / 1e6:,.2f} MB<br>{row.ops / 1e6:,.1f} million operations" in text


def test_dram_below_the_timeline_moves_all_bytes(run: socsim.Result) -> None:
    dram = json.loads(timeline_figure(run.timeline))["data"][-1]
    moved = np.sum(np.diff(dram["x"]) * 1e-3 * np.array(dram["y"][:-1]) * 1e9)
    assert moved == pytest.approx(run.record["dram_bytes"], rel=1e-3)


def test_the_table_of_times_adds_up_to_utilization(run: socsim.Result) -> None:
    rows = [[cell.text for cell in row] for row in time_table(run.timeline).rows]
    npu_percent = sum(float(row[4]) for row in rows if row[0] == "NPU")
    assert npu_percent == pytest.approx(100 * run.record["npu_utilization"], abs=0.05)
    assert sum(int(row[2]) for row in rows) == run.record["subgraphs"]
