"""Gates: where a model waits for the test's word, and the test learns that it does.

A model that comes to a gate opens a connection to the test, says who it is, and
goes on when it is told to. So a test never has to guess how long something takes:
a request runs for exactly as long as the test wants, and the end of a connection
tells that the model was cancelled or its process killed.

    model:  await pass_gate("work", "first")
    test:   with gates.held("work") as gate:
                await gate.until_arrived(1)
                gate.let_through()

A gate that no test holds is open.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

ADDRESS_VARIABLE = "GATES"
"""Environment variable of a model: `host:port` of the gates."""

PATIENCE_S = 60.0

_GO = b"go\n"
_CANCELLED = b"cancelled\n"


async def pass_gate(name: str, label: str = "") -> None:
    """The model's side: returns when the gate `name` is open or lets this visit through."""
    host, _, port = os.environ[ADDRESS_VARIABLE].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    visit = {"gate": name, "label": label, "pid": os.getpid()}
    writer.write(json.dumps(visit).encode() + b"\n")
    try:
        if await reader.readline() != _GO:
            raise ConnectionError(f"the test has ended while {label!r} waited at {name!r}")
    except asyncio.CancelledError:
        writer.write(_CANCELLED)
        raise
    finally:
        writer.close()


@dataclass(eq=False)
class Visit:
    """A model's stay at a gate.

    Attributes:
        label: what the model called it.
        pid: the model's process.
        passed: it was let through.
        left: how it ended before that: "cancelled" or "died"; None if it did not.
    """

    label: str
    pid: int
    writer: asyncio.StreamWriter
    passed: bool = False
    left: str | None = None

    @property
    def waiting(self) -> bool:
        return not self.passed and self.left is None

    def let_through(self) -> None:
        if self.waiting:
            self.passed = True
            self.writer.write(_GO)


class Gate:
    """One gate that a test holds. `visits` are all so far, in order of arrival."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.visits: list[Visit] = []
        self._changed = asyncio.Condition()
        self._open = False

    @property
    def labels(self) -> list[str]:
        """Labels of all visits, in order of arrival."""
        return [visit.label for visit in self.visits]

    @property
    def waiting(self) -> list[Visit]:
        """Visits that wait now, in order of arrival."""
        return [visit for visit in self.visits if visit.waiting]

    def let_through(self, count: int = 1) -> None:
        """Lets the first `count` that wait go on."""
        for visit in self.waiting[:count]:
            visit.let_through()

    def open(self) -> None:
        """Lets all go on, those too that come later."""
        self._open = True
        self.let_through(len(self.visits))

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits for something about the visits to become true."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            seen = [(visit.label, visit.pid, visit.passed, visit.left) for visit in self.visits]
            raise AssertionError(f"gate {self.name}: not {what}; visits: {seen}") from None

    async def until_arrived(self, count: int) -> list[Visit]:
        """Waits for `count` visits in all; gives these."""
        await self.until(lambda: len(self.visits) >= count, f"{count} visits")
        return self.visits[:count]

    async def until_left(self, visit: Visit, how: str) -> None:
        """Waits until a visit has ended without being let through, and says how."""
        await self.until(lambda: visit.left is not None, f"left by {visit.label}")
        assert visit.left == how

    async def admit(self, visit: Visit) -> None:
        """A model has come."""
        self.visits.append(visit)
        if self._open:
            visit.let_through()
        await self.tell()

    async def tell(self) -> None:
        """Something has changed."""
        async with self._changed:
            self._changed.notify_all()


class Gates:
    """All gates; an async context manager that listens on `host` while it is entered."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.address = ""
        self._host = host
        self._held: dict[str, Gate] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._receive, self._host, 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @contextmanager
    def held(self, name: str) -> Iterator[Gate]:
        """Closes a gate; afterwards it is open, and nobody is left waiting at it."""
        assert name not in self._held
        gate = self._held[name] = Gate(name)
        try:
            yield gate
        finally:
            del self._held[name]
            gate.open()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            said = json.loads(await reader.readline() or b"null")
            gate = self._held.get(said["gate"]) if said else None
            if gate is None:
                writer.write(_GO)
                await writer.drain()
            else:
                visit = Visit(said["label"], said["pid"], writer)
                await gate.admit(visit)
                last = b""
                with suppress(ConnectionError):
                    last = await reader.readline()
                if not visit.passed:
                    visit.left = "cancelled" if last == _CANCELLED else "died"
                await gate.tell()
        writer.close()
