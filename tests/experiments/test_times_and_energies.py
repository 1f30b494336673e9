"""What the scripts on shares, energies and end-to-end times make of runs and of published rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripts import claims, load_script, publish, run_quick, table

import socsim
from socsim.prompts import Prompt

PAPER = "Xu et al. 2025 (arXiv 2407.05858v2)"
CHAT = Prompt("Persona-Chat", 536, 46)
CHAT_ROW = "snapdragon-8-gen-3,{},{},536,46,,{},{},{},{},{}"


def chat(engine: str, model: str = "qwen1.5-1.8b") -> dict[str, float]:
    return socsim.run("snapdragon-8-gen-3", model, engine, prompt_tokens=536, output_tokens=46).record


def energy(engine: str, prompt: int, calibration: str = "battery-rail") -> dict[str, float]:
    overrides = {"run.power_calibration": calibration}
    return socsim.run("snapdragon-8-gen-2", "qwen1.5-1.8b", engine, prompt_tokens=prompt, overrides=overrides).record


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-3)  # claims and tables have four digits


@pytest.fixture(scope="module")
def energies(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Record and main table of the script on energies, with what is shipped."""
    out = tmp_path_factory.mktemp("energies")
    return run_quick("prefill_energy", out), table(out / "prefill_energy.csv")


@pytest.fixture
def _one_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socsim.prompts.load_prompts", lambda: [CHAT])


def test_shares_are_of_end_to_end_time() -> None:
    row = load_script("prefill_share")["shares"]("qwen1.5-1.8b", "llm-npu", CHAT)
    record = chat("llm-npu")
    assert row["processor"] == "NPU"
    assert row["decode_s"] == pytest.approx(45 * record["tpot_s"])
    assert row["prefill_share"] == pytest.approx(record["ttft_s"] / (record["ttft_s"] + 45 * record["tpot_s"]))
    assert row["prefill_share"] + row["decode_share"] == 1.0


@pytest.mark.usefixtures("_one_workload")
def test_published_shares_are_taken_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shares = (("llama.cpp-cpu", 10, "Fig 7"), ("llama.cpp-cpu", 50, "Fig 1"), ("mnn-cpu", 30, "Fig 7"), ("llm-npu", 20, "Fig 1"))
    rows = [CHAT_ROW.format("qwen1.5-1.8b", engine, "prefill_share", value, "%", place, "validation") for engine, value, place in shares]
    publish(monkeypatch, tmp_path, *rows)
    record = run_quick("prefill_share", tmp_path / "out")
    simulated = {engine: chat(engine)["ttft_s"] / chat(engine)["e2e_s"] for engine in ("llama.cpp-cpu", "mnn-cpu", "llm-npu")}
    mean = (simulated["llama.cpp-cpu"] + simulated["mnn-cpu"]) / 2
    assert claims(record) == {
        "share of prefill on the CPU, mean of 2 runs": (0.4, near(mean), "Fig 1; Fig 7", False),
        "share of prefill on the NPU, mean of 1 run": (0.2, near(simulated["llm-npu"]), "Fig 1", False),
    }
    known = {row["engine"]: row["published_prefill_share"] for row in table(tmp_path / "out" / "prefill_share.csv")}
    assert known == {"llama.cpp-cpu": "0.5", "mnn-cpu": "0.3", "tflite-gpu": "", "mlc-gpu": "", "llm-npu": "0.2"}
    assert "Of 3 published shares the simulation is off by" in record["conclusions"][0]


@pytest.mark.usefixtures("_one_workload")
def test_shares_without_published_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, tmp_path)
    record = run_quick("prefill_share", tmp_path / "out")
    share = {engine: 100 * chat(engine)["ttft_s"] / chat(engine)["e2e_s"] for engine in load_script("prefill_share")["ENGINES"]}
    major = sum(each > 50 for each in share.values())
    assert 0 < major < 5
    assert record["claims"] == []
    assert record["conclusions"] == [
        f"Of end-to-end time, prefill is {share['mnn-cpu']:.1f} to {share['llama.cpp-cpu']:.1f} % on the CPU, {share['tflite-gpu']:.1f} to "
        f"{share['mlc-gpu']:.1f} % on the GPU, {share['llm-npu']:.1f} to {share['llm-npu']:.1f} % on the NPU. It is more than half in "
        f"{major} of 5 runs (not in: Persona-Chat {5 - major}). No published shares are at hand to compare them with."
    ]


def test_published_power_is_energy_times_speed() -> None:
    run: dict[str, Any] = {"soc": "snapdragon-8-gen-2", "model": "qwen1.5-1.8b", "engine": "llm-npu", "prompt_tokens": 64}
    run["published_prefill_energy_j"] = 0.18
    with_speed, without = load_script("prefill_energy")["with_power"]([run, run | {"prompt_tokens": 128}])
    assert with_speed["published_prefill_power_w"] == pytest.approx(0.18 * 349 / 64)
    assert without["published_prefill_power_w"] is None


def test_claims_of_figure_15_are_of_one_run_and_calibration_each(energies: tuple[dict[str, Any], list[dict[str, str]]]) -> None:
    record, rows = energies
    assert {row["power_calibration"] for row in rows if row["published_prefill_energy_j"]} == {"battery-rail"}
    said = {"llama.cpp-cpu": (2.5, 10.71, 49.8), "mlc-gpu": (2.44, 7.78, 38.64)}
    assert claims(record) == {
        f"prefill energy of {engine} over llm-npu (qwen1.5-1.8b, {prompt:,} tokens)": (
            near(joules / ours),
            near(energy(engine, prompt)["prefill_energy_j"] / energy("llm-npu", prompt)["prefill_energy_j"]),
            f"{PAPER}, Fig 15",
            True,
        )
        for engine, published in said.items()
        for prompt, joules, ours in zip((64, 256, 1024), published, (0.18, 0.49, 0.9), strict=True)
    }


def test_what_is_said_of_energies(energies: tuple[dict[str, Any], list[dict[str, str]]]) -> None:
    battery, device, errors, power = energies[0]["conclusions"]
    assert battery.startswith("Under battery-rail an engine takes ")
    assert device.startswith("Under whole-device an engine takes ")
    worst = 100 * (energy("mlc-gpu", 64)["prefill_energy_j"] / 2.44 - 1)
    assert errors.startswith("Of 12 published energies the simulation is off by ")
    assert errors.endswith(f"by {worst:+.0f} % at worst (mlc-gpu, qwen1.5-1.8b, 64 tokens).")
    watts = (0.18 * 349 / 64, 0.49 * 518 / 256, 0.9 * 1123 / 1024)
    simulated = sorted(each["prefill_energy_j"] / each["ttft_s"] for each in (energy("llm-npu", prompt) for prompt in (64, 256, 1024)))
    assert f"llm-npu {min(watts):.2f} to {max(watts):.2f} W (simulated: battery-rail {simulated[0]:.2f} to {simulated[-1]:.2f} W" in power
    assert power.endswith(f"Published ones of an engine are at most {100 * (max(watts) / min(watts) - 1):.1f} % apart.")


def test_energies_without_published_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, tmp_path)
    record = run_quick("prefill_energy", tmp_path / "out")
    assert record["claims"] == []
    assert len(record["conclusions"]) == 3
    assert record["conclusions"][2] == "No published energies are at hand to compare them with."


def test_a_saving_is_of_figure_15(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = "snapdragon-8-gen-2,qwen1.5-1.8b,{},64,1,run.power_calibration=whole-device,prefill_energy_j,{},J,{},validation"
    joules = (("llm-npu", 7, "Fig 7"), ("llm-npu", 2, "Fig 15"), ("mnn-cpu", 5, "Fig 15"), ("mlc-gpu", 9, "Fig 7"))
    publish(monkeypatch, tmp_path, *(row.format(*each) for each in joules))
    record = run_quick("prefill_energy", tmp_path / "out")
    ratio = energy("mnn-cpu", 64, "whole-device")["prefill_energy_j"] / energy("llm-npu", 64, "whole-device")["prefill_energy_j"]
    assert claims(record) == {"prefill energy of mnn-cpu over llm-npu (qwen1.5-1.8b, 64 tokens)": (2.5, near(ratio), "Fig 15", False)}
    assert "Of 3 published energies" in record["conclusions"][2]


def test_decode_steps_follow_the_prefills_token() -> None:
    row = load_script("end_to_end")["times"]("qwen1.5-1.8b", "llm-npu", CHAT)
    assert row["e2e_s"] == pytest.approx(row["ttft_s"] + row["decode_s"])
    assert row["decode_s"] == pytest.approx(3.8, rel=0.05)  # Xu et al. 2025, Table 5


@pytest.mark.usefixtures("_one_workload")
def test_claims_of_table_5(tmp_path: Path) -> None:
    record = run_quick("end_to_end", tmp_path)
    said = {"llama.cpp-cpu": 3.79, "mnn-cpu": 9.29, "mlc-gpu": 2.2, "llm-npu": 3.8}
    place = f"{PAPER}, Table 5 (Persona-Chat)"
    decode = {engine: chat(engine)["e2e_s"] - chat(engine)["ttft_s"] for engine in said}
    expected = {f"decode time of {each} (qwen1.5-1.8b, Persona-Chat)": (said[each], near(decode[each]), place, True) for each in said}
    gemma = chat("tflite-gpu", "gemma-2b")
    expected["decode time of tflite-gpu (gemma-2b, Persona-Chat)"] = (2.67, near(gemma["e2e_s"] - gemma["ttft_s"]), place, True)
    assert claims(record) == expected
    worst = 100 * (decode["llama.cpp-cpu"] / 3.79 - 1)
    assert f"{worst:+.0f} % at worst (decode time, llama.cpp-cpu, qwen1.5-1.8b, Persona-Chat)" in record["conclusions"][0]


@pytest.mark.usefixtures("_one_workload")
@pytest.mark.parametrize(("metric", "name"), [("ttft_s", "time to first token"), ("e2e_s", "end-to-end time"), ("decode_s", "decode time")])
def test_published_times_are_taken_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, metric: str, name: str) -> None:
    times = (("mnn-cpu", 9, "Fig 7"), ("mnn-cpu", 12, "Table 5"), ("llm-npu", 4, "Table 5"), ("mlc-gpu", 8, "Fig 7"))
    rows = [CHAT_ROW.format("qwen1.5-1.8b", engine, metric, value, "s", place, "validation") for engine, value, place in times]
    publish(monkeypatch, tmp_path, *rows)
    record = run_quick("end_to_end", tmp_path / "out")
    known = {engine: chat(engine) | {"decode_s": chat(engine)["e2e_s"] - chat(engine)["ttft_s"]} for engine, _, _ in times}
    expected: dict[str, Any] = {
        f"{name} of {engine} (qwen1.5-1.8b, Persona-Chat)": (value, near(known[engine][metric]), place, False)
        for engine, value, place in times[1:]
    }
    if metric == "e2e_s":  # over MLC, the two would be from different places
        ratio = known["mnn-cpu"][metric] / known["llm-npu"][metric]
        expected["end-to-end time of mnn-cpu over llm-npu, geometric mean of 1 run"] = (3.0, near(ratio), "Table 5", False)
    assert claims(record) == expected
    assert [row["fitted"] for row in table(tmp_path / "out" / "published_times.csv")] == ["false"] * 3


@pytest.mark.usefixtures("_one_workload")
def test_times_without_published_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(monkeypatch, tmp_path)
    record = run_quick("end_to_end", tmp_path / "out")
    engines = ("llama.cpp-cpu", "mnn-cpu", "tflite-gpu", "mlc-gpu", "powerinfer2-npu")
    ratios = {
        engine: [chat(engine, model)["e2e_s"] / chat("llm-npu", model)["e2e_s"] for model in ("qwen1.5-1.8b", "gemma-2b")]
        for engine in engines
    }
    overall = ", ".join(f"{engine} {(one * other) ** 0.5:.1f}" for engine, (one, other) in ratios.items())
    slower = {engine: sum(each < 1 for each in both) for engine, both in ratios.items() if min(both) < 1}
    by_engine = ", ".join(f"{engine} {count}" for engine, count in slower.items())
    count = sum(slower.values())
    assert record["claims"] == []
    assert record["conclusions"] == [
        f"Time from prompt to last token over that of llm-npu, geometric mean over models and workloads: {overall}. llm-npu is slower in "
        f"{count} of 10 comparisons (by engine: {by_engine}; by workload: Persona-Chat {count}). No published times are at hand to "
        "compare them with."
    ]
