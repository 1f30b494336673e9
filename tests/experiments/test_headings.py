"""What columns are called."""

from __future__ import annotations

import pytest

from socsim.experiments.headings import heading


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("prefill_tokens_per_s", "prefill (tokens/s)"),
        ("published_prefill_energy_j", "published prefill energy (J)"),
        ("npu_bubble_rate", "NPU bubble rate"),
        ("ttft_s", "TTFT (s)"),
        ("soc", "phone"),
        ("error_percent", "error (%)"),
        ("latency_ms_per_token", "latency (ms/token)"),
        ("prompt_tokens", "prompt (tokens)"),
        ("s", "s"),
    ],
)
def test_heading(column: str, name: str) -> None:
    assert heading(column) == name
