from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call_well

import socsim
from socsim.catalog import KINDS, figures


@pytest.mark.parametrize("what", ["socs", "models", "engines", "schedulers"])
def test_lists_have_a_line_on_each(capsys: pytest.CaptureFixture[str], what: str) -> None:
    names = {
        "socs": socsim.list_socs(),
        "models": socsim.list_models(),
        "engines": socsim.list_engines(),
        "schedulers": list(socsim.SCHEDULERS),
    }
    entries = call_well(capsys, "list", what, "--json").json[what]
    assert [entry["name"] for entry in entries] == names[what]
    assert all(entry["description"] for entry in entries)
    out = call_well(capsys, "list", what).out
    flat = " ".join(out.split())
    for entry in entries:
        assert entry["name"] in flat
    assert all(word in flat for word in entries[0]["description"].split())


@pytest.mark.parametrize(("what", "name"), [("soc", "snapdragon-8-gen-3"), ("engine", "llm-npu")])
def test_show_has_every_number_of_the_file(capsys: pytest.CaptureFixture[str], what: str, name: str) -> None:
    data = call_well(capsys, "show", what, name, "--json").json
    assert data[what] == name
    fields = {field["path"]: field for field in data["fields"]}
    for figure in figures(what, name):
        if figure.path in ("name", "description"):
            continue
        field = fields.pop(figure.path)
        assert field["value"] == figure.value
        assert (field["kind"], field["source"]) == (figure.kind, figure.source)
        assert field["kind"] in KINDS
        assert field["source"]
    assert {field["kind"] for field in fields.values()} == {"default"}


def test_show_prints_value_unit_kind_and_source(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = call_well(capsys, "show", "soc", "snapdragon-8-gen-3").out
    lines = out.splitlines()
    start = lines.index("processors.npu")
    line = next(line for line in lines[start:] if line.strip().startswith("launch_overhead_s"))
    _, value, unit, kind, number = line.split()
    assert (value, unit, kind) == ("43", "us", "assumed")
    sources = out[out.index("\nsources\n") :]
    assert f"\n{number} mllm split-prefill notes" in sources
    assert "--set soc.processors" in " ".join(out.split())
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("name", "kv_bytes"), [("gemma-2b", 2 * 18 * 256 * 2), ("qwen1.5-1.8b", 2 * 24 * 2048 * 2)])
def test_models_show_parameters_and_kv_bytes(capsys: pytest.CaptureFixture[str], name: str, kv_bytes: int) -> None:
    fields = {field["path"]: field for field in call_well(capsys, "show", "model", name, "--json").json["fields"]}
    assert fields["parameters"]["value"] == fields["published_parameters"]["value"] == socsim.load_model(name).parameters
    assert fields["kv_cache_bytes_per_token"]["value"] == kv_bytes
    assert fields["kv_cache_bytes_per_token"]["unit"] == "B"
    assert fields["hidden_size"]["kind"] == "vendor"
    assert fields["norm"]["kind"] == "derived"
    assert f"{fields['parameters']['value']:,}" in call_well(capsys, "show", "model", name).out


def test_a_users_own_config(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "tiny" / "config.json"
    config.parent.mkdir()
    config.write_text(
        '{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,'
        ' "vocab_size": 1000, "max_position_embeddings": 512}'
    )
    for path in (config, config.parent):
        data = call_well(capsys, "show", "model", str(path), "--json").json
        fields = {field["path"]: field for field in data["fields"]}
        assert data["model"] == "tiny"
        assert fields["hidden_size"] == {"path": "hidden_size", "value": 64, "unit": "elements", "kind": "vendor", "source": str(config)}
        assert "published_parameters" not in fields
        assert call_well(capsys, "run", "--model", str(path), "--prompt-tokens", "64", "--json").json["model"] == "tiny"


def test_an_engine_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shipped = Path(socsim.__file__).parents[1] / "hardware_models" / "engine_cpu-only.toml"
    (tmp_path / "engine_mine.toml").write_bytes(shipped.read_bytes())
    data = call_well(capsys, "show", "engine", str(tmp_path / "engine_mine.toml"), "--json").json
    assert data["engine"] == "mine"
    out = call_well(capsys, "show", "engine", "cpu-only").out
    assert "false" in out
    assert "merge_adjacent" in out
