"""How many replicas an environment wants: a function of load, settings and `now`.

The `concurrency` policy follows the contract: the average number of requests in
flight (running or waiting) over a window, divided by what one replica should
have in flight. It rises at once; it falls after the load has allowed a smaller
number for the whole of the scale-down delay, by a bounded share per step, and
each step waits for the delay again.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.lifecycle.settings import AutoscalingSettings


@dataclass(frozen=True, slots=True)
class Decision:
    """A number of replicas and the reason for it, one sentence."""

    desired: int
    reason: str


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


class _RecentMaximum:
    """The largest of the values of the last while, in amortised constant time."""

    def __init__(self) -> None:
        self._falling: deque[tuple[float, int]] = deque()

    def push(self, now: float, value: int) -> None:
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((now, value))

    def over(self, now: float, span_s: float) -> int:
        # A value's time is that of the last decision that wanted it: decisions come every tick.
        while len(self._falling) > 1 and self._falling[0][0] < now - span_s:
            self._falling.popleft()
        return self._falling[0][1]


class ConcurrencyPolicy:
    """`desired = ceil(average in flight / (concurrency_target * utilization))`."""

    def __init__(self, settings: AutoscalingSettings, now: float, current: int = 0) -> None:
        self.settings = settings
        self.current = self._bounded(current)
        self._load = LoadWindow(now)
        self._wanted = _RecentMaximum()
        self._wanted.push(now, self.current)
        self._stepped_at = now

    def decide(self, now: float, in_flight: float, *, wake: bool = False) -> Decision:
        """The number of replicas to have now.

        Args:
            now: the queue's clock, seconds.
            in_flight: requests running and waiting, and those rejected for want of room.
            wake: somebody asked for a replica to be there.
        """
        settings = self.settings
        self._load.record(now, in_flight)
        average = self._load.average(now, settings.window_s)
        per_replica = settings.concurrency_target * settings.utilization
        # The tolerance keeps 7.000000000000001 replicas from becoming 8.
        wanted = math.ceil(average / per_replica - 1e-9)
        if wanted < 1 and (in_flight > 0 or wake):
            wanted = 1
        wanted = self._bounded(wanted)
        self._wanted.push(now, wanted)
        because = f"{average:.2f} in flight over {settings.window_s:g} s, {per_replica:g} a replica"
        if wanted >= self.current:
            if wanted > self.current:
                self._stepped_at = now
            self.current = wanted
            return Decision(self.current, because)
        return self._step_down(now, wanted, because)

    def _step_down(self, now: float, wanted: int, because: str) -> Decision:
        settings = self.settings
        # Bounds may have moved since these were wanted.
        floor = self._bounded(self._wanted.over(now, settings.scale_down_delay_s))
        self.current = min(self.current, max(settings.max_replica, settings.min_replica))
        rested = now - self._stepped_at >= settings.scale_down_delay_s
        if self.current <= wanted:
            return Decision(self.current, because)
        if floor < self.current and rested:
            most = max(int(self.current * settings.max_scale_down_rate + 1e-9), 1)
            self.current = max(floor, self.current - most)
            self._stepped_at = now
        if wanted < self.current:
            because += f"; fewer after {settings.scale_down_delay_s:g} s"
        return Decision(self.current, because)

    def _bounded(self, wanted: int) -> int:
        return min(max(wanted, self.settings.min_replica), self.settings.max_replica)
