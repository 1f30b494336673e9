"""A plain second implementation of the simulator for DRAM without limits, to compare with."""

from __future__ import annotations

from heapq import heappop, heappush

from socsim.cost import Costs
from socsim.schedulers import Prepare, View
from socsim.simulator import prepared


def play(costs: Costs, prepare: Prepare, seed: int = 0) -> tuple[list[int], list[int]]:
    """Return start and end of every subgraph; everything is derived anew at every instant, completions before choices."""
    graph, everything = costs.graph, range(len(costs.graph))
    place, latency = graph.processor_index, costs.latency_ns
    needs = [list(graph.all_predecessors(index)) for index in everything]
    start, end = dict.fromkeys(everything, -1), dict.fromkeys(everything, -1)
    view = View(graph)
    choose = prepared(prepare, costs, "infinite", seed)
    instants = [0]
    while instants:
        now = view.now_ns = heappop(instants)
        done = [start[index] >= 0 and end[index] <= now for index in everything]
        view.done = bytearray(done)
        view.completed += [index for index in everything if done[index] and index not in view.completed]
        view.running = [
            next((i for i in everything if place[i] == p and start[i] >= 0 and not done[i]), -1) for p in range(len(view.ready))
        ]
        view.frontier = [next((r for r, m in enumerate(x.members) if not done[m]), len(x.members)) for x in graph.prefixes]
        for i in everything:
            passed = [view.frontier[p] > rank for p, rank in graph.prefixes_needed.get(i, ())]
            view.missing[i] = sum(not done[other] for other in graph.predecessors[i]) + passed.count(False)
        through = [all(done[n] and end[n] + latency[place[n]][place[i]] <= now for n in needs[i]) for i in everything]
        view.released += [index for index in everything if through[index] and index not in view.released]
        view.ready = [[i for i in everything if place[i] == p and through[i] and start[i] < 0] for p in range(len(view.ready))]
        arrival = [max((end[n] + latency[place[n]][place[i]] for n in needs[i]), default=0) for i in everything]
        coming = [(arrival[i], i) for i in everything if not through[i] and all(done[n] for n in needs[i])]
        view.coming = [sorted(each for each in coming if place[each[1]] == p) for p in range(len(view.ready))]
        for processor, ready in enumerate(view.ready):
            view.processor = processor
            choice = choose(ready, view) if ready and view.running[processor] < 0 else None
            if choice is not None:
                ready.remove(choice)
                view.running[processor], start[choice], end[choice] = choice, now, now + max(1, costs.fixed_ns[choice])
                for instant in {end[choice], *(end[choice] + delay for delay in latency[processor])} - set(instants):
                    heappush(instants, instant)
    return list(start.values()), list(end.values())
