"""Sends what a model yields, chunk by chunk, as it comes."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, MutableMapping
from typing import TYPE_CHECKING, Any

from replicas.answers import encode

if TYPE_CHECKING:
    from concurrent.futures import Executor

logger = logging.getLogger("ray.serve")

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

EVENT_STREAM = b"text/event-stream"
_TEXT = b"text/plain; charset=utf-8"
_BYTES = b"application/octet-stream"
_EVENT_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_END = object()


class GeneratorChunks:
    """A plain generator as an asynchronous iterator, run in a pool of threads."""

    def __init__(self, generator: Generator[Any, Any, Any], pool: Executor) -> None:
        self._generator = generator
        self._pool = pool
        # Steps run in whatever thread is free, each on behalf of the same request.
        self._context = contextvars.copy_context()
        self._next: asyncio.Future[Any] | None = None

    def __aiter__(self) -> GeneratorChunks:
        return self

    async def __anext__(self) -> Any:
        loop = asyncio.get_running_loop()
        self._next = loop.run_in_executor(self._pool, self._context.run, self._step)
        # Shielded: a thread cannot be interrupted, and aclose() must wait for it.
        chunk = await asyncio.shield(self._next)
        if chunk is _END:
            raise StopAsyncIteration
        return chunk

    def _step(self) -> Any:
        return next(self._generator, _END)

    async def aclose(self) -> None:
        """Waits for the step that is running, then lets the generator clean up."""
        if self._next is not None and not self._next.done():
            await asyncio.wait({self._next})
        if self._next is not None and not self._next.cancelled():
            self._next.exception()  # looked at, so that nobody warns of it
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, self._context.run, self._generator.close)


def render(chunk: Any) -> tuple[bytes, bytes]:
    """The bytes of one chunk, and the content type that a stream of such chunks has.

    str and bytes go out as they are; what begins like a server-sent event makes
    the stream one of events. Anything else becomes one event, `data: <json>`.

    Raises:
        TypeError: the chunk cannot be written as JSON.
    """
    if isinstance(chunk, str):
        data = chunk.encode()
        return data, EVENT_STREAM if data.startswith(_EVENT_FIELDS) else _TEXT
    if isinstance(chunk, bytes | bytearray | memoryview):
        data = bytes(chunk)
        return data, EVENT_STREAM if data.startswith(_EVENT_FIELDS) else _BYTES
    return b"data: %b\n\n" % encode(chunk), EVENT_STREAM


async def send_stream(
    chunks: AsyncIterator[Any], send: Send, error_event: Callable[[Exception], bytes]
) -> None:
    """Sends `chunks` as one response; its type is that of the first chunk.

    If the model raises midway, the response is left incomplete: the server then
    cuts the connection without a clean end, and no client takes it for complete.

    Args:
        chunks: closed at the end, also when cancelled.
        send: the ASGI callable.
        error_event: is told what the model raised midway, and makes the last event out
            of it; only sent on a stream of events.

    Raises:
        Exception: what the model raised before its first chunk. Nothing was sent yet.
    """
    media_type: bytes | None = None
    try:
        async for chunk in chunks:
            data, rendered_as = render(chunk)
            if media_type is None:
                await send(_start(rendered_as))
                media_type = rendered_as
            await send({"type": "http.response.body", "body": data, "more_body": True})
    except Exception as error:
        if media_type is None:
            raise
        event = error_event(error)
        if media_type == EVENT_STREAM:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        logger.exception("the model raised in the middle of a stream")
        return
    finally:
        await _close(chunks)
    if media_type is None:
        await send(_start(_BYTES))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@functools.cache
def _start(media_type: bytes) -> dict[str, Any]:
    headers = [(b"content-type", media_type), (b"cache-control", b"no-store")]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def _close(chunks: AsyncIterator[Any]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()
