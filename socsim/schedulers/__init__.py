"""Scheduling policies: which of its ready subgraphs a free processor runs next, or whether it waits.

A policy is a function ``prepare(graph, expected_ns, seed)`` that is called once and returns ``choose(ready, view)``. That
is called whenever a processor is free and has ready subgraphs: `ready` holds their indices in rising order (chunk, block,
stage), so its first is the lowest chunk's. It returns one of them, or None to wait for the next event. Policies see
expected durations; the simulator holds the true ones. A policy with a fourth parameter, ``rehearse``, plans by simulation:
``rehearse(other)`` says what would happen under another policy if all durations were as expected. Where an engine has
alternatives of placement, a policy with an attribute ``place`` chooses among them before it is prepared: a function that
takes `Placements` and returns the processor of every subgraph. All others keep the placement of the engine's file.
"""

from __future__ import annotations

from importlib import import_module

from socsim.errors import SocsimError, unknown_name
from socsim.schedulers.basic import fifo, follow, in_order, lockstep_pairs, sequential
from socsim.schedulers.heft import heft
from socsim.schedulers.lookahead import lookahead
from socsim.schedulers.out_of_order import out_of_order, out_of_order_earliest_position
from socsim.schedulers.planned import planned
from socsim.schedulers.ranked import critical_path, wavefront
from socsim.schedulers.view import Choose, Place, Placements, Prepare, Rehearsal, Rehearse, View, place_of, places, plans, prepare_policy

__all__ = [
    "SCHEDULERS",
    "Choose",
    "Place",
    "Placements",
    "Prepare",
    "Rehearsal",
    "Rehearse",
    "View",
    "critical_path",
    "fifo",
    "follow",
    "heft",
    "in_order",
    "load_scheduler",
    "lockstep_pairs",
    "lookahead",
    "out_of_order",
    "place_of",
    "places",
    "planned",
    "plans",
    "prepare_policy",
    "scheduler_summary",
    "sequential",
    "wavefront",
]

SCHEDULERS: dict[str, Prepare] = {
    "sequential": sequential,
    "in-order": in_order,
    "lockstep-pairs": lockstep_pairs,
    "fifo": fifo,
    "out-of-order": out_of_order,
    "out-of-order-earliest-position": out_of_order_earliest_position,
    "critical-path": critical_path,
    "heft": heft,
    "wavefront": wavefront,
    "lookahead": lookahead,
    "planned": planned,
}
"""Shipped policies by name."""


def scheduler_summary(name: str) -> str:
    """Return the first sentence of a shipped policy's documentation."""
    return (SCHEDULERS[name].__doc__ or "").split("\n")[0]


def load_scheduler(scheduler: str | Prepare) -> Prepare:
    """Return a policy by name, from a user's ``module:function``, or as it is.

    Raises
    ------
    SocsimError
        The name is unknown, or the module or function cannot be found.
    """
    if callable(scheduler):
        return scheduler
    if scheduler in SCHEDULERS:
        return SCHEDULERS[scheduler]
    module_name, colon, function = scheduler.partition(":")
    if not colon:
        raise unknown_name("scheduler", scheduler, [*SCHEDULERS, "module:function"])
    try:
        found: Prepare = getattr(import_module(module_name), function)
    except AttributeError:
        raise SocsimError(f"scheduler '{scheduler}': module '{module_name}' has no '{function}'") from None
    except Exception as error:  # whatever a user's module does wrong when it is imported
        raise SocsimError(f"scheduler '{scheduler}': cannot import module '{module_name}': {type(error).__name__}: {error}") from None
    if not callable(found):
        raise SocsimError(f"scheduler '{scheduler}': '{function}' is no function")
    return found
