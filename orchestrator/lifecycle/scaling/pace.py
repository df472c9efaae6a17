"""How fast a number of replicas follows the one that is wished for.

It rises at once. It falls after the wishes have allowed a smaller number for the
whole of the scale-down delay, by a bounded share per step, and each step waits
for the delay again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.lifecycle.scaling.load import RecentMaximum

if TYPE_CHECKING:
    from orchestrator.lifecycle.scaling.policy import Wish
    from orchestrator.lifecycle.settings import AutoscalingSettings


@dataclass(frozen=True, slots=True)
class Decision:
    """A number of replicas and the reason for it, one sentence."""

    desired: int
    reason: str


class Pace:
    """Bounds and the steps down. Times are readings of the queue's clock, in seconds.

    Attributes:
        settings: may be changed at any time, for all decisions from then on.
        current: the number of the last decision.
    """

    def __init__(self, settings: AutoscalingSettings, now: float, current: int = 0) -> None:
        self.settings = settings
        self.current = self._bounded(current)
        self._wanted = RecentMaximum()
        self._wanted.push(now, self.current)
        self._stepped_at = now

    def follow(self, now: float, wish: Wish) -> Decision:
        """The number of replicas to have now, where so many are wished for."""
        wanted = self._bounded(wish.replicas)
        self._wanted.push(now, wanted)
        if wanted >= self.current:
            if wanted > self.current:
                self._stepped_at = now
            self.current = wanted
            return Decision(self.current, wish.reason)
        return self._step_down(now, wanted, wish.reason)

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
