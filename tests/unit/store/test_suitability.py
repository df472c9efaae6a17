"""A server that would lose what it accepts is found out before it is relied on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.store import Store
from orchestrator.store.embedded import EmbeddedServer
from orchestrator.store.suitability import concerns

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.store.servers import Server

GOOD = {
    "redis_version": "7.2.4",
    "maxmemory": "1000",
    "maxmemory_policy": "noeviction",
    "aof_enabled": "1",
}


def said(**changes: str) -> str:
    return "# Server\r\n" + "".join(f"{name}:{what}\r\n" for name, what in (GOOD | changes).items())


@pytest.mark.parametrize("version", ["6.2.0", "6.10.1", "7.0.0-rc1", "8.2.3", "255.255.255"])
def test_a_server_that_keeps_everything_raises_no_concern(version: str):
    assert concerns(said(redis_version=version)) == []


@pytest.mark.parametrize(
    ("changes", "concern"),
    [
        ({"redis_version": "6.0.16"}, "6.2 or newer"),
        ({"redis_version": "unstable"}, "6.2 or newer"),
        ({"maxmemory_policy": "allkeys-lru"}, "allkeys-lru"),
        ({"aof_enabled": "0"}, "append-only"),
    ],
)
def test_each_thing_that_would_lose_requests_is_named(changes: dict[str, str], concern: str):
    (found,) = concerns(said(**changes))

    assert concern in found


def test_a_policy_that_never_comes_to_bear_is_no_concern():
    assert concerns(said(maxmemory="0", maxmemory_policy="allkeys-lru")) == []


async def test_the_private_server_raises_none(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("s")
    server = EmbeddedServer(folder / "data", folder / "socket")
    server.start()
    store = Store.open(server.url)
    try:
        assert await store.concerns() == []
    finally:
        await store.close()
        server.end()


async def test_a_real_server_is_asked(store: Store, server: Server):
    server.client.config_set("maxmemory-policy", "volatile-lru")
    server.client.config_set("maxmemory", 1 << 30)
    try:
        found = await store.concerns()
    finally:
        server.client.config_set("maxmemory", 0)
        server.client.config_set("maxmemory-policy", "noeviction")

    assert [concern.split(",")[0] for concern in found] == [
        "its maxmemory-policy is volatile-lru",
        "its append-only file is off",
    ]
