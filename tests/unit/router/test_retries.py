"""Failed attempts: which are made again, where, and how often."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.errors import EnvironmentUnhealthy
from orchestrator.lifecycle.request import Outcome
from tests.unit.router.harness import read_body, respond, table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.unit.router.conftest import Rig

QUICK = {"retry": {"initial_s": 0.02, "factor": 1.0, "connection_attempts": 3}}


class Scripted:
    """A replica that answers with one status after another, then 200."""

    def __init__(self, *statuses: int, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.statuses = list(statuses)
        self.headers = headers
        self.asked = 0
        self.timeouts: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        await read_body(receive)
        self.timeouts.append(int(dict(scope["headers"])[b"request-timeout-ms"]))
        status = self.statuses.pop(0) if self.statuses else 200
        await respond(send, status, b'"mine"', self.headers if status != 200 else None)


@contextlib.asynccontextmanager
async def raw_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A replica that speaks bytes."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]  # noqa: UP031
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"),
        0,
    )
    return head + await reader.readexactly(length)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_another_replica_is_tried_at_once(rig: Rig, status: int) -> None:
    # The pause is long, so that only going to the other one at once passes in time.
    rig.configure({"echo": {"production": {"retry": {"initial_s": 60.0}}}})
    bad, good = Scripted(status), Scripted()
    await rig.replica(bad, name="bad")
    await rig.replica(good, name="good")
    async with rig.http.post(rig.predict, data=b"x") as response:
        assert response.status == 200
        assert response.headers["x-baseten-model-prediction-attempts"] == "2"
    assert (bad.asked, good.asked) == (1, 1)
    # It answered: it is not unreachable.
    assert rig.echo.released == [("bad", False), ("good", False)]
    assert rig.echo.asked[0]["avoid"] == {"bad"}
    assert rig.echo.asked[0]["ticket"] is not None


async def test_the_only_replica_is_tried_again_after_a_pause(rig: Rig) -> None:
    rig.configure({"echo": {"production": QUICK}})
    replica = Scripted(503, 502)
    await rig.replica(replica)
    async with rig.http.post(rig.predict) as response:
        assert response.status == 200
        assert response.headers["x-baseten-model-prediction-attempts"] == "3"


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 501])
async def test_the_models_own_decisions_are_final(rig: Rig, status: int) -> None:
    replica = Scripted(status)
    await rig.replica(replica)
    async with rig.http.post(rig.predict) as response:
        assert response.status == status
        assert await response.text() == '"mine"'
    assert replica.asked == 1


async def test_when_time_is_up_the_replicas_last_answer_passes(rig: Rig) -> None:
    rig.configure({"echo": {"production": {"retry": {"initial_s": 5.0}}}})
    replica = Scripted(503, 503)
    await rig.replica(replica)
    async with rig.http.post(rig.predict, headers={"Request-Timeout-Ms": "2000"}) as response:
        assert response.status == 503
        assert await response.text() == '"mine"'
    assert replica.asked == 1


async def test_the_budget_bounds_retries_over_all_requests(rig: Rig) -> None:
    rig.configure({"echo": {"production": {"retry": {"initial_s": 0.0, "budget_window_s": 600}}}})
    replica = Scripted(*[503] * 1000)
    await rig.replica(replica)
    for _ in range(5):
        async with rig.http.post(rig.predict) as response:
            assert response.status == 503
    # Ten retries are always allowed, and 20 % of five requests are fewer than that.
    assert replica.asked == 5 + 10


async def test_a_replica_without_room_puts_the_request_back_in_its_place(rig: Rig) -> None:
    full = Scripted(503, 503, headers=[(b"x-orchestrator-reject", b"capacity")])
    await rig.replica(full)
    async with rig.http.post(rig.predict) as response:
        assert response.status == 200
        assert response.headers["x-baseten-model-prediction-attempts"] == "1"
        assert "x-orchestrator-reject" not in response.headers
    assert full.asked == 3
    assert rig.echo.released == [("r1", False)] * 3
    assert len({asked["ticket"] for asked in rig.echo.asked}) == 1
    assert rig.echo.asked[0]["avoid"] == {"r1"}


async def test_a_replica_that_cannot_be_reached_is_reported_and_left(rig: Rig) -> None:
    rig.echo.add("gone", "http://127.0.0.1:9")
    await rig.replica(Scripted(), name="here")
    async with rig.http.post(rig.predict) as response:
        assert response.status == 200
        assert response.headers["x-baseten-model-prediction-attempts"] == "2"
    assert rig.echo.released == [("gone", True), ("here", False)]


async def test_connections_fail_a_bounded_number_of_times(rig: Rig) -> None:
    rig.configure({"echo": {"production": QUICK}})
    for name in ("a", "b", "c", "d"):
        rig.echo.add(name, "http://127.0.0.1:9")
    async with rig.http.post(rig.predict) as response:
        body = await response.json()
        assert response.status == 502
        assert body["error_code"] == "model_unavailable"
        assert body["detail"]["attempts"] == 3
        assert response.headers["x-baseten-model-prediction-attempts"] == "3"
    assert rig.outcomes() == {Outcome.FAILED_REPLICA_LOST: 1}
    # The last one, too, which is not tried again.
    assert rig.echo.released == [("a", True), ("b", True), ("c", True)]


@pytest.fixture
def unreachable() -> Iterator[str]:
    """Where nobody answers a connection, as behind a link that is cut: a line that is full."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host, port = listener.getsockname()
        for _ in range(3):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield f"http://{host}:{port}"


async def test_a_connection_that_is_not_made_leaves_time_for_another_replica(
    rig: Rig, unreachable: str
) -> None:
    rig.echo.add("cut off", unreachable)
    await rig.replica(Scripted(), name="here")
    headers = {"request-timeout-ms": "1000"}
    async with rig.http.post(rig.predict, headers=headers) as response:
        assert response.status == 200
    assert rig.echo.released == [("cut off", True), ("here", False)]


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 400_000,
        b"",
    ],
    ids=["not http", "status", "lengths", "upgrade", "endless head", "hung up"],
)
async def test_garbage_is_a_failed_connection(rig: Rig, garbage: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(garbage)
        await writer.drain()

    async with raw_server(serve) as address:
        rig.echo.add("bad", address)
        await rig.replica(Scripted(), name="good")
        async with rig.http.post(rig.predict, data=b"{}") as response:
            assert response.status == 200
            assert response.headers["x-baseten-model-prediction-attempts"] == "2"
    assert rig.echo.released == [("bad", True), ("good", False)]


async def test_the_caller_is_told_what_was_wrong_with_the_answer(rig: Rig) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(b"hello\r\n\r\n")
        await writer.drain()

    rig.configure({"echo": {"production": QUICK}})
    async with raw_server(serve) as address:
        for name in ("a", "b", "c"):
            rig.echo.add(name, address)
        async with rig.http.post(rig.predict, data=b"{}") as response:
            body = await response.json()
    assert response.status == 502
    assert "not HTTP" in body["detail"]["cause"]


async def test_a_kept_connection_that_the_replica_closed_is_replaced(rig: Rig) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await _read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        # The next request meets a connection that is closed as it arrives.
        await reader.read(1)

    async with raw_server(serve) as address:
        rig.echo.add("r1", address)
        async with rig.http.post(rig.predict) as response:
            assert response.headers["x-baseten-model-prediction-attempts"] == "1"
        async with rig.http.post(rig.predict, data=b"{}") as response:
            assert response.status == 200
            assert response.headers["x-baseten-model-prediction-attempts"] == "2"
    assert connections == 2
    # One permit served both attempts, and the replica is not called unreachable.
    assert rig.echo.released == [("r1", False), ("r1", False)]


async def test_an_answer_after_interim_ones(rig: Rig) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(
            b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        )
        await reader.read(1)

    async with raw_server(serve) as address:
        rig.echo.add("r1", address)
        async with rig.http.post(rig.predict) as response:
            assert response.status == 200
            assert "link" not in response.headers


async def test_a_body_that_ends_with_its_connection(rig: Rig) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall ")
        await writer.drain()
        writer.write(b"of it")

    async with raw_server(serve) as address:
        rig.echo.add("r1", address)
        async with rig.http.post(rig.predict) as response:
            assert await response.text() == "all of it"


async def test_a_replica_that_dies_while_it_works_is_replaced(rig: Rig) -> None:
    started = asyncio.Event()
    die = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        started.set()
        await die.wait()
        writer.transport.abort()

    async with raw_server(serve) as address:
        rig.echo.add("dying", address)
        request = asyncio.ensure_future(rig.http.post(rig.predict, data=b"work"))
        await started.wait()
        await rig.replica(Scripted(), name="next")
        die.set()
        async with await request as response:
            assert response.status == 200
            assert response.headers["x-baseten-model-prediction-attempts"] == "2"


async def test_an_unhealthy_environment_ends_a_retry(rig: Rig) -> None:
    class Dies(Scripted):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            rig.echo.refusal = EnvironmentUnhealthy("it does not start", ("boom",), 7.2)
            await super().__call__(scope, receive, send)

    await rig.replica(Dies(503))
    async with rig.http.post(rig.predict) as response:
        body = await response.json()
        assert response.status == 503
        assert response.headers["retry-after"] == "8"
        assert body["detail"] == {"reason": "it does not start", "log_tail": ["boom"]}


async def test_the_time_left_shrinks_from_attempt_to_attempt(rig: Rig) -> None:
    rig.app.configure(table({"echo": {"production": {**QUICK, "timeouts": {"predict_s": 900}}}}))
    replica = Scripted(503)
    await rig.replica(replica)
    async with rig.http.post(rig.predict, headers={"Request-Timeout-Ms": "10000"}) as response:
        assert response.status == 200
    first, second = replica.timeouts
    assert second < first <= 10_000
