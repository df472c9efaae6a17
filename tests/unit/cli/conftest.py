"""A router with a real store behind it, and the commands as a person runs them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner, Result

from orchestrator import cli
from orchestrator.lifecycle.async_request import ErrorCode
from orchestrator.router.app import RouterApp
from orchestrator.store import Store, records
from orchestrator.store.keys import tag_of
from tests.unit.router.harness import Slots, serving, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from orchestrator.store.embedded import EmbeddedServer

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Serving = Callable[[Mapping[str, Handler]], Awaitable[str]]

TAG = tag_of("echo", "production")
LEASE_S = 30.0


@dataclass
class Front:
    """A router and the store behind it; the test is what runs requests.

    Attributes:
        url: of the router.
        store: as a dispatcher would hold it.
    """

    url: str
    store: Store

    async def command(self, *arguments: str) -> Result:
        """Runs `orchestrator` with this router's address."""
        return await asyncio.to_thread(CliRunner().invoke, cli.app, [*arguments, "--url", self.url])

    async def submit(self, *options: str) -> str:
        """Hands over a request; its id."""
        done = await self.command("call", "echo", "--async", *options)
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    async def claimed(self) -> records.Claim:
        """The next request to be run, once there is one."""
        async with asyncio.timeout(10):
            while True:
                claims = await self.store.requests.claim(TAG, 1, LEASE_S)
                if claims:
                    return claims[0]
                await asyncio.sleep(0.01)

    async def succeed(self, data: bytes = b'{"answer": 42}') -> str:
        """Runs the next request; its id."""
        claim = await self.claimed()
        result = records.Result("application/json", len(data), data)
        assert await self.store.requests.succeed(claim.request_id, claim.attempt, result)
        return claim.request_id

    async def fail(self, message: str) -> str:
        """Fails the next request for good; its id."""
        claim = await self.claimed()
        error = records.Error(ErrorCode.MODEL_INVALID_INPUT, message)
        assert await self.store.requests.fail(claim.request_id, claim.attempt, error)
        return claim.request_id

    async def dead_letter(self, host: str = "127.0.0.1") -> str:
        """A request whose webhook was given up after one try; its id."""
        await self.submit("--webhook", f"http://{host}:9/hook")
        request_id = await self.succeed()
        [delivery] = await self.store.deliveries.claim(TAG, 1, LEASE_S)
        line = records.Try(at=1e9, attempt=delivery.attempt, status=503, answer="[no] room")
        gone = await self.store.deliveries.give_up(
            request_id, delivery.attempt, line, "it answered 503"
        )
        assert gone
        return request_id


@pytest.fixture
async def front(store_server: EmbeddedServer) -> AsyncIterator[Front]:
    store = Store.open(store_server.url)
    await store._connection.command("FLUSHALL")
    app = RouterApp(make_permits=lambda _, settings: Slots(settings), version="1")
    webhooks = {"allow_http": True, "allowed_networks": ["127.0.0.0/8"]}
    app.configure(table(store=store_server.url, webhooks=webhooks))
    async with serving(app) as url:
        yield Front(url, store)
        await app.close()
    await store.close()


@pytest.fixture
async def answering() -> AsyncIterator[Serving]:
    """Starts a server that answers GETs as a router might, by path; gives its address."""
    servers: list[TestServer] = []

    async def start(handlers: Mapping[str, Handler]) -> str:
        application = web.Application()
        for path, handler in handlers.items():
            application.router.add_get(path, handler)
        server = TestServer(application)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


async def command(*arguments: str) -> Result:
    """Runs `orchestrator` beside the test's event loop."""
    return await asyncio.to_thread(CliRunner().invoke, cli.app, arguments)
