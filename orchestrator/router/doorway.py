"""The outermost layer of the router's HTTP server, before Ray Serve's own.

Named in `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`, it does what cannot be done
further in:

* Serve echoes the request's `x-request-id`, or makes one. Here the request gets
  the id that the router goes by, so that both say the same.
* Serve watches every caller with two tasks per request, and cancels ours when the
  caller goes. The router watches by itself, and only requests that take a while,
  so Serve is told not to (`x-request-disconnect-disabled`, a header of its own).
* Serve lets callers set its time limit (`x-request-timeout-seconds`), which answers
  in its own words; the router's are `Request-Timeout-Ms` and `Request-Deadline-Ms`.

Without it the router works too: slower, and with Serve's choice of ids.

Serve starts an HTTP server for the first deployment of every application, also where it
has no route. Those of ours, which other nodes can reach, answer 404 whatever is asked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from ray import serve
from ray.serve.exceptions import RayServeException
from starlette.middleware import Middleware

from orchestrator.router.headers import BASETEN_REQUEST_ID, REQUEST_ID
from orchestrator.router.identity import RequestIds, sane

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.router.body import Receive
    from orchestrator.router.responses import Send

IMPORT_PATH: Final = "orchestrator.router.doorway:middlewares"
"""For `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`, on every node."""

_OURS_TO_SAY: Final = frozenset(
    {REQUEST_ID, b"x-request-disconnect-disabled", b"x-request-timeout-seconds"}
)
_WITHOUT_ROUTE: Final = {
    "Queue": "orchestrator.environment",
    "Dispatcher": "orchestrator.dispatcher",
    "Observatory": "orchestrator.observatory",
}
"""Deployments of ours that Serve starts an HTTP server for, each with a module that it is from."""

_EMPTY: Final = ((b"content-length", b"0"),)
_DO_NOT_WATCH: Final = (b"x-request-disconnect-disabled", b"?1")


class Doorway:
    """ASGI middleware; see the module."""

    def __init__(
        self, app: Callable[[Any, Any, Any], Awaitable[None]], *, watched_inside: bool
    ) -> None:
        """Wraps an application.

        Args:
            app: what is further in.
            watched_inside: the application notices by itself when its caller goes.
        """
        self._app = app
        self._watched_inside = watched_inside
        self._ids = RequestIds()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            scope["headers"] = self._headers(scope["headers"])
        await self._app(scope, receive, send)

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = other = None
        kept = []
        for header in headers:
            name = header[0]
            if name in _OURS_TO_SAY:
                if name == REQUEST_ID and given is None and sane(header[1]):
                    given = header[1]
                continue
            if name == BASETEN_REQUEST_ID and other is None and sane(header[1]):
                other = header[1]
            kept.append(header)
        kept.append((REQUEST_ID, given or other or self._ids.new()))
        if self._watched_inside:
            kept.append(_DO_NOT_WATCH)
        return kept


class Closed:
    """ASGI middleware that lets nobody in."""

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        """Wraps an application, which is never asked."""

    async def __call__(self, scope: Any, _receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": _EMPTY})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close", "code": 1008})


def middlewares() -> list[Middleware]:
    """What Serve calls when it starts an HTTP server, in a replica or in its own proxy."""
    try:
        context = serve.get_replica_context()
    except RayServeException:
        # Serve's proxy, which stands in while no router lives: it has to watch.
        return [Middleware(Doorway, watched_inside=False)]
    # The process of another application's deployment of that name has no such module.
    if _WITHOUT_ROUTE.get(context.deployment) in sys.modules:
        return [Middleware(Closed)]
    return [Middleware(Doorway, watched_inside=True)]
