"""Who gets how much DRAM bandwidth when several processors stream at the same time.

One method, `start`, opens a flow and says when it will end; a later flow can only push that end back, so a processor
that wakes at the announced end looks again. Three modes: ``infinite`` (bytes take no time), ``private`` (every processor
streams at its own cap), ``shared`` (max-min fair shares below the caps, their sum below what DRAM achieves).
"""

from __future__ import annotations

from collections.abc import Sequence

from socsim.cost import PER_NS
from socsim.errors import unknown_name

Flow = tuple[float, float, int]
"""Cap (bytes/ns), bytes left, processor."""

TOLERANCE_NS = 1e-3
"""A flow with less than this left has ended; far above the rounding of clocks, far below the nanosecond of events."""


class Memory:
    """Flows of the processors of one run, one at a time for each processor; this base takes no time for any.

    Parameters
    ----------
    bandwidth_bytes_per_s
        Cap of each processor; one above what DRAM achieves counts as that.
    achievable_bytes_per_s
        What all flows together get at most.
    """

    def __init__(self, bandwidth_bytes_per_s: Sequence[float], achievable_bytes_per_s: float) -> None:
        self.caps = [min(cap, achievable_bytes_per_s) * PER_NS for cap in bandwidth_bytes_per_s]
        self.achievable = achievable_bytes_per_s * PER_NS
        self.ends = [0] * len(self.caps)
        """When the latest flow of each processor ends, as far as is known now (ns)."""

    def start(self, processor: int, amount: float, now: int) -> int:
        """Open a flow of `amount` bytes at `now` (ns) and return when it ends, as far as is known now."""
        self.ends[processor] = now
        return now


class PrivateMemory(Memory):
    """Every processor streams at its own cap, whatever the others do."""

    def start(self, processor: int, amount: float, now: int) -> int:
        """Open a flow that nobody disturbs."""
        end = now + round(amount / self.caps[processor])
        self.ends[processor] = end
        return end


class SharedMemory(Memory):
    """Processors that stream at the same time share DRAM max-min fairly.

    Between two starts the flows evolve in stages, each ended by one of them, so all ends are known as soon as a flow
    starts: no event is needed at the end of a flow, and none when shares grow.
    """

    def __init__(self, bandwidth_bytes_per_s: Sequence[float], achievable_bytes_per_s: float) -> None:
        super().__init__(bandwidth_bytes_per_s, achievable_bytes_per_s)
        self._flows: list[Flow] = []  # at `_clock`, by rising cap, then processor
        self._clock: float = 0.0
        self._first_end = 0.0  # when the first of two flows ends
        self._survivor: Flow = (0.0, 0.0, 0)  # the other one at that time
        self._quiet = 0  # when the last flow ends

    def start(self, processor: int, amount: float, now: int) -> int:
        """Open a flow and push the ends of those that it slows down."""
        cap = self.caps[processor]
        if now < self._quiet:
            flows, clock = self._flows, self._clock
            if len(flows) > 1:
                if len(flows) > 2 or now < self._first_end:
                    return self._crowd(processor, amount, now)
                other_cap, left, other = self._survivor
                clock = self._first_end
            else:
                other_cap, left, other = flows[0]
            # An end rounded down to whole nanoseconds may leave a fraction of one of the processor's last flow behind.
            if other != processor:
                return self._pair((cap, amount, processor), (other_cap, left - other_cap * (now - clock), other), now)
        self.ends[processor] = self._quiet = end = now + round(amount / cap)
        self._flows = [(cap, amount, processor)]
        self._clock = now
        return end

    def _pair(self, new: Flow, old: Flow, now: int) -> int:
        """See when each of two flows ends that stream together from now on."""
        slow, fast = (new, old) if (new[0], new[2]) < (old[0], old[2]) else (old, new)
        self._flows, self._clock = [slow, fast], now
        slow_cap, slow_left, _ = slow
        fast_cap, fast_left, _ = fast
        free = self.achievable
        slow_rate = slow_cap if slow_cap < free / 2 else free / 2
        fast_rate = fast_cap if fast_cap < free - slow_rate else free - slow_rate
        if slow_left * fast_rate <= fast_left * slow_rate:
            step, first = slow_left / slow_rate, slow[2]
            cap, left, last = survivor = (fast_cap, fast_left - fast_rate * step, fast[2])
        else:
            step, first = fast_left / fast_rate, fast[2]
            cap, left, last = survivor = (slow_cap, slow_left - slow_rate * step, slow[2])
        self._first_end, self._survivor = now + step, survivor
        end, quiet, ends = now + round(step), now + round(step + left / cap), self.ends
        ends[new[2]] = now + round(new[1] / new[0])  # alone; the other can only push it back
        if end > ends[first]:
            ends[first] = end
        if quiet > ends[last]:
            ends[last] = quiet
        self._quiet = quiet
        return ends[new[2]]

    def _crowd(self, processor: int, amount: float, now: int) -> int:
        """Open a flow beside two or more: bring those up to date, and see when each of all ends."""
        flows = [flow for flow in self._evolve(self._flows, self._clock, now)[0] if flow[2] != processor]
        flows.append((self.caps[processor], amount, processor))
        flows.sort(key=_order)
        self._flows, self._clock = flows, now
        self.ends[processor] = now + round(amount / self.caps[processor])  # alone; the others can only push it back
        self._first_end = float("inf")  # no survivor is known: should two flows be left, the next one comes here again
        for end, finished in self._evolve(flows, now, None)[1]:
            self._quiet = now + round(end - now)
            for place in finished:
                self.ends[place] = max(self.ends[place], self._quiet)
        return self.ends[processor]

    def _evolve(self, flows: list[Flow], clock: float, until: int | None) -> tuple[list[Flow], list[tuple[float, list[int]]]]:
        """Let flows run from `clock` until an instant, or out.

        Returns the flows that are left, and the stages passed: when each ended, and whose flows ended then.
        """
        stages: list[tuple[float, list[int]]] = []
        while flows:
            rates = self._shares(flows)
            step = min([flow[1] / rate for flow, rate in zip(flows, rates, strict=True)])
            if until is not None and clock + step > until:
                span = until - clock
                return [(cap, left - rate * span, place) for (cap, left, place), rate in zip(flows, rates, strict=True)], stages
            clock += step
            ahead, finished = [], []
            for (cap, left, place), rate in zip(flows, rates, strict=True):
                if left - rate * step > TOLERANCE_NS * rate:
                    ahead.append((cap, left - rate * step, place))
                else:
                    finished.append(place)
            stages.append((clock, finished))
            flows = ahead
        return flows, stages

    def _shares(self, flows: list[Flow]) -> list[float]:
        """Return the max-min fair rate of each flow; they are sorted by cap."""
        free, count, rates = self.achievable, len(flows), []
        for flow in flows:
            share = free / count
            rate = flow[0] if flow[0] < share else share
            rates.append(rate)
            free -= rate
            count -= 1
        return rates


def _order(flow: Flow) -> tuple[float, int]:
    return flow[0], flow[2]


MODES: dict[str, type[Memory]] = {"infinite": Memory, "private": PrivateMemory, "shared": SharedMemory}


def make_memory(mode: str, bandwidth_bytes_per_s: Sequence[float], achievable_bytes_per_s: float) -> Memory:
    """Return a fresh memory in one of the modes ``infinite``, ``private`` and ``shared``.

    Raises
    ------
    SocsimError
        The mode is unknown.
    """
    if mode not in MODES:
        raise unknown_name("memory mode", mode, MODES)
    return MODES[mode](bandwidth_bytes_per_s, achievable_bytes_per_s)
