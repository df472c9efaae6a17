"""The cluster's secret is replaced while requests run, on nodes that hear of it one by one."""

from __future__ import annotations

import asyncio
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import cluster_secret
from orchestrator.cluster_secret import ClusterSecret
from orchestrator.router.connection import ConnectionFailed
from orchestrator.router.upstream import UpstreamPool
from replicas import gate
from replicas.runners.command import CommandRunner
from tests.unit.replicas.conftest import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from replicas.deployment import Replica
    from tests.unit.replicas.conftest import StartReplica

NEXT = "the-next-one-" * 3
SERVER = str(Path(__file__).with_name("model_server.py"))
RUNNERS = {
    "python": "AsyncEcho",
    "command": {"type": "command", "command": [sys.executable, "-I", "-S", SERVER, "{port}"]},
}


class Router:
    """Sends requests without pause, on several connections.

    Attributes:
        answered: how many were.
        refused: how many were not.
    """

    def __init__(self, address: str, path: str, file: Path) -> None:
        self.secret = ClusterSecret(file)
        self.answered = 0
        self.refused = 0
        self._pool = UpstreamPool(self.secret)
        self._address = address
        self._path = path.encode()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(4)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something holds after a request."""
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_answered(self, more: int) -> None:
        """Waits until so many more were answered, from now on."""
        wanted = self.answered + more
        await self.until(lambda: self.answered >= wanted)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._pool.close()

    async def ask(self) -> None:
        pool = self._pool
        connection = pool.take(self._address) or await pool.connect(self._address, 5.0)
        head = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-length: 2\r\n%b\r\n"
        head %= (self._path, connection.host, connection.proof)
        try:
            connection.send(head, (b"{}",), 2, head_only=False)
            await connection.head_received()
            assert connection.status == 200
            while await connection.read():
                pass
        finally:
            pool.give_back(connection)

    async def _run(self) -> None:
        while True:
            try:
                await self.ask()
                self.answered += 1
            except ConnectionFailed:
                self.refused += 1
            self._changed.set()


class World:
    """A replica, a router that keeps it busy, and a file of secrets on the node of each."""

    def __init__(self, replica: Replica, router: Router, files: tuple[Path, Path]) -> None:
        self.replica = replica
        self.router = router
        self.of_replica, self.of_router = files

    def heard(self, lines: list[str]) -> bool:
        """Whether all parts go by a file of these lines."""
        assert self.replica._secret is not None
        first = {self.replica._secret.current, self.router.secret.current}
        accepted = frozenset(sha256(line.encode()).hexdigest() for line in lines)
        return first == {lines[0].encode()} and self._accepted() == {accepted}

    def _accepted(self) -> set[frozenset[str]]:
        assert self.replica._secret is not None
        known = {self.replica._secret.digests, self.router.secret.digests}
        runner = self.replica._runner
        if isinstance(runner, CommandRunner):
            assert runner._gate is not None
            known.add(runner._gate._accepted)
        return known


@pytest.fixture(params=["python", "command"])
async def world(
    request: Any, start: StartReplica, secrets: Path, tmp_path: Path, monkeypatch: Any
) -> AsyncIterator[World]:
    monkeypatch.setattr(cluster_secret, "LOOK_S", 0.02)
    monkeypatch.setattr(gate, "FOLLOW_S", 0.02)
    monkeypatch.setattr("orchestrator.router.upstream.is_guarded", lambda host: True)
    replica = await start(RUNNERS[request.param], slots=8)
    beside = tmp_path / "beside"
    beside.write_text(f"{SECRET}\n")
    path = "/predict" if request.param == "python" else "/echo"
    router = Router(replica.address, path, beside)
    router.start()
    await router.until_answered(20)
    yield World(replica, router, (secrets, beside))
    await router.close()


async def test_no_request_fails_while_the_secret_is_replaced(world: World):
    router = world.router
    for number, lines in enumerate(([SECRET, NEXT], [NEXT, SECRET], [NEXT])):
        # Whichever node hears of a step first, the other one is a step behind.
        files = (world.of_router, world.of_replica)
        for file in files if number % 2 else reversed(files):
            file.write_text("\n".join(lines))
            await router.until_answered(50)
        await router.until(lambda lines=lines: world.heard(lines))  # type: ignore[misc]
        await router.until_answered(50)
    assert router.secret.current == NEXT.encode()
    assert router.refused == 0


async def test_a_router_with_a_secret_that_was_removed_is_refused(world: World):
    world.of_replica.write_text(f"{NEXT}\n")
    await world.router.until(lambda: world.router.refused > 0)
    with pytest.raises(ConnectionFailed, match="does not accept the cluster's secret"):
        await world.router.ask()
