"""Find the settings of an engine that suit a SoC, a model and a workload best, and say what each of them brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from socsim.errors import SocsimError, unknown_name
from socsim.tuning.objective import Outcome, Problem
from socsim.tuning.search import Search, Told
from socsim.tuning.space import GROUPS, Settings, make_space

NO_GAIN = 5e-3
"""Share of the score below which a group is left as the engine has it."""


@dataclass(frozen=True)
class Contribution:
    """What one group brings: gains are shares of the usual score."""

    group: str
    settings: Mapping[str, Any]
    alone: float | None
    """Gain if this group alone is changed; None if that is not possible or exceeds a limit."""
    last: float | None
    """Gain that is lost if this group alone is changed back; None if that is not possible or exceeds a limit."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a search found: outcomes of the engine as it is and as tuned, and what each group brings."""

    problem: Problem
    usual: Outcome
    best: Outcome
    settings: Settings
    contributions: tuple[Contribution, ...]
    tried: int

    @property
    def gain(self) -> float:
        """Share of the usual score that is saved."""
        return 1.0 - self.problem.score(self.best, self.usual)


def tune(
    problem: Problem,
    *,
    trials: int = 100,
    seed: int = 0,
    keep: tuple[str, ...] = (),
    storage: Path | None = None,
    told: Told = lambda done, total: None,  # noqa: ARG005
) -> Tuned:
    """Search for the best settings.

    Parameters
    ----------
    problem
        What is tuned, what counts, and the limits; those of accuracy and of chunk graphs are by default what the engine has as it is.
    trials
        Settings that are sampled; some more are tried one parameter at a time afterwards.
    seed
        Of the sampler.
    keep
        Groups of `socsim.tuning.space.GROUPS` that stay as the engine has them.
    storage
        A journal that an interrupted search goes on from.
    told
        Called with the steps that are done, and how many there are at most.

    Raises
    ------
    SocsimError
        The engine as it is cannot run, or no settings were found that keep the limits.
    """
    for name in keep:
        if name not in GROUPS:
            raise unknown_name("choice", name, GROUPS)
    usual = problem.outcome({}, silent=False)
    if problem.max_accuracy_loss is None:
        problem = replace(problem, max_accuracy_loss=usual.accuracy_loss_percent)
    if problem.max_chunk_graphs is None:
        problem = replace(problem, max_chunk_graphs=usual.chunk_graphs)
    space = make_space(
        problem.soc,
        problem.llm,
        problem.engine,
        max_chunk_graphs=problem.max_chunk_graphs,
        max_accuracy_loss=problem.max_accuracy_loss,
        keep=keep,
    )
    search = Search(problem, space, usual)
    search.sample(trials, seed, storage, told)
    search.polish(trials, told)
    found = space.settings(search.best[1]) if search.best[1] else None
    if found is None and problem.excess(usual):
        raise SocsimError(
            f"none of {search.tried} settings that were tried keeps the limits; {problem.engine.name} as it is {problem.excess(usual)}"
        )
    settings = _simplified(problem, usual, found or {})
    best = problem.outcome(settings) if settings else usual
    return Tuned(problem, usual, best, settings, _contributions(problem, usual, settings), search.tried)


def _simplified(problem: Problem, usual: Outcome, settings: Settings) -> Settings:
    """Leave out groups, one after the other, without which the limits are kept and the score is hardly worse."""
    for group in list(settings):
        less = {name: changes for name, changes in settings.items() if name != group}
        now, without = problem.scored(settings, usual), problem.scored(less, usual)
        if now is not None and without is not None and without <= now + NO_GAIN:
            settings = less
    return settings


def _contributions(problem: Problem, usual: Outcome, settings: Settings) -> tuple[Contribution, ...]:
    result, whole = [], problem.scored(settings, usual) or 1.0
    for group, changes in settings.items():
        alone = problem.scored({group: changes}, usual)
        without = problem.scored({name: other for name, other in settings.items() if name != group}, usual)
        result.append(Contribution(group, changes, None if alone is None else 1.0 - alone, None if without is None else without - whole))
    return tuple(result)
