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
from socsim.specs import LLM, Engine, SoC, Throughput

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


def child(tmp_path: Path, text: str, base: str = "snapdragon-8-gen-3") -> Path:
    """Return the file of a user's SoC that inherits from another."""
    path = tmp_path / "soc_mine.toml"
    path.write_text(f'inherits = "{base}"\ndescription = "mine"\n{text}')
    return path


def figure_at(path: Path, place: str) -> Figure:
    (found,) = [figure for figure in figures("soc", path) if figure.path == place]
    return found


def test_file_that_inherits_has_all_of_the_other(tmp_path: Path) -> None:
    base = load_soc("snapdragon-8-gen-3").model_dump()
    assert load_soc(child(tmp_path, "")).model_dump() == base | {"name": "mine", "description": "mine"}


def test_value_of_an_own_replaces_the_inherited_one_and_no_other(tmp_path: Path) -> None:
    path = child(tmp_path, '[processors.npu]\ntile = 64\n[dram]\ncapacity_bytes = { value = 5e9, kind = "vendor", source = "a sheet" }\n')
    base = load_soc("snapdragon-8-gen-3")
    mine = base.override({"processors.npu.tile": 64, "dram.capacity_bytes": 5e9}, "soc")
    assert load_soc(path).model_dump() == mine.model_dump() | {"name": "mine", "description": "mine"}
    assert figure_at(path, "dram.capacity_bytes") == Figure("dram.capacity_bytes", 5e9, "vendor", "a sheet")


def test_inherited_figures_are_assumed_to_be_as_on_the_other(tmp_path: Path) -> None:
    path = child(tmp_path, "[processors.npu]\ntile = 64\n")
    base = {figure.path: figure for figure in figures("soc", "snapdragon-8-gen-3")}
    for figure in figures("soc", path):
        if figure.path not in ("description", "processors.npu.tile"):
            source = f"as on the snapdragon-8-gen-3: {base[figure.path].source}"
            assert figure == base[figure.path]._replace(kind="assumed", source=source)
    assert {figure.path for figure in figures("soc", path)} == set(base)


def test_inheriting_from_a_file_that_inherits(tmp_path: Path) -> None:
    first = child(tmp_path, "[processors.npu]\ntile = 64\n[processors.cpu]\nlaunch_overhead_s = 1e-3\n")
    second = tmp_path / "soc_second.toml"
    second.write_text(f'inherits = "{first}"\nprocessors.npu.tile = 128\n')
    soc = load_soc(second)
    assert (soc.name, soc.description, soc.processors["npu"].tile, soc.processors["cpu"].launch_overhead_s) == ("second", "mine", 128, 1e-3)
    assert figure_at(second, "flash.random_read_bytes_per_s").source.startswith(f"as on the {first}: as on the snapdragon-8-gen-3: ")


def test_a_relative_name_means_the_file_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.toml").write_text('inherits = "snapdragon-8-gen-3"\nprocessors.npu.tile = 64\n')
    path = child(tmp_path, "", "base.toml")
    monkeypatch.chdir("/")
    assert load_soc(path).processors["npu"].tile == 64


@pytest.mark.parametrize("name", ["snapdragon-8-gen-2", "snapdragon-8-elite"])
def test_shipped_soc_of_partial_data_says_which_are_its_own(name: str) -> None:
    own = [figure for figure in figures("soc", name) if not figure.source.startswith("as on the snapdragon-8-gen-3: ")]
    inherited = [figure for figure in figures("soc", name) if figure not in own]
    assert len(inherited) > len(own) > 5
    assert {figure.kind for figure in inherited} == {"assumed"}
    assert "measured" in {figure.kind for figure in own}


def test_engine_may_inherit(tmp_path: Path) -> None:
    path = tmp_path / "engine_mine.toml"
    path.write_text('inherits = "llm-npu"\nchunk_tokens = 128\n')
    expected = load_engine("llm-npu").override({"chunk_tokens": 128, "name": "mine"}, "engine")
    assert load_engine(path) == expected


def test_unknown_base_names_the_file_and_the_nearest_match(tmp_path: Path) -> None:
    path = child(tmp_path, "", base="snapdragon-8-gen3")
    with pytest.raises(SocsimError, match=r"unknown SoC 'snapdragon-8-gen3' \(did you mean 'snapdragon-8-gen-3'\?\); allowed: ") as error:
        load_soc(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "inherits" in str(error.value)


@pytest.mark.parametrize("base", ["soc_mine.toml", "soc_other.toml"])
def test_inheriting_in_a_circle_is_an_error(tmp_path: Path, base: str) -> None:
    path = child(tmp_path, "", base=str(tmp_path / base))
    (tmp_path / "soc_other.toml").write_text(f'inherits = "{path}"\n')
    with pytest.raises(SocsimError, match=rf"{base}: inherits: '.*soc_.*.toml' inherits from this file") as error:
        load_soc(path)
    assert len(str(error.value).splitlines()) == 1


def test_empty_table_takes_nothing_away(tmp_path: Path) -> None:
    base = load_soc("snapdragon-8-gen-3")
    soc = load_soc(child(tmp_path, "[processors.npu]\n# nothing known yet\n[operating_points.sustained]\n"))
    assert (soc.processors, soc.operating_points) == (base.processors, base.operating_points)


def test_path_in_place_of_an_inherited_table(tmp_path: Path) -> None:
    soc = load_soc(child(tmp_path, '[processors.npu]\nthroughput.int8 = "fast"\npaths.fast = { peak_ops_per_s = 5e13 }\n'))
    npu, base = soc.processors["npu"], load_soc("snapdragon-8-gen-3").processors["npu"]
    assert npu.rates("int8") == Throughput(peak_ops_per_s=5e13)
    assert npu.rates("fp16") == base.rates("fp16")
    assert set(npu.paths) == {*base.paths, "fast"}
    assert soc.processors["cpu"] == load_soc("snapdragon-8-gen-3").processors["cpu"]


def test_table_in_place_of_an_inherited_path(tmp_path: Path) -> None:
    assert load_soc("snapdragon-8-gen-3").processors["npu"].throughput["fp16"] == "matrix-engine"
    soc = load_soc(child(tmp_path, "[processors.npu.throughput.fp16]\npeak_ops_per_s = 7e12\n"))
    assert soc.processors["npu"].rates("fp16") == Throughput(peak_ops_per_s=7e12)


def test_another_of_the_inherited_paths(tmp_path: Path) -> None:
    npu = load_soc(child(tmp_path, '[processors.npu.throughput]\nfp16 = "software-2024"\n')).processors["npu"]
    assert npu.rates("fp16") == npu.paths["software-2024"] != npu.paths["matrix-engine"]
    assert npu.rates("int8") == load_soc("snapdragon-8-gen-3").processors["npu"].rates("int8")


def test_one_rate_of_an_inherited_table(tmp_path: Path) -> None:
    base = load_soc("snapdragon-8-gen-3").processors["npu"].rates("int8")
    rates = load_soc(child(tmp_path, "[processors.npu.throughput.int8]\noverhead_s = 0.5\n")).processors["npu"].rates("int8")
    assert rates == base.model_copy(update={"overhead_s": 0.5})


def test_unknown_path_names_the_nearest(tmp_path: Path) -> None:
    path = child(tmp_path, '[processors.npu.throughput]\nfp16 = "matrix-engin"\n')
    with pytest.raises(
        SocsimError, match=r"unknown throughput\.fp16: path or data type 'matrix-engin' \(did you mean 'matrix-engine'\?\)"
    ) as error:
        load_soc(path)
    assert str(error.value).startswith(f"{path}: processors.npu: ")
    paths = load_soc("snapdragon-8-gen-3").processors["npu"].paths
    assert str(error.value).endswith(f"; allowed: {', '.join(sorted([*paths, 'int8']))}")


def test_data_type_without_rates() -> None:
    with pytest.raises(SocsimError, match=r"^throughput has no 'fp32', which the work placed here needs; it has: fp16, int8$"):
        load_soc("snapdragon-8-gen-3").processors["npu"].rates("fp32")


def test_inherited_figure_can_only_be_replaced_by_a_value(tmp_path: Path) -> None:
    path = child(tmp_path, '[processors.npu]\nlaunch_overhead_s = { scale = 0.5, kind = "measured", source = "half of it" }\n')
    with pytest.raises(SocsimError, match=r"soc_mine.toml: field 'processors.npu.launch_overhead_s': .*not a table or list"):
        load_soc(path)
