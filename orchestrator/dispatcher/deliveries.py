"""The webhooks of one environment: claimed when they are due, sent, and the outcome recorded.

A webhook is claimed under a lease, so that one whose dispatcher dies is due again
when the lease ends: delivered at least once, and its receiver can tell by the
`webhook-id` that it has seen it. What may be sent at all, and when, is decided by
`Traffic` (bounds and breakers, per host) and `DeliveryRules` (the schedule).
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.dispatcher.tales import Tales
from orchestrator.dispatcher.telling import Telling
from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.lifecycle.webhook import Verdict
from orchestrator.store.decoding import host_of
from orchestrator.store.records import Try
from orchestrator.store.results import ResultUnavailable
from orchestrator.webhooks.payload import payload
from orchestrator.webhooks.sender import IN_A_THREAD_BYTES, Sent
from orchestrator.webhooks.traffic import Held

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from orchestrator.dispatcher.tales import Tale
    from orchestrator.lifecycle.webhook import DeliveryRules
    from orchestrator.store.records import Delivery
    from orchestrator.webhooks.sender import Sender
    from orchestrator.webhooks.signatures import Secrets
    from orchestrator.webhooks.traffic import Passage, Traffic

logger = logging.getLogger("ray.serve")

AT_A_TIME: Final = 64
"""Webhooks of one environment under way at most."""

LEASE_S: Final = 30.0
"""Longer than a try and all that belongs to it can take (see `_lease_s`)."""

MEMORY_S: Final = 5.0
"""How long a webhook waits for room in memory for its result before others come first."""

READ_S: Final = 10.0
"""How long reading a result may take."""

GRACE_S: Final = 5.0
"""How long what is under way has to end when the dispatcher does."""

AROUND_S: Final = 0.25
"""How long a busy host may stand in the way before webhooks for others are looked for."""

LET_BY_S: Final = 1.05
"""After that, what the store put off because all its hosts were busy is due again."""

SOON_S: Final = 10.0
"""Who looks for what is due does so more often than that, and plans ahead; but he does not
hear of a shorter pause that begins between two looks."""

GRID_S: Final = 0.05
"""Ends of pauses are told in steps of this, so that there are few of them."""

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
"""Between two attempts to reach a store that does not answer."""


class Webhooks(Protocol):
    """Where webhooks are due (`orchestrator.store.deliveries`); all raise StoreUnreachable."""

    async def claim(
        self, tag: str, count: int, lease_s: float, busy_hosts: Sequence[str] = ()
    ) -> list[Delivery]:
        """Takes webhooks that are due."""

    async def delivered(self, request_id: str, attempt: int, line: Try) -> bool:
        """One got there."""

    async def retry(self, request_id: str, attempt: int, line: Try, pause_s: float) -> bool:
        """One is to be tried again."""

    async def give_up(self, request_id: str, attempt: int, line: Try, reason: str) -> bool:
        """One goes to the dead letters."""

    async def defer(self, request_id: str, attempt: int, pause_s: float) -> bool:
        """One was not tried."""


class Results(Protocol):
    """Where results are that are not in the store itself (`orchestrator.store.results`)."""

    async def read(self, reference: str) -> bytes:
        """One result; raises ResultUnavailable."""


class Deliveries:
    """Delivers the webhooks of one environment. Create it on the event loop that uses it.

    Args:
        tag: of the environment.
        webhooks: the store's.
        secrets: what to sign with.
        sender: what sends; it may serve other environments too, as `traffic` does.
        traffic: what may be sent now.
        results: large results.
        rules: the schedule.
        tales: what tells of them; None: nothing does.
    """

    def __init__(
        self,
        tag: str,
        *,
        webhooks: Webhooks,
        secrets: Secrets,
        sender: Sender,
        traffic: Traffic,
        results: Results,
        rules: DeliveryRules,
        tales: Tales | None = None,
    ) -> None:
        self._tag = tag
        self._webhooks = webhooks
        self._secrets = secrets
        self._sender = sender
        self._traffic = traffic
        self._results = results
        self._rules = rules
        self._tales = tales or Tales(Telling())
        self._loop = asyncio.get_running_loop()
        self._due = asyncio.Event()
        self._around_at = -math.inf
        self._planned: set[float] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._claiming = asyncio.create_task(self._claim_all(), name=f"webhooks {tag}")

    @property
    def under_way(self) -> int:
        """How many are claimed and not recorded yet."""
        return len(self._under_way)

    def due(self, count: int) -> None:
        """So many are due, as somebody found who looked."""
        if count:
            self._due.set()

    def stir(self) -> None:
        """Some may be due."""
        self._due.set()

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Claims no more, and gives what is under way a while; the rest is left to its leases."""
        self._claiming.cancel()
        await asyncio.wait([self._claiming])
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_s)
        for task in (left := list(self._under_way)):
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # Claiming

    async def _claim_all(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await _heard(self._claim_while_there_are)
            except Exception:
                # Nothing may end this task: no webhook would be delivered any more.
                logger.exception("webhooks of %s cannot be claimed", self._tag)
                await asyncio.sleep(LONGEST_PAUSE_S)
                self._due.set()

    async def _claim_while_there_are(self) -> None:
        while (room := AT_A_TIME - len(self._under_way)) > 0:
            busy = self._traffic.busy()
            if busy and not self._may_go_around():
                return
            # No more than what may be sent even if all of them are for one receiver.
            count = min(room, self._traffic.room())
            secrets = await self._secrets.current()
            claimed = await self._webhooks.claim(self._tag, count, self._lease_s, busy)
            for delivery in claimed:
                passage = self._traffic.enter(host_of(delivery.url))
                task = asyncio.create_task(self._deliver(delivery, passage, secrets))
                self._under_way.add(task)
                task.add_done_callback(self._ended)
            if busy:
                self._went_around(found=bool(claimed))
            if len(claimed) < count:
                return

    def _may_go_around(self) -> bool:
        """Whether to look for webhooks that are not for the hosts that are busy now.

        Not at once: most hosts have room again in no time, and to look past all that is
        due for a busy one costs the store a while.
        """
        now = self._loop.time()
        self._traffic.tell_when_free(self.stir)
        if now > self._around_at + AROUND_S:
            self._around_at = now + AROUND_S
        if now >= self._around_at:
            return True
        self._plan(self._around_at - now)
        return False

    def _went_around(self, *, found: bool) -> None:
        self._around_at = self._loop.time() + (0.0 if found else AROUND_S)
        if not found:
            self._plan(AROUND_S)
            self._plan(LET_BY_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if len(self._under_way) == AT_A_TIME:
            self._due.set()
        self._under_way.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            logger.error("a webhook is left to its lease: %s", type(failure).__name__)

    def _plan(self, pause_s: float) -> None:
        """Claims again after a pause, if that is soon."""
        if pause_s > SOON_S:
            return
        moment = math.ceil((self._loop.time() + pause_s) / GRID_S) * GRID_S
        if moment not in self._planned:
            self._planned.add(moment)
            self._loop.call_at(moment, self._come_to, moment)

    def _come_to(self, moment: float) -> None:
        self._planned.discard(moment)
        self._due.set()

    @property
    def _lease_s(self) -> float:
        return max(LEASE_S, self._sender.timeout_s + MEMORY_S + READ_S + 5.0)

    # Delivering

    async def _deliver(
        self, delivery: Delivery, passage: Passage | Held, secrets: Sequence[str]
    ) -> None:
        if isinstance(passage, Held):
            await self._hold(delivery, passage)
            return
        sent, alive = None, None
        tale = self._tales.begin(delivery)
        try:
            async with asyncio.timeout(MEMORY_S) as limit:
                async with self._traffic.holding(_size(delivery)):
                    limit.reschedule(None)
                    sent = await self._send(delivery, secrets, tale)
                    alive = sent.alive
        except TimeoutError:
            pass  # results of others fill the memory
        finally:
            self._traffic.leave(passage, alive=alive)
        if sent is None:
            await self._hold(delivery, Held(MEMORY_S, failing=False))
        else:
            await self._record(delivery, sent, tale)

    async def _send(self, delivery: Delivery, secrets: Sequence[str], tale: Tale) -> Sent:
        try:
            body = await self._body(delivery)
            return await self._sender.send(delivery, body, secrets, tale.headers())
        except (ResultUnavailable, TimeoutError) as failure:
            reason = str(failure) or f"no answer within {READ_S:g} s"
            return _not_sent(delivery, f"the result could not be read: {reason}")
        except Exception as failure:  # noqa: BLE001 - whatever it is, the webhook must go on
            # Its kind only: its text may hold the URL, and that what nobody else may know.
            logger.error(  # noqa: TRY400
                "webhook of %s: %s", delivery.request_id, type(failure).__name__
            )
            return _not_sent(delivery, "something went wrong in the dispatcher itself")

    async def _body(self, delivery: Delivery) -> bytes:
        record = delivery.record
        data = record.result.data if record.result is not None else None
        if data is None and record.result is not None and record.result.reference is not None:
            async with asyncio.timeout(READ_S):
                data = await self._results.read(record.result.reference)
        if data is None or len(data) <= IN_A_THREAD_BYTES:
            return payload(record, data)
        return await asyncio.to_thread(payload, record, data)

    async def _hold(self, delivery: Delivery, held: Held) -> None:
        """Puts one off. Those that are put off together do not come back together."""
        if held.failing and self._rules.charged(time.time() - delivery.record.status_at):
            await self._record(
                delivery, _not_sent(delivery, "its receiver is left alone, after many failures")
            )
            return
        pause_s = held.pause_s * (1 + random.random() / 4) + random.random()  # noqa: S311
        await _heard(lambda: self._webhooks.defer(delivery.request_id, delivery.attempt, pause_s))
        self._plan(pause_s)

    async def _record(self, delivery: Delivery, sent: Sent, tale: Tale | None = None) -> None:
        """Has the store know what came of a try; another may have been faster, after our lease."""
        key = (delivery.request_id, delivery.attempt, sent.line)
        if sent.verdict is Verdict.DELIVERED:
            self._tales.ended(delivery, sent.line, Verdict.DELIVERED, tale)
            await _heard(lambda: self._webhooks.delivered(*key))
            return
        what = sent.line.error or f"the receiver answered {sent.line.status}"
        pause_s = None
        if sent.verdict is Verdict.RETRY:
            chance = random.random()  # noqa: S311 - jitter
            pause_s = self._rules.pause_s(delivery.attempt, chance, sent.asked_s)
        verdict = Verdict.STOP if pause_s is None else Verdict.RETRY
        self._tales.ended(delivery, sent.line, verdict, tale)
        if pause_s is not None:
            logger.info(
                "webhook of %s, try %d: %s; again in %.0f s",
                delivery.request_id, delivery.attempt, what, pause_s,
            )  # fmt: skip
            await _heard(lambda: self._webhooks.retry(*key, pause_s))
            self._plan(pause_s)
            return
        reason = what if sent.verdict is Verdict.STOP else f"all tries failed; the last: {what}"
        logger.warning("webhook of %s is given up: %s", delivery.request_id, reason)
        await _heard(lambda: self._webhooks.give_up(*key, reason))


def _size(delivery: Delivery) -> int:
    """Bytes of a result that has to be read yet; what came with the claim is here anyway."""
    result = delivery.record.result
    return result.size if result is not None and result.data is None else 0


def _not_sent(delivery: Delivery, reason: str) -> Sent:
    line = Try(at=time.time(), attempt=delivery.attempt, error=f"not sent: {reason}")
    return Sent(line, Verdict.RETRY)


async def _heard(step: Callable[[], Awaitable[object]]) -> None:
    """Does a step of the store, as often as it takes until it answers."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            await step()
        except StoreUnreachable:
            await asyncio.sleep(pause_s * (0.5 + random.random()))  # noqa: S311 - jitter
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        else:
            return
