"""Short ways to the task graphs of real models."""

from __future__ import annotations

from typing import Any

from socsim.catalog import load_engine, load_model
from socsim.graph import TaskGraph
from socsim.specs import LLM, Engine, Run
from socsim.workload import prefill_graph


def llm_npu(**changes: Any) -> Engine:
    """Return llm.npu without shadow outliers, unless they are asked for."""
    return load_engine("llm-npu").override({"outlier_pruning_rate": 1.0} | changes, "engine")


def shallow(model: str, layers: int) -> LLM:
    return load_model(model).override({"num_hidden_layers": layers}, "model")


def graph(model: str | LLM, engine: Engine, **run: int) -> TaskGraph:
    return prefill_graph(load_model(model) if isinstance(model, str) else model, engine, Run(**run))


def total_ops(task_graph: TaskGraph) -> int:
    return sum(subgraph.work.ops for subgraph in task_graph.subgraphs)
