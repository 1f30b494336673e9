"""Seconds and bytes of subgraphs, exact for round numbers; their limits are in `test_cost_limits`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_graphs import hand_costs

from socsim.catalog import load_engine, load_model, load_soc
from socsim.cost import PARTS, graph_costs
from socsim.errors import SocsimError
from socsim.graph import Operator, Prefix, Subgraph, TaskGraph, Work
from socsim.roofline import CostModel, product_s, subgraph_dram_bytes
from socsim.simulator import simulate
from socsim.specs import Engine, Processor, Run, SoC, Throughput
from socsim.workload import prefill_graph

SOC = load_soc("snapdragon-8-gen-3")
ENGINE = load_engine("llm-npu").override({"synchronization": "polling"}, "engine")


def processor(tile: int = 1, **throughput: Any) -> Processor:
    """Return a processor of 1e12 int8 operations a second."""
    rate = Throughput.model_validate({"peak_ops_per_s": 1e12} | throughput)
    return Processor(throughput={"int8": rate}, tile=tile, vector_bytes_per_s=1e9, launch_overhead_s=1e-3, bandwidth_bytes_per_s=1e9)


def model(soc: SoC = SOC, engine: Engine = ENGINE, **run: Any) -> CostModel:
    return CostModel(soc, engine, Run(prompt_tokens=8, **run))


def operator(kind: Any, **fields: Any) -> Operator:
    given: dict[str, Any] = {"data_type": "int8", "ops": 0} | fields
    return Operator("x", kind, **given)


def test_compute_bound_product() -> None:
    assert product_s(processor(), "int8", 100, 200, 300) == pytest.approx(2 * 100 * 200 * 300 / 1e12)


def test_dimensions_are_padded_to_the_tile() -> None:
    padded = product_s(processor(tile=32), "int8", 33, 1, 64)
    assert padded == pytest.approx(product_s(processor(), "int8", 64, 32, 64))


@pytest.mark.parametrize(("overlaps", "seconds"), [(True, 600e-6), (False, 612e-6)])
def test_weights_come_in_beside_or_between_multiplications(overlaps: bool, seconds: float) -> None:
    # 2 x 10 x 20 x 30 operations take 12 ns; 600 int8 weights at 1e6 bytes/s 600 us.
    slow = processor(weight_bytes_per_s=1e6, overlaps_weights=overlaps, peak_ops_per_s=1e9)
    assert product_s(slow, "int8", 10, 20, 30, weight_bytes=600) == pytest.approx(seconds)
    assert product_s(slow, "int8", 10, 20, 30) == pytest.approx(12e-6)  # attention has no weights


def test_weights_are_brought_in_as_wide_as_they_are_multiplied() -> None:
    slow = processor(weight_bytes_per_s=1e6)
    assert product_s(slow, "int8", 10, 20, 30, weight_bytes=300) == product_s(slow, "int8", 10, 20, 30, weight_bytes=600)
    wide = slow.model_copy(update={"throughput": {"fp32": slow.throughput["int8"]}})
    assert product_s(wide, "fp32", 10, 20, 30, weight_bytes=600) == pytest.approx(4 * 600 / 1e6)


def test_overhead_and_input_layout_add_up() -> None:
    base = product_s(processor(), "int8", 10, 20, 30)
    assert product_s(processor(overhead_s=1e-3), "int8", 10, 20, 30) == pytest.approx(base + 1e-3)
    assert product_s(processor(input_bytes_per_s=1e6), "int8", 10, 20, 30) == pytest.approx(base + 200 / 1e6)


def test_speedup_scales_rates_but_not_overheads() -> None:
    slow = processor(overhead_s=1e-3, input_bytes_per_s=1e6)
    assert product_s(slow, "int8", 10, 20, 30, speedup=2.0) == pytest.approx((product_s(slow, "int8", 10, 20, 30) - 1e-3) / 2 + 1e-3)


def test_several_products_take_as_long_as_each() -> None:
    npu = processor(tile=16, weight_bytes_per_s=1e5, overhead_s=1e-4, input_bytes_per_s=1e6)
    five, one = (product_s(npu, "int8", 10, 20, 30, count=count, weight_bytes=600 * count) for count in (5, 1))
    assert five == pytest.approx(5 * one)


def test_masked_pairs_cost_nothing() -> None:
    full, half = (product_s(processor(), "int8", 10, 20, 30, macs=macs) for macs in (6000, 3000))
    assert half == pytest.approx(full / 2)


def test_unknown_data_type_of_a_product() -> None:
    with pytest.raises(SocsimError, match=r"^snapdragon-8-gen-3: processors\.npu: throughput has no 'fp32', .*it has: fp16, int8"):
        model().operator_s(operator("product", data_type="fp32", rows=1, inner=1, columns=1, macs=1), "npu")


def test_vector_and_fetch_run_at_their_bandwidths() -> None:
    cpu = SOC.processors["cpu"]
    assert model().operator_s(operator("vector", input_bytes=3, output_bytes=4), "cpu") == pytest.approx(7 / cpu.vector_bytes_per_s)
    assert model().operator_s(operator("fetch", weight_bytes=100), "cpu") == pytest.approx(100 / SOC.flash.random_read_bytes_per_s)


def test_threads_speed_up_the_cpu_only() -> None:
    speeds = SOC.processors["cpu"].core_speeds
    for threads in (1, 2, 4, 6):
        engine = ENGINE.override({"cpu_threads": threads}, "engine")
        assert model(engine=engine).speedup == {"cpu": pytest.approx(sum(speeds[:threads]) / sum(speeds[:4])), "gpu": 1.0, "npu": 1.0}


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(SocsimError, match=r"engine\.cpu_threads 7 exceeds the cores of snapdragon-8-gen-3; allowed: 1 to 6"):
        model(engine=ENGINE.override({"cpu_threads": 7}, "engine"))


def test_conversions_run_in_the_products_loop_or_as_work_of_their_own() -> None:
    sizes = {"rows": 32, "inner": 32, "columns": 32, "macs": 32**3}
    soc = SOC.override({"processors.npu.vector_ops_per_s": 1e9}, "soc")
    for bytes_, ops, own_s in ((3 * 10**9, 1000, 3e9 / SOC.processors["npu"].vector_bytes_per_s), (3, 10**9, 1.0)):
        product, plain = operator("product", conversion_ops=ops, conversion_bytes=bytes_, **sizes), operator("product", **sizes)
        extra = {name: model(soc).operator_s(product, name) - model(soc).operator_s(plain, name) for name in ("cpu", "npu")}
        fused_s = ops / SOC.processors["cpu"].rates("int8").peak_ops_per_s
        assert extra == {"cpu": pytest.approx(fused_s), "npu": pytest.approx(own_s)}


def test_groups_are_products_of_their_own_where_kernels_do_not_fuse_them() -> None:
    soc = SOC.override({"processors.cpu.throughput.int8.overhead_s": 1e-3, "processors.npu.throughput.int8.overhead_s": 2e-3}, "soc")
    whole, groups = (
        operator("product", rows=8, inner=64, columns=8, macs=8 * 64 * 8 * 3, count=3, groups=number, enters=True) for number in (1, 4)
    )
    extra = {name: model(soc).operator_s(groups, name) - model(soc).operator_s(whole, name) for name in ("cpu", "npu")}
    assert extra == {"cpu": 0.0, "npu": pytest.approx(3 * 3 * 2e-3)}


def test_one_row_takes_its_weights_as_stored_and_nothing_else_but_the_overhead() -> None:
    cpu = processor(overhead_s=1e-3, input_bytes_per_s=1.0, weight_bytes_per_s=1.0).model_copy(update={"row_bytes_per_s": 1e6})
    assert product_s(cpu, "int8", 1, 64, 64, weight_bytes=2048, speedup=2.0) == pytest.approx(1e-3 + 2048 / 2e6)
    assert product_s(cpu, "int8", 1, 64, 64, weight_bytes=3 * 2048, count=3) == pytest.approx(3e-3 + 3 * 2048 / 1e6)
    assert product_s(cpu, "int8", 2, 64, 64, weight_bytes=2048) > 1.0  # two rows are a product as any other
    assert product_s(cpu, "int8", 1, 64, 64) == pytest.approx(1e-3 + 64 + 2 * 64 * 64 / 1e12)  # and so is one of attention


@pytest.mark.parametrize("changes", [{"launch_overhead_s": 1e10}, {"throughput.int8": {"peak_ops_per_s": 1e-9}}])
def test_costs_beyond_the_clock_are_refused(changes: dict[str, Any]) -> None:
    soc = SOC.override({f"processors.npu.{path}": value for path, value in changes.items()}, "soc")
    llm, run = load_model("smollm2-135m"), Run(prompt_tokens=64)
    with pytest.raises(SocsimError, match=r"s of work, allowed: 1e\+09; the longest subgraph is .* on the npu"):
        graph_costs(prefill_graph(llm, ENGINE, run), soc, ENGINE, run)


def test_operating_point_scales_rates() -> None:
    scale = SOC.operating_points["sustained"].rate_scale
    assert model(operating_point="sustained").speedup == scale
    slow, fast = (model(operating_point=point).operator_s(operator("vector", input_bytes=100), "cpu") for point in ("sustained", "burst"))
    assert slow == pytest.approx(fast / scale["cpu"])


def test_dram_bytes_of_a_subgraph() -> None:
    work = Work(
        (
            operator("vector", input_bytes=10, output_bytes=100, weight_bytes=1),
            operator("vector", input_bytes=100, output_bytes=20, kv_bytes=5),
        )
    )
    assert subgraph_dram_bytes(work, 100) == 10 + 20 + 6  # the tensor between them stays on the chip
    assert subgraph_dram_bytes(work, 99) == 36 + 2 * 100  # one that does not fit goes out and in whole
    assert subgraph_dram_bytes(work, 0) == 36 + 200
    assert subgraph_dram_bytes(Work(()), 0) == 0


def test_parts_of_a_subgraph() -> None:
    work = Work(
        (
            operator("product", rows=1, inner=1, columns=1, macs=1),
            operator("vector", input_bytes=8),
            operator("fetch", weight_bytes=10),
            operator("attention", data_type="fp16", rows=2, inner=2, columns=2, macs=8),
        )
    )
    cpu = model()
    times, _ = cpu.parts(work, "cpu")
    each = [cpu.operator_s(op, "cpu") for op in work.operators]
    assert list(times) == list(PARTS[:-1])
    assert times == {
        "launch": SOC.processors["cpu"].launch_overhead_s,
        "linear": each[0],
        "float": each[1] + each[2],
        "attention": each[3],
    }


def test_hand_over_work_is_spent_by_the_producer_for_each_target() -> None:
    mechanism = SOC.synchronization["polling"]
    assert mechanism.cache_bytes_per_s is not None
    assert model().hand_over_s(1000, 0) == 0.0
    assert model().hand_over_s(1000, 2) == pytest.approx(2 * mechanism.launch_work_s + 1000 / mechanism.cache_bytes_per_s)
    coherent = SOC.override({"synchronization.polling.cache_bytes_per_s": None}, "soc")
    assert model(coherent).hand_over_s(1000, 1) == mechanism.launch_work_s


def test_every_foreign_consumer_is_handed_the_result_once() -> None:
    out = Work((operator("vector", output_bytes=880),))
    stages = [("npu", ()), ("cpu", (0,)), ("cpu", (0,)), ("gpu", (0,)), ("npu", (0,)), ("npu", ()), ("cpu", ())]
    subgraphs = tuple(Subgraph(f"s{i}", 0, 0, i, name, out) for i, (name, _) in enumerate(stages))
    graph = TaskGraph(subgraphs, tuple(needs for _, needs in stages), (Prefix((5,), ((6,),)),))
    costs = graph_costs(graph, SOC, ENGINE, Run(prompt_tokens=1))
    hand_over = [float(model().hand_over_s(880, targets)) for targets in (2, 0, 0, 0, 0, 1, 0)]
    assert costs.parts_s[:, PARTS.index("synchronization")].tolist() == pytest.approx(hand_over)
    latency = SOC.synchronization["polling"].latency_s
    assert costs.hand_over_latency_s.tolist() == [[0, latency, latency], [latency, 0, latency], [latency, latency, 0]]


def test_memory_bound_and_compute_bound() -> None:
    costs = hand_costs([("cpu", 10, 1000, []), ("cpu", 1000, 10, []), ("cpu", 0, 0, [])])
    assert costs.fixed_ns == [10, 1000, 0]
    assert costs.expected_ns == [1000, 1000, 1]
    assert costs.flow_bytes == [1000.0, 10.0, 0.0]


def test_expected_durations_know_what_dram_achieves() -> None:
    # A processor alone on DRAM gets no more than DRAM achieves, whatever its own cap.
    costs = hand_costs([("cpu", 1, 1000, [])], bandwidth={"cpu": 4e9}, achievable=2e9)
    assert costs.expected_ns == [500]


def test_durations_do_not_depend_on_how_a_duration_is_rounded() -> None:
    # 2037 bytes at 2 bytes/ns are 1018.5 ns: the estimate and the memory have to round it alike.
    costs = hand_costs([("cpu", 1, 2037, [])], bandwidth={"cpu": 2e9}, achievable=4e9)
    from socsim.simulator import simulate

    assert (
        simulate(costs.graph, costs, "fifo").end_ns.tolist()
        == simulate(costs.graph, costs, "fifo", memory="private").end_ns.tolist()
        == costs.expected_ns
    )


def test_slow_and_fast_limits() -> None:
    llm = load_model("smollm2-135m").override({"num_hidden_layers": 1}, "model")
    run = Run(prompt_tokens=256)
    graph = prefill_graph(llm, ENGINE, run)
    free = {"throughput.int8": {"peak_ops_per_s": 1e300}, "vector_bytes_per_s": 1e300, "vector_ops_per_s": None, "spill_bytes_per_s": None}
    fast = SOC.override({f"processors.npu.{field}": value for field, value in free.items()}, "soc")
    base, quick = (graph_costs(graph, soc, ENGINE, run) for soc in (SOC, fast))
    npu = [index for index, s in enumerate(graph.subgraphs) if s.processor == "npu"]
    assert quick.parts_s[npu][:, 1:4].max() < 1e-200
    assert (quick.dram_bytes == base.dram_bytes).all()
    cpu = [index for index, s in enumerate(graph.subgraphs) if s.processor == "cpu"]
    assert (quick.parts_s[cpu] == base.parts_s[cpu]).all()


def test_noise_has_a_seed_and_leaves_bytes_alone() -> None:
    costs = hand_costs([("cpu", 1000, 7, [])] * 500)
    noisy = costs.with_noise(0.2, 3)
    assert costs.with_noise(0.0, 3) is costs
    assert (noisy.parts_s == costs.with_noise(0.2, 3).parts_s).all()
    assert (noisy.parts_s != costs.with_noise(0.2, 4).parts_s).any()
    assert (noisy.dram_bytes == costs.dram_bytes).all()
    factors = noisy.parts_s[:, 1] / 1e-6
    assert float(np.median(factors)) == pytest.approx(1.0, abs=0.05)
    assert float(np.std(np.log(factors))) == pytest.approx(0.2, abs=0.03)


def test_without_frees_a_part_a_processor_dram_or_latency() -> None:
    costs = hand_costs([("cpu", 10, 5, []), ("npu", 20, 6, [0])], latency_ns=3, launch_work_ns=2)
    assert costs.fixed_ns == [12, 20]
    assert costs.without(parts=("synchronization",)).fixed_ns == [10, 20]
    assert costs.without(parts=("linear", "launch"), processor="npu").fixed_ns == [12, 0]
    assert costs.without(dram=True).flow_bytes == [0.0, 0.0]
    assert costs.without(dram=True, processor="cpu").flow_bytes == [0.0, 6.0]
    assert costs.without(latency=True).latency_ns == [[0, 0], [0, 0]]
    assert costs.without().latency_ns == [[0, 3], [3, 0]]
    assert costs.fixed_ns == [12, 20]


def test_equal_work_is_costed_alike() -> None:
    run = Run(prompt_tokens=512)
    graph = prefill_graph(load_model("smollm2-135m"), ENGINE, run)
    costs = graph_costs(graph, SOC, ENGINE, run)
    half = len(graph) // 2 - 1
    for index in range(half):
        first, second = graph.subgraphs[index], graph.subgraphs[half + index]
        assert (first.stage, first.work is second.work) == (second.stage, first.stage != "attention")
        if first.block == 29 and "ffn_residual" in first.sites:
            continue  # only the LM head needs it, to which the last chunk alone hands it over
        if first.stage != "attention":
            assert costs.parts_s[index].tolist() == costs.parts_s[half + index].tolist()
        else:
            assert costs.expected_ns[index] < costs.expected_ns[half + index]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"engine.synchronization": "poling"},
            r"unknown synchronization of snapdragon-8-gen-3 'poling' \(did you mean 'polling'\?\); allowed: blocking, ",
        ),
        ({"run.operating_point": "idle"}, r"unknown operating point of snapdragon-8-gen-3 'idle'.*; allowed: burst, sustained"),
    ],
)
def test_unknown_names(change: dict[str, str], message: str) -> None:
    engine = ENGINE.override({path[7:]: value for path, value in change.items() if path.startswith("engine.")}, "engine")
    run = {path[4:]: value for path, value in change.items() if path.startswith("run.")}
    with pytest.raises(SocsimError, match=message):
        CostModel(SOC, engine, Run.model_validate({"prompt_tokens": 1} | run))


def test_processor_that_the_soc_lacks() -> None:
    smaller = SoC.model_validate(SOC.model_dump() | {"processors": {n: p for n, p in SOC.model_dump()["processors"].items() if n != "npu"}})
    with pytest.raises(SocsimError, match=r"unknown processor of snapdragon-8-gen-3 'npu'.*; allowed: cpu, gpu"):
        model(smaller).parts(Work(()), "npu")


def test_without_frees_what_a_slowdown_has_left_behind_as_well() -> None:
    costs = hand_costs([("cpu", 10, 5, []), ("npu", 20, 6, [0])], launch_work_ns=2).with_slowdown("cpu", 0.0, 3.0)
    assert simulate(costs.graph, costs).end_ns.tolist() == [36, 56]
    assert simulate(costs.graph, costs.without(parts=("synchronization",))).end_ns.tolist() == [30, 50]
    assert simulate(costs.graph, costs.without(parts=("linear",), processor="cpu")).end_ns.tolist() == [6, 26]
