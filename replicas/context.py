"""On whose behalf a model is running: for its own logs, and to continue the trace.

To be called from a model's `predict`, in whatever thread that runs, or from its
`app`. A thread that the model starts itself knows of no request, unless it runs in
a copy of the context (`contextvars.copy_context`, `asyncio.to_thread`).

    from opentelemetry.propagate import extract
    from replicas import context

    parent = extract({"traceparent": context.traceparent(), "tracestate": context.tracestate()})
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from orchestrator.telemetry.logs import LogContext, current

if TYPE_CHECKING:
    from collections.abc import Sequence

    Headers = Sequence[tuple[bytes, bytes]]

_TRACEPARENT_BYTES: Final = 55

_headers: Final[ContextVar[Headers]] = ContextVar("replica_request_headers", default=())


def request_id() -> str:
    """The id of the request; empty outside of one."""
    about = current.get()
    return "" if about is None else about.request_id


def traceparent() -> str:
    """The W3C header for calls that the model makes for the request; empty outside of one."""
    return _header(b"traceparent")


def tracestate() -> str:
    """The header that goes with `traceparent`; empty where there is none."""
    return _header(b"tracestate")


def enter(headers: Headers) -> None:
    """The running task serves the request with these headers from now on."""
    request = parent = b""
    for name, value in headers:
        if name == b"traceparent":
            parent = value
        elif name == b"x-request-id":
            request = value
    digits = parent.decode("latin-1") if len(parent) == _TRACEPARENT_BYTES else ""
    current.set(LogContext(request.decode("latin-1"), digits[3:35], digits[36:52]))
    _headers.set(headers)


def _header(wanted: bytes) -> str:
    return b",".join(value for name, value in _headers.get() if name == wanted).decode("latin-1")
