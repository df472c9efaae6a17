"""Real receivers on loopback that do what a test wants, down to the bytes."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from multidict import CIMultiDict

from orchestrator.lifecycle.async_request import AsyncState, ErrorCode, WebhookStatus
from orchestrator.store.records import Delivery, Error, Record, Result

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[["Post", asyncio.StreamWriter], Awaitable[None]]

ID = "0123456789ab" + "c" * 20


@dataclass(frozen=True)
class Post:
    """What came."""

    line: str
    headers: CIMultiDict[str]
    body: bytes


class Receiver:
    """A server that keeps what comes.

    Attributes:
        posts: all of it.
        connections: how many were made, whatever came over them.
    """

    def __init__(self, answer: Answer) -> None:
        self.posts: list[Post] = []
        self.connections = 0
        self.port = 0
        self.scheme = "http"
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    def url(self, host: str = "127.0.0.1", path: str = "/hook") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def until(self, posts: int) -> None:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.posts) >= posts)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            post = await _read(reader)
            async with self._changed:
                self.posts.append(post)
                self._changed.notify_all()
            await self._answer(post, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(Exception):
                await writer.wait_closed()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Post:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = CIMultiDict(
        (name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:-2])
    )
    return Post(head[0], headers, await reader.readexactly(int(headers["content-length"])))


@contextlib.asynccontextmanager
async def receiving(
    answer: Answer, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """A receiver for as long as the context lasts."""
    receiver = Receiver(answer)
    server = await asyncio.start_server(receiver.serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    receiver.scheme = "https" if tls else "http"
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
        await server.wait_closed()


def saying(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """An answer that is always the same; underscores in names of headers are dashes."""

    async def answer(_post: Post, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Some reason", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return answer


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other; the last one for ever."""
    left = list(answers)

    async def answer(post: Post, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(post, writer)

    return answer


async def never(_post: Post, _writer: asyncio.StreamWriter) -> None:
    """No answer, until the test is over."""
    await asyncio.Event().wait()


def record(
    state: AsyncState = AsyncState.SUCCEEDED,
    data: bytes | None = b'{"a": 1}',
    content_type: str = "application/json",
    *,
    request_id: str = ID,
    reference: str | None = None,
    size: int | None = None,
    status_at: float = 1_782_907_200.25,
) -> Record:
    """A request that has ended."""
    result = None
    if state is AsyncState.SUCCEEDED and (data is not None or reference is not None):
        length = len(data or b"") if size is None else size
        result = Result(content_type, length, data, reference)
    return Record(
        request_id=request_id,
        model="echo",
        environment="production",
        deployment="v1",
        state=state,
        webhook_status=WebhookStatus.PENDING,
        created_at=1_782_907_199.0,
        status_at=status_at,
        priority=0,
        attempts=1,
        error=Error(ErrorCode.MODEL_PREDICT_ERROR, "it raised") if result is None else None,
        result=result,
    )


def delivery(url: str, attempt: int = 1, **facts: object) -> Delivery:
    """A webhook that is due."""
    known = record(**facts)  # type: ignore[arg-type]
    return Delivery(request_id=known.request_id, attempt=attempt, url=url, record=known)
