"""Retry rules and the retry budget, on a clock of their own."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.retry import (
    BUDGET_BUCKETS,
    BUDGET_MINIMUM,
    Failure,
    RetryBudget,
    RetryRules,
    Verdict,
)

RULES = RetryRules()


def _judge(failure: Failure = Failure.STATUS, **changed: Any) -> Verdict:
    facts = {"connection_failures": 0, "pause_s": 0.5, "elapsed_s": 1.0, "left_s": 60.0}
    return RULES.judge(failure, **{**facts, **changed})


def test_pauses_grow_by_half_from_half_a_second_to_a_minute() -> None:
    assert [RULES.pause_s(attempt) for attempt in (1, 2, 3)] == [0.5, 0.75, 1.125]
    assert RULES.pause_s(50) == 60.0
    assert RULES.pause_s(100_000) == 60.0


def test_the_sixteenth_failed_connection_is_the_last() -> None:
    assert _judge(Failure.CONNECTION, connection_failures=15) is Verdict.RETRY
    assert _judge(Failure.CONNECTION, connection_failures=16) is Verdict.ATTEMPTS_USED_UP
    assert _judge(Failure.STATUS, connection_failures=16) is Verdict.RETRY


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"elapsed_s": 899.0}, Verdict.RETRY),
        ({"elapsed_s": 899.6}, Verdict.TIME_USED_UP),
        ({"left_s": 0.6}, Verdict.RETRY),
        ({"left_s": 0.5}, Verdict.TIME_USED_UP),
        ({"left_s": math.inf}, Verdict.RETRY),
    ],
)
def test_a_retry_must_begin_in_time(changed: dict[str, float], verdict: Verdict) -> None:
    assert _judge(Failure.STATUS, **changed) is verdict


def test_a_lone_request_may_be_retried() -> None:
    budget = RetryBudget(0.2, 10.0)
    budget.request(100.0)
    assert [budget.spend(100.0 + n) for n in range(3)] == [True] * 3


def test_an_outage_is_not_multiplied() -> None:
    budget = RetryBudget(0.2, 10.0)
    retries = 0
    for number in range(1000):
        now = number * 0.009
        budget.request(now)
        retries += budget.spend(now)
    assert retries == 200


def test_the_budget_comes_back_when_the_window_has_passed() -> None:
    budget = RetryBudget(0.2, 10.0, minimum=1)
    assert budget.spend(0.0)
    assert not budget.spend(9.9)
    assert budget.spend(10.1)


@given(
    st.lists(st.tuples(st.sampled_from(["request", "spend"]), st.floats(0.0, 5.0)), max_size=300),
    st.floats(0.01, 1.0),
)
def test_retries_never_exceed_their_share_over_the_window(
    steps: list[tuple[str, float]], ratio: float
) -> None:
    window = 10.0
    budget = RetryBudget(ratio, window)
    now = 0.0
    requests: list[float] = []
    granted: list[float] = []
    for step, pause in steps:
        now += pause
        if step == "request":
            budget.request(now)
            requests.append(now)
        elif budget.spend(now):
            granted.append(now)
            # Within the part of the window that is certainly counted.
            recent = now - window * (1 - 1 / BUDGET_BUCKETS)
            spent = sum(at > recent for at in granted)
            seen = sum(at > now - window for at in requests)
            assert spent <= max(BUDGET_MINIMUM, ratio * seen) + 1e-9


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_a_clock_that_goes_back_does_no_harm(times: list[float]) -> None:
    budget = RetryBudget(0.2, 10.0)
    for now in times:
        budget.request(now)
        budget.spend(now)
    assert budget.allowed >= BUDGET_MINIMUM
