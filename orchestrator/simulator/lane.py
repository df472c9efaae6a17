"""Asynchronous work: `orchestrator.dispatcher` under the virtual clock.

Accepted requests wait in the store. As many of the first of them as could run stand
in line for permits, under the rank that they have; attempts that failed are made
again by the rules of asynchronous requests.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.async_request import AttemptRules, ErrorCode
from orchestrator.lifecycle.holder import Refusal
from orchestrator.lifecycle.line import Line, Waiter
from orchestrator.lifecycle.request import Outcome
from orchestrator.simulator.clock import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.lifecycle.holder import Permit
    from orchestrator.lifecycle.settings import EnvironmentSettings
    from orchestrator.simulator.calls import Calls
    from orchestrator.simulator.client import Client
    from orchestrator.simulator.clock import Agenda
    from orchestrator.simulator.request import Request

MOST_PLACES: Final = 1024
"""Places in line at a time, as a dispatcher's lane has them."""

LEVEL: Final = 1
"""Of priority: behind synchronous work, without a priority of its own."""

_RULES: Final = AttemptRules()


class Lane:
    """The accepted requests of one environment that have not ended. Owns the dispatcher's client.

    Attributes:
        load_s: integral of the requests in the store that neither run nor stand in
            line, in request-seconds, up to `now` of the last change.
    """

    def __init__(
        self,
        agenda: Agenda,
        calls: Calls,
        settings: EnvironmentSettings,
        *,
        slots: int,
        park_s: float,
        ready: Callable[[], bool],
        settle: Callable[[], None],
    ) -> None:
        """Nothing is accepted yet.

        Args:
            agenda: the clock.
            calls: runs the requests.
            settings: of the environment.
            slots: of one replica.
            park_s: how long a request waits at most.
            ready: whether any replica is ready.
            settle: lets holders and queue talk about what has happened.
        """
        self.load_s = 0.0
        self.client: Client
        self._agenda = agenda
        self._calls = calls
        self._most = max(slots * settings.autoscaling.max_replica, 1)
        self._park_s = park_s
        self._ready = ready
        self._settle = settle
        self._store = Line(settings.queue.aging_s)
        self._requests: dict[int, Request] = {}
        self._counted_at = agenda.now
        self._paused_until = -math.inf
        self._expires_at = NEVER

    def __len__(self) -> int:
        """How many wait in the store."""
        return len(self._store)

    def submit(self, request: Request) -> None:
        """One is accepted."""
        now = self._agenda.now
        request.life.admit()
        request.life.park()
        deadline = min(now + self._park_s, request.deadline)
        # It was accepted before it stands in line: the line's bound is not for it.
        accepted = math.nextafter(now, -math.inf)
        request.waiter = Waiter(accepted, deadline, level=LEVEL)
        self._put_back(request)

    def again(self, request: Request, error: ErrorCode) -> bool:
        """Plans another attempt after one that failed; False where there is to be none."""
        if not request.arrival.asynchronous or not _RULES.again(request.life.attempts, error):
            return False
        now = self._agenda.now
        request.life.park()
        request.first_byte_at = math.inf
        pause_s = _RULES.pause_s(request.life.attempts)
        self._agenda.at(min(now + pause_s, request.deadline), self._again_at, request)
        return True

    def fill(self) -> None:
        """Lets as many stand in line as could run, the best first; those run that can at once."""
        core, now = self.client.core, self._agenda.now
        while len(self._store) and now >= self._paused_until:
            line = max(min(self._most - core.in_use, MOST_PLACES), 1)
            best = self._store.best()
            if best is None or len(core.line) >= line:
                return
            self._count()
            self._store.remove(best)
            request = self._requests.pop(best.number)
            request.waited_s += now - request.waits_since
            permit = core.take(now)
            if permit is not None:
                request.cold = request.cold or best.cold
                self._calls.run(request, permit)
                continue
            refusal = self.client.wait(request, best)
            if refusal is not None:
                self._pause(request)

    # What the client tells

    def granted(self, request: Request, waiter: Waiter, permit: Permit) -> None:
        """One that stood in line has got its permit."""
        self._calls.granted(request, waiter, permit)

    def refused(self, request: Request, waiter: Waiter, refusal: Refusal) -> None:
        """One that stood in line was turned away: only its own limits end it."""
        request.waited_s += self._agenda.now - request.waits_since
        if refusal is Refusal.TIMEOUT:
            self._expire(request, waiter)
        else:
            self._pause(request)

    # Inside

    def _put_back(self, request: Request) -> None:
        waiter, now = request.waiter, self._agenda.now
        if waiter is None:
            raise RuntimeError(f"request {request.number} was not accepted")
        if waiter.deadline <= now:
            self._expire(request, waiter)
            return
        self._count()
        waiter.cold = waiter.cold or not self._ready()
        request.waits_since = now
        self._store.add(waiter)
        self._requests[waiter.number] = request
        self._plan_expiry()

    def _pause(self, request: Request) -> None:
        """Asks for nothing for a while."""
        now = self._agenda.now
        self._put_back(request)
        self._paused_until = now + max(self.client.core.retry_after_s(now), 1.0)
        self._agenda.at(self._paused_until, self._resume_at)

    def _resume_at(self, _: object) -> None:
        self._settle()

    def _again_at(self, request: Request) -> None:
        self._put_back(request)
        self._settle()

    def _plan_expiry(self) -> None:
        at = self._store.next_deadline()
        if at is not None and at < self._expires_at:
            self._expires_at = at
            self._agenda.at(at, self._expire_at)

    def _expire_at(self, _: object) -> None:
        now = self._agenda.now
        if now != self._expires_at:
            return
        self._expires_at = NEVER
        self._count()
        for waiter in self._store.expired(now):
            request = self._requests.pop(waiter.number)
            request.waited_s += now - request.waits_since
            self._expire(request, waiter)
        self._plan_expiry()
        self._settle()

    def _expire(self, request: Request, waiter: Waiter) -> None:
        request.cold = request.cold or waiter.cold
        if request.deadline <= self._agenda.now:
            self._calls.end_by_deadline(request)
        else:
            self._calls.end(request, Outcome.EVICTED_PARK_TIMEOUT)

    def _count(self) -> None:
        now = self._agenda.now
        self.load_s += len(self._store) * (now - self._counted_at)
        self._counted_at = now
