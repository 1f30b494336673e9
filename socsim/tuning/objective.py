"""What an engine makes of a workload: time to first token, energy and memory, and whether that is within limits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from socsim.errors import SocsimError
from socsim.prefills import Prefills
from socsim.prompts import Prompt
from socsim.runs import Result, build_case, run_case
from socsim.specs import LLM, Engine, Run, SoC
from socsim.tuning.accuracy import accuracy_loss
from socsim.tuning.space import Settings


@dataclass(frozen=True, eq=False)
class Outcome:
    """Weighted means over the prompts of a workload, the largest memory of any, and the results by prompt."""

    engine: Engine
    ttft_s: float
    energy_j: float
    """Of prompt and answer."""
    peak_memory_bytes: int
    accuracy_loss_percent: float | None
    """On the measured curve; None for an engine that keeps no outliers."""
    results: tuple[Result, ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """What is tuned, for which prompts, and what counts: `energy_weight` 0 is time to first token alone, 1 is energy alone."""

    soc: SoC
    llm: LLM
    engine: Engine
    prompts: Sequence[Prompt]
    energy_weight: float = 0.0
    max_memory_bytes: float | None = None
    prefills: Prefills = field(default_factory=Prefills)

    def outcome(self, settings: Settings) -> Outcome:
        """Simulate all prompts.

        Raises
        ------
        SocsimError
            The settings are not possible, or take more memory than is allowed.
        """
        changes: dict[str, Any] = {path: value for group in settings.values() for path, value in group.items()}
        engine = self.engine.override(changes, "engine")
        results = tuple(self._simulate(engine, prompt) for prompt in self.prompts)
        memory = max(result.case.footprint.total_bytes for result in results)
        if self.max_memory_bytes is not None and memory > self.max_memory_bytes:
            raise SocsimError(f"takes {memory / 1e9:.4g} GB of memory, allowed: {self.max_memory_bytes / 1e9:.4g} GB")
        return Outcome(
            engine,
            self._mean([result.metrics["ttft_s"] for result in results]),
            self._mean([result.metrics["e2e_energy_j"] for result in results]),
            memory,
            accuracy_loss(engine, engine.outlier_pruning_rate),
            results,
        )

    def score(self, outcome: Outcome, usual: Outcome) -> float:
        """Return what is to be small: 1 for an outcome like the usual one."""
        time, energy = outcome.ttft_s / usual.ttft_s, outcome.energy_j / usual.energy_j
        return (1.0 - self.energy_weight) * time + self.energy_weight * energy

    def _simulate(self, engine: Engine, prompt: Prompt) -> Result:
        run = Run(prompt_tokens=prompt.prompt_tokens, output_tokens=prompt.output_tokens)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a prompt exceeds the context is said once, of the engine as it is
            return run_case(build_case(self.soc, self.llm, engine, run, {}, self.prefills), peak=False)

    def _mean(self, values: Sequence[float | None]) -> float:
        total = sum(prompt.weight for prompt in self.prompts)
        return sum(prompt.weight * (value or 0.0) for prompt, value in zip(self.prompts, values, strict=True)) / total
