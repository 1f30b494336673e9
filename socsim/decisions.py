"""Every scheduling decision of a run, written to a file while the run is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from socsim.graph import Subgraph
from socsim.schedulers import Prepare


def label(subgraph: Subgraph) -> str:
    """Return a short name of a subgraph, such as ``qkv[c0 b3]`` for chunk 0 and block 3."""
    return f"{subgraph.stage}[c{subgraph.chunk} b{subgraph.block}]"


@contextmanager
def decision_log(scheduler: str | Prepare, path: str | Path) -> Iterator[Prepare]:
    """Wrap a policy so that each of its decisions becomes a line of a CSV file.

    Parameters
    ----------
    scheduler
        A policy's name, ``module:function``, or a ``prepare`` function; the wrapped one carries its name.
    path
        File to write.

    Raises
    ------
    SocsimError
        The policy is unknown or the file cannot be written.
    """
    raise NotImplementedError
    yield
