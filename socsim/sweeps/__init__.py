"""Sweeps: many runs that differ in a few fields, on one machine or a cluster, kept as a table whatever interrupts them."""

from socsim.sweeps.execution import available_cores, sweep
from socsim.sweeps.loading import load_plan
from socsim.sweeps.plan import Plan
from socsim.sweeps.results import SweepResult, read_sweep

__all__ = ["Plan", "SweepResult", "available_cores", "load_plan", "read_sweep", "sweep"]
