"""Search for the placement with the least time to first token, every step judged by simulation.

What is tried: the engine file's placement, HEFT's, each stage on each of its other processors in all chunks or in every second one, and
all stages together. The best is changed stage by stage and chunk by chunk, in all blocks alike, as long as that makes it better.
"""

from __future__ import annotations

from collections.abc import Sequence

from socsim.schedulers.heft import heft_placement
from socsim.schedulers.view import Placements, Prepare

EFFORT = 100_000
"""Subgraphs that are simulated for one placement, in all rehearsals together: about a second."""
FEWEST = 20
"""Rehearsals at least: long prompts take longer."""


def best_placement(placements: Placements, judge: Prepare) -> list[str]:
    """Return the best placement that a search of fixed effort finds under a policy; never worse than the engine file's under that.

    Parameters
    ----------
    placements
        What may be chosen.
    judge
        The policy under which placements are simulated: a quick one.
    """
    search = _Search(placements, judge)
    for placement in search.first():
        search.play(placement)
    search.climb()
    return search.best


class _Search:
    """The best placement so far; a pattern is a stage and a chunk, with the subgraphs in all blocks that may run elsewhere."""

    def __init__(self, placements: Placements, judge: Prepare) -> None:
        self.placements, self.judge = placements, judge
        self.left = max(EFFORT // max(len(placements.graph), 1), FEWEST)
        self.patterns: dict[tuple[str, int], list[int]] = {}
        for index, (subgraph, durations) in enumerate(zip(placements.graph.subgraphs, placements.expected_ns, strict=True)):
            if len(durations) > 1:
                self.patterns.setdefault((subgraph.stage, subgraph.chunk), []).append(index)
        self.best = placements.listed
        self.known = {tuple(self.best): self._rehearsed(self.best)}
        self.best_ns = self.known[tuple(self.best)]

    def _rehearsed(self, placement: Sequence[str]) -> int:
        self.left -= 1
        return self.placements.rehearse(placement, self.judge)

    def play(self, placement: list[str]) -> bool:
        """Simulate a placement that is new and say whether it is better than the best so far."""
        if self.left <= 0 or tuple(placement) in self.known:
            return False
        found_ns = self.known[tuple(placement)] = self._rehearsed(placement)
        if found_ns >= self.best_ns:
            return False
        self.best, self.best_ns = placement, found_ns
        return True

    def moved(self, placement: Sequence[str], patterns: Sequence[tuple[str, int]], name: str) -> list[str]:
        """Return a placement with all that may run on a processor there, of some patterns."""
        result = list(placement)
        for pattern in patterns:
            for index in self.patterns[pattern]:
                if name in self.placements.expected_ns[index]:
                    result[index] = name
        return result

    def names(self, patterns: Sequence[tuple[str, int]]) -> list[str]:
        """Return the processors on which some subgraph of some patterns may run."""
        return sorted({name for pattern in patterns for index in self.patterns[pattern] for name in self.placements.expected_ns[index]})

    def first(self) -> list[list[str]]:
        """Return the placements that are tried first."""
        listed, every = self.placements.listed, list(self.patterns)
        groups = [every]
        for stage in dict.fromkeys(stage for stage, _ in every):
            chunks = [pattern for pattern in every if pattern[0] == stage]
            groups += [chunks, chunks[1::2], chunks[::2]]
        return [heft_placement(self.placements), *(self.moved(listed, group, name) for group in groups for name in self.names(group))]

    def climb(self) -> None:
        """Change the best placement pattern by pattern until nothing helps or the effort is spent."""
        better = True
        while better and self.left > 0:
            better = False
            for pattern in self.patterns:
                for name in self.names([pattern]):
                    better |= self.play(self.moved(self.best, [pattern], name))
