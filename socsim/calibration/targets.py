"""Which figures of which files are fitted, and what was plausible of them before any row was seen.

A figure is fitted where its file says ``kind = "fitted"``. Where the search starts does not depend on the value in the
file, so that a calibration gives the same files however often it is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from socsim.calibration.fit import Floats, Parameter
from socsim.catalog import Figure, figures, inherited_from, load_engine, load_soc, own_paths
from socsim.errors import SocsimError
from socsim.specs import Engine, SoC


class Target(NamedTuple):
    """One fitted figure of one file."""

    kind: Literal["soc", "engine"]
    name: str
    path: str

    @property
    def field(self) -> str:
        """Last part of the path."""
        return self.path.rpartition(".")[2]


class Range(NamedTuple):
    """Where the search for a figure starts and ends, and how far the start can be trusted."""

    initial: float
    lower: float
    upper: float
    prior_sigma: float | None = None


OPERATOR_RANGES = {
    "peak_ops_per_s": Range(1e12, 1e9, 3.4e13),
    "overhead_s": Range(1e-4, 1e-6, 1e-2),
    "input_bytes_per_s": Range(1e9, 1e7, 1e12),
    "weight_bytes_per_s": Range(1e10, 1e6, 1e12),
    "spill_bytes_per_s": Range(1e10, 1e8, 1e12),
    "isolated_call_s": Range(1e-3, 1e-6, 1e-1),
}
"""Of figures that micro-benchmarks show; the upper end of rates is what no phone's processor has."""

SYSTEM_RANGES = {
    # Three quarters of the fp16 peak of four big cores (1 x 4 and 3 x 2 units of 8 lanes at 3.2 GHz, 520 GFLOPS); float kernels
    # that read and write at some GB/s, as vector loads do on one thread; decode on a Galaxy S23. The first two are narrow: with
    # few models measured, what one model's runs alone would say of them does not hold for another (`leave_one_model_out`).
    "peak_ops_per_s": Range(4e11, 3e10, 3e12, 0.2),
    "vector_bytes_per_s": Range(5e9, 5e8, 1e11, 0.2),
    "row_bytes_per_s": Range(25e9, 1e9, 1e11, 0.5),
    "launch_work_s": Range(13e-6, 1e-6, 1e-3, 0.5),
    "latency_s": Range(5e-6, 1e-6, 1e-3, 0.5),
    "build_s_per_subgraph": Range(1e-2, 1e-4, 1.0),
    "optimize_s_per_weight_byte": Range(1e-9, 1e-11, 1e-7),
    "speed": Range(1.0, 0.2, 5.0, 0.5),
    "linear": Range(1.0, 1e-3, 1e2),
    "weights": Range(1.0, 1e-3, 1e2),
    "row": Range(1.0, 1e-3, 1e2),
    "attention": Range(1.0, 1e-3, 1e2),
}
"""Of figures that only whole runs show."""

POWER_RANGES = {
    "base_w": Range(0.5, 0.01, 5.0, 1.5),
    "active_w": Range(0.3, 0.01, 20.0, 1.5),
    "memory_bound_share": Range(0.3, 0.01, 1.0, 1.0),
    "dram_j_per_byte": Range(4e-11, 1e-12, 1e-9, 0.5),
}
"""Of figures that measured energy shows."""


def fitted_targets(kind: Literal["soc", "engine"], name: str) -> list[Target]:
    """Return the fitted figures of a shipped description, in the order of its file; inherited ones belong to the other file."""
    return [Target(kind, name, figure.path) for figure in _own_figures(kind, name) if figure.kind == "fitted"]


@lru_cache(maxsize=64)
def _own_figures(kind: str, name: str) -> tuple[Figure, ...]:
    return tuple(figures(kind, name))


@lru_cache(maxsize=64)
def _own_paths(name: str) -> frozenset[str]:
    return own_paths("soc", name)


@lru_cache(maxsize=64)
def _base(name: str) -> str | None:
    return inherited_from("soc", name)


@lru_cache(maxsize=64)
def _shipped_soc(name: str) -> SoC:
    return load_soc(name)


@lru_cache(maxsize=64)
def _shipped_engine(name: str) -> Engine:
    return load_engine(name)


def parameters(targets: Iterable[Target], ranges: Mapping[str, Range]) -> list[Parameter]:
    """Return what is to be fitted, with its range.

    Raises
    ------
    SocsimError
        A figure is marked as fitted that no measurement could show.
    """
    result = []
    for target in targets:
        if target.field not in ranges:
            known = ", ".join(sorted(ranges))
            raise SocsimError(f"{target.kind} {target.name}: '{target.path}' is marked as fitted; figures that can be fitted here: {known}")
        result.append(Parameter(f"{target.name}: {target.path}", *ranges[target.field]))
    return result


class Findings:
    """Values found so far, by file, and the descriptions with them."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], dict[str, float]] = {}

    def set(self, targets: Iterable[Target], values: Floats) -> None:
        """Keep the values of a fit."""
        for target, value in zip(targets, values, strict=True):
            self.values.setdefault((target.kind, target.name), {})[target.path] = float(value)

    def keep(self, targets: Iterable[Target]) -> None:
        """Forget the values of all other figures."""
        kept = set(targets)
        for (kind, name), values in self.values.items():
            for path in [path for path in values if Target(kind, name, path) not in kept]:  # type: ignore[arg-type]
                del values[path]

    def with_trial(self, targets: Iterable[Target], values: Floats) -> Findings:
        """Return a copy with other values for some figures."""
        trial = Findings()
        trial.values = {key: dict(value) for key, value in self.values.items()}
        trial.set(targets, values)
        return trial

    def soc(self, name: str) -> SoC:
        """Return a SoC with what was found for it and for the one that it inherits from."""
        own = self._written(name)
        base = _base(name)
        if base is not None:
            here = _own_paths(name)
            own = {path: value for path, value in self._written(base).items() if path not in here} | own
        return _shipped_soc(name).override(own, f"calibrated {name}")

    def of(self, soc: str, engine: str) -> tuple[tuple[tuple[str, float], ...], ...]:
        """Return all values that a run of an engine on a SoC depends on."""
        return tuple(tuple(self.values.get(key, {}).items()) for key in (("soc", soc), ("soc", _base(soc) or ""), ("engine", engine)))

    def _written(self, name: str) -> dict[str, Any]:
        """Return what was found for a SoC as its own file would hold it."""
        return {path: written(_shipped_soc(name), path, value) for path, value in self.values.get(("soc", name), {}).items()}

    def engine(self, name: str) -> Engine:
        """Return an engine with what was found for it."""
        return _shipped_engine(name).override(self.values.get(("engine", name), {}), f"calibrated {name}")


def written(soc: SoC, path: str, value: float) -> Any:
    """Return a value as it stands in the file: active power is a list by threads, each thread adding by its core's speed."""
    if not path.endswith(".active_w"):
        return value
    processor = soc.processors[path.split(".")[-2]]  # type: ignore[index]
    return [float(f"{value * processor.thread_speedup(threads + 1):.4g}") for threads in range(len(processor.core_speeds))]
