"""Which schemes are measured for a table, and the table as records and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from socsim.errors import SocsimError, unknown_name
from socsim.numerics.measures import Accuracy
from socsim.numerics.profile import Profile
from socsim.numerics.schemes import NORMS, SCHEMES, Granularity, PerGroup, Scheme, Static

if TYPE_CHECKING:
    from socsim.numerics.weights import Weights

WEIGHT_SCALES: Mapping[str, tuple[Granularity, ...]] = {"channel": ("channel",), "tensor": ("tensor",), "both": ("channel", "tensor")}
DEFAULT_RATES: Mapping[str, tuple[float, ...]] = {"shadow": (0.0, 0.85), "shadow-plus": (0.85,)}
"""Schemes that are pruned, with the rates of their rows in the usual table."""
CURVE_RATES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.85, 0.9, 1.0)
CURVE_BUDGETS = (5.0, 40.0)
"""Outlier channels for which thresholds are set, beside the usual 20, at `BUDGET_RATE`."""
BUDGET_RATE = 0.85
OPTIONS = ("pruning_rate", "importance", "smoothing", "outlier_budget")
RARE_OPTIONS = ("percentile", "smoothed", "pruned_fallback", "static_output")
"""In records where a scheme differs from `Static`'s usual values; CSV has columns for those that occur."""
PAPER_BUDGET = 5.0
"""Outlier channels of a chunk, about as many as the paper met: 2 to 15 by linear and layer, 6 on average (Xu et al. 2025, Fig 10)."""
Record = dict[str, Any]


class Case(NamedTuple):
    """A row of a table."""

    label: str
    scheme: Scheme


def scheme_cases(names: Sequence[str] | None = None, weight_scales: str = "both", rates: Sequence[float] | None = None) -> list[Case]:
    """Return the schemes beside each other.

    Parameters
    ----------
    names
        Of `SCHEMES`; default: all.
    weight_scales
        A key of `WEIGHT_SCALES`.
    rates
        Pruning rates of the schemes that are pruned; default: `DEFAULT_RATES`.

    Raises
    ------
    SocsimError
        A name is unknown, or a rate is no share.
    """
    for name in names or ():
        if name not in SCHEMES:
            raise unknown_name("scheme", name, SCHEMES)
    if weight_scales not in WEIGHT_SCALES:
        raise unknown_name("--weight-scales", weight_scales, WEIGHT_SCALES)
    for rate in rates or ():
        if not 0.0 <= rate <= 1.0:
            raise SocsimError(f"--pruning-rate {rate:g}: allowed: from 0 (all linears keep their outliers) to 1")
    cases = []
    for name in dict.fromkeys(names or SCHEMES):
        for granularity in WEIGHT_SCALES[weight_scales]:
            scheme: Any = SCHEMES[name]
            if hasattr(scheme, "weight_scales"):
                scheme = replace(scheme, weight_scales=granularity)
            own = (rates or DEFAULT_RATES[name]) if name in DEFAULT_RATES else ()
            cases += [Case(f"{name}, {100 * rate:.3g} % pruned", replace(scheme, pruning_rate=rate)) for rate in own]
            cases += [] if own else [Case(name, scheme)]
    return list(dict.fromkeys(cases))


def ablation_cases() -> list[Case]:
    """Return the steps from the paper's shadow outliers to ``shadow-plus``, and changes of it, with 85 % of the linears pruned.

    Thresholds are set for 20 outlier channels of a chunk, unless a label says otherwise.
    """
    paper = Static("shadow", weight_scales="tensor", pruning_rate=0.85)
    channel = replace(paper, weight_scales="channel")
    smooth = replace(channel, name="shadow-plus", smoothing=0.7)
    plus = replace(smooth, importance="max/rms")
    return [
        Case("shadow, 5 channels: weights per tensor, max/scale", replace(paper, outlier_channels=PAPER_BUDGET)),
        Case("shadow, 5 channels: weights per channel, max/scale", replace(channel, outlier_channels=PAPER_BUDGET)),
        Case("shadow: weights per tensor, max/scale", paper),
        Case("shadow: weights per channel, max/scale", channel),
        Case("shadow: weights per channel, max/rms", replace(channel, importance="max/rms")),
        Case("shadow: weights per channel, estimated error", replace(channel, importance="error")),
        Case("+ smoothing 0.7, max/scale", smooth),
        Case("+ smoothing 0.7, max/rms (shadow-plus)", plus),
        Case("+ smoothing 0.7, estimated error", replace(smooth, importance="error")),
        Case("shadow-plus, smoothing 0.5", replace(plus, smoothing=0.5)),
        Case("shadow-plus, weights per tensor", replace(plus, weight_scales="tensor")),
        Case("shadow-plus, nothing kept", replace(plus, pruning_rate=1.0)),
        Case("shadow-plus, static int8 outputs", replace(plus, static_output=True)),
        Case("shadow-plus, pruned linears clip", replace(plus, pruned_fallback="clip")),
        Case("shadow, nothing pruned, threshold at 99.9th percentile", replace(channel, pruning_rate=0.0, percentile=99.9)),
        Case("shadow-plus, only norms' outputs smoothed", replace(plus, smoothed=NORMS)),
    ]


def curve_cases() -> list[Case]:
    """Return ``shadow``, with weights per channel and per tensor, and ``shadow-plus`` by pruning rate, and by outlier budget."""
    shadow, plus = SCHEMES["shadow"], SCHEMES["shadow-plus"]
    assert isinstance(shadow, Static)
    assert isinstance(plus, Static)
    curves = (replace(shadow, weight_scales="tensor"), shadow, plus)
    by_rate = [replace(scheme, pruning_rate=rate) for scheme in curves for rate in CURVE_RATES]
    by_budget = [replace(each, pruning_rate=BUDGET_RATE, outlier_channels=budget) for each in curves for budget in CURVE_BUDGETS]
    return [
        *(Case(f"{each.name}, {100 * each.pruning_rate:.3g} % pruned", each) for each in by_rate),
        *(Case(f"{each.name}, {each.outlier_channels:g} ch.", each) for each in by_budget),
    ]


def records(cases: Iterable[Case], accuracies: Iterable[Accuracy]) -> list[Record]:
    """Return the rows of a table as plain values: label, main options of the scheme, measures."""
    return [{"label": case.label, **_options(case.scheme), **asdict(each)} for case, each in zip(cases, accuracies, strict=True)]


def _options(scheme: Scheme) -> Record:
    """Return the options that tables show; none where a scheme has no such option, or it does nothing."""
    scales = f"group of {scheme.group_size}" if isinstance(scheme, PerGroup) else getattr(scheme, "weight_scales", None)
    shown: Record = dict.fromkeys((*OPTIONS, *RARE_OPTIONS))
    if isinstance(scheme, Static):
        usual = Static("usual")
        shown |= {name: getattr(scheme, name) for name in RARE_OPTIONS if getattr(scheme, name) != getattr(usual, name)}
        shown |= {"smoothing": scheme.smoothing, "smoothed": " ".join(shown["smoothed"] or ()) or None}
        if scheme.name in DEFAULT_RATES:
            budget = scheme.outlier_channels if scheme.percentile is None else None
            shown |= {"pruning_rate": scheme.pruning_rate, "importance": scheme.importance, "outlier_budget": budget}
    return {"scheme": scheme.name, "weight_scales": scales, **shown}


def importance_records(weights: Weights, profile: Profile) -> list[Record]:
    """Return by what ``shadow`` and ``shadow-plus`` rank each linear.

    The first is what the paper prunes by (Xu et al. 2025, Fig 12 left): the largest magnitude that a linear reads over that
    beyond which values are outliers, here 20 channels of a chunk on average. The second is the largest over the root mean square of
    the smoothed input.
    """
    ranks = {}
    for column, name in (("importance", "shadow"), ("smoothed_importance", "shadow-plus")):
        scheme = SCHEMES[name]
        assert isinstance(scheme, Static)
        ranks[column] = scheme.ranking(weights, profile)
    return [
        {"linear_index": place, "layer": block, "linear": name.removesuffix("_proj")}
        | {column: scores[block, name] for column, scores in ranks.items()}
        for place, (block, name) in enumerate(ranks["importance"])
    ]


def to_csv(rows: Sequence[Record], about: Mapping[str, Any], command: str, unit: str) -> str:
    """Return a table as CSV: lines that say where it comes from, then numbers with four significant digits.

    Parameters
    ----------
    rows
        Records with the same keys.
    about
        What the results depend on.
    command
        That reproduces the file.
    unit
        Of what is measured; columns of other units have them in their names.
    """
    file = io.StringIO()
    file.write(f"# {command}\n")
    for name, value in about.items():
        file.write(f"# {name}: {value}\n")
    unused = {name for name in RARE_OPTIONS if all(row.get(name) is None for row in rows)}
    columns = ["model", *(name for name in rows[0] if name != "label" and name not in unused), "unit", "source", "split"]
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    fixed = {"model": about["weights"], "unit": unit, "source": command, "split": "calibration"}
    writer.writerows(fixed | {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows)
    return file.getvalue()
