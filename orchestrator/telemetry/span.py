"""One span, as opentelemetry's exporters take it, built from what is known after the fact.

A `Tracer` would need a context, a processor and a lock for each; here a span is
made in one go, from a record of something that has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from orchestrator.release import version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"
"""The semantic conventions that the attributes follow."""

Attribute = str | int | float | bool

_NO_RESOURCE: Final = Resource.get_empty()
_NO_STATE: Final = TraceState()
_OK: Final = Status(StatusCode.UNSET)

# Whatever becomes a span is exported, so all of them are sampled.
_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)

_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)


SCOPE: Final = InstrumentationScope("orchestrator", version(), SCHEMA_URL)


class State(TraceState):
    """A tracestate that `trace_context.read` has checked; opentelemetry would check it again."""

    def __init__(self, header: str) -> None:
        super().__init__()
        self._dict = dict(member.split("=", 1) for member in header.split(",") if member)


class Span(ReadableSpan):
    """A span that has ended."""

    def __init__(
        self,
        name: str,
        *,
        trace_id: str,
        span_id: str,
        parent_id: str,
        kind: SpanKind,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, Attribute],
        remote_parent: bool = False,
        state: TraceState = _NO_STATE,
        links: Sequence[Link] = (),
        events: Sequence[Event] = (),
        error: str | None = None,
    ) -> None:
        """Makes it.

        Args:
            name: of the span.
            trace_id: 32 hexadecimal digits.
            span_id: 16 hexadecimal digits.
            parent_id: 16 hexadecimal digits; empty: it is the root.
            kind: opentelemetry's.
            start_ns: Unix time in nanoseconds.
            end_ns: the same.
            attributes: by name.
            remote_parent: whether the parent is a span of another process.
            state: of the trace.
            links: to other spans.
            events: in order.
            error: what went wrong; None: nothing did.
        """
        trace = int(trace_id, 16)
        super().__init__(
            name,
            SpanContext(trace, int(span_id, 16), False, _FLAGS, state),
            SpanContext(trace, int(parent_id, 16), remote_parent, _FLAGS, state)
            if parent_id
            else None,
            _NO_RESOURCE,
            attributes,
            events,
            links,
            kind,
            None,
            _OK if error is None else Status(StatusCode.ERROR, error or None),
            start_ns,
            # Two clocks, or a clock that was set back, must not make it negative.
            max(start_ns, end_ns),
            SCOPE,
        )

    def made_by(self, resource: Resource) -> None:
        """Says what made it: the process, which whoever builds spans need not know."""
        self._resource = resource


def link(trace_id: str, span_id: str, **attributes: Attribute) -> Link:
    """A link to a span of another process."""
    context = SpanContext(int(trace_id, 16), int(span_id, 16), True, _FLAGS)
    return Link(context, attributes)


def event(name: str, at_ns: int, attributes: Mapping[str, Attribute] | None = None) -> Event:
    """Something that happened at a moment, in Unix nanoseconds."""
    return Event(name, dict(attributes) if attributes else None, at_ns)


def nanoseconds(seconds: float) -> int:
    """Seconds as opentelemetry counts them."""
    return round(seconds * 1e9)


def http_method(method: str) -> dict[str, Attribute]:
    """The attributes of a method: the conventions close the set of its values."""
    if method in _METHODS:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER", "http.request.method_original": method[:32]}


def server_of(address: str) -> dict[str, Attribute]:
    """The attributes of `http://host:port`, and nothing of its path, query or user.

    An address that is none has no attributes.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return {}
    if not host:
        return {}
    found: dict[str, Attribute] = {"server.address": host, "url.scheme": parts.scheme}
    if port is None:
        port = {"http": 80, "https": 443}.get(parts.scheme)
    return found if port is None else found | {"server.port": port}
