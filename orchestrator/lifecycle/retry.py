"""Which attempts are made again, when, and how many at most over all requests.

An attempt is made again if the replica answered 502, 503 or 504, or the
connection to it failed, and no byte of an answer went to the caller. Never after
any other answer: the model has decided. The rules bound one request; the budget
bounds all of an environment's together, so that an outage is not multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RETRIED_STATUSES: Final = frozenset({502, 503, 504})
"""Answers of a replica after which the request may run again."""

BUDGET_BUCKETS: Final = 10
"""Into how many parts the budget's window is cut; it moves on by one part at a time."""

BUDGET_MINIMUM: Final = 10
"""Retries per window that are allowed whatever the traffic.

So that a lone request can survive the death of its replica. Finagle allows the
same by default (`RetryBudget.DefaultMinRetriesPerSec` = 10, with 20 % of the
requests over 10 s); ours is per window and per router.
"""


class Failure(StrEnum):
    """How an attempt failed."""

    CONNECTION = "connection"
    """Refused, reset, closed, or not HTTP, before an answer's head was in."""

    STATUS = "status"
    """The replica answered one of `RETRIED_STATUSES`."""


class Verdict(StrEnum):
    """What becomes of a failed attempt."""

    RETRY = "retry"
    ATTEMPTS_USED_UP = "attempts used up"
    TIME_USED_UP = "time used up"
    BUDGET_USED_UP = "retry budget used up"


@dataclass(frozen=True, slots=True)
class RetryRules:
    """An environment's retry settings.

    Attributes:
        initial_s: pause before the first retry, in seconds, on a replica that
            failed already; on another one there is no pause.
        factor: by which the pause grows from one retry to the next.
        max_s: longest pause.
        total_s: no retry begins later than this after the request's arrival.
        connection_attempts: attempts at most, if they end in failed connections.
        budget_ratio: retries per request, over the window (0.2: 20 %).
        budget_window_s: length of the window in seconds.
    """

    initial_s: float = 0.5
    factor: float = 1.5
    max_s: float = 60.0
    total_s: float = 900.0
    connection_attempts: int = 16
    budget_ratio: float = 0.2
    budget_window_s: float = 10.0

    def pause_s(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt` (1 is the first)."""
        # An exponent this large is over any `max_s`, and `factor ** attempt` may overflow.
        grown = self.initial_s * self.factor ** min(attempt - 1, 200)
        return min(self.max_s, grown)

    def judge(
        self,
        failure: Failure,
        *,
        connection_failures: int,
        pause_s: float,
        elapsed_s: float,
        left_s: float,
    ) -> Verdict:
        """Whether a failed attempt may be followed by another, budget aside.

        Args:
            failure: how it failed.
            connection_failures: the request's failed connections, this one included.
            pause_s: seconds that would pass before the next attempt.
            elapsed_s: seconds since the request arrived.
            left_s: seconds until its deadline.
        """
        if failure is Failure.CONNECTION and connection_failures >= self.connection_attempts:
            return Verdict.ATTEMPTS_USED_UP
        if elapsed_s + pause_s > self.total_s or pause_s >= left_s:
            return Verdict.TIME_USED_UP
        return Verdict.RETRY


class RetryBudget:
    """Bounds retries to a share of the requests over a moving window.

    At any time, the retries granted within the last `window_s` are at most
    max(`minimum`, `ratio` x the requests within the same time). The window moves in
    steps of a tenth. Times are seconds on any clock that does not go back; a
    reading that does is taken for the latest one.
    """

    __slots__ = ("_minimum", "_ratio", "_requests", "_retries", "_slice", "_step_s")

    def __init__(self, ratio: float, window_s: float, *, minimum: int = BUDGET_MINIMUM) -> None:
        self._ratio = ratio
        self._minimum = minimum
        self._step_s = window_s / BUDGET_BUCKETS
        self._slice = 0
        self._requests = [0] * BUDGET_BUCKETS
        self._retries = [0] * BUDGET_BUCKETS

    def request(self, now: float) -> None:
        """A request came in."""
        current = int(now / self._step_s)
        if current > self._slice:
            self._advance(current)
        self._requests[self._slice % BUDGET_BUCKETS] += 1

    def spend(self, now: float) -> bool:
        """Takes one retry out of the budget; False if there is none left."""
        current = int(now / self._step_s)
        if current > self._slice:
            self._advance(current)
        if sum(self._retries) + 1 > self.allowed:
            return False
        self._retries[self._slice % BUDGET_BUCKETS] += 1
        return True

    @property
    def allowed(self) -> float:
        """Retries that the window allows as a whole, spent ones included."""
        return max(self._minimum, self._ratio * sum(self._requests))

    def _advance(self, current: int) -> None:
        for passed in range(max(self._slice + 1, current - BUDGET_BUCKETS + 1), current + 1):
            self._requests[passed % BUDGET_BUCKETS] = 0
            self._retries[passed % BUDGET_BUCKETS] = 0
        self._slice = current
