"""Curves: a metric of a sweep over one axis."""

from __future__ import annotations

from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from socsim.plots.charts import bars, lines
from socsim.plots.columns import HEIGHT_IN, Column, category_looks, fit_labels, names_of, short
from socsim.plots.style import STYLE


def curves(x: Column, y: Column, series: Column | None = None, *, columns: int = 1) -> Figure:
    """Draw a line for each series over an axis; bars where the axis has names.

    Raises
    ------
    SocsimError
        There are no points, more series than can be told apart, or the width is unknown.
    """
    if series is not None:
        category_looks(series)
    names = [""] * len(y.values) if series is None else names_of(series.values)
    order = np.argsort([series.names.index(name) for name in names], kind="stable") if series is not None else np.arange(len(names))
    if x.is_text:
        order = order[np.argsort([x.names.index(name) for name in np.array(names_of(x.values))[order].tolist()], kind="stable")]
    places = names_of(x.values) if x.is_text else x.values.tolist()
    rows = [{"x": places[row], "y": float(y.values[row]), "series": names[row]} for row in order]
    options: dict[str, Any] = {"x": "x", "y": "y", "series": "series", "x_label": x.label, "y_label": y.label, "columns": columns}
    if x.is_text:
        figure = bars(rows, **options, height_in=HEIGHT_IN)
    else:
        figure = lines(rows, **options, log_x=x.log, height_in=HEIGHT_IN)
        figure.axes[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    if figure.legends and series is not None:
        with matplotlib.style.context(STYLE):
            figure.legends[0].set_title(series.label)
    fit_labels(figure)
    return figure
