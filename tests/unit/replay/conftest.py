"""A cluster as a replay sees it: a real router with its store, and a replica that sleeps."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orchestrator.router.app import RouterApp
from orchestrator.store import Store, records
from orchestrator.store.keys import tag_of
from orchestrator.telemetry.timeline import Attempt, Run
from tests.unit.router.harness import Slots, read_body, respond, serving, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orchestrator.lifecycle.async_request import ErrorCode
    from orchestrator.store.embedded import EmbeddedServer

KEY = "all.secret"
WATCHES_NOT = "run.secret"
TAG = tag_of("echo", "production")
LEASE_S = 30.0


class Line(Slots):
    """Slots that can be described as an environment's queue would be."""

    async def describe(self) -> dict[str, Any]:
        running = len(self.out)
        return {
            "waiting": self.waiters,
            "in_use": running,
            "desired": len(self.free),
            "provisioning": {"count": 0},
            "classes": {"sync": {"waiting": self.waiters}},
            "replicas": [
                {"id": name, "stage": "READY", "age_s": 60.0, "stages": {}, "slots": 4}
                for name in self.free
            ],
            "decisions": [],
            "starts": [],
        }


@dataclass
class Cluster:
    """What a replay is sent to.

    Attributes:
        url: of the router.
        line: of `echo/production`.
        store: of asynchronous requests, as a dispatcher would hold it.
        bodies: what the replica was sent.
    """

    line: Line
    store: Store
    url: str = ""
    bodies: list[Any] = field(default_factory=list)
    replica_url: str = ""

    def start_replica(self, slots: int = 4) -> None:
        self.line.add("r1", self.replica_url, slots)

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """The replica: answers after the time that it is sent; -1: never; -2: breaks off."""
        sent = await read_body(receive)
        if not sent:  # a question of somebody who takes it for a router
            await respond(send)
            return
        body = msgspec.json.decode(sent)
        self.bodies.append(body)
        seconds = body["service_seconds"]
        if seconds == -1:
            with contextlib.suppress(ConnectionError):
                await read_body(receive)
            return
        if seconds == -2:
            head = [(b"content-type", b"application/json"), (b"content-length", b"100")]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            return
        await asyncio.sleep(seconds)
        await respond(send)

    async def claim(self) -> records.Claim:
        """The next asynchronous request, once there is one."""
        async with asyncio.timeout(20):
            while True:
                claims = await self.store.requests.claim(TAG, 1, LEASE_S)
                if claims:
                    return claims[0]
                await asyncio.sleep(0.01)

    async def succeed(self, claim: records.Claim, run: Run | None) -> None:
        result = records.Result("application/json", 2, b"{}")
        assert await self.store.requests.succeed(claim.request_id, claim.attempt, result, run)

    async def fail(self, claim: records.Claim, code: ErrorCode) -> None:
        error = records.Error(code, "it did")
        assert await self.store.requests.fail(claim.request_id, claim.attempt, error)


def run_of(claim: records.Claim, **facts: Any) -> Run:
    """A run that stood in the queue for 3 s of a cold start and took half a second."""
    tried = Attempt(1, "r1", "http://r1", 0.0, "0" * 16)
    whole = {"seconds": 0.5, "waited_s": 3.0, "cold": True} | facts
    return Run(
        attempt=claim.attempt,
        source="d",
        span_id="1" * 16,
        began=0.0,
        wait_span_id="2" * 16,
        tried=tried,
        **whole,
    )


def _key(*scopes: str) -> dict[str, Any]:
    digest = hashlib.sha256(b"secret").hexdigest()
    return {"sha256": digest, "scopes": list(scopes), "models": None, "environments": None}


@pytest.fixture
async def cluster(store_server: EmbeddedServer) -> AsyncIterator[Cluster]:
    """The model `echo` without replicas."""
    store = Store.open(store_server.url)
    await store._connection.command("FLUSHALL")
    found = Cluster(Line(), store)

    def permits(_application: str, settings: dict[str, Any]) -> Line:
        found.line.reconfigure(settings)
        return found.line

    app = RouterApp(make_permits=permits, version="1")
    keys = {"all": _key("inference", "manage"), "run": _key("inference")}
    app.configure(table(store=store_server.url, auth={"keys": keys}))
    async with serving(app) as found.url, serving(found) as found.replica_url:
        yield found
        await app.close()
    await store.close()
