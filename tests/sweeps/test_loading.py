"""Bad sweeps of every kind are refused in one line that names file, field and value, and what is allowed; good ones are read from files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import BASE, CHUNKS, plan, rows, spec

from socsim.catalog import load_engine, load_model, load_soc
from socsim.errors import SocsimError
from socsim.specs import Run
from socsim.sweeps import Plan, load_plan

ROOT = Path(__file__).parents[2]
RANGE: dict[str, Any] = {"path": "chunk_tokens", "start": 16, "stop": 64}
SPEED = "soc.processors.npu.speed"


def refused(given: Any) -> str:
    with pytest.raises(SocsimError) as caught:
        load_plan(given)
    message = str(caught.value)
    assert "\n" not in message
    assert "np." not in message
    return message


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        # fields of an axis
        ({"path": "chunk_tokens", "vals": [1]}, ["unknown field 'axes.0.vals' (did you mean 'values'?)"]),
        ({"path": 3, "values": [1]}, ["field 'axes.0.path'", "valid string", "not 3"]),
        ({"path": [], "values": [1]}, ["field 'axes.0.path'", "at least 1 item"]),
        ({"values": [1]}, ["field 'axes.0.path' is missing"]),
        ({"path": "chunk_tokens"}, ["axes.0: an axis needs either values, or start and stop"]),
        (RANGE | {"values": [1]}, ["axes.0: an axis needs either values, or start and stop"]),
        ({"path": "chunk_tokens", "start": 3, "points": 2}, ["axes.0: a range needs start and stop, which differ, not 3 and None"]),
        (RANGE | {"stop": 16, "points": 2}, ["which differ, not 16 and 16"]),
        (RANGE | {"points": 1}, ["field 'axes.0.points'", "greater than or equal to 2, not 1"]),
        (RANGE | {"points": 10**12}, ["field 'axes.0.points'", "less than or equal to 10000000"]),
        (RANGE | {"points": 2, "spacing": "logg"}, ["field 'axes.0.spacing'", "'linear' or 'log'", "(did you mean 'log'?)"]),
        (RANGE | {"points": 2, "spacing": "log", "start": 0}, ["spacing 'log' needs both ends above 0, not 0 and 64"]),
        (RANGE, ["axis 'chunk_tokens' is a range without points: give it points, or say in [sample]"]),
        (CHUNKS | {"points": 3}, ["axes.0: points goes with start and stop"]),
        (CHUNKS | {"values": []}, ["field 'axes.0.values'", "at least 1 item"]),
        (CHUNKS | {"values": 3}, ["field 'axes.0.values'", "not 3"]),
        (CHUNKS | {"values": [16, 16]}, ["axes.0: values has one twice: [16, 16]"]),
        ({"path": SPEED, "values": [1, 1.0]}, ["axes.0: values has one twice: [1, 1.0]"]),
        (CHUNKS | {"values": [[[1]]]}, ["field 'axes.0.values.0", "a table or list"]),
        (CHUNKS | {"name": "a b"}, ["field 'axes.0.name'", "pattern", "'a b'"]),
        (CHUNKS | {"name": "8"}, ["field 'axes.0.name'"]),
        (CHUNKS | {"link": "x"}, ["only one axis has the link 'x'; give it to another one"]),
        # numbers that no column holds
        ({"path": SPEED, "values": [float("inf")]}, ["axes.0.values.0: inf is no finite number"]),
        ({"path": SPEED, "values": [1, float("nan")]}, ["axes.0.values.1: nan is no finite number"]),
        (CHUNKS | {"values": [float("inf")], "relative": True}, ["inf is no finite number"]),
        ({"path": SPEED, "start": 1, "stop": float("inf"), "points": 3}, ["axes.0.stop: inf is no finite number"]),
        (CHUNKS | {"values": [2**63]}, [f"axes.0.values.0: {2**63} is no finite number of at most 64 bits"]),
        (CHUNKS | {"values": [[-(2**64)]]}, [f"{-(2**64)} is no finite number"]),
        (RANGE | {"stop": 10**20, "points": 3}, [f"axes.0.stop: {10**20} is no"]),
        # paths
        (CHUNKS | {"path": "soc.processors.npu.sped"}, ["axis 'soc.processors.npu.sped': soc: unknown field", "(did you mean 'speed'?)"]),
        (CHUNKS | {"path": "soc.procesors.npu.speed"}, ["soc.procesors: no such field (did you mean 'processors'?); allowed: description"]),
        (RANGE | {"path": "soc.processors.npu.sped", "points": 2}, [f"'soc.processors.npu.sped' (did you mean '{SPEED}'?)"]),
        (CHUNKS | {"path": "soc.dram.pek", "relative": True}, ["unknown field 'soc.dram.pek' (did you mean 'soc.dram.peak_bytes_per_s'?)"]),
        (CHUNKS | {"path": "sok.dram"}, ["unknown path 'sok.dram'", "allowed: cached_tokens, chunk_tokens, engine, engine.FIELD"]),
        (CHUNKS | {"path": "cached_token"}, ["unknown path 'cached_token' (did you mean 'cached_tokens'?)"]),
        (CHUNKS | {"path": "shedule"}, ["unknown path 'shedule' (did you mean 'scheduler'?)"]),
        (CHUNKS | {"path": ""}, ["unknown path ''"]),
        (CHUNKS | {"path": "soc."}, ["unknown path 'soc.' (did you mean 'soc'?)"]),
        (CHUNKS | {"path": "run"}, ["unknown path 'run' (did you mean 'run.FIELD'?)"]),
        (CHUNKS | {"path": "soc..dram"}, ["axis 'soc..dram'", "no such field"]),
        (CHUNKS | {"path": "engine.prebuilt_chunk_tokens.9"}, ["engine.prebuilt_chunk_tokens is a list of 4; allowed: 0 to 3"]),
        (CHUNKS | {"path": "run.seed.x"}, ["run.seed has no fields of its own"]),
        (CHUNKS | {"path": ["chunk_tokens", "engine.prebuilt"]}, ["axis 'chunk_tokens': engine: unknown field 'prebuilt'"]),
        # values
        (CHUNKS | {"values": [16, "autoo"]}, ["axis 'chunk_tokens': engine: field 'chunk_tokens'", "not 'autoo' (did you mean 'auto'?)"]),
        (CHUNKS | {"values": [16, 0]}, ["field 'chunk_tokens': input should be greater than 0", "not 0"]),
        (CHUNKS | {"values": [16.5]}, ["field 'chunk_tokens'", "not 16.5"]),
        (CHUNKS | {"values": [True]}, ["field 'chunk_tokens': input should be a number, or input should be 'auto' or 'prompt', not True"]),
        ({"path": SPEED, "values": [False, True]}, ["field 'processors.npu.speed': input should be a number, not False"]),
        ({"path": "engine.prebuilt_chunk_tokens", "values": [[16, True]]}, ["field 'prebuilt_chunk_tokens.1': input should be a number"]),
        ({"path": SPEED, "start": True, "stop": 2, "points": 2}, ["field 'axes.0.start': input should be a number, not True"]),
        ({"path": SPEED, "values": ["fast"]}, [f"axis '{SPEED}': soc: field 'processors.npu.speed'", "not 'fast'"]),
        ({"path": SPEED, "start": -1, "stop": 4, "points": 3}, ["'processors.npu.speed': input should be greater than 0, not -1"]),
        ({"path": "engine.outlier_pruning_rate", "values": ["null"]}, ["'outlier_pruning_rate': input should be a valid number, not None"]),
        ({"path": "engine.outlier_pruning_rate", "start": 0.0, "stop": 2.0, "points": 3}, ["less than or equal to 1, not 2.0"]),
        ({"path": "engine.prebuilt_chunk_tokens", "values": [[32, "x"]]}, ["field 'prebuilt_chunk_tokens.1'", "not 'x'"]),
        ({"path": "run.memory", "values": ["shard"]}, ["run: field 'memory'", "not 'shard' (did you mean 'shared'?)"]),
        ({"path": "prompt_tokens", "values": [0]}, ["axis 'prompt_tokens': run: field 'prompt_tokens'", "not 0"]),
        (
            {"path": "soc.processors.npu.throughput.int8.overhead_s", "values": [-1]},
            ["processors.npu.throughput.int8.overhead_s'", "not -1"],
        ),
        ({"path": SPEED, "values": [-1.0], "relative": True}, ["processors.npu.speed'", "not -1.0"]),
        ({"path": "scheduler", "values": ["fifo", "fif"]}, ["unknown scheduler 'fif' (did you mean 'fifo'?)", "module:function"]),
        ({"path": "scheduler", "values": ["nowhere:f"]}, ["scheduler 'nowhere:f': cannot import module 'nowhere'"]),
        ({"path": "scheduler", "values": ["json:f"]}, ["scheduler 'json:f': module 'json' has no 'f'"]),
        ({"path": "scheduler", "values": [3]}, ["axis 'scheduler': engine: field 'scheduler': input should be a valid string, not 3"]),
        # factors
        (
            {"path": "engine.scheduler", "values": [1.0], "relative": True},
            ["'engine.scheduler' is 'out-of-order', not a number that factors"],
        ),
        ({"path": "engine.merge_adjacent", "values": [2], "relative": True}, ["'engine.merge_adjacent' is False, not a number"]),
        ({"path": "soc.processors.npu.spill_bytes_per_s", "values": [2], "relative": True}, ["is None, not a number that factors"]),
        ({"path": "engine.prebuilt_chunk_tokens", "values": [2], "relative": True}, ["is [", "], not a number that factors"]),
        (CHUNKS | {"values": ["auto"], "relative": True}, ["axes.0: a relative axis takes numbers, which are factors"]),
        (CHUNKS | {"values": [True], "relative": True}, ["axes.0: a relative axis takes numbers"]),
        # whole descriptions
        ({"path": "soc", "values": ["toy-phon"]}, ["unknown SoC 'toy-phon' (did you mean 'toy-phone'?); allowed: snapdragon"]),
        ({"path": "model", "values": ["gema-2b"]}, ["unknown model 'gema-2b' (did you mean 'gemma-2b'?)"]),
        ({"path": "engine", "values": ["llm-np"]}, ["unknown engine 'llm-np' (did you mean 'llm-npu'?)"]),
        ({"path": "engine", "values": ["nowhere.toml"]}, ["nowhere.toml"]),
        ({"path": "soc", "values": [1]}, ["axis 'soc': takes names or files as values, not 1"]),
        ({"path": "soc", "values": [True]}, ["axis 'soc': takes names or files as values, not True"]),
        ({"path": "soc", "start": 1, "stop": 2, "points": 2}, ["axis 'soc': takes names or files as values, not a range"]),
        ({"path": "soc", "values": [1.0], "relative": True}, ["axis 'soc': takes names or files as values, not 1.0"]),
        # columns
        (CHUNKS | {"name": "ttft_s"}, ["axis 'ttft_s': is the name of another column; not allowed: point, status, error, ttft_s, peak"]),
        (CHUNKS | {"name": "status"}, ["axis 'status': is the name of another column"]),
        (CHUNKS | {"name": "point"}, ["axis 'point': is the name of another column"]),
    ],
)
def test_bad_axes(axis: dict[str, Any], words: list[str]) -> None:
    message = refused(spec(axis))
    assert message.startswith("sweep: ")
    for word in words:
        assert word in message


SAMPLE = {"method": "random", "points": 4}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (spec(axis=[]), ["unknown field 'axis' (did you mean 'axes'?); allowed: axes, base, constraints"]),
        ({"base": BASE}, ["field 'axes' is missing"]),
        ({"axes": [CHUNKS]}, ["field 'base' is missing"]),
        (spec() | {"axes": []}, ["field 'axes'", "at least 1 item"]),
        (spec() | {"axes": {"path": "x"}}, ["field 'axes'"]),
        (spec(base={"promt_tokens": 3}), ["unknown field 'base.promt_tokens' (did you mean 'prompt_tokens'?)"]),
        (spec(base={"prompt_tokens": "many"}), ["field 'base.prompt_tokens'", "not 'many'"]),
        (spec(base={"chunk_tokens": -1}), ["field 'base.chunk_tokens'", "greater than 0", "'auto' or 'prompt'", "not -1"]),
        (spec(base={"soc": "toyphone"}), ["unknown SoC 'toyphone' (did you mean 'toy-phone'?)"]),
        (spec(base={"scheduler": "fif"}), ["unknown scheduler 'fif' (did you mean 'fifo'?)"]),
        (spec(base={"set": {"engine.outlier_pruning_rat": 0}}), ["base: engine: unknown field 'outlier_pruning_rat' (did you mean"]),
        (spec(base={"set": {"engine.outlier_pruning_rate": 3}}), ["base: engine: field 'outlier_pruning_rate'", "not 3"]),
        (spec(base={"set": {"engine": {"outlier_pruning_rat": 3}}}), ["base: engine: unknown field 'outlier_pruning_rat'"]),
        (spec(base={"set": {"sok.a": 0}}), ["unknown path 'sok.a'; allowed: cached_tokens"]),
        (spec(base={"set": {"soc": "toy-phone"}}), ["unknown path 'soc' (did you mean 'soc.FIELD'?)"]),
        (spec(base={"set": 3}), ["field 'base.set'", "not 3"]),
        (spec(base={"chunk_tokens": 16, "set": {"engine.chunk_tokens": 32}}), ["base and base.set both have 'engine.chunk_tokens'"]),
        (spec(base={"prompt_tokens": True}), ["field 'base.prompt_tokens': input should be a number, not True"]),
        (
            spec(CHUNKS | {"path": "engine.prebuilt_chunk_tokens.2"}, base={"set": {"engine.prebuilt_chunk_tokens": [100, 200]}}),
            ["axis 'engine.prebuilt_chunk_tokens.2': engine.", "engine.prebuilt_chunk_tokens is a list of 2; allowed: 0 to 1"],
        ),
        (
            spec({"path": "engine.prebuilt_chunk_tokens", "values": [[16]]}, base={"set": {"engine.prebuilt_chunk_tokens.0": 8}}),
            ["an axis sets all of 'engine.prebuilt_chunk_tokens', so 'engine.prebuilt_chunk_tokens.0' cannot be set, too"],
        ),
        (
            spec({"path": "engine.prebuilt_chunk_tokens.0", "values": [8]}, {"path": "engine.prebuilt_chunk_tokens", "values": [[16]]}),
            ["an axis sets all of 'engine.prebuilt_chunk_tokens', so"],
        ),
        (
            spec(constraints=["engine.prebuilt_chunk_tokens == 1"], base={"set": {"engine.prebuilt_chunk_tokens": [100, 200]}}),
            ["'engine.prebuilt_chunk_tokens' has fields of its own"],
        ),
        (spec(metrics=["ttft"]), ["unknown metric 'ttft' (did you mean 'ttft_s'?); allowed: activation_bytes"]),
        (spec(metrics=["ttft_s", "ttft_s"]), ["metrics has one twice: ttft_s, ttft_s"]),
        (spec(metrics="ttft_s"), ["field 'metrics'"]),
        (spec(metrics=["chunk_tokens"]), ["axis 'chunk_tokens': is the name of another column"]),
        (spec(CHUNKS | {"name": "npu_utilization"}, metrics=[]), ["axis 'npu_utilization': is the name of another column"]),
        (spec(CHUNKS, CHUNKS), ["two axes have the column 'chunk_tokens'"]),
        (spec(CHUNKS | {"name": "x"}, {"path": "prompt_tokens", "name": "x", "values": [8]}), ["two axes have the column 'x'"]),
        (spec(CHUNKS, CHUNKS | {"name": "x"}), ["two axes have the path 'chunk_tokens'"]),
        (spec(CHUNKS, CHUNKS | {"path": "engine.chunk_tokens"}), ["two axes set 'engine.chunk_tokens'"]),
        (
            spec(CHUNKS | {"link": "pair"}, {"path": "prompt_tokens", "values": [8, 9, 10], "link": "pari"}),
            ["only one axis has the link 'pair' (did you mean 'pari'?)"],
        ),
        (spec(sample=SAMPLE), ["sample has nothing to draw: every axis has values or points"]),
        (spec(RANGE, sample=SAMPLE | {"method": "randm"}), ["field 'sample.method'", "not 'randm' (did you mean 'random'?)"]),
        (spec(RANGE, sample=SAMPLE | {"points": 0}), ["field 'sample.points'", "not 0"]),
        (spec(RANGE, sample=SAMPLE | {"points": 10**9}), ["field 'sample.points'", "less than or equal to 10000000"]),
        (spec(RANGE, sample={"method": "sobol", "points": 6}), ["'sobol' needs a power of 2 as points, not 6; nearest: 4 or 8"]),
        (spec(RANGE, sample={"method": "saltelli", "points": 7}), ["'saltelli' needs a power of 2 as points, not 7; nearest: 4 or 8"]),
        (spec(RANGE | {"link": "x"}, sample=SAMPLE), ["axes.0: a sampled range cannot be linked"]),
        (spec(constraints=["chunk_tokens < "]), ["constraint 'chunk_tokens < ' is no expression"]),
        (spec(constraints="chunk_tokens < 3"), ["field 'constraints'"]),
    ],
)
def test_bad_sweeps(given: dict[str, Any], words: list[str]) -> None:
    message = refused(given)
    assert message.startswith("sweep: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("field", ["soc", "model", "engine", "prompt_tokens"])
def test_what_the_base_must_have(field: str) -> None:
    without = spec() | {"base": {name: value for name, value in BASE.items() if name != field}}
    assert refused(without) == f"sweep: field 'base.{field}' is missing, and no axis sets it"
    axis = {"path": field, "values": [BASE[field]]}
    assert rows(load_plan(without | {"axes": [axis]})) == [(BASE[field],)]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ({"path": "engine.merge_adjacent", "values": [True, False]}, [True, False]),
        ({"path": "soc.processors.npu.spill_bytes_per_s", "values": ["null", 1e9]}, [None, 1e9]),
        ({"path": "engine.prebuilt_chunk_tokens", "values": [[32, 64], [64, 128]]}, [[32, 64], [64, 128]]),
        ({"path": "engine.prebuilt_chunk_tokens.0", "values": [16, 24]}, [16, 24]),
        ({"path": ["engine.chunk_tokens", "prompt_tokens"], "values": [16, 24]}, [16, 24]),
        ({"path": "scheduler", "values": ["socsim.schedulers:fifo"]}, ["socsim.schedulers:fifo"]),
        ({"path": "chunk_tokens", "values": [16, "auto", "prompt"]}, [16, "auto", "prompt"]),
        ({"path": "chunk_tokens", "values": [[48, 16], [16, 48], 32]}, [[48, 16], [16, 48], 32]),
        ({"path": "soc.processors.npu.throughput.int8.overhead_s", "values": [0, 1e-3]}, [0.0, 1e-3]),
        ({"path": "soc.processors.npu.speed", "values": [2, 3]}, [2, 3]),
    ],
)
def test_good_axes(axis: dict[str, Any], expected: list[Any]) -> None:
    assert [value for (value,) in rows(plan(axis))] == expected


def test_items_are_those_of_the_list_that_the_base_has() -> None:
    lists = {"engine.prebuilt_chunk_tokens": [1, 2, 3, 4, 5, 6], "engine.prebuilt_chunk_tokens.5": 7}
    axis = {"path": "engine.prebuilt_chunk_tokens.4", "values": [16, 24]}
    for given in (lists, dict(reversed(lists.items()))):  # a list goes before its items, as in the text of a plan
        made = plan(axis, base={"set": given})
        assert rows(made) == [(16,), (24,)]
        assert made.field("engine", "llm-npu", "prebuilt_chunk_tokens") == [1, 2, 3, 4, 5, 7]
        assert Plan.from_json(made.to_json()).settings("engine") == made.settings("engine")


def test_rules_between_fields_are_for_points() -> None:
    cached = {"path": "cached_tokens", "values": [0, 100]}  # above the base's prompt, which another axis makes longer
    assert len(rows(plan(cached, {"path": "prompt_tokens", "values": [101, 200]}))) == 4


@pytest.mark.parametrize(
    "name", [f"{kind}/{name}" for kind, name in (("soc", "toy-phone"), ("soc", "snapdragon-8-gen-3"))] + ["engine/llm-npu"]
)
def test_no_field_takes_what_it_should_not(name: str) -> None:
    kind, _, which = name.partition("/")
    described = {"soc": load_soc, "engine": load_engine}[kind](which)
    for path, value in leaves(described.model_dump(mode="json")):
        described.check_value(path, value, "here")
        with pytest.raises(SocsimError, match=rf"^here: .*'{re.escape(path)}.*not a table or list"):
            described.check_value(path, [["x"]], "here")


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from leaves(child, f"{path}.{key}".lstrip("."))
    elif not isinstance(node, (dict, list)):
        yield path, node


def test_checks_of_one_value_leave_out_rules_between_fields() -> None:
    run = Run(prompt_tokens=10)
    run.check_value("cached_tokens", 50, "here")
    with pytest.raises(SocsimError, match=r"^here: field 'cached_tokens': input should be greater than or equal to 0, not -1$"):
        run.check_value("cached_tokens", -1, "here")
    with pytest.raises(SocsimError, match=r"^here: unknown field 'sed' "):
        run.check_value("sed", 1, "here")


TOML = """
description = "files beside it"
metrics = ["ttft_s"]
constraints = ["chunk_tokens <= prompt_tokens"]
[base]
model = "tiny/config.json"
engine = "my-engine.toml"
prompt_tokens = 32
set.model.num_hidden_layers = 2
[[axes]]
path = "soc"
values = ["my-phone.toml", "toy-phone"]
[[axes]]
path = "chunk_tokens"
start = 16
stop = 64
points = 3
spacing = "log"
"""


def test_files_are_looked_up_beside_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub" / "tiny").mkdir(parents=True)
    hardware = ROOT / "hardware_models"
    (tmp_path / "sub/my-phone.toml").write_text(
        (hardware / "soc_toy-phone.toml").read_text("utf-8").replace("toy-phone", "my-phone"), "utf-8"
    )
    shutil.copy(hardware / "engine_llm-npu.toml", tmp_path / "sub/my-engine.toml")
    config = load_model("smollm2-135m").model_dump(mode="json")
    (tmp_path / "sub/tiny/config.json").write_text(json.dumps({**config, "model_type": "llama"}), encoding="utf-8")
    (tmp_path / "sub/sweep.toml").write_text(TOML, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made = load_plan("sub/sweep.toml")
    assert rows(made) == [(soc, chunk) for soc in ("my-phone.toml", "toy-phone") for chunk in (16, 32)]
    assert (made.where, made.file) == ("sub/sweep.toml", Path("sub/sweep.toml"))
    monkeypatch.chdir("/")
    assert load_plan(tmp_path / "sub/sweep.toml").to_json() == made.to_json()


@pytest.mark.parametrize(
    ("text", "problem"),
    [("axes = [", r"bad\.toml"), ("axes = 3", r"bad\.toml: "), (TOML.replace("metrics", "metric"), r"bad\.toml: unknown field 'metric'")],
)
def test_errors_name_the_file(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SocsimError, match=problem) as caught:
        load_plan(tmp_path / "bad.toml")
    assert "\n" not in str(caught.value)
    with pytest.raises(SocsimError, match=r"absent\.toml"):
        load_plan(tmp_path / "absent.toml")
