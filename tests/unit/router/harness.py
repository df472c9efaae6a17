"""Real servers on loopback, and permits kept in memory, for the router's tests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from typing import TYPE_CHECKING, Any

import uvicorn

from orchestrator.lifecycle.errors import Draining, NoFreeSlot, ParkTimeout, QueueFull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator


class Server(uvicorn.Server):
    """uvicorn, telling when it is ready, and leaving the process's signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self.end = asyncio.Event()

    async def main_loop(self) -> None:
        """Waits to be told; uvicorn's own looks ten times a second."""
        await self.on_tick(0)
        await self.end.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: Any, *, lifespan: str = "off") -> AsyncIterator[str]:
    """Serves an ASGI application; gives its base URL."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        lifespan=lifespan,  # type: ignore[arg-type]
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    await server.ready.wait()
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.end.set()
        await task
        sock.close()


class SlotPermit:
    """A permit of `Slots`."""

    def __init__(self, replica_id: str, address: str, ticket: int, *, cold: bool) -> None:
        self.replica_id = replica_id
        self.address = address
        self.ticket = ticket
        self.cold_start = cold


class Slots:
    """A permit client over slots in memory: first come, first served, by ticket.

    Attributes:
        out: permits that are out now.
        released: (replica, failed) of every release.
        waiters: how many are in line now.
        refusal: raised by every `acquire`, if set.
    """

    def __init__(self, settings: dict[str, Any] | None = None) -> None:
        self.settings = settings or {}
        self.free: dict[str, int] = {}
        self.addresses: dict[str, str] = {}
        self.failed: set[str] = set()
        self.out: set[SlotPermit] = set()
        self.released: list[tuple[str, bool]] = []
        self.refusal: Exception | None = None
        self.rejects_on_full = False
        self.asked: list[dict[str, Any]] = []
        self.woken = 0
        self.closed = False
        self._watchers: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._line: dict[int, tuple[asyncio.Future[SlotPermit], frozenset[str]]] = {}
        self._places: dict[object, int] = {}
        self._tickets = itertools.count()

    def add(self, replica_id: str, address: str, slots: int = 1) -> None:
        self.addresses[replica_id] = address
        self.free[replica_id] = slots
        self.failed.discard(replica_id)
        self._grant(cold=True)

    @property
    def waiters(self) -> int:
        return len(self._line)

    @property
    def has_replicas(self) -> bool:
        return bool(self.free)

    def try_acquire(self, size: int = 0) -> SlotPermit | None:
        if self._line or self.refusal is not None:
            return None
        return self._take(next(self._tickets), frozenset(), cold=False)

    async def acquire(
        self,
        *,
        deadline: float,
        size: int = 0,
        avoid: frozenset[str] = frozenset(),
        prefer: str | None = None,
        ticket: Any = None,
        owner: object = None,
    ) -> SlotPermit:
        self.asked.append({"avoid": avoid, "ticket": ticket, "size": size})
        if self.refusal is not None:
            raise self.refusal
        place = next(self._tickets) if ticket is None else ticket
        permit = self._take(place, avoid, cold=False)
        if permit is not None:
            return permit
        if self.rejects_on_full:
            raise NoFreeSlot(2.0)
        if len(self._line) >= self.settings.get("max_requests", 10_000):
            raise QueueFull(3.0)
        future: asyncio.Future[SlotPermit] = asyncio.get_running_loop().create_future()
        self._line[place] = (future, avoid)
        self._places[owner] = place
        began = time.monotonic()
        self._tell()
        try:
            async with asyncio.timeout(max(0.0, deadline - began)):
                return await future
        except TimeoutError:
            self._pass_on(future)
            raise ParkTimeout(time.monotonic() - began) from None
        except asyncio.CancelledError:
            self._pass_on(future)
            raise
        finally:
            self._line.pop(place, None)
            self._places.pop(owner, None)
            self._tell()

    async def place(self, owner: object) -> int | None:
        mine = self._places.get(owner)
        return None if mine is None else sum(place < mine for place in self._line)

    def release(self, permit: SlotPermit, *, failed: bool = False) -> None:
        self.out.remove(permit)  # a second release of the same one is a KeyError
        self.released.append((permit.replica_id, failed))
        self.free[permit.replica_id] += 1
        if failed:
            self.failed.add(permit.replica_id)
        self._grant(cold=False)
        self._tell()

    async def wake(self) -> None:
        self.woken += 1

    async def describe(self) -> dict[str, Any]:
        return {"status": "ACTIVE", "waiting": len(self._line), "replicas": []}

    def reconfigure(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    async def close(self) -> None:
        self.closed = True
        for future, _ in self._line.values():
            future.set_exception(Draining("the environment"))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something about the slots holds."""
        if not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.append((condition, future))
            await future

    def _pass_on(self, future: asyncio.Future[SlotPermit]) -> None:
        """Granted and given up in the same step: the permit goes to the next one."""
        if future.done() and not future.cancelled() and future.exception() is None:
            self.release(future.result())

    def _take(self, ticket: int, avoid: frozenset[str], *, cold: bool) -> SlotPermit | None:
        for replica_id, free in self.free.items():
            if free and replica_id not in avoid and replica_id not in self.failed:
                self.free[replica_id] -= 1
                address = self.addresses[replica_id]
                permit = SlotPermit(replica_id, address, ticket, cold=cold)
                self.out.add(permit)
                return permit
        return None

    def _grant(self, *, cold: bool) -> None:
        for place, (future, avoid) in sorted(self._line.items()):
            if future.done():
                continue
            permit = self._take(place, avoid, cold=cold)
            if permit is not None:
                future.set_result(permit)

    def _tell(self) -> None:
        for condition, future in self._watchers:
            if not future.done() and condition():
                future.set_result(None)


def table(
    models: dict[str, dict[str, dict[str, Any]]] | None = None,
    *,
    auth: dict[str, Any] | None = None,
    max_body_bytes: int = 100 * 1024 * 1024,
    **durable: Any,
) -> dict[str, Any]:
    """A routing table: model → environment → settings that differ from the defaults.

    `durable` is what it says of the durable plane: `store`, `results`, `webhooks`.
    """
    models = {"echo": {"production": {}}} if models is None else models
    return {
        "models": {
            model: {
                "environments": {
                    name: {
                        "application": f"{model}.{name}",
                        "deployment": "v1",
                        "runner": "python",
                        "predict_path": "/predict",
                        "queue": {"policy": "queue_on_full", "max_requests": 10_000},
                        **settings,
                    }
                    for name, settings in environments.items()
                }
            }
            for model, environments in models.items()
        },
        "max_body_bytes": max_body_bytes,
        "auth": auth,
        **durable,
    }


async def read_body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    """The body of a request, on the side of a replica."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the caller of the replica went away")
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


async def respond(
    send: Callable[[Any], Awaitable[None]],
    status: int = 200,
    body: bytes = b"{}",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """A whole answer, on the side of a replica."""
    given = [(b"content-type", b"application/json")] if headers is None else headers
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*given, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})
