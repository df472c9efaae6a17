"""What a scaling policy sees, and what it answers.

A policy is a class with one method, `wish`. Its constructor takes its settings as
keyword arguments; where it is a dataclass, the config checks them against the
fields' annotations. It keeps what state it likes and reads no clock but `now`.
Bounds, the pace of scaling down, and the first replica for a first request are not
its business: they come after it (see `orchestrator.lifecycle.scaling.autoscaler`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.lifecycle.settings import AutoscalingSettings


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an environment at one tick.

    Attributes:
        scaling: the environment's settings as they are now: bounds, target, window.
        in_flight: requests running and waiting, and those rejected lately for want of
            room; a mean over the last fraction of a second, so maybe no whole number.
        waiting: requests in line.
        running: requests that hold a permit.
        arrived: requests that came in over the life of the queue; it rises, and rates
            are its differences over time.
        service_s: mean seconds for which a request lately held its permit; None: unknown.
        startup_s: seconds within which 95 % of the starts lately became ready, from when
            the replica was wanted; None: unknown.
        slots: the most requests that one replica runs at once.
        ready: replicas that may get permits.
        live: replicas that run or start up, those that drain left out.
        desired: how many were wanted at the last tick.
        unix_s: the time of day, seconds since 1970 (UTC); for calendars alone.
    """

    scaling: AutoscalingSettings
    in_flight: float = 0.0
    waiting: int = 0
    running: int = 0
    arrived: float = 0.0
    service_s: float | None = None
    startup_s: float | None = None
    slots: int = 1
    ready: int = 0
    live: int = 0
    desired: int = 0
    unix_s: float = 0.0

    @property
    def per_replica(self) -> float:
        """Requests in flight that one replica should have: its target times the utilization."""
        return self.scaling.concurrency_target * self.scaling.utilization


@dataclass(frozen=True, slots=True)
class Wish:
    """How many replicas a policy would have, before bounds and pace, and why: one sentence."""

    replicas: int
    reason: str


def replicas_for(load: float, per_replica: float) -> int:
    """Replicas that a load needs, where each should have so much of it."""
    # The tolerance keeps 7.000000000000001 replicas from becoming 8.
    return math.ceil(load / per_replica - 1e-9)


class SettingError(ValueError):
    """A setting inside of a list or a mapping is wrong; says where, for a file's line.

    A plain `ValueError` of a policy's constructor is about its settings as a whole.

    Attributes:
        rule: what would be right, as in "must be ...".
        path: from the policy's settings down to the value: keys, and indexes of lists.
    """

    def __init__(self, rule: str, *path: str | int) -> None:
        self.rule = rule
        self.path = path
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        super().__init__(f"{where.lstrip('.')} {rule}".lstrip())


class Policy(Protocol):
    """A class with one method. Called at every tick (0.1 s), with a `now` that never falls."""

    def wish(self, now: float, seen: Seen) -> Wish:
        """How many replicas there should be.

        Args:
            now: the queue's clock, seconds.
            seen: what is known of the environment.
        """
