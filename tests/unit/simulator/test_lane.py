"""Asynchronous requests beside synchronous ones."""

from __future__ import annotations

import pytest

from orchestrator.traffic.arrival import Arrival
from tests.unit.simulator.scenes import Fixed, each, end, ends, environment, play, starting


def later(at: float, deadline_s: float | None = None) -> Arrival:
    return Arrival(at, deadline_s=deadline_s, asynchronous=True)


def test_an_asynchronous_request_goes_behind_synchronous_ones_that_come_later():
    ended = play(environment([10.0, later(10.1), 10.2], async_share=0.0)).ended
    assert [(r.asynchronous, r.at) for r in ended] == [
        (False, 11.0),
        (False, 12.0),
        (True, 13.0),
    ]
    assert ended[-1].wait_s == pytest.approx(1.9)
    assert ended[-1].latency_s == pytest.approx(2.9)


def test_one_that_has_aged_goes_first():
    ended = play(environment([10.0, later(10.1), 10.2, 10.3], async_share=0.0, aging_s=0.15)).ended
    assert [r.asynchronous for r in ended] == [False, False, True, False]


def test_asynchronous_work_keeps_its_share_under_synchronous_overload():
    # Two slots, twice as much work as they can do, and a backlog of asynchronous work.
    sync = [10.0 + n / 4 for n in range(400)]
    arrivals = sorted([*map(Arrival, sync), *(later(10.0) for _ in range(200))])
    recorder = play(
        environment(arrivals, slots=2, service=Fixed(1.0), async_share=0.25, park_s=1e6),
    )
    in_overload = [r for r in recorder.ended if 20.0 < r.at <= 100.0]
    share = sum(r.asynchronous for r in in_overload) / len(in_overload)
    assert share == pytest.approx(0.25, abs=0.02)


def test_a_long_backlog_does_not_start_more_replicas_than_may_be():
    recorder = play(
        environment(
            [later(10.0) for _ in range(3000)],
            min_replica=0,
            max_replica=4,
            max_requests=2,
            window_s=1.0,
            park_s=1e6,
        )
    )
    assert len(recorder.ended) == 3000
    assert {r.outcome for r in recorder.ended} == {"answered"}
    assert max(desired for _, _, _, desired, _ in recorder.only.levels) == 4
    assert max(waiting for _, waiting, *_ in recorder.only.levels) >= 2990
    assert recorder.summary.span_s == pytest.approx(760.05, abs=1.05)


def test_the_bound_of_the_line_is_not_for_accepted_requests():
    # All four replicas are ready at 10.05.
    arrivals = [later(10.0) for _ in range(4)]
    ended = play(
        environment(arrivals, min_replica=4, max_requests=2, starts=starting(loading=10.0))
    ).ended
    assert [request.wait_s for request in ended] == pytest.approx([0.05] * 4)


def test_accepted_requests_are_not_rejected_where_nobody_queues():
    ended = play(environment([10.0, later(10.1)], policy="reject_on_full")).ended
    assert [r.outcome for r in ended] == ["answered", "answered"]


def test_one_that_waits_for_too_long_expires_wherever_it_waits():
    arrivals = [later(10.0), later(10.1), later(10.2)]
    ended = play(environment(arrivals, service=Fixed(50.0), park_s=20.0)).ended
    assert ends(ended) == [
        ("evicted_park_timeout", 30.1),
        ("evicted_park_timeout", 30.2),
        ("answered", 60.0),
    ]
    assert [r.wait_s for r in ended] == pytest.approx([20.0, 20.0, 0.0])


def test_one_that_is_cancelled_in_the_store_is_gone_at_that_moment():
    arrivals = [later(10.0), later(10.1), later(10.2, deadline_s=3.0)]
    ended = play(environment(arrivals, service=Fixed(50.0), park_s=1e6)).ended
    assert end(ended[0]) == ("evicted_deadline", 13.2)


def test_one_that_loses_its_replica_is_run_again_after_a_pause():
    recorder = play(
        environment([later(4.0)], min_replica=2, lifetime=each(5.0), service=Fixed(3.0))
    )
    (request,) = recorder.ended
    assert (request.outcome, request.attempts) == ("answered", 2)
    assert request.at == pytest.approx(5.05 + 1.0 + 3.0)


def test_one_that_never_ends_in_time_fails_after_three_attempts():
    (request,) = play(environment([later(10.0)], service=Fixed(9.0), predict_s=2.0)).ended
    assert (request.outcome, request.attempts) == ("failed_timeout", 3)
    # Three attempts of two seconds, with pauses of one and two.
    assert request.at == pytest.approx(10.0 + 6.0 + 3.0)


def test_one_that_is_put_back_after_its_time_expires():
    (request,) = play(
        environment([later(10.0)], service=Fixed(9.0), predict_s=2.0, park_s=2.5)
    ).ended
    # Cut at 12, and to be tried again at 13.
    assert end(request) == ("evicted_park_timeout", 13.0)
    assert request.attempts == 1


def test_one_that_is_in_the_store_during_a_cold_start_is_cold_too():
    arrivals = [later(10.0), later(10.0), later(14.5)]
    ended = play(
        environment(arrivals, min_replica=0, max_replica=1, starts=starting(loading=2.0))
    ).ended
    assert [r.cold for r in ended] == [True, True, False]
    assert [r.wait_s for r in ended] == pytest.approx([2.05, 3.05, 0.0])


def test_one_that_waits_for_a_cold_start_is_cold():
    (request,) = play(
        environment([later(10.0)], min_replica=0, max_replica=1, starts=starting(loading=2.0))
    ).ended
    assert request.cold
    assert request.at == pytest.approx(13.05)


def test_an_environment_that_is_unhealthy_keeps_what_it_has_accepted():
    recorder = play(
        environment(
            [later(10.0)],
            min_replica=0,
            max_replica=1,
            starts=starting(loading=1.0, fails=[True] * 3),
            attempts=2,
            backoff_initial_s=0.5,
            backoff_max_s=5.0,
        )
    )
    (request,) = recorder.ended
    assert (request.outcome, request.cold) == ("answered", True)
    assert len(recorder.only.starts) == 4
