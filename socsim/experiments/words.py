"""Numbers and histories in words, as conclusions say them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise


def span(values: Iterable[float], digits: int = 2) -> str:
    """Return the least and the largest of some numbers as text, with so many decimals, or both in one where they look alike."""
    rising = sorted(values)
    return " to ".join(dict.fromkeys(f"{value:z.{digits}f}" for value in (rising[0], rising[-1])))


def changes(steps: Sequence[tuple[str, str]]) -> str:
    """Say how something changes along some places, each given with what it is there: ``NPU, then DRAM from x2 on``."""
    told = [steps[0][1]]
    told += [f"then {after} from {where} on" for (_, before), (where, after) in pairwise(steps) if after != before]
    return ", ".join(told)
