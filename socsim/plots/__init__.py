"""Figures for papers and documentation; nothing here simulates."""

from socsim.plots.accuracy import pruning_curves, scheme_losses
from socsim.plots.charts import bars, lines, stacked_bars
from socsim.plots.fits import latency_by_shape, parity
from socsim.plots.gantt import gantt, mean_steps
from socsim.plots.style import METADATA, STYLE, WIDTH_IN, save

__all__ = [
    "METADATA",
    "STYLE",
    "WIDTH_IN",
    "bars",
    "gantt",
    "latency_by_shape",
    "lines",
    "mean_steps",
    "parity",
    "pruning_curves",
    "save",
    "scheme_losses",
    "stacked_bars",
]
