"""One attempt: the request's input to a replica, and what came of it.

An attempt decides nothing about the request. It ends in one `Outcome`, which
`orchestrator.dispatcher.settling` reports to the store.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.lifecycle.async_request import ErrorCode, error_of_status
from orchestrator.router.connection import BodyCut, ConnectionFailed
from orchestrator.router.headers import REJECT

if TYPE_CHECKING:
    from orchestrator.dispatcher.trails import Trail
    from orchestrator.router.connection import Connection
    from orchestrator.router.upstream import UpstreamPool
    from orchestrator.store.records import Claim

CONNECT_S: Final = 5.0
"""How long a connection to a replica may take to be made."""

SENTENCE_CHARACTERS: Final = 500
"""Of a model's own error that are kept."""

_ERROR_BODY_BYTES: Final = 256 * 1024
"""Of an error's body that are read: its sentence is at the start of one of our shape."""


class Answered(msgspec.Struct, frozen=True):
    """The model's answer, whole."""

    content_type: str
    data: bytes


class Failed(msgspec.Struct, frozen=True):
    """No answer.

    Attributes:
        code: kind of failure.
        message: a sentence.
        kind: as `Attempt.failure` has it; empty: the replica did not fail.
        final: another attempt would end the same way.
        unreachable: no answer's head came: the replica may be gone.
    """

    code: ErrorCode
    message: str
    kind: str = ""
    final: bool = False
    unreachable: bool = False


class NotRun(msgspec.Struct, frozen=True):
    """The replica had no room for it, or this process is to end: that was no attempt.

    Attributes:
        pause_s: before it may be tried again.
    """

    pause_s: float = 0.0


Outcome = Answered | Failed | NotRun


def followed(claim: Claim, failure: Failed) -> bool:
    """Whether another attempt follows one that failed so."""
    return not failure.final and claim.rules.again(claim.attempt, failure.code)


class Limits(msgspec.Struct, frozen=True):
    """What an attempt may take: seconds in all, and bytes of its result."""

    run_s: float
    max_bytes: int


class _Error(msgspec.Struct):
    """What is read of an error body of our shape."""

    error: str


_decode_error = msgspec.json.Decoder(_Error).decode


async def attempt(pool: UpstreamPool, path: str, limits: Limits, trail: Trail) -> Outcome:
    """Runs a claimed request on a replica. Being cancelled closes the connection.

    Args:
        pool: connections to replicas.
        path: of predictions on the replica.
        limits: of this attempt.
        trail: of its run: says which request and which replica, and learns how it went.
    """
    address = trail.run.tried.address
    try:
        async with asyncio.timeout(limits.run_s):
            connection = pool.take(address)
            if connection is not None:
                try:
                    return await _exchange(pool, connection, path, limits, trail)
                except ConnectionFailed as error:
                    if not error.reused:
                        raise
                    # The replica may only have closed what idled; a new connection shows.
            connection = await pool.connect(address, min(CONNECT_S, limits.run_s))
            return await _exchange(pool, connection, path, limits, trail)
    except TimeoutError:
        sentence = f"The model did not finish within {limits.run_s:g} s."
        return Failed(ErrorCode.MODEL_PREDICT_TIMEOUT, sentence, "timeout")
    except ConnectionFailed as error:
        sentence = f"The replica failed: {error}."
        return Failed(ErrorCode.MODEL_UNAVAILABLE, sentence, "connection", unreachable=True)
    except BodyCut as error:
        sentence = f"The replica broke off in the middle of its answer: {error}."
        return Failed(ErrorCode.MODEL_UNAVAILABLE, sentence, "cut")


async def _exchange(
    pool: UpstreamPool,
    connection: Connection,
    path: str,
    limits: Limits,
    trail: Trail,
) -> Outcome:
    body = trail.claim.input
    head = _head(connection, path, limits.run_s, trail)
    try:
        connection.send(head, (body,), len(body), head_only=False)
        await connection.head_received()
        trail.head(connection.status)
        code = error_of_status(connection.status)
        if code is None:
            return await _result(connection, limits.max_bytes)
        if connection.status == 503 and any(name == REJECT for name, _ in connection.headers):
            return NotRun()
        return Failed(code, await _sentence(connection), "status")
    finally:
        # Closes it, unless its answer has been read to the end.
        pool.give_back(connection)


async def _result(connection: Connection, max_bytes: int) -> Outcome:
    headers = dict(connection.headers)
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > max_bytes:
        return _too_large(f"is {int(declared)} bytes", max_bytes)
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    if connection.complete:
        data = connection.take()
        if len(data) > max_bytes:
            return _too_large(f"is {len(data)} bytes", max_bytes)
        return Answered(content_type, data)
    size = 0
    chunks = []
    while chunk := await connection.read():
        size += len(chunk)
        if size > max_bytes:
            return _too_large(f"is at least {size} bytes", max_bytes)
        chunks.append(chunk)
    return Answered(content_type, b"".join(chunks))


def _too_large(known: str, limit: int) -> Failed:
    sentence = f"The result {known}; the limit is {limit} bytes."
    return Failed(ErrorCode.MODEL_PREDICT_ERROR, sentence, final=True)


async def _sentence(connection: Connection) -> str:
    """The error's own sentence where its body has our shape, else one of ours."""
    size = 0
    chunks = []
    try:
        while size <= _ERROR_BODY_BYTES and (chunk := await connection.read()):
            size += len(chunk)
            chunks.append(chunk)
        sentence = _decode_error(b"".join(chunks)).error
    except (BodyCut, msgspec.DecodeError, UnicodeDecodeError):
        sentence = ""
    if not sentence:
        return f"The model answered with status {connection.status}."
    if len(sentence) > SENTENCE_CHARACTERS:
        return f"{sentence[: SENTENCE_CHARACTERS - 1]}…"
    return sentence


def _head(connection: Connection, path: str, left_s: float, trail: Trail) -> bytes:
    identity = trail.claim.request_id
    lines = (
        f"POST {path} HTTP/1.1\r\n"
        "content-type: application/json\r\n"
        f"x-request-id: {identity}\r\n"
        f"x-baseten-request-id: {identity}\r\n"
        f"request-timeout-ms: {max(1, int(left_s * 1000))}\r\n"
        f"content-length: {len(trail.claim.input)}\r\n"
    )
    return b"%b%b%bhost: %b\r\n\r\n" % (
        lines.encode("latin-1", "replace"),
        connection.proof,
        trail.lines(),
        connection.host,
    )
