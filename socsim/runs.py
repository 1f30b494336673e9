"""One run from names to numbers: load descriptions, build, simulate, summarize."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from socsim.bounds import Bounds, lower_bounds
from socsim.catalog import load_engine, load_model, load_soc
from socsim.chunking import Attempt, Plan, best_chunk_tokens, busiest_work_s, mean_chunk_work_s, usable_lengths
from socsim.cost import Costs, graph_costs, true_costs
from socsim.errors import SocsimError, did_you_mean
from socsim.footprint import Footprint, Preparation, check_fits, graph_preparation, memory_footprint, memory_needs
from socsim.graph import TaskGraph
from socsim.metrics import PowerModel, power_model, summarize
from socsim.placing import check_alternatives, check_processors, placed_graph
from socsim.schedulers import Prepare, load_scheduler, plans
from socsim.simulator import simulate
from socsim.specs import LLM, Engine, Run, SoC, validate
from socsim.timeline import Timeline
from socsim.version import __version__
from socsim.workload import Chunk, chunk_plan, prefill_graph

SCHEMA_VERSION = 1
"""Version of the fields of `Result.record`."""


@dataclass(frozen=True, eq=False)
class Prefill:
    """What a run does, whatever the SoC: its chunks, its task graph, and the memory that it needs."""

    chunks: tuple[Chunk, ...]
    graph: TaskGraph
    needs: Footprint


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that defines one simulation, apart from the scheduler: validated, with its task graph and costs."""

    soc: SoC
    llm: LLM
    engine: Engine
    run: Run
    chunks: tuple[Chunk, ...]
    costs: Costs
    footprint: Footprint
    preparation: Preparation
    power: PowerModel
    overrides: Mapping[str, Any]
    """Fields that were changed for this case, by path."""
    moved_subgraphs: int = 0
    """Subgraphs that the scheduler placed elsewhere than the engine's file does."""


@dataclass(frozen=True, eq=False)
class Result:
    """A simulated run: its case, its timeline and its metrics."""

    case: Case
    timeline: Timeline
    metrics: Mapping[str, float | None]

    @cached_property
    def record(self) -> dict[str, Any]:
        """One flat record of the run, which ``socsim run --json`` prints with its `bounds`; its field names are stable."""
        case, footprint = self.case, self.case.footprint
        return {
            "schema_version": SCHEMA_VERSION,
            "socsim_version": __version__,
            "soc": case.soc.name,
            "model": case.llm.name,
            "engine": case.engine.name,
            "scheduler": self.timeline.scheduler,
            "prompt_tokens": case.run.prompt_tokens,
            "output_tokens": case.run.output_tokens,
            "cached_tokens": case.run.cached_tokens,
            "chunk_tokens": max(chunk.rows for chunk in case.chunks),
            "chunk_plan": [chunk.rows for chunk in case.chunks],
            "subgraphs": case.costs.graph.prefill_count,
            "moved_subgraphs": case.moved_subgraphs,
            **self.metrics,
            "preparation_s": case.preparation.total_s,
            "graph_load_s": case.preparation.load_s,
            "preparation_in_ttft_s": case.preparation.charged_s,
            "peak_memory_bytes": footprint.total_bytes,
            "npu_memory_bytes": footprint.npu_bytes,
            "npu_sessions": footprint.npu_sessions,
            "weights_bytes": footprint.weights_bytes,
            "graph_weights_bytes": footprint.graph_weights_bytes,
            "graph_buffers_bytes": footprint.graph_buffers_bytes,
            "kv_cache_bytes": footprint.kv_cache_bytes,
            "activation_bytes": footprint.activation_bytes,
            "shadow_weights_bytes": footprint.shadow_weights_bytes,
            "memory": case.run.memory,
            "operating_point": case.run.operating_point,
            "power_calibration": case.run.power_calibration,
            "duration_noise": case.run.duration_noise,
            "slowed_processor": case.run.slowed_processor,
            "slowed_from_s": case.run.slowed_from_s,
            "slowdown_factor": case.run.slowdown_factor,
            "seed": case.run.seed,
            "event_order": self.timeline.event_order,
            "overrides": dict(case.overrides),
        }

    @cached_property
    def bounds(self) -> Bounds:
        """Lower bounds on the makespan under any scheduler, with the true durations."""
        return lower_bounds(true_costs(self.case.costs, self.case.run), self.case.run.memory)

    @property
    def gap(self) -> dict[str, float]:
        """The lower bound on the makespan, and how far the run is above it, as a record has them."""
        bound_s = self.bounds.makespan_s
        return {"makespan_lower_bound_s": bound_s, "makespan_gap": (self.metrics["makespan_s"] or 0.0) / bound_s - 1.0}


def _split_overrides(overrides: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Sort overrides such as ``soc.dram.capacity_bytes`` by the description that they change."""
    split: dict[str, dict[str, Any]] = {"soc": {}, "model": {}, "engine": {}, "run": {}}
    for path, value in (overrides or {}).items():
        kind, dot, rest = path.partition(".")
        if kind not in split or not dot or not rest:
            hint = f"; for one field of it: {kind}.FIELD" if kind in split else did_you_mean(kind, split)
            raise SocsimError(f"override '{path}' should start with soc., model., engine. or run.{hint}")
        split[kind][rest] = value
    return split


def make_case(
    soc: SoC | str | Path,
    model: LLM | str | Path,
    engine: Engine | str | Path,
    *,
    prompt_tokens: int,
    output_tokens: int = 1,
    cached_tokens: int = 0,
    chunk_tokens: int | str | Sequence[int] | None = None,
    scheduler: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Case:
    """Load and check everything, and build the task graph with its costs.

    Parameters
    ----------
    soc, model, engine
        A description, a catalog name, or a path to a file.
    prompt_tokens, output_tokens, cached_tokens
        As in `socsim.specs.Run`.
    chunk_tokens
        Instead of the engine's: a number, ``auto``, ``prompt``, or the tokens of each chunk.
    scheduler
        Instead of the engine's.
    overrides
        Any field by path, such as ``{"engine.outlier_pruning_rate": 0.5, "run.memory": "private"}``.

    Raises
    ------
    SocsimError
        A name, a value or a combination is not allowed, or the model does not fit the phone's memory.
    """
    split = _split_overrides(overrides)
    soc = (soc if isinstance(soc, SoC) else load_soc(soc)).override(split["soc"], "soc")
    llm = (model if isinstance(model, LLM) else load_model(model)).override(split["model"], "model")
    choices = {"chunk_tokens": chunk_tokens, "scheduler": scheduler}
    split["engine"] |= {name: value for name, value in choices.items() if value is not None}
    engine = (engine if isinstance(engine, Engine) else load_engine(engine)).override(split["engine"], "engine")
    tokens = {"prompt_tokens": prompt_tokens, "output_tokens": output_tokens, "cached_tokens": cached_tokens}
    run = validate(Run, tokens, "run").override(split["run"], "run")
    return build_case(soc, llm, engine, run, dict(overrides or {}))


def make_prefill(llm: LLM, engine: Engine, run: Run) -> Prefill:
    """Build what a run does; `engine.chunk_tokens` is not ``auto``.

    Raises
    ------
    SocsimError
        A chunk is longer than the model's context, or the chunks that the engine lists are not those of the prompt.
    """
    graph, chunks = prefill_graph(llm, engine, run), chunk_plan(engine, run)
    return Prefill(chunks, graph, memory_needs(llm, engine, run, graph, chunks))


def build_case(
    soc: SoC,
    llm: LLM,
    engine: Engine,
    run: Run,
    overrides: Mapping[str, Any],
    prefill: Callable[[LLM, Engine, Run], Prefill] = make_prefill,
) -> Case:
    """Build a case from descriptions that have their overrides already.

    Parameters
    ----------
    soc, llm, engine, run
        Complete descriptions.
    overrides
        What was changed in them, for the record.
    prefill
        Instead of `make_prefill`: a function that remembers what it returned before.

    Raises
    ------
    SocsimError
        A combination is not allowed, or the model does not fit the phone's memory.
    """
    check_processors(soc, engine)
    if engine.chunk_tokens == "auto":
        engine = _choose_chunk_tokens(soc, llm, engine, run, prefill)
    check_fits(llm, engine, soc, run)  # before a graph is built that may be very large
    part = prefill(llm, engine, run)
    check_alternatives(engine, part.graph)
    costs = graph_costs(part.graph, soc, engine, run)
    footprint = memory_footprint(part.needs, llm, soc, run)
    preparation = graph_preparation(llm, engine, soc, part.graph, part.chunks)
    return Case(soc, llm, engine, run, part.chunks, costs, footprint, preparation, power_model(soc, engine, run), overrides)


def _choose_chunk_tokens(soc: SoC, llm: LLM, engine: Engine, run: Run, prefill: Callable[[LLM, Engine, Run], Prefill]) -> Engine:
    """Return the engine with the prebuilt chunk lengths that give the least predicted TTFT: one for all chunks, or one for each.

    A policy that plans by simulation would plan for each that is tried: `lookahead` stands in for it. No slowdown is foreseen.
    """
    judge = "lookahead" if plans(load_scheduler(engine.scheduler)) else None
    alone = run.override({"output_tokens": 1, "slowed_processor": None, "slowed_from_s": 0.0, "slowdown_factor": 1.0}, "run")
    tokens = run.prompt_tokens - run.cached_tokens

    def attempt(chunk_tokens: int | Plan) -> Attempt:
        case = build_case(soc, llm, engine.override({"chunk_tokens": chunk_tokens}, "engine"), alone, {}, prefill)
        plan = tuple(chunk.rows for chunk in case.chunks)
        unknown = run.duration_noise or engine.placement.alternatives  # what the busiest processor has to do
        least_s = 0.0 if unknown else busiest_work_s(case.costs) + case.preparation.charged_s
        return Attempt(plan, mean_chunk_work_s(case.costs), least_s, lambda: run_case(case, judge, peak=False).metrics["ttft_s"] or 0.0)

    return engine.override({"chunk_tokens": best_chunk_tokens(tokens, usable_lengths(llm, engine, tokens), attempt)}, "engine")


def _placed(case: Case, policy: Prepare) -> Case:
    """Return the case with the placement that its policy chooses, if its engine has alternatives: with costs, memory and preparation."""
    soc, llm, engine, run, chunks, listed = case.soc, case.llm, case.engine, case.run, case.chunks, case.costs.graph
    graph = placed_graph(listed, policy, soc, engine, run, lambda other: graph_preparation(llm, engine, soc, other, chunks).charged_s)
    if graph is listed:
        return case
    part = Prefill(chunks, graph, memory_needs(llm, engine, run, graph, chunks))
    moved = sum(one.processor != other.processor for one, other in zip(graph.subgraphs, listed.subgraphs, strict=True))
    return replace(build_case(soc, llm, engine, run, case.overrides, lambda *_: part), moved_subgraphs=moved)


def run_case(case: Case, scheduler: str | Prepare | None = None, *, peak: bool = True) -> Result:
    """Simulate a case under its engine's scheduler, or another one, and summarize it, without the peak power if that is not wanted."""
    scheduler, run = scheduler or case.engine.scheduler, case.run
    case = _placed(case, load_scheduler(scheduler))
    costs = true_costs(case.costs, run)
    timeline = simulate(costs.graph, costs, scheduler, memory=run.memory, seed=run.seed, expected=case.costs)
    return Result(case, timeline, summarize(timeline, case.power, run, case.preparation.charged_s, peak=peak))


def run(
    soc: SoC | str | Path,
    model: LLM | str | Path,
    engine: Engine | str | Path,
    *,
    prompt_tokens: int,
    scheduler: str | Prepare | None = None,
    **options: Any,
) -> Result:
    """Simulate one prompt; `make_case` documents the other options.

    Parameters
    ----------
    scheduler
        A policy's name, ``module:function``, or a ``prepare`` function of your own; default: the engine's.
    """
    named = scheduler if isinstance(scheduler, str) else None  # an automatic chunk length depends on it
    return run_case(make_case(soc, model, engine, prompt_tokens=prompt_tokens, scheduler=named, **options), scheduler)


def compare(
    soc: SoC | str | Path,
    model: LLM | str | Path,
    engines: Iterable[Engine | str | Path],
    *,
    prompt_tokens: int,
    schedulers: Iterable[str | Prepare] = (),
    **options: Any,
) -> list[Result]:
    """Simulate one prompt under several engines and, for each, several schedulers (default: the engine's own)."""
    policies: list[str | Prepare | None] = list(schedulers) or [None]
    planned = [(engine, policy) for engine in engines for policy in policies]
    cases = [
        make_case(soc, model, engine, prompt_tokens=prompt_tokens, scheduler=policy if isinstance(policy, str) else None, **options)
        for engine, policy in planned
    ]
    return [run_case(case, policy) for case, (_, policy) in zip(cases, planned, strict=True)]
