"""Tuning: the space, its limits, what a search finds, and the engine file that comes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import socsim
from socsim.catalog import load_engine, load_model, load_soc
from socsim.errors import SocsimError
from socsim.measurements import load_table
from socsim.prompts import Prompt
from socsim.specs import Engine
from socsim.tuning import GROUPS, Problem, engine_text, tune
from socsim.tuning.accuracy import accuracy_loss, largest_rate
from socsim.tuning.search import Search
from socsim.tuning.space import LENGTHS, MOVABLE, Settings, Space, make_space

SOC = load_soc("snapdragon-8-gen-3")
LLM = load_model("smollm2-135m").override({"num_hidden_layers": 2}, "model")
ENGINE = load_engine("llm-npu")
PROMPTS = (Prompt("short", 100, 3, 3.0), Prompt("long", 500, 2, 1.0))


def problem(**changes: Any) -> Problem:
    given: dict[str, Any] = {"soc": SOC, "llm": LLM, "engine": ENGINE, "prompts": PROMPTS}
    return Problem(**given | changes)


def space(engine: Engine = ENGINE, **changes: Any) -> Space:
    given: dict[str, Any] = {"max_chunk_graphs": 4, "max_accuracy_loss": None, "keep": ()}
    return make_space(SOC, LLM, engine, **given | changes)


def test_the_curve_is_what_was_measured_and_never_falls() -> None:
    measured = {
        float(row["pruning_rate"]): float(row["perplexity_change_percent"])
        for row in load_table("smollm2_pruning_curve")
        if (row["scheme"], row["weight_scales"], row["outlier_budget"]) == ("shadow", "tensor", "20")
    }
    for rate, loss in measured.items():
        assert accuracy_loss(ENGINE, rate) == pytest.approx(loss)
    assert accuracy_loss(ENGINE, 0.1) == pytest.approx((measured[0.0] + measured[0.2]) / 2)
    plus = load_engine("llm-npu-plus")
    losses = [accuracy_loss(plus, rate) or 0.0 for rate in np.linspace(0, 1, 21)]
    assert losses == sorted(losses)
    assert losses[-1] == pytest.approx(5.678)  # shadow-plus, everything pruned
    assert accuracy_loss(load_engine("npu-chunk"), 1.0) is None


def test_the_largest_rate_loses_no_more_than_is_allowed() -> None:
    assert largest_rate(ENGINE, 20.48) == 0.85
    assert largest_rate(ENGINE, 1000.0) == 1.0
    rate = largest_rate(ENGINE, 8.0)
    assert rate is not None
    assert (accuracy_loss(ENGINE, rate) or 0.0) <= 8.0 < (accuracy_loss(ENGINE, rate + 0.01) or 0.0)
    assert largest_rate(ENGINE, 1.0) is None


def test_the_usual_values_set_what_the_engine_has() -> None:
    chosen = space()
    settings = chosen.settings(chosen.usual())
    assert settings is not None
    assert settings["chunks"]["prebuilt_chunk_tokens"] == list(ENGINE.prebuilt_chunk_tokens)
    assert settings["pruning"] == {"outlier_pruning_rate": 0.85}
    assert settings["scheduler"] == {"scheduler": "out-of-order"}
    assert settings["decode"] == {"decode_processor": "cpu"}
    placement = settings["placement"]
    assert placement["placement.other"] == "cpu"
    changed = ENGINE.override({path: value for group in settings.values() for path, value in group.items()}, "engine")
    sites = (*MOVABLE, "q_proj", "lm_head", "embedding", "kv_append")
    assert {name: changed.placement.processor(name) for name in sites} == {name: ENGINE.placement.processor(name) for name in sites}


def test_a_placement_moves_operators_and_keeps_those_that_it_does_not_know() -> None:
    engine = ENGINE.override({"placement.operators": {"lm_head": "gpu", "activation": "npu"}}, "engine")
    chosen = space(engine)
    settings = chosen.settings(chosen.usual() | {"float work": "gpu", "attention": "npu", "activation": "as other"})
    assert settings is not None
    operators = settings["placement"]["placement.operators"]
    assert operators == dict.fromkeys(MOVABLE, "gpu") | {"attention": "npu", "lm_head": "gpu"}


def test_policies_that_plan_by_simulation_are_no_choice() -> None:
    options = space().parameters["scheduler"].options
    assert {"out-of-order", "lookahead"} < set(options)
    assert not {"planned", "wavefront"} & set(options)


def test_limits_of_the_space() -> None:
    chosen = space(max_chunk_graphs=2, max_accuracy_loss=8.0, keep=("scheduler", "placement"))
    assert {parameter.group for parameter in chosen.parameters.values()} == set(GROUPS) - {"scheduler", "placement"}
    usual = chosen.usual()
    settings = chosen.settings(usual)
    assert settings is not None
    assert settings["chunks"]["prebuilt_chunk_tokens"] == [128, 256]  # of the four that it has
    assert chosen.settings(usual | {"chunk 64": True}) is None
    swapped = [chosen.settings(each) for each in chosen.neighbors(usual, "chunk 64")]
    assert [each and each["chunks"]["prebuilt_chunk_tokens"] for each in swapped] == [[128, 256], None, [64, 256], [64, 128]]
    none = usual | {f"chunk {length}": False for length in LENGTHS}
    assert chosen.settings(none) is None
    two = none | {"chunk 64": True, "chunk 512": True}
    settings = chosen.settings(two)
    assert settings is not None
    assert settings["chunks"] == {"chunk_tokens": "auto", "prebuilt_chunk_tokens": [64, 512]}
    assert settings["pruning"]["outlier_pruning_rate"] == chosen.parameters["pruning"].options[1] == largest_rate(ENGINE, 8.0)
    with pytest.raises(SocsimError, match=r"--max-accuracy-loss 1: even without pruning 3\.5 % is lost"):
        space(max_accuracy_loss=1.0)
    short = LLM.override({"max_position_embeddings": 300}, "model")
    lengths = make_space(SOC, short, ENGINE, max_chunk_graphs=4, max_accuracy_loss=None, keep=()).parameters
    assert "chunk 256" in lengths
    assert "chunk 512" not in lengths


def test_an_engine_without_outliers_or_npu_has_less_to_choose() -> None:
    assert "pruning" not in space(load_engine("npu-chunk")).parameters
    cpu = space(load_engine("cpu-only")).parameters
    assert {parameter.group for parameter in cpu.values()} == {"scheduler", "decode"}


def test_outcomes_are_weighted_means_of_runs() -> None:
    settings: Settings = {"decode": {"decode_processor": "gpu"}, "chunks": {"chunk_tokens": "auto", "prebuilt_chunk_tokens": [64, 256]}}
    outcome = problem().outcome(settings)
    changes = {f"engine.{path}": value for group in settings.values() for path, value in group.items()}
    runs = [
        socsim.run(SOC, LLM, ENGINE, prompt_tokens=each.prompt_tokens, output_tokens=each.output_tokens, overrides=changes).record
        for each in PROMPTS
    ]
    for mean, metric in ((outcome.ttft_s, "ttft_s"), (outcome.energy_j, "e2e_energy_j")):
        assert mean == pytest.approx((3 * runs[0][metric] + runs[1][metric]) / 4)
    assert outcome.peak_memory_bytes == max(run["peak_memory_bytes"] for run in runs)
    assert outcome.accuracy_loss_percent == accuracy_loss(ENGINE, 0.85)


@pytest.mark.parametrize(("weight", "score"), [(0.0, 0.5), (1.0, 2.0), (0.25, 0.875)])
def test_the_score_weighs_time_and_energy(weight: float, score: float) -> None:
    usual = problem().outcome({})
    better = replace(usual, ttft_s=usual.ttft_s / 2, energy_j=usual.energy_j * 2)
    assert problem(energy_weight=weight).score(better, usual) == pytest.approx(score)


LIMITS = [
    {"max_accuracy_loss": 4.0},
    {"max_chunk_graphs": 1},
    {
        "max_memory_bytes": 0.999,  # of what the engine takes
        "max_chunk_graphs": 2,
        "max_accuracy_loss": 10.0,
    },
]


@pytest.mark.parametrize("limits", LIMITS)
def test_what_is_found_keeps_all_limits(limits: dict[str, float]) -> None:
    usual = problem().outcome({})
    given = dict(limits)
    if "max_memory_bytes" in given:
        given["max_memory_bytes"] *= usual.peak_memory_bytes
    limited = problem(**given)
    assert limited.excess(usual)
    found = tune(limited, trials=10)
    assert limited.excess(found.best) == ""
    assert found.best.accuracy_loss_percent is not None
    assert found.best.accuracy_loss_percent <= given.get("max_accuracy_loss", 100.0) + 1e-6
    assert found.best.chunk_graphs <= given.get("max_chunk_graphs", 4)
    assert found.best.peak_memory_bytes <= given.get("max_memory_bytes", 1e12)
    assert found.usual.peak_memory_bytes == usual.peak_memory_bytes


@pytest.mark.parametrize(
    ("limits", "keep", "message"),
    [
        ({"max_memory_bytes": 1e7}, (), r"keeps the limits; llm-npu as it is takes 0\.\d+ GB of memory, allowed: 0\.01 GB$"),
        ({"max_accuracy_loss": 4.0}, ("pruning",), r"llm-npu as it is loses 20\.5 % of perplexity, allowed: 4 %$"),
        ({"max_chunk_graphs": 1}, ("chunks",), r"llm-npu as it is has graphs of 4 chunk lengths, allowed: 1$"),
    ],
)
def test_limits_that_nothing_keeps_are_refused(limits: dict[str, float], keep: tuple[str, ...], message: str) -> None:
    with pytest.raises(SocsimError, match=message):
        tune(problem(**limits), trials=3, keep=keep)


def test_limits_are_by_default_those_of_the_engine() -> None:
    found = tune(problem(), trials=6)
    assert found.problem.max_accuracy_loss == pytest.approx(20.48)
    assert found.problem.max_chunk_graphs == 4


def test_a_prompt_beyond_the_context_is_said_once() -> None:
    short = LLM.override({"max_position_embeddings": 400}, "model")
    with pytest.warns(UserWarning, match="exceed the 400-token context") as said:
        tune(problem(llm=short), trials=3)
    assert len({str(each.message) for each in said}) == 1
    assert len(said) <= 8  # of the engine as it is, at its prebuilt lengths


@pytest.fixture(scope="module")
def tuned() -> Any:
    return tune(problem(energy_weight=0.5), trials=12, seed=1)


def test_what_is_found_is_better_and_adds_up(tuned: Any) -> None:
    assert tuned.gain > 0.05
    assert tuned.problem.score(tuned.best, tuned.usual) == pytest.approx(1.0 - tuned.gain)
    assert {each.group for each in tuned.contributions} == set(tuned.settings) <= set(GROUPS)
    for each in tuned.contributions:
        assert each.last is not None
        assert each.last > 0.0  # what brings nothing is left out
        without = tuned.problem.outcome({group: changes for group, changes in tuned.settings.items() if group != each.group})
        assert each.last == pytest.approx(tuned.problem.score(without, tuned.usual) - (1.0 - tuned.gain))
        alone = tuned.problem.outcome({each.group: dict(each.settings)})
        assert each.alone == pytest.approx(1.0 - tuned.problem.score(alone, tuned.usual))


def test_the_same_seed_finds_the_same(tuned: Any) -> None:
    again = tune(problem(energy_weight=0.5), trials=12, seed=1)
    assert (again.settings, again.tried) == (tuned.settings, tuned.tried)


def test_no_single_change_is_better_than_what_was_found() -> None:
    found = problem(energy_weight=1.0)
    search = Search(found, space(), found.outcome({}))
    search.polish(0, lambda done, total: None)
    best, values = search.best
    assert values
    for name, parameter in search.space.parameters.items():
        for option in parameter.options:
            score = search.score(values | {name: option})
            assert score is None or score >= best - 1e-6


def test_the_file_runs_as_what_was_found(tuned: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(engine_text(tuned, "llm-npu", 'a "search"'))
    for prompt, result in zip(PROMPTS, tuned.best.results, strict=True):
        record = socsim.run(SOC, LLM, file, prompt_tokens=prompt.prompt_tokens, output_tokens=prompt.output_tokens).record
        assert record["ttft_s"] == result.record["ttft_s"]
        assert record["e2e_energy_j"] == result.record["e2e_energy_j"]
        assert record["scheduler"] == result.record["scheduler"]


def test_a_file_may_be_tuned_again(tuned: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(engine_text(tuned, "llm-npu", "a search"))
    again = tune(problem(engine=load_engine(first)), trials=4, keep=("placement",))
    second.write_text(engine_text(again, str(first), "another"))
    engine = load_engine(second)
    assert engine.placement == load_engine(first).placement
    assert engine.name == "second"


def test_a_search_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, tries = tmp_path / "trials.log", list[int]()
    whole = tune(problem(), trials=10, seed=3)

    def interrupt(done: int, total: int) -> None:
        tries.append(done)
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(problem(), trials=10, seed=3, storage=storage, told=interrupt)
    resumed = tune(problem(), trials=10, seed=3, storage=storage)
    simulated = list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(Problem, "scored", lambda *_: simulated.append(1))
        limits = {name: getattr(resumed.problem, name) for name in ("max_chunk_graphs", "max_accuracy_loss")}
        again = Search(resumed.problem, space(**limits), whole.usual)
        again.sample(10, 3, storage, lambda done, total: None)
    assert not simulated  # all that was sampled is in the journal
    assert again.best[0] < 1.0
    assert tries == [1, 2, 3, 4, 5, 6]
    assert resumed.settings == whole.settings
    with pytest.raises(SocsimError, match=r"trials\.log': is of another search"):
        tune(problem(), trials=10, seed=4, storage=storage)
    monkeypatch.setattr("socsim.tuning.search.computing", lambda: {"socsim": "99.0"})
    with pytest.raises(SocsimError, match=r"is of another search .*seed or socsim"):
        tune(problem(), trials=10, seed=3, storage=storage)


def test_a_storage_that_is_none(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\nworld\n")
    with pytest.raises(SocsimError, match=r"--storage '.*notes\.txt': is no journal of a search"):
        tune(problem(), trials=2, storage=text)
    with pytest.raises(SocsimError, match=r"--storage '.*': "):
        tune(problem(), trials=2, storage=tmp_path / "nowhere" / "trials.log")


def test_unknown_choices_are_refused() -> None:
    with pytest.raises(SocsimError, match=r"^unknown choice 'schedule' \(did you mean 'scheduler'\?\); allowed: chunks, decode"):
        tune(problem(), trials=1, keep=("schedule",))


def test_with_nothing_to_choose_nothing_is_found() -> None:
    found = tune(problem(), trials=2, keep=GROUPS)
    assert (found.settings, found.contributions, found.gain) == ({}, (), 0.0)
