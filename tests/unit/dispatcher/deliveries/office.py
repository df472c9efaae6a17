"""Deliveries over a real store, and receivers that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from orchestrator.dispatcher.deliveries import Deliveries
from orchestrator.lifecycle.async_request import WebhookStatus
from orchestrator.lifecycle.webhook import BreakerRules, DeliveryRules
from orchestrator.store import Event, Store
from orchestrator.store.results import ResultStore
from orchestrator.webhooks.receivers import ReceiverPolicy
from orchestrator.webhooks.sender import Sender
from orchestrator.webhooks.signatures import Secrets
from orchestrator.webhooks.traffic import Traffic
from tests.unit.store.world import RESULT, World, until
from tests.unit.webhooks.receiving import Post, Receiver, receiving, saying

if TYPE_CHECKING:
    from orchestrator.dispatcher.tales import Tales
    from orchestrator.store.records import Record, Try
    from tests.unit.dispatcher.server import StoreServer
    from tests.unit.webhooks.receiving import Answer

OPEN = {"allow_http": True, "allowed_networks": ["127.0.0.0/8"]}
QUICK = DeliveryRules(pauses_s=(0.02, 0.02))
TOLERANT = BreakerRules(failures=1000)


class Office:
    """The deliveries of one environment, and, if wanted, a parent that looks for what is due.

    Attributes:
        store: its own way to the store.
        deliveries: what is tested.
    """

    def __init__(
        self,
        url: str,
        tag: str,
        *,
        rules: DeliveryRules = QUICK,
        traffic: Traffic | None = None,
        results: Any = None,
        policy: ReceiverPolicy | None = None,
        parent: bool = True,
        tales: Tales | None = None,
    ) -> None:
        self.store = Store.open(url)
        self.sender = Sender(policy or ReceiverPolicy(**OPEN), timeout_s=5.0)  # type: ignore[arg-type]
        self.traffic = traffic or Traffic(16, TOLERANT)
        self.deliveries = Deliveries(
            tag,
            webhooks=self.store.deliveries,
            secrets=Secrets(self.store.signing_keys),
            sender=self.sender,
            traffic=self.traffic,
            results=results or ResultStore(),
            rules=rules,
            tales=tales,
        )
        self._tag = tag
        self._news = asyncio.Event()
        self._forget = self.store.news.subscribe(tag, self._hear) if parent else bool
        self._looking = asyncio.create_task(self._look() if parent else asyncio.sleep(0))
        self.deliveries.stir()

    def _hear(self, event: Event) -> None:
        self._news.set()
        if event.kind == "delivery":
            self.deliveries.stir()

    async def _look(self) -> None:
        while True:
            self._news.clear()
            wait_s = 0.05
            with contextlib.suppress(Exception):
                backlog = await self.store.requests.look(self._tag, 0)
                self.deliveries.due(backlog.deliveries)
                wait_s = min(5.0, backlog.next_s or 5.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.005, wait_s)):
                    await self._news.wait()

    async def close(self, grace_s: float = 5.0) -> None:
        self._looking.cancel()
        self._forget()
        await self.deliveries.close(grace_s)
        await self.sender.close()
        await self.store.close()


class Place:
    """A store, an environment in it, and everything that a test opens."""

    def __init__(self, server: StoreServer, store: Store) -> None:
        self.server = server
        self.store = store
        self.world = World(store)
        self.stack = contextlib.AsyncExitStack()

    def office(self, url: str | None = None, **settings: Any) -> Office:
        office = Office(url or self.server.url, self.world.tag, **settings)
        self.stack.push_async_callback(office.close)
        return office

    async def receiver(self, answer: Answer, host: str = "127.0.0.1") -> Receiver:
        return await self.stack.enter_async_context(receiving(answer, host=host))

    async def ended(self, url: str, **changes: Any) -> str:
        return await self.world.succeeded(webhook=url, **changes)

    async def many_ended(self, url: str, count: int) -> list[str]:
        requests, tag = self.store.requests, self.world.tag
        await asyncio.gather(*(self.world.submit(webhook=url) for _ in range(count)))
        claims = await requests.claim(tag, count, 60.0)
        await asyncio.gather(*(requests.succeed(claim.request_id, 1, RESULT) for claim in claims))
        return [claim.request_id for claim in claims]

    async def until(self, request_id: str, status: WebhookStatus) -> Record:
        return await until(
            lambda: self.world.record(request_id), lambda record: record.webhook_status is status
        )

    async def delivered(self, request_id: str) -> Record:
        return await self.until(request_id, WebhookStatus.SUCCEEDED)

    async def dead(self, request_id: str) -> str:
        """Waits until it is a dead letter; why."""
        await self.until(request_id, WebhookStatus.FAILED)
        letter = await self.store.deliveries.dead_letter(request_id)
        assert letter is not None
        return letter.reason

    async def log(self, request_id: str) -> list[Try]:
        return await self.store.deliveries.log(request_id)


class Busy:
    """An answer that waits for a gate, and counts how many wait."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running = 0
        self.most = 0

    async def __call__(self, post: Post, writer: asyncio.StreamWriter) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            await saying()(post, writer)
        finally:
            self.running -= 1
