"""What the scripts on shares, energies and end-to-end times make of runs and of published rows."""

from __future__ import annotations

import csv
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import socsim
from socsim.experiments import published
from socsim.experiments.grid import Workload
from socsim.measurements import load_system_rows

SCRIPTS = Path(__file__).parents[2] / "experiments"
HEADER = "soc,model,engine,prompt_tokens,output_tokens,settings,metric,value,unit,source,split\n"
CHAT = Workload("Persona-Chat", 536, 46)


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(SCRIPTS / f"{name}.py"))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def claims(out: Path) -> dict[str, dict[str, Any]]:
    return {claim["what"]: claim for claim in json.loads((out / "record.json").read_text())["claims"]}


def publish_also(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *rows: str) -> None:
    """Add rows to the published ones."""
    path = tmp_path / "system_more.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    everything = load_system_rows() + load_system_rows([path])
    monkeypatch.setattr(published, "load_system_rows", lambda: everything)


def test_shares_are_of_end_to_end_time() -> None:
    row = script("prefill_share")["shares"]("qwen1.5-1.8b", "llm-npu", CHAT)
    record = socsim.run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", prompt_tokens=536, output_tokens=46).record
    assert row["processor"] == "NPU"
    assert row["decode_s"] == pytest.approx(45 * record["tpot_s"])
    assert row["prefill_share"] == pytest.approx(record["ttft_s"] / (record["ttft_s"] + 45 * record["tpot_s"]))
    assert row["prefill_share"] + row["decode_share"] == 1.0


def test_published_share_is_taken_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = "snapdragon-8-gen-3,qwen1.5-1.8b,llama.cpp-cpu,536,46,,prefill_share,50,%,a book,validation"
    publish_also(monkeypatch, tmp_path, row)
    script("prefill_share")["main"](tmp_path / "out", True, ("png",))
    (known,) = [row for row in table(tmp_path / "out" / "prefill_share.csv") if row["published_prefill_share"]]
    assert (known["engine"], known["workload"], known["published_prefill_share"]) == ("llama.cpp-cpu", "Persona-Chat", "0.5")
    (claim,) = claims(tmp_path / "out").values()
    assert claim["published"] == 0.5
    assert claim["simulated"] == pytest.approx(float(known["prefill_share"]), abs=1e-4)


def test_published_power_is_energy_times_speed() -> None:
    energy = script("prefill_energy")
    run = {
        "soc": "snapdragon-8-gen-2",
        "model": "qwen1.5-1.8b",
        "engine": "llm-npu",
        "prompt_tokens": 64,
        "published_prefill_energy_j": 0.18,
    }
    with_speed, without = energy["with_power"]([run, run | {"prompt_tokens": 128}])
    assert with_speed["published_prefill_power_w"] == pytest.approx(0.18 * 349 / 64)
    assert without["published_prefill_power_w"] is None


def test_energies_belong_to_the_calibration_they_were_measured_with(tmp_path: Path) -> None:
    script("prefill_energy")["main"](tmp_path, True, ("png",))
    rows = table(tmp_path / "prefill_energy.csv")
    assert {row["power_calibration"] for row in rows if row["published_prefill_energy_j"]} == {"battery-rail"}
    assert sum(bool(row["published_prefill_energy_j"]) for row in rows) == 12
    found = claims(tmp_path)
    llama = found["prefill energy of llama.cpp-cpu over llm-npu, geometric mean of 3 runs"]
    assert llama["published"] == pytest.approx((2.5 / 0.18 * 10.71 / 0.49 * 49.8 / 0.9) ** (1 / 3), rel=1e-3)
    assert found["prefill energy of mlc-gpu over llm-npu, 1,024 tokens"]["published"] == pytest.approx(38.64 / 0.9, rel=1e-3)


@pytest.mark.parametrize("metric", ["ttft_s", "e2e_s"])
def test_published_times_are_taken_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, metric: str) -> None:
    rows = [f"snapdragon-8-gen-3,qwen1.5-1.8b,{engine},536,46,,{metric},{value},s,a book,validation" for engine, value in
            (("mnn-cpu", 12), ("llm-npu", 4))]  # fmt: skip
    publish_also(monkeypatch, tmp_path, *rows)
    monkeypatch.setattr("socsim.experiments.grid.load_workloads", lambda: [CHAT])
    script("end_to_end")["main"](tmp_path / "out", True, ("png",))
    times = table(tmp_path / "out" / "published_times.csv")
    assert [row["time"] for row in times].count("decode time") == 5
    assert [row["published_s"] for row in times if row["time"] != "decode time"] == ["12", "4"]
    over = [claim for what, claim in claims(tmp_path / "out").items() if "over" in what]
    assert [claim["published"] for claim in over] == ([3.0] if metric == "e2e_s" else [])


def test_decode_steps_follow_the_prefills_token() -> None:
    row = script("end_to_end")["times"]("qwen1.5-1.8b", "llm-npu", CHAT)
    assert row["e2e_s"] == pytest.approx(row["ttft_s"] + row["decode_s"])
    assert row["decode_s"] == pytest.approx(3.8, rel=0.05)  # Xu et al. 2025, Table 5
