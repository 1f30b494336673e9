"""Shipped and own files: every valid one loads, every invalid one says why, every number has a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from socsim import catalog
from socsim.catalog import (
    KINDS,
    Figure,
    figures,
    list_engines,
    list_models,
    list_socs,
    load_engine,
    load_model,
    load_soc,
    published_parameters,
    trace_path,
)
from socsim.errors import SocsimError
from socsim.specs import LLM, Engine, SoC

DATA = Path(__file__).parent / "data"
LOADERS: dict[str, Any] = {"soc": load_soc, "engine": load_engine, "llm": load_model}

PUBLISHED_PARAMETERS = {  # model cards and safetensors indices on Hugging Face
    "qwen1.5-1.8b": 1_836_828_672,
    "gemma-2b": 2_506_172_416,
    "phi-2": 2_779_683_840,
    "llama-2-7b": 6_738_415_616,
    "mistral-7b": 7_241_732_096,
    "smollm2-135m": 134_515_008,
}


def data_files(folder: str) -> list[Path]:
    return sorted(path for path in (DATA / folder).iterdir() if path.suffix != ".expected")


def load(path: Path) -> SoC | Engine | LLM:
    loaded: SoC | Engine | LLM = LOADERS[path.name.partition("_")[0]](path)
    return loaded


@pytest.mark.parametrize("path", data_files("valid"), ids=lambda path: path.name)
def test_valid_file(path: Path) -> None:
    assert load(path).name


@pytest.mark.parametrize("path", data_files("invalid"), ids=lambda path: path.name)
def test_invalid_file(path: Path) -> None:
    comment = path.with_suffix(".expected") if path.suffix == ".json" else path
    expected = comment.read_text().splitlines()[0].removeprefix("# ")
    with pytest.raises(SocsimError) as error:
        load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize("model", list_models())
def test_parameters_equal_the_published_count(model: str) -> None:
    assert load_model(model).parameters == PUBLISHED_PARAMETERS[model] == published_parameters(model)


def test_shipped_names() -> None:
    assert list_models() == sorted(PUBLISHED_PARAMETERS)
    assert set(list_socs()) >= {"snapdragon-8-gen-2", "snapdragon-8-gen-3", "toy-phone"}
    assert set(list_engines()) >= {"llm-npu", "npu-naive", "npu-chunk", "npu-chunk-outlier", "cpu-only", "gpu-only"}
    assert [load_soc(name).name for name in list_socs()] == list_socs()
    assert [load_engine(name).name for name in list_engines()] == list_engines()
    assert [load_model(name).name for name in list_models()] == list_models()


FIGURES = [*(("soc", name) for name in list_socs()), *(("engine", name) for name in list_engines())]


@pytest.mark.parametrize(("kind", "name"), FIGURES)
def test_every_number_has_a_source(kind: str, name: str) -> None:
    found = [figure for figure in figures(kind, name) if is_number(figure.value)]
    assert found
    assert [figure.path for figure in found if figure.kind not in KINDS or not figure.source.strip()] == []


def is_number(value: Any) -> bool:
    return (
        any(is_number(item) for item in value)
        if isinstance(value, list)
        else isinstance(value, (int, float)) and not isinstance(value, bool)
    )


@pytest.mark.parametrize(("kind", "name"), FIGURES)
def test_figures_are_the_values_that_are_loaded(kind: str, name: str) -> None:
    spec = LOADERS[kind](name).model_dump(mode="json")
    for figure in figures(kind, name):
        node = spec
        for part in figure.path.split("."):
            node = node[part]
        assert node == figure.value, figure.path


def test_sources_of_tables_hold_for_what_is_below() -> None:
    found = {figure.path: figure for figure in figures("soc", DATA / "valid" / "soc_sourced.toml")}
    assert found["processors.cpu.launch_overhead_s"] == Figure("processors.cpu.launch_overhead_s", 2e-5, "measured", "a bench")
    assert found["processors.cpu.vector_bytes_per_s"] == Figure("processors.cpu.vector_bytes_per_s", 1e9, "vendor", "a data sheet")
    assert found["dram.peak_bytes_per_s"] == Figure("dram.peak_bytes_per_s", 4e9, "vendor", "another sheet")
    assert found["flash.random_read_bytes_per_s"] == Figure("flash.random_read_bytes_per_s", 1e6, "assumed", "a data sheet")


def test_fields_of_an_engine_file() -> None:
    engine = load_engine(DATA / "valid" / "engine_every-field.toml")
    assert engine.name == "every-field-of-an-engine"
    assert engine.prebuilt_chunk_tokens == (16, 64)
    assert engine.processors == ("cpu", "gpu", "npu")
    assert engine.static_shapes
    minimal = load_engine(DATA / "valid" / "engine_minimal.toml")
    defaults = (
        minimal.name,
        minimal.merge_adjacent,
        minimal.shadow_outliers,
        minimal.outlier_pruning_rate,
        minimal.decode_processor,
        minimal.static_shapes,
    )
    assert defaults == ("minimal", False, False, 1.0, "cpu", False)
    assert minimal.processors == ("cpu",)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (
            "minimal",
            {
                "family": "llama",
                "head_dim": 16,
                "num_key_value_heads": 4,
                "gated_ffn": True,
                "norm": "rmsnorm",
                "qkv_bias": False,
                "tie_word_embeddings": False,
                "sliding_window": None,
                "rope_theta": 10000.0,
                "parallel_block": False,
            },
        ),
        (
            "llama-as-published",
            {
                "num_key_value_heads": 2,
                "head_dim": 16,
                "qkv_bias": True,
                "o_bias": True,
                "ffn_bias": True,
                "tie_word_embeddings": True,
                "rope_theta": 5e5,
                "lm_head_bias": False,
            },
        ),
        ("qwen2-without-window", {"qkv_bias": True, "o_bias": False, "sliding_window": None}),
        ("mistral-with-window", {"qkv_bias": False, "sliding_window": 32, "num_key_value_heads": 1}),
        ("gemma", {"tie_word_embeddings": True, "head_dim": 32, "query_size": 128, "key_value_size": 32}),
        (
            "phi",
            {
                "gated_ffn": False,
                "norm": "layernorm",
                "parallel_block": True,
                "qkv_bias": True,
                "o_bias": True,
                "ffn_bias": True,
                "lm_head_bias": True,
                "partial_rotary_factor": 0.4,
            },
        ),
    ],
)
def test_shape_from_a_configuration(name: str, fields: dict[str, Any]) -> None:
    llm = load_model(DATA / "valid" / f"llm_{name}.json")
    assert {field: getattr(llm, field) for field in fields} == fields


def test_configuration_in_a_folder_is_named_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text((DATA / "valid" / "llm_minimal.json").read_text())
    assert load_model(folder).name == load_model(folder / "config.json").name == load_model(str(folder)).name == "my-model"
    monkeypatch.chdir(tmp_path)
    assert load_model("my-model").name == "my-model"


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    with pytest.raises(
        SocsimError, match=r"^unknown SoC 'snapdragon-8-gen-4' \(did you mean 'snapdragon-8-gen-[23]'\?\); allowed: .*snapdragon-8-gen-2, "
    ):
        load_soc("snapdragon-8-gen-4")
    with pytest.raises(SocsimError, match=r"^unknown model 'gemma' \(did you mean 'gemma-2b'\?\)"):
        load_model("gemma")
    with pytest.raises(SocsimError, match=r"^unknown engine 'zzz'; allowed: "):
        load_engine("zzz")
    with pytest.raises(SocsimError, match=r"nowhere/phone\.toml: no such file$"):
        load_soc("nowhere/phone.toml")
    with pytest.raises(SocsimError, match=r"missing\.json: no such file$"):
        load_model("missing.json")
    with pytest.raises(SocsimError, match="cannot be read: Is a directory"):
        load_soc(tmp_path)
    with pytest.raises(SocsimError, match=r"config\.json: cannot be read: No such file or directory"):
        load_model(tmp_path)
    (tmp_path / "soc.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(SocsimError, match=r"soc\.toml: is no UTF-8 text \(byte 8\)$"):
        load_soc(tmp_path / "soc.toml")


def test_data_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "socsim"
    (package / "data" / "hardware_models").mkdir(parents=True)
    (package / "data" / "hardware_models" / "soc_mine.toml").write_text((DATA / "valid" / "soc_minimal.toml").read_text())
    monkeypatch.setattr(catalog, "__file__", str(package / "catalog.py"))
    assert list_socs() == ["mine"]
    assert load_soc("mine").name == "mine"
    assert trace_path("x.csv") == package / "data" / "traces" / "x.csv"


def test_published_parameters_are_optional() -> None:
    assert published_parameters(str(DATA / "valid" / "llm_minimal.json")) is None


def test_shipped_shapes_carry_their_source() -> None:
    for model in list_models():
        assert json.loads(trace_path(f"llm_{model}.json").read_text())["socsim"]["source"]
