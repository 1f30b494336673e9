"""Limits of every cost model: nothing costs its fixed part, much approaches the rate that bounds it, and more is never cheaper.

All hold for the shipped SoCs, whatever numbers their files have, and for the paths that no data type has chosen.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from socsim.catalog import list_socs, load_engine, load_model, load_soc
from socsim.cost import graph_costs
from socsim.graph import DATA_TYPE_BYTES, Operator, Subgraph, TaskGraph, Work
from socsim.operators import OperatorModel
from socsim.roofline import CostModel, product_s, spilled_bytes, subgraph_dram_bytes
from socsim.simulator import simulate
from socsim.specs import Efficiency, Engine, Processor, Run, Throughput

SOCS = {name: load_soc(name) for name in list_socs()}
ENGINE = load_engine("llm-npu").override({"efficiency": {}, "square_inputs": True}, "engine")
RUN = Run(prompt_tokens=8)
HUGE = 2**44
FREE = 1e300
EXACT = 1 + 1e-9
"""What rounding of floats may take off."""


class Case(NamedTuple):
    """A processor of a shipped SoC and one way in which it multiplies."""

    soc: str
    name: str
    processor: Processor
    data_type: str

    @property
    def rates(self) -> Throughput:
        return self.processor.rates(self.data_type)

    def changed(self, **fields: Any) -> Case:
        """Return the case with other fields of its processor or its throughput."""
        own = {name: value for name, value in fields.items() if name in Processor.model_fields}
        rates = self.rates.model_copy(update={name: value for name, value in fields.items() if name not in own})
        return self._replace(processor=self.processor.model_copy(update={**own, "throughput": {self.data_type: rates}}))

    def seconds(self, rows: int, inner: int, columns: int, count: int = 1, *, weights: bool = True, **more: Any) -> float:
        """Return the time of products whose weights are stored as wide as they are multiplied."""
        stored = inner * columns * count * DATA_TYPE_BYTES[self.data_type] if weights else 0
        return product_s(self.processor, self.data_type, rows, inner, columns, count=count, weight_bytes=stored, **more)


def cases() -> list[Case]:
    """Return every processor with every data type that it multiplies, and with every path for fp16."""
    found = []
    for soc_name, soc in SOCS.items():
        for name, processor in soc.processors.items():
            found += [Case(soc_name, name, processor, each) for each in processor.throughput if processor.multiplied_type(each) == each]
            for path in processor.paths:
                found.append(Case(soc_name, name, processor.model_copy(update={"throughput": {"fp16": path}}), "fp16"))
    return found


CASES = cases()
ANY_CASE = st.sampled_from(CASES)
SIZE = st.integers(1, 4096)
SEVERAL = st.integers(2, 4096)
FASTER = st.floats(1, 1e6)
BYTES = st.integers(0, 10**10)
PLACES = st.sampled_from([(soc, name) for soc in SOCS for name in SOCS[soc].processors])
PROCESSORS = [(soc, str(name)) for soc in SOCS for name in SOCS[soc].processors]


@cache
def model(soc: str, **changes: Any) -> CostModel:
    """Return the cost model of a shipped SoC; `changes` are of engine fields, with `__` for a dot."""
    engine: Engine = ENGINE.override({field.replace("__", "."): value for field, value in changes.items()}, "engine")
    return CostModel(SOCS[soc], engine, RUN)


def operator(kind: Any, **fields: Any) -> Operator:
    given: dict[str, Any] = {"data_type": "fp16", "ops": 0} | fields
    return Operator("x", kind, **given)


# Products: zero and huge work


@given(ANY_CASE, SIZE, SIZE, SIZE, st.integers(1, 9))
def test_product_of_nothing_takes_its_overhead(case: Case, rows: int, inner: int, columns: int, count: int) -> None:
    seconds = case.seconds(rows, inner, columns, count, weights=False, macs=0, enters=False, speedup=7.0)
    assert seconds == pytest.approx(case.rates.overhead_s * count)


@given(ANY_CASE, SIZE, SIZE, SIZE)
def test_product_takes_at_least_each_of_its_bounds_and_at_most_all_together(case: Case, rows: int, inner: int, columns: int) -> None:
    assume(rows > 1 or case.processor.row_bytes_per_s is None)
    rates, width, tile = case.rates, DATA_TYPE_BYTES[case.data_type], case.processor.tile
    padded = [math.ceil(size / tile) * tile for size in (rows, inner, columns)]
    multiply = 2 * math.prod(padded) / rates.peak_ops_per_s
    weights = inner * columns * width / (rates.weight_bytes_per_s or FREE)
    layout = rows * inner * width / (rates.input_bytes_per_s or FREE)
    seconds = case.seconds(rows, inner, columns)
    assert seconds * EXACT >= rates.overhead_s + layout + max(multiply, weights)
    streamed = inner * columns * width / (rates.weight_bytes_per_s or case.processor.row_bytes_per_s or FREE)
    assert seconds <= (rates.overhead_s + layout + multiply + streamed) * EXACT


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.soc}-{case.name}-{case.data_type}")
def test_many_rows_approach_the_peak(case: Case) -> None:
    rows = inner = columns = 2**20
    ops_per_s = 2 * HUGE * inner * columns / case.seconds(HUGE, inner, columns, enters=False)
    assert ops_per_s == pytest.approx(case.rates.peak_ops_per_s, rel=1e-3)
    assert 2 * rows * inner * columns / case.seconds(rows, inner, columns) < case.rates.peak_ops_per_s * EXACT


@given(ANY_CASE, SEVERAL, st.floats(1e3, 1e12), st.booleans())
def test_weights_approach_their_rate_where_multiplying_is_free(case: Case, rows: int, rate: float, overlaps: bool) -> None:
    fast = case.changed(peak_ops_per_s=FREE, weight_bytes_per_s=rate, overlaps_weights=overlaps, input_bytes_per_s=None)
    inner = columns = 2**30
    weight_bytes = inner * columns * DATA_TYPE_BYTES[case.data_type]
    assert weight_bytes / fast.seconds(rows, inner, columns) == pytest.approx(rate, rel=1e-3)


@given(ANY_CASE, SEVERAL, SIZE, st.floats(1e3, 1e12))
def test_layout_of_inputs_approaches_its_rate_and_knows_no_columns(case: Case, rows: int, columns: int, rate: float) -> None:
    fast = case.changed(peak_ops_per_s=FREE, weight_bytes_per_s=None, row_bytes_per_s=None, input_bytes_per_s=rate)
    width = DATA_TYPE_BYTES[case.data_type]
    assert rows * HUGE * width / fast.seconds(rows, HUGE, columns) == pytest.approx(rate, rel=1e-3)
    assert fast.seconds(rows, HUGE, columns, enters=False) == pytest.approx(case.rates.overhead_s, abs=1e-200)


@given(ANY_CASE, SIZE, SIZE, SIZE)
def test_layout_is_that_of_operands_from_outside(case: Case, rows: int, inner: int, columns: int) -> None:
    outside, inside = (case.seconds(rows, inner, columns, enters=enters) for enters in (True, False))
    rate, path = case.rates.input_bytes_per_s, rows == 1 and case.processor.row_bytes_per_s
    layout = 0.0 if rate is None or path else rows * inner * DATA_TYPE_BYTES[case.data_type] / rate
    assert outside - inside == pytest.approx(layout, abs=1e-12 * outside)


# Products: more is never cheaper, faster is never slower


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.soc}-{case.name}-{case.data_type}")
@given(inner=SIZE, columns=SIZE)
def test_one_row_takes_no_longer_than_two(case: Case, inner: int, columns: int) -> None:
    assert case.seconds(1, inner, columns) <= case.seconds(2, inner, columns) * EXACT


@given(ANY_CASE, st.tuples(SIZE, SIZE, SIZE, st.integers(1, 20)), st.integers(0, 3), st.integers(1, 5000), st.booleans(), st.booleans())
def test_products_take_longer_in_every_dimension(
    case: Case, sizes: tuple[int, int, int, int], which: int, more: int, weights: bool, square: bool
) -> None:
    larger = tuple(size + more * (place == which) for place, size in enumerate(sizes))
    small, large = (case.seconds(*dimensions, weights=weights, square_inputs=square) for dimensions in (sizes, larger))
    assert 0 < small <= large * EXACT
    assert math.isfinite(large)
    assert case.seconds(*(64 * size for size in sizes)) > case.seconds(*sizes)


@given(
    ANY_CASE, SIZE, SIZE, SIZE, st.sampled_from(["peak_ops_per_s", "weight_bytes_per_s", "input_bytes_per_s", "row_bytes_per_s"]), FASTER
)
def test_no_product_is_slower_at_a_faster_rate(case: Case, rows: int, inner: int, columns: int, field: str, factor: float) -> None:
    rate = getattr(case.processor if field == "row_bytes_per_s" else case.rates, field)
    if rate is None:
        assert case.changed(**{field: 1e3}).seconds(rows, inner, columns) * EXACT >= case.seconds(rows, inner, columns)
        return
    fast, base = (changed.seconds(rows, inner, columns) for changed in (case.changed(**{field: rate * factor}), case))
    assert fast <= base * EXACT


@given(ANY_CASE, SIZE, SIZE, SIZE, st.floats(0, 1))
def test_less_overhead_is_never_slower(case: Case, rows: int, inner: int, columns: int, share: float) -> None:
    less = case.changed(overhead_s=case.rates.overhead_s * share)
    saved = case.seconds(rows, inner, columns) - less.seconds(rows, inner, columns)
    assert saved == pytest.approx(case.rates.overhead_s * (1 - share), abs=1e-9 * case.seconds(rows, inner, columns))


@given(ANY_CASE, SIZE, SIZE, SIZE, FASTER)
def test_speedup_divides_all_but_the_overhead(case: Case, rows: int, inner: int, columns: int, speedup: float) -> None:
    base = case.seconds(rows, inner, columns) - case.rates.overhead_s
    fast = case.seconds(rows, inner, columns, speedup=speedup) - case.rates.overhead_s
    assert fast == pytest.approx(base / speedup, abs=1e-12)


@given(ANY_CASE, SEVERAL, SIZE, SIZE, FASTER)
def test_efficiency_of_linears_is_a_speedup_of_several_rows(case: Case, rows: int, inner: int, columns: int, factor: float) -> None:
    def seconds(**kernels: float) -> float:
        return case.seconds(rows, inner, columns, efficiency=Efficiency(**kernels))

    assert seconds(linear=factor, row=factor) == pytest.approx(case.seconds(rows, inner, columns, speedup=factor), rel=1e-9, abs=0)
    assert seconds(attention=factor) == case.seconds(rows, inner, columns)
    # Rows matter where a file knows no other rate of weights than that of one row.
    if case.rates.weight_bytes_per_s is not None or case.processor.row_bytes_per_s is None:
        assert seconds(linear=factor) == seconds(linear=factor, row=factor)


@given(ANY_CASE, SEVERAL, SIZE, SIZE, FASTER, st.floats(0.1, 4))
def test_several_rows_bring_in_weights_as_one_does_where_no_other_rate_is_known(
    case: Case, rows: int, inner: int, columns: int, factor: float, width: float
) -> None:
    fast = case.changed(peak_ops_per_s=FREE, weight_bytes_per_s=None, input_bytes_per_s=None, row_bytes_per_s=1e9)
    stored, kernels = width * inner * columns, Efficiency(row=factor)
    one, many = (product_s(fast.processor, case.data_type, m, inner, columns, weight_bytes=stored, efficiency=kernels) for m in (1, rows))
    assert one == many == pytest.approx(case.rates.overhead_s + stored / (1e9 * factor), rel=1e-9, abs=0)


@given(ANY_CASE, SEVERAL, SIZE, SIZE, FASTER)
def test_efficiency_of_weights_is_a_rate_of_weights(case: Case, rows: int, inner: int, columns: int, factor: float) -> None:
    rated = case.changed(weight_bytes_per_s=case.rates.weight_bytes_per_s or 1e9)
    assert rated.rates.weight_bytes_per_s is not None
    faster = rated.changed(weight_bytes_per_s=rated.rates.weight_bytes_per_s * factor)
    own = Efficiency(weights=factor)
    assert rated.seconds(rows, inner, columns, efficiency=own) == pytest.approx(faster.seconds(rows, inner, columns))


# Products: tiles, one row, flat inputs


@given(ANY_CASE, SIZE, SIZE, SIZE, st.integers(2, 64))
def test_dimensions_step_at_the_tile(case: Case, rows: int, inner: int, columns: int, tile: int) -> None:
    tiled = case.changed(tile=tile)

    def seconds(*sizes: int) -> float:
        return tiled.seconds(*sizes, weights=False, enters=False)

    def padded(size: int) -> int:
        return math.ceil(size / tile) * tile

    full = [padded(size) for size in (rows, inner, columns)]
    assert seconds(rows, inner, columns) == pytest.approx(seconds(*full))
    for place in range(3):
        beyond = [size + (place == other) for other, size in enumerate(full)]
        assert seconds(*beyond) > seconds(*full) * EXACT or case.rates.overhead_s > 1e6 * (seconds(*full) - case.rates.overhead_s)


@given(ANY_CASE, SIZE, SIZE, st.integers(1, 9), st.sampled_from([0.5, 1.0, 2.0]), FASTER)
def test_one_row_takes_its_stored_bytes_at_the_rate_of_rows(
    case: Case, inner: int, columns: int, count: int, width: float, factor: float
) -> None:
    rows = case.changed(row_bytes_per_s=case.processor.row_bytes_per_s or 1e9)
    assert rows.processor.row_bytes_per_s is not None
    stored = inner * columns * count * width

    def seconds(**more: Any) -> float:
        return product_s(rows.processor, case.data_type, 1, inner, columns, count=count, weight_bytes=stored, **more)

    streamed = stored / rows.processor.row_bytes_per_s
    assert seconds() == pytest.approx(case.rates.overhead_s * count + streamed)
    assert seconds(efficiency=Efficiency(row=factor)) == pytest.approx(seconds(speedup=factor))
    assert seconds(efficiency=Efficiency(linear=factor, weights=factor)) == seconds() == seconds(square_inputs=False)


@given(ANY_CASE, SIZE, SIZE, SIZE, st.floats(1, 10))
def test_flat_inputs_take_longer_by_a_factor_but_for_one_row(case: Case, rows: int, inner: int, columns: int, slowdown: float) -> None:
    slowed = case.changed(flat_input_slowdown=slowdown)
    flat, square = (slowed.seconds(rows, inner, columns, square_inputs=square) for square in (False, True))
    assert flat == pytest.approx(square * (slowdown if rows > 1 else 1.0))
    assert case.processor.flat_input_slowdown >= 1


# Attention


@given(PLACES, SIZE, SIZE, SIZE, st.integers(0, 10**12), st.integers(1, 10**12), st.integers(1, 9))
def test_attention_takes_its_overhead_and_more_with_every_pair(
    place: tuple[str, str], rows: int, inner: int, keys: int, macs: int, more: int, count: int
) -> None:
    def seconds(number: int, **changes: Any) -> float:
        attention = operator("attention", rows=rows, inner=inner, columns=keys, macs=number, count=count, input_bytes=10**9)
        return model(place[0], **changes).operator_s(attention, place[1])

    overhead = SOCS[place[0]].processors[place[1]].rates("fp16").overhead_s * count  # type: ignore[index]
    assert seconds(0) == pytest.approx(overhead)
    assert seconds(macs) <= seconds(macs + more)
    assert seconds(macs + more) > overhead
    assert seconds(macs, square_inputs=False) == seconds(macs)


@pytest.mark.parametrize(("soc", "name"), PROCESSORS)
def test_attention_lays_out_no_inputs_and_brings_in_no_weights(soc: str, name: Any) -> None:
    rates = SOCS[soc].processors[name].rates("fp16").model_copy(update={"input_bytes_per_s": 1e-3, "weight_bytes_per_s": 1e-3})
    processor = SOCS[soc].processors[name].model_copy(update={"throughput": {"fp16": rates}})
    slow = SOCS[soc].model_copy(update={"processors": {**SOCS[soc].processors, name: processor}})
    attention = operator("attention", rows=64, inner=64, columns=64, macs=10**6, input_bytes=8192)
    assert CostModel(slow, ENGINE, RUN).operator_s(attention, name) == model(soc).operator_s(attention, name)


@pytest.mark.parametrize(("soc", "name"), PROCESSORS)
def test_much_attention_approaches_the_peak_over_its_padding(soc: str, name: Any) -> None:
    processor = SOCS[soc].processors[name]
    sizes = {"rows": 32 * processor.tile, "inner": 64 * processor.tile, "columns": 96 * processor.tile}
    whole = model(soc).operator_s(operator("attention", macs=HUGE, **sizes), name)
    assert 2 * HUGE / (whole * model(soc).speedup[name]) == pytest.approx(processor.rates("fp16").peak_ops_per_s, rel=1e-3)


# Element-wise work, fetches and hand-overs


@given(PLACES, BYTES, BYTES, BYTES)
def test_element_wise_work_takes_its_bytes_or_its_operations(place: tuple[str, str], read: int, written: int, ops: int) -> None:
    processor, costs = SOCS[place[0]].processors[place[1]], model(place[0])  # type: ignore[index]
    seconds = costs.operator_s(operator("vector", input_bytes=read, output_bytes=written, ops=ops), place[1])
    by_bytes, by_ops = (read + written) / processor.vector_bytes_per_s, ops / (processor.vector_ops_per_s or FREE)
    assert seconds * costs.speedup[place[1]] == pytest.approx(max(by_bytes, by_ops))


@given(PLACES, st.tuples(BYTES, BYTES, BYTES), st.integers(0, 2), st.integers(1, 10**10))
def test_element_wise_work_takes_longer_with_more_of_anything(
    place: tuple[str, str], amounts: tuple[int, int, int], which: int, more: int
) -> None:
    def seconds(read: int, written: int, ops: int) -> float:
        return model(place[0]).operator_s(operator("vector", input_bytes=read, output_bytes=written, ops=ops), place[1])

    read, written, ops = (amount + more * (index == which) for index, amount in enumerate(amounts))
    assert seconds(*amounts) <= seconds(read, written, ops)
    assert seconds(0, 0, 0) == 0.0


@pytest.mark.parametrize(("soc", "name"), PROCESSORS)
def test_efficiency_of_attention_is_that_of_attention_alone(soc: str, name: Any) -> None:
    attention = operator("attention", rows=64, inner=64, columns=64, macs=10**12)
    vector, overhead = operator("vector", input_bytes=10**9), SOCS[soc].processors[name].rates("fp16").overhead_s

    def seconds(work: Operator, **kernels: float) -> float:
        return CostModel(SOCS[soc], ENGINE.override({"efficiency": {name: kernels}}, "engine"), RUN).operator_s(work, name)

    assert seconds(attention, attention=0.5) - overhead == pytest.approx(2 * (seconds(attention) - overhead))
    assert seconds(vector, attention=0.5, linear=0.5, row=0.5, weights=0.5) == seconds(vector) == model(soc).operator_s(vector, name)
    assert seconds(attention, linear=0.5, row=0.5, weights=0.5) == seconds(attention) == model(soc).operator_s(attention, name)


@given(st.sampled_from(sorted(SOCS)), BYTES, st.integers(1, 10**10))
def test_fetches_take_their_bytes_at_the_rate_of_flash(soc: str, size: int, more: int) -> None:
    costs, rate = model(soc), SOCS[soc].flash.random_read_bytes_per_s
    times = {name: costs.operator_s(operator("fetch", weight_bytes=size), name) for name in costs.processors}
    assert times == dict.fromkeys(costs.processors, pytest.approx(size / rate))
    assert costs.operator_s(operator("fetch", weight_bytes=size + more), "cpu") > times["cpu"]


@given(st.sampled_from([(soc, way) for soc in SOCS for way in SOCS[soc].synchronization]), BYTES, BYTES, st.integers(0, 3))
def test_hand_overs_take_launch_work_and_more_with_bytes_and_targets(place: tuple[str, str], size: int, more: int, targets: int) -> None:
    mechanism, costs = SOCS[place[0]].synchronization[place[1]], model(place[0], synchronization=place[1])
    assert costs.hand_over_s(size, 0) == 0.0
    assert costs.hand_over_s(0, targets) == pytest.approx(targets * mechanism.launch_work_s)
    assert costs.hand_over_s(size, targets) <= costs.hand_over_s(size + more, targets)
    assert costs.hand_over_s(size, targets) <= costs.hand_over_s(size, targets + 1)
    if mechanism.cache_bytes_per_s is not None:
        assert HUGE**2 / costs.hand_over_s(HUGE**2, 1) == pytest.approx(mechanism.cache_bytes_per_s)


# Speed of a processor relative to another


@given(PLACES, st.floats(0.1, 10), st.sampled_from(["product", "attention", "vector"]))
def test_speed_scales_all_computing_but_fixed_parts(place: tuple[str, str], speed: float, kind: str) -> None:
    soc, name = place
    base = SOCS[soc].processors[name]  # type: ignore[index]
    faster = base.model_copy(update={"speed": base.speed * speed})
    changed = CostModel(SOCS[soc].model_copy(update={"processors": {**SOCS[soc].processors, name: faster}}), ENGINE, RUN)
    work = operator(kind, rows=64, inner=64, columns=64, macs=64**3, weight_bytes=8192, input_bytes=10**6, ops=10**6, enters=True)
    fixed = 0.0 if kind == "vector" else base.rates("fp16").overhead_s
    assert changed.operator_s(work, name) - fixed == pytest.approx((model(soc).operator_s(work, name) - fixed) / speed, abs=1e-15)
    assert changed.parts(Work(()), name) == model(soc).parts(Work(()), name)


@given(PLACES, SEVERAL, SIZE, SIZE)
def test_product_in_one_group_without_conversions_takes_its_own_time(place: tuple[str, str], rows: int, inner: int, columns: int) -> None:
    soc, name = place
    product = operator("product", rows=rows, inner=inner, columns=columns, weight_bytes=2 * inner * columns, enters=True)
    processor, speedup = SOCS[soc].processors[name], model(soc).speedup[name]  # type: ignore[index]
    alone = product_s(processor, "fp16", rows, inner, columns, weight_bytes=2 * inner * columns, speedup=speedup)
    assert model(soc).operator_s(product, name) == alone


# Conversions and groups


@given(PLACES, st.tuples(SEVERAL, SIZE, SIZE), BYTES, BYTES, BYTES, st.integers(1, 64))
def test_conversions_and_groups_make_products_longer(
    place: tuple[str, str], sizes: tuple[int, int, int], moved: int, ops: int, more: int, groups: int
) -> None:
    rows, inner, columns = sizes

    def seconds(moved: int, ops: int, groups: int) -> float:
        product = operator("product", rows=rows, inner=inner, columns=columns, weight_bytes=2 * inner * columns)
        return model(place[0]).operator_s(replace(product, conversion_bytes=moved, conversion_ops=ops, groups=groups), place[1])

    none = seconds(0, 0, 1)
    assert none <= seconds(moved, ops, groups) <= seconds(moved + more, ops, groups) * EXACT
    assert seconds(moved, ops, groups) <= seconds(moved, ops + more, groups) * EXACT
    assert seconds(moved, ops, groups) <= seconds(moved, ops, 2 * groups) * EXACT


@pytest.mark.parametrize("soc", sorted(SOCS))
@given(rows=st.integers(1, 512), linear=st.sampled_from(["q_proj", "gate_proj", "down_proj"]))
def test_smaller_groups_are_never_faster(soc: str, rows: int, linear: str) -> None:
    llm = load_model("smollm2-135m")

    def seconds(name: str, **precision: Any) -> float:
        changes: dict[str, Any] = {"shadow_outliers": False} | {f"precision.{field}": value for field, value in precision.items()}
        (product,) = OperatorModel(llm, ENGINE.override(changes, "engine")).site(linear, rows, 0)
        return model(soc).operator_s(product, name)

    names = [str(name) for name, processor in SOCS[soc].processors.items() if "int8" in processor.throughput]
    assert {"cpu", "npu"} <= set(names)
    for name in names:
        times = [seconds(name)] + [seconds(name, quantization="per-group", group_size=size) for size in (4096, 256, 128, 32, 8)]
        assert times == sorted(times)
        # A group costs an overhead or operations; on a processor of which a file knows neither, nothing.
        processor = SOCS[soc].processors[name]  # type: ignore[index]
        costly = processor.fuses_conversions or processor.rates("int8").overhead_s or processor.vector_ops_per_s
        assert (times[-1] > times[0]) == bool(costly)


# Spill and DRAM


def chain(sizes: list[int], count: int = 1) -> Work:
    """Return element-wise operators, each of which reads what the one before has written."""
    moved = zip([0, *sizes], sizes, strict=False)
    return Work(tuple(operator("vector", input_bytes=read, output_bytes=written, count=count) for read, written in moved))


@given(st.lists(BYTES, max_size=6), st.floats(0, 1e10), st.floats(0, 1e10), st.integers(1, 5))
def test_tensors_inside_spill_beyond_on_chip_memory(sizes: list[int], memory: float, more: float, count: int) -> None:
    work = chain(sizes, count)
    spilled = spilled_bytes(work, memory)
    assert spilled == sum(2 * size for size in sizes[:-1] if size / count > memory)
    assert spilled_bytes(work, memory + more) <= spilled <= 2 * sum(sizes[:-1])
    assert spilled_bytes(work, max(sizes, default=0)) == 0
    assert subgraph_dram_bytes(work, memory) == spilled + (sizes[-1] if sizes else 0)


def test_on_chip_memory_holds_one_execution_after_another() -> None:
    assert spilled_bytes(chain([300, 0], count=3), 100) == 0
    assert spilled_bytes(chain([303, 0], count=3), 100) == 2 * 303


@given(st.lists(BYTES, min_size=2, max_size=6), st.integers(0, 5), BYTES, st.floats(0, 1e10))
def test_larger_tensors_never_spill_less(sizes: list[int], which: int, more: int, memory: float) -> None:
    larger = [size + more * (place == which % len(sizes)) for place, size in enumerate(sizes)]
    assert spilled_bytes(chain(sizes), memory) <= spilled_bytes(chain(larger), memory)
    assert subgraph_dram_bytes(chain(sizes), memory) <= subgraph_dram_bytes(chain(larger), memory)


@pytest.mark.parametrize("name", [name for name, soc in SOCS.items() if soc.processors["npu"].spill_bytes_per_s])
def test_spill_takes_time_at_its_rate_and_steps_at_the_memory(name: str) -> None:
    npu, costs = SOCS[name].processors["npu"], model(name)
    assert npu.spill_bytes_per_s is not None
    limit = int(npu.on_chip_memory_bytes)
    (fits, _), (spills, moved) = (costs.parts(chain([size, 0]), "npu") for size in (limit, limit + 1))
    assert fits["linear"] == 0.0
    assert spills["linear"] * costs.speedup["npu"] == pytest.approx(2 * (limit + 1) / npu.spill_bytes_per_s)
    assert moved == 2 * (limit + 1)
    free = CostModel(SOCS[name].override({"processors.npu.spill_bytes_per_s": None}, "soc"), ENGINE, RUN)
    assert free.parts(chain([limit + 1, 0]), "npu")[0]["linear"] == 0.0


@pytest.mark.parametrize(("soc", "name"), PROCESSORS)
def test_subgraph_of_nothing_takes_its_launch(soc: str, name: Any) -> None:
    launch = SOCS[soc].processors[name].launch_overhead_s
    assert model(soc).parts(Work(()), name) == ({"launch": launch, "linear": 0.0, "attention": 0.0, "float": 0.0}, 0.0)


def simulated_ns(soc: str, name: str, **fields: Any) -> tuple[int, int]:
    """Return the duration of one subgraph alone on the phone, and what of it is its own work."""
    graph = TaskGraph((Subgraph("x", 0, 0, 0, name, Work((operator("vector", **fields),))),), ((),))
    costs = graph_costs(graph, SOCS[soc], ENGINE, RUN)
    timeline = simulate(graph, costs, "fifo")
    return int(timeline.end_ns[0]), costs.fixed_ns[0]


@given(PLACES, st.integers(0, 10**12), st.integers(0, 10**10), st.integers(0, 10**12))
def test_subgraph_lasts_as_long_as_its_work_or_its_dram_bytes(place: tuple[str, str], weights: int, inputs: int, more: int) -> None:
    soc, name = place
    duration, own = simulated_ns(soc, name, weight_bytes=weights, input_bytes=inputs)
    cap = min(SOCS[soc].processors[name].bandwidth_bytes_per_s, SOCS[soc].dram.achievable_bytes_per_s)  # type: ignore[index]
    assert abs(duration - max(own, 1, 1e9 * (weights + inputs) / cap)) <= 1
    assert duration <= simulated_ns(soc, name, weight_bytes=weights + more, input_bytes=inputs)[0]


@pytest.mark.parametrize(("soc", "name"), PROCESSORS)
def test_subgraph_without_bytes_lasts_as_long_as_its_work_and_with_many_streams_at_the_cap(soc: str, name: Any) -> None:
    processor = SOCS[soc].processors[name]
    launch_ns = round(processor.launch_overhead_s * 1e9)
    assert simulated_ns(soc, name) == (max(1, launch_ns), launch_ns)
    duration, _ = simulated_ns(soc, name, weight_bytes=10**15)
    assert 10**15 / duration * 1e9 == pytest.approx(min(processor.bandwidth_bytes_per_s, SOCS[soc].dram.achievable_bytes_per_s), rel=1e-6)
