"""Tuning: the settings of an engine that suit a SoC, a model and a workload best, within limits."""

from socsim.tuning.engine_file import engine_text
from socsim.tuning.objective import Outcome, Problem
from socsim.tuning.space import GROUPS
from socsim.tuning.tune import Contribution, Tuned, tune

__all__ = ["GROUPS", "Contribution", "Outcome", "Problem", "Tuned", "engine_text", "tune"]
