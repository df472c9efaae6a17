"""What is measured of a run: counts, distributions, time-weighted levels, replicas, money."""

from __future__ import annotations

import gc
import math
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.lifecycle.replica import Stage
from orchestrator.lifecycle.request import Outcome
from orchestrator.reports.measures import FLUSH_AT, KEPT, Ended, EnvironmentMeasures, RunMeasures

if TYPE_CHECKING:
    from orchestrator.reports.report import EnvironmentReport

NAME = "llm.production"


def a_request(at: float = 1.0, latency_s: float = 0.5, **fields: Any) -> Ended:
    plain = Ended(at, latency_s, 0.0, latency_s / 2, latency_s, "answered", False, 1, False)
    return plain._replace(**fields)


def measured(
    *ended: Ended, measure_from_s: float = 0.0, span_s: float = 100.0
) -> EnvironmentReport:
    run = RunMeasures(measure_from_s=measure_from_s)
    measures = run.environment(NAME, gpus_per_replica=1, slots=1)
    measures.ended += ended
    return run.report(span_s=span_s).environments[NAME]


def test_a_run_without_requests_has_a_report() -> None:
    found = measured()
    assert (found.requests, found.share_cold, found.latency.count) == (0, 0.0, 0)
    assert found.busy_share is None
    assert found.little is None


def test_counts_are_exact() -> None:
    found = measured(
        a_request(cold=True, wait_s=3.0),
        a_request(wait_s=0.1, attempts=2),
        a_request(asynchronous=True),
        a_request(outcome=Outcome.FAILED_TIMEOUT.value, cold=True, attempts=3),
        a_request(outcome=Outcome.REJECTED_NO_FREE_SLOT.value, attempts=0),
    )
    assert found.requests == 5
    assert found.outcomes == {"answered": 3, "failed_timeout": 1, "rejected_no_free_slot": 1}
    assert (found.cold, found.share_cold) == (2, 0.4)
    assert (found.waited, found.retried, found.asynchronous) == (2, 2, 1)


def test_latencies_are_of_those_answered_and_waits_of_those_not_turned_away() -> None:
    found = measured(
        a_request(latency_s=1.0, wait_s=0.5),
        a_request(latency_s=1200.0, wait_s=1200.0, outcome=Outcome.EVICTED_PARK_TIMEOUT.value),
        a_request(latency_s=0.0, outcome=Outcome.REJECTED_QUEUE_FULL.value),
    )
    assert (found.latency.count, found.latency.max) == (1, 1.0)
    assert (found.service.count, found.first_byte.count) == (1, 1)
    assert (found.wait.count, found.wait.min, found.wait.max) == (2, 0.5, 1200.0)


def test_answers_without_a_first_byte_are_left_out_of_its_distribution() -> None:
    found = measured(a_request(first_byte_s=math.nan), a_request(first_byte_s=0.2))
    assert (found.first_byte.count, found.first_byte.max) == (1, 0.2)


def test_requests_that_arrived_before_the_warm_up_was_over_are_not_measured() -> None:
    found = measured(
        a_request(at=10.5, latency_s=1.0, cold=True, service_s=1.0),
        a_request(at=11.0, latency_s=1.0),
        a_request(at=30.0, latency_s=2.0),
        measure_from_s=10.0,
    )
    assert (found.requests, found.cold, found.latency.count) == (2, 0, 2)
    assert found.latency.max == 2.0
    assert found.series is not None
    # Over time, the whole run is shown.
    assert sum(found.series.arrivals) == sum(found.series.answered) == 3


def test_a_warm_up_that_nobody_outlived_leaves_nothing() -> None:
    found = measured(a_request(at=5.0), measure_from_s=10.0)
    assert (found.requests, found.arrived) == (0, 1)


def test_arrivals_and_answers_lie_in_the_bins_of_their_moments() -> None:
    found = measured(
        a_request(at=1.05, latency_s=1.0),
        a_request(at=2.05, latency_s=0.5),
        a_request(at=1.05, latency_s=1.0, outcome=Outcome.FAILED_INTERNAL.value),
        span_s=3.0,
    )
    series = found.series
    assert series is not None
    assert (series.bin_s, len(series.arrivals)) == (0.1, 30)
    assert (series.arrivals[0], series.arrivals[15]) == (2, 1)
    assert (series.answered[10], series.answered[20]) == (1, 1)
    assert (series.latency[10], series.latency[20], series.latency[0]) == (1.0, 0.5, None)


def test_levels_are_weighted_by_time_and_hold_to_the_end() -> None:
    run = RunMeasures()
    measures = run.environment(NAME, gpus_per_replica=1, slots=2)
    measures.sample(0.0, 4, 0, 1, {Stage.LOADING: 1})
    measures.sample(0.05, 0, 2, 1, {Stage.READY: 1})
    found = run.report(span_s=0.2).environments[NAME]
    series = found.series
    assert series is not None
    assert series.waiting == pytest.approx([2.0, 0.0])
    assert series.running == pytest.approx([1.0, 2.0])
    assert series.desired == pytest.approx([1.0, 1.0])
    assert series.stages == {"LOADING": [0.5, 0.0], "READY": [0.5, 1.0]}
    assert (found.peaks.waiting, found.peaks.running, found.peaks.ready) == (4, 2, 1)


def test_replica_seconds_become_gpu_seconds_utilisation_and_cost() -> None:
    run = RunMeasures()
    measures = run.environment(NAME, gpus_per_replica=0.5, slots=4)
    measures.ended += [a_request(service_s=20.0), a_request(service_s=40.0)]
    for stage, seconds in {
        Stage.PROVISIONING: 1000.0,
        Stage.LOADING: 60.0,
        Stage.READY: 90.0,
        Stage.DRAINING: 10.0,
    }.items():
        measures.replica_seconds(stage, seconds / 2)
        measures.replica_seconds(stage, seconds / 2)
    found = run.report(span_s=200.0, price_per_gpu_hour=3.6).environments[NAME]
    assert found.replica_seconds["PROVISIONING"] == 1000.0
    # A replica that still waits for its GPU has none.
    assert found.gpu_seconds == pytest.approx(0.5 * (60 + 90 + 10))
    assert found.cost == pytest.approx(80.0 * 0.001)
    assert found.busy_share == pytest.approx(60.0 / (100.0 * 4))


def test_without_a_price_there_is_no_cost() -> None:
    assert measured(a_request()).cost is None


def test_littles_law_compares_what_was_present_with_what_ended() -> None:
    run = RunMeasures(measure_from_s=50.0)
    measures = run.environment(NAME, gpus_per_replica=1, slots=1)
    measures.ended += [a_request(at=10.0, latency_s=4.0), a_request(at=99.0, latency_s=6.0)]
    measures.load(10.0, 100.0)
    little = run.report(span_s=100.0).environments[NAME].little
    assert little is not None
    assert little.present == little.rate_times_latency == pytest.approx(0.1)


def test_starts_and_decisions_are_counted_and_the_last_are_kept() -> None:
    run = RunMeasures()
    measures = run.environment(NAME, gpus_per_replica=1, slots=1)
    for number in range(KEPT + 10):
        measures.started({Stage.STARTING: 1.0, Stage.LOADING: 2.0}, failed=number == KEPT + 9)
        measures.decided(float(number), number, number + 1, f"because of {number}")
    found = run.report(span_s=1000.0).environments[NAME]
    assert (found.starts.count, found.starts.failed, len(found.starts.kept)) == (510, 1, 500)
    assert (found.starts.seconds.count, found.starts.seconds.p50) == (509, 3.0)
    assert found.starts.kept[-1].failed
    assert (found.decisions.count, len(found.decisions.kept)) == (510, 500)
    assert found.decisions.kept[0].reason == "because of 10"


def test_a_run_of_one_environment_is_that_environment() -> None:
    run = RunMeasures()
    run.environment(NAME, gpus_per_replica=1, slots=1).ended.append(a_request())
    report = run.report(span_s=10.0)
    assert report.total is None
    assert report.whole is report.environments[NAME]


def test_environments_add_up_to_a_total() -> None:
    run = RunMeasures()
    for number, name in enumerate(("a.production", "b.production"), start=1):
        measures = run.environment(name, gpus_per_replica=number, slots=number)
        measures.ended += [a_request(at=float(at), latency_s=float(number)) for at in range(5, 15)]
        measures.sample(0.0, number, 0, 1, {Stage.READY: 1})
        measures.replica_seconds(Stage.READY, 20.0)
        measures.started({Stage.LOADING: 1.0}, failed=False)
        measures.decided(0.0, 0, 1, "one is wanted")
        measures.arrived(10)
        measures.load(10.0 * number, 20.0)
    report = run.report(span_s=20.0, price_per_gpu_hour=1.0)
    total, single = report.whole, list(report.environments.values())
    assert total is report.total
    assert (total.requests, total.arrived, total.outcomes) == (20, 20, {"answered": 20})
    assert (total.latency.min, total.latency.mean, total.latency.max) == (1.0, 1.5, 2.0)
    assert total.gpu_seconds == sum(found.gpu_seconds for found in single) == 60.0
    assert total.busy_share == pytest.approx((10 * 1 + 10 * 2) / (20.0 * 1 + 20.0 * 2))
    assert total.cost == pytest.approx(sum(found.cost or 0.0 for found in single))
    assert (total.starts.count, total.decisions.count) == (2, 2)
    assert total.series is not None
    assert sum(total.series.arrivals) == 20
    assert set(total.series.waiting) == {3.0}
    assert (total.peaks.waiting, total.peaks.ready) == (3.0, 2.0)
    assert total.little is not None
    assert total.little.present == pytest.approx(1.5)


def test_gpus_of_the_pool_are_weighted_by_time() -> None:
    run = RunMeasures()
    run.pool(0.0, 1.0)
    run.pool(10.0, 4.0)
    pool = run.report(span_s=20.0, gpus=8).pool
    assert (pool.gpus, pool.gpu_seconds, pool.peak) == (8, 50.0, 4.0)
    assert pool.in_use[0] == 1.0
    assert pool.in_use[-1] == 4.0


def test_a_name_is_measured_once() -> None:
    run = RunMeasures()
    run.environment(NAME, gpus_per_replica=1, slots=1)
    with pytest.raises(ValueError, match=r"'llm\.production' is measured already"):
        run.environment(NAME, gpus_per_replica=1, slots=1)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(0, 100))
def test_in_which_parts_requests_are_flushed_changes_nothing(sizes: list[int], seed: int) -> None:
    def run(parts: list[int]) -> EnvironmentReport:
        run = RunMeasures(measure_from_s=20.0)
        measures = run.environment(NAME, gpus_per_replica=1, slots=1)
        number = 0
        for size in parts:
            for _ in range(size):
                number += 1
                measures.ended.append(_varied(number + seed))
            measures.flush()
        return run.report(span_s=500.0).environments[NAME]

    assert run(sizes) == run([sum(sizes)])


def _varied(number: int) -> Ended:
    outcome = list(Outcome)[number % len(Outcome)].value if number % 3 == 0 else "answered"
    return a_request(
        at=number * 0.75 + 2.0,
        latency_s=(number % 8) / 4,
        wait_s=(number % 5) / 4,
        outcome=outcome,
        cold=number % 7 == 0,
        attempts=number % 3,
        asynchronous=number % 2 == 0,
    )


def test_memory_does_not_grow_with_the_number_of_requests() -> None:
    run = RunMeasures()
    measures = run.environment(NAME, gpus_per_replica=1, slots=1)
    rows = [_varied(number) for number in range(FLUSH_AT)]

    def more(flushes: range) -> int:
        for flush in flushes:
            _go_on(measures, rows, float(flush))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        after_few = more(range(8))
        after_many = more(range(8, 40))
    finally:
        tracemalloc.stop()
    assert after_many < after_few + 300_000


def _go_on(measures: EnvironmentMeasures, rows: list[Ended], now: float) -> None:
    measures.ended += rows
    measures.flush()
    for number in range(200):
        measures.sample(now + number / 200, number % 5, number % 3, 1, {Stage.READY: number % 2})
        measures.started({Stage.LOADING: float(number)}, failed=False)
        measures.decided(now, 0, 1, "up")
