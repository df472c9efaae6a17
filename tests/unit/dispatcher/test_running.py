"""Requests that run, fail, and are tried again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.lifecycle.async_request import AsyncState, AttemptRules, ErrorCode
from tests.unit.router.harness import respond

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.unit.dispatcher.conftest import Rig


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that need not speak HTTP; gives its address."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()
    await listener.wait_closed()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


async def test_a_request_runs_and_its_result_is_kept(rig: Rig):
    rig.dispatch()
    request_id = await rig.submit({"text": "hello"})
    record = await rig.ended(request_id)
    assert record.state is AsyncState.SUCCEEDED
    assert record.attempts == 1
    assert record.result is not None
    assert record.result.data == b'{"text":"hello"}'
    assert record.result.content_type == "application/json"
    assert set(rig.slots.released) == {("r1", False)}


async def test_what_was_submitted_before_the_dispatcher_came_runs_too(rig: Rig):
    ids = [await rig.submit({"n": n}) for n in range(3)]
    rig.dispatch()
    for request_id in ids:
        assert (await rig.ended(request_id)).state is AsyncState.SUCCEEDED
    assert [body["n"] for body in rig.replica.seen] == [0, 1, 2]


async def test_the_replica_is_told_who_asks_and_how_long_it_may_take(rig: Rig):
    rig.dispatch(asynchronous={"run_s": 7.0})
    trace_id, parent = "ab" * 16, "cd" * 8
    context = {"traceparent": f"00-{trace_id}-{parent}-01", "tracestate": "k=v"}
    request_id = await rig.submit(**context)
    await rig.ended(request_id)
    headers = rig.replica.headers[0]
    assert headers[b"x-request-id"] == headers[b"x-baseten-request-id"] == request_id.encode()
    (run,) = (await rig.ended(request_id)).runs
    assert headers[b"traceparent"] == f"00-{trace_id}-{run.tried.span_id}-01".encode()
    assert headers[b"tracestate"] == b"k=v"
    assert headers[b"request-timeout-ms"] == b"7000"
    assert headers[b"content-type"] == b"application/json"


@pytest.mark.parametrize("stored", ["", "x\r\nauthorization: Bearer y", "00-aa-bb-01", "ä"])
async def test_a_request_without_a_context_has_a_trace_of_its_own_id(rig: Rig, stored: str):
    rig.dispatch()
    request_id = await rig.submit(traceparent=stored, tracestate="k=v")
    (run,) = (await rig.ended(request_id)).runs
    headers = rig.replica.headers[0]
    assert b"authorization" not in headers
    assert headers[b"traceparent"] == f"00-{request_id}-{run.tried.span_id}-00".encode()
    assert b"tracestate" not in headers


async def test_a_stream_is_collected_whole(rig: Rig):
    async def stream(body: Any, number: int, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in (b"data: a\n\n", b"data: b\n\n"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    rig.replica.answer = stream
    rig.dispatch()
    record = await rig.ended(await rig.submit())
    assert record.result is not None
    assert record.result.data == b"data: a\n\ndata: b\n\n"
    assert record.result.content_type == "text/event-stream"


async def test_a_failed_attempt_is_followed_by_another_after_its_pause(rig: Rig):
    async def second_time_lucky(body: Any, number: int, send: Any) -> None:
        await respond(send, 500 if number == 1 else 200)

    rig.replica.answer = second_time_lucky
    rig.dispatch()
    record = await rig.ended(await rig.submit())
    assert record.state is AsyncState.SUCCEEDED
    assert record.attempts == 2


async def test_a_pause_between_attempts_holds_no_slot(rig: Rig):
    async def fail_first(body: Any, number: int, send: Any) -> None:
        await respond(send, 503 if body["n"] == 0 else 200)

    rig.replica.answer = fail_first
    rig.dispatch()
    slow = AttemptRules(max_attempts=2, initial_delay_s=30.0, max_delay_s=30.0)
    failing = await rig.submit({"n": 0}, rules=slow)
    await rig.until(failing, lambda record: record.error is not None)
    await rig.slots.until(lambda: not rig.slots.out)
    assert (await rig.ended(await rig.submit({"n": 1}))).state is AsyncState.SUCCEEDED
    record = await rig.store.requests.get(failing)
    assert record is not None
    assert record.state is AsyncState.QUEUED
    assert record.attempts == 1


async def test_after_the_last_attempt_it_has_failed_with_the_models_own_sentence(rig: Rig):
    async def fail(body: Any, number: int, send: Any) -> None:
        await respond(send, 500, b'{"error": "out of memory", "error_code": "application_error"}')

    rig.replica.answer = fail
    rig.dispatch()
    record = await rig.ended(await rig.submit())
    assert record.state is AsyncState.FAILED
    assert record.attempts == 3
    assert record.error is not None
    assert record.error.code is ErrorCode.MODEL_PREDICT_ERROR
    assert record.error.message == "out of memory"
    assert len(rig.replica.seen) == 3


async def test_a_long_sentence_is_cut(rig: Rig):
    async def fail(body: Any, number: int, send: Any) -> None:
        await respond(send, 422, b'{"error": "%b"}' % (b"x" * 10_000))

    rig.replica.answer = fail
    rig.dispatch()
    record = await rig.ended(await rig.submit())
    assert record.error is not None
    assert record.error.message == "x" * 499 + "…"


@pytest.mark.parametrize(
    ("status", "code", "attempts"),
    [
        (400, ErrorCode.MODEL_INVALID_INPUT, 1),
        (422, ErrorCode.MODEL_INVALID_INPUT, 1),
        (408, ErrorCode.MODEL_PREDICT_TIMEOUT, 2),
        (429, ErrorCode.MODEL_UNAVAILABLE, 2),
        (503, ErrorCode.MODEL_UNAVAILABLE, 2),
        (504, ErrorCode.MODEL_PREDICT_TIMEOUT, 2),
    ],
)
async def test_the_status_says_what_failed_and_whether_to_try_again(
    rig: Rig, status: int, code: ErrorCode, attempts: int
):
    async def fail(body: Any, number: int, send: Any) -> None:
        await respond(send, status, b"no JSON")

    rig.replica.answer = fail
    rig.dispatch()
    rules = AttemptRules(max_attempts=2, initial_delay_s=0.01, max_delay_s=0.01)
    record = await rig.ended(await rig.submit(rules=rules))
    assert record.state is AsyncState.FAILED
    assert record.error is not None
    assert record.error.code is code
    assert record.error.message == f"The model answered with status {status}."
    assert record.attempts == len(rig.replica.seen) == attempts


async def test_a_run_that_takes_too_long_is_ended_and_its_connection_closed(rig: Rig):
    rig.replica.gate.clear()
    rig.dispatch(asynchronous={"run_s": 0.2})
    rules = AttemptRules(max_attempts=1)
    record = await rig.ended(await rig.submit(rules=rules))
    assert record.state is AsyncState.FAILED
    assert record.error is not None
    assert record.error.code is ErrorCode.MODEL_PREDICT_TIMEOUT
    assert record.error.message == "The model did not finish within 0.2 s."
    await rig.replica.until(lambda: len(rig.replica.gone) == 1)


async def test_a_replica_that_is_gone_costs_an_attempt_and_is_shunned(rig: Rig):
    async with listening(hang_up) as address:
        pass
    rig.slots.add(address, name="r1")
    rig.dispatch()
    request_id = await rig.submit()
    await rig.until(request_id, lambda record: record.attempts == 1 and record.error is not None)
    assert ("r1", True) in rig.slots.released
    rig.slots.add(rig.address, name="r2")
    record = await rig.ended(request_id)
    assert record.state is AsyncState.SUCCEEDED
    assert record.attempts == 2


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"", "The replica failed: it hung up."),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", "in the middle of its answer"),
    ],
)
async def test_a_replica_that_dies_while_it_runs_costs_an_attempt(
    rig: Rig, answer: bytes, sentence: str
):
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(die) as address:
        rig.slots.add(address)
        rig.dispatch()
        record = await rig.ended(await rig.submit(rules=AttemptRules(max_attempts=1)))
    assert record.state is AsyncState.FAILED
    assert record.error is not None
    assert record.error.code is ErrorCode.MODEL_UNAVAILABLE
    assert sentence in record.error.message


async def test_what_nobody_foresaw_is_a_failed_attempt_too(rig: Rig):
    rig.slots.add("no address")
    rig.dispatch()
    record = await rig.ended(await rig.submit())
    assert record.state is AsyncState.FAILED
    assert record.attempts == 3
    assert record.error is not None
    assert record.error.code is ErrorCode.INTERNAL_SERVER_ERROR


async def test_a_replica_without_room_gets_it_again_and_that_is_no_attempt(rig: Rig):
    async def full_at_first(body: Any, number: int, send: Any) -> None:
        if number <= 3:
            await respond(send, 503, headers=[(b"x-orchestrator-reject", b"capacity")])
        else:
            await respond(send)

    rig.replica.answer = full_at_first
    rig.dispatch()
    record = await rig.ended(await rig.submit(rules=AttemptRules(max_attempts=1)))
    assert record.state is AsyncState.SUCCEEDED
    assert record.attempts == 1
    assert len(rig.replica.seen) == 4


async def test_results_over_the_limit_are_refused_with_both_sizes(rig: Rig):
    rig.dispatch(results={"max_bytes": 100})
    record = await rig.ended(await rig.submit({"text": "x" * 200}))
    assert record.state is AsyncState.FAILED
    assert record.attempts == 1, "another attempt would end the same way"
    assert record.error is not None
    assert record.error.code is ErrorCode.MODEL_PREDICT_ERROR
    assert record.error.message == "The result is 211 bytes; the limit is 100 bytes."


async def test_a_stream_over_the_limit_is_cut_off(rig: Rig):
    cut = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"40\r\n%b\r\n" % (b"x" * 64))
                await writer.drain()
        cut.set()

    async with listening(endless) as address:
        rig.slots.add(address)
        rig.dispatch(results={"max_bytes": 1000})
        record = await rig.ended(await rig.submit())
        assert record.error is not None
        assert record.error.message.startswith("The result is at least ")
        await asyncio.wait_for(cut.wait(), 10)


async def test_a_large_result_goes_to_a_file(rig: Rig, tmp_path):
    rig.dispatch(results={"url": tmp_path.as_uri(), "inline_bytes": 100})
    record = await rig.ended(await rig.submit({"text": "x" * 200}))
    assert record.result is not None
    assert record.result.data is None
    assert record.result.size == 211
    assert record.result.reference is not None
    assert (tmp_path / record.result.reference).read_bytes() == b'{"text":"%b"}' % (b"x" * 200)


async def test_a_result_that_cannot_be_kept_is_a_failed_attempt(rig: Rig, tmp_path):
    (tmp_path / "results").write_text("no folder")
    rig.dispatch(results={"url": (tmp_path / "results").as_uri(), "inline_bytes": 1})
    record = await rig.ended(await rig.submit(rules=AttemptRules(max_attempts=1)))
    assert record.state is AsyncState.FAILED
    assert record.error is not None
    assert record.error.code is ErrorCode.INTERNAL_SERVER_ERROR
    assert str(tmp_path) not in record.error.message
