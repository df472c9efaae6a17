from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.observatory import hub, reporter, sources
from tests.unit.observatory.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """An observatory whose sources do not pause."""
    monkeypatch.setattr(sources, "SHORTEST_PAUSE_S", 0.001)
    monkeypatch.setattr(reporter, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(reporter, "BACKOFF_LAST_S", 0.002)
    monkeypatch.setattr(hub, "ANSWER_S", 20)  # a busy machine is no reason to fail
    world = World()
    yield world
    await world.hub.close()
