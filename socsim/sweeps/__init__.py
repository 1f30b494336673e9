"""Sweeps: many runs that differ in a few fields, on one machine or a cluster, kept as a table whatever interrupts them."""

from socsim.sweeps.analysis import Index, Swing, pareto_front, sensitivity, swings
from socsim.sweeps.execution import available_cores, sweep
from socsim.sweeps.loading import load_plan
from socsim.sweeps.plan import Plan
from socsim.sweeps.results import SweepResult, read_sweep

__all__ = [
    "Index",
    "Plan",
    "SweepResult",
    "Swing",
    "available_cores",
    "load_plan",
    "pareto_front",
    "read_sweep",
    "sensitivity",
    "sweep",
    "swings",
]
