"""Task graphs and costs for tests: written by hand in a line a subgraph, or random."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np

from socsim.cost import NANOSECONDS, PARTS, Costs
from socsim.graph import Prefix, Subgraph, TaskGraph, Work

NOTHING = Work(())
Row = tuple[str, int, int, Sequence[int]]
"""A subgraph: processor, own time (ns), DRAM bytes, direct predecessors."""


def hand_costs(
    rows: Sequence[Row],
    *,
    latency_ns: int = 0,
    launch_work_ns: int = 0,
    bandwidth: Mapping[str, float] | None = None,
    achievable: float = 1e9,
    prefixes: Sequence[Prefix] = (),
    chunks: Sequence[int] | None = None,
    positions: Sequence[int] | None = None,
    prefill_count: int = -1,
) -> Costs:
    """Return the costs of a graph given subgraph by subgraph; bandwidths default to 1 byte/ns, chunks to 0."""
    chunks = chunks or [0] * len(rows)
    positions = positions or list(range(len(rows)))
    subgraphs = tuple(Subgraph(f"s{i}", chunks[i], 0, positions[i], row[0], NOTHING) for i, row in enumerate(rows))
    graph = TaskGraph(subgraphs, tuple(tuple(row[3]) for row in rows), tuple(prefixes), prefill_count)
    parts_s = np.zeros((len(rows), len(PARTS)))
    parts_s[:, PARTS.index("linear")] = [row[1] / NANOSECONDS for row in rows]
    foreign = {p for i, row in enumerate(rows) for p in graph.all_predecessors(i) if rows[p][0] != row[0]}
    parts_s[sorted(foreign), PARTS.index("synchronization")] = launch_work_ns / NANOSECONDS
    latency_s = np.full((len(graph.processors),) * 2, latency_ns / NANOSECONDS)
    np.fill_diagonal(latency_s, 0.0)
    caps = np.array([(bandwidth or {}).get(name, 1e9) for name in graph.processors])
    return Costs(graph, parts_s, np.array([float(row[2]) for row in rows]), caps, achievable, latency_s)


def random_dag(seed: int, *, latency: bool = True, size: int = 40) -> Costs:
    """Return costs of a random graph without the structure of chunks, edges anywhere; not for in-order and lockstep."""
    rng = random.Random(seed)
    names = rng.sample(("cpu", "gpu", "npu"), rng.randint(1, 3))
    rows: list[Row] = []
    for index in range(rng.randint(1, size)):
        needs = sorted(rng.sample(range(index), min(index, rng.randint(0, 3))))
        rows.append((rng.choice(names), rng.choice((0, 1, 5, 5, 10, rng.randint(1, 100))), 0, needs))
    prefixes = [_random_prefix(rng, rows, name) for name in names]
    for prefix in prefixes:
        for rank, waiters in enumerate(prefix.waiters):
            for waiter in waiters:  # what a prefix says is not said again
                processor, time_ns, dram_bytes, named = rows[waiter]
                rows[waiter] = (processor, time_ns, dram_bytes, [other for other in named if other not in prefix.members[: rank + 1]])
    return hand_costs(rows, latency_ns=rng.choice((0, 1, 7)) if latency else 0, prefixes=prefixes)


def _random_prefix(rng: random.Random, rows: Sequence[Row], processor: str) -> Prefix:
    """Return a prefix of up to four subgraphs of one processor in any order, with waiters behind all that they need."""
    places = [index for index, row in enumerate(rows) if row[0] == processor]
    members = rng.sample(places, min(len(places), rng.randint(0, 4)))
    waiters: list[tuple[int, ...]] = []
    for rank in range(len(members)):
        behind = [i for i in range(max(members[: rank + 1]) + 1, len(rows)) if all(i not in others for others in waiters)]
        waiters.append(tuple(sorted(rng.sample(behind, min(len(behind), rng.randint(0, 2))))))
    return Prefix(tuple(members), tuple(waiters))
