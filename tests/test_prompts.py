"""Workloads: the published ones, and those of a user."""

from __future__ import annotations

from pathlib import Path

import pytest

from socsim.errors import SocsimError
from socsim.prompts import Prompt, load_prompts


def test_published_prompts_are_the_middles_of_ranges_rounded_down() -> None:
    assert load_prompts() == [
        Prompt("LongBench-2wikimqa", 1561, 3, 1.0),
        Prompt("LongBench-TriviaQA", 1649, 8, 1.0),
        Prompt("DroidTask-clock-A", 741, 3, 1.0),
        Prompt("DroidTask-clock-B", 575, 4, 1.0),
        Prompt("Persona-Chat", 536, 46, 1.0),
    ]


def test_own_prompts_have_weights_and_answers_where_the_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("name,prompt_tokens,output_tokens,weight\nchat,200,40,2.5\n,1000,,\n")
    assert load_prompts(file) == [Prompt("chat", 200, 40, 2.5), Prompt("1000 tokens", 1000, 1, 1.0)]
    file.write_text("prompt_tokens\n64\n")
    assert load_prompts(str(file)) == [Prompt("64 tokens", 64, 1, 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt_tokens,weight\n64,0\n", r"mine\.csv:2: field 'weight': should be a number above 0, not '0'$"),
        ("prompt_tokens,weight\n64,inf\n", r"not 'inf'$"),
        ("prompt_tokens,weight\n64,heavy\n", r"not 'heavy'$"),
        ("prompt_tokens\n-1\n", r"mine\.csv:2: field 'prompt_tokens': should be a whole number from 1 to 1000000000, not '-1'$"),
        ("prompt_tokens,output_tokens\n64,0\n", r"field 'output_tokens': should be a whole number from 1"),
        ("prompt_token\n64\n", r"unknown column 'prompt_token' \(did you mean 'prompt_tokens'\?\); allowed: prompt_tokens, name"),
    ],
)
def test_bad_files_name_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(SocsimError, match=message):
        load_prompts(tmp_path / "mine.csv")


def test_an_unknown_name_lists_what_is_shipped() -> None:
    with pytest.raises(
        SocsimError, match=r"^unknown workload 'table5' .*allowed: llm_npu_table5_prompts$|^unknown workload 'table5'; allowed"
    ):
        load_prompts("table5")
