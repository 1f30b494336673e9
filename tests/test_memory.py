"""DRAM sharing: hand-computed flows, and agreement with a plain fluid model."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from typing import NamedTuple

import pytest
from random_graphs import hand_costs

from socsim.errors import SocsimError
from socsim.memory import MODES, Memory, PrivateMemory, SharedMemory, make_memory
from socsim.simulator import simulate


class Flow(NamedTuple):
    processor: int
    start: int
    amount: float


def fair_shares(caps: dict[int, float], achievable: float) -> dict[int, float]:
    """Raise all rates together; whoever reaches its cap stays there, and the others share what is left."""
    rates: dict[int, float] = {}
    while len(rates) < len(caps):
        share = (achievable - sum(rates.values())) / (len(caps) - len(rates))
        full = [flow for flow in caps if flow not in rates and caps[flow] <= share]
        for flow in full or [flow for flow in caps if flow not in rates]:
            rates[flow] = min(share, caps[flow])
    return rates


def fluid_ends(flows: list[Flow], caps: list[float], achievable: float) -> list[float]:
    """Play flows with fixed starts as a fluid, event by event; a processor's next flow replaces what is left of its last."""
    left: dict[int, float] = {}
    ends = [0.0] * len(flows)
    now = 0.0
    coming = sorted(range(len(flows)), key=lambda index: flows[index].start)
    while left or coming:
        rates = fair_shares({index: caps[flows[index].processor] for index in left}, achievable)
        through = {index: now + left[index] / rates[index] for index in left}
        upcoming = min([*through.values(), *(flows[index].start for index in coming[:1])])
        left = {index: amount - rates[index] * (upcoming - now) for index, amount in left.items()}
        now = upcoming
        for index in [index for index in left if through[index] <= now + 1e-6]:
            ends[index] = now
            del left[index]
        while coming and flows[coming[0]].start <= now:
            index = coming.pop(0)
            for other in [other for other in left if flows[other].processor == flows[index].processor]:
                ends[other] = now
                del left[other]
            left[index] = flows[index].amount
    return ends


def drive(memory: Memory, work: list[list[tuple[int, float]]]) -> tuple[list[Flow], list[int], set[int]]:
    """Let each processor stream its flows, each some time after the one before; return flows, ends, and how many met."""
    flows: list[Flow] = []
    ends: list[int] = []
    running: dict[int, int] = {}
    met: set[int] = set()
    queue = [(todo[0][0], processor) for processor, todo in enumerate(work)]
    queue.sort()
    while queue:
        now, processor = heappop(queue)
        if processor in running:
            if memory.ends[processor] > now:
                heappush(queue, (memory.ends[processor], processor))
                continue
            ends[running.pop(processor)] = now
            if work[processor]:
                heappush(queue, (now + work[processor][0][0], processor))
            continue
        _, amount = work[processor].pop(0)
        met.add(len(running) + 1)
        running[processor] = len(flows)
        flows.append(Flow(processor, now, amount))
        ends.append(-1)
        heappush(queue, (memory.start(processor, amount, now), processor))
    return flows, ends, met


def test_shared_memory_agrees_with_the_fluid_model() -> None:
    met: set[tuple[int, int]] = set()
    for seed in range(150):
        rng = random.Random(seed)
        count = 1 + seed % 4
        caps = [rng.choice((1e9, 2e9, rng.uniform(5e8, 8e9))) for _ in range(count)]
        achievable = rng.choice((2e9, sum(caps) * rng.uniform(0.3, 1.1)))
        work = [
            [(rng.choice((0, 10, rng.randint(0, 500))), rng.choice((0.0, 100.0, rng.uniform(0, 2000)))) for _ in range(12)] for _ in caps
        ]
        flows, ends, together = drive(SharedMemory(caps, achievable), work)
        expected = fluid_ends(flows, [cap * 1e-9 for cap in caps], achievable * 1e-9)
        assert ends == pytest.approx(expected, abs=1.0), seed
        met |= {(count, number) for number in together}
    assert met == {(count, number) for count in range(1, 5) for number in range(1, count + 1)}


def test_total_rate_never_exceeds_what_dram_achieves() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        caps = [rng.uniform(1e9, 4e9) for _ in range(3)]
        work = [[(rng.randint(0, 50), rng.uniform(100, 2000)) for _ in range(10)] for _ in caps]
        flows, ends, _ = drive(SharedMemory(caps, 3e9), work)
        assert sum(flow.amount for flow in flows) <= 3.0 * (max(ends) + 1)


def test_one_flow_streams_at_its_cap() -> None:
    assert SharedMemory([2e9, 1e9], 10e9).start(0, 100.0, 7) == 57


def test_one_flow_streams_at_what_dram_achieves_if_that_is_less() -> None:
    assert SharedMemory([4e9], 2e9).start(0, 100.0, 0) == 50


def test_two_flows_share_and_the_longer_one_speeds_up() -> None:
    memory = SharedMemory([1e9, 3e9], 3e9)
    assert memory.start(0, 60.0, 0) == 60
    # The share is 1.5 bytes/ns; the first takes 1, its cap, the second what is left, 2: 120 bytes until 60 ns, then 30 at 3.
    assert memory.start(1, 150.0, 0) == 70
    assert memory.ends == [60, 70]


def test_a_third_flow_slows_two_and_all_speed_up_as_flows_end() -> None:
    memory = SharedMemory([1e9, 2e9, 2e9], 3e9)
    memory.start(0, 60.0, 0)
    memory.start(2, 100.0, 0)
    assert memory.ends == [60, 0, 50]
    # At 20 ns 40 bytes of the first and 60 of the third are left, and each gets 1 byte/ns. At 60 ns the first ends; 20 are
    # left of the third and 40 of the second, at 1.5 each: the third ends at 73.3, when 20 are left of the second, at 2.
    assert memory.start(1, 80.0, 20) == 83
    assert memory.ends == [60, 83, 73]


def test_equal_flows_end_together() -> None:
    memory = SharedMemory([1e9, 1e9, 1e9], 1.5e9)
    for processor in range(3):
        memory.start(processor, 100.0, 0)
    assert memory.ends == [200, 200, 200]


def test_flow_after_all_have_ended_has_dram_to_itself() -> None:
    memory = SharedMemory([1e9, 1e9], 1e9)
    memory.start(0, 10.0, 0)
    memory.start(1, 10.0, 0)
    assert memory.ends == [20, 20]
    assert memory.start(0, 10.0, 20) == 30


def test_flow_of_no_bytes_ends_at_once() -> None:
    for mode in MODES:
        memory = make_memory(mode, [1e9, 1e9], 1e9)
        memory.start(1, 50.0, 0)
        assert memory.start(0, 0.0, 10) == 10


def test_private_flows_do_not_meet() -> None:
    memory = PrivateMemory([1e9, 2e9], 2e9)
    assert (memory.start(0, 100.0, 0), memory.start(1, 100.0, 0)) == (100, 50)


@pytest.mark.parametrize("mode", ["private", "shared"])
def test_cap_above_what_dram_achieves_counts_as_that(mode: str) -> None:
    assert make_memory(mode, [4e9], 2e9).start(0, 1000.0, 0) == 500
    costs = hand_costs([("cpu", 1, 1000, [])], bandwidth={"cpu": 4e9}, achievable=2e9)
    when, rate = simulate(costs.graph, costs, "fifo", memory=mode).dram_rate
    assert (when.tolist(), rate.tolist()) == ([0, 500], [2e9, 0.0])


def test_no_flow_ends_earlier_than_alone() -> None:
    # Alone, 2039 bytes at 2 bytes/ns take 1019.5 ns, which is rounded; a second flow that takes nothing away changes nothing.
    for start in range(4):
        alone, beside = SharedMemory([2e9, 1e9], 4e9), SharedMemory([2e9, 1e9], 4e9)
        beside.start(1, 1e4, 0)
        assert beside.start(0, 2039.0, start) >= alone.start(0, 2039.0, start)


def test_infinite_memory_takes_no_time() -> None:
    assert Memory([1e9], 1e9).start(0, 1e12, 5) == 5


def test_unknown_mode() -> None:
    with pytest.raises(SocsimError, match=r"unknown memory mode 'share' \(did you mean 'shared'\?\); allowed: infinite, private, shared"):
        make_memory("share", [1e9], 1e9)
