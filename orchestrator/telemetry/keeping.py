"""Which requests are kept: those that an operator will want to see, decided at their end."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.request import Outcome
from orchestrator.telemetry.timeline import KeepReason, failed

if TYPE_CHECKING:
    from orchestrator.telemetry.timeline import Timeline

ENOUGH: Final = 100
"""Requests before any of them is called slow."""

_SLACK: Final = 50
"""How many more than are needed are held in order."""

_NOT_RETRIED: Final = frozenset({"capacity", "stale"})
"""Failures of attempts that no model has seen: the next one is the first real one."""


class SlowestShare:
    """Tells the slowest share of requests, each against the last ones before it.

    The bound is the quantile of the last `window` requests and moves with each of
    them: where all become slow at once, only the first few stand out.

    Attributes:
        share: of the requests, 0..1; with 0 none is slow.
        window: how many of the last ones count, at least `ENOUGH`.
    """

    __slots__ = ("_above", "_floor", "_last", "_room", "_share", "_top", "_window")

    def __init__(self, share: float, window: int = 1000) -> None:
        self._share = share
        self._window = max(window, ENOUGH)
        self._last: deque[float] = deque()
        # Of the last ones all that are not below the floor, in order. The bound is among
        # them, and what comes and goes below the floor does not move it.
        self._top: list[float] = []
        self._floor = -inf
        self._room = self._window
        self._above = 0

    @property
    def bound(self) -> float | None:
        """Seconds above which a request is slow; None: too few were seen."""
        count = len(self._last)
        if count < ENOUGH or not self._share:
            return None
        if count < self._window:
            return self._top[max(0, ceil((1.0 - self._share) * count) - 1)]
        return self._top[-self._above]

    def slow(self, seconds: float) -> bool:
        """Whether a request that took so long is among the slowest; learns from it."""
        if not self._share:
            return False
        last, floor = self._last, self._floor
        if len(last) < self._window:
            bound = self.bound
            last.append(seconds)
            insort(self._top, seconds)
            if len(last) == self._window:
                count = self._window
                self._above = count - max(0, ceil((1.0 - self._share) * count) - 1)
                self._lift_floor()
            # As slow as the bound is not slower: where all take the same time, none is slow.
            return bound is not None and seconds > bound
        top = self._top
        slow = seconds > top[-self._above]
        gone = last.popleft()
        last.append(seconds)
        if gone >= floor:
            del top[bisect_left(top, gone)]
        if seconds >= floor:
            insort(top, seconds)
        if not self._above <= len(top) <= self._room:
            self._top = sorted(last)
            self._lift_floor()
        return slow

    def _lift_floor(self) -> None:
        """Forgets the order of those that are far below the bound."""
        top = self._top
        self._floor = floor = top[-min(len(top), 2 * self._above + _SLACK)]
        del top[: bisect_left(top, floor)]
        self._room = 2 * len(top) + _SLACK


def keep_reason(timeline: Timeline, slowest: SlowestShare) -> KeepReason | None:
    """Why a request that has ended is kept; None: it is not.

    Args:
        timeline: of the request, complete.
        slowest: of requests like it: of one environment and one kind.
    """
    if timeline.kind == "other":
        return KeepReason.ERROR if failed(timeline) else None
    # Asked first, since it learns from each that was answered.
    slow = timeline.outcome == Outcome.ANSWERED and slowest.slow(timeline.seconds)
    if failed(timeline):
        return KeepReason.ERROR
    if len(timeline.attempts) > 1 and retried(timeline):
        return KeepReason.RETRY
    if timeline.cold_start:
        return KeepReason.COLD_START
    return KeepReason.SLOW if slow else None


def retried(timeline: Timeline) -> bool:
    """Whether more than one attempt got as far as a model."""
    return sum(attempt.failure not in _NOT_RETRIED for attempt in timeline.attempts) > 1
