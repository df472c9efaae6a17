"""A store, and what is opened on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.store import Store
from tests.unit.dispatcher.deliveries.office import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.dispatcher.server import StoreServer


@pytest.fixture
async def place(server: StoreServer) -> AsyncIterator[Place]:
    store = Store.open(server.url)
    place = Place(server, store)
    try:
        yield place
    finally:
        await place.stack.aclose()
        await store.close()
