"""Headers: what the router reads of a request, what it passes on, and what it adds.

Passed on both ways are all headers except the hop-by-hop ones (RFC 9110, 7.6.1:
the fixed list, and whatever `Connection` lists), the length (it is stated anew),
and towards the replica the caller's credentials, its deadline, and its place in a
trace: each attempt gets one of its own. The cluster's secret passes neither way: each
attempt brings ours, and a replica has no business with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator import cluster_secret
from orchestrator.lifecycle.errors import BadRequest
from orchestrator.router.identity import RequestIds, sane
from orchestrator.telemetry import trace_context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.lifecycle.request import RequestLife
    from orchestrator.telemetry.trace_context import TraceContext

RawHeaders = list[tuple[bytes, bytes]]

TIMEOUT_MS: Final = b"request-timeout-ms"
DEADLINE_MS: Final = b"request-deadline-ms"
REQUEST_ID: Final = b"x-request-id"
BASETEN_REQUEST_ID: Final = b"x-baseten-request-id"
REJECT: Final = b"x-orchestrator-reject"

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

CREDENTIALS: Final = frozenset({b"authorization", b"proxy-authorization", b"x-api-key"})

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
BAGGAGE: Final = b"baggage"

FORWARDED_FOR: Final = b"x-forwarded-for"
FORWARDED_PROTO: Final = b"x-forwarded-proto"
FORWARDED_HOST: Final = b"x-forwarded-host"

_READ: Final = frozenset(
    {
        b"authorization",
        b"connection",
        b"content-length",
        b"host",
        TIMEOUT_MS,
        DEADLINE_MS,
        REQUEST_ID,
        BASETEN_REQUEST_ID,
        FORWARDED_FOR,
        FORWARDED_PROTO,
        FORWARDED_HOST,
        TRACEPARENT,
        TRACESTATE,
        BAGGAGE,
    }
)
_OF_THE_SERVER: Final = frozenset(
    {b"expect", b"x-request-disconnect-disabled", b"x-request-timeout-seconds"}
)
NOT_TO_REPLICA: Final = (
    HOP_BY_HOP | CREDENTIALS | _READ | _OF_THE_SERVER | {REJECT, cluster_secret.HEADER}
)

_SAID_BY_US: Final = frozenset(
    {
        # The server that carries the answer states its own; two would contradict.
        b"date",
        b"server",
        REQUEST_ID,
        BASETEN_REQUEST_ID,
        b"x-baseten-model-prediction-attempts",
        b"x-queue-wait-ms",
        b"x-cold-start",
        REJECT,
        cluster_secret.HEADER,
    }
)
NOT_TO_CALLER: Final = HOP_BY_HOP | _SAID_BY_US

_PLAIN_CONNECTION: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})
_ONE_ATTEMPT: Final = (b"x-baseten-model-prediction-attempts", b"1")
_NO_WAIT: Final = (b"x-queue-wait-ms", b"0")
_COLD_START: Final = (b"x-cold-start", b"true")

_MOST_DIGITS: Final = 15
"""Of a number of milliseconds: beyond that it is no time any more."""


class RequestHead:
    """A request's headers, read once.

    Attributes:
        authorization: its value; None if absent or given twice.
        content_length: bytes; None if not declared.
        host: the Host header.
        request_id: the caller's (sane) id, or a new one.
        passed: the headers for the replica, as they go onto the wire.
        trace: where the caller is in a trace; None: nowhere, or it is not said well.
        baggage: as it came; None: none did.
    """

    __slots__ = (
        "_deadline_ms",
        "_timeout_ms",
        "authorization",
        "baggage",
        "content_length",
        "host",
        "passed",
        "request_id",
        "trace",
    )

    def __init__(self, scope: Any, ids: RequestIds) -> None:
        read: dict[bytes, bytes] = {}
        lines: list[bytes] = []
        add = lines.extend
        headers: RawHeaders = scope["headers"]
        for name, value in headers:
            if name not in NOT_TO_REPLICA:
                add((name, b": ", value, b"\r\n"))
            elif name in _READ:
                read[name] = value if name not in read else _twice(name, read[name], value)
        connection = read.get(b"connection")
        if connection is not None and connection not in _PLAIN_CONNECTION:
            listed = listed_by(connection)
            lines = [
                part
                for name, value in headers
                if name not in NOT_TO_REPLICA and name not in listed
                for part in (name, b": ", value, b"\r\n")
            ]
            add = lines.extend
        self.authorization = read.get(b"authorization")
        self.baggage = read.get(BAGGAGE)
        parent = read.get(TRACEPARENT)
        self.trace: TraceContext | None = (
            None if parent is None else trace_context.read(parent, read.get(TRACESTATE))
        )
        self.host = read.get(b"host", b"")
        length = read.get(b"content-length")
        # The server has checked that it is a number.
        self.content_length = int(length) if length is not None else None
        self._timeout_ms = read.get(TIMEOUT_MS)
        self._deadline_ms = read.get(DEADLINE_MS)
        self.request_id = request_id = _identity(read, ids)
        client = scope.get("client")
        peer = client[0].encode("ascii", "replace") if client else b"unknown"
        add(
            (
                b"x-request-id: ",
                request_id,
                b"\r\nx-baseten-request-id: ",
                request_id,
                b"\r\nx-forwarded-for: ",
                _with_peer(read.get(FORWARDED_FOR), peer),
                b"\r\nx-forwarded-proto: ",
                read.get(FORWARDED_PROTO) or scope["scheme"].encode("ascii"),
                b"\r\nx-forwarded-host: ",
                read.get(FORWARDED_HOST) or self.host,
                b"\r\n",
            )
        )
        self.passed = b"".join(lines)

    def deadline(self, now: float, wall_ms: float) -> tuple[float, str] | None:
        """The caller's deadline and the header that set it; None: it gave none.

        Args:
            now: `time.monotonic()`; the deadline is on the same clock.
            wall_ms: milliseconds since 1970, for `Request-Deadline-Ms`.

        Raises:
            BadRequest: a header has no sensible value.
        """
        if self._timeout_ms is None and self._deadline_ms is None:
            return None
        found: list[tuple[float, str]] = []
        if self._timeout_ms is not None:
            timeout = _milliseconds("Request-Timeout-Ms", self._timeout_ms)
            found.append((now + timeout / 1000, "Request-Timeout-Ms"))
        if self._deadline_ms is not None:
            deadline = _milliseconds("Request-Deadline-Ms", self._deadline_ms)
            found.append((now + (deadline - wall_ms) / 1000, "Request-Deadline-Ms"))
        return min(found)


def context_lines(head: RequestHead, *, forward_baggage: bool) -> bytes:
    """What goes to a replica of the caller's trace beside `traceparent`, as on the wire."""
    lines = b""
    if head.trace is not None and head.trace.tracestate:
        lines = b"tracestate: %b\r\n" % head.trace.tracestate
    if forward_baggage and head.baggage is not None:
        baggage = trace_context.baggage(head.baggage)
        if baggage is not None:
            lines += b"baggage: %b\r\n" % baggage
    return lines


def listed_by(connection: bytes) -> frozenset[bytes]:
    """The header names that a Connection header declares hop-by-hop."""
    return frozenset(name.strip().lower() for name in connection.split(b","))


def to_caller(headers: Iterable[tuple[bytes, bytes]], *, bodiless: bool) -> RawHeaders:
    """A replica's response headers, as they go on to the caller.

    Args:
        headers: names in lower case.
        bodiless: the status rules out a body (204, 304): a length would promise one.
    """
    passed = [header for header in headers if header[0] not in NOT_TO_CALLER]
    for name, value in headers:
        if name == b"connection" and value not in _PLAIN_CONNECTION:
            listed = listed_by(value) - {b"content-length"}
            passed = [header for header in passed if header[0] not in listed]
    if bodiless:
        passed = [header for header in passed if header[0] != b"content-length"]
    return passed


def own_headers(life: RequestLife, request_id: bytes, *, says_id: bool) -> RawHeaders:
    """What the router adds to every answer to a call, its own errors included."""
    headers: RawHeaders = [
        (BASETEN_REQUEST_ID, request_id),
        _ONE_ATTEMPT
        if life.attempts == 1
        else (b"x-baseten-model-prediction-attempts", b"%d" % life.attempts),
        (b"x-queue-wait-ms", b"%d" % (life.waited_s * 1000)) if life.waited_s else _NO_WAIT,
    ]
    if says_id:
        headers.append((REQUEST_ID, request_id))
    if life.cold_start:
        headers.append(_COLD_START)
    return headers


def is_event_stream(headers: RawHeaders) -> bool:
    """Whether an event can be added to this answer's body."""
    names = dict(headers)
    return (
        names.get(b"content-type", b"").lower().startswith(b"text/event-stream")
        and b"content-encoding" not in names
        and b"content-length" not in names
    )


def _with_peer(forwarded_for: bytes | None, peer: bytes) -> bytes:
    if forwarded_for is None:
        return peer
    # uvicorn takes the last of them for the peer where a trusted proxy sent them.
    if forwarded_for.rpartition(b",")[2].strip() == peer:
        return forwarded_for
    return forwarded_for + b", " + peer


def _twice(name: bytes, first: bytes, second: bytes) -> bytes:
    if name in (b"connection", FORWARDED_FOR):
        return first + b", " + second
    if name in (TIMEOUT_MS, DEADLINE_MS):
        return first + b", " + second  # no number, so it is refused where it is read
    if name in (TRACEPARENT, TRACESTATE, BAGGAGE):
        # A traceparent with a comma is none: which of two would be meant?
        return first + b"," + second
    if name == b"authorization":
        return b""  # which one is meant? none, then
    return first


def _identity(read: dict[bytes, bytes], ids: RequestIds) -> bytes:
    for name in (REQUEST_ID, BASETEN_REQUEST_ID):
        given = read.get(name)
        if given is not None and sane(given):
            return given
    return ids.new()


def _milliseconds(name: str, value: bytes) -> int:
    stripped = value.strip()
    milliseconds = int(stripped) if stripped.isdigit() and len(stripped) <= _MOST_DIGITS else 0
    if milliseconds <= 0:
        shown = value[:40].decode("latin-1")
        raise BadRequest(name, f"a whole number of milliseconds above 0 is needed, not {shown!r}")
    return milliseconds
