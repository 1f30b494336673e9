"""Every experiment that is shipped runs in its short version, and publishes what it found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from socsim.experiments.publication import read_record, read_table
from socsim.experiments.running import Experiment, list_experiments, run_experiment

ON_WEIGHTS = ("accuracy", "outlier_channels", "per_group_quantization")
"""Experiments that compute the real model."""


@pytest.mark.parametrize("experiment", list_experiments(), ids=lambda experiment: experiment.name)
def test_experiment(experiment: Experiment, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if experiment.name in ON_WEIGHTS:
        request.getfixturevalue("weights")
    run_experiment(experiment, tmp_path, quick=True, formats=("svg",))
    record = read_record(tmp_path)
    assert record is not None
    assert record["experiment"] == experiment.name
    assert "?" in record["question"]
    assert record["quick"]
    assert record["conclusions"]
    assert record["figures"]
    for table in record["tables"]:
        assert read_table(tmp_path / table["file"])[1]
        assert table["caption"]
    assert record["tables"]


def test_demo_writes_comparison_and_trace(tmp_path: Path) -> None:
    (demo,) = (experiment for experiment in list_experiments() if experiment.name == "demo")
    run_experiment(demo, tmp_path, quick=True, formats=("svg",))
    records = json.loads((tmp_path / "comparison.json").read_text())
    assert {record["scheduler"] for record in records["schedulers"]} >= {"sequential", "in-order", "lockstep-pairs", "fifo", "out-of-order"}
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
