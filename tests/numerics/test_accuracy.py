"""Measures against a plain reading of their definitions, by hand, and what is kept of them."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from socsim.errors import SocsimError
from socsim.numerics import accuracy as accuracy_module
from socsim.numerics import profiles as profiles_module
from socsim.numerics.accuracy import Meter, Study, describe, options
from socsim.numerics.cases import CURVE_RATES, ablation_cases, curve_cases, importance_records, records, scheme_cases, to_csv
from socsim.numerics.decoder import Decoder
from socsim.numerics.fetching import add_weights
from socsim.numerics.forward import hidden_states
from socsim.numerics.linears import StaticLinear
from socsim.numerics.measures import Accuracy, FloatWork, Predictions, Tally, compare, mean_and_se, summarize
from socsim.numerics.profile import Profile, profile_text
from socsim.numerics.profiles import calibration
from socsim.numerics.random_model import random_weights
from socsim.numerics.schemes import SCHEMES, Static
from socsim.numerics.texts import Text, Windows
from socsim.numerics.weights import Weights, load_weights, weights_folder

SHADOW = Static("shadow", pruning_rate=0.5, outlier_channels=2.0)


@pytest.fixture(scope="module")
def model() -> Weights:
    return random_weights(3)


@pytest.fixture(scope="module")
def profile(model: Weights) -> Profile:
    rng = np.random.default_rng(0)
    return profile_text(Decoder(model), [rng.integers(128, size=512) for _ in range(2)])


@pytest.fixture(scope="module")
def windows() -> Windows:
    """Return prompts of 300 (two chunks), 2 and 200 tokens; words of one and of three tokens."""
    rng = np.random.default_rng(1)
    return Windows(tuple(rng.integers(128, size=size) for size in (300, 2, 200)), (((40, 41), (50, 53)), (), ((199, 200),)))


def naive(model: Weights, linears: Any, windows: Windows) -> list[np.ndarray[Any, Any]]:
    """Return log-probabilities of the next token in float64, by their definition."""
    found = []
    for window in windows.tokens:
        logits = hidden_states(Decoder(model, linears), window, 256).astype(np.float64) @ model.head.T.astype(np.float64)
        found.append(np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)))
    return found


def test_measures_are_what_their_names_say(model: Weights, profile: Profile, windows: Windows) -> None:
    found = Meter(model, windows).measure(SHADOW, profile)
    references = naive(model, None, windows)
    logs = naive(model, SHADOW.linears(model, profile), windows)
    losses, changes, divergences, agrees, words = [], [], [], [], []
    for reference, mine, window, spans in zip(references, logs, windows.tokens, windows.words, strict=True):
        for place in range(len(window) - 1):
            losses.append(-mine[place, window[place + 1]])
            changes.append(losses[-1] + reference[place, window[place + 1]])
            divergences.append(sum(exp(p) * (p - q) for p, q in zip(reference[place], mine[place], strict=True)))
            agrees.append(mine[place].argmax() == reference[place].argmax())
        words += [all(mine[each - 1].argmax() == window[each] for each in range(*span)) for span in spans]
    count = 299 + 1 + 199
    assert (found.predictions, found.last_words, len(losses)) == (count, 3, count)
    assert found.perplexity == pytest.approx(exp(np.mean(losses)), rel=1e-5)
    assert found.perplexity_se == pytest.approx(exp(np.mean(losses)) * np.std(losses, ddof=1) / sqrt(count), rel=1e-4)
    assert found.perplexity_change_percent == pytest.approx(100 * (exp(np.mean(changes)) - 1), abs=1e-3)
    assert found.perplexity_change_se_percent == pytest.approx(
        100 * exp(np.mean(changes)) * np.std(changes, ddof=1) / sqrt(count), rel=1e-3
    )
    assert found.kl == pytest.approx(np.mean(divergences), rel=1e-3)
    assert found.kl_se == pytest.approx(np.std(divergences, ddof=1) / sqrt(count), rel=1e-3)
    assert found.kl > 1e-4
    assert found.top1_agreement == pytest.approx(np.mean(agrees))
    assert found.last_word_accuracy == pytest.approx(np.mean(words))


def test_float_work_is_counted(model: Weights, profile: Profile, windows: Windows) -> None:
    found = Meter(model, windows).measure(SHADOW, profile)
    linears = SHADOW.linears(model, profile)
    channels, fetched, macs, rows = [], [], 0, 0

    def observe(site: Any, chunk: int, shadow: Any) -> None:
        nonlocal macs
        linear = linears[site]
        assert isinstance(linear, StaticLinear)
        assert linear.hot is not None
        channels.append(len(shadow.channels))
        fetched.append(sum(not linear.hot[channel] for channel in shadow.channels))
        size = min(256, rows - 256 * chunk)
        macs += size * len(shadow.channels) * model.llm.linear_shapes[site[1]][1]

    for window in windows.tokens:
        rows = len(window)
        hidden_states(Decoder(model, linears), window, 256, observe)
    all_macs = 502 * 3 * sum(inputs * outputs for inputs, outputs in model.llm.linear_shapes.values())
    assert (found.linears, found.kept_linears) == (21, 10)
    assert len(channels) == 10 * (2 + 1 + 1)
    assert found.outlier_channels == pytest.approx(np.mean(channels))
    assert found.fetched_channels == pytest.approx(np.mean(fetched))
    assert found.hot_share == pytest.approx(1 - sum(fetched) / sum(channels))
    assert found.shadow_mac_share == pytest.approx(macs / all_macs)
    assert 0 < found.fetched_channels < found.outlier_channels


def test_float32_is_the_reference(model: Weights, profile: Profile, windows: Windows) -> None:
    found = Meter(model, windows).measure(SCHEMES["float32"], profile)
    assert (found.kl, found.kl_se, found.perplexity_change_percent, found.top1_agreement) == (0.0, 0.0, 0.0, 1.0)
    assert (found.kept_linears, found.outlier_channels, found.hot_share, found.shadow_mac_share) == (0, 0.0, None, 0.0)


def test_schemes_do_not_depend_on_order_or_workers(model: Weights, profile: Profile, windows: Windows) -> None:
    meter, alone = Meter(model, windows, workers=3), Meter(model, windows, workers=1)
    first = {name: meter.measure(scheme, profile) for name, scheme in SCHEMES.items()}
    assert {name: alone.measure(scheme, profile) for name, scheme in reversed(list(SCHEMES.items()))} == first
    assert first["llm-int8"].hot_share is None  # all its weights are in memory
    assert first["llm-int8"].kept_linears == 21
    assert first["per-group"].kl < first["per-tensor"].kl
    assert first["shadow"].kl < first["per-tensor"].kl


def test_comparison_by_hand(model: Weights) -> None:
    """A vocabulary of two, with logits 0 and log 3, so probabilities of a quarter and three quarters."""
    head = np.zeros((2, 64), dtype=np.float32)
    head[1, 0] = log(3.0)
    decoder = Decoder(replace(model, head=head))
    sure, flat, unlike = (np.eye(1, 64, dtype=np.float32) * size for size in (1.0, 0.0, -1.0))
    window = np.array([0, 1, 1, 0])
    found = compare(decoder, np.vstack([sure] * 4), np.vstack([sure, flat, unlike, sure]), window, [(1, 2), (1, 3)])
    np.testing.assert_allclose(found.reference_nll, [-log(0.75), -log(0.75), -log(0.25)], rtol=1e-6)
    np.testing.assert_allclose(found.nll, [-log(0.75), -log(0.5), -log(0.75)], rtol=1e-6)
    half = 0.25 * log(0.25 / 0.5) + 0.75 * log(0.75 / 0.5)
    np.testing.assert_allclose(found.divergence, [0.0, half, 0.5 * log(3.0)], rtol=1e-6, atol=1e-12)
    assert found.agrees.tolist() == [True, False, False]  # of equal logits, the first counts
    assert found.right.tolist() == [True, False, True]
    assert found.words_right.tolist() == [True, False]


def test_summary_by_hand(model: Weights) -> None:
    def predictions(*nll: float) -> Predictions:
        zero, wrong = np.zeros(len(nll)), np.zeros(len(nll), dtype=np.bool_)
        return Predictions(zero, np.array(nll), np.arange(len(nll), dtype=np.float64), wrong, wrong, np.zeros(0, dtype=np.bool_))

    found = summarize([Tally(predictions(1.0, 2.0), FloatWork()), Tally(predictions(3.0), FloatWork())], Decoder(model), hot=True)
    assert found.predictions == 3
    assert found.perplexity == pytest.approx(exp(2.0))
    assert found.perplexity_se == pytest.approx(exp(2.0) / sqrt(3))
    assert found.perplexity_change_percent == pytest.approx(100 * (exp(2.0) - 1))
    assert found.kl == pytest.approx(1 / 3)
    assert (found.last_words, found.last_word_accuracy, found.last_word_accuracy_se) == (0, None, None)
    assert found.hot_share is None  # there are no outliers


def test_mean_and_standard_error() -> None:
    assert mean_and_se(np.array([1.0, 3.0])) == (2.0, 1.0)
    assert mean_and_se(np.array([True, False])) == (0.5, 0.5)
    for values in ([], [5.0]):
        mean, error = mean_and_se(np.array(values))
        assert (mean == 5.0) == bool(values)
        assert np.isnan(error)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> Study:
    """Return a study of a tiny model in a cache of its own."""
    monkeypatch.setenv("SOCSIM_CACHE", str(tmp_path / "cache"))
    add_weights(tiny, "small")
    weights = load_weights("small")
    return Study(weights, Text("mine", "well hello world. " * 40), 300, calibration(weights, Text("other", "12 hell wow " * 40), 100))


def test_measured_once_then_read(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    schemes, steps = [SCHEMES["float32"], SHADOW, SHADOW], list[str]()
    assert study.steps(schemes) == 3
    first = study.measure(schemes, steps.append)
    assert steps == ["profile, from token 0 of 100", "reference in float32", "float32", "shadow, weights per channel, 50% pruned"]
    assert first[1] == first[2] != first[0]

    def refused(*_: Any) -> Any:
        raise AssertionError("measured twice")

    monkeypatch.setattr(Meter, "measure", refused)
    monkeypatch.setattr(accuracy_module, "split_text", refused)
    assert study.steps(schemes) == 0
    assert study.measure([SHADOW, replace(SHADOW, name="another"), SCHEMES["float32"]]) == [first[1], first[1], first[0]]
    for other in (replace(SHADOW, pruning_rate=0.6), replace(SHADOW, keep=frozenset({(0, "q_proj")})), SCHEMES["llm-int8"]):
        assert study.known(other) is None
    for changed in ({"tokens": 301}, {"text": Text("mine", study.text.text + ".")}, {"calibration": study.calibration._replace(tokens=99)}):
        assert replace(study, **changed).known(SHADOW) is None
    assert study.known(SCHEMES["smoothquant"]) is None


@pytest.mark.parametrize(("module", "version"), [(profiles_module, "PROFILE_VERSION"), (accuracy_module, "NUMERICS_VERSION")])
def test_another_version_measures_again(study: Study, monkeypatch: pytest.MonkeyPatch, module: Any, version: str) -> None:
    schemes = [SHADOW, SCHEMES["smoothquant"]]
    found = study.measure(schemes)
    assert [study.known(scheme) for scheme in schemes] == found
    monkeypatch.setattr(module, version, getattr(module, version) + 1)
    assert [study.known(scheme) for scheme in schemes] == [None, None]
    assert study.measure(schemes) == found  # nothing else has changed


def test_damaged_results_are_measured_again(study: Study) -> None:
    (found,) = study.measure([SHADOW])
    (path,) = (weights_folder("small") / "accuracy").iterdir()
    stored = json.loads(path.read_text())
    assert stored["accuracy"] == asdict(found)
    assert stored["inputs"]["scheme"]["pruning_rate"] == 0.5
    assert stored["inputs"]["text_sha256"] == study.text.sha256
    other = json.dumps(stored | {"inputs": stored["inputs"] | {"tokens": 1}})
    for text in (path.read_text()[:-20], "", "[]", json.dumps({"inputs": stored["inputs"], "accuracy": {}}), other):
        path.write_text(text)
        assert study.known(SHADOW) is None
    assert study.measure([SHADOW]) == [found]
    assert study.known(SHADOW) == found


def test_evaluation_text_is_not_that_of_calibration(study: Study) -> None:
    with pytest.raises(SocsimError, match=r"^other: is the text of the calibration, too; schemes are measured on another one$"):
        replace(study, text=study.calibration.text)
    with pytest.raises(SocsimError, match="--tokens 9: allowed"):
        replace(study, tokens=9)
    with pytest.raises(SocsimError, match=r"mine: has .* tokens, fewer than the 90,000 asked for"):
        replace(study, tokens=90_000).measure([SHADOW])


def test_options_identify_a_scheme() -> None:
    assert options(SCHEMES["float32"]) == {"kind": "Float32"}
    assert options(SCHEMES["per-group"]) == {"kind": "PerGroup", "group_size": 32}
    keep = options(replace(SHADOW, keep=frozenset({(2, "q_proj"), (1, "v_proj")})))["keep"]
    assert keep == [[1, "v_proj"], [2, "q_proj"]]
    for scheme in SCHEMES.values():
        assert json.loads(json.dumps(options(scheme))) == options(scheme)  # else nothing is found again in the cache
    found = [json.dumps(options(scheme), sort_keys=True) for scheme in SCHEMES.values()]
    assert len(set(found)) == len(SCHEMES)
    assert describe(SHADOW) == "shadow, weights per channel, 50% pruned"
    assert describe(SCHEMES["per-group"]) == "per-group"


def test_cases_of_the_usual_table() -> None:
    cases = scheme_cases()
    assert len(cases) == 2 + 3 * 2 + 2 * 2 + 2  # two without scales of weights, three with both, shadow at two rates, shadow-plus at one
    assert [case.label for case in cases[-6:]] == [
        "shadow, 0 % pruned", "shadow, 85 % pruned", "shadow, 0 % pruned", "shadow, 85 % pruned",
        "shadow-plus, 85 % pruned", "shadow-plus, 85 % pruned",
    ]  # fmt: skip
    chosen = scheme_cases(["per-group", "shadow-plus", "per-group"], "tensor", [0.5, 0.25])
    assert [case.label for case in chosen] == ["per-group", "shadow-plus, 50 % pruned", "shadow-plus, 25 % pruned"]
    scheme = chosen[1].scheme
    assert isinstance(scheme, Static)
    assert (scheme.weight_scales, scheme.pruning_rate, scheme.smoothing) == ("tensor", 0.5, SCHEMES["shadow-plus"].smoothing)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((["shadwo"], "both", None), r"unknown scheme 'shadwo' \(did you mean 'shadow'\?\); allowed: float32, llm-int8"),
        ((None, "chanel", None), r"unknown --weight-scales 'chanel' \(did you mean 'channel'\?\); allowed: both, channel, tensor"),
        ((None, "both", [1.5]), "--pruning-rate 1.5: allowed: from 0"),
        ((None, "both", [float("nan")]), "--pruning-rate nan: allowed: from 0"),
    ],
)
def test_unknown_cases(arguments: Any, said: str) -> None:
    with pytest.raises(SocsimError, match=said):
        scheme_cases(*arguments)


def test_curve_and_ablation_hold_what_they_compare() -> None:
    curve: list[Any] = [case.scheme for case in curve_cases()]
    assert len(set(curve)) == len(curve) == 3 * (len(CURVE_RATES) + 2)
    for name, scales in (("shadow", "tensor"), ("shadow", "channel"), ("shadow-plus", "channel")):
        own = [each for each in curve if (each.name, each.weight_scales) == (name, scales)]
        assert sorted(each.pruning_rate for each in own if each.outlier_channels == 20.0) == sorted(CURVE_RATES)
        assert [each.outlier_channels for each in own if each.outlier_channels != 20.0] == [5.0, 40.0]
    steps: list[Any] = [case.scheme for case in ablation_cases()]
    assert len(set(steps)) == len(steps) == 16
    paper = Static("shadow", weight_scales="tensor", pruning_rate=0.85, importance="max/scale", outlier_channels=5.0)
    assert steps[:2] == [paper, replace(paper, weight_scales="channel")]
    assert steps[2:4] == [replace(each, outlier_channels=20.0) for each in steps[:2]]
    plus: Any = SCHEMES["shadow-plus"]
    assert steps.index(plus) == 7
    assert steps[12:14] == [replace(plus, static_output=True), replace(plus, pruned_fallback="clip")]
    assert steps[14] == Static("shadow", pruning_rate=0.0, percentile=99.9)
    assert steps[15] == replace(plus, smoothed=("attn_norm", "ffn_norm"))


def test_labels_of_the_ablation_are_true() -> None:
    for label, scheme in ablation_cases():
        assert isinstance(scheme, Static)
        assert ("5 channels" in label) == (scheme.outlier_channels == 5.0)
        assert ("static int8 outputs" in label) == scheme.static_output
        assert ("clip" in label) == (scheme.pruned_fallback == "clip")
        assert ("percentile" in label) == (scheme.percentile is not None)
        assert ("estimated error" in label) == (scheme.importance == "error")
        assert ("norms" in label) == (scheme.smoothed == ("attn_norm", "ffn_norm"))
        assert ("smoothing" in label or "shadow-plus" in label) == (scheme.smoothing is not None)
        rate = 0.0 if "nothing pruned" in label else 1.0 if "nothing kept" in label else 0.85
        assert scheme.pruning_rate == rate


def test_rows_of_the_ablation_differ_in_csv(model: Weights, profile: Profile, windows: Windows) -> None:
    cases = ablation_cases()
    measured = Meter(model, windows).measure(SHADOW, profile)
    rows = records(cases, [measured] * len(cases))
    lines = to_csv(rows, {"weights": "random"}, "socsim accuracy", "nats/token").splitlines()[2:]
    assert len(set(lines)) == 1 + len(cases)
    stored = list(csv.DictReader(lines))
    assert [(row["outlier_budget"], row["percentile"], row["smoothed"]) for row in stored[-2:]] == [
        ("", "99.9", ""), ("20", "", "attn_norm ffn_norm"),
    ]  # fmt: skip
    assert [(row["pruned_fallback"], row["static_output"]) for row in stored[12:14]] == [("", "True"), ("clip", "")]


def test_records_and_csv(model: Weights, profile: Profile, windows: Windows, tmp_path: Path) -> None:
    meter, cases = Meter(model, windows), scheme_cases(["per-group", "shadow"], "channel", [0.5])
    found = [meter.measure(case.scheme, profile) for case in cases]
    rows = records(cases, found)
    assert rows[0]["weight_scales"] == "group of 32"
    assert [rows[0][name] for name in ("pruning_rate", "importance", "smoothing", "outlier_budget")] == [None] * 4
    assert [rows[1][name] for name in ("label", "scheme", "pruning_rate", "importance", "outlier_budget")] == [
        "shadow, 50 % pruned", "shadow", 0.5, "max/scale", 20.0,
    ]  # fmt: skip
    assert Accuracy(**{name: rows[1][name] for name in asdict(found[1])}) == found[1]
    about = {"weights": "random", "text_sha256": "abc"}
    lines = to_csv(rows, about, "socsim accuracy", "nats/token").splitlines()
    assert lines[:3] == ["# socsim accuracy", "# weights: random", "# text_sha256: abc"]
    stored = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert [(row["model"], row["unit"], row["source"], row["split"]) for row in stored] == [
        ("random", "nats/token", "socsim accuracy", "calibration")
    ] * 2
    assert float(stored[1]["kl"]) == float(f"{found[1].kl:.4g}")
    assert stored[0]["pruning_rate"] == ""
    assert not {"label", "percentile", "smoothed", "pruned_fallback", "static_output"} & set(stored[0])


def test_importance_is_the_largest_over_the_threshold(model: Weights, profile: Profile) -> None:
    rows = importance_records(model, profile)
    assert [(row["linear_index"], row["layer"], row["linear"]) for row in rows[:8]] == [
        (place, place // 7, name) for place, name in enumerate(["q", "k", "v", "o", "gate", "up", "down", "q"])
    ]
    assert len(rows) == 21
    for row in rows:
        tensor = profile[
            row["layer"], {"o": "attention", "down": "activation", "gate": "ffn_norm", "up": "ffn_norm"}.get(row["linear"], "attn_norm")
        ]
        above = sorted(tensor.chunk_max.ravel().tolist(), reverse=True)
        assert row["importance"] == pytest.approx(above[0] / above[20 * len(tensor.chunk_max)])
    ranked = sorted(rows, key=lambda row: -row["smoothed_importance"])
    kept = Static("shadow-plus", pruning_rate=0.5, importance="max/rms", smoothing=0.7).kept(model, profile)
    assert {(row["layer"], f"{row['linear']}_proj") for row in ranked[:10]} == kept
