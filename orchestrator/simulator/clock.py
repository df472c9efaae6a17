"""The virtual clock: what is planned happens in order of time, and time stands still meanwhile."""

from __future__ import annotations

import math
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = math.inf


class Agenda:
    """What is to happen, and the clock that goes from one to the next.

    Of what is planned for the same moment, what was planned first happens first.
    Nothing is taken back: an action that is not due any more finds that out itself.

    Attributes:
        now: seconds since the beginning of the simulation.
        happened: actions carried out so far.
    """

    __slots__ = ("_ended", "_next_number", "_planned", "happened", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self._planned: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._next_number = count().__next__
        self._ended = False

    def at(self, when: float, action: Callable[[Any], None], subject: Any = None) -> None:
        """Plans an action.

        Args:
            when: not before `now`.
            action: called with `subject`.
            subject: whatever it is about.

        Raises:
            ValueError: `when` is over, or not a number.
        """
        if not when >= self.now:
            raise ValueError(f"{when!r} s is not after {self.now!r} s")
        heappush(self._planned, (when, self._next_number(), action, subject))

    def run(self) -> None:
        """Carries out what is planned, and what that plans, until `end`."""
        planned = self._planned
        while planned and not self._ended:
            self.now, _, action, subject = heappop(planned)
            action(subject)
        self.happened = self._next_number() - len(planned)

    def end(self, _: object = None) -> None:
        """Nothing that is planned happens any more."""
        self._ended = True


def on_grid(now: float, period: float, phase: float = 0.0) -> tuple[int, float]:
    """The first of the moments `phase + k * period` that is not before `now`, as (k, moment)."""
    k = math.ceil((now - phase) / period)
    # The quotient may be rounded to either side.
    while phase + k * period < now:
        k += 1
    while phase + (k - 1) * period >= now:
        k -= 1
    return k, phase + k * period
