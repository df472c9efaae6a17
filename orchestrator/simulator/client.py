"""What drives a holder: `orchestrator.queues.client` under the virtual clock.

Its messages take no time. What is urgent is told at once, by `exchange`; what can
wait, when the holder says that it is due. The two mirror each other: where the
client changes, so must this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from orchestrator.lifecycle.holder import LAZY_S, Holder, Outcome, Permit, Refusal
from orchestrator.simulator.clock import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.lifecycle.environment_queue import EnvironmentQueue
    from orchestrator.lifecycle.line import Waiter
    from orchestrator.lifecycle.permits import Reply, WorkClass
    from orchestrator.lifecycle.retry import RetryBudget
    from orchestrator.lifecycle.settings import QueueSettings
    from orchestrator.simulator.clock import Agenda
    from orchestrator.simulator.request import Request


class Owner(Protocol):
    """Whose requests wait at a client."""

    def granted(self, request: Request, waiter: Waiter, permit: Permit) -> None:
        """One has got its permit."""

    def refused(self, request: Request, waiter: Waiter, refusal: Refusal) -> None:
        """One was turned away."""


class Client:
    """One holder, the requests that wait there, and its timers.

    Attributes:
        core: the holder.
        owner: hears what became of those that waited.
        budget: of its router's retries; None: no replica can fail.
    """

    __slots__ = (
        "_agenda",
        "_expires_at",
        "_looks_at",
        "_queue",
        "_settle",
        "_waiting",
        "budget",
        "core",
        "owner",
    )

    def __init__(
        self,
        name: str,
        work: WorkClass,
        settings: QueueSettings,
        *,
        agenda: Agenda,
        queue: EnvironmentQueue,
        owner: Owner,
        settle: Callable[[], None],
        budget: RetryBudget | None = None,
    ) -> None:
        self.core = Holder(name, settings, agenda.now, work)
        self.owner = owner
        self.budget = budget
        self._agenda = agenda
        self._queue = queue
        self._settle = settle
        self._waiting: dict[int, Request] = {}
        self._looks_at = NEVER
        self._expires_at = NEVER

    def wait(self, request: Request, waiter: Waiter) -> Refusal | None:
        """Puts a request in line, or says why not."""
        now = self._agenda.now
        refusal = self.core.park(waiter, now)
        if refusal is not None:
            return refusal
        request.waits_since = now
        self._waiting[waiter.number] = request
        if waiter.deadline < self._expires_at:
            self._plan_expiry(waiter.deadline)
        return None

    def release(self, permit: Permit, *, failed: bool = False) -> None:
        """Gives a permit back, and on to whoever is next."""
        outcome = self.core.release(permit, self._agenda.now, failed=failed)
        if outcome.assigned:
            self._carry_out(outcome)
        if self._expires_at == NEVER:
            self._set_timer()

    def exchange(self) -> None:
        """Tells the queue, and hears its reply."""
        now = self._agenda.now
        self._hear(self._queue.exchange(self.core.summary(now), now))

    def listen(self) -> bool:
        """Hears what the queue would tell its watch; False where there is nothing."""
        if self._looks_at == NEVER:
            # It is idle, and keeps no watch until its next request.
            return False
        core = self.core
        term, acked = core.seen()
        reply = self._queue.news(core.name, term, acked, self._agenda.now) if term else None
        if reply is None:
            return False
        self._hear(reply)
        return True

    def _hear(self, reply: Reply) -> None:
        now = self._agenda.now
        self._carry_out(self.core.hear(reply, now, now))
        self._set_timer()
        if not self.core.urgent:
            self._plan_look(now)

    def _carry_out(self, outcome: Outcome) -> None:
        for assignment in outcome.assigned:
            waiter = assignment.waiter
            self.owner.granted(self._waiting.pop(waiter.number), waiter, assignment.permit)
        for waiter, refusal in outcome.refused:
            self.owner.refused(self._waiting.pop(waiter.number), waiter, refusal)

    def _plan_look(self, now: float) -> None:
        # News that can wait does not set this anew: they are looked for this often.
        at = max(min(self.core.due(now), now + LAZY_S), now)
        if at < self._looks_at:
            self._looks_at = at
            self._agenda.at(at, self._look)

    def _look(self, _: object) -> None:
        now = self._agenda.now
        if now != self._looks_at:
            return
        self._looks_at = NEVER
        if self.core.due(now) <= now:
            self.exchange()
            self._settle()
        elif not self.core.idle:
            # One that is idle need not be known: the queue forgets it until its next request.
            self._plan_look(now)

    def _set_timer(self) -> None:
        at = self.core.next_expiry(self._agenda.now)
        if at is not None and at < self._expires_at:
            self._plan_expiry(at)

    def _plan_expiry(self, at: float) -> None:
        self._expires_at = at
        self._agenda.at(at, self._expire)

    def _expire(self, _: object) -> None:
        now = self._agenda.now
        if now != self._expires_at:
            return
        self._expires_at = NEVER
        self._carry_out(self.core.expire(now))
        self._set_timer()
        self._settle()
