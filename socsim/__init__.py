"""socsim: a discrete-event simulator of large language models on phone SoCs.

The names below are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from socsim.version import __version__

if TYPE_CHECKING:
    from socsim.bottlenecks import explain
    from socsim.catalog import list_engines, list_models, list_socs, load_engine, load_model, load_soc
    from socsim.conformance import check_scheduler
    from socsim.cost import Costs, graph_costs
    from socsim.errors import SocsimError
    from socsim.graph import Prefix, Subgraph, TaskGraph, Work
    from socsim.metrics import power_model, summarize
    from socsim.plots import gantt
    from socsim.runs import Case, Result, compare, make_case, run, run_case
    from socsim.schedulers import SCHEDULERS, View
    from socsim.simulator import simulate
    from socsim.specs import LLM, Engine, Run, SoC, SweepSpec
    from socsim.sweeps import SweepResult, read_sweep, sweep
    from socsim.timeline import Timeline
    from socsim.workload import prefill_graph

_MODULES = {
    "bottlenecks": ("explain",),
    "catalog": ("list_engines", "list_models", "list_socs", "load_engine", "load_model", "load_soc"),
    "conformance": ("check_scheduler",),
    "cost": ("Costs", "graph_costs"),
    "errors": ("SocsimError",),
    "graph": ("Prefix", "Subgraph", "TaskGraph", "Work"),
    "metrics": ("power_model", "summarize"),
    "plots": ("gantt",),
    "runs": ("Case", "Result", "compare", "make_case", "run", "run_case"),
    "schedulers": ("SCHEDULERS", "View"),
    "simulator": ("simulate",),
    "specs": ("LLM", "Engine", "Run", "SoC", "SweepSpec"),
    "sweeps": ("SweepResult", "read_sweep", "sweep"),
    "timeline": ("Timeline",),
    "workload": ("prefill_graph",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "LLM",
    "SCHEDULERS",
    "Case",
    "Costs",
    "Engine",
    "Prefix",
    "Result",
    "Run",
    "SoC",
    "SocsimError",
    "Subgraph",
    "SweepResult",
    "SweepSpec",
    "TaskGraph",
    "Timeline",
    "View",
    "Work",
    "__version__",
    "check_scheduler",
    "compare",
    "explain",
    "gantt",
    "graph_costs",
    "list_engines",
    "list_models",
    "list_socs",
    "load_engine",
    "load_model",
    "load_soc",
    "make_case",
    "power_model",
    "prefill_graph",
    "read_sweep",
    "run",
    "run_case",
    "simulate",
    "summarize",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"socsim.{_HOME[name]}"), name)
    raise AttributeError(f"module 'socsim' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
