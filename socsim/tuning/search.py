"""Search for the best settings: samples that learn from what was tried, then one parameter at a time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from socsim.errors import SocsimError
from socsim.provenance import code_sha256
from socsim.sweeps.evaluation import computing
from socsim.tuning.objective import Outcome, Problem
from socsim.tuning.space import RATE_STEP, Space

LEAST_GAIN = 1e-6
ROUNDS = 6
NOT_SEARCHING = ("calibration", "cli", "experiments", "numerics", "plots", "report")
"""Parts of the package on which no score depends."""

Told = Callable[[int, int], None]
"""Called with the steps that are done, and how many there are at most."""


class Search:
    """Tries settings of a space on a problem, and remembers the best that keep its limits."""

    def __init__(self, problem: Problem, space: Space, usual: Outcome) -> None:
        self.problem, self.space, self.usual = problem, space, usual
        self.best: tuple[float, dict[str, Any]] = (math.inf if problem.excess(usual) else 1.0, {})
        self.tried = 0
        self._scores: dict[str, float | None] = {}
        self._steps = ROUNDS * len(space.parameters)

    def score(self, values: Mapping[str, Any]) -> float | None:
        """Return the score of some values, or None if they are not possible or exceed a limit."""
        key = json.dumps(dict(values), sort_keys=True)
        if key not in self._scores:
            self.tried += 1
            settings = self.space.settings(values)
            self._scores[key] = None if settings is None else self.problem.scored(settings, self.usual)
        score = self._scores[key]
        if score is not None and score < self.best[0] - LEAST_GAIN:
            self.best = (score, dict(values))
        return score

    def _enter(self, values: Mapping[str, Any], score: float | None) -> None:
        """Take note of a score that is known from before."""
        self.tried += 1
        self._scores[json.dumps(dict(values), sort_keys=True)] = score
        self.score(values)

    def sample(self, trials: int, seed: int, storage: Path | None, told: Told) -> None:
        """Try values that a tree-structured Parzen estimator suggests; with a storage, go on where an earlier search stopped.

        Raises
        ------
        SocsimError
            Optuna is not installed, or the storage is of another search or cannot be read.
        """
        study, finished = _open_study(self._identity(seed), storage)
        import optuna

        for number in range(trials):
            if number < len(finished):  # tried before, by a search that was interrupted
                self._enter(*finished[number])
            else:
                # A sampler of its own for each trial: what is suggested depends on what was tried, not on when a search was interrupted.
                study.sampler = optuna.samplers.TPESampler(seed=(seed << 20) + number, n_startup_trials=max(10, trials // 5))
                if number == 0:
                    study.enqueue_trial(self.space.usual())
                trial = study.ask()
                score = self.score(self._suggested(trial))
                state = optuna.trial.TrialState.COMPLETE if score is not None else optuna.trial.TrialState.PRUNED
                study.tell(trial, score, state=state)
            told(number + 1, trials + self._steps)

    def polish(self, trials: int, told: Told) -> None:
        """Change one parameter of the best values at a time, or one prebuilt length for another, as long as that helps."""
        done, total = trials, trials + self._steps
        for _ in range(ROUNDS):
            before = self.best[0]
            for name in self.space.parameters:
                for changed in self.space.neighbors(self.best[1] or self.space.usual(), name):
                    self.score(changed)
                done += 1
                told(done, total)
            if self.best[0] > before - LEAST_GAIN:
                break
        told(total, total)

    def _suggested(self, trial: Any) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, parameter in self.space.parameters.items():
            if name == "pruning":
                low, high = parameter.options
                values[name] = round(trial.suggest_float(name, low, high, step=RATE_STEP if high > low else None), 2)
            else:
                values[name] = trial.suggest_categorical(name, parameter.options)
        return values

    def _identity(self, seed: int) -> str:
        """Return what makes a search this one: what is searched, and with which code, as scores are taken from its journal."""
        problem, code = self.problem, [computing(), code_sha256(NOT_SEARCHING)]
        described = [each.model_dump(mode="json") for each in (problem.soc, problem.llm, problem.engine)]
        limits = [problem.energy_weight, problem.max_memory_bytes, problem.max_accuracy_loss, problem.max_chunk_graphs, seed]
        parameters = {name: list(each.options) for name, each in self.space.parameters.items()}
        text = json.dumps([code, described, [list(prompt) for prompt in problem.prompts], limits, parameters], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _open_study(identity: str, storage: Path | None) -> tuple[Any, list[tuple[dict[str, Any], float | None]]]:
    """Return the study, and the values that were tried before with their scores, in order."""
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise SocsimError("tuning needs Optuna: pip install 'phone-socsim[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage is None:
        return optuna.create_study(), []
    try:
        backend = optuna.storages.JournalStorage(JournalFileBackend(str(storage)))
        names = optuna.get_all_study_names(backend)
        study = optuna.create_study(storage=backend, study_name=identity, load_if_exists=True)
    except OSError as error:
        raise SocsimError(f"--storage '{storage}': cannot be used: {error.strerror}") from None
    except Exception as error:  # a file that is no journal, in whatever way
        raise SocsimError(f"--storage '{storage}': is no journal of a search: {type(error).__name__}: {error}") from None
    if names and identity not in names:
        raise SocsimError(
            f"--storage '{storage}': is of another search (other files, prompts, limits, weight, seed or socsim); choose another file"
        )
    complete = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return study, [(trial.params, trial.value) for trial in study.get_trials(deepcopy=False, states=complete)]
