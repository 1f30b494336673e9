"""Plots of accuracy: what is drawn where, that its text is legible, and that its files are the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from socsim.errors import SocsimError
from socsim.palette import SERIES
from socsim.plots import pruning_curves, save, scheme_losses
from socsim.plots.accuracy import CURVES, SCALES


def row(
    label: str, scales: str | None, kl: float, rate: float | None = None, loss: float = 1.0, budget: float | None = 20.0
) -> dict[str, Any]:
    scheme = label.partition(",")[0]
    return {
        "label": label, "scheme": scheme, "weight_scales": scales, "kl": kl, "kl_se": kl / 10, "pruning_rate": rate,
        "outlier_budget": budget, "perplexity_change_percent": loss,
    }  # fmt: skip


SCHEMES = [
    row("float32", None, 0.0),
    row("per-tensor", "channel", 0.8),
    row("per-tensor", "tensor", 0.9),
    row("per-group", "group of 32", 0.003),
]
CURVE = [
    row("shadow, 85 % pruned", "tensor", 0.2, 0.85, 19.0),
    row("shadow, 0 % pruned", "tensor", 0.03, 0.0, 3.0),
    row("shadow-plus, 85 % pruned", "channel", 0.014, 0.85, 1.6),
    row("shadow-plus, 5 ch.", "channel", 0.016, 0.85, 1.5, 5.0),
]
LOSSES = [("SmoothQuant", "gemma-2b", 4.0), ("llm.npu", "gemma-2b", -1.0), ("SmoothQuant", "phi-2", 10.0), ("llm.npu", "phi-2", 2.0)]
PUBLISHED = [{"scheme": scheme, "model": model, "loss_points": loss} for scheme, model, loss in LOSSES]


def lines(ax: Any) -> list[tuple[str, list[float], list[float]]]:
    """Return color and points of each line."""
    found = []
    for line in ax.lines:
        x, y = ([round(float(value), 6) for value in side] for side in line.get_data())
        found.append((to_hex(line.get_color()).upper(), x, y))
    return found


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_schemes_stand_below_each_other() -> None:
    figure = scheme_losses(SCHEMES)
    ax: Any = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["per-tensor", "per-group"]  # float32 is the reference
    assert lines(ax) == [(SCALES["channel"][0], [0.8], [0.0]), (SCALES["tensor"][0], [0.9], [0.0]), (SCALES[None][0], [0.003], [1.0])]
    bars = [collection.get_segments()[0][:, 0].tolist() for collection in ax.collections]
    assert [pytest.approx(bar) for bar in ([0.72, 0.88], [0.81, 0.99], [0.0027, 0.0033])] == bars
    assert ax.get_xscale() == "log"
    assert ax.get_ylim() == (1.5, -0.5)  # the first on top
    assert ax.get_xlabel() == "KL divergence from float32 (nats/token)"
    assert legend(figure) == ["weights per channel", "weights per tensor", "groups"]


def test_curves_over_pruning_rate() -> None:
    figure = pruning_curves(CURVE)
    kl, loss = figure.axes
    tensor, plus = CURVES["shadow", "tensor"][0], CURVES["shadow-plus", "channel"][0]
    assert [line for line in lines(kl) if line[1]] == [(tensor, [0.0, 85.0], [0.03, 0.2]), (plus, [85.0], [0.014])]
    assert [line for line in lines(loss) if line[1]] == [(tensor, [0.0, 85.0], [3.0, 19.0]), (plus, [85.0], [1.6])]
    assert [ax.get_xlabel() for ax in figure.axes] == ["linears without float work (%)"] * 2
    assert [ax.get_ylabel() for ax in figure.axes] == ["KL divergence (nats/token)", "perplexity over float32 (%)"]
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "log"]
    assert legend(figure) == [name for _, _, name in CURVES.values()]


def test_perplexity_that_falls_is_on_a_linear_axis() -> None:
    assert pruning_curves([*CURVE, row("shadow, 20 % pruned", "channel", 0.02, 0.2, -0.1)]).axes[1].get_yscale() == "linear"


def test_speed_over_divergence_with_rings_at_the_usual_rate() -> None:
    figure = pruning_curves(CURVE, {"mine": [200.0, 100.0, 190.0, 195.0]})
    _, speed = figure.axes
    assert (speed.get_title(loc="left"), speed.get_xlabel(), speed.get_ylabel()) == (
        "mine",
        "KL divergence (nats/token)",
        "prefill (tokens/s)",
    )
    found = [line for line in lines(speed) if line[1]]
    tensor, plus = CURVES["shadow", "tensor"][0], CURVES["shadow-plus", "channel"][0]
    assert [line for line in found if line[0] != "#000000"] == [(tensor, [0.03, 0.2], [100.0, 200.0]), (plus, [0.014], [190.0])]
    assert [line for line in found if line[0] == "#000000"] == [("#000000", [0.2], [200.0]), ("#000000", [0.014], [190.0])]
    assert legend(figure)[-1] == "85 % pruned"


@pytest.mark.parametrize("low", [0.0011, 0.0013, 0.0026, 0.0057, 0.0071, 0.0085, 0.0099, 0.013, 0.93])
@pytest.mark.parametrize("ratio", [1.0, 14 / 13, 3.0, 60.0, 2000.0])
def test_two_ticks_at_least_have_labels(low: float, ratio: float) -> None:
    figure = scheme_losses([row("shadow", "channel", low), row("per-tensor", "channel", low * ratio)])
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    ax: Any = figure.axes[0]
    first, last = ax.get_xlim()
    ticks = [
        float(label.get_text().replace(",", ""))
        for label in ax.get_xticklabels()
        if label.get_text() and first <= label.get_position()[0] <= last
    ]
    assert 2 <= len(set(ticks)) <= 8


def test_looks_are_told_apart() -> None:
    for looks in (SCALES.values(), CURVES.values()):
        assert len({color for color, _, _ in looks}) == len({marker for _, marker, _ in looks}) == len(looks)


@pytest.mark.parametrize(
    "figure",
    [
        scheme_losses(SCHEMES),
        scheme_losses(SCHEMES, PUBLISHED),
        pruning_curves(CURVE),
        pruning_curves(CURVE, {"a": [1.0] * 4, "b": [2e3] * 4}),
    ],
)
def test_text_is_legible_and_inside(figure: Figure) -> None:
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    inside: Any = figure.bbox.padded(1)
    assert figure.get_figwidth() == 7.0
    boxes: list[Any] = [figure.legends[0].get_window_extent(renderer), *(ax.get_tightbbox(renderer) for ax in figure.axes)]
    for box in boxes:
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1
        assert inside.y0 <= box.y0 <= box.y1 <= inside.y1
    assert not any(first.overlaps(second) for place, first in enumerate(boxes) for second in boxes[:place])
    sizes = [
        float(text.get_fontsize())
        for ax in figure.axes
        for text in (ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels())
    ]
    assert all(size >= 6.5 for size in sizes)


def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    for make, rows in ((scheme_losses, SCHEMES), (pruning_curves, CURVE)):
        for number in range(2):
            save(make(rows), tmp_path / f"{number}.svg")
        assert (tmp_path / "0.svg").read_bytes() == (tmp_path / "1.svg").read_bytes()


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(SocsimError, match="scheme_losses: there are no quantized schemes"):
        scheme_losses(SCHEMES[:1])
    with pytest.raises(SocsimError, match="pruning_curves: there are no rows"):
        pruning_curves([])


def test_published_losses_stand_beside_with_their_mean() -> None:
    figure = scheme_losses(SCHEMES, PUBLISHED)
    schemes, ax = figure.axes
    assert [label.get_text() for label in schemes.get_yticklabels()] == ["per-tensor", "per-group"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SmoothQuant", "llm.npu"]
    assert lines(ax) == [
        (SERIES[0].color, [4.0, -1.0], [0.0, 1.0]),
        (SERIES[1].color, [10.0, 2.0], [0.0, 1.0]),
        ("#000000", [7.0], [0.0]),
        ("#000000", [0.5], [1.0]),
        ("#999999", [0.0, 0.0], [0.0, 1.0]),
    ]
    assert [line.get_markerfacecolor() for line in ax.lines[:2]] == ["none"] * 2
    assert legend(figure)[-3:] == ["gemma-2b, published", "phi-2, published", "mean, published"]
    assert ax.get_xlabel() == "accuracy lost against FP16 (points)"
