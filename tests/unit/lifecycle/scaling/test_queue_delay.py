"""The queue_delay policy: the long run by Erlang's formula, and the line that there is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.scaling.erlang import wait_exceeds
from orchestrator.lifecycle.scaling.policy import Seen, Wish
from orchestrator.lifecycle.scaling.queue_delay import ArrivalRate, QueueDelayPolicy
from orchestrator.lifecycle.settings import AutoscalingSettings


def seen(
    *, target: int = 100, max_replica: int = 100, utilization: float = 1.0, **facts: Any
) -> Seen:
    scaling = AutoscalingSettings(
        max_replica=max_replica, concurrency_target=target, utilization=utilization
    )
    return Seen(scaling, **{"service_s": 1.0, "slots": 1, **facts})


def steady(policy: QueueDelayPolicy, rate: float, for_s: int = 120, **facts: Any) -> Wish:
    """A constant rate of arrivals from 0 on, in steps of 0.1 s; the last wish."""
    wishes = [
        policy.wish(tick / 10, seen(arrived=rate * tick / 10, **facts))
        for tick in range(for_s * 10 + 1)
    ]
    return wishes[-1]


@pytest.mark.parametrize("slots", [1, 4, 16])
@pytest.mark.parametrize("rate", [0.5, 2.0, 20.0])
def test_the_least_number_with_which_waits_keep_the_objective(rate: float, slots: int) -> None:
    policy = QueueDelayPolicy(objective=0.5, quantile=0.9)
    replicas = steady(policy, rate, slots=slots).replicas
    assert wait_exceeds(replicas * slots, rate, 1.0, 0.5) <= 0.1
    assert wait_exceeds((replicas - 1) * slots, rate, 1.0, 0.5) > 0.1


def test_it_says_what_it_went_by() -> None:
    wish = steady(QueueDelayPolicy(), 2.0, service_s=0.5, slots=4)
    assert wish == Wish(1, "2.00 requests/s of 0.5 s: 95 % wait 1 s at most with 4 slots")


def test_a_harder_objective_takes_more() -> None:
    asked = [
        QueueDelayPolicy(objective=s, quantile=q) for s, q in [(10, 0.5), (1, 0.95), (0.01, 0.999)]
    ]
    assert [steady(policy, 10.0).replicas for policy in asked] == [11, 13, 22]


def test_a_replica_gets_no_more_at_once_than_the_target_says() -> None:
    assert steady(QueueDelayPolicy(), 10.0, slots=16, target=4).reason.endswith("with 16 slots")
    assert steady(QueueDelayPolicy(), 10.0, slots=16, target=4).replicas == 4
    assert steady(QueueDelayPolicy(), 10.0, slots=16, target=100).replicas == 1


def test_a_line_is_drained_within_the_objective_and_the_time_of_a_start() -> None:
    policy = QueueDelayPolicy(objective=1.0)
    wish = policy.wish(0.0, seen(waiting=120, service_s=0.5, startup_s=9.0, slots=2))
    assert wish == Wish(3, "120 in line of 0.5 s each: 3 replicas drain them within 10 s")
    assert policy.wish(0.1, seen(waiting=121, service_s=0.5, startup_s=9.0, slots=2)).replicas == 4
    assert (
        policy.wish(0.2, seen(waiting=120, service_s=0.5, startup_s=None, slots=2)).replicas == 30
    )


def test_no_arrivals_and_no_line_need_nothing() -> None:
    policy = QueueDelayPolicy()
    assert steady(policy, 5.0, for_s=60).replicas == 7
    still = [policy.wish(60 + tick / 10, seen(arrived=300)) for tick in range(620)]
    assert still[-1] == Wish(0, "no request in 60 s")


def test_a_surge_counts_by_the_short_window_and_stays_for_the_long_one() -> None:
    policy = QueueDelayPolicy()
    assert steady(policy, 1.0, for_s=100).replicas == 3
    # 60 requests within a second: 10 a second over 6 s, and a little over 2 over the minute.
    at_once = policy.wish(101.0, seen(arrived=160))
    assert at_once.reason.startswith("10.83 requests/s")
    later = [policy.wish(101 + s, seen(arrived=160 + s)) for s in range(1, 30)]
    assert later[3].replicas == at_once.replicas
    assert later[-1].reason.startswith("1.9")


def test_the_first_request_of_all_makes_no_high_rate() -> None:
    policy = QueueDelayPolicy()
    policy.wish(0.0, seen())
    assert policy.wish(0.1, seen(arrived=1)).reason.startswith("0.17 requests/s")


def test_a_policy_that_begins_under_load_knows_the_rate_after_a_tenth_of_its_window() -> None:
    assert steady(QueueDelayPolicy(), 10.0, for_s=6).reason.startswith("10.00 requests/s")


def test_requests_before_the_policy_began_do_not_count() -> None:
    policy = QueueDelayPolicy()
    assert policy.wish(500.0, seen(arrived=1e6)) == Wish(0, "no request in 60 s")


def test_without_a_service_time_it_does_as_concurrency_does() -> None:
    policy = QueueDelayPolicy()
    facts: dict[str, Any] = {"target": 10, "utilization": 0.7, "service_s": None, "in_flight": 25.0}
    wishes = [policy.wish(tick / 10, seen(**facts)) for tick in range(600)]
    assert wishes[-1] == Wish(
        4, "no service time known yet: 25.00 in flight over 60 s, 7 a replica"
    )


def test_a_load_that_no_number_allowed_can_take_is_said_and_asked_to_be_kept_stable() -> None:
    wish = steady(QueueDelayPolicy(), 10.0, max_replica=4, slots=2)
    assert wish == Wish(
        6,
        "10.00 requests/s of 1 s cannot be met: 4 replicas have 8 slots, and 10.00 are busy on average",
    )
    # Exactly as many slots as are busy on average: the line would grow without bounds.
    assert steady(QueueDelayPolicy(), 8.0, max_replica=4, slots=2).replicas == 5


def test_an_objective_that_no_number_allowed_can_keep_is_said() -> None:
    wish = steady(QueueDelayPolicy(objective=0.1, quantile=0.99), 10.0, max_replica=12)
    assert wish == Wish(
        12, "10.00 requests/s of 1 s: fewer than 99 % wait 0.1 s at most, even with 12 replicas"
    )


def test_changed_bounds_count_at_once() -> None:
    policy = QueueDelayPolicy()
    steady(policy, 10.0, max_replica=4)
    assert "cannot be met" in policy.wish(120.1, seen(arrived=1201, max_replica=4)).reason
    assert policy.wish(120.2, seen(arrived=1202, max_replica=100)).replicas == 13


@given(
    st.lists(st.tuples(st.floats(0.01, 5.0), st.integers(0, 50)), min_size=1, max_size=100),
    st.floats(1.0, 100.0),
)
def test_a_rate_is_never_negative_nor_more_than_all_requests_in_the_short_window(
    steps: list[tuple[float, int]], window_s: float
) -> None:
    arrivals = ArrivalRate(0.0, 0.0, window_s)
    now, arrived = 0.0, 0.0
    for pause, more in steps:
        now, arrived = now + pause, arrived + more
        rate = arrivals.record(now, arrived)
        assert 0 <= rate <= arrived / (window_s / 10) * (1 + 1e-9)


def test_what_came_since_a_count_of_long_ago_came_lately() -> None:
    arrivals = ArrivalRate(0.0, 0.0, 60.0)
    assert arrivals.record(3600.0, 63.0) == pytest.approx(10.0)


def test_a_rate_keeps_a_bounded_number_of_counts() -> None:
    arrivals = ArrivalRate(0.0, 0.0, 3600.0)
    for tick in range(100_000):
        rate = arrivals.record(tick / 10, tick / 5)
    assert rate == pytest.approx(2.0, rel=0.01)
    assert len(arrivals._counts) <= 202
    assert len(arrivals._recent) <= 202
