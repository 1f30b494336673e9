"""What bounded a run's prefill: its critical path, its idle gaps, and its TTFT if one resource cost nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from socsim.runs import Result
from socsim.schedulers import Prepare


@dataclass(frozen=True)
class PathRow:
    """Time that one part of one stage on one processor takes on the critical path; `share` is of the makespan."""

    processor: str
    stage: str
    part: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Gap:
    """One idle interval of a processor inside the prefill.

    `waited_for` names the dependency of the next subgraph, `before`, that arrived last, and `waited_for_processor` who
    made it; if that had arrived before the gap began they are ``policy`` and an empty string. `policy_s` is the part of the gap in
    which `before` was ready.
    """

    processor: str
    start_s: float
    duration_s: float
    before: str
    waited_for: str
    waited_for_processor: str
    policy_s: float


@dataclass(frozen=True)
class Explanation:
    """What bounded a prefill.

    `path` holds the rows of the critical path, longest first, and `parts` their sums by part in seconds; both add up to
    `makespan_s`. `without` is the TTFT (s) if one resource cost nothing, by resource; `ttft_s` is the run's own.
    """

    makespan_s: float
    ttft_s: float
    path: tuple[PathRow, ...]
    parts: Mapping[str, float]
    without: Mapping[str, float]
    gaps: tuple[Gap, ...]
    conclusion: str

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as lists, dictionaries, strings and finite numbers, ready for JSON."""
        raise NotImplementedError


def explain(result: Result, scheduler: str | Prepare | None = None) -> Explanation:
    """Explain what bounded a run's prefill.

    Parameters
    ----------
    result
        The run.
    scheduler
        The policy under which it was made, needed only if that was a function of your own; default: by its name.
    """
    raise NotImplementedError
