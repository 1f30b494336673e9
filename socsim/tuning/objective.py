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
from socsim.specs import LLM, Engine, Run, SoC, validate
from socsim.tuning.accuracy import accuracy_loss
from socsim.tuning.space import Settings

TOLERANCE = 1e-6
"""Of accuracy losses (%), which are read off a curve."""


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
    chunk_graphs: int
    """Chunk lengths with static graphs of their own."""
    results: tuple[Result, ...]


@dataclass(frozen=True, eq=False)
class Problem:
    """What is tuned, for which prompts, what counts, and what limits there are.

    `energy_weight` 0 is time to first token alone, 1 is energy alone. `max_accuracy_loss` is the largest rise of perplexity over
    float32 (%) on the measured curve, `max_chunk_graphs` the most chunk lengths with graphs of their own; None is no limit.
    """

    soc: SoC
    llm: LLM
    engine: Engine
    prompts: Sequence[Prompt]
    energy_weight: float = 0.0
    max_memory_bytes: float | None = None
    max_accuracy_loss: float | None = None
    max_chunk_graphs: int | None = None
    prefills: Prefills = field(default_factory=Prefills)

    def outcome(self, settings: Settings, *, silent: bool = True) -> Outcome:
        """Simulate all prompts; warnings, which would come for each of many settings, are silent.

        Raises
        ------
        SocsimError
            The settings are not possible.
        """
        changes: dict[str, Any] = {path: value for group in settings.values() for path, value in group.items()}
        engine = self.engine.override(changes, "engine")
        with warnings.catch_warnings():
            if silent:
                warnings.simplefilter("ignore")
            results = tuple(self._simulate(engine, prompt) for prompt in self.prompts)
        lengths = {*engine.prebuilt_chunk_tokens, *(chunk.rows for result in results for chunk in result.case.chunks)}
        return Outcome(
            engine,
            self._mean([result.metrics["ttft_s"] for result in results]),
            self._mean([result.metrics["e2e_energy_j"] for result in results]),
            max(result.case.footprint.total_bytes for result in results),
            accuracy_loss(engine, engine.outlier_pruning_rate),
            len(lengths) if engine.static_shapes else 0,
            results,
        )

    def excess(self, outcome: Outcome) -> str:
        """Say which limit an outcome exceeds; an empty text if none."""
        if self.max_memory_bytes is not None and outcome.peak_memory_bytes > self.max_memory_bytes:
            return f"takes {outcome.peak_memory_bytes / 1e9:.4g} GB of memory, allowed: {self.max_memory_bytes / 1e9:.4g} GB"
        loss = outcome.accuracy_loss_percent
        if self.max_accuracy_loss is not None and loss is not None and loss > self.max_accuracy_loss + TOLERANCE:
            return f"loses {loss:.3g} % of perplexity, allowed: {self.max_accuracy_loss:.3g} %"
        if self.max_chunk_graphs is not None and outcome.chunk_graphs > self.max_chunk_graphs:
            return f"has graphs of {outcome.chunk_graphs} chunk lengths, allowed: {self.max_chunk_graphs}"
        return ""

    def score(self, outcome: Outcome, usual: Outcome) -> float:
        """Return what is to be small: 1 for an outcome like the usual one."""
        time, energy = outcome.ttft_s / usual.ttft_s, outcome.energy_j / usual.energy_j
        return (1.0 - self.energy_weight) * time + self.energy_weight * energy

    def scored(self, settings: Settings, usual: Outcome) -> float | None:
        """Return the score of settings, or None if they are not possible or exceed a limit."""
        try:
            outcome = self.outcome(settings)
        except SocsimError:
            return None
        return None if self.excess(outcome) else self.score(outcome, usual)

    def _simulate(self, engine: Engine, prompt: Prompt) -> Result:
        tokens = {"prompt_tokens": prompt.prompt_tokens, "output_tokens": prompt.output_tokens}
        return run_case(build_case(self.soc, self.llm, engine, validate(Run, tokens, prompt.name), {}, self.prefills), peak=False)

    def _mean(self, values: Sequence[float | None]) -> float:
        total = sum(prompt.weight for prompt in self.prompts)
        return sum(prompt.weight * (value or 0.0) for prompt, value in zip(self.prompts, values, strict=True)) / total
