"""Which measured rows determine which figures: micro-benchmarks first, then whole runs, then energy.

* Figures of a processor's throughput that has micro-benchmarks are fitted to those rows.
* Other figures of a SoC are fitted to whole runs of the reference engine on it and on SoCs that inherit from it.
* Figures of the other engines are fitted to their own rows, and a SoC's relative speed to all engines that use the processor.
* Power is fitted to measured energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from socsim.calibration.targets import Target, fitted_targets
from socsim.catalog import inherited_from, list_engines, list_socs, load_engine, load_soc
from socsim.measurements import OperatorRow, SystemRow
from socsim.specs import Processor

REFERENCE_ENGINE = "llm-npu"
"""Engine whose runs show what micro-benchmarks of a SoC cannot: its float work and its synchronization."""

RUN_METRICS = ("prefill_tokens_per_s", "decode_s")
GRAPH_METRICS = ("graph_build_s", "graph_optimize_s")

PER_PRODUCT_FIELDS = ("isolated_call_s", "spill_bytes_per_s")
"""Figures of a processor that its micro-benchmarks show, whatever the data type."""


@dataclass(frozen=True)
class Group:
    """Figures that are fitted together, and the rows that determine them."""

    name: str
    targets: tuple[Target, ...]
    rows: tuple[OperatorRow, ...] | tuple[SystemRow, ...]


def operator_groups(socs: Sequence[str], rows: Sequence[OperatorRow]) -> list[Group]:
    """Return a group for each throughput of each SoC that has fitted figures and micro-benchmarks."""
    groups = []
    for name in socs:
        targets, processors = fitted_targets("soc", name), load_soc(name).processors
        for processor, description in processors.items():
            shared = tuple(Target("soc", name, f"processors.{processor}.{field}") for field in PER_PRODUCT_FIELDS)
            shared = tuple(target for target in shared if target in targets)
            tables = [("throughput", key) for key in description.throughput] + [("paths", key) for key in description.paths]
            for table, key in tables:
                own = tuple(t for t in targets if t.path.startswith(f"processors.{processor}.{table}.{key}."))
                chosen = tuple(
                    row for row in rows if row.soc == name and row.processor == processor and _is_of(row, table, key, description)
                )
                if chosen and own:
                    groups.append(Group(f"{name} {processor} {key}", own + shared, chosen))
                    shared = ()
    return groups


def _is_of(row: OperatorRow, table: str, key: str, processor: Processor) -> bool:
    """Return whether a row measures a throughput; without a path of its own it measures the one that the processor names."""
    usual = processor.throughput.get(row.data_type)  # type: ignore[call-overload]
    path = row.path or (usual if isinstance(usual, str) else None)
    return path == key if table == "paths" else path is None and row.data_type == key


def run_groups(socs: Sequence[str], rows: Sequence[SystemRow], taken: Sequence[Group]) -> list[Group]:
    """Return the groups that whole runs determine: of the reference engine by SoC, then of other engines by processor."""
    rows = [row for row in rows if row.metric in RUN_METRICS]
    done = {target for group in taken for target in group.targets}
    groups = []
    for name in socs:
        targets = tuple(t for t in fitted_targets("soc", name) if t not in done and not t.path.startswith("power.") and t.field != "speed")
        chosen = tuple(row for row in rows if row.engine == REFERENCE_ENGINE and name in (row.soc, inherited_from("soc", row.soc)))
        if targets and chosen:
            groups.append(Group(f"{name} {REFERENCE_ENGINE}", targets, chosen))
    engines = {name: load_engine(name).placement.linears for name in list_engines() if fitted_targets("engine", name)}
    for processor in sorted(set(engines.values())):
        names = [name for name, place in engines.items() if place == processor]
        chosen = tuple(row for row in rows if row.engine in names)
        speeds = tuple(t for name in list_socs() for t in fitted_targets("soc", name) if t.path == f"processors.{processor}.speed")
        speeds = tuple(target for target in speeds if any(row.soc == target.name for row in chosen))
        if processor in load_engine(REFERENCE_ENGINE).processors:  # it is as slow there as the processor
            chosen += tuple(row for row in rows if row.engine == REFERENCE_ENGINE and any(row.soc == target.name for target in speeds))
        targets = tuple(t for name in names for t in fitted_targets("engine", name)) + speeds
        if targets and chosen:
            groups.append(Group(f"engines on the {processor}", targets, chosen))
    return groups


def graph_groups(socs: Sequence[str], rows: Sequence[SystemRow]) -> list[Group]:
    """Return a group for the graph life cycle of each SoC on which building and optimizing were measured."""
    groups = []
    for name in socs:
        targets = tuple(target for target in fitted_targets("soc", name) if ".graph_life_cycle." in target.path)
        chosen = tuple(row for row in rows if row.metric in GRAPH_METRICS and row.soc == name)
        if targets and chosen:
            groups.append(Group(f"{name} graph life cycle", targets, chosen))
    return groups


def power_groups(socs: Sequence[str], rows: Sequence[SystemRow]) -> list[Group]:
    """Return a group for each power calibration with fitted figures and measured energy, on its SoC or one that inherits from it."""
    groups = []
    for name in socs:
        for calibration in load_soc(name).power:
            targets = tuple(t for t in fitted_targets("soc", name) if t.path.startswith(f"power.{calibration}."))
            chosen = tuple(
                row
                for row in rows
                if row.metric == "prefill_energy_j"
                and row.overrides.get("run.power_calibration") == calibration
                and name in (row.soc, inherited_from("soc", row.soc))
            )
            if targets and chosen:
                groups.append(Group(f"{name} power {calibration}", targets, chosen))
    return groups
