"""Small cases worked out by hand: the whole history of each is asserted. 1 byte/ns is 1e9 bytes/s."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from oracle import play
from random_graphs import Row, hand_costs

from socsim.cost import Costs
from socsim.errors import SocsimError
from socsim.graph import Prefix, TaskGraph
from socsim.schedulers import SCHEDULERS, Choose, Prepare, Rehearse, View, fifo
from socsim.simulator import simulate

History = list[tuple[int, int]]


def history(costs: Costs, policy: str | Prepare = "fifo", memory: str = "shared") -> History:
    """Return start and end of every subgraph, in the order of the graph."""
    timeline = simulate(costs.graph, costs, policy, memory=memory)
    return list(zip(timeline.start_ns.tolist(), timeline.end_ns.tolist(), strict=True))


def test_chain_on_one_processor() -> None:
    costs = hand_costs([("cpu", 10, 0, []), ("cpu", 5, 0, [0]), ("cpu", 1, 0, [1])], latency_ns=100)
    assert history(costs) == [(0, 10), (10, 15), (15, 16)]


def test_no_time_counts_as_a_nanosecond() -> None:
    costs = hand_costs([("cpu", 0, 0, []), ("cpu", 0, 0, [0])])
    assert history(costs) == [(0, 1), (1, 2)]


def test_empty_graph() -> None:
    assert history(hand_costs([])) == []


def test_latency_delays_the_consumer_on_another_processor() -> None:
    costs = hand_costs([("npu", 10, 0, []), ("cpu", 5, 0, [0]), ("npu", 5, 0, [0]), ("npu", 1, 0, [1])], latency_ns=3)
    assert history(costs) == [(0, 10), (13, 18), (10, 15), (21, 22)]


def test_latency_of_the_last_of_two_producers_counts() -> None:
    costs = hand_costs([("npu", 10, 0, []), ("cpu", 12, 0, []), ("cpu", 5, 0, [0, 1])], latency_ns=3)
    assert history(costs) == [(0, 10), (0, 12), (13, 18)]


def test_launch_work_occupies_the_producer() -> None:
    costs = hand_costs([("npu", 10, 0, []), ("npu", 4, 0, []), ("cpu", 5, 0, [0])], launch_work_ns=2, latency_ns=1)
    assert history(costs) == [(0, 12), (12, 16), (13, 18)]


def test_prefix_waits_for_all_earlier_members_in_any_order() -> None:
    # Members 0, 1, 2 on the NPU; 3, 4, 5 on the CPU wait for the first one, two and three of them. The policy runs the NPU backwards.
    prefix = Prefix((0, 1, 2), ((3,), (4,), (5,)))
    rows: list[Row] = [("npu", 10, 0, []), ("npu", 20, 0, []), ("npu", 30, 0, []), ("cpu", 1, 0, []), ("cpu", 1, 0, []), ("cpu", 1, 0, [])]
    assert history(hand_costs(rows, prefixes=[prefix])) == [(0, 10), (10, 30), (30, 60), (10, 11), (30, 31), (60, 61)]
    backwards = hand_costs(rows, prefixes=[prefix], latency_ns=5)
    assert history(backwards, last_first) == [(50, 60), (30, 50), (0, 30), (67, 68), (66, 67), (65, 66)]


def last_first(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
    return lambda ready, view: ready[-1]


def test_stream_runs_beside_compute_and_the_longer_one_counts() -> None:
    costs = hand_costs([("cpu", 50, 30, []), ("cpu", 30, 50, [0])])
    timeline = simulate(costs.graph, costs, "fifo")
    assert timeline.end_ns.tolist() == [50, 100]
    assert timeline.stream_end_ns.tolist() == [30, 100]


def test_two_flows_share_max_min_fairly_and_the_survivor_speeds_up() -> None:
    # A share is 1.5 bytes/ns. The CPU takes its cap, 1; the NPU 2: 120 of 150 bytes until the CPU ends at 60, then 30 at 3.
    costs = hand_costs([("cpu", 1, 60, []), ("npu", 1, 150, [])], bandwidth={"cpu": 1e9, "npu": 3e9}, achievable=3e9)
    assert history(costs) == [(0, 60), (0, 70)]
    assert history(costs, memory="private") == [(0, 60), (0, 50)]
    assert history(costs, memory="infinite") == [(0, 1), (0, 1)]


def test_third_flow_joins_two() -> None:
    # Until 20 ns the CPU gets 1 and the NPU 2 bytes/ns; then all three get 1 until the CPU's last 40 bytes are through at 60; then
    # GPU and NPU get 1.5: the NPU's last 20 bytes take 13.3 ns, and the GPU's last 20 stream at 2.
    rows: list[Row] = [("cpu", 1, 60, []), ("gpu", 20, 0, []), ("npu", 1, 100, []), ("gpu", 1, 80, [1])]
    costs = hand_costs(rows, bandwidth={"cpu": 1e9, "gpu": 2e9, "npu": 2e9}, achievable=3e9)
    timeline = simulate(costs.graph, costs, "fifo")
    assert timeline.start_ns.tolist() == [0, 0, 0, 20]
    assert timeline.end_ns.tolist() == [60, 20, 73, 83]
    when, rate = timeline.dram_rate
    assert when.tolist() == [0, 20, 60, 73, 83]
    assert rate.tolist() == [3e9, 3e9, 3e9, 2e9, 0.0]


def test_flow_that_ends_frees_bandwidth_for_the_next_one() -> None:
    # Both get 0.5 bytes/ns until the CPU's 10 bytes are through at 20, while its compute goes on until 40. The NPU has 1 byte/ns until
    # then, so that 20 of its bytes are left when the CPU's next 20 come: 0.5 bytes/ns each.
    costs = hand_costs([("cpu", 40, 10, []), ("npu", 1, 50, []), ("cpu", 1, 20, [0])])
    assert history(costs) == [(0, 40), (0, 80), (40, 80)]


def test_slowed_compute_bound_subgraph_stays_compute_bound() -> None:
    costs = hand_costs([("cpu", 100, 10, []), ("npu", 1, 30, [])])
    assert history(costs) == [(0, 100), (0, 40)]


@pytest.mark.parametrize(("first", "second"), [("cpu", "npu"), ("npu", "cpu")])
def test_completions_come_before_choices_at_equal_times(first: str, second: str) -> None:
    # At 10 ns both 0 and 1 end, and 0 releases 2 for the processor that 1 leaves. Granting that processor before the release
    # would start 3 at 10 and 2 only at 30. Either processor's event may come first.
    costs = hand_costs([(first, 10, 0, []), (second, 10, 0, []), (second, 5, 0, [0]), (second, 20, 0, [1])])
    assert history(costs) == [(0, 10), (0, 10), (10, 15), (15, 35)]


@pytest.mark.parametrize(("first", "second"), [("cpu", "npu"), ("npu", "cpu")])
def test_hand_overs_come_before_choices_at_equal_times(first: str, second: str) -> None:
    # The hand-over of 0 is through at 10, when 1 ends: 2, the lower index, wins over 3.
    costs = hand_costs([(first, 7, 0, []), (second, 10, 0, []), (second, 5, 0, [0]), (second, 20, 0, [])], latency_ns=3)
    assert history(costs) == [(0, 7), (0, 10), (10, 15), (15, 35)]


def test_hand_over_wakes_a_processor_that_idles() -> None:
    costs = hand_costs([("cpu", 5, 0, []), ("cpu", 20, 0, []), ("npu", 5, 0, [0])], latency_ns=4)
    assert history(costs) == [(0, 5), (5, 25), (9, 14)]


def test_later_hand_over_that_is_through_earlier_wakes_earlier() -> None:
    # A hand-over to the NPU under way since 5 ns is through at 105; one that starts at 10 on a faster way at 12.
    costs = hand_costs([("cpu", 5, 0, []), ("gpu", 10, 0, []), ("npu", 50, 0, [0]), ("npu", 5, 0, [1])], latency_ns=100)
    costs.hand_over_latency_s[1, 2] = 2e-9
    assert history(costs) == [(0, 5), (0, 10), (105, 155), (12, 17)]


def test_sequential_runs_one_subgraph_on_the_whole_soc() -> None:
    costs = hand_costs([("cpu", 10, 0, []), ("npu", 10, 0, []), ("cpu", 10, 0, []), ("gpu", 5, 0, [0])], chunks=[0, 0, 1, 1])
    assert history(costs, "sequential") == [(0, 10), (10, 20), (20, 30), (30, 35)]


def test_in_order_waits_for_the_next_position() -> None:
    # The NPU's order is 0, 2 (position 2, chunk 0), 5 (chunk 1): at 20 chunk 1's position 2 would be ready, but chunk 0's comes first.
    rows: list[Row] = [
        ("npu", 10, 0, []),
        ("cpu", 30, 0, [0]),
        ("npu", 10, 0, [1]),
        ("npu", 10, 0, []),
        ("gpu", 5, 0, [3]),
        ("npu", 10, 0, [4]),
    ]
    costs = hand_costs(rows, chunks=[0, 0, 0, 1, 1, 1], positions=[0, 1, 2, 0, 1, 2])
    assert history(costs, "in-order") == [(0, 10), (10, 40), (40, 50), (10, 20), (20, 25), (50, 60)]
    assert history(costs, "fifo") == [(0, 10), (10, 40), (40, 50), (10, 20), (20, 25), (25, 35)]


def two_stage_chunks(chunks: int) -> Costs:
    """Return chunks of an NPU stage of 10 ns and a CPU stage of 30 ns."""
    rows: list[Row] = [row for c in range(chunks) for row in (("npu", 10, 0, []), ("cpu", 30, 0, [2 * c]))]
    return hand_costs(rows, chunks=[c for c in range(chunks) for _ in range(2)], positions=[0, 1] * chunks)


def test_lockstep_pairs_put_a_barrier_after_each_step() -> None:
    # Steps of a pair: NPU of the first; CPU of the first and NPU of the second; CPU of the second. The next pair comes behind.
    assert history(two_stage_chunks(3), "lockstep-pairs") == [(0, 10), (10, 40), (10, 20), (40, 70), (70, 80), (80, 110)]
    assert history(two_stage_chunks(3), "fifo") == [(0, 10), (10, 40), (10, 20), (40, 70), (20, 30), (70, 100)]


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_lockstep_pairs_decode_behind_the_prefill(chunks: int) -> None:
    prefill = 2 * chunks
    rows: list[Row] = [row for c in range(chunks) for row in (("npu", 10, 0, []), ("cpu", 30, 0, [2 * c]))]
    rows += [("cpu", 1, 0, [prefill - 1]), ("cpu", 1, 0, [prefill]), ("cpu", 1, 0, [prefill + 1])]
    places = [(c, p) for c in range(chunks) for p in (0, 1)] + [(chunks - 1, 2), (chunks, 3), (chunks + 1, 3)]
    costs = hand_costs(rows, chunks=[c for c, _ in places], positions=[p for _, p in places], prefill_count=prefill + 1)
    end = {1: 40, 2: 70, 3: 110}[chunks]
    assert history(costs, "lockstep-pairs")[prefill:] == [(end, end + 1), (end + 1, end + 2), (end + 2, end + 3)]


def test_out_of_order_on_the_npu_prefers_what_releases_little() -> None:
    # At 0 the NPU may run 0 or 1: C(0) = -30 (releases 2), C(1) = -5 (releases 3): it takes 1. Fifo takes 0.
    costs = hand_costs([("npu", 10, 0, []), ("npu", 10, 0, []), ("cpu", 30, 0, [0]), ("cpu", 5, 0, [1])])
    assert history(costs, "out-of-order") == [(10, 20), (0, 10), (20, 50), (10, 15)]
    assert history(costs, "fifo") == [(0, 10), (10, 20), (10, 40), (40, 45)]


def test_out_of_order_on_the_cpu_prefers_what_releases_much() -> None:
    # At 0 the CPU may run 0, 1 or 2: C(0) = 5 (releases 3), C(1) = 30 + 2 (releases 4 and 5), C(2) = 0 (6 needs 0 as well): 1.
    # At 10: C(0) = 5, C(2) = 0: 0. At 20 C(2) = 40, as 6 waits for nothing else.
    rows: list[Row] = [
        ("cpu", 10, 0, []),
        ("cpu", 10, 0, []),
        ("cpu", 10, 0, []),
        ("npu", 5, 0, [0]),
        ("npu", 30, 0, [1]),
        ("gpu", 2, 0, [1]),
        ("gpu", 40, 0, [0, 2]),
    ]
    assert history(hand_costs(rows), "out-of-order") == [(10, 20), (0, 10), (20, 30), (40, 45), (10, 40), (10, 12), (30, 70)]


def test_out_of_order_sees_a_score_change_while_waiting() -> None:
    # At 0 the CPU runs 0 (C = 4 for 3) before 1 (C = 0, as 5 waits for 2 on the GPU as well) and before 4 (C = 3 for 6). At 10, when 2
    # is done, C(1) = 50 for 5 exceeds C(4) = 3.
    rows: list[Row] = [
        ("cpu", 10, 0, []),
        ("cpu", 10, 0, []),
        ("gpu", 10, 0, []),
        ("npu", 4, 0, [0]),
        ("cpu", 10, 0, []),
        ("gpu", 50, 0, [1, 2]),
        ("npu", 3, 0, [4]),
    ]
    assert history(hand_costs(rows), "out-of-order") == [(0, 10), (10, 20), (0, 10), (10, 14), (20, 30), (20, 70), (30, 33)]


def test_out_of_order_counts_what_a_prefix_releases() -> None:
    # 0 and 1 are the members of a prefix that 2 (both) waits for: C(0) = 0 at first, C(1) = 0 as the prefix stops at 0, C(3) = -1.
    # By lowest chunk 0 is first; then C(1) = -20, so 3 goes before 1.
    rows: list[Row] = [("npu", 10, 0, []), ("npu", 10, 0, []), ("cpu", 20, 0, []), ("npu", 5, 0, []), ("cpu", 1, 0, [3])]
    costs = hand_costs(rows, prefixes=[Prefix((0, 1), ((), (2,)))])
    assert history(costs, "out-of-order") == [(0, 10), (15, 25), (25, 45), (10, 15), (15, 16)]


def test_out_of_order_tie_rules() -> None:
    # C = 0 for both: chunk 0's late position or chunk 1's early one.
    costs = hand_costs([("npu", 10, 0, []), ("npu", 20, 0, [])], chunks=[0, 1], positions=[1, 0])
    assert history(costs, "out-of-order") == [(0, 10), (10, 30)]
    assert history(costs, "out-of-order-earliest-position") == [(20, 30), (0, 20)]


def test_policies_see_expected_durations_not_true_ones() -> None:
    # Truly 2 takes 30 and 3 takes 5, but the policy expects the reverse, and so runs 0 first.
    costs = hand_costs([("npu", 10, 0, []), ("npu", 10, 0, []), ("cpu", 30, 0, [0]), ("cpu", 5, 0, [1])])
    expected = hand_costs([("npu", 10, 0, []), ("npu", 10, 0, []), ("cpu", 5, 0, [0]), ("cpu", 30, 0, [1])])
    timeline = simulate(costs.graph, costs, "out-of-order", expected=expected)
    assert timeline.start_ns.tolist() == [0, 10, 10, 40]


def test_policy_may_wait_on_purpose() -> None:
    def patient(graph: TaskGraph, expected_ns: Sequence[int], seed: int) -> Choose:
        def choose(ready: Sequence[int], view: View) -> int | None:
            return ready[0] if view.completed or graph.subgraphs[ready[0]].processor == "cpu" else None

        return choose

    costs = hand_costs([("npu", 10, 0, []), ("cpu", 25, 0, [])])
    assert history(costs, patient) == [(25, 35), (0, 25)]


def test_wait_that_nothing_ends_is_refused() -> None:
    costs = hand_costs([("npu", 10, 0, []), ("cpu", 25, 0, [])])
    with pytest.raises(SocsimError, match=r"scheduler waits at 0 ns although nothing is running or on its way; ready: 0, 1$"):
        simulate(costs.graph, costs, lambda graph, expected, seed: lambda ready, view: None)


@pytest.mark.parametrize("choice", [3, 1, -1, "0", 0.5])
def test_choice_that_is_not_ready_is_refused(choice: object) -> None:
    costs = hand_costs([("npu", 10, 0, []), ("npu", 25, 0, [0]), ("npu", 1, 0, [])])
    with pytest.raises(SocsimError, match=r"scheduler chose .* for the npu at 0 ns, which is not ready; allowed: 0, 2$"):
        simulate(costs.graph, costs, lambda graph, expected, seed: lambda ready, view: choice)  # type: ignore[arg-type, return-value]


def test_oracle_plays_the_hand_computed_cases() -> None:
    costs = hand_costs([("npu", 10, 0, []), ("cpu", 5, 0, [0]), ("npu", 5, 0, [0]), ("npu", 1, 0, [1])], latency_ns=3)
    assert play(costs, SCHEDULERS["fifo"]) == ([0, 13, 10, 21], [10, 18, 15, 22])


def test_policy_that_plans_hears_what_would_happen_with_expected_durations_and_the_same_dram() -> None:
    heard = []

    def planner(graph: TaskGraph, expected_ns: Sequence[int], seed: int, rehearse: Rehearse) -> Choose:
        heard.append(rehearse(fifo))
        return fifo(graph, expected_ns, seed)

    expected = hand_costs([("npu", 10, 40, []), ("cpu", 20, 40, []), ("cpu", 5, 0, [0])], latency_ns=3)
    true = expected.with_slowdown("cpu", 0.0, 2.0)
    timeline = simulate(expected.graph, true, planner, expected=expected)
    # Both flows share 1 byte/ns: each takes 80 ns.
    assert heard == [([0, 0, 83], [80, 80, 88], 88)]
    assert timeline.end_ns.tolist() == [80, 80, 93]
    simulate(expected.graph, true, planner, expected=expected, memory="private")
    assert heard[1] == ([0, 0, 43], [40, 40, 48], 48)


def test_processor_that_slows_down_in_mid_run() -> None:
    costs = hand_costs([("npu", 10, 0, []), ("npu", 10, 0, [0]), ("cpu", 10, 0, [0]), ("npu", 10, 60, [1])])
    slowed = costs.with_slowdown("npu", 10e-9, 3.0)
    timeline = simulate(costs.graph, slowed, "fifo")
    assert list(zip(timeline.start_ns.tolist(), timeline.end_ns.tolist(), strict=True)) == [(0, 10), (10, 40), (10, 20), (40, 100)]
    assert timeline.costs.fixed_ns == [10, 30, 10, 30]
    assert simulate(costs.graph, timeline.costs, "fifo").end_ns.tolist() == timeline.end_ns.tolist()
    with pytest.raises(SocsimError, match=r"run\.slowed_processor 'gpu' has no work in this run; allowed: cpu, npu"):
        costs.with_slowdown("gpu", 0.0, 2.0)
