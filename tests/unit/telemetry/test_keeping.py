"""Which timelines are kept, and why."""

from __future__ import annotations

from math import ceil
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.telemetry.keeping import ENOUGH, SlowestShare, keep_reason
from orchestrator.telemetry.timeline import Attempt, KeepReason, Timeline


def ended(**fields: Any) -> Timeline:
    shared: dict[str, Any] = {
        "request_id": "r",
        "kind": "call",
        "outcome": "answered",
        "status": 200,
        "seconds": 0.1,
    }
    return Timeline(**(shared | fields))


def attempts(*failures: str) -> list[Attempt]:
    return [
        Attempt(number, "replica", "http://127.0.0.1:1", 0.0, "1" * 16, failure=failure)
        for number, failure in enumerate(failures, 1)
    ]


def seasoned(share: float = 0.01) -> SlowestShare:
    """One that has seen enough requests, of 0.1 s each."""
    slowest = SlowestShare(share)
    for _ in range(ENOUGH):
        assert not slowest.slow(0.1)
    return slowest


def test_nothing_is_slow_before_enough_requests_were_seen() -> None:
    slowest = SlowestShare(0.01)
    assert not any(slowest.slow(float(seconds)) for seconds in range(ENOUGH))
    assert slowest.slow(1000.0)


def test_where_all_take_the_same_time_none_is_slow() -> None:
    slowest = seasoned()
    assert not any(slowest.slow(0.1) for _ in range(5000))


def test_where_all_become_slow_only_the_first_few_stand_out() -> None:
    slowest = SlowestShare(0.01)
    for _ in range(1000):
        slowest.slow(0.1)
    # 1 % of the window, and the one that moves the bound.
    assert sum(slowest.slow(10.0) for _ in range(1000)) == 11


def test_what_was_long_ago_is_forgotten() -> None:
    slowest = SlowestShare(0.1, window=100)
    for _ in range(100):
        slowest.slow(10.0)
    assert slowest.bound == 10.0
    for _ in range(100):
        slowest.slow(0.1)
    assert slowest.bound == 0.1


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("values", [2, 30, 10**6])
def test_the_bound_is_that_of_the_last_ones_at_every_step(share: float, values: int) -> None:
    chance, times = Random(values), list[float]()
    slowest = SlowestShare(share, window=200)
    for step in range(3000):
        # A level that moves up and down again, so that all that was known grows useless.
        seconds = chance.randrange(values) + 1000.0 * (step // 500 % 3)
        before = sorted(times[-200:])
        slow = slowest.slow(seconds)
        if len(before) < ENOUGH:
            assert not slow
        else:
            assert slow == (seconds > before[max(0, ceil((1.0 - share) * len(before)) - 1)])
        times.append(seconds)


def test_a_share_of_nothing_keeps_nothing() -> None:
    slowest = SlowestShare(0.0)
    assert not any(slowest.slow(float(seconds)) for seconds in range(2000))


@settings(deadline=None)
@given(st.randoms(), st.sampled_from([0.01, 0.05, 0.5]), st.sampled_from([3, 50, 10_000]))
def test_the_bound_has_at_most_the_share_above_it(
    chance: Random, share: float, values: int
) -> None:
    times = [float(chance.randrange(values)) for _ in range(700)]
    slowest = SlowestShare(share, window=300)
    for seconds in times:
        slowest.slow(seconds)
    last = times[-300:]
    bound = slowest.bound
    assert bound in last
    assert sum(seconds > bound for seconds in last) <= share * 300
    # And no lower bound had: with the next smaller value it would be more.
    below = [seconds for seconds in last if seconds < bound]
    if below:
        assert sum(seconds > max(below) for seconds in last) > share * 300


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"status": 404}, None),
        ({"status": 429, "outcome": "rejected_queue_full"}, None),
        ({"status": 500}, KeepReason.ERROR),
        ({"status": 499, "outcome": "failed_caller_gone"}, KeepReason.ERROR),
        ({"status": 503, "outcome": "evicted_park_timeout"}, KeepReason.ERROR),
        ({"status": 0, "outcome": "failed_internal"}, KeepReason.ERROR),
        ({"attempts": attempts("")}, None),
        ({"attempts": attempts("connection", "")}, KeepReason.RETRY),
        ({"attempts": attempts("capacity", "")}, None),
        ({"attempts": attempts("stale", "capacity", "")}, None),
        ({"attempts": attempts("capacity", "status", "")}, KeepReason.RETRY),
        ({"cold_start": True}, KeepReason.COLD_START),
        ({"cold_start": True, "attempts": attempts("status", "")}, KeepReason.RETRY),
        ({"cold_start": True, "status": 504}, KeepReason.ERROR),
        ({"seconds": 0.2}, KeepReason.SLOW),
        ({"seconds": 0.2, "kind": "submit"}, KeepReason.SLOW),
        ({"seconds": 9.9, "cold_start": True}, KeepReason.COLD_START),
        # Of what is not the models' work, only failures matter.
        ({"seconds": 9.9, "kind": "other"}, None),
        ({"status": 503, "kind": "other"}, KeepReason.ERROR),
    ],
)
def test_why_a_timeline_is_kept(fields: dict[str, Any], reason: KeepReason | None) -> None:
    assert keep_reason(ended(**fields), seasoned()) == reason


def test_only_answers_are_learnt_from() -> None:
    slowest = seasoned()
    for _ in range(100):
        keep_reason(ended(status=429, outcome="rejected_queue_full", seconds=0.0001), slowest)
        keep_reason(ended(kind="other", seconds=50.0), slowest)
    assert slowest.bound == 0.1
    for _ in range(100):
        keep_reason(ended(seconds=5.0, cold_start=True), slowest)
    assert slowest.bound == 5.0
