"""One HTTP exchange: the request, and what is known of it so far."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

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


class Exchange:
    """What is known of a request so far, for whatever becomes of it.

    Attributes:
        scope, receive, send: ASGI's.
        method: of HTTP.
        path: raw, without the query.
        started: `time.monotonic()` when it arrived.
        life: its state and outcome.
        head: its headers, set first.
        directory: the routing table that it goes by, set once it is let in.
        reach: what its key may do, set with the directory.
        endpoint: the environment that it is about, where there is one.
        call: its call to that environment, where there is one.
    """

    __slots__ = (
        "call",
        "directory",
        "endpoint",
        "head",
        "life",
        "method",
        "path",
        "reach",
        "receive",
        "scope",
        "send",
        "started",
    )

    head: RequestHead
    directory: Directory
    reach: Reach

    def __init__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.started = time.monotonic()
        self.life = RequestLife()
        self.endpoint: Endpoint | None = None
        self.call: Call | None = None

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

    async def body(self, limit: int) -> Body:
        """The body, of at most `limit` bytes; raises `PayloadTooLarge`, `CallerGone`."""
        return await collect(self.receive, self.head.content_length, limit)

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
