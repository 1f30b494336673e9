"""Find the settings of an engine that suit a SoC, a model and a workload best, and say what each of them brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from socsim.errors import SocsimError, unknown_name
from socsim.tuning.accuracy import accuracy_loss
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
    """Gain if this group alone is changed; None if that is not possible."""
    last: float | None
    """Gain that is lost if this group alone is changed back; None if that is not possible."""


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
    trials: int = 200,
    seed: int = 0,
    max_chunk_graphs: int | None = None,
    max_accuracy_loss: float | None = None,
    keep: tuple[str, ...] = (),
    storage: Path | None = None,
    told: Told = lambda done, total: None,  # noqa: ARG005
) -> Tuned:
    """Search for the best settings.

    Parameters
    ----------
    problem
        What is tuned, and what counts.
    trials
        Settings that are sampled; some more are tried one parameter at a time afterwards.
    seed
        Of the sampler.
    max_chunk_graphs
        Most chunk lengths that may be prebuilt; default: as many as the engine has.
    max_accuracy_loss
        Largest rise of perplexity over float32 (%) on the measured curve; default: what the engine loses as it is.
    keep
        Groups of `socsim.tuning.space.GROUPS` that stay as the engine has them.
    storage
        A journal that an interrupted search goes on from.
    told
        Called with the steps that are done, and how many there are at most.

    Raises
    ------
    SocsimError
        The engine as it is cannot run, or a limit cannot be kept.
    """
    for name in keep:
        if name not in GROUPS:
            raise unknown_name("choice", name, GROUPS)
    engine = problem.engine
    usual = Problem(problem.soc, problem.llm, engine, problem.prompts, problem.energy_weight).outcome({})
    loss = accuracy_loss(engine, engine.outlier_pruning_rate) if max_accuracy_loss is None else max_accuracy_loss
    space = make_space(
        problem.soc,
        problem.llm,
        engine,
        max_chunk_graphs=max_chunk_graphs or max(1, len(engine.prebuilt_chunk_tokens)),
        max_accuracy_loss=loss,
        keep=keep,
    )
    search = Search(problem, space, usual)
    search.sample(trials, seed, storage, told)
    search.polish(trials, told)
    settings = _simplified(problem, usual, space.settings(search.best[1]) or {} if search.best[1] else {})
    best = problem.outcome(settings) if settings else usual
    return Tuned(problem, usual, best, settings, _contributions(problem, usual, settings), search.tried)


def _score(problem: Problem, usual: Outcome, settings: Settings) -> float | None:
    try:
        return problem.score(problem.outcome(settings), usual)
    except SocsimError:
        return None


def _simplified(problem: Problem, usual: Outcome, settings: Settings) -> Settings:
    """Leave out groups, one after the other, without which the score is hardly worse."""
    for group in list(settings):
        less = {name: changes for name, changes in settings.items() if name != group}
        now, without = _score(problem, usual, settings), _score(problem, usual, less)
        if now is not None and without is not None and without <= now + NO_GAIN:
            settings = less
    return settings


def _contributions(problem: Problem, usual: Outcome, settings: Settings) -> tuple[Contribution, ...]:
    result, whole = [], _score(problem, usual, settings) or 1.0
    for group, changes in settings.items():
        alone = _score(problem, usual, {group: changes})
        without = _score(problem, usual, {name: other for name, other in settings.items() if name != group})
        result.append(Contribution(group, changes, None if alone is None else 1.0 - alone, None if without is None else without - whole))
    return tuple(result)
