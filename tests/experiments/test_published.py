"""Published figures are found by what was run, stand beside simulated ones, and are compared on the same runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from socsim.errors import SocsimError
from socsim.experiments import advantages, beside_published, counted, errors_sentence, geometric_mean, origin, published, published_values
from socsim.experiments.grid import ENGINES
from socsim.experiments.published import is_fitted, run_key
from socsim.measurements import load_system_rows

HEADER = "soc,model,engine,prompt_tokens,output_tokens,settings,metric,value,unit,source,split\n"
RUN = {"soc": "toy-phone", "model": "smollm2-135m", "engine": "llm-npu", "prompt_tokens": 64}


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put four rows of a user's own in the place of those in ``traces/``."""
    rows = (
        "toy-phone,smollm2-135m,llm-npu,64,1,,ttft_s,500,ms,a book,validation",
        "toy-phone,smollm2-135m,llm-npu,64,46,,ttft_s,2,s,a book,validation",
        "toy-phone,smollm2-135m,llm-npu,64,1,run.power_calibration=battery-rail,prefill_energy_j,3,J,a book,validation",
        "toy-phone,smollm2-135m,llm-npu,64,1,,prefill_share,80,%,a book,validation",
    )
    path = tmp_path / "system_mine.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    monkeypatch.setattr(published, "load_system_rows", partial(load_system_rows, [path]))


@pytest.mark.usefixtures("measured")
def test_values_of_a_metric_by_run() -> None:
    assert {key: row.value for key, row in published_values("ttft_s").items()} == {
        ("toy-phone", "smollm2-135m", "llm-npu", 64, 1, ()): 0.5,
        ("toy-phone", "smollm2-135m", "llm-npu", 64, 46, ()): 2.0,
    }
    assert published_values("prefill_share")[run_key("toy-phone", "smollm2-135m", "llm-npu", 64)].value == 0.8
    assert published_values("decode_s") == {}


@pytest.mark.usefixtures("measured")
def test_published_beside_simulated() -> None:
    other = RUN | {"engine": "npu-chunk", "ttft_s": 1.0}
    rows = [RUN | {"ttft_s": 0.6}, RUN | {"output_tokens": 46, "ttft_s": 1.0}, other, RUN | {"ttft_s": None}]
    found = beside_published(rows, "ttft_s", "ttft_s")
    assert [row["published_ttft_s"] for row in found] == [0.5, 2.0, None, 0.5]
    assert [row["error_percent"] for row in found] == [pytest.approx(20.0), -50.0, None, None]
    assert [row["source"] for row in found] == ["a book", "a book", None, "a book"]
    assert "published_ttft_s" not in rows[0]


@pytest.mark.usefixtures("measured")
def test_runs_with_other_settings_are_other_runs() -> None:
    settings = {"run.power_calibration": "battery-rail"}
    energy: dict[str, Any] = RUN | {"prefill_energy_j": 3.0}
    (plain,) = beside_published([energy], "prefill_energy_j", "prefill_energy_j")
    (of_all,) = beside_published([energy], "prefill_energy_j", "prefill_energy_j", overrides=settings)
    (own,) = beside_published([energy | {"overrides": settings}], "prefill_energy_j", "prefill_energy_j")
    assert (plain["published_prefill_energy_j"], of_all["published_prefill_energy_j"]) == (None, 3.0)
    assert own == of_all


def test_the_asked_figure_counts_where_a_run_was_published_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(row for row in load_system_rows() if row.metric == "prefill_tokens_per_s")
    rows = [first._replace(source="Paper, Fig 14", value=1.0), first._replace(source="Paper, Fig 1", value=2.0, split="validation")]
    monkeypatch.setattr("socsim.experiments.published.load_system_rows", lambda: rows)
    run = {"soc": first.soc, "model": first.model, "engine": first.engine, "prompt_tokens": first.prompt_tokens, "x": 3.0}

    def found(place: str) -> tuple[Any, ...]:
        (row,) = beside_published([run], "x", first.metric, place=place)
        return row["published_x"], row["source"], row["fitted"]

    assert found("") == found("Fig 14") == found("Fig 2") == (1.0, "Paper, Fig 14", True)
    assert found("Fig 1") == (2.0, "Paper, Fig 1", False)


def test_rows_of_what_is_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [load_system_rows()[0]._replace(engine="npu-chonk", where="mine.csv:3")]
    monkeypatch.setattr(published, "load_system_rows", lambda: rows)
    with pytest.raises(SocsimError, match=r"^mine\.csv:3: unknown engine 'npu-chonk' \(did you mean 'npu-chunk'\?\)"):
        published_values(rows[0].metric)


def test_settings_that_an_engine_has_anyway_do_not_count() -> None:
    run = ("snapdragon-8-gen-3", "gemma-2b", "llm-npu", 64, 1)
    assert run_key(*run, {"engine.scheduler": "out-of-order"}) == run_key(*run)
    assert run_key(*run, {"engine.scheduler": "fifo"}) != run_key(*run)
    assert run_key(*run, {"run.power_calibration": "battery-rail"}) != run_key(*run)


def test_which_rows_are_fitted() -> None:
    of = {row.metric: row for row in load_system_rows()}
    assert is_fitted(of["decode_s"])
    assert not is_fitted(of["decode_s"]._replace(split="validation"))
    assert not is_fitted(of["peak_memory_gb"]._replace(split="calibration"))


def test_errors_in_a_sentence() -> None:
    rows = [RUN | {"error_percent": 10.0}, RUN | {"error_percent": -30.0, "prompt_tokens": 1024}, RUN | {"error_percent": None}]
    said = errors_sentence(rows, "times", ("model", "prompt_tokens"))
    assert said == "Of 2 published times the simulation is off by 20 % on average and by -30 % at worst (smollm2-135m, 1,024 tokens)."
    assert errors_sentence(rows[2:], "times") == "No published times are at hand to compare them with."


def test_one_run_and_several() -> None:
    assert [counted(number, "run") for number in (0, 1, 1024)] == ["0 runs", "1 run", "1,024 runs"]


def test_every_shipped_row_is_found_by_its_run() -> None:
    rows = [row for row in load_system_rows() if row.metric == "prefill_energy_j"]
    assert len(rows) == 12
    assert list(published_values("prefill_energy_j").values()) == rows


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0, 4.0]) == pytest.approx(4.0)
    assert geometric_mean([]) is None


def speed(engine: str, model: str, value: float | None, said: float | None = None) -> dict[str, Any]:
    known = {"published_tokens_per_s": said, "source": said and f"{model} table", "fitted": said and engine == "ours"}
    return {"soc": "p", "model": model, "engine": engine, "prompt_tokens": 64, "tokens_per_s": value} | known


SPEEDS = [
    speed("ours", "small", 40.0, 30.0),
    speed("slow", "small", 10.0, 10.0),
    speed("ours", "large", 9.0, 10.0),
    speed("slow", "large", 1.0),
    speed("other", "large", None, 5.0),
]


def test_advantages_over_all_runs_and_over_published_ones() -> None:
    (slow,) = advantages(SPEEDS, "tokens_per_s", of="ours")
    assert slow == {
        "engine": "slow",
        "speed_up": pytest.approx(6.0),  # of 4 and 9
        "published_runs": 1,
        "speed_up_of_published_runs": pytest.approx(4.0),
        "published_speed_up": pytest.approx(3.0),
        "error_percent": pytest.approx(100.0 / 3.0),
        "source": "small table",
        "fitted": True,
    }


def test_advantages_by_column_and_where_less_is_better() -> None:
    found = advantages(SPEEDS, "tokens_per_s", of="ours", by=("model",), less_is_better=True, name="saving")
    assert [(row["model"], row["engine"], row["published_runs"]) for row in found] == [("small", "slow", 1), ("large", "slow", 0)]
    assert [row["saving"] for row in found] == [pytest.approx(1 / 4), pytest.approx(1 / 9)]
    assert found[0]["published_saving"] == pytest.approx(1 / 3)
    assert [found[1][name] for name in ("published_saving", "error_percent", "source", "fitted")] == [None] * 4


def test_advantages_published_in_two_places_are_no_published_ones() -> None:
    elsewhere = [row | {"source": "a blog"} if row["engine"] == "slow" else row for row in SPEEDS]
    (slow,) = advantages(elsewhere, "tokens_per_s", of="ours")
    assert (slow["speed_up"], slow["published_runs"], slow["published_speed_up"]) == (pytest.approx(6.0), 0, None)


def test_origin_of_several_published_rows() -> None:
    rows = [{"source": name, "fitted": fitted} for name, fitted in (("a", False), ("b", True), ("a", False))]
    assert origin(rows) == {"source": "a; b", "fitted": True}
    assert origin(rows[:1]) == {"source": "a", "fitted": False}
    assert origin([]) == {"source": None, "fitted": None}


def test_advantages_compare_runs_under_the_same_calibration() -> None:
    rows = [speed(engine, "small", value) | {"power_calibration": name} for engine, name, value in (("ours", "a", 6.0), ("slow", "b", 2.0))]
    assert advantages(rows, "tokens_per_s", of="ours") == []
    assert advantages([row | {"power_calibration": "a"} for row in rows], "tokens_per_s", of="ours")[0]["speed_up"] == pytest.approx(3.0)


def test_engines_end_with_the_papers_own() -> None:
    assert ENGINES[-1] == "llm-npu"
    assert len(ENGINES) == 6
