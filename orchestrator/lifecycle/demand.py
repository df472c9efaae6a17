"""What an environment's holders say of their load, summed up for its scaling policies."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.lifecycle.permits import Exchange
    from orchestrator.lifecycle.registered import RegisteredHolder

REJECTED_COUNTS_S: Final = 1.0
"""A rejected request counts as in flight for the mean service time, or this where none is known."""

SERVED_COUNT: Final = 1_000
"""The mean service time is that of about so many requests, later ones counting more."""

REMEMBERED: Final = 1_000
"""Holders whose counts are known after their lease is over: they come back with their requests."""

JUST_COME: Final = 1e-3
"""Load of a holder that was empty until its last exchange and is not now: more than nothing."""


class Demand:
    """Counts over the life of a queue. Times are readings of its clock, in seconds.

    Attributes:
        arrived: requests that came in, without those that gave up in line between two
            exchanges; never falls.
    """

    def __init__(self) -> None:
        self.arrived = 0
        self._counted: dict[str, int] = {}
        self._rejections: deque[tuple[float, int]] = deque()
        self._served = 0.0
        self._busy_s = 0.0

    @property
    def service_s(self) -> float | None:
        """Mean seconds for which a request lately held its permit; None: none has ended yet."""
        return self._busy_s / self._served if self._served else None

    def joined(self, message: Exchange) -> None:
        """A holder speaks for the first time in a term."""
        come = _come(message)
        # One that had a term of which nothing is known was counted in an earlier queue's life.
        before = self._counted.pop(message.holder, come if message.term else 0)
        if len(self._counted) >= REMEMBERED:
            del self._counted[next(iter(self._counted))]
        self._count(message.holder, come, before)

    def heard(self, message: Exchange, last: Exchange, now: float) -> None:
        """A holder has spoken again in the same term."""
        self._served += message.served - last.served
        self._busy_s += message.busy_s - last.busy_s
        if self._served > SERVED_COUNT:
            self._served, self._busy_s = self._served / 2, self._busy_s / 2
        if message.rejected > last.rejected:
            self._rejections.append((now, message.rejected - last.rejected))
        come = _come(message)
        self._count(message.holder, come, self._counted.get(message.holder, come))

    def _count(self, holder: str, come: int, before: int) -> None:
        # Those that gave up in line are in no count, and must not lower this one.
        self.arrived += max(come - before, 0)
        self._counted[holder] = come

    def in_flight(self, holders: Iterable[RegisteredHolder], now: float) -> float:
        """Requests running or waiting at all holders, and those that were rejected lately."""
        held = sum(_load(holder, now) for holder in holders)
        mean_s = self.service_s
        counts_s = REJECTED_COUNTS_S if mean_s is None else mean_s
        while self._rejections and self._rejections[0][0] + counts_s <= now:
            self._rejections.popleft()
        return held + sum(n for _, n in self._rejections)


def _load(holder: RegisteredHolder, now: float) -> float:
    """The average between its last two exchanges, for as long as these were apart.

    After that, and for a new holder, what its last exchange found: an
    average over a short burst must not stand for the quiet after it.
    """
    present = holder.message.in_use + holder.message.waiting
    if now >= holder.load_until:
        return present
    # An average hides what has just come: a waiter must be able to start a replica at once.
    return holder.load or min(present, JUST_COME)


def _come(message: Exchange) -> int:
    """Requests that came to a holder over its life, without those that gave up in line."""
    return message.served + message.in_use + message.waiting + message.rejected
