"""Redis Sentinel: the store follows the master, also to another server."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store import Event, Store
from tests.ports import free_port
from tests.unit.store.servers import Server, answering, in_memory, run, valkey
from tests.unit.store.world import Hearer, World, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSWORD = "correct-horse-battery-staple"
ACCESS = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
SENTINEL = """
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor main 127.0.0.1 {master} 1
sentinel auth-pass main {password}
sentinel down-after-milliseconds main 300
sentinel failover-timeout main 2000
"""


def on_loopback(*settings: str) -> Server:
    folder, port = Path(tempfile.mkdtemp(prefix="store-")), free_port()
    own = ("--bind", "127.0.0.1", "--port", str(port), "--repl-diskless-sync-delay", "0")
    process = run(valkey(), folder, *in_memory(folder), *own, *ACCESS, *settings)
    return answering(Server(f"redis://:{PASSWORD}@127.0.0.1:{port}", folder, process))


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def sentinel_of(master: Server) -> Server:
    folder, port = Path(tempfile.mkdtemp(prefix="store-")), free_port()
    settings = SENTINEL.format(port=port, folder=folder, master=port_of(master), password=PASSWORD)
    (folder / "sentinel.conf").write_text(settings)
    process = run(valkey(), folder, str(folder / "sentinel.conf"), "--sentinel")
    return answering(Server(f"redis://127.0.0.1:{port}", folder, process))


@pytest.fixture
def start() -> Iterator[Callable[[Server], Server]]:
    """Keeps servers that are to be stopped after the test."""
    started: list[Server] = []

    def keep(server: Server) -> Server:
        started.append(server)
        return server

    yield keep
    for server in reversed(started):
        server.stop()


async def test_after_a_failover_everything_goes_on_at_the_new_master(
    start: Callable[[Server], Server],
):
    master = start(on_loopback())
    replica = start(on_loopback("--replicaof", f"127.0.0.1 {port_of(master)}"))
    sentinel = start(sentinel_of(master))
    store = Store.open(f"redis+sentinel://:{PASSWORD}@127.0.0.1:{port_of(sentinel)}/main/0")
    world = World(store)
    hearer = Hearer(store, world.tag)
    await store.news.ready(world.tag)
    before = await world.submit()

    async def followed() -> bool:
        """Whether the Sentinel knows whom to promote, and that one has what was accepted."""
        return bool(
            any(one["is_slave"] for one in sentinel.client.sentinel_slaves("main"))
            and replica.client.exists(f"orch:{{{world.tag}}}:request:{before}")
        )

    await until(followed, bool)

    master.process.kill()

    async def submit() -> str | None:
        with contextlib.suppress(StoreUnreachable):
            request_id = await world.submit()
            # The old master dies a moment after its guardian, and may have accepted this.
            if replica.client.info("replication")["role"] == "master":
                return request_id
        return None

    after = await until(submit, lambda request_id: request_id is not None)
    listed = (await world.requests.list(world.tag, limit=9)).records
    ids = [record.request_id for record in listed]
    assert (ids[0], ids[-1]) == (after, before)
    await hearer.until_heard(Event("reconnected"))
    await store.close()
