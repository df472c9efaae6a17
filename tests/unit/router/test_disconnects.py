"""Callers that go away: their place, their slot and their replica are freed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.request import Outcome
from tests.unit.router.harness import read_body
from tests.unit.router.test_streams import Streaming

if TYPE_CHECKING:
    from tests.unit.router.conftest import Rig

REQUEST = b"POST /models/echo/production/predict HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}"


def _lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        vars(record) for record in caplog.records if record.name == "orchestrator.router.access"
    ]


async def test_a_parked_caller_leaves_the_line(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "orchestrator.router.access")
    _, writer = await rig.connect()
    writer.write(REQUEST)
    await rig.echo.until(lambda: rig.echo.waiters == 1)
    writer.close()
    await rig.echo.until(lambda: rig.echo.waiters == 0)
    await rig.idle.wait()
    assert rig.outcomes() == {Outcome.EVICTED_CALLER_GONE: 1}
    (line,) = _lines(caplog)
    assert line["status"] == 499
    assert line["outcome"] == "evicted_caller_gone"
    assert line["attempts"] == 0


async def test_a_running_model_hears_that_its_caller_went(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    started, gone = asyncio.Event(), asyncio.Event()

    async def working(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        started.set()
        assert (await receive())["type"] == "http.disconnect"
        gone.set()

    await rig.replica(working)
    _, writer = await rig.connect()
    writer.write(REQUEST)
    await started.wait()
    writer.close()
    await gone.wait()
    await rig.echo.until(lambda: not rig.echo.out)
    await rig.idle.wait()
    assert rig.outcomes() == {Outcome.FAILED_CALLER_GONE: 1}
    assert _lines(caplog)[0]["status"] == 499


async def test_a_caller_that_leaves_a_stream_ends_it(rig: Rig) -> None:
    replica = Streaming()
    await rig.replica(replica)
    reader, writer = await rig.connect()
    writer.write(REQUEST)
    replica.chunks.put_nowait(b"data: 1\n\n")
    await reader.readuntil(b"data: 1")
    writer.close()
    await replica.gone.wait()
    await rig.echo.until(lambda: not rig.echo.out)


async def test_a_caller_that_goes_while_it_sends(rig: Rig) -> None:
    _, writer = await rig.connect()
    writer.write(REQUEST.replace(b"content-length: 2", b"content-length: 200"))
    await rig.begun.wait()
    writer.close()
    await rig.idle.wait()
    assert rig.outcomes() == {Outcome.EVICTED_CALLER_GONE: 1}


async def test_a_server_that_gives_a_request_up_frees_its_slot(rig: Rig) -> None:
    """Ray Serve cancels the application's task when it has seen the caller go."""
    started, gone = asyncio.Event(), asyncio.Event()

    async def working(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        started.set()
        await receive()
        gone.set()

    await rig.replica(working)
    body = iter([{"type": "http.request", "body": b"{}", "more_body": False}])
    never = asyncio.Event()

    async def receive() -> Any:
        for message in body:
            return message
        await never.wait()
        return None

    async def send(message: Any) -> None:
        raise AssertionError("nothing is to be sent")

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/models/echo/production/predict",
        "raw_path": b"/models/echo/production/predict",
        "query_string": b"",
        "headers": [(b"host", b"a")],
        "client": ("127.0.0.1", 1),
    }
    task = asyncio.create_task(rig.app(scope, receive, send))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone.wait()
    assert not rig.echo.out
    assert rig.outcomes() == {Outcome.FAILED_CALLER_GONE: 1}


async def test_many_callers_come_and_go_and_no_slot_is_lost(rig: Rig) -> None:
    async def working(scope: Any, receive: Any, send: Any) -> None:
        body = await read_body(receive)
        left = asyncio.ensure_future(receive())
        await asyncio.wait({left}, timeout=float(body))
        left.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    await rig.replica(working, slots=3)

    async def caller(number: int) -> int:
        try:
            async with asyncio.timeout(0.002 * (number % 30)):
                async with rig.http.post(rig.predict, data=b"0.01") as response:
                    await response.read()
                    return response.status
        except TimeoutError:
            return 499

    statuses = await asyncio.gather(*(caller(number) for number in range(150)))
    assert set(statuses) <= {200, 499}
    await rig.echo.until(lambda: not rig.echo.out and rig.echo.waiters == 0)
    assert rig.echo.free == {"r1": 3}
