"""What happened when: the intervals of a simulated run, as arrays, a data frame, or a Chrome trace."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from socsim.cost import NANOSECONDS, PARTS, Costs
from socsim.graph import TaskGraph

if TYPE_CHECKING:
    import pandas as pd

Nanoseconds = NDArray[np.int64]
Steps = tuple[Nanoseconds, NDArray[np.float64]]
"""Instants at which a quantity changes, and its value from each on; both of shape (changes,)."""

EVENT_ORDER = "completions-before-choices"
"""At equal times all completions and hand-overs take effect before any free processor chooses."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """Start and end of every subgraph of one run; times are whole nanoseconds from the start of the prefill.

    `start_ns`, `end_ns` and `stream_end_ns` (when its DRAM flow ended) have shape (subgraphs,).
    """

    graph: TaskGraph
    costs: Costs
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    stream_end_ns: Nanoseconds
    scheduler: str
    memory: str
    event_order: str = EVENT_ORDER

    @property
    def processor(self) -> Nanoseconds:
        """For each subgraph the place of its processor in `graph.processors`."""
        return self.graph.places

    @cached_property
    def dram_rate(self) -> Steps:
        """Total DRAM rate from each instant on: nanoseconds and bytes per second, both of shape (changes,).

        Fair sharing leaves no bandwidth unused that a flow could take, so the rate of all is the sum of the caps of those
        that stream, at most what DRAM achieves. Infinitely fast DRAM has no rate: the arrays are empty.
        """
        if self.memory == "infinite":
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        when, rate = steps(self.start_ns, self.stream_end_ns, self.costs.alone_bytes_per_s)
        return when, np.minimum(rate, self.costs.achievable_bytes_per_s) if self.memory == "shared" else rate

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row a subgraph, in the order of the graph.

        Columns: stage, chunk, block, position, processor, start_s, end_s, stream_end_s, expected_s, one column for each
        part of its own time (``launch_s``, ``linear_s``, ``attention_s``, ``float_s``, ``synchronization_s``), ops,
        weight_bytes, kv_bytes, activation_bytes, dram_bytes.
        """
        import pandas as pd

        subgraphs = self.graph.subgraphs
        columns: dict[str, Any] = {
            name: [getattr(subgraph, name) for subgraph in subgraphs] for name in ("stage", "chunk", "block", "position", "processor")
        }
        columns |= {
            "start_s": self.start_ns / NANOSECONDS,
            "end_s": self.end_ns / NANOSECONDS,
            "stream_end_s": self.stream_end_ns / NANOSECONDS,
        }
        columns["expected_s"] = np.array(self.costs.expected_ns) / NANOSECONDS
        columns |= {f"{part}_s": self.costs.parts_s[:, column] for column, part in enumerate(PARTS)}
        columns |= {
            name: [getattr(subgraph.work, name) for subgraph in subgraphs]
            for name in ("ops", "weight_bytes", "kv_bytes", "activation_bytes")
        }
        columns["dram_bytes"] = self.costs.dram_bytes
        return pd.DataFrame(columns)

    def to_chrome_trace(self, power: Steps | None = None) -> dict[str, Any]:
        """Return the run in the Chrome trace format, which opens in Perfetto and chrome://tracing.

        One track a processor, a counter for DRAM bandwidth, and one for power where its steps (ns, watts) are given.
        """
        names = self.graph.processors
        events: list[dict[str, Any]] = [{"ph": "M", "pid": 1, "name": "process_name", "args": {"name": f"SoC ({self.scheduler})"}}]
        events += [
            {"ph": "M", "pid": 1, "tid": i + 1, "name": "thread_name", "args": {"name": name.upper()}} for i, name in enumerate(names)
        ]
        dram_bytes = self.costs.dram_bytes.tolist()
        times = zip(self.processor.tolist(), self.start_ns.tolist(), self.end_ns.tolist(), strict=True)
        for index, (processor, start, end) in enumerate(times):
            stage, chunk, block, _, _, work, _ = self.graph.subgraphs[index]
            args = {"chunk": chunk, "layer": block, "operations": work.ops, "bytes": round(dram_bytes[index])}
            event = {"ph": "X", "pid": 1, "tid": processor + 1, "name": f"{stage} c{chunk} b{block}", "cat": stage}
            events.append({**event, "ts": start / 1e3, "dur": (end - start) / 1e3, "args": args})
        events += _counter("DRAM bandwidth (GB/s)", self.dram_rate, 1e9)
        if power is not None:
            events += _counter("power (W)", power, 1.0)
        return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"scheduler": self.scheduler, "event_order": self.event_order}}


def steps(start_ns: Nanoseconds, end_ns: Nanoseconds, height: NDArray[np.float64]) -> Steps:
    """Add up intervals of some height: return the instants at which the sum changes, and its value from each on."""
    when = np.concatenate((start_ns, end_ns))
    order = np.argsort(when, kind="stable")
    when, total = when[order], np.cumsum(np.concatenate((height, -height))[order])
    last = np.append(when[1:] != when[:-1], True) if len(when) else np.zeros(0, dtype=bool)
    return when[last], np.maximum(total[last], 0.0)


def _counter(name: str, values: Steps, unit: float) -> list[dict[str, Any]]:
    """Return the events of a counter track."""
    rows = zip(values[0].tolist(), values[1].tolist(), strict=True)
    return [{"ph": "C", "pid": 1, "name": name, "ts": when / 1e3, "args": {"value": round(value / unit, 6)}} for when, value in rows]
