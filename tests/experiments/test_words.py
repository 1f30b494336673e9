"""Numbers and histories in words."""

from __future__ import annotations

from socsim.experiments.words import changes, span


def test_span_is_one_number_where_both_look_alike() -> None:
    assert span([1.004, 0.996]) == "1.00"
    assert span(iter([1.25, 0.5, 0.75])) == "0.50 to 1.25"
    assert span([3, 4, 3], 0) == "3 to 4"
    assert span([0.0, -0.4], 0) == "0"


def test_changes_are_told_with_where_they_begin() -> None:
    assert changes([("1", "NPU"), ("2", "NPU"), ("4", "CPU"), ("8", "NPU")]) == "NPU, then CPU from 4 on, then NPU from 8 on"
    assert changes([("1", "NPU")]) == "NPU"
