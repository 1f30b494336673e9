"""Remember what runs do, so that many runs that have it in common build it once."""

from __future__ import annotations

from socsim.runs import Prefill, make_prefill
from socsim.specs import LLM, Engine, Run
from socsim.workload import chunk_plan

REMEMBERED_SUBGRAPHS = 200_000
"""Subgraphs that are remembered: those of some 200 prompts of 1,024 tokens."""
WITHOUT_EFFECT = {"name", "description", "scheduler", "prebuilt_chunk_tokens"}
"""Fields of an engine on which a prefill does not depend once its chunks are known."""


class Prefills:
    """Does what `socsim.runs.make_prefill` does, once for all runs alike, as long as not too many others come between."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Prefill] = {}

    def __call__(self, llm: LLM, engine: Engine, run: Run) -> Prefill:
        """Return what a run does."""
        described = (llm.model_dump_json(), engine.model_dump_json(exclude=WITHOUT_EFFECT), run.model_dump_json())
        key = (*described, chunk_plan(engine, run))
        prefill = self._known.pop(key, None) or make_prefill(llm, engine, run)
        self._known[key] = prefill  # the last used is the last
        while len(self._known) > 1 and sum(len(each.graph) for each in self._known.values()) > REMEMBERED_SUBGRAPHS:
            del self._known[next(iter(self._known))]
        return prefill
