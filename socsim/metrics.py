"""From a timeline to named numbers: times, speeds, utilization, bubbles, power and energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from socsim.cost import NANOSECONDS, PARTS
from socsim.errors import SocsimError, unknown_name
from socsim.specs import Engine, Run, SoC
from socsim.timeline import Timeline, steps

LINEAR, ATTENTION = PARTS.index("linear"), PARTS.index("attention")
"""Parts of a subgraph in which a processor multiplies, and draws its full active power."""


@dataclass(frozen=True)
class PowerModel:
    """Power of a SoC under one calibration, engine and operating point, by processor name.

    `constant_w` is drawn all the time: the base and every processor's idle power. `extra_w` is what a processor draws on top
    while a subgraph multiplies on it, and a share of that while it does other work or waits. A CPU that spins for results
    has that as its idle power.
    """

    calibration: str
    constant_w: float
    idle_w: dict[str, float]
    extra_w: dict[str, float]
    memory_bound_share: dict[str, float]
    dram_j_per_byte: float


def power_model(soc: SoC, engine: Engine, run: Run) -> PowerModel:
    """Return the power figures that hold for a run.

    Raises
    ------
    SocsimError
        The SoC has no such power calibration.
    """
    if run.power_calibration not in soc.power:
        raise unknown_name(f"power calibration of {soc.name}", run.power_calibration, soc.power)
    calibration = soc.power[run.power_calibration]
    scale = soc.operating_points[run.operating_point].active_power_scale
    spinning = soc.synchronization[engine.synchronization].waiting_threads
    idle: dict[str, float] = {}
    extra: dict[str, float] = {}
    share: dict[str, float] = {}
    for name, power in sorted(calibration.processors.items()):  # sums do not depend on the order of a file
        threads = engine.cpu_threads or soc.processors["cpu"].reference_threads if name == "cpu" else 1
        if threads > len(power.active_w):
            known = f"power.{run.power_calibration}.processors.{name}.active_w of {soc.name}"
            raise SocsimError(f"{known} has no value for {threads} threads (engine.cpu_threads); allowed: 1 to {len(power.active_w)}")
        active = [each * scale.get(name, 1.0) for each in power.active_w]
        spins = name == "cpu" and spinning > 0
        idle[name] = max(power.idle_w, active[min(spinning, len(active)) - 1]) if spins else power.idle_w
        extra[name] = max(0.0, active[threads - 1] - idle[name])
        share[name] = power.memory_bound_share
    return PowerModel(run.power_calibration, calibration.base_w + sum(idle.values()), idle, extra, share, calibration.dram_j_per_byte)


def busy_s(timeline: Timeline, part: slice) -> list[float]:
    """Return the busy time of each of the graph's processors in a part of the timeline."""
    duration = (timeline.end_ns - timeline.start_ns)[part]
    busy: list[float] = (np.bincount(timeline.processor[part], duration, len(timeline.graph.processors)) / NANOSECONDS).tolist()
    return busy


def active_energy(timeline: Timeline, power: PowerModel) -> NDArray[np.float64]:
    """Return what each subgraph draws on top of idle power while it runs, in joules, of shape (subgraphs,)."""
    names = timeline.graph.processors
    extra, share = (np.array([values[name] for name in names])[timeline.processor] for values in (power.extra_w, power.memory_bound_share))
    duration = (timeline.end_ns - timeline.start_ns) / NANOSECONDS
    parts_s = timeline.costs.parts_s
    multiplying = np.minimum(parts_s[:, LINEAR] + parts_s[:, ATTENTION], duration)
    energy: NDArray[np.float64] = extra * (multiplying + share * (duration - multiplying))
    return energy


def prefill_span_ns(timeline: Timeline, processor: int) -> tuple[int, int, int]:
    """Return first start, last end and busy time of a processor in the prefill; zeros if it has no part in it."""
    chosen = np.flatnonzero(timeline.processor[: timeline.graph.prefill_count] == processor)
    if not len(chosen):
        return 0, 0, 0
    start, end = timeline.start_ns[chosen], timeline.end_ns[chosen]
    return int(start.min()), int(end.max()), int((end - start).sum())


def power_steps(
    timeline: Timeline, power: PowerModel, active_j: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the power from each instant on: nanoseconds and watts, both of shape (changes,); `active_j` is `active_energy`, if known."""
    duration = (timeline.end_ns - timeline.start_ns) / NANOSECONDS
    extra = (active_energy(timeline, power) if active_j is None else active_j) / duration
    if timeline.memory == "infinite":  # bytes move in no time; their energy is spread over the subgraph
        extra = extra + timeline.costs.dram_bytes * power.dram_j_per_byte / duration
    when, watts = steps(timeline.start_ns, timeline.end_ns, extra)
    dram_when, rate = timeline.dram_rate
    if len(dram_when) and power.dram_j_per_byte:
        merged = np.sort(np.concatenate((when, dram_when)))
        merged = merged[np.append(merged[1:] != merged[:-1], True)]  # np.unique would hash, which takes five times as long
        dram_w = np.append(0.0, rate)[np.searchsorted(dram_when, merged, side="right")] * power.dram_j_per_byte
        watts = np.append(0.0, watts)[np.searchsorted(when, merged, side="right")] + dram_w
        when = merged
    return when, watts + power.constant_w


def _energy(timeline: Timeline, power: PowerModel, active_j: NDArray[np.float64], part: slice, seconds: float) -> dict[str, float]:
    """Return the energy of a part of the timeline that lasts some seconds, by processor, DRAM and base."""
    energy = {name: idle * seconds for name, idle in power.idle_w.items()}
    active = np.bincount(timeline.processor[part], active_j[part], len(timeline.graph.processors))
    for name, joules in zip(timeline.graph.processors, active, strict=True):
        energy[name] += float(joules)
    energy["dram"] = power.dram_j_per_byte * float(timeline.costs.dram_bytes[part].sum())
    energy["base"] = (power.constant_w - sum(power.idle_w.values())) * seconds
    return energy


def summarize(timeline: Timeline, power: PowerModel, run: Run, preparation_s: float = 0.0, *, peak: bool = True) -> dict[str, float | None]:
    """Return the metrics of a run.

    Parameters
    ----------
    timeline
        The simulated run.
    power
        Its power figures.
    run
        Prompt and output tokens.
    preparation_s
        Preparation that this prompt has to wait for (an engine that rebuilds its graph), during which the SoC draws its
        constant power and one busy CPU.
    peak
        Whether to find the peak power, which takes most of the time.

    Returns
    -------
    dict
        ``ttft_s``, ``makespan_s``, ``prefill_tokens_per_s``, ``tpot_s`` and ``decode_tokens_per_s`` (None without decode),
        ``e2e_s``; ``prefill_energy_j`` (until the first token), ``e2e_energy_j``, energy of the whole run by part
        (``cpu_energy_j``, ``gpu_...``, ``npu_...``, ``dram_...``, ``base_...``), ``mean_power_w``, ``peak_power_w``,
        ``dram_bytes``; for each of CPU, GPU and NPU ``*_utilization`` and ``*_bubble_rate`` of the prefill (0 for a
        processor that is not used).
    """
    count = timeline.graph.prefill_count
    prefill, everything = slice(0, count), slice(None)
    first, last = int(timeline.start_ns[prefill].min()), int(timeline.end_ns[prefill].max())
    makespan_s, end_s = (last - first) / NANOSECONDS, int(timeline.end_ns.max()) / NANOSECONDS
    ttft_s, e2e_s = last / NANOSECONDS + preparation_s, end_s + preparation_s
    steps_done = run.output_tokens - 1
    tpot_s = (e2e_s - ttft_s) / steps_done if steps_done else None
    active_j = active_energy(timeline, power)
    energy, prefill_energy = (_energy(timeline, power, active_j, *part) for part in ((everything, e2e_s), (prefill, ttft_s)))
    for part in (energy, prefill_energy):
        part["cpu"] += power.extra_w["cpu"] * preparation_s
    result: dict[str, float | None] = {
        "ttft_s": ttft_s,
        "makespan_s": makespan_s,
        "prefill_tokens_per_s": (run.prompt_tokens - run.cached_tokens) / ttft_s,
        "tpot_s": tpot_s,
        "decode_tokens_per_s": 1.0 / tpot_s if tpot_s else None,
        "e2e_s": e2e_s,
        "prefill_energy_j": sum(prefill_energy.values()),
        "e2e_energy_j": sum(energy.values()),
        "mean_power_w": sum(energy.values()) / e2e_s,
        "peak_power_w": float(power_steps(timeline, power, active_j)[1].max()) if peak else None,
        "dram_bytes": float(timeline.costs.dram_bytes.sum()),
    }
    for name in ("cpu", "gpu", "npu"):
        used = name in timeline.graph.processors
        begin, end, busy = prefill_span_ns(timeline, timeline.graph.processors.index(name)) if used else (0, 0, 0)
        result[f"{name}_utilization"] = busy / NANOSECONDS / makespan_s
        result[f"{name}_bubble_rate"] = 1.0 - busy / (end - begin) if busy else 0.0
        result[f"{name}_energy_j"] = energy.get(name, 0.0)
    result |= {"dram_energy_j": energy["dram"], "base_energy_j": energy["base"]}
    return result
