"""One HTTP exchange: the request, and what is known of it so far."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.errors import DeadlineExceeded, MethodNotAllowed
from orchestrator.lifecycle.request import RequestLife
from orchestrator.router import openai
from orchestrator.router.body import collect
from orchestrator.router.responses import Shape

if TYPE_CHECKING:
    from orchestrator.router.auth import Reach
    from orchestrator.router.body import Body, Receive
    from orchestrator.router.call import Call
    from orchestrator.router.directory import Directory
    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.headers import RequestHead
    from orchestrator.router.responses import Send
    from orchestrator.router.trail import Trail


CALL: Final = "call"
SUBMIT: Final = "submit"
OTHER: Final = "other"
"""Kinds of requests, as timelines name them."""


class Exchange:
    """What is known of a request so far, for whatever becomes of it.

    Attributes:
        scope, receive, send: ASGI's.
        method: of HTTP.
        path: raw, without the query.
        started: `time.monotonic()` when it arrived.
        began: the same moment as Unix time.
        life: its state and outcome.
        head: its headers, set first.
        directory: the routing table that it goes by, set once it is let in.
        reach: what its key may do, set with the directory.
        key: prefix of its key; empty: it has none, or not a valid one.
        endpoint: the environment that it is about, where there is one.
        call: its call to that environment, where there is one and while it goes on.
        trail: of that call.
        public: whether nobody's key is asked for there.
        kind: what it is, as a timeline says it: `call`, `submit` or `other`.
        operation: GenAI's name of what is asked for; empty: unknown.
        async_id: of the asynchronous request that it handed over; empty: none.
        status: of an answer of the router's own, 0 before.
        bytes_in: of its body, as far as it was read.
        bytes_out: of the body of an answer of the router's own.
        trace_id, span_id: of its trace and of its own span there, hexadecimal.
        attempt_id: of the span of its first attempt.
        submit_id: of the span that hands it over; empty: none does.
        flags: of the trace, as replicas are told.
        sampled: whether its trace was to be exported from the beginning.
    """

    __slots__ = (
        "async_id",
        "attempt_id",
        "began",
        "bytes_in",
        "bytes_out",
        "call",
        "directory",
        "endpoint",
        "flags",
        "head",
        "key",
        "kind",
        "life",
        "method",
        "operation",
        "path",
        "public",
        "reach",
        "receive",
        "sampled",
        "scope",
        "send",
        "span_id",
        "started",
        "status",
        "submit_id",
        "trace_id",
        "trail",
    )

    head: RequestHead
    directory: Directory
    reach: Reach
    trace_id: bytes
    span_id: bytes
    attempt_id: bytes
    flags: int

    def __init__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.started = time.monotonic()
        self.began = time.time()
        self.life = RequestLife()
        self.key = ""
        self.endpoint: Endpoint | None = None
        self.call: Call | None = None
        self.trail: Trail | None = None
        self.kind = OTHER
        self.public = False
        self.operation = ""
        self.async_id = ""
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.submit_id = b""
        self.sampled = False

    @property
    def shape(self) -> Shape:
        """What errors look like to the client that asks at such an address."""
        return Shape.OPENAI if openai.is_spoken_at(self.path) else Shape.OURS

    @property
    def query(self) -> bytes:
        """What follows the question mark, raw."""
        query: bytes = self.scope["query_string"]
        return query

    def demand_method(self, *allowed: str) -> None:
        """Raises `MethodNotAllowed` for any other method."""
        if self.method not in allowed:
            raise MethodNotAllowed(self.method, allowed)

    async def send_noting(self, message: Any) -> None:
        """Sends on what somebody else answers, and notes its status and size."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.bytes_out += len(message.get("body", b""))
        await self.send(message)

    async def body(self, limit: int) -> Body:
        """The body, of at most `limit` bytes; raises `PayloadTooLarge`, `CallerGone`."""
        body = await collect(self.receive, self.head.content_length, limit)
        self.bytes_in = body.size
        return body

    def deadline(self) -> tuple[float, str] | None:
        """The caller's deadline on `time.monotonic()`, and the header that set it.

        Raises:
            BadRequest: such a header has no sensible value.
            DeadlineExceeded: there is no time left to run in.
        """
        now = time.monotonic()
        deadline = self.head.deadline(now, time.time() * 1000)
        if deadline is not None and deadline[0] <= now:
            raise DeadlineExceeded(deadline[1], 0)
        return deadline
