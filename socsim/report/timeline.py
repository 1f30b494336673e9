"""The timeline of one run, to zoom and pan in, and where its time goes."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import plotly.graph_objects as go

from socsim.cost import NANOSECONDS, PARTS
from socsim.metrics import prefill_span_ns
from socsim.palette import FAMILIES, Family, stage_family
from socsim.report.tables import Table, make_table_of_records
from socsim.timeline import Timeline

MS = 1e3 / NANOSECONDS
"""From nanoseconds."""
DIGITS = 4
"""Decimals of milliseconds: a tenth of a microsecond."""
LABEL_CHARACTERS = 32
"""Longest line of a label, which should fit on a phone."""
SHORTEST_WAIT_MS = 0.001
"""For DRAM, to be worth a line: less is rounding."""
DRAM_AXIS, ROWS_AXIS = (0.0, 0.24), (0.34, 1.0)
"""Which part of the height DRAM bandwidth takes, and which the processors."""


def timeline_figure(run: Timeline) -> str:
    """Return the figure as JSON for plotly.js: a row a processor, and DRAM bandwidth below on the same time axis."""
    names = [name.upper() for name in run.graph.processors]
    end_ms = float(run.end_ns.max()) * MS
    figure = go.Figure()
    for row, name in enumerate(names):
        first, last, _ = prefill_span_ns(run, row)
        figure.add_bar(**_bar([first * MS], [(last - first) * MS], [name]), marker={"color": FAMILIES["idle"].color}, hoverinfo="skip")
    families = np.array([stage_family(subgraph.stage) for subgraph in run.graph.subgraphs])
    for key, family in used_families(run).items():
        chosen = np.flatnonzero(families == key)
        start, end = run.start_ns[chosen] * MS, run.end_ns[chosen] * MS
        rows = [names[place] for place in run.processor[chosen].tolist()]
        marker = {"color": family.color, "line": {"width": 0.5, "color": "white"}, "pattern": _pattern(family)}
        texts = [_details(run, index) for index in chosen.tolist()]
        figure.add_bar(**_bar(start, end - start, rows), **_numbers(run, chosen.tolist(), family), name=family.label, marker=marker,
                       hovertext=texts, hoverinfo="text")  # fmt: skip
    figure.add_scatter(**_dram(run))
    figure.update_layout(**_layout(names, 1.005 * end_ms, run.costs.achievable_bytes_per_s / 1e9))
    text: str = figure.to_json(engine="json")
    return text


def used_families(run: Timeline) -> dict[str, Family]:
    """Return the families of the stages of a run, in fixed order."""
    used = {stage_family(subgraph.stage) for subgraph in run.graph.subgraphs}
    return {name: family for name, family in FAMILIES.items() if name in used}


def time_table(run: Timeline) -> Table:
    """Return how long each processor works on which stages, and what these read and write in DRAM."""
    families = np.array([stage_family(subgraph.stage) for subgraph in run.graph.subgraphs])
    busy_ns, total_ns = run.end_ns - run.start_ns, int(run.end_ns.max())
    records = []
    for row, name in enumerate(run.graph.processors):
        for key, family in used_families(run).items():
            chosen = (run.processor == row) & (families == key)
            if chosen.any():
                busy = float(busy_ns[chosen].sum())
                records.append(
                    {
                        "processor": name.upper(),
                        "stages": family.label,
                        "subgraphs": int(chosen.sum()),
                        "busy_ms": busy * MS,
                        "share_of_time_percent": 100 * busy / total_ns,
                        "dram_gb": float(run.costs.dram_bytes[chosen].sum()) / 1e9,
                    }
                )
    return make_table_of_records("Where the time goes", records)


def _bar(start_ms: Any, duration_ms: Any, rows: list[str]) -> dict[str, Any]:
    """Return what all bars have."""
    times = {"base": np.round(start_ms, DIGITS).tolist(), "x": np.round(duration_ms, DIGITS).tolist()}
    return {**times, "y": rows, "orientation": "h", "width": 0.8}


def _numbers(run: Timeline, chosen: list[int], family: Family) -> dict[str, Any]:
    """Return the chunk of each bar, written where there is room for it."""
    chunks = [str(run.graph.subgraphs[index].chunk) for index in chosen]
    return {"text": chunks, "textposition": "inside", "insidetextanchor": "middle", "textangle": 0, "textfont": {"color": family.text}}


def _pattern(family: Family) -> dict[str, Any]:
    return {"shape": family.hatch[:1], "fgcolor": "white", "size": 6, "solidity": 0.2} if family.hatch else {}


def _details(run: Timeline, index: int) -> str:
    """Return what is known of a subgraph, as lines of its label."""
    subgraph, costs = run.graph.subgraphs[index], run.costs
    start, end = (int(when[index]) * MS for when in (run.start_ns, run.end_ns))
    parts = {part: seconds * 1e3 for part, seconds in zip(PARTS, costs.parts_s[index].tolist(), strict=True) if seconds}
    own = sum(parts.values())
    times = "own time (ms): " + ", ".join(f"{part} {ms:.3f}" for part, ms in parts.items())
    lines = [
        f"<b>{subgraph.stage}</b> on {subgraph.processor.upper()}",
        f"chunk {subgraph.chunk}, block {subgraph.block}",
        f"{start:.3f} to {end:.3f} ms: {end - start:.3f} ms",
        *textwrap.wrap(times, LABEL_CHARACTERS),
        *([f"then {end - start - own:.3f} ms for DRAM"] if end - start - own > SHORTEST_WAIT_MS else []),
        f"DRAM {costs.dram_bytes[index] / 1e6:,.2f} MB",
        f"{subgraph.work.ops / 1e6:,.1f} million operations",
    ]
    return "<br>".join(lines)


def _dram(run: Timeline) -> dict[str, Any]:
    """Return DRAM bandwidth as steps."""
    when, rate = run.dram_rate
    return {
        "x": np.round(when * MS, DIGITS).tolist(),
        "y": np.round(rate / 1e9, 3).tolist(),
        "yaxis": "y2",
        "name": "DRAM",
        "mode": "lines",
        "fill": "tozeroy",
        "line": {"shape": "hv", "width": 1, "color": FAMILIES["qkv"].color},
        "hovertemplate": "DRAM %{y:.1f} GB/s<br>around %{x:.2f} ms<extra></extra>",
    }


def _layout(names: list[str], end_ms: float, achievable_gb_per_s: float) -> dict[str, Any]:
    """Return axes that move together, and stay inside the run."""
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y2", "y0": achievable_gb_per_s, "y1": achievable_gb_per_s}
    limit = {"xref": "paper", "x": 1, "yref": "y2", "y": achievable_gb_per_s, "xanchor": "right", "yanchor": "bottom"}
    return {
        "template": "none",
        "barmode": "overlay",
        "bargap": 0,
        "dragmode": "pan",
        "hovermode": "closest",
        "uniformtext": {"mode": "hide", "minsize": 10},
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"color": "#111", "size": 12}, "bordercolor": "#444"},
        "showlegend": False,
        "margin": {"l": 48, "r": 8, "t": 8, "b": 44},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#111"},
        "xaxis": {
            "title": {"text": "time (ms)"},
            "anchor": "y2",
            "range": [0, end_ms],
            "minallowed": 0,
            "maxallowed": end_ms,
            "showgrid": True,
            "zeroline": False,
        },
        "yaxis": {"domain": ROWS_AXIS, "categoryorder": "array", "categoryarray": names[::-1], "fixedrange": True, "showgrid": False},
        "yaxis2": {
            "domain": DRAM_AXIS,
            "title": {"text": "DRAM (GB/s)", "font": {"size": 11}},
            "range": [0, 1.35 * achievable_gb_per_s],
            "fixedrange": True,
            "nticks": 4,
        },
        "shapes": [{**line, "line": {"width": 1, "dash": "dash", "color": "#111"}}],
        "annotations": [{**limit, "text": "achievable", "showarrow": False, "font": {"size": 11}}],
    }
