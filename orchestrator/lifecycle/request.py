"""The life of a synchronous request, as a table. Nothing else changes its state.

    RECEIVED ─▶ ADMITTED ─▶ RUNNING ─▶ ANSWERING ─▶ ENDED
        │        │   ▲       │   │         │          ▲
        │        ▼   │       │   └─▶ held ─┤          │
        │        PARKED ◀────┘ (put back,  │          │
        │          │           retried)    │          │
        └──────────┴───────────────────────┴──────────┘

RECEIVED: its head has been read. ADMITTED: authenticated, matched, within the
limits, body held. PARKED: in line for a permit. RUNNING: a replica has it and no
byte went to the caller, so it may still go to another one. ANSWERING: the first
byte is out; from here on it can only succeed or break off.

A request ends in exactly one `Outcome`; the outcomes are a closed set, used as a
metric's label. Their first word says what may be concluded: *rejected* (never
queued), *evicted* (queued, not run), *failed* (a replica had it).
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final

from orchestrator.lifecycle import errors


class State(Enum):
    """Where a request is in its life."""

    # By identity: Enum's own hashes the name anew, at each step of each request.
    __hash__ = object.__hash__

    RECEIVED = "received"
    ADMITTED = "admitted"
    PARKED = "parked"
    RUNNING = "running"
    ANSWERING = "answering"
    ENDED = "ended"


class Event(Enum):
    """What can happen to a request."""

    # By identity: Enum's own hashes the name anew, at each step of each request.
    __hash__ = object.__hash__

    ADMIT = "admit"
    PARK = "park"
    RUN = "run"
    ANSWER = "answer"
    END = "end"


class Outcome(StrEnum):
    """How a request ended. Closed: a dashboard may list them."""

    ANSWERED = "answered"
    """The model's answer went out whole, whatever its status."""

    REJECTED_INVALID = "rejected_invalid"
    REJECTED_UNAUTHORIZED = "rejected_unauthorized"
    REJECTED_NOT_FOUND = "rejected_not_found"
    REJECTED_TOO_LARGE = "rejected_too_large"
    REJECTED_QUEUE_FULL = "rejected_queue_full"
    REJECTED_NO_FREE_SLOT = "rejected_no_free_slot"
    REJECTED_DRAINING = "rejected_draining"
    REJECTED_QUEUE_UNREACHABLE = "rejected_queue_unreachable"
    REJECTED_STORE_UNREACHABLE = "rejected_store_unreachable"
    REJECTED_OBSERVATORY_UNREACHABLE = "rejected_observatory_unreachable"

    EVICTED_PARK_TIMEOUT = "evicted_park_timeout"
    EVICTED_UNHEALTHY = "evicted_unhealthy"
    EVICTED_DEADLINE = "evicted_deadline"
    EVICTED_CALLER_GONE = "evicted_caller_gone"

    FAILED_REPLICA_LOST = "failed_replica_lost"
    FAILED_TIMEOUT = "failed_timeout"
    FAILED_DEADLINE = "failed_deadline"
    FAILED_CALLER_GONE = "failed_caller_gone"
    FAILED_INTERNAL = "failed_internal"


TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    State.RECEIVED: {
        Event.ADMIT: State.ADMITTED,
        Event.END: State.ENDED,
    },
    State.ADMITTED: {
        Event.PARK: State.PARKED,
        Event.RUN: State.RUNNING,
        Event.END: State.ENDED,
    },
    State.PARKED: {
        Event.RUN: State.RUNNING,
        Event.END: State.ENDED,
    },
    State.RUNNING: {
        # Put back in line at its old place, by a replica that had no room or
        # because an attempt failed.
        Event.PARK: State.PARKED,
        # Once more on the same replica, over another connection.
        Event.RUN: State.RUNNING,
        Event.ANSWER: State.ANSWERING,
        Event.END: State.ENDED,
    },
    State.ANSWERING: {
        Event.END: State.ENDED,
    },
    State.ENDED: {},
}


class ForbiddenTransitionError(RuntimeError):
    """The program tried to do something to a request that its state rules out."""


class RequestLife:
    """One request's state, and what is told about it in the end.

    Attributes:
        state: where it is.
        attempts: times that a replica was given it.
        waited_s: seconds in line, over all its permits.
        cold_start: whether a permit came from a replica that started meanwhile.
        outcome: how it ended; None until then.
    """

    __slots__ = ("attempts", "cold_start", "outcome", "state", "waited_s")

    def __init__(self) -> None:
        self.state = State.RECEIVED
        self.attempts = 0
        self.waited_s = 0.0
        self.cold_start = False
        self.outcome: Outcome | None = None

    def admit(self) -> None:
        """It may be run."""
        self._move(Event.ADMIT)

    def park(self) -> None:
        """It waits in line for a permit."""
        self._move(Event.PARK)

    def run(self) -> None:
        """A replica is given it: one more attempt."""
        self._move(Event.RUN)
        self.attempts += 1

    def not_run(self) -> None:
        """The replica turned it away without looking at it: that was no attempt."""
        self.attempts -= 1

    def answer(self) -> None:
        """The first byte of an answer goes to the caller."""
        self._move(Event.ANSWER)

    def end(self, outcome: Outcome) -> None:
        """It is over."""
        self._move(Event.END)
        self.outcome = outcome

    @property
    def committed(self) -> bool:
        """Whether a byte of a replica's answer may have reached the caller."""
        return self.state is State.ANSWERING

    def _move(self, event: Event) -> None:
        state = TRANSITIONS[self.state].get(event)
        if state is None:
            raise ForbiddenTransitionError(f"{event.name} while {self.state.name}")
        self.state = state


_OUTCOMES: Final[tuple[tuple[type[errors.RequestError], Outcome], ...]] = (
    (errors.Unauthorized, Outcome.REJECTED_UNAUTHORIZED),
    (errors.Forbidden, Outcome.REJECTED_UNAUTHORIZED),
    (errors.NotFound, Outcome.REJECTED_NOT_FOUND),
    (errors.PayloadTooLarge, Outcome.REJECTED_TOO_LARGE),
    (errors.QueueFull, Outcome.REJECTED_QUEUE_FULL),
    (errors.NoFreeSlot, Outcome.REJECTED_NO_FREE_SLOT),
    (errors.Draining, Outcome.REJECTED_DRAINING),
    (errors.AsyncQueueFull, Outcome.REJECTED_QUEUE_FULL),
    (errors.QueueUnreachable, Outcome.REJECTED_QUEUE_UNREACHABLE),
    (errors.StoreUnreachable, Outcome.REJECTED_STORE_UNREACHABLE),
    (errors.ObservatoryUnreachable, Outcome.REJECTED_OBSERVATORY_UNREACHABLE),
    (errors.TooManyWatchers, Outcome.REJECTED_QUEUE_FULL),
    (errors.Rejected, Outcome.REJECTED_INVALID),
    (errors.ParkTimeout, Outcome.EVICTED_PARK_TIMEOUT),
    (errors.EnvironmentUnhealthy, Outcome.EVICTED_UNHEALTHY),
    (errors.ReplicaLost, Outcome.FAILED_REPLICA_LOST),
    (errors.PredictTimeout, Outcome.FAILED_TIMEOUT),
)


def outcome_of(error: BaseException, attempts: int) -> Outcome:
    """The outcome that an error stands for.

    Args:
        error: what ended the request.
        attempts: how often a replica was given it: the caller's deadline and its
            leaving mean eviction before the first attempt and failure after it.
    """
    if isinstance(error, errors.DeadlineExceeded):
        return Outcome.FAILED_DEADLINE if attempts else Outcome.EVICTED_DEADLINE
    if isinstance(error, errors.CallerGone):
        return Outcome.FAILED_CALLER_GONE if attempts else Outcome.EVICTED_CALLER_GONE
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return outcome
    return Outcome.FAILED_INTERNAL
