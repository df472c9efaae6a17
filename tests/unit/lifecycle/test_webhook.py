"""Delivery rules and the breaker, on a clock of their own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.lifecycle.webhook import (
    JITTER,
    LONGEST_RETRY_AFTER_S,
    PAUSES_S,
    Breaker,
    BreakerRules,
    BreakerState,
    DeliveryRules,
    Verdict,
    retry_after_s,
    verdict_of,
)

RULES = DeliveryRules()
CHANCES = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ([200, 201, 202, 204, 299], Verdict.DELIVERED),
        ([301, 302, 307, 308], Verdict.RETRY),
        ([408, 425, 429], Verdict.RETRY),
        ([500, 502, 503, 504, 599], Verdict.RETRY),
        ([400, 401, 403, 404, 405, 409, 410, 413, 422, 499], Verdict.STOP),
        ([None], Verdict.RETRY),
    ],
)
def test_what_an_answer_means(statuses: list[int | None], verdict: Verdict) -> None:
    assert {verdict_of(status) for status in statuses} == {verdict}


def test_the_schedule_is_the_contracts() -> None:
    pauses = [RULES.pause_s(attempt, chance=0.5) for attempt in range(1, 9)]
    assert pauses == [5, 300, 1800, 7200, 18_000, 36_000, 36_000, None]


def test_a_webhook_without_pauses_is_tried_once() -> None:
    assert DeliveryRules(pauses_s=()).pause_s(1, 0.5) is None


@given(attempt=st.integers(1, len(PAUSES_S)), chance=CHANCES)
def test_pauses_are_jittered_by_a_tenth(attempt: int, chance: float) -> None:
    pause = RULES.pause_s(attempt, chance)
    assert pause == pytest.approx(PAUSES_S[attempt - 1], rel=JITTER + 1e-9)


@given(attempt=st.integers(1, 9), chance=CHANCES, asked=st.floats(0, 1e9))
def test_a_receiver_is_never_tried_before_it_asks_nor_kept_waiting_for_ever(
    attempt: int, chance: float, asked: float
) -> None:
    pause, planned = RULES.pause_s(attempt, chance, asked), RULES.pause_s(attempt, chance)
    if planned is None or pause is None:
        assert pause is planned is None
        return
    assert pause >= planned
    assert pause >= min(asked, LONGEST_RETRY_AFTER_S)
    assert pause <= LONGEST_RETRY_AFTER_S * (1 + JITTER) + 1e-6


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 400, LONGEST_RETRY_AFTER_S),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 08:40:00 GMT", 0.0),
        ("Sun, 99 Nov 1994 08:40:00 GMT", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    now = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT
    assert retry_after_s(value, now) == seconds


@given(st.text(max_size=60), st.floats(0, 4e9))
def test_no_retry_after_breaks_anything(value: str, now: float) -> None:
    seconds = retry_after_s(value, now)
    assert seconds is None or seconds >= 0.0


def _opened(breaker: Breaker, now: float = 0.0) -> Breaker:
    while breaker.state is BreakerState.CLOSED:
        breaker.failed(breaker.admit(now), now)
    return breaker


def test_five_failures_in_a_row_pause_a_receiver_for_half_a_minute() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker.failed(breaker.admit(10.0), 10.0)
    assert breaker.wait_s(10.0) == 0.0
    breaker.failed(breaker.admit(10.0), 10.0)
    assert breaker.wait_s(10.0) == 30.0
    assert breaker.wait_s(39.0) == 1.0
    assert breaker.wait_s(40.0) == 0.0


def test_failures_between_successes_pause_nobody() -> None:
    breaker = Breaker()
    for _ in range(20):
        for _ in range(4):
            breaker.failed(breaker.admit(0.0), 0.0)
        breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_after_the_pause_one_probe_goes_and_all_others_wait_for_it() -> None:
    breaker = _opened(Breaker())
    breaker.admit(30.0)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.wait_s(30.0) > 0.0
    with pytest.raises(ValueError, match="left alone"):
        breaker.admit(30.0)


def test_pauses_grow_by_their_number_up_to_five_minutes() -> None:
    breaker, now, pauses = _opened(Breaker()), 0.0, []
    for _ in range(12):
        pauses.append(breaker.wait_s(now))
        now += breaker.wait_s(now)
        breaker.failed(breaker.admit(now), now)
    assert pauses == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]


def test_one_success_opens_the_way_and_forgets_the_pauses() -> None:
    breaker = _opened(Breaker())
    breaker.admit(30.0)
    breaker.succeeded()
    assert breaker.wait_s(30.0) == 0.0
    assert _opened(breaker, 31.0).wait_s(31.0) == 30.0


def test_what_began_before_the_breaker_opened_does_not_lengthen_the_pause() -> None:
    breaker = Breaker()
    early = [breaker.admit(0.0) for _ in range(16)]
    for number in early:
        breaker.failed(number, 1.0)
    assert breaker.wait_s(1.0) == 30.0
    breaker.admit(31.0)
    breaker.failed(early[0], 31.0)
    assert breaker.state is BreakerState.HALF_OPEN


def test_a_probe_that_was_not_made_lets_another_go_at_once() -> None:
    breaker = _opened(Breaker())
    breaker.abandoned(breaker.admit(30.0), 30.0)
    assert breaker.wait_s(30.0) == 0.0


def test_a_lost_probe_is_followed_by_another() -> None:
    breaker = _opened(Breaker())
    lost = breaker.admit(30.0)
    assert breaker.wait_s(30.0) == 60.0
    breaker.admit(90.0)
    breaker.failed(lost, 91.0)
    assert breaker.state is BreakerState.HALF_OPEN, "the lost one speaks for itself no more"


class AnyReceiver(RuleBasedStateMachine):
    """Tries begin, end, get lost and come back late, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds = BreakerRules(failures=3, pause_s=10.0, longest_pause_s=35.0, probe_s=20.0)
        self.breaker = Breaker(self.bounds)
        self.now = 0.0
        self.out: list[int] = []
        self.in_a_row = 0
        self.alone_until = 0.0
        self.probes: list[float] = []

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 10.0, 20.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.wait_s(self.now) == 0.0)
    @rule()
    def a_try_begins(self) -> None:
        assert self.now >= self.alone_until, "it was to be left alone"
        number = self.breaker.admit(self.now)
        self.out.append(number)
        if number:
            recent = [at for at in self.probes if at > self.now - self.bounds.probe_s]
            assert not recent, "two probes at a time"
            self.probes.append(self.now)

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 50))
    def a_try_fails(self, index: int) -> None:
        number = self.out.pop(index % len(self.out))
        before, pauses = self.breaker.state, self.breaker.pauses
        self.breaker.failed(number, self.now)
        if before is BreakerState.CLOSED:
            self.in_a_row += 1
            opened = self.in_a_row >= self.bounds.failures
            assert (self.breaker.state is BreakerState.OPEN) == opened
        if self.breaker.pauses > pauses:
            pause = self.breaker.wait_s(self.now)
            assert pause == min(self.bounds.longest_pause_s, self.bounds.pause_s * (pauses + 1))
            self.alone_until = self.now + pause
            self.probes.clear()

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 50))
    def a_try_succeeds(self, index: int) -> None:
        self.out.pop(index % len(self.out))
        self.breaker.succeeded()
        assert self.breaker.wait_s(self.now) == 0.0
        self.in_a_row, self.alone_until = 0, self.now
        self.probes.clear()

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 50))
    def a_try_is_abandoned(self, index: int) -> None:
        state = self.breaker.state
        self.breaker.abandoned(self.out.pop(index % len(self.out)), self.now)
        if (state, self.breaker.state) == (BreakerState.HALF_OPEN, BreakerState.OPEN):
            assert self.breaker.wait_s(self.now) == 0.0
            self.probes.clear()

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 50))
    def a_try_is_lost(self, index: int) -> None:
        self.out.pop(index % len(self.out))

    @invariant()
    def nobody_waits_for_ever(self) -> None:
        longest = max(self.bounds.longest_pause_s, self.bounds.probe_s)
        assert 0.0 <= self.breaker.wait_s(self.now) <= longest

    @invariant()
    def a_closed_breaker_keeps_nobody(self) -> None:
        if self.breaker.state is BreakerState.CLOSED:
            assert self.breaker.wait_s(self.now) == 0.0
            assert self.breaker.pauses == 0


TestAnyReceiver = AnyReceiver.TestCase
TestAnyReceiver.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
