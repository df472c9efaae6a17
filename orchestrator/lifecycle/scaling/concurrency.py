"""The policy of the contract: as many replicas as the requests in flight fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.lifecycle.scaling.load import LoadWindow
from orchestrator.lifecycle.scaling.policy import Wish, replicas_for

if TYPE_CHECKING:
    from orchestrator.lifecycle.scaling.policy import Seen


class ConcurrencyPolicy:
    """`ceil(average in flight over the window / (concurrency_target * utilization))`."""

    def __init__(self) -> None:
        self._load: LoadWindow | None = None

    def wish(self, now: float, seen: Seen) -> Wish:
        """See `orchestrator.lifecycle.scaling.policy.Policy`."""
        if self._load is None:
            self._load = LoadWindow(now, seen.in_flight)
        self._load.record(now, seen.in_flight)
        window_s, per_replica = seen.scaling.window_s, seen.per_replica
        average = self._load.average(now, window_s)
        because = f"{average:.2f} in flight over {window_s:g} s, {per_replica:g} a replica"
        return Wish(replicas_for(average, per_replica), because)
