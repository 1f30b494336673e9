"""What the results of an experiment depend on: its script, the package, and the numbers that are shipped."""

from __future__ import annotations

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

from socsim.catalog import hardware_path, trace_path
from socsim.errors import SocsimError
from socsim.provenance import code_sha256, files_sha256, versions

NOT_INPUTS = ("cli", "report")
"""Parts of the package that only start experiments, or show what they made."""
LIBRARIES = ("numpy", "simpy", "pandas", "matplotlib")


def inputs_sha256(script: Path) -> str:
    """Return the SHA-256 of everything that an experiment's results depend on.

    That is its script, the package without the command line, hardware files, traces, and the versions of Python (whose documentation is
    the text on which accuracy is measured) and of the libraries that compute. Other files that a script of your own reads or imports do not
    count. The same checkout gives the same value wherever it is installed.
    """
    digest = hashlib.sha256(script.read_bytes())
    digest.update(_shared_sha256().encode())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _shared_sha256() -> str:
    data = [(file.name, file) for place in (hardware_path(""), trace_path("")) for file in place.glob("*.*") if file.suffix != ".md"]
    used = versions(*LIBRARIES)
    return " ".join((code_sha256(NOT_INPUTS), files_sha256(data), *(f"{name} {number}" for name, number in used.items())))


def question(script: Path) -> str:
    """Return the question that an experiment asks: the first line of its docstring.

    Raises
    ------
    SocsimError
        The file is unreadable, is no Python, or has no docstring.
    """
    text = ast.get_docstring(_parsed(script))
    if not text:
        raise SocsimError(f"{script}: has no docstring; its first line should be the question that the experiment asks")
    return text.splitlines()[0]


def is_apart(script: Path) -> bool:
    """Return whether a script says ``APART = True``: it takes so long that it is run by its name only.

    Raises
    ------
    SocsimError
        The file is unreadable, or is no Python.
    """
    named = [node for node in _parsed(script).body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)]
    return any(ast.unparse(node) == "APART = True" for node in named)


def _parsed(script: Path) -> ast.Module:
    try:
        return ast.parse(script.read_text(encoding="utf-8"))
    except OSError as error:
        raise SocsimError(f"{script}: cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise SocsimError(f"{script}: is no Python: {error}") from None
