"""Bands: the same run under every member of the ensemble, and what a member may change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import socsim
from socsim import uncertainty
from socsim.calibration.ensemble import MEMBERS
from socsim.calibration.targets import Target, fitted_targets
from socsim.catalog import description_path, list_engines, list_socs, load_engine, load_soc, own_paths
from socsim.errors import SocsimError
from socsim.uncertainty import BAND_METRICS, Member, load_ensemble, member_overrides, uncertainty_bands

BASE = "snapdragon-8-gen-3"


def run(soc: str | Path = BASE, engine: str = "llm-npu", **options: Any) -> dict[str, uncertainty.Band]:
    return uncertainty_bands(soc, "smollm2-135m", engine, prompt_tokens=64, **options)


def point(soc: str | Path = BASE, engine: str = "llm-npu", **options: Any) -> Any:
    return socsim.run(soc, "smollm2-135m", engine, prompt_tokens=64, **options).metrics


def members(monkeypatch: pytest.MonkeyPatch, *chosen: Member) -> None:
    monkeypatch.setattr(uncertainty, "load_ensemble", lambda: chosen)


def member(figures: dict[tuple[str, str], dict[str, Any]] | None = None, latency: float = 1.0, energy: float = 1.0) -> Member:
    return Member(figures or {}, {"latency": latency, "energy": energy})


@pytest.mark.parametrize("soc", [BASE, "snapdragon-8-gen-2"])
def test_bands_are_ordered_and_around_the_prediction(soc: str) -> None:
    bands = run(soc)
    assert set(bands) == set(BAND_METRICS)
    for metric, band in bands.items():
        assert 0.0 < band.low < band.median < band.high, metric
        assert band.median / 2 < point(soc)[metric] < band.median * 2, metric
        assert band.high < 5 * band.low, metric


def test_bands_are_the_same_each_time() -> None:
    assert run() == run()


def test_ensemble_has_every_fitted_figure_in_every_member() -> None:
    """Else it belongs to an older calibration."""
    fitted = [target for name in list_socs() for target in fitted_targets("soc", name)]
    fitted += [target for name in list_engines() for target in fitted_targets("engine", name)]
    assert len(load_ensemble()) == MEMBERS
    for each in load_ensemble():
        assert {Target(kind, name, path) for (kind, name), paths in each.figures.items() for path in paths} == set(fitted)  # type: ignore[arg-type]
        assert set(each.factors) == {"latency", "energy"}


def test_members_are_around_the_shipped_figures() -> None:
    """The median of a figure that rows determine is near its value; that of one they leave open may be anywhere."""
    shipped: dict[tuple[str, str], Any] = {("soc", name): load_soc(name) for name in list_socs()}
    shipped |= {("engine", name): load_engine(name) for name in list_engines()}
    ratios = []
    for key, paths in load_ensemble()[0].figures.items():
        for path in paths:
            node = shipped[key].model_dump()
            for part in path.split("."):
                node = node[part]
            values = [each.figures[key][path] for each in load_ensemble()]
            ratios.append(np.median(np.array(values) / np.array(node)))
    assert np.mean(np.abs(np.log(ratios)) < 0.25) > 0.8


def test_members_differ() -> None:
    speeds = Counter(round(each.figures["soc", BASE]["processors.cpu.vector_bytes_per_s"]) for each in load_ensemble())
    assert len(speeds) > MEMBERS / 2


def test_every_member_can_be_run_on_every_soc() -> None:
    for soc in list_socs():
        changed = member_overrides(load_ensemble()[0], soc, "mlc-gpu")
        assert point(soc, "mlc-gpu", overrides=changed)["ttft_s"] > 0.0


def test_factors_of_the_error_apply_to_time_speed_and_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    members(monkeypatch, member(latency=2.0, energy=3.0))
    bands, metrics = run(), point()
    expected = {"ttft_s": 2.0, "prefill_tokens_per_s": 0.5, "prefill_energy_j": 3.0}
    for metric, factor in expected.items():
        assert bands[metric] == pytest.approx((metrics[metric] * factor,) * 3)


def test_percentiles_are_of_the_members(monkeypatch: pytest.MonkeyPatch) -> None:
    members(monkeypatch, *(member(latency=1.0 + share / 10) for share in range(11)))
    assert run()["ttft_s"] == pytest.approx([point()["ttft_s"] * factor for factor in (1.1, 1.5, 1.9)])


def test_figures_of_a_member_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: dict[tuple[str, str], dict[str, Any]] = {
        ("soc", BASE): {"processors.npu.launch_overhead_s": 0.5},
        ("engine", "llm-npu"): {"cpu_threads": 1},
    }
    members(monkeypatch, member(figures))
    overrides = {"soc.processors.npu.launch_overhead_s": 0.5, "engine.cpu_threads": 1}
    assert run()["ttft_s"].median == point(overrides=overrides)["ttft_s"] > point()["ttft_s"]


def test_what_the_user_sets_wins_over_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    members(monkeypatch, member({("soc", BASE): {"processors.npu.launch_overhead_s": 0.5}}))
    mine = {"soc.processors.npu.launch_overhead_s": 0.25}
    assert run(overrides=mine)["ttft_s"].median == point(overrides=mine)["ttft_s"]


def test_progress_is_called_for_each_member(monkeypatch: pytest.MonkeyPatch) -> None:
    members(monkeypatch, member(), member(latency=2.0))
    calls: list[None] = []
    run(progress=lambda: calls.append(None))
    assert len(calls) == 2


@pytest.mark.parametrize("heir", ["snapdragon-8-gen-2", "snapdragon-8-elite"])
def test_soc_that_inherits_takes_a_member_of_its_base_but_not_over_its_own_figures(heir: str) -> None:
    own = sorted(path for path in own_paths("soc", heir) if path != "description")[0]
    inherited = "processors.cpu.vector_bytes_per_s"
    each = member(
        {("soc", BASE): {own: 1.0, inherited: 2.0}, ("soc", heir): {"processors.gpu.speed": 3.0}, ("soc", "toy-phone"): {own: 4.0}}
    )
    assert member_overrides(each, heir, "llm-npu") == {f"soc.{inherited}": 2.0, "soc.processors.gpu.speed": 3.0}
    assert member_overrides(each, BASE, "llm-npu") == {f"soc.{own}": 1.0, f"soc.{inherited}": 2.0}
    assert member_overrides(each, "toy-phone", "llm-npu") == {f"soc.{own}": 4.0}


def test_own_file_that_inherits_takes_a_member_of_its_base(tmp_path: Path) -> None:
    path = tmp_path / "soc_mine.toml"
    path.write_text(f'inherits = "{BASE}"\ndescription = "mine"\n[processors.npu]\nlaunch_overhead_s = 1e-3\n', encoding="utf-8")
    each = member({("soc", BASE): {"processors.npu.launch_overhead_s": 1.0, "processors.cpu.vector_bytes_per_s": 2.0}})
    assert member_overrides(each, path, "llm-npu") == {"soc.processors.cpu.vector_bytes_per_s": 2.0}


def test_own_file_without_a_base_has_the_error_of_the_model_alone(tmp_path: Path) -> None:
    path = tmp_path / "soc_mine.toml"
    path.write_text(description_path("soc", "toy-phone").read_text(encoding="utf-8"), encoding="utf-8")
    assert all(
        member_overrides(each, path, "mnn-cpu").keys() <= {"engine.efficiency.cpu.linear", "engine.efficiency.cpu.row"}
        for each in load_ensemble()
    )


def test_figures_of_other_engines_do_not_count() -> None:
    each = member({("engine", "mnn-cpu"): {"efficiency.cpu.linear": 2.0}, ("engine", "tflite-gpu"): {"efficiency.gpu.linear": 3.0}})
    assert member_overrides(each, BASE, "mnn-cpu") == {"engine.efficiency.cpu.linear": 2.0}
    assert member_overrides(each, BASE, "llm-npu") == {}


@pytest.fixture
def ensemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the path of an ensemble that takes the place of the shipped one."""
    monkeypatch.setattr(uncertainty, "hardware_path", lambda name: tmp_path / name)
    load_ensemble.cache_clear()
    yield tmp_path / "ensemble.csv"
    load_ensemble.cache_clear()


def test_missing_ensemble_is_an_error_that_says_how_to_make_it(ensemble: Path) -> None:
    with pytest.raises(SocsimError, match=r"ensemble.csv: no such file; 'socsim calibrate' makes it"):
        run()


def test_ensemble_is_read_with_lists_and_factors(ensemble: Path) -> None:
    ensemble.write_text(
        'member,kind,name,path,value\n0,error,latency,,1.5\n0,soc,x,a.active_w,"[1.0, 2.0]"\n1,engine,y,b,3e-5\n', encoding="utf-8"
    )
    first, second = load_ensemble()
    assert (first.factors, first.figures) == ({"latency": 1.5, "energy": 1.0}, {("soc", "x"): {"a.active_w": [1.0, 2.0]}})
    assert (second.factors, second.figures) == ({"latency": 1.0, "energy": 1.0}, {("engine", "y"): {"b": 3e-5}})


def test_errors_of_a_run_are_those_without_uncertainty() -> None:
    with pytest.raises(SocsimError, match=r"unknown engine 'llm-npx' \(did you mean 'llm-npu'\?\)"):
        run(engine="llm-npx")
