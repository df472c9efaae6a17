"""Values over sliding windows: their time-weighted average, and their maximum."""

from __future__ import annotations

from collections import deque


class LoadWindow:
    """The time-weighted average of a value that changes in steps, over a sliding window.

    Each step carries the integral up to it, so that an average costs the same
    however many steps the window holds.
    """

    def __init__(self, now: float, value: float = 0.0) -> None:
        self._steps: deque[tuple[float, float, float]] = deque([(now, value, 0.0)])

    def record(self, now: float, value: float) -> None:
        """The value is `value` from now on."""
        since, last, integral = self._steps[-1]
        if value != last:
            self._steps.append((now, value, integral + last * (now - since)))

    def average(self, now: float, window_s: float) -> float:
        """The average over the last `window_s`, or over what there is, if that is less."""
        start = now - window_s
        while len(self._steps) > 1 and self._steps[1][0] <= start:
            self._steps.popleft()
        first, first_value, first_integral = self._steps[0]
        last, last_value, last_integral = self._steps[-1]
        start = max(start, first)
        if now <= start:
            return last_value
        until_now = last_integral + last_value * (now - last)
        return (until_now - first_integral - first_value * (start - first)) / (now - start)


class RecentMaximum:
    """The largest of the values of the last while, in amortised constant time."""

    def __init__(self) -> None:
        self._falling: deque[tuple[float, int]] = deque()

    def push(self, now: float, value: int) -> None:
        """The value is `value` now."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((now, value))

    def over(self, now: float, span_s: float) -> int:
        """The largest of the last `span_s` seconds; at least one must have been pushed."""
        # A value's time is that of the last decision that wanted it: decisions come every tick.
        while len(self._falling) > 1 and self._falling[0][0] < now - span_s:
            self._falling.popleft()
        return self._falling[0][1]
