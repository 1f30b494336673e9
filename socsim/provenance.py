"""What a result was computed with: the package's own code and the libraries beside it."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).parent


@lru_cache(maxsize=8)
def code_sha256(without: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 of the package's code and style files, some of its parts left out; the same wherever it is installed."""
    files = [(file.relative_to(PACKAGE).as_posix(), file) for pattern in ("*.py", "*.mplstyle") for file in PACKAGE.rglob(pattern)]
    return files_sha256([each for each in files if each[0].partition("/")[0] not in (*without, "data")])


def files_sha256(files: Sequence[tuple[str, Path]]) -> str:
    """Return the SHA-256 of named files, whatever their order."""
    digest = hashlib.sha256()
    for name, file in sorted(files):
        digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=8)
def versions(*libraries: str) -> dict[str, str]:
    """Return the versions of Python and of some libraries."""
    return {"python": ".".join(map(str, sys.version_info[:3])), **{name: version(name) for name in libraries}}
