"""Constraints: the same as Python's own evaluation point by point, and refused in one line where they say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from socsim.errors import SocsimError
from socsim.sweeps.constraints import Constraint

NUMBERS = st.sampled_from(["a", "b", "n", "soc.dram.x", "3", "0.5", "7"])
TRUTHS = st.sampled_from(["t", "name == 'fifo'", "'fifo' != name", "name == other", "a < n <= 9", "name < 'g'"])


def _joined(numbers: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(numbers, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), numbers)
    calls = st.tuples(st.sampled_from(["min", "max"]), numbers, numbers)
    return st.one_of(
        pairs.map(lambda pair: "({} {} {})".format(*pair)),
        calls.map(lambda call: "{}({}, {})".format(*call)),
        numbers.map(lambda number: f"abs(-{number})"),
    )


def _combined(truths: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(truths, st.sampled_from(["and", "or"]), truths)
    sums = st.tuples(truths, truths)
    return st.one_of(
        pairs.map(lambda pair: "({} {} {})".format(*pair)),
        truths.map(lambda truth: f"(not {truth})"),
        sums.map(lambda pair: "(({}) + ({}) <= 1)".format(*pair)),
    )


ARITHMETIC = st.recursive(NUMBERS, _joined, max_leaves=5)
COMPARISONS = st.tuples(ARITHMETIC, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), ARITHMETIC).map(" ".join)
EXPRESSIONS = st.recursive(COMPARISONS | TRUTHS, _combined, max_leaves=5)
POINT = st.fixed_dictionaries(
    {
        "a": st.sampled_from([-2.0, 0.0, 0.25, 1.5, 3.0]),
        "b": st.integers(-3, 9),
        "n": st.integers(0, 12),
        "soc.dram.x": st.sampled_from([1.0, 2.0, 64.0]),
        "t": st.booleans(),
        "name": st.sampled_from(["fifo", "in-order"]),
        "other": st.sampled_from(["fifo", "out-of-order"]),
    }
)


def arrays(points: list[dict[str, Any]]) -> dict[str, Any]:
    types = {float: np.float64, int: np.int64, bool: np.bool_, str: object}
    return {name: np.array([point[name] for point in points], dtype=types[type(points[0][name])]) for name in points[0]}


def by_python(text: str, point: dict[str, Any]) -> Any:
    names = {name.replace(".", "_"): value for name, value in point.items()}
    try:
        return eval(text.replace("soc.dram.x", "soc_dram_x"), {"__builtins__": {}, "min": min, "max": max, "abs": abs}, names)
    except (ZeroDivisionError, OverflowError, TypeError):  # Python has no infinities, and complex roots
        return None


@given(EXPRESSIONS, st.lists(POINT, min_size=1, max_size=6))
def test_what_holds_is_what_python_says_point_by_point(text: str, points: list[dict[str, Any]]) -> None:
    constraint = Constraint(text, "here")
    found = constraint.holds(arrays(points), len(points))
    for place, point in enumerate(points):
        expected = by_python(text, point)
        if expected is None or "**" in text:  # float powers are rounded in another way than those of whole numbers
            continue
        assert found[place] == expected, (text, point)
        alone = constraint.holds(point, 1)  # as fields that are no axes are: one value, no array
        assert alone.tolist() == [expected], (text, point)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n ** 40 > 1e30", [False, True]),  # 64 bits would wrap around
        ("n ** -1 == 0.1", [False, True]),
        ("n // 3 == 3", [False, True]),
        ("n % 3 == 1", [True, True]),
        ("-n < -5", [False, True]),
        ("9 ** 9 ** 9 > 1", [True, True]),
        ("1 / (n - 1) > 5", [True, False]),  # infinite
        ("(n - 1) % (n - 1) == 0", [False, True]),  # 0 % 0 is no number
        ("(n > 0) + (n > 1) + (n > 2) == 3", [False, True]),
        ("-(n > 1) < 0", [False, True]),
        ("max(n > 1, n > 100) == 1", [False, True]),
        ("1 < 2", [True, True]),
        ("not n > 1", [True, False]),
        ("min(n, 2) == n", [True, False]),
    ],
)
def test_arithmetic_at_its_edges(text: str, expected: list[bool]) -> None:
    assert Constraint(text, "here").holds({"n": np.array([1, 10])}, 2).tolist() == expected


def test_behind_and_and_or_only_what_matters_is_computed() -> None:
    chunks = np.array([16, "auto", 64], dtype=object)
    assert Constraint("chunk == 'auto' or chunk <= 32", "here").holds({"chunk": chunks}, 3).tolist() == [True, True, False]
    assert Constraint("chunk != 'auto' and chunk > 32", "here").holds({"chunk": chunks}, 3).tolist() == [False, False, True]
    assert Constraint("chunk == 'auto' or chunk == 'x' and chunk > 1", "here").holds({"chunk": chunks}, 3).tolist() == [False, True, False]


def test_no_points_are_no_answers() -> None:
    empty = {"n": np.array([], dtype=np.int64), "name": np.array([], dtype=object)}
    assert Constraint("n > 1 and name == 'a' or not n < 3", "here").holds(empty, 0).tolist() == []


def test_names_are_those_of_the_expression_with_their_dots() -> None:
    assert Constraint("min(b, soc.dram.x) < a and not 'c' == d.e", "here").names == ["a", "b", "d.e", "soc.dram.x"]


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("f(a) < 1", "f(a)"),
        ("a[0] < 1", "a[0]"),
        ("a in (1, 2)", "a in (1, 2)"),
        ("a is 1", "a is 1"),
        ("lambda: 3", "lambda: 3"),
        ("min(a) < 1", "min(a)"),
        ("min(a, b=1) < 1", "min(a, b=1)"),
        ("abs(a, b) < 1", "abs(a, b)"),
        ("a if b else c", "a if b else c"),
        ("(a := 1) < 2", "(a := 1)"),
        ("__import__('os').x < 1", "__import__('os').x"),
        ("a < None", "None"),
        ("a < 1j", "1j"),
        ("a @ b < 1", "a @ b"),
        ("~a < 1", "~a"),
        ("[a] == b", "[a]"),
    ],
)
def test_what_is_not_allowed_is_named(text: str, culprit: str) -> None:
    with pytest.raises(SocsimError) as caught:
        Constraint(text, "my.toml")
    assert str(caught.value).startswith(f"my.toml: constraint '{text}' has '{culprit}' in it; allowed: names, numbers, 'text'")


@pytest.mark.parametrize("text", ["a <", "", "a = 1", "a 1", "import os", "a.8 < 3", "\0"])
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(SocsimError, match="is no expression; allowed: names, numbers"):
        Constraint(text, "my.toml")


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["n"] * 3000) + " > 1",
        "+".join(["n"] * 101) + " > 1",
        "not " * 5000 + "t",
        "not " * 900 + "t",
        "-" * 100_000 + "n > 1",
        f"f({'not ' * 900}t)",
        ".".join(["n"] * 3000) + " > 1",
    ],
)
def test_deep_expressions_are_one_line(text: str) -> None:
    with pytest.raises(SocsimError, match=r"is nested too deeply: .*; allowed: 100 levels, or several constraints$") as caught:
        Constraint(text, "my.toml")
    assert str(caught.value).startswith(f"my.toml: constraint '{text[:80]}...' is nested")


def test_long_expressions_that_are_not_deep() -> None:
    values = {"n": np.array([1, 2])}
    assert Constraint("+".join(["n"] * 95) + " > 95", "here").holds(values, 2).tolist() == [False, True]
    assert Constraint(" and ".join(["n > 1"] * 5000), "here").holds(values, 2).tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("n", "should be true or false, such as 'a <= 2 [*] b'"),
        ("n + 1", "should be true or false"),
        ("name", "should be true or false"),
        ("not n", "cannot be computed: a number or a text stands where something true or false should"),
        ("n and n > 1", "cannot be computed: a number or a text stands where"),
        ("name or n > 1", "cannot be computed: a number or a text stands where"),
        ("name < 3", "cannot be computed: a text or an empty field stands where a number should"),
        ("'fifo' < 3", "cannot be computed: a text or an empty field"),
        ("name * n < 3.5", "cannot be computed: a text or an empty field"),
        ("abs(name) < 3", "cannot be computed: a text or an empty field"),
        ("empty <= 5", "cannot be computed: a text or an empty field"),
    ],
)
def test_what_is_neither_true_nor_false(text: str, problem: str) -> None:
    values = {"n": np.array([1, 2]), "name": np.array(["a", "b"], dtype=object), "empty": np.array([None, 3], dtype=object)}
    with pytest.raises(SocsimError, match=problem) as caught:
        Constraint(text, "my.toml").holds(values, 2)
    assert str(caught.value).startswith(f"my.toml: constraint '{text}' ")
