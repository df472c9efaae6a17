"""An environment in a store, and what tests do with it most."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.lifecycle.async_request import ErrorCode
from orchestrator.store import keys
from orchestrator.store.records import Error, Result, Submission, Try

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.store import Event, Store
    from orchestrator.store.records import Claim, Delivery, Record

T = TypeVar("T")

INPUT = b'{"prompt": "hello"}'
RESULT = Result("application/json", 9, b'{"a": 42}')
BAD = Error(ErrorCode.MODEL_PREDICT_ERROR, "it raised ValueError")
LONG_S = 60.0
"""A lease or a pause that no test comes near the end of."""
WEBHOOK = "https://receiver.example.com/hook"


async def until(ask: Callable[[], Awaitable[T]], reached: Callable[[T], object]) -> T:
    """Asks again and again, until the answer will do."""
    deadline = time.monotonic() + 10.0
    while not reached(answer := await ask()):
        assert time.monotonic() < deadline, f"still {answer!r}"
        await asyncio.sleep(0.005)
    return answer


class World:
    """One environment of one store."""

    def __init__(self, store: Store, environment: str = "production") -> None:
        self.store = store
        self.requests = store.requests
        self.deliveries = store.deliveries
        self.environment = environment
        self.tag = keys.tag_of("m", environment)

    def submission(self, **changes: Any) -> Submission:
        request: dict[str, Any] = {
            "request_id": keys.new_id(self.tag),
            "model": "m",
            "environment": self.environment,
            "deployment": "v1",
            "input": INPUT,
        }
        return Submission(**request | changes)

    async def submit(self, **changes: Any) -> str:
        """A request that is accepted as a new one; its id."""
        accepted = await self.requests.submit(self.submission(**changes))
        assert accepted.created
        return accepted.request_id

    async def claim(self, lease_s: float = LONG_S) -> Claim:
        """The one request that is claimed now."""
        claims = await self.requests.claim(self.tag, 1, lease_s)
        assert len(claims) == 1
        return claims[0]

    async def succeeded(self, **changes: Any) -> str:
        """A request that has succeeded."""
        await self.submit(**changes)
        claim = await self.claim()
        assert await self.requests.succeed(claim.request_id, claim.attempt, RESULT)
        return claim.request_id

    async def record(self, request_id: str) -> Record:
        record = await self.requests.get(request_id)
        assert record is not None
        return record

    async def sweep(self) -> None:
        """Lets fall due what is due."""
        await self.requests.look(self.tag, 0)

    async def delivery(self, lease_s: float = LONG_S) -> Delivery:
        """The one webhook that is due now."""
        deliveries = await self.deliveries.claim(self.tag, 1, lease_s)
        assert len(deliveries) == 1
        return deliveries[0]

    async def dead_letter(self, **changes: Any) -> str:
        """A request whose webhook was given up."""
        await self.succeeded(webhook=WEBHOOK, **changes)
        delivery = await self.delivery()
        line = attempt(delivery, status=410)
        assert await self.deliveries.give_up(delivery.request_id, delivery.attempt, line, "gone")
        return delivery.request_id


class Hearer:
    """Keeps what it hears."""

    def __init__(self, store: Store, tag: str) -> None:
        self.events: list[Event] = []
        self._heard = asyncio.Event()
        self.leave = store.news.subscribe(tag, self._hear)

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self._heard.set()

    async def until(self, *events: Event) -> None:
        """Until exactly these were heard, since the last time."""
        async with asyncio.timeout(10):
            while len(self.events) < len(events):
                self._heard.clear()
                await self._heard.wait()
        assert tuple(self.events) == events
        self.events.clear()

    async def until_heard(self, event: Event) -> None:
        """Until this was heard, among others; what was heard is forgotten then."""
        async with asyncio.timeout(10):
            while event not in self.events:
                self._heard.clear()
                await self._heard.wait()
        self.events.clear()


def attempt(delivery: Delivery, **changes: Any) -> Try:
    """A log line of a delivery."""
    return Try(**{"at": time.time(), "attempt": delivery.attempt, "status": 200} | changes)
