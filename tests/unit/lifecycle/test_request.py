"""A request's life: what may follow what, and how it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.request import (
    TRANSITIONS,
    Event,
    ForbiddenTransitionError,
    Outcome,
    RequestLife,
    State,
    outcome_of,
)
from tests.unit.lifecycle.test_errors import EXAMPLES


def test_a_request_that_is_parked_retried_and_answered() -> None:
    life = RequestLife()
    life.admit()
    life.park()
    life.run()
    life.park()
    life.run()
    assert not life.committed
    life.answer()
    assert life.committed
    life.end(Outcome.ANSWERED)
    assert (life.state, life.attempts, life.outcome) == (State.ENDED, 2, Outcome.ANSWERED)


def test_a_replica_without_room_made_no_attempt() -> None:
    life = RequestLife()
    life.admit()
    life.run()
    life.not_run()
    life.park()
    life.run()
    assert life.attempts == 1


def test_once_an_answer_began_it_cannot_run_again() -> None:
    life = RequestLife()
    life.admit()
    life.run()
    life.answer()
    with pytest.raises(ForbiddenTransitionError):
        life.run()
    with pytest.raises(ForbiddenTransitionError):
        life.park()


def test_every_state_leads_to_the_end_and_the_end_nowhere() -> None:
    assert set(TRANSITIONS) == set(State)
    for state, transitions in TRANSITIONS.items():
        assert (Event.END in transitions) == (state is not State.ENDED)


@given(st.lists(st.sampled_from(["admit", "park", "run", "answer"]), max_size=12))
def test_no_order_of_events_leaves_the_table(events: list[str]) -> None:
    life = RequestLife()
    for event in events:
        before = life.state
        try:
            getattr(life, event)()
        except ForbiddenTransitionError:
            assert life.state is before
            assert Event(event) not in TRANSITIONS[before]
        else:
            assert life.state is TRANSITIONS[before][Event(event)]
    life.end(Outcome.ANSWERED)
    with pytest.raises(ForbiddenTransitionError):
        life.end(Outcome.ANSWERED)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_is_an_outcome(error: Exception) -> None:
    outcome = outcome_of(error, attempts=0)
    assert outcome not in (Outcome.ANSWERED, Outcome.FAILED_INTERNAL)


def test_leaving_is_an_eviction_before_the_first_attempt_and_a_failure_after_it() -> None:
    by_name = {type(error).__name__: error for error in EXAMPLES}
    for name, before, after in (
        ("CallerGone", Outcome.EVICTED_CALLER_GONE, Outcome.FAILED_CALLER_GONE),
        ("DeadlineExceeded", Outcome.EVICTED_DEADLINE, Outcome.FAILED_DEADLINE),
    ):
        assert outcome_of(by_name[name], attempts=0) is before
        assert outcome_of(by_name[name], attempts=1) is after
    assert outcome_of(ValueError(), attempts=1) is Outcome.FAILED_INTERNAL
