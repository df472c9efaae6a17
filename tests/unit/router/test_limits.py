"""Sizes, deadlines, and what the queue refuses."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.errors import EnvironmentUnhealthy, NoFreeSlot, ParkTimeout, QueueFull
from tests.unit.router.harness import read_body, table
from tests.unit.router.test_proxying import Recorder

if TYPE_CHECKING:
    from tests.unit.router.conftest import Rig


async def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(rig: Rig) -> None:
    rig.configure(max_body_bytes=1000)
    reader, writer = await rig.connect()
    writer.write(
        b"POST /models/echo/production/predict HTTP/1.1\r\nhost: a\r\n"
        b"content-length: 1001\r\nexpect: 100-continue\r\n\r\n"
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    body = await reader.readuntil(b'"}')
    assert b"1001 bytes" in body
    assert b"1000 bytes" in body


async def test_a_streamed_body_over_the_limit_is_refused_while_it_arrives(rig: Rig) -> None:
    rig.configure(max_body_bytes=100_000)
    reader, writer = await rig.connect()
    writer.write(
        b"POST /models/echo/production/predict HTTP/1.1\r\nhost: a\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    piece = b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000)
    writer.write(piece * 3)  # never ended
    assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    text = (await reader.readuntil(b'"}')).decode()
    assert '"limit_bytes":100000' in text
    assert "at least" in text


async def test_a_body_of_exactly_the_limit_passes(rig: Rig) -> None:
    rig.configure(max_body_bytes=1000)
    replica = Recorder()
    await rig.replica(replica)
    async with rig.http.post(rig.predict, data=b"x" * 1000) as response:
        assert response.status == 200
    assert replica.bodies == [b"x" * 1000]


async def test_the_queue_hears_the_size_of_what_it_holds(rig: Rig) -> None:
    rig.echo.rejects_on_full = True
    async with rig.http.post(rig.predict, data=b"x" * 321):
        pass
    assert rig.echo.asked[0]["size"] == 321


@pytest.mark.parametrize("name", ["Request-Timeout-Ms", "Request-Deadline-Ms"])
@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "soon", "9" * 5000, "1e3", "1, 2"])
async def test_a_deadline_that_is_none_is_named(rig: Rig, name: str, value: str) -> None:
    async with rig.http.post(rig.predict, headers={name: value}) as response:
        body = await response.json()
        assert response.status == 400
        assert body["error_code"] == "client_error"
        assert body["detail"] == {"field": name}
        assert name in body["error"]


async def test_a_deadline_that_has_passed_is_a_timeout_at_once(rig: Rig) -> None:
    await rig.replica(Recorder())
    async with rig.http.post(rig.predict, headers={"Request-Deadline-Ms": "1"}) as response:
        assert response.status == 504
        assert (await response.json())["detail"] == {"field": "Request-Deadline-Ms", "attempts": 0}


async def test_the_replica_is_told_the_time_that_is_left(rig: Rig) -> None:
    replica = Recorder()
    await rig.replica(replica)
    deadline = str(int(time.time() * 1000) + 30_000)
    headers = {"Request-Timeout-Ms": "60000", "Request-Deadline-Ms": deadline}
    async with rig.http.post(rig.predict, headers=headers) as response:
        assert response.status == 200
    assert 20_000 < int(replica.headers()["request-timeout-ms"]) <= 30_000
    assert "request-deadline-ms" not in replica.headers()


async def test_the_callers_deadline_strikes_in_line(rig: Rig) -> None:
    async with rig.http.post(rig.predict, headers={"Request-Timeout-Ms": "60"}) as response:
        body = await response.json()
        assert response.status == 504
        assert body["error_code"] == "timeout"
        assert body["detail"]["attempts"] == 0


async def _silent(scope: Any, receive: Any, send: Any) -> None:
    await read_body(receive)
    await receive()


@pytest.mark.parametrize("milliseconds", ["5", "60"])
async def test_the_callers_deadline_strikes_while_it_runs(rig: Rig, milliseconds: str) -> None:
    await rig.replica(_silent)
    headers = {"Request-Timeout-Ms": milliseconds}
    async with rig.http.post(rig.predict, headers=headers) as response:
        assert response.status == 504
        assert (await response.json())["error_code"] == "timeout"


async def test_the_predict_timeout(rig: Rig) -> None:
    rig.configure({"echo": {"production": {"timeouts": {"predict_s": 0.1}}}})
    await rig.replica(_silent)
    async with rig.http.post(rig.predict) as response:
        body = await response.json()
        assert response.status == 504
        assert body["error_code"] == "timeout"
        assert body["detail"] == {"limit_seconds": 0.1}
        assert response.headers["x-baseten-model-prediction-attempts"] == "1"


async def test_the_park_timeout(rig: Rig) -> None:
    rig.configure({"echo": {"production": {"timeouts": {"park_s": 0.1}}}})
    async with rig.http.post(rig.predict) as response:
        body = await response.json()
        assert response.status == 503
        assert body["error_code"] == "model_not_ready"
        assert body["detail"]["waited_seconds"] >= 0.09
        assert int(response.headers["retry-after"]) >= 1
        assert int(response.headers["x-queue-wait-ms"]) >= 90  # it came a moment before it parked


@pytest.mark.parametrize(
    ("refusal", "status", "code", "retry_after"),
    [
        (QueueFull(0.2), 429, "rate_limited", "1"),
        (NoFreeSlot(2.1), 529, "model_unavailable", "3"),
        (EnvironmentUnhealthy("no", (), 30), 503, "model_unavailable", "30"),
        (ParkTimeout(1.0), 503, "model_not_ready", "5"),
    ],
)
async def test_what_the_queue_refuses(
    rig: Rig, refusal: Exception, status: int, code: str, retry_after: str
) -> None:
    rig.echo.refusal = refusal
    async with rig.http.post(rig.predict) as response:
        assert response.status == status
        assert (await response.json())["error_code"] == code
        assert response.headers["retry-after"] == retry_after


async def test_a_request_in_line_gets_the_slot_of_one_that_ends(rig: Rig) -> None:
    release = asyncio.Event()

    async def working(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await rig.replica(working)
    first = asyncio.ensure_future(rig.http.post(rig.predict))
    second = asyncio.ensure_future(rig.http.post(rig.predict))
    await rig.echo.until(lambda: rig.echo.waiters == 1)
    release.set()
    for response in await asyncio.gather(first, second):
        assert response.status == 200
        response.release()


async def test_settings_of_the_table_reach_the_permit_client(rig: Rig) -> None:
    rig.app.configure(table({"echo": {"production": {"queue": {"max_requests": 0}}}}))
    async with rig.http.post(rig.predict) as response:
        assert response.status == 429
