"""Answers that come in pieces: passed on as they come, and cut where they break."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from orchestrator.lifecycle.request import Outcome
from tests.unit.router.harness import read_body
from tests.unit.router.test_retries import _read_request, raw_server

if TYPE_CHECKING:
    from tests.unit.router.conftest import Rig

SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]


class Streaming:
    """A replica whose chunks are sent one by one, as they are given."""

    def __init__(self, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.headers = headers or SSE
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        left = asyncio.ensure_future(receive())
        while True:
            chunk = asyncio.ensure_future(self.chunks.get())
            await asyncio.wait({chunk, left}, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                chunk.cancel()
                self.gone.set()
                return
            data = chunk.result()
            await send(
                {"type": "http.response.body", "body": data or b"", "more_body": data is not None}
            )
            if data is None:
                left.cancel()
                return


async def test_chunks_pass_one_by_one(rig: Rig) -> None:
    replica = Streaming()
    await rig.replica(replica)
    async with rig.http.post(rig.predict) as response:
        for number in range(5):
            replica.chunks.put_nowait(b"data: %d\n\n" % number)
            # Each arrives before the next one exists.
            assert await response.content.readany() == b"data: %d\n\n" % number
        replica.chunks.put_nowait(None)
        assert await response.content.readany() == b""
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    await rig.echo.until(lambda: not rig.echo.out)


async def _until_cut(response: aiohttp.ClientResponse) -> bytes:
    """What can be read of an answer that does not end cleanly."""
    got = b""
    try:
        async for data in response.content.iter_any():
            got += data
    except aiohttp.ClientPayloadError:
        return got
    raise AssertionError(f"a clean end, after {got!r}")


async def _cut(rig: Rig, head: bytes, *chunks: bytes, path: str = "") -> bytes:
    """What a caller reads of a chunked answer that breaks off after `chunks`.

    `path`: where it asks, by default at `predict`.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % head)
        for chunk in chunks:
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await writer.drain()

    async with raw_server(serve) as address:
        rig.echo.add("r1", address)
        url = rig.url + path if path else rig.predict
        async with rig.http.post(url, json={"model": "echo"}) as response:
            assert response.status == 200
            return await _until_cut(response)


async def test_a_broken_event_stream_ends_with_an_error_event_and_uncleanly(rig: Rig) -> None:
    got = await _cut(rig, b"content-type: text/event-stream\r\n", b"data: 1\n\n")
    first, event, rest = got.partition(b"event: error\n")
    assert first == b"data: 1\n\n"
    assert event
    error = json.loads(rest.removeprefix(b"data: "))
    assert error["error_code"] == "model_unavailable"
    assert set(error) == {"error", "error_code", "detail", "request_id"}
    assert rest.endswith(b"\n\n")
    assert rig.outcomes() == {Outcome.FAILED_REPLICA_LOST: 1}


@pytest.mark.parametrize("path", ["/v1/completions", "/models/echo/production/sync/v1/completions"])
async def test_on_openais_paths_the_error_event_has_openais_shape(rig: Rig, path: str) -> None:
    head = b"content-type: text/event-stream\r\n"
    got = await _cut(rig, head, b"data: 1\n\n", path=path)
    error = json.loads(got.partition(b"event: error\ndata: ")[2])["error"]
    assert (error["type"], error["code"]) == ("server_error", "model_unavailable")
    assert "The replica failed" in error["message"]


async def test_half_an_event_is_not_handed_over_as_a_whole_one(rig: Rig) -> None:
    got = await _cut(rig, b"content-type: text/event-stream\r\n", b'data: {"text": "a')
    assert got.startswith(b'data: {"text": "a\nevent: error\ndata: {')


async def test_other_streams_break_without_an_addition(rig: Rig) -> None:
    assert await _cut(rig, b"content-type: application/json\r\n", b'{"a":') == b'{"a":'


async def test_a_compressed_event_stream_gets_no_addition(rig: Rig) -> None:
    head = b"content-type: text/event-stream\r\ncontent-encoding: x-odd\r\n"
    assert await _cut(rig, head, b"\x00\x01") == b"\x00\x01"


async def test_an_answer_shorter_than_its_length_is_cut(rig: Rig) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
        await writer.drain()

    async with raw_server(serve) as address:
        rig.echo.add("r1", address)
        async with rig.http.post(rig.predict) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


async def test_a_gap_between_chunks_is_bounded(rig: Rig) -> None:
    rig.configure({"echo": {"production": {"timeouts": {"chunk_gap_s": 0.15}}}})
    replica = Streaming()
    await rig.replica(replica)
    async with rig.http.post(rig.predict) as response:
        replica.chunks.put_nowait(b"data: 1\n\n")
        got = await _until_cut(response)
    error = json.loads(got.partition(b"event: error\ndata: ")[2])
    assert error["error_code"] == "timeout"
    assert error["detail"] == {"limit_seconds": 0.15}
    await replica.gone.wait()  # the replica hears that nobody listens any more


async def test_a_first_byte_is_awaited_for_a_bounded_time(rig: Rig) -> None:
    rig.configure({"echo": {"production": {"timeouts": {"first_byte_s": 0.1}}}})
    gone = asyncio.Event()

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        assert (await receive())["type"] == "http.disconnect"
        gone.set()

    await rig.replica(silent)
    async with rig.http.post(rig.predict) as response:
        assert response.status == 504
        assert (await response.json())["error"].startswith("The model did not begin")
    await gone.wait()


async def test_a_slow_caller_holds_back_the_replica_and_loses_nothing(rig: Rig) -> None:
    sent = 0
    piece = b"x" * 65_536

    async def fast(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await read_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1600):  # 100 MiB: more than all the buffers on the way
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += 1
        await send({"type": "http.response.body", "body": b""})

    await rig.replica(fast)
    async with rig.http.post(rig.predict) as response:
        await response.content.readany()
        for _ in range(200):
            await asyncio.sleep(0)
        assert sent < 1600
        size = 0
        async for data in response.content.iter_any():
            size += len(data)
    assert size > 1500 * len(piece)
    assert sent == 1600
