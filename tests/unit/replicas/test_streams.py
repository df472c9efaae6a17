from __future__ import annotations

import aiohttp
import pytest

from tests.unit.replicas import models

MODELS = ["AsyncChunks", "SyncChunks"]


async def until_cut(answer: aiohttp.ClientResponse) -> bytes:
    """What came before the connection was cut; fails if it ended cleanly."""
    received = b""
    try:
        while chunk := await answer.content.readany():
            received += chunk
    except aiohttp.ClientPayloadError:
        return received
    pytest.fail(f"ended cleanly after {received!r}")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("chunks", "content_type", "sent"),
    [
        (("a", "b"), "text/plain", (b"a", b"b")),
        (({"t": 1}, [2]), "text/event-stream", (b'data: {"t":1}\n\n', b"data: [2]\n\n")),
        (("data: 1\n\n", "data: 2\n\n"), "text/event-stream", (b"data: 1\n\n", b"data: 2\n\n")),
    ],
)
async def test_each_chunk_is_sent_before_the_next_is_made(
    start, http, *, model, chunks, content_type, sent
):
    replica = await start(model)
    body = dict(zip(("first", "second"), chunks, strict=True))
    async with http.post(f"{replica.address}/predict", json=body) as answer:
        assert (answer.status, answer.content_type) == (200, content_type)
        assert await answer.content.readany() == sent[0]
        await models.until_entered()
        models.release()
        assert await answer.content.read() == sent[1]


@pytest.mark.parametrize("model", MODELS)
async def test_events_that_fail_midway_end_with_an_error_event_and_a_cut(start, http, model):
    replica = await start(model)
    models.release()
    body = {"first": {"t": 1}, "raise": "overflow"}
    headers = {"x-request-id": "r-9"}
    async with http.post(f"{replica.address}/predict", json=body, headers=headers) as answer:
        received = await until_cut(answer)
    assert received == (
        b'data: {"t":1}\n\n'
        b'event: error\ndata: {"error":"the model raised ValueError: overflow",'
        b'"error_code":"application_error","detail":{},"request_id":"r-9"}\n\n'
    )


@pytest.mark.parametrize("model", MODELS)
async def test_text_that_fails_midway_is_cut_and_nothing_is_added(start, http, model):
    replica = await start(model)
    models.release()
    body = {"first": "abc", "raise": "overflow"}
    async with http.post(f"{replica.address}/predict", json=body) as answer:
        received = await until_cut(answer)
    assert received == b"abc"


async def test_a_streaming_response_that_fails_midway_ends_the_same_way(start, http):
    replica = await start("Answers")
    async with http.post(f"{replica.address}/predict", json="stream-response") as answer:
        received = await until_cut(answer)
    assert received.startswith(b"data: 1\n\nevent: error\ndata: ")
    assert b"RuntimeError: midway" in received


@pytest.mark.parametrize("model", [*MODELS, "Endless"])
async def test_a_caller_that_hangs_up_closes_the_generator(start, http, model):
    replica = await start(model, slots=1)
    body = {"first": "a", "second": "b"}
    answer = await http.post(f"{replica.address}/predict", json=body)
    assert await answer.content.readany()
    answer.close()
    if model == "SyncChunks":
        models.release()  # a thread cannot be interrupted, only not asked again
    await models.until_stopped()


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_coroutine_may_decide_to_stream(start, http, kind):
    replica = await start("ReturnsGenerators")
    async with http.post(f"{replica.address}/predict", json={"kind": kind}) as answer:
        assert await answer.read() == b"ab"
    async with http.post(f"{replica.address}/predict", json={"kind": "no"}) as answer:
        assert await answer.json() == []
