"""Description of a phone SoC: processors, DRAM, flash, synchronization, power and operating points."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from socsim.errors import SocsimError, unknown_name
from socsim.specs.base import Count, DataType, Fraction, NonNegative, NonNegativeCount, Positive, ProcessorName, Spec


class Throughput(Spec):
    """How fast one processor multiplies matrices of one data type.

    A product of M x K by K x N takes ``overhead_s + layout + multiplications and weights``:

    * layout: M K bytes at `input_bytes_per_s`, where the left operand comes from outside the subgraph;
    * multiplications: 2 M' K' N' operations at `peak_ops_per_s`, with M', K', N' padded to the tile;
    * weights: K N elements, as wide as they are multiplied, at `weight_bytes_per_s`, beside the multiplications (the longer
      counts) or between them.

    One row takes the stored bytes of its weights at the processor's `row_bytes_per_s` instead, where kernels have a matrix-vector path.
    """

    peak_ops_per_s: Positive = Field(description="operations per second that large products approach (1 MAC = 2 operations)")
    overhead_s: NonNegative = Field(0.0, description="time of each product beside its multiplications")
    input_bytes_per_s: Positive | None = Field(None, description="rate at which a left operand from outside is laid out; none: free")
    weight_bytes_per_s: Positive | None = Field(
        None, description="rate of bringing weights in, as wide as multiplied; none: as stored at row_bytes_per_s"
    )
    overlaps_weights: bool = Field(True, description="weights come in beside the multiplications, not between them")


class GraphLifeCycle(Spec):
    """What it costs to make static graphs for a processor before the first prompt."""

    setup_s: NonNegative = Field(description="opening the runtime once")
    build_s_per_subgraph: NonNegative = Field(description="describing one subgraph of one chunk length to the runtime")
    optimize_s_per_weight_byte: NonNegative = Field(description="compiling, by bytes of weights in the graphs")
    load_bytes_per_s: Positive | None = Field(None, description="loading graphs that were optimized and saved before; none: not known")
    free_s: NonNegative = Field(description="releasing the graphs")


class Processor(Spec):
    """One processor: what it computes, how it reaches DRAM, and what starting it costs."""

    throughput: dict[DataType, Throughput | str] = Field(
        min_length=1,
        description="matrix products by data type, or the name of a path, or of a data type to which operands are converted",
    )
    paths: dict[str, Throughput] = Field(default_factory=dict, description="ways to compute a data type, of which throughput names one")
    row_bytes_per_s: Positive | None = Field(None, description="products of one row: bytes of stored weights; none: as other products")
    isolated_call_s: NonNegative = Field(0.0, description="what one call measured alone takes beside its work; a busy runtime pays none")
    flat_input_slowdown: Positive = Field(1.0, description="time of products with all rows in one line over those with near-square input")
    spill_bytes_per_s: Positive | None = Field(None, description="rate of moving what exceeds on-chip memory out and in; none: free")
    speed: Positive = Field(1.0, description="factor on all rates of computing, for a processor known by its speed relative to another")
    vector_bytes_per_s: Positive = Field(description="element-wise work: bytes of operands read and written per second")
    vector_ops_per_s: Positive | None = Field(None, description="element-wise work: operations per second; none: bound by bytes alone")
    fuses_conversions: bool = Field(
        False, description="kernels convert weights and add groups in registers, not as operators and sub-products of their own"
    )
    tile: Count = Field(1, description="elements to which every dimension of a product is padded")
    launch_overhead_s: NonNegative = Field(description="time to start one subgraph")
    bandwidth_bytes_per_s: Positive = Field(description="DRAM bandwidth that this processor can draw alone")
    on_chip_memory_bytes: NonNegative = Field(0.0, description="a tensor inside a subgraph goes to DRAM only beyond this")
    core_speeds: tuple[Positive, ...] = Field(
        (1.0,), min_length=1, description="relative speed of each core, in the order threads use them"
    )
    reference_threads: Count = Field(1, description="threads at which the rates above were measured")
    addressable_memory_bytes: Positive | None = Field(None, description="memory that one session can map; none: all")
    graph_life_cycle: GraphLifeCycle | None = Field(None, description="cost of static graphs; none: needs none")

    def rates(self, data_type: str) -> Throughput:
        """Return the throughput of a data type.

        Raises
        ------
        SocsimError
            The processor has none for it.
        """
        chosen: Throughput | str | None = self.throughput.get(data_type)  # type: ignore[call-overload]
        if chosen is None:
            raise SocsimError(
                f"throughput has no '{data_type}', which the work placed here needs; it has: {', '.join(sorted(self.throughput))}"
            )
        if isinstance(chosen, str):
            return self.paths[chosen] if chosen in self.paths else self.rates(chosen)
        return chosen

    def multiplied_type(self, data_type: str) -> str:
        """Return the data type in which operands are multiplied: another one where they are converted to it."""
        chosen = self.throughput.get(data_type)  # type: ignore[call-overload]
        return chosen if isinstance(chosen, str) and chosen not in self.paths else data_type

    @model_validator(mode="after")
    def _check_paths(self) -> Self:
        for data_type, chosen in self.throughput.items():
            allowed = [*self.paths, *(name for name, rates in self.throughput.items() if isinstance(rates, Throughput))]
            if isinstance(chosen, str) and chosen not in allowed:
                raise ValueError(str(unknown_name(f"throughput.{data_type}: path or data type", chosen, allowed)))
        return self

    @model_validator(mode="after")
    def _check_threads(self) -> Self:
        if self.reference_threads > len(self.core_speeds):
            raise ValueError(f"reference_threads {self.reference_threads} exceeds the {len(self.core_speeds)} cores in core_speeds")
        return self

    def thread_speedup(self, threads: int) -> float:
        """Return the rate with a number of threads over the rate at the reference; more threads than cores count as all."""
        return sum(self.core_speeds[:threads]) / sum(self.core_speeds[: self.reference_threads])


class Dram(Spec):
    """The memory that all processors share."""

    capacity_bytes: Positive = Field(description="memory that a model may use")
    peak_bytes_per_s: Positive = Field(description="bus width times transfer rate")
    achievable_bytes_per_s: Positive = Field(description="what all processors together draw at most")

    @model_validator(mode="after")
    def _check_bandwidth(self) -> Self:
        if self.achievable_bytes_per_s > self.peak_bytes_per_s:
            raise ValueError(f"achievable_bytes_per_s {self.achievable_bytes_per_s:g} exceeds peak_bytes_per_s {self.peak_bytes_per_s:g}")
        return self


class Flash(Spec):
    """Storage from which cold outlier weights are fetched."""

    random_read_bytes_per_s: Positive = Field(description="reads of a few KiB at random places")


class Synchronization(Spec):
    """One way to hand a tensor from one processor to another."""

    latency_s: NonNegative = Field(description="from the end of the producer's part to the earliest start of the consumer")
    launch_work_s: NonNegative = Field(description="work on the initiating (producing) processor for each hand-over")
    cache_bytes_per_s: Positive | None = Field(None, description="cache maintenance on the producer, by bytes handed over; none: coherent")
    waiting_threads: NonNegativeCount = Field(0, description="CPU threads that spin all the time, to see at once when a result is there")


class ProcessorPower(Spec):
    """Power of one processor by state."""

    idle_w: NonNegative = Field(description="while no subgraph runs on it")
    active_w: tuple[NonNegative, ...] = Field(min_length=1, description="while a subgraph runs, with 1, 2, 3, ... threads in use")
    memory_bound_share: Fraction = Field(
        1.0, description="share of active power above idle in element-wise work, launches, hand-overs and waiting"
    )


class PowerCalibration(Spec):
    """One self-consistent set of power figures; sets measured in different ways are never mixed."""

    base_w: NonNegative = Field(description="everything that is neither a processor nor DRAM traffic")
    dram_j_per_byte: NonNegative = Field(description="energy of moving one byte from or to DRAM")
    processors: dict[ProcessorName, ProcessorPower]


class OperatingPoint(Spec):
    """Clock of each processor relative to the one at which its rates were measured."""

    rate_scale: dict[ProcessorName, Positive] = Field(default_factory=dict, description="throughput over the file's rates")
    active_power_scale: dict[ProcessorName, Positive] = Field(default_factory=dict, description="active power over the file's")


class SoC(Spec):
    """A phone SoC; every number is in SI units and named with its unit."""

    name: str
    description: str = ""
    processors: dict[ProcessorName, Processor]
    dram: Dram
    flash: Flash
    synchronization: dict[str, Synchronization] = Field(min_length=1)
    power: dict[str, PowerCalibration] = Field(min_length=1)
    operating_points: dict[str, OperatingPoint] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_power(self) -> Self:
        if "cpu" not in self.processors:
            raise ValueError("processors: a SoC needs a 'cpu'")
        for name, calibration in self.power.items():
            missing = sorted(set(self.processors) - set(calibration.processors))
            if missing:
                raise ValueError(f"power.{name}.processors lacks {', '.join(missing)}")
        return self
