"""Dispatchers over a real store and real replicas; only the permits are kept in memory."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import uvloop

from orchestrator.dispatcher.dispatcher import Dispatcher
from orchestrator.lifecycle.async_request import AttemptRules
from orchestrator.store import Store, keys
from orchestrator.store.records import Submission
from tests.unit.dispatcher.server import StoreServer, Wire, store_server
from tests.unit.dispatcher.slots import Slots
from tests.unit.router.harness import read_body, respond, serving
from tests.unit.store.world import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from orchestrator.store import Event
    from orchestrator.store.records import Record

WITHIN_S = 15.0
QUICK = AttemptRules(max_attempts=3, initial_delay_s=0.05, max_delay_s=0.05)


class Replica:
    """An ASGI application that does as it is told.

    Attributes:
        answer: gives the answer, called with the input, the number of the request and ASGI's send.
        seen: inputs in the order in which they came.
        headers: of each request.
        running: requests that it has now.
        gone: inputs whose caller went away before the answer.
        gate: while it is not set, answers wait.
    """

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.running = 0
        self.most_running = 0
        self.gone: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.answer: Callable[[Any, int, Any], Awaitable[None]] = echo
        self._changed = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = msgspec.json.decode(await read_body(receive))
        assert scope["method"] == "POST"
        assert scope["path"] == "/predict"
        self.seen.append(body)
        self.headers.append(dict(scope["headers"]))
        number = len(self.seen)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self._tell()
        try:
            if not self.gate.is_set() and await _gone(receive, self.gate):
                self.gone.append(body)
                return
            await self.answer(body, number, send)
        finally:
            self.running -= 1
            self._tell()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()


async def echo(body: Any, number: int, send: Any) -> None:
    await respond(send, body=msgspec.json.encode(body))


async def _gone(receive: Any, gate: asyncio.Event) -> bool:
    """Waits for the gate; whether the caller went away first."""
    leaving = asyncio.create_task(receive())
    opening = asyncio.create_task(gate.wait())
    await asyncio.wait({leaving, opening}, return_when="FIRST_COMPLETED")
    for task in (leaving, opening):
        if not task.done():
            task.cancel()
    return leaving.done() and not leaving.cancelled()


class Receiver:
    """Of webhooks, an ASGI application.

    Attributes:
        bodies: what came.
    """

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self._changed = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append(msgspec.json.decode(await read_body(receive)))
        await respond(send)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Rig:
    """Everything around the dispatchers of one environment.

    Attributes:
        store: the test's own way to the store.
        slots: of the environment.
        replica: the model.
        address: of the replica.
    """

    tag = keys.tag_of("echo", "production")

    def __init__(self, server: StoreServer, store: Store) -> None:
        self.server = server
        self.store = store
        self.slots = Slots()
        self.replica = Replica()
        self.address = ""
        self.dispatchers: list[Dispatcher] = []
        self._stack = contextlib.AsyncExitStack()
        self._changed = asyncio.Event()
        store.news.subscribe(self.tag, self._hear)

    def receiver(self) -> Receiver:
        return Receiver()

    def _hear(self, event: Event) -> None:
        self._changed.set()

    async def wire(self, name: str) -> Wire:
        wire = Wire(self.server, name)
        await wire.mend()
        self._stack.push_async_callback(wire.close)
        return wire

    async def serve(self, app: Any) -> str:
        return await self._stack.enter_async_context(serving(app))

    def table(self, store: str | None = None, **environment: Any) -> dict[str, Any]:
        top: dict[str, Any] = {
            name: environment.pop(name)
            for name in ("results", "webhooks", "lease_s")
            if name in environment
        }
        settings = {
            "application": "echo.production",
            "deployment": "v1",
            "slots": 4,
            "max_replica": 4,
            "queue": {"policy": "reject_on_full"},
            **environment,
        }
        return {
            "store": store or self.server.url,
            "models": {"echo": {"environments": {"production": settings}}},
            "lease_s": 30.0,
            **top,
        }

    def dispatch(self, store: str | None = None, **environment: Any) -> Dispatcher:
        """One more dispatcher."""
        dispatcher = Dispatcher(lambda application, queue: self.slots.holder(queue))
        self.dispatchers.append(dispatcher)
        dispatcher.configure(self.table(store, **environment))
        return dispatcher

    async def submit(self, body: Any = None, **options: Any) -> str:
        submission = Submission(
            request_id=keys.new_id(self.tag),
            model="echo",
            environment="production",
            deployment="v1",
            input=msgspec.json.encode({"n": 1} if body is None else body),
            **{"rules": QUICK, **options},
        )
        return (await self.store.requests.submit(submission)).request_id

    async def until(self, request_id: str, condition: Callable[[Record], bool]) -> Record:
        """The request, as soon as something holds of it."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                self._changed.clear()
                record = await self.store.requests.get(request_id)
                assert record is not None
                if condition(record):
                    return record
                # Not every change is told; what is not is looked for.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await self._changed.wait()

    async def lease(self, request_id: str, reached: Callable[[float, float], bool]) -> None:
        """Waits until something holds of the end of a lease and the present moment."""

        async def ask() -> tuple[float, float]:
            return self.server.lease(request_id)

        await until(ask, lambda answer: reached(*answer))

    async def ended(self, request_id: str) -> Record:
        return await self.until(request_id, lambda record: record.state.final)

    async def close(self) -> None:
        self.replica.gate.set()
        for dispatcher in self.dispatchers:
            await dispatcher.close(5.0)
        await self._stack.aclose()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that Ray runs dispatchers on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="package")
def running_server() -> Iterator[StoreServer]:
    with store_server() as server:
        yield server


@pytest.fixture
def server(running_server: StoreServer) -> Iterator[StoreServer]:
    """A store server, empty; what a test leaves in it must be consistent and must expire."""
    running_server.empty()
    yield running_server
    assert running_server.problems() == []


@pytest.fixture
async def rig(server: StoreServer) -> AsyncIterator[Rig]:
    """A replica with one slot, and no dispatcher yet."""
    store = Store.open(server.url)
    rig = Rig(server, store)
    await store.news.ready(rig.tag)
    rig.address = await rig.serve(rig.replica)
    rig.slots.add(rig.address)
    try:
        yield rig
        await rig.close()
        assert not rig.slots.out, "a permit was not released"
        assert not rig.slots.line, "a waiter was left in line"
        assert all(holder.closed for holder in rig.slots.holders)
    finally:
        await store.close()
