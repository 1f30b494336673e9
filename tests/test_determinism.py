"""Same inputs, same bytes out: whatever the listing order, the hash seed, and what ran before."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from socsim.catalog import load_soc
from socsim.runs import Result, make_case, run, run_case
from socsim.schedulers import SCHEDULERS
from socsim.specs import SoC

ROOT = Path(__file__).parents[1]
OVERRIDES = {"model.num_hidden_layers": 3, "engine.outlier_pruning_rate": 0.5, "engine.placement.operators": {"ffn_norm": "gpu"}}
PROGRAM = """
import json, sys
from socsim.metrics import power_steps
from socsim.runs import run
for scheduler in ("out-of-order", "in-order", "lockstep-pairs"):
    result = run("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", prompt_tokens=200, output_tokens=3, chunk_tokens=64, scheduler=scheduler,
                 overrides=json.loads(sys.argv[1]))
    print(json.dumps(result.record))
    print(json.dumps(result.timeline.to_chrome_trace(power_steps(result.timeline, result.case.power))))
"""


def small(soc: str | SoC | Path = "snapdragon-8-gen-3", scheduler: str = "out-of-order", **overrides: Any) -> Result:
    changes = OVERRIDES | {path.replace("__", "."): value for path, value in overrides.items()}
    return run(soc, "smollm2-135m", "llm-npu", prompt_tokens=200, output_tokens=3, chunk_tokens=64, scheduler=scheduler, overrides=changes)


def written(result: Result) -> str:
    return json.dumps([result.record, result.timeline.to_chrome_trace(), result.timeline.start_ns.tolist()])


def test_hash_seed_changes_nothing() -> None:
    outputs = set()
    for seed in ("0", "1", "random"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(OVERRIDES)], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == 6


def reordered(text: str, order: list[str]) -> str:
    """Return a SoC file with its tables sorted by the processor that they name."""
    head, *tables = re.split(r"(?m)^(?=\[)", text)
    tables = [table if table.endswith("\n") else table + "\n" for table in tables]
    return head + "".join(sorted(tables, key=lambda table: next((i for i, name in enumerate(order) if name in table.splitlines()[0]), -1)))


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_listing_order_of_a_file_changes_nothing(scheduler: str, tmp_path: Path) -> None:
    shipped = (ROOT / "hardware_models" / "soc_snapdragon-8-gen-3.toml").read_text()
    outputs, listings = set(), set()
    for order in (["cpu", "gpu", "npu"], ["npu", "gpu", "cpu"], ["gpu", "npu", "cpu"]):
        path = tmp_path / "soc_snapdragon-8-gen-3.toml"
        path.write_text(reordered(shipped, order))
        listings.add(tuple(load_soc(path).processors))
        outputs.add(written(small(path, scheduler)))
    assert len(listings) == 3
    assert outputs == {written(small(scheduler=scheduler))}


def test_two_runs_in_one_process_are_the_same() -> None:
    for scheduler in sorted(SCHEDULERS):
        assert written(small(scheduler=scheduler)) == written(small(scheduler=scheduler))


def test_case_can_be_run_again_and_with_other_policies_between() -> None:
    case = make_case("snapdragon-8-gen-3", "smollm2-135m", "llm-npu", prompt_tokens=200, chunk_tokens=64, overrides=OVERRIDES)
    first = {name: written(run_case(case, name)) for name in SCHEDULERS}
    again = {name: written(run_case(case, name)) for name in reversed(list(SCHEDULERS))}
    assert first == again


def test_noise_depends_on_its_seed_only() -> None:
    noisy = [written(small(run__duration_noise=0.1, run__seed=seed)) for seed in (1, 1, 2)]
    assert noisy[0] == noisy[1] != noisy[2]


def test_seed_without_noise_changes_no_time() -> None:
    assert small(run__seed=1).timeline.start_ns.tolist() == small(run__seed=2).timeline.start_ns.tolist()
