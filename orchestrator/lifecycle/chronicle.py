"""What happened to an environment's replicas: starts that ended, and changes of what is wanted.

Bounded, and soft like all that a queue knows. Times are readings of the queue's
clock, in seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.lifecycle.replica import Stage

KEPT = 100
"""Starts, and changes, that are remembered."""


@dataclass(frozen=True, slots=True)
class Start:
    """A start that has ended, well or not.

    Attributes:
        replica_id: which replica.
        deployment: what it runs.
        ended: when it became ready, or failed.
        stages: seconds spent in each stage; PROVISIONING only where it is known since
            when the replica was wanted.
        reason: why it failed, one sentence; None: it became ready.
    """

    replica_id: str
    deployment: str
    ended: float
    stages: dict[Stage, float] = field(default_factory=dict)
    reason: str | None = None

    @property
    def seconds(self) -> float:
        """How long it took, from when the replica was wanted."""
        return sum(self.stages.values())


@dataclass(frozen=True, slots=True)
class Change:
    """Another number of replicas is wanted, and why, one sentence."""

    at: float
    before: int
    desired: int
    reason: str


class Chronicle:
    """The last starts and changes, oldest first.

    Attributes:
        version: another number whenever something was added.
    """

    def __init__(self) -> None:
        self.version = 0
        self.starts: deque[Start] = deque(maxlen=KEPT)
        self.changes: deque[Change] = deque(maxlen=KEPT)
        self._untold: deque[Start | Change] = deque(maxlen=2 * KEPT)

    def started(self, start: Start, *, now_known: bool = True) -> None:
        """A start has ended; `now_known`: it is news, and was not in an earlier queue's life."""
        self.version += 1
        self.starts.append(start)
        if now_known:
            self._untold.append(start)

    def changed(self, change: Change) -> None:
        """Another number is wanted."""
        self.version += 1
        self.changes.append(change)
        self._untold.append(change)

    def take(self) -> list[Start | Change]:
        """What is new since the last time, in order."""
        taken = list(self._untold)
        self._untold.clear()
        return taken


class Missing:
    """Since when each of the replicas is wanted that has not reported yet."""

    def __init__(self) -> None:
        self._since: deque[float] = deque()

    @property
    def since(self) -> float | None:
        """Since when the first of them is wanted; None: none is missing."""
        return self._since[0] if self._since else None

    def are(self, count: int, now: float) -> None:
        """So many are missing now; where they are fewer, the last are not wanted any more."""
        while len(self._since) < count:
            self._since.append(now)
        while len(self._since) > max(count, 0):
            self._since.pop()

    def arrived(self) -> float | None:
        """One has reported: since when it was wanted; None: nobody waited for it."""
        return self._since.popleft() if self._since else None
