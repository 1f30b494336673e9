"""What the tour says of speed-ups, against times that were made up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from scripts import load_script


def result(name: str, ttft_s: float, bubbles: float = 0.0) -> Any:
    record = dict.fromkeys(load_script("demo")["SHOWN"], 1.0)
    return SimpleNamespace(record=record | {"engine": name, "scheduler": name, "ttft_s": ttft_s, "npu_bubble_rate": bubbles})


def test_speed_up_is_over_the_first() -> None:
    rows = load_script("demo")["rows_of"]([result("slow", 6.0), result("fast", 1.5), result("slower", 12.0)])
    assert [(row["engine"], row["speed_up"]) for row in rows] == [("slow", 1.0), ("fast", 4.0), ("slower", 0.5)]


@pytest.mark.parametrize(("fifo_s", "best", "factor"), [(2.0, "fifo", "1.50"), (2.9, "out-of-order", "1.20")])
def test_what_overlap_brings(fifo_s: float, best: str, factor: str) -> None:
    times = {"sequential": (4.5, 0.5), "in-order": (3.0, 0.25), "fifo": (fifo_s, 0.125), "out-of-order": (2.5, 0.1)}
    said = load_script("demo")["overlap"]({name: result(name, *each) for name, each in times.items()})
    assert said == (
        "Naive overlap makes the prefill 1.50 times as fast as no overlap, out-of-order issue 1.20 times as fast as naive overlap; of "
        f"the schedulers, {best} is the fastest ({factor} times). "
        "NPU bubble rates: sequential 50.0 %, in-order 25.0 %, fifo 12.5 %, out-of-order 10.0 %."
    )
