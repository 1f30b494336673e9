"""The least makespan of a small task graph, found by trying every order."""

from __future__ import annotations

from socsim.cost import Costs


def optimum_ns(costs: Costs) -> int:
    """Return the least makespan of a prefill: every order in which its subgraphs may be started one by one, each as early as it can."""
    graph, duration, latency, place = costs.graph, costs.expected_ns, costs.latency_ns, costs.graph.processor_index
    needs = [tuple(graph.all_predecessors(index)) for index in range(graph.prefill_count)]
    best = sum(duration) + len(needs) * max(map(max, latency))

    def extend(ends: dict[int, int], free: tuple[int, ...]) -> None:
        nonlocal best
        if len(ends) == len(needs):
            best = min(best, max(free))
        elif max(free) < best:
            for index, needed in enumerate(needs):
                if index not in ends and all(other in ends for other in needed):
                    p = place[index]
                    end = max([free[p], *(ends[other] + latency[place[other]][p] for other in needed)]) + duration[index]
                    extend({**ends, index: end}, (*free[:p], end, *free[p + 1 :]))

    extend({}, (0,) * len(graph.processors))
    return best
