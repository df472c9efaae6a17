"""One simulated request: what it is, and where it stands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from orchestrator.lifecycle.request import RequestLife

if TYPE_CHECKING:
    from orchestrator.lifecycle.holder import Permit
    from orchestrator.lifecycle.line import Waiter
    from orchestrator.simulator.client import Client
    from orchestrator.simulator.replica import Replica
    from orchestrator.traffic.arrival import Arrival

NOBODY: frozenset[str] = frozenset()


class Request:
    """A request from its arrival until its caller comes back no more. Times are the clock's.

    Attributes:
        number: in the order of arrival; unique in its environment.
        arrival: as it came in.
        client: its router's, or the dispatcher's.
        deadline: when its caller gives up; infinite: never.
        service_s: how long it runs, where that is known beforehand.
        first_s: how long it runs until its first byte, likewise.
        life: of its present call; a caller that comes back makes another.
        came: when that call came in.
        earlier_attempts: of the calls before it.
        returns: how often its caller may still come back.
        waits_since: when it last began to wait.
        waited_s: seconds in line, over all its permits.
        cold: no replica was ready at some moment of its waiting.
        waiter: its place as asynchronous work.
        avoid: replicas that failed it.
        elsewhere_until: where it waits, until when only another replica will do; None: any does.
        connection_failures: of its present call.
        permit: that it holds.
        replica: on which it runs.
        began: when it got its permit.
        held_s: seconds for which it held its last permit, once that has gone on.
        first_byte_at: when its answer begins; infinite: not known.
        finishes_at: when it has run, as planned; nan: nothing is planned.
        cut_at: when it will have run for too long, likewise.
    """

    __slots__ = (
        "arrival",
        "avoid",
        "began",
        "came",
        "client",
        "cold",
        "connection_failures",
        "cut_at",
        "deadline",
        "earlier_attempts",
        "elsewhere_until",
        "finishes_at",
        "first_byte_at",
        "first_s",
        "held_s",
        "life",
        "number",
        "permit",
        "replica",
        "returns",
        "service_s",
        "waited_s",
        "waiter",
        "waits_since",
    )

    permit: Permit
    replica: Replica

    def __init__(
        self,
        number: int,
        arrival: Arrival,
        client: Client,
        *,
        deadline: float,
        returns: int,
        service_s: float = math.nan,
        first_s: float = math.nan,
    ) -> None:
        self.number = number
        self.arrival = arrival
        self.client = client
        self.deadline = deadline
        self.service_s = service_s
        self.first_s = first_s
        self.life = RequestLife()
        self.came = arrival.at
        self.earlier_attempts = 0
        self.returns = returns
        self.waits_since = 0.0
        self.waited_s = 0.0
        self.cold = False
        self.waiter: Waiter | None = None
        self.avoid = NOBODY
        self.elsewhere_until: float | None = None
        self.connection_failures = 0
        self.began = 0.0
        self.held_s = 0.0
        self.first_byte_at = math.inf
        self.finishes_at = math.nan
        self.cut_at = math.nan

    @property
    def attempts(self) -> int:
        """How often a replica was given it."""
        return self.earlier_attempts + self.life.attempts

    def come_back(self, now: float) -> None:
        """Its caller asks again."""
        self.earlier_attempts += self.life.attempts
        self.life = RequestLife()
        self.came = now
        self.avoid = NOBODY
        self.connection_failures = 0
