"""The permit client: a shell around the core's `Holder`, one per environment and process.

Two tasks talk to the queue: one sends exchanges when the holder says that one
is due, one keeps a watch open. A client that has nothing to do goes to sleep
and costs nothing until its next request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.lifecycle.errors import (
    Draining,
    EnvironmentUnhealthy,
    NoFreeSlot,
    ParkTimeout,
    QueueFull,
    RequestError,
)
from orchestrator.lifecycle.holder import LAZY_S, Holder, Outcome, Refusal
from orchestrator.lifecycle.holder import Permit as Slot
from orchestrator.lifecycle.line import Waiter
from orchestrator.lifecycle.permits import WorkClass
from orchestrator.lifecycle.settings import QueueSettings
from orchestrator.queues.handle import QueueHandle, QueueUnavailable

if TYPE_CHECKING:
    from orchestrator.lifecycle.permits import Exchange, Reply

logger = logging.getLogger("ray.serve")

BACKOFF_FIRST_S = 0.05
BACKOFF_LAST_S = 1.0
LAST_WORDS_S = 0.5
"""How long a client that is closed tries to give back what it kept."""


class Queue(Protocol):
    """What the client needs of the queue (see `orchestrator.queues.handle.QueueHandle`)."""

    async def exchange(self, message: Exchange) -> Reply:
        """A holder's summary for the queue's reply."""

    async def watch(self, holder: str, term: str, acked: int) -> Reply | None:
        """What a holder must hear at once."""

    async def wake(self) -> None:
        """Ask for a replica."""

    async def describe(self) -> dict[str, Any]:
        """The state of the environment."""

    async def ahead(self, holder: str, age_s: float) -> int:
        """How many at other holders rank before a waiter whose rank is so old."""


class Permit:
    """The right to run one request on one slot of one replica, until it is released.

    Attributes:
        waited_s: seconds that the request waited for it.
        cold_start: no replica was there while it waited.
        ticket: its place in line, for `acquire` when it has to be put back.
    """

    __slots__ = ("cold_start", "slot", "ticket", "waited_s")

    def __init__(self, slot: Slot, ticket: float, waited_s: float, *, cold_start: bool) -> None:
        self.slot = slot
        self.ticket = ticket
        self.waited_s = waited_s
        self.cold_start = cold_start

    @property
    def replica_id(self) -> str:
        """Which replica."""
        return self.slot.replica_id

    @property
    def address(self) -> str:
        """Its base URL."""
        return self.slot.address


class PermitClient:
    """Permits of one environment. Create it on the event loop that uses it.

    Args:
        application: name of the environment's Serve application.
        settings: the environment's queue settings (`QueueSettings` as a mapping).
        queue: the queue; by default that of the application, through Serve.
        work: the class of all requests of this holder.
    """

    def __init__(
        self,
        application: str,
        settings: dict[str, Any],
        queue: Queue | None = None,
        work: WorkClass = WorkClass.SYNC,
    ) -> None:
        self.application = application
        self._loop = asyncio.get_running_loop()
        self._clock = time.monotonic
        self._queue: Queue = queue if queue is not None else QueueHandle(application)
        name = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._holder = Holder(name, QueueSettings.from_mapping(settings), self._clock(), work)
        self._waiting: dict[int, asyncio.Future[Slot]] = {}
        self._owners: dict[object, Waiter] = {}
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = asyncio.Event()
        self._awake = asyncio.Event()
        self._tasks = [
            self._loop.create_task(self._exchanges(), name=f"exchanges {application}"),
            self._loop.create_task(self._watches(), name=f"watches {application}"),
        ]

    # Requests

    @property
    def has_replicas(self) -> bool:
        """Whether any replica is known to be there, as far as was heard last."""
        return self._holder.has_replicas

    def try_acquire(self, size: int = 0) -> Permit | None:  # noqa: ARG002 - see below
        """A kept permit, if one is at hand and nobody is in line. Never waits.

        `size` is not needed where nothing is parked; it is there for symmetry.
        """
        now = self._clock()
        slot = self._holder.take(now)
        return None if slot is None else Permit(slot, now, 0.0, cold_start=False)

    async def acquire(
        self,
        *,
        deadline: float,
        size: int = 0,
        avoid: frozenset[str] = frozenset(),
        prefer: str | None = None,
        ticket: float | None = None,
        level: int = 0,
        owner: object = None,
    ) -> Permit:
        """A permit, after waiting in line for it; being cancelled leaves the line.

        Args:
            deadline: `time.monotonic()` value at which to give up.
            size: payload bytes, for the bound of the line.
            avoid: replicas that failed the request.
            prefer: the replica that it would like.
            ticket: `Permit.ticket` of a permit that it had: its old place. On the
                `time.monotonic()` scale: when it first came.
            level: level of priority, 0 first (see `orchestrator.lifecycle.line`).
            owner: what `place` is to be asked with while it waits, hashable; None: nothing.

        Raises:
            QueueFull: the line's bound is reached.
            NoFreeSlot: the environment does not queue, and no slot is free.
            ParkTimeout: the deadline has come.
            EnvironmentUnhealthy: its replicas do not start.
            Draining: this client was closed, or is while the request waits.
        """
        if self._closed:
            raise self._draining()
        now = self._clock()
        arrived = now if ticket is None else ticket
        slot = self._holder.take(now, avoid, prefer)
        if slot is not None:
            return Permit(slot, arrived, now - arrived, cold_start=False)
        waiter = Waiter(arrived, deadline, size, level, avoid, prefer)
        refusal = self._holder.park(waiter, now)
        if refusal is not None:
            raise self._refused(refusal, waiter)
        future: asyncio.Future[Slot] = self._loop.create_future()
        self._waiting[waiter.number] = future
        if owner is not None:
            self._owners[owner] = waiter
        if self._holder.urgent or not self._awake.is_set():
            self._stir()
        elif self._timer is None or deadline - now < self._timer.when() - self._loop.time():
            self._set_timer()
        try:
            slot = await future
        except asyncio.CancelledError:
            # Granted and cancelled at once: the permit goes on to the next.
            if future.done() and not future.cancelled() and future.exception() is None:
                self._give_back(future.result())
            raise
        finally:
            del self._waiting[waiter.number]
            self._owners.pop(owner, None)
            self._holder.leave(waiter, self._clock())
        return Permit(slot, arrived, self._clock() - arrived, cold_start=waiter.cold)

    async def place(self, owner: object) -> int | None:
        """How many are served before the request of that owner, as far as is known.

        Where the queue does not answer, only those are counted that wait here.

        Returns:
            None: it is not in line.
        """
        waiter = self._owners.get(owner)
        if waiter is None or waiter not in self._holder.line:
            return None
        before, age_s = self._holder.place(waiter, self._clock())
        with contextlib.suppress(QueueUnavailable):
            before += await self._queue.ahead(self._holder.name, age_s)
        return before

    def release(self, permit: Permit, *, failed: bool = False) -> None:
        """Give a permit back, once.

        Args:
            permit: one that came from here.
            failed: its replica could not be reached; it is shunned until it reports again.

        Raises:
            ValueError: it was given back before.
        """
        self._give_back(permit.slot, failed=failed)

    async def wake(self) -> None:
        """Ask for a replica if there is none; does not wait for it.

        Raises:
            QueueUnavailable: the queue did not answer.
        """
        await self._queue.wake()

    async def describe(self) -> dict[str, Any]:
        """The environment's state as its queue sees it.

        Raises:
            QueueUnavailable: the queue did not answer.
        """
        return await self._queue.describe()

    def reconfigure(self, settings: dict[str, Any]) -> None:
        """Go by other queue settings from now on."""
        self._holder.reconfigure(QueueSettings.from_mapping(settings))
        self._stir()

    async def close(self) -> None:
        """Turn away those that wait, give back what is kept, and stop talking to the queue.

        Permits in use may still be released; their slots are free again when
        the lease that the queue gave for them has run out.
        """
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._draining())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._holder.give_back()
        if not self._holder.idle:
            with contextlib.suppress(QueueUnavailable, TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._queue.exchange(self._holder.summary(self._clock()))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Inside

    def _draining(self) -> Draining:
        return Draining(f"The environment {self.application}")

    def _give_back(self, slot: Slot, *, failed: bool = False) -> None:
        outcome = self._holder.release(slot, self._clock(), failed=failed)
        if outcome.assigned:
            self._carry_out(outcome)
        if self._timer is None or self._holder.urgent:
            self._stir()

    def _refused(self, refusal: Refusal, waiter: Waiter) -> RequestError:
        now = self._clock()
        retry_after = self._holder.retry_after_s(now)
        match refusal:
            case Refusal.FULL:
                return QueueFull(retry_after)
            case Refusal.NO_SLOT:
                return NoFreeSlot(retry_after)
            case Refusal.TIMEOUT:
                return ParkTimeout(now - waiter.arrived)
            case Refusal.UNHEALTHY:
                why = self._holder.unhealthy
                reason = why.reason if why else "no replica starts"
                return EnvironmentUnhealthy(reason, why.log_tail if why else (), retry_after)

    def _carry_out(self, outcome: Outcome) -> None:
        for assignment in outcome.assigned:
            future = self._waiting.get(assignment.waiter.number)
            if future is None or future.done():
                # Its caller has gone between two steps of the loop.
                self._give_back(assignment.permit)
            else:
                future.set_result(assignment.permit)
        for waiter, refusal in outcome.refused:
            future = self._waiting.get(waiter.number)
            if future is not None and not future.done():
                future.set_exception(self._refused(refusal, waiter))

    def _stir(self) -> None:
        """Something changed: set the timer anew, and let the exchange task look."""
        if self._closed:
            return
        self._awake.set()
        self._due.set()
        self._set_timer()

    def _set_timer(self) -> None:
        now = self._clock()
        at = self._holder.next_expiry(now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = self._loop.call_later(at - now, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._carry_out(self._holder.expire(self._clock()))
        self._set_timer()

    def _hear(self, reply: Reply, sent_at: float) -> None:
        self._carry_out(self._holder.hear(reply, sent_at, self._clock()))
        self._stir()

    async def _exchanges(self) -> None:
        backoff = BACKOFF_FIRST_S
        while True:
            await self._until_due()
            sent_at = self._clock()
            try:
                reply = await self._queue.exchange(self._holder.summary(sent_at))
                self._hear(reply, sent_at)
            except QueueUnavailable as error:
                logger.warning("%s", error)
                self._holder.lost()
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, BACKOFF_LAST_S)
                continue
            except Exception:
                # Nothing may end this task: without it nobody would ever be granted anything.
                logger.exception("an exchange with the queue of %s failed", self.application)
                self._holder.lost()
                await asyncio.sleep(BACKOFF_LAST_S)
                continue
            backoff = BACKOFF_FIRST_S

    async def _until_due(self) -> None:
        while True:
            self._due.clear()
            now = self._clock()
            wait = self._holder.due(now) - now
            if wait <= 0:
                return
            if self._holder.idle:
                # Nothing to renew: the queue may forget this holder until its next request.
                self._awake.clear()
                await self._due.wait()
                continue
            # Requests do not wake this task for news that can wait; it looks for them.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, LAZY_S)):
                    await self._due.wait()

    async def _watches(self) -> None:
        while True:
            await self._awake.wait()
            sent_at = self._clock()
            term, acked = self._holder.seen()
            try:
                reply = await self._queue.watch(self._holder.name, term, acked) if term else None
                if reply is not None:
                    self._hear(reply, sent_at)
                    continue
            except QueueUnavailable as error:
                # The exchanges say so, and more often than needed.
                logger.debug("%s", error)
            except Exception:
                logger.exception("a watch at the queue of %s failed", self.application)
            if self._clock() - sent_at < BACKOFF_FIRST_S:
                # The queue does not know this holder (yet), or is not there.
                await asyncio.sleep(BACKOFF_FIRST_S)
