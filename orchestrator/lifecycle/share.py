"""The minimum share of asynchronous work: what it may have while synchronous work would take all.

A share of the slots is a share of time where it is less than a slot: with one slot
and 10 %, asynchronous work may run there for a tenth of the time, not always first.
"""

from __future__ import annotations

import math
from typing import Final

MEMORY_S: Final = 60.0
"""Work that had to wait catches up on at most its share of so many seconds."""


class MinimumShare:
    """Keeps the balance of asynchronous work while synchronous work competes with it.

    The balance is in slot-seconds: positive, it had more than its share; negative, it
    waited and had less. Work that was not there when it could have run is owed nothing.
    """

    __slots__ = ("_at", "_balance")

    def __init__(self, now: float) -> None:
        self._at = now
        self._balance = 0.0

    def advance(self, now: float, owed: float, out: int, *, contended: bool, waits: bool) -> None:
        """Account for the time since the last call.

        Args:
            now: seconds, on a clock that does not go back.
            owed: slots that are its share, maybe a part of one.
            out: slots that it had in this time.
            contended: whether synchronous work waited in this time.
            waits: whether asynchronous work waited in this time.
        """
        elapsed, self._at = max(now - self._at, 0.0), max(now, self._at)
        if not contended:
            self._balance = 0.0
            return
        least = min(-owed * MEMORY_S if waits else 0.0, self._balance)
        self._balance = max(self._balance + (out - owed) * elapsed, least)

    def due(self, owed: float, out: int) -> bool:
        """Whether it should have one more slot, whoever ranks before."""
        return self._balance <= 0.0 and out < math.ceil(owed)
