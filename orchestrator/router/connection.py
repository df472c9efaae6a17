"""One connection to a replica: HTTP/1.1 with the parser of httptools.

`send` → `head_received` → `read` to the end, any number of times (see
`orchestrator.router.upstream`, which hands connections out). It is used by one coroutine
at a time. Bytes that the caller does not take are bounded: above `READ_AHEAD_BYTES` the
socket is not read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import httptools

from orchestrator.lost_links import GONE, Link
from orchestrator.router.headers import REJECT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.cluster_secret import ClusterSecret

Headers = list[tuple[bytes, bytes]]

READ_AHEAD_BYTES: Final = 256 * 1024
HEAD_LIMIT_BYTES: Final = 64 * 1024
COALESCE_BYTES: Final = 16 * 1024
"""Bodies up to this size are written in one piece with the head."""

HIGHEST_STATUS: Final = 599

_BEFORE_THE_MODEL: Final = {
    403: "it does not accept the cluster's secret",
    502: "its model server cannot be reached",
}
"""Statuses of answers with `REJECT` that say that no model was asked, and why.

They are facts between us and the replica: passed on, a 403 would blame the caller's key.
"""


class UpstreamError(Exception):
    """The exchange with a replica broke."""


class ConnectionFailed(UpstreamError):  # noqa: N818 - a fact, like its neighbours
    """No head of a model's answer came: refused, reset, closed, or not HTTP.

    Attributes:
        reused: whether the connection had served before, so that the replica may
            just have closed it for being idle.
    """

    def __init__(self, reason: str, *, reused: bool = False) -> None:
        super().__init__(reason)
        self.reused = reused


class BodyCut(UpstreamError):  # noqa: N818
    """The answer's body broke off."""


class Connection(asyncio.Protocol):
    """One connection to a replica.

    Attributes:
        address: base URL of the replica.
        host: for the `host` header.
        status: of the answer, once `head_received` returned.
        headers: of the answer, names in lower case, as they came.
        complete: whether the whole answer is here (or has been read).
    """

    def __init__(
        self,
        address: str,
        host: bytes,
        secret: ClusterSecret | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.address = address
        self.host = host
        self._secret = secret
        self.idle_since = 0.0
        self.status = 0
        self.headers: Headers = []
        self.complete = True
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._head_size = 0
        self._head_done = False
        self._head_only = False
        self._until_close = True
        self._keep_alive = True
        self._paused = False
        self._exchanges = 0
        self._failure: str | None = None
        self._vanished = False
        self._link: Link | None = None

    # What the exchange's user calls.

    @property
    def proof(self) -> bytes:
        """Header line with the cluster's present secret; empty where none is to be sent."""
        secret = self._secret
        return b"" if secret is None else secret.line

    def watch_link(self) -> None:
        """Ends it when the replica's machine is gone, which else nobody may say."""
        if self._transport is not None:
            self._link = Link(self._transport, self._loop)

    def send(self, head: bytes, body: Iterable[bytes], size: int, *, head_only: bool) -> None:
        """Begins an exchange: writes a request.

        Args:
            head: request line and headers with the blank line after them.
            body: its pieces; they are not copied unless they are small.
            size: their length together.
            head_only: the answer has no body, whatever its headers say (HEAD).
        """
        self.status = 0
        self.headers = []
        self.complete = False
        self._chunks = []
        self._buffered = 0
        self._head_size = 0
        self._head_done = False
        self._head_only = head_only
        self._until_close = True
        self._exchanges += 1
        transport = self._transport
        if transport is None:
            return  # connection_lost has set the failure
        if size <= COALESCE_BYTES:
            transport.write(b"".join((head, *body)))
        else:
            if self._link is not None:
                self._link.carries_much(self._vanish)
            transport.write(head)
            for piece in body:
                transport.write(piece)

    async def head_received(self) -> None:
        """Waits for the answer's status and headers.

        Raises:
            ConnectionFailed: they will not come.
        """
        while not self._head_done:
            if self._failure is not None:
                raise ConnectionFailed(self._failure, reused=self._reused)
            await self._wait()
        reason = _BEFORE_THE_MODEL.get(self.status)
        if reason is not None and any(name == REJECT for name, _ in self.headers):
            raise ConnectionFailed(reason)

    async def read(self) -> bytes:
        """The next bytes of the body, all that are there; empty at its end.

        Raises:
            BodyCut: the rest will not come.
        """
        while not self._chunks:
            if self.complete:
                return b""
            if self._failure is not None:
                raise BodyCut(self._failure)
            await self._wait()
        return self.take()

    def take(self) -> bytes:
        """The bytes of the body that are there now."""
        chunks = self._chunks
        self._chunks = []
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def abort(self) -> None:
        """Closes at once: the replica sees its caller go."""
        self.complete = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow on it."""
        return (
            self.complete
            and self._keep_alive
            and self._failure is None
            and self._transport is not None
            and not self._transport.is_closing()
            # Answered before it had read the whole request: the rest is still to go.
            and self._transport.get_write_buffer_size() == 0
        )

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio."""
        # Not checked with isinstance: uvloop's transports have no part in asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        if self.complete:
            # Nobody asked: an idle connection must stay silent.
            self._fail("the replica sent bytes that nobody asked for")
            return
        if not self._head_done:
            self._head_size += len(data)
            # A first packet may carry body too, so only a second one is suspect.
            if self._head_size - len(data) > HEAD_LIMIT_BYTES:
                self._fail("the answer's head is over 64 KiB")
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("the replica switched protocols")
        except httptools.HttpParserError as error:
            if not self.complete:
                self._fail(f"the answer is not HTTP ({error})")
        if self._buffered > READ_AHEAD_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        if self._head_done or self._failure is not None:
            self._notify()

    def eof_received(self) -> bool:
        """Of asyncio."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio."""
        self._transport = None
        if isinstance(exc, OSError) and exc.errno in GONE:
            self._vanish()
        if not self.complete:
            if self._head_done and self._until_close and exc is None:
                # A body without a length ends with its connection.
                self.complete = True
            elif self._failure is None:
                self._failure = f"the connection was lost ({exc})" if exc else "it hung up"
        elif self._failure is None:
            self._failure = "it hung up"
        self._notify()

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of httptools."""
        if self._head_done:
            return  # a trailer
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._until_close = False
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Of httptools."""
        if self._head_done:
            # A second answer to one request: the first one stands, the connection does not.
            self._failure = "the replica answered twice"
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []
            self._until_close = True
            return
        if status > HIGHEST_STATUS:
            # Raising would end up as a parser's error with less to say.
            self._failure = f"the answer's status is {status}"
            self._keep_alive = False
            return
        self.status = status
        self._head_done = True
        if self._head_only:
            self._finish()
            # This parser goes on to expect a body.
            self._parser = httptools.HttpResponseParser(self)

    def on_body(self, body: bytes) -> None:
        """Of httptools."""
        if not self.complete:
            self._chunks.append(body)
            self._buffered += len(body)

    def on_message_complete(self) -> None:
        """Of httptools."""
        if self._head_done and not self.complete:
            self._finish()

    def _finish(self) -> None:
        self.complete = True
        self._keep_alive = self._parser.should_keep_alive()

    @property
    def _reused(self) -> bool:
        """Whether the replica may only have closed it for being idle."""
        return self._exchanges > 1 and not self._vanished

    def _vanish(self) -> None:
        self._vanished = True
        self._fail("its machine does not answer")

    def _fail(self, reason: str) -> None:
        self._failure = reason
        if self._transport is not None:
            self._transport.abort()
        self._notify()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _notify(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
