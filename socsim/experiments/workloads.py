"""The workloads of the paper (Xu et al. 2025, Table 5), each as one prompt and one answer."""

from __future__ import annotations

from typing import NamedTuple

from socsim.measurements import load_table

TABLE = "llm_npu_table5_prompts"


class Workload(NamedTuple):
    """A prompt and an answer that stand for all of a data set."""

    name: str
    prompt_tokens: int
    output_tokens: int


def load_workloads() -> list[Workload]:
    """Return the workloads: the middle of each published range of lengths, halves rounded down, as in ``traces/README.md``."""
    return [Workload(row["dataset"], _middle(row, "prompt_tokens"), _middle(row, "output_tokens")) for row in load_table(TABLE)]


def _middle(row: dict[str, str], column: str) -> int:
    return (int(row[f"{column}_min"]) + int(row[f"{column}_max"])) // 2
