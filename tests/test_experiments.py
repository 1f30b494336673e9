"""Every experiment script runs, and writes what it says."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent.parent / "experiments").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_script_runs(script: Path, tmp_path: Path) -> None:
    runpy.run_path(str(script))["main"](tmp_path, quick=True)
    assert any(tmp_path.iterdir())


def test_demo_writes_comparison_figures_and_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = runpy.run_path(str(SCRIPTS[0].with_name("demo.py")))
    demo["main"](tmp_path, quick=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"comparison.json", "trace.json", "gantt.png", "gantt.pdf", "gantt_schedulers.png", "gantt_schedulers.pdf"}
    records = json.loads((tmp_path / "comparison.json").read_text())
    assert [record["engine"] for record in records["engines"]] == [*demo["STEPS"], *demo["OTHERS"]]
    assert {record["scheduler"] for record in records["schedulers"]} >= {"sequential", "in-order", "lockstep-pairs", "fifo", "out-of-order"}
    printed = capsys.readouterr().out
    assert "NPU bubble rates" in printed
    assert "out-of-order" in printed
