"""Real servers; and a check after every test that it left nothing that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.store import Retention, Store
from tests.unit.store.consistency import problems
from tests.unit.store.servers import PROGRAMS, Server, Servers
from tests.unit.store.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    running = Servers()
    yield running
    running.stop()


@pytest.fixture(params=PROGRAMS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Server]:
    """One of the servers, empty; what a test leaves in it must be consistent and must expire."""
    running = servers.get(request.param)
    running.client.flushall()
    yield running
    assert problems(running.client) == []


@pytest.fixture
async def open_store(server: Server) -> AsyncIterator[Callable[..., Store]]:
    """Opens stores on the server, which are closed after the test."""
    opened: list[Store] = []

    def open_one(retention: Retention | None = None) -> Store:
        opened.append(Store.open(server.url, retention=retention))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store()


@pytest.fixture
def world(store: Store) -> World:
    """An environment without a request."""
    return World(store)
