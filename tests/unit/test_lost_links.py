"""Connections whose other machine vanishes, or only does not read what it is sent."""

from __future__ import annotations

import asyncio
import errno
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import lost_links
from orchestrator.lost_links import KEEP_ALIVE, Progress, progress
from orchestrator.router import upstream
from orchestrator.router.connection import BodyCut, Connection, ConnectionFailed
from orchestrator.router.upstream import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HEAD = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
MUCH = 20_000_000
"""More bytes than the kernels of both ends take."""

OVER_S = 20.0


class Replica:
    """A server that reads a request only when it is let, and answers each."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.url = ""
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            while True:
                await self.reads.wait()
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.partition(b"length: ")[2]))
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    replica = Replica()
    server = await asyncio.start_server(replica.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    replica.url = f"http://{host}:{port}"
    yield replica
    server.close()
    replica.reads.set()
    await asyncio.wait_for(asyncio.gather(*replica.serving), OVER_S)


@asynccontextmanager
async def connected(replica: Replica) -> AsyncIterator[Connection]:
    pool = UpstreamPool()
    connection = await pool.connect(replica.url, 5)
    try:
        yield connection
    finally:
        connection.abort()
        pool.close()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replica counts as one on another machine."""
    monkeypatch.setattr(upstream, "is_guarded", lambda _: True)


@pytest.fixture
def hasty(elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed soon."""
    monkeypatch.setitem(KEEP_ALIVE, socket.TCP_USER_TIMEOUT, 400)
    monkeypatch.setattr(lost_links, "_LOOK_S", 0.05)


def option(connection: Connection, name: int, level: int = socket.IPPROTO_TCP) -> int:
    sock = transport(connection).get_extra_info("socket")
    value: int = sock.getsockopt(level, name)
    return value


def transport(connection: Connection) -> asyncio.Transport:
    assert connection._transport is not None
    return connection._transport


def lose(connection: Connection, error: OSError) -> None:
    """As the event loop does it when the kernel says so."""
    lost = transport(connection)
    connection.connection_lost(error)
    lost.abort()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(OVER_S):
        while not true():  # noqa: ASYNC110 - the kernel sets no event
            await asyncio.sleep(0.01)


async def exchange(connection: Connection, size: int) -> int:
    connection.send(HEAD % size, (b"x" * size,), size, head_only=False)
    await connection.head_received()
    assert await connection.read() == b"ok"
    return connection.status


# What the kernel is asked for


async def test_a_connection_to_another_machine_is_watched(replica: Replica, elsewhere: None):
    async with connected(replica) as connection:
        assert option(connection, socket.SO_KEEPALIVE, socket.SOL_SOCKET) == 1
        assert {name: option(connection, name) for name in KEEP_ALIVE} == KEEP_ALIVE


async def test_a_connection_on_this_machine_needs_no_watching(replica: Replica):
    async with connected(replica) as connection:
        assert option(connection, socket.SO_KEEPALIVE, socket.SOL_SOCKET) == 0
        assert option(connection, socket.TCP_USER_TIMEOUT) == 0


def test_a_machine_that_vanished_is_noticed_in_about_ten_seconds():
    idle, interval = KEEP_ALIVE[socket.TCP_KEEPIDLE], KEEP_ALIVE[socket.TCP_KEEPINTVL]
    assert idle + interval * KEEP_ALIVE[socket.TCP_KEEPCNT] == lost_links.SILENCE_S == 10


# What is sent and not read


@pytest.mark.parametrize(
    ("found", "stuck", "arrived"),
    [
        (Progress(0, 0, 60.0, 0), False, True),  # a model that computes
        (Progress(0, 3, 2.0, 0), False, False),  # on its way
        (Progress(0, 3, 10.0, 0), True, False),  # nobody acknowledges it
        (Progress(0, 0, 60.0, 9000), False, False),  # no room there: probed now and then
        (Progress(1, 0, 60.0, 9000), False, False),  # a probe is under way
        (Progress(2, 0, 60.0, 9000), True, False),  # nor does anybody answer probes
    ],
)
def test_what_is_told_of_a_connection(found: Progress, *, stuck: bool, arrived: bool):
    assert (found.stuck, found.arrived) == (stuck, arrived)


async def test_how_far_a_body_has_come(replica: Replica, elsewhere: None):
    async with connected(replica) as connection:
        assert progress(transport(connection)).arrived
        sent = asyncio.create_task(exchange(connection, MUCH))
        await until(lambda: progress(transport(connection)).unsent > 0)
        assert not progress(transport(connection)).arrived
        assert not progress(transport(connection)).stuck
        replica.reads.set()
        assert await sent == 200
        await until(lambda: progress(transport(connection)).arrived)


async def test_a_large_body_may_stay_unread_for_longer_than_silence(replica: Replica, hasty: None):
    async with connected(replica) as connection:
        sent = asyncio.create_task(exchange(connection, MUCH))
        await asyncio.wait([sent], timeout=3 * 0.4)
        assert not sent.done()
        replica.reads.set()
        assert await sent == 200
        # And is watched again once it was read.
        await until(lambda: option(connection, socket.TCP_USER_TIMEOUT) == 10_000)
        assert await exchange(connection, 100) == 200


async def test_without_that_the_kernel_would_end_it(
    replica: Replica, hasty: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lost_links.Link, "carries_much", lambda *_: None)
    async with connected(replica) as connection:
        with pytest.raises(ConnectionFailed, match="its machine does not answer"):
            async with asyncio.timeout(OVER_S):
                await exchange(connection, MUCH)


async def test_a_large_body_to_a_machine_that_vanished_fails(
    replica: Replica, hasty: None, monkeypatch: pytest.MonkeyPatch
):
    async with connected(replica) as connection:
        sent = asyncio.create_task(exchange(connection, MUCH))
        monkeypatch.setattr(lost_links, "progress", lambda _: Progress(0, 9, 11.0, 9000))
        with pytest.raises(ConnectionFailed, match="its machine does not answer"):
            async with asyncio.timeout(OVER_S):
                await sent


async def test_a_connection_that_was_closed_is_not_looked_at(replica: Replica, hasty: None):
    async with connected(replica) as connection:
        sent = asyncio.create_task(exchange(connection, MUCH))
        link: Any = None
        await until(lambda: connection._link is not None and connection._link._looking is not None)
        link = connection._link
        connection.abort()
        await until(lambda: link._looking is None)
        sent.cancel()


def test_what_a_listener_accepts_is_probed_and_may_be_left_unread():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        lost_links.probe_callers(listener)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
                assert accepted.getsockopt(socket.IPPROTO_TCP, option) == KEEP_ALIVE[option]
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0


# What becomes of an exchange


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH])
async def test_a_kept_connection_to_a_machine_that_vanished_is_no_stale_one(
    replica: Replica, number: int
):
    """The replica did not close it for being idle: another try there would fail as well."""
    replica.reads.set()
    async with connected(replica) as connection:
        await exchange(connection, 1)
        connection.send(HEAD % 0, (), 0, head_only=False)
        lose(connection, OSError(number, "gone"))
        with pytest.raises(ConnectionFailed, match="its machine does not answer") as caught:
            await connection.head_received()
        assert not caught.value.reused


async def test_a_kept_connection_that_was_reset_may_have_been_a_stale_one(replica: Replica):
    replica.reads.set()
    async with connected(replica) as connection:
        await exchange(connection, 1)
        connection.send(HEAD % 0, (), 0, head_only=False)
        lose(connection, ConnectionResetError(errno.ECONNRESET, "reset"))
        with pytest.raises(ConnectionFailed) as caught:
            await connection.head_received()
        assert caught.value.reused


@pytest.mark.parametrize("error", [OSError(errno.ETIMEDOUT, "gone"), ConnectionResetError()])
async def test_a_body_without_a_length_is_not_complete_where_its_connection_broke(
    replica: Replica, error: OSError
):
    async with connected(replica) as connection:
        connection.send(HEAD % 0, (), 0, head_only=False)
        connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        lose(connection, error)
        assert await connection.read() == b"half"
        with pytest.raises(BodyCut):
            await connection.read()
