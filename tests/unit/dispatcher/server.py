"""A real store server, and a way to it that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from orchestrator.store import keys
from orchestrator.store.embedded import EmbeddedServer
from tests.unit.store.consistency import problems

if TYPE_CHECKING:
    from collections.abc import Iterator


class StoreServer:
    """The embedded server; what it has written survives `kill` and `start`.

    Attributes:
        url: its address.
        socket: where it listens.
    """

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "s"
        self._server = EmbeddedServer(folder / "data", self.socket)
        self.url = self._server.url

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        self._server.end(grace_s=0.0)

    def empty(self) -> None:
        with self._client() as client:
            client.flushall()

    def problems(self) -> list[str]:
        """What is wrong with what it holds."""
        with self._client() as client:
            return problems(client)

    def lease(self, request_id: str) -> tuple[float, float]:
        """When the lease of a running request ends, and now: both in seconds, on its clock."""
        name = f"{keys.prefix(request_id[: keys.TAG_DIGITS])}leases"
        with self._client() as client:
            end: Any = client.zscore(name, request_id)
            seconds, micro = client.time()
        return float(end) / 1e6, seconds + micro / 1e6

    def _client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2, driver_info=None)


@contextlib.contextmanager
def store_server() -> Iterator[StoreServer]:
    # Not pytest's folder: the path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="dispatch-"))
    server = StoreServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


class Wire:
    """A way to the store that can be cut and mended: one dispatcher's view of an outage.

    Attributes:
        url: where to connect to go by this way.
    """

    def __init__(self, server: StoreServer, name: str) -> None:
        self._to = str(server.socket)
        self._path = server.socket.with_name(name)
        self.url = f"unix://{self._path}"
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        self._listener = await asyncio.start_unix_server(self._pass_on, str(self._path))

    async def cut(self) -> None:
        assert self._listener is not None
        listener, self._listener = self._listener, None
        listener.close()
        self._path.unlink(missing_ok=True)
        for writer in self._writers:
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await listener.wait_closed()

    async def close(self) -> None:
        if self._listener is not None:
            await self.cut()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there, back = await asyncio.open_unix_connection(self._to)
        ends = {writer, back}
        if self._listener is None:  # cut meanwhile
            for end in ends:
                end.transport.abort()
            return
        self._writers |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, back, ends))
                group.create_task(_copy(there, writer, ends))
        finally:
            self._writers -= ends


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: set[asyncio.StreamWriter]
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    for end in ends:
        end.transport.abort()
