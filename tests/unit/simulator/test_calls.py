"""Requests that are turned away, give up, run for too long, or lose their replica."""

from __future__ import annotations

import math

import pytest

from orchestrator.lifecycle.retry import RetryRules
from orchestrator.simulator.scenario import Callers
from orchestrator.traffic.arrival import Arrival
from tests.unit.simulator.scenes import Fixed, each, end, ends, environment, play, starting


def test_a_caller_who_gives_up_in_line_is_evicted_at_its_deadline():
    ended = play(environment([10.0, Arrival(10.1, deadline_s=0.5)], service=Fixed(5.0))).ended
    evicted, answered = ended
    assert (evicted.outcome, answered.outcome) == ("evicted_deadline", "answered")
    assert evicted.at == pytest.approx(10.6)
    assert evicted.wait_s == pytest.approx(0.5)
    assert math.isnan(evicted.first_byte_s)
    assert (evicted.attempts, evicted.service_s) == (0, 0.0)


def test_short_deadlines_behind_others_in_line_are_kept_to_the_moment():
    short = [Arrival(10.11 + n / 100, deadline_s=0.055) for n in range(40)]
    ended = play(environment([Arrival(10.0), Arrival(10.1), *short])).ended
    evicted = [request for request in ended if request.outcome == "evicted_deadline"]
    assert len(evicted) == 40
    assert [request.latency_s for request in evicted] == pytest.approx([0.055] * 40)


def test_a_caller_who_gives_up_while_it_runs_frees_the_slot():
    cancelled, answered = play(environment([Arrival(10.0, deadline_s=0.4), 10.1])).ended
    assert end(cancelled) == ("failed_deadline", 10.4)
    assert cancelled.service_s == pytest.approx(0.4)
    assert end(answered) == ("answered", 11.4)


def test_callers_deadlines_are_drawn_in_the_order_of_arrival():
    callers = Callers(deadline=each(0.5, 3.0, 3.0))
    ended = play(environment([10.0, 10.1, 10.2], callers=callers)).ended
    assert ends(ended) == [
        ("failed_deadline", 10.5),
        ("answered", 11.5),
        ("answered", 12.5),
    ]


def test_one_that_ends_at_its_deadline_is_answered():
    (request,) = play(environment([Arrival(10.0, deadline_s=1.0)], service=Fixed(1.0))).ended
    assert request.outcome == "answered"


def test_one_that_runs_for_too_long_fails_with_a_timeout():
    cut, answered = play(
        environment([10.0, Arrival(10.1, service_s=1.0)], service=Fixed(5.0), predict_s=2.0)
    ).ended
    assert (cut.outcome, cut.at, cut.service_s) == ("failed_timeout", 12.0, 2.0)
    assert end(answered) == ("answered", 13.0)


def test_one_whose_answer_had_begun_when_it_was_cut_has_a_first_byte():
    service = Fixed(5.0, first_s=0.5)
    (request,) = play(environment([10.0], service=service, predict_s=2.0)).ended
    assert request.first_byte_s == pytest.approx(0.5)


def test_where_nobody_queues_a_request_that_finds_no_slot_is_rejected_at_once():
    ended = play(environment([10.0, 10.5, 11.0], policy="reject_on_full")).ended
    assert ends(ended) == [
        ("rejected_no_free_slot", 10.5),
        ("answered", 11.0),
        ("answered", 12.0),
    ]


def test_a_full_line_rejects():
    ended = play(environment([10.0, 10.1, 10.2], max_requests=1)).ended
    assert ends(ended) == [
        ("rejected_queue_full", 10.2),
        ("answered", 11.0),
        ("answered", 12.0),
    ]


def test_a_rejected_caller_comes_back_and_counts_from_when_it_first_came():
    callers = Callers(retries=3, retry_after=each(0.25, 0.3, 0.2))
    recorder = play(environment([10.0, 10.5], policy="reject_on_full", callers=callers))
    _, late = recorder.ended
    # Back at 10.75 and, after the first has ended at 11, at 11.05.
    assert end(late) == ("answered", 12.05)
    assert late.latency_s == pytest.approx(1.55)
    assert late.wait_s == 0.0
    assert late.attempts == 1
    assert recorder.summary.requests == 2


def test_a_caller_gives_up_after_so_many_returns():
    callers = Callers(retries=2, retry_after=each(then=0.1))
    rejected, _ = play(environment([10.0, 10.5], policy="reject_on_full", callers=callers)).ended
    assert end(rejected) == ("rejected_no_free_slot", 10.7)


def test_a_caller_does_not_come_back_after_its_deadline():
    callers = Callers(deadline=each(then=2.0), retries=2, retry_after=each(1.5, 1.5))
    rejected, _ = play(
        environment([10.0, 10.2], policy="reject_on_full", service=Fixed(1.8), callers=callers)
    ).ended
    assert end(rejected) == ("rejected_no_free_slot", 11.7)
    assert rejected.latency_s == pytest.approx(1.5)


def test_attempts_of_a_caller_who_came_back_are_counted_together():
    # Ready at 10.05, dead at 15.05, and the next not before 25. Its pause of half a second
    # and its two seconds in line end at 17.55.
    callers = Callers(retries=1, retry_after=each(10.0))
    more = {"lifetime": each(5.0), "starts": starting(loading=10.0), "park_s": 2.0}
    (request,) = play(environment([14.0], service=Fixed(3.0), callers=callers, **more)).ended
    assert end(request) == ("answered", 30.55)
    assert request.attempts == 2
    assert request.wait_s == pytest.approx(2.5)
    assert request.cold


def test_one_that_loses_its_replica_runs_again_on_another():
    recorder = play(
        environment([4.0], min_replica=2, lifetime=each(5.0), service=Fixed(3.0)), duration_s=20.0
    )
    (request,) = recorder.ended
    # The older replica had it, and died 5 s after it became ready at 0.05.
    assert (request.outcome, request.attempts) == ("answered", 2)
    assert request.at == pytest.approx(8.05)
    assert request.service_s == pytest.approx(3.0)
    assert request.wait_s == 0.0
    assert not request.cold


def test_one_that_loses_the_only_replica_waits_for_the_next():
    recorder = play(
        environment([4.0], lifetime=each(5.0), service=Fixed(3.0), starts=starting(loading=2.0))
    )
    (request,) = recorder.ended
    # Ready at 2.05, dead at 7.05: it had ended by then.
    assert (request.attempts, request.at) == (1, 7.0)
    (request,) = play(
        environment([4.5], lifetime=each(5.0), service=Fixed(3.0), starts=starting(loading=2.0))
    ).ended
    assert (request.outcome, request.attempts, request.cold) == ("answered", 2, True)
    # The next is wanted at once, and ready after the controller's loop and 2 s.
    assert 2.0 <= request.wait_s <= 2.1 + 1e-9
    assert request.at == pytest.approx(7.05 + request.wait_s + 3.0)


def test_one_that_has_begun_to_answer_is_not_run_again():
    service = Fixed(3.0, first_s=0.5)
    (request,) = play(environment([4.0], min_replica=2, lifetime=each(5.0), service=service)).ended
    assert (request.outcome, request.attempts) == ("failed_replica_lost", 1)
    assert request.at == pytest.approx(5.05)
    assert request.first_byte_s == pytest.approx(0.5)


def test_attempts_are_limited():
    retry = RetryRules(connection_attempts=2)
    (request,) = play(
        environment([4.0], min_replica=2, lifetime=each(5.0, 6.0), service=Fixed(3.0), retry=retry)
    ).ended
    assert (request.outcome, request.attempts) == ("failed_replica_lost", 2)
    assert request.at == pytest.approx(6.05)


@pytest.mark.parametrize("pause_s", [0.1, 1.0])
def test_while_no_other_replica_has_room_it_waits_for_one_and_after_the_pause_for_any(pause_s):
    # The second replica is busy for long when the first dies, at 5.55; the next is ready
    # half a second later, within the longer pause and after the shorter one.
    recorder = play(
        environment(
            [Arrival(4.0, service_s=2.0), Arrival(4.1, service_s=9.0)],
            min_replica=2,
            lifetime=each(5.0),
            retry=RetryRules(initial_s=pause_s),
            starts=starting(loading=0.5),
        )
    )
    again = next(request for request in recorder.ended if request.attempts == 2)
    assert again.outcome == "answered"
    assert 0.5 <= again.wait_s <= 0.6 + 1e-9
    assert again.at == pytest.approx(5.55 + again.wait_s + 2.0)


def test_where_nobody_queues_one_that_lost_its_replica_tries_once_more_after_the_pause():
    retry = RetryRules(initial_s=1.0)
    recorder = play(
        environment(
            [Arrival(4.0, service_s=2.0), Arrival(4.1, service_s=9.0)],
            min_replica=2,
            policy="reject_on_full",
            lifetime=each(5.0),
            retry=retry,
            starts=starting(loading=0.5),
        )
    )
    again = next(request for request in recorder.ended if request.attempts == 2)
    assert again.outcome == "answered"
    assert again.at == pytest.approx(5.55 + 1.0 + 2.0)


def test_one_whose_deadline_comes_in_that_pause_fails_by_it():
    retry = RetryRules(initial_s=1.0)
    recorder = play(
        environment(
            [Arrival(4.0, service_s=2.0, deadline_s=2.0), Arrival(4.1, service_s=9.0)],
            min_replica=2,
            policy="reject_on_full",
            lifetime=each(5.0),
            retry=retry,
            starts=starting(loading=0.5),
        )
    )
    failed = recorder.ended[0]
    assert (failed.outcome, failed.at, failed.attempts) == ("failed_deadline", 6.0, 1)


def test_an_outage_is_not_multiplied_beyond_the_retry_budget():
    arrivals = [10.0 + n / 1000 for n in range(100)]
    recorder = play(
        environment(arrivals, slots=100, min_replica=2, lifetime=each(11.0), service=Fixed(3.0))
    )
    # The first replica had all of them. The budget is a fifth of the requests.
    outcomes = [request.outcome for request in recorder.ended]
    assert outcomes.count("failed_replica_lost") == 80
    assert outcomes.count("answered") == 20
