"""The line: a holder's waiters of one environment, in the order in which they are served.

A waiter's rank is a point in time, the smaller the better:

    rank = arrived + level * aging_s

Level 0 is synchronous work, level 1 + p asynchronous work of priority p. As
everybody ages at the same pace, the order of two waiters never changes: a
waiter of a lower level goes after those that arrive within `aging_s` of it,
and before those that come later, so nobody starves. Ties go by arrival.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SLACK = 64
"""Deadlines of waiters that have left which are kept, beside as many as there are waiters."""

_numbers = count()


@dataclass(slots=True, eq=False)
class Waiter:
    """A request in line.

    Attributes:
        arrived: when it first came; kept when it is put back.
        deadline: when it is turned away.
        size: payload bytes.
        level: level of priority, 0 first.
        avoid: replicas that failed it.
        prefer: the replica it would like.
        patient: False where it wants a slot at once or not at all.
        cold: no replica was there at some moment of its waiting.
        known_after: number of the exchange that first tells the queue of it.
        number: breaks ties of rank, in order of creation.
    """

    arrived: float
    deadline: float
    size: int = 0
    level: int = 0
    avoid: frozenset[str] = frozenset()
    prefer: str | None = None
    patient: bool = True
    cold: bool = False
    known_after: int = 0
    number: int = field(default_factory=_numbers.__next__)


_Place = tuple[float, int, Waiter]


class Line:
    """Waiters in order of rank. Not thread-safe.

    Kept as a sorted list: arrivals almost always go to its end, and moving the
    pointers of ten thousand places is cheaper than a tree's steps.
    """

    def __init__(self, aging_s: float) -> None:
        self.aging_s = aging_s
        self._places: list[_Place] = []
        self._deadlines: list[_Place] = []
        self._here: set[int] = set()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter.number in self._here

    def __iter__(self) -> Iterator[Waiter]:
        """The waiters, best first."""
        return (place[2] for place in self._places)

    def rank(self, waiter: Waiter) -> float:
        """The waiter's rank, a reading of the holder's clock."""
        return waiter.arrived + waiter.level * self.aging_s

    def _place(self, waiter: Waiter) -> _Place:
        return (self.rank(waiter), waiter.number, waiter)

    def add(self, waiter: Waiter) -> None:
        """Put a waiter in its place, in front of those that came later if it was here before."""
        insort(self._places, self._place(waiter))
        self._here.add(waiter.number)
        self.bytes += waiter.size
        heapq.heappush(self._deadlines, (waiter.deadline, waiter.number, waiter))
        if len(self._deadlines) > 2 * len(self._places) + SLACK:
            # Those that left in time would stay until their deadline, which may be far off.
            self._deadlines = [(place[2].deadline, *place[1:]) for place in self._places]
            heapq.heapify(self._deadlines)

    def remove(self, waiter: Waiter) -> bool:
        """Take a waiter out; False where it is not in line."""
        if waiter.number not in self._here:
            return False
        del self._places[bisect_left(self._places, self._place(waiter))]
        self._here.discard(waiter.number)
        self.bytes -= waiter.size
        return True

    def best(self) -> Waiter | None:
        """The waiter who is next."""
        return self._places[0][2] if self._places else None

    def first(self, n: int) -> Iterator[Waiter]:
        """The first `n` waiters, best first."""
        return (place[2] for place in islice(self._places, n))

    def position(self, waiter: Waiter) -> int:
        """How many of this line are served before the waiter.

        Raises:
            ValueError: it is not in line.
        """
        if waiter.number not in self._here:
            raise ValueError("the waiter is not in line")
        return bisect_left(self._places, self._place(waiter))

    def expired(self, now: float) -> list[Waiter]:
        """Take out those whose deadline has come."""
        gone: list[Waiter] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            waiter = heapq.heappop(self._deadlines)[2]
            # A waiter put back stands in this heap twice, under the same deadline.
            if self.remove(waiter):
                gone.append(waiter)
        return gone

    def next_deadline(self) -> float | None:
        """When the next waiter is turned away, if any waits."""
        while self._deadlines and self._deadlines[0][1] not in self._here:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def reorder(self, aging_s: float) -> None:
        """Take on another pace of aging; everybody's place is worked out anew."""
        self.aging_s = aging_s
        self._places = sorted(self._place(waiter) for waiter in self)
