"""A router behind a real server, and replicas that are real servers too."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvloop

from orchestrator.lifecycle.request import Outcome
from orchestrator.router.app import RouterApp
from orchestrator.store import Store
from orchestrator.telemetry import metrics
from tests.unit.router.harness import Slots, serving, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from orchestrator.store.embedded import EmbeddedServer


class Rig:
    """A running router.

    Attributes:
        app: it.
        url: where it listens.
        slots: its permit clients by application.
        http: a client session without limits of its own.
    """

    http: aiohttp.ClientSession
    url: str

    def __init__(self, app: RouterApp) -> None:
        self.app = app
        self.slots: dict[str, Slots] = {}
        self.running = 0
        self.idle = asyncio.Event()
        self.begun = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The router, telling by `begun` and `idle` whether requests are in it."""
        self.running += 1
        self.idle.clear()
        self.begun.set()
        try:
            await self.app(scope, receive, send)
        finally:
            self.running -= 1
            if not self.running:
                self.idle.set()

    @property
    def echo(self) -> Slots:
        """The slots of model `echo` in production."""
        return self.slots["echo.production"]

    def outcomes(self, environment: str = "production") -> dict[Outcome, int]:
        """How the requests of an environment of `echo` ended; empty: of none."""
        self.app.recorder.flush()
        counters = self.app._registry._counters
        at = ("echo", environment) if environment else ()
        metric = metrics.REQUESTS if environment else metrics.REJECTED
        return {
            Outcome(labels[-1]): int(counter.value)
            for (name, labels), counter in counters.items()
            if name == metric.name and labels[:-1] == at
        }

    @property
    def predict(self) -> str:
        return f"{self.url}/models/echo/production/predict"

    async def replica(
        self, app: Any, *, name: str = "r1", slots: int = 1, application: str = "echo.production"
    ) -> str:
        """Serves a replica and makes its slots known; gives its address."""
        address = await self.serve(app)
        self.slots[application].add(name, address, slots)
        return address

    async def serve(self, app: Any) -> str:
        return await self._stack.enter_async_context(serving(app))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection to the router."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        self._stack.callback(writer.close)
        return reader, writer

    async def close(self) -> None:
        await self._stack.aclose()

    def configure(self, *args: Any, **kwargs: Any) -> None:
        self.app.configure(table(*args, **kwargs))

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str = "", **headers: str
    ) -> tuple[int, Any]:
        """Status and JSON of an answer. `body`: bytes as they are, all else as JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            named["Authorization"] = f"Bearer {key}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body)
        async with self.http.request(method, self.url + path, data=body, headers=named) as response:
            return response.status, await response.json()

    async def submit(self, path: str = "/models/echo/production", **fields: Any) -> str:
        """Submits a request that is fine; gives its id."""
        body = {"model_input": {"text": "hello"}, **fields}
        status, answer = await self.ask("POST", f"{path}/async_predict", body)
        assert status == 201, answer
        return str(answer["request_id"])


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that Ray runs the router on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A router with model `echo` in production, without replicas."""
    made: dict[str, Slots] = {}

    def make(application: str, settings: dict[str, Any]) -> Slots:
        made[application] = Slots(settings)
        return made[application]

    app = RouterApp(make_permits=make, version="1.2.3")
    app.configure(table())
    rig = Rig(app)
    async with (
        serving(rig) as url,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
    ):
        rig.url = url
        rig.http = http
        rig.slots = made
        yield rig
        await app.close()
        await rig.close()
        for slots in made.values():
            assert not slots.out, "a permit was not released"
            assert slots.waiters == 0, "a waiter was left in line"


@pytest.fixture
async def store(store_server: EmbeddedServer) -> AsyncIterator[Store]:
    """The store, empty, as a dispatcher would hold it; every key must have an expiry."""
    store = Store.open(store_server.url)
    command = store._connection.command
    await command("FLUSHALL")
    yield store
    for key in await command("KEYS", "*"):
        assert await command("PTTL", key) > 0, f"{key!r} has no expiry"
    await store.close()


@pytest.fixture
async def durable(rig: Rig, store: Store, store_server: EmbeddedServer) -> Rig:
    """The router with that store."""
    rig.configure(store=store_server.url)
    return rig
