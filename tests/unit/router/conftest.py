"""A router behind a real server, and replicas that are real servers too."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvloop

from orchestrator.router.app import RouterApp
from tests.unit.router.harness import Slots, serving, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


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
