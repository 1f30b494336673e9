"""Figures for papers and documentation; nothing here simulates."""

from socsim.plots.accuracy import pruning_curves, scheme_losses
from socsim.plots.charts import bars, lines, stacked_bars
from socsim.plots.columns import Column
from socsim.plots.curves import curves
from socsim.plots.fits import latency_by_shape, parity
from socsim.plots.gantt import gantt, mean_steps
from socsim.plots.heatmap import category_map, heat_map
from socsim.plots.parallel import parallel
from socsim.plots.pareto import pareto
from socsim.plots.style import METADATA, STYLE, WIDTH_IN, save
from socsim.plots.tornado import shares, tornado

__all__ = [
    "METADATA",
    "STYLE",
    "WIDTH_IN",
    "Column",
    "bars",
    "category_map",
    "curves",
    "gantt",
    "heat_map",
    "latency_by_shape",
    "lines",
    "mean_steps",
    "parallel",
    "pareto",
    "parity",
    "pruning_curves",
    "save",
    "scheme_losses",
    "shares",
    "stacked_bars",
    "tornado",
]
