"""A server that does not serve: callers are told so in bounded time, and nothing is half done."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from orchestrator.lifecycle.errors import StoreUnreachable
from orchestrator.store import Store
from orchestrator.store import connection as connection_module
from orchestrator.store.connection import CALL_S
from orchestrator.store.records import Depth
from tests.ports import free_port
from tests.unit.store.servers import Server, start_alone, valkey
from tests.unit.store.world import LONG_S, RESULT, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server of one test, to be stopped and killed."""
    server = start_alone(valkey())
    yield server
    server.stop()


def server_process(server: Server) -> psutil.Process:
    """The server itself, below its guardian."""
    return psutil.Process(server.process.pid).children()[0]


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@127.0.0.1:{{port}}/0",
        f"rediss://user:{SECRET}@127.0.0.1:{{port}}/0",
        f"redis://127.0.0.1:{{port}}/0?password={SECRET}",
        f"redis+sentinel://user:{SECRET}@127.0.0.1:{{port}}/main/0",
        f"unix://user:{SECRET}@/nowhere/socket",
        f"redis://user:{SECRET}@name.invalid:{{port}}/0",
    ],
)
async def test_nobody_there_is_told_without_the_password(url: str):
    store = Store.open(url.format(port=free_port()))

    with pytest.raises(StoreUnreachable) as raised:
        await store.ping()
    await store.close()

    chain: BaseException | None = raised.value
    while chain is not None:
        assert SECRET not in f"{chain!r} {chain}"
        chain = chain.__cause__
    assert raised.value.retry_after_s > 0


async def test_a_wrong_password_is_told_without_it(own_server: Server):
    own_server.client.config_set("requirepass", "another")
    path = own_server.url.removeprefix("unix://")
    store = Store.open(f"unix://:{SECRET}@{path}")

    with pytest.raises(StoreUnreachable) as raised:
        await store.ping()
    await store.close()

    assert SECRET not in repr(raised.value)


async def test_a_server_that_is_silent_is_given_up_within_the_deadline(own_server: Server):
    store = Store.open(own_server.url)
    await store.ping()
    process = server_process(own_server)
    process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        asked = [store.ping() for _ in range(3)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        took = time.monotonic() - began
    finally:
        process.send_signal(signal.SIGCONT)

    assert all(isinstance(answer, StoreUnreachable) for answer in answers)
    assert took < CALL_S + 1.0
    await store.ping()
    await store.close()


async def test_calls_that_come_while_it_is_silent_are_not_made_later(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection_module, "CALL_S", 0.2)
    store = Store.open(own_server.url)
    world = World(store)
    await store.ping()
    process = server_process(own_server)
    process.send_signal(signal.SIGSTOP)
    try:
        first = asyncio.create_task(store.ping())
        await asyncio.sleep(0)
        with pytest.raises(StoreUnreachable):
            await world.submit()
        with pytest.raises(StoreUnreachable):
            await first
    finally:
        process.send_signal(signal.SIGCONT)

    monkeypatch.undo()
    assert await world.requests.depth(world.tag) == Depth(queued=0, in_progress=0)
    await store.close()


async def test_more_than_may_wait_to_be_sent_is_refused_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    await world.submit()  # from here on the server knows the script
    monkeypatch.setattr(connection_module, "_WAITING_BYTES", 100_000)
    body = b"x" * 30_000

    calls = [world.submit(input=body) for _ in range(5)]
    ends = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(end) for end in ends] == [str] * 3 + [StoreUnreachable] * 2
    assert await world.submit(input=body)


async def test_a_caller_that_leaves_disturbs_nobody(own_server: Server):
    store = Store.open(own_server.url)
    world = World(store)
    calls = [asyncio.create_task(world.submit()) for _ in range(50)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()

    done = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(answer, str) for answer in done[1::2])
    assert all(isinstance(answer, asyncio.CancelledError) for answer in done[::2])
    assert (await world.requests.depth(world.tag)).queued >= 25
    await store.close()


async def test_a_server_without_memory_refuses_and_nothing_is_half_written(
    world: World, server: Server
):
    await world.submit(key="abcd")
    claim = await world.claim()
    server.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnreachable) as raised:
            await world.submit(key="abcd")
        with pytest.raises(StoreUnreachable):
            await world.requests.succeed(claim.request_id, claim.attempt, RESULT)
    finally:
        server.client.config_set("maxmemory", 0)

    assert "maxmemory" in raised.value.cause
    assert await world.requests.depth(world.tag) == Depth(queued=0, in_progress=1)
    assert await world.requests.succeed(claim.request_id, claim.attempt, RESULT)


async def test_a_server_that_became_a_replica_refuses_and_nothing_is_half_written(
    world: World, server: Server
):
    if server.client.info("cluster")["cluster_enabled"]:
        pytest.skip("a node of a cluster is made a replica otherwise")
    await world.submit()
    server.client.execute_command("REPLICAOF", "127.0.0.1", free_port())
    try:
        with pytest.raises(StoreUnreachable) as raised:
            await world.requests.claim(world.tag, 1, LONG_S)
    finally:
        server.client.execute_command("REPLICAOF", "NO", "ONE")

    assert "read only replica" in raised.value.cause
    await world.claim()


async def test_a_server_that_forgot_the_scripts_is_taught_them_again(world: World, server: Server):
    await world.submit()
    server.client.script_flush()

    assert (await world.claim()).attempt == 1


async def test_a_connection_that_broke_while_idle_is_made_again(world: World, server: Server):
    await world.submit()
    server.client.client_kill_filter(_type="normal", skipme=True)

    await world.submit()

    assert await world.requests.depth(world.tag) == Depth(queued=2, in_progress=0)


async def test_a_closed_store_says_so(world: World):
    await world.store.ping()
    await world.store.close()

    with pytest.raises(StoreUnreachable):
        await world.store.ping()


async def test_a_server_that_is_killed_is_unreachable_at_once_and_news_wait_for_it(
    own_server: Server, tmp_path: Path
):
    store = Store.open(own_server.url)
    await store.ping()
    os.kill(server_process(own_server).pid, signal.SIGKILL)
    own_server.process.wait(10)

    began = time.monotonic()
    with pytest.raises(StoreUnreachable):
        await store.ping()
    assert time.monotonic() - began < 1.0

    store.news.subscribe("0" * 12, lambda _event: None)
    await store.close()
