from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socsim.cli.options import parse_chunk_tokens, parse_overrides, parse_value
from socsim.errors import SocsimError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20e-6", 20e-6),
        ("0.5", 0.5),
        ("1_000", 1000),
        ("true", True),
        ("[32, 64]", [32, 64]),
        ("{a = 1}", {"a": 1}),
        ('"7"', "7"),
        ("battery-rail", "battery-rail"),
        ("my_module:policy", "my_module:policy"),
        ("2024-01-01", "2024-01-01"),
        ("1\nother = 2", "1\nother = 2"),
        ("a = b", "a = b"),
    ],
)
def test_values_are_toml_where_they_can_be(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


@given(st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_as_they_were(number: float) -> None:
    assert parse_value(repr(number)) == number


def test_the_last_value_of_a_path_counts_and_values_may_hold_equals_signs() -> None:
    assert parse_overrides(["run.seed=1", " run.seed = 2 ", "engine.name=a=b"]) == {"run.seed": 2, "engine.name": "a=b"}
    assert parse_overrides(None) == {}


@pytest.mark.parametrize("setting", ["run.seed", "=3", "run.seed=", " = "])
def test_malformed_settings_are_refused(setting: str) -> None:
    with pytest.raises(SocsimError, match="should be PATH=VALUE"):
        parse_overrides([setting])


def test_chunk_tokens() -> None:
    assert [parse_chunk_tokens(text) for text in (None, "auto", "prompt", "128", "256, 64")] == [None, "auto", "prompt", 128, [256, 64]]
    with pytest.raises(SocsimError, match=r"--chunk-tokens 'promt': .*did you mean 'prompt'"):
        parse_chunk_tokens("promt")
    with pytest.raises(
        SocsimError, match=r"--chunk-tokens '256,': allowed: a whole number above 0, several with commas between them, auto,"
    ):
        parse_chunk_tokens("256,")
