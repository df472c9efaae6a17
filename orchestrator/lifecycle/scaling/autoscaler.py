"""How many replicas an environment has: its policies' wish, within bounds, at its pace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.lifecycle.scaling.most import Most
from orchestrator.lifecycle.scaling.pace import Pace
from orchestrator.lifecycle.scaling.policy import Wish

if TYPE_CHECKING:
    from orchestrator.lifecycle.scaling.pace import Decision
    from orchestrator.lifecycle.scaling.policy import Seen
    from orchestrator.lifecycle.settings import AutoscalingSettings


class Autoscaler:
    """See the module. Times are readings of the queue's clock, in seconds.

    While none of its policies works, the number stays where it is, within its
    bounds, and the reason says why.
    """

    def __init__(self, settings: AutoscalingSettings, now: float, current: int = 0) -> None:
        self._policies = Most(settings.policies)
        self._pace = Pace(settings, now, current)

    @property
    def current(self) -> int:
        """The number of the last decision; may be set where more is known of what there is."""
        return self._pace.current

    @current.setter
    def current(self, replicas: int) -> None:
        self._pace.current = replicas

    @property
    def trouble(self) -> str:
        """What is wrong with its policies, for a log; empty: nothing."""
        return self._policies.trouble

    def reconfigure(self, settings: AutoscalingSettings) -> None:
        """Go by these settings from the next decision on; unchanged policies keep what they know."""
        if settings.policies != self._pace.settings.policies or self.trouble:
            self._policies.reconfigure(settings.policies)
        self._pace.settings = settings

    def decide(self, now: float, seen: Seen, *, wake: bool = False) -> Decision:
        """The number of replicas to have now.

        Args:
            now: the queue's clock, seconds.
            seen: what is known of the environment.
            wake: somebody asked for a replica to be there.
        """
        wish = self._policies.wish(now, seen)
        if wish is None:
            wish = Wish(self.current, self.trouble)
        if wish.replicas < 1 and (wake or seen.in_flight > 0):
            wish = Wish(1, wish.reason)
        return self._pace.follow(now, wish)
