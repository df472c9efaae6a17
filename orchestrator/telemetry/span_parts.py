"""What spans of several kinds have in common: whom they are about, waits, attempts, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.trace import SpanKind

from orchestrator.telemetry.span import (
    Attribute,
    Span,
    event,
    http_method,
    link,
    nanoseconds,
    server_of,
)
from orchestrator.telemetry.trace_context import start_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import Event
    from opentelemetry.trace.span import TraceState

    from orchestrator.telemetry.timeline import Attempt, Wait

_ANSWERED: Final = "answered"


def about_of(
    request_id: str, model: str, environment: str, deployment: str
) -> dict[str, Attribute]:
    """The attributes of what a span is about; what is empty is left out."""
    about: dict[str, Attribute] = {}
    if request_id:
        about["orchestrator.request_id"] = request_id
    if model:
        about["orchestrator.model"] = model
    if environment:
        about["orchestrator.environment"] = environment
    if deployment:
        about["orchestrator.deployment"] = deployment
    return about


def messaging(
    kind: str, name: str, model: str, environment: str, message_id: str
) -> dict[str, Attribute]:
    """The attributes of something that is done with an asynchronous request.

    Args:
        kind: the conventions' name of the operation, `send` or `process`.
        name: this system's.
        model: the request's.
        environment: the request's.
        message_id: of the asynchronous request.
    """
    return {
        "messaging.system": "orchestrator",
        "messaging.operation.type": kind,
        "messaging.operation.name": name,
        "messaging.destination.name": f"{model}/{environment}",
        "messaging.message.id": message_id,
    }


def stream_events(
    start_ns: int, first_byte_s: float | None, end_ns: int, chunks: int
) -> Sequence[Event]:
    """The events of a stream; none of an answer that went out whole."""
    if not chunks or first_byte_s is None:
        return ()
    return (
        event("first_byte", start_ns + nanoseconds(first_byte_s)),
        event("last_byte", end_ns, {"orchestrator.stream.chunks": chunks}),
    )


class Family:
    """What the spans below one span have in common."""

    __slots__ = ("_about", "_parent_id", "_state", "_trace_id")

    def __init__(
        self, trace_id: str, parent_id: str, state: TraceState, about: dict[str, Attribute]
    ) -> None:
        self._trace_id = trace_id
        self._parent_id = parent_id
        self._state = state
        self._about = about

    def wait(self, began: int, wait: Wait, application: str) -> Span:
        """The span `queue.wait`; moments count from `began`."""
        start = began + nanoseconds(wait.at_s)
        attributes = self._about | {
            "orchestrator.queue.wait_reason": wait.reason,
            "orchestrator.cold_start": wait.cold,
        }
        if wait.replica:
            attributes["orchestrator.replica"] = wait.replica
        return Span(
            "queue.wait",
            trace_id=self._trace_id,
            span_id=wait.span_id,
            parent_id=self._parent_id,
            kind=SpanKind.INTERNAL,
            start_ns=start,
            end_ns=start + nanoseconds(wait.seconds),
            state=self._state,
            attributes=attributes,
            links=[link(*start_context(application, wait.replica))]
            if wait.cold and wait.replica
            else (),
        )

    def attempt(self, began: int, attempt: Attempt, method: str, *, retried: bool) -> Span:
        """The span `attempt`; moments count from `began`."""
        start = began + nanoseconds(attempt.at_s)
        attributes: dict[str, Attribute] = {
            **self._about,
            **http_method(method),
            **server_of(attempt.address),
            "orchestrator.replica": attempt.replica,
            "orchestrator.attempt.outcome": attempt.failure or _ANSWERED,
        }
        if attempt.status:
            attributes["http.response.status_code"] = attempt.status
        if attempt.number > 1:
            attributes["http.request.resend_count"] = attempt.number - 1
        if retried and attempt.failure:
            attributes["orchestrator.retry.reason"] = attempt.failure
        wrong = bool(attempt.failure) or attempt.status >= 400
        if wrong:
            attributes["error.type"] = str(attempt.status or attempt.failure)
        return Span(
            "attempt",
            trace_id=self._trace_id,
            span_id=attempt.span_id,
            parent_id=self._parent_id,
            kind=SpanKind.CLIENT,
            start_ns=start,
            end_ns=start + nanoseconds(attempt.seconds),
            state=self._state,
            attributes=attributes,
            events=()
            if attempt.head_s is None
            else [event("response_head", began + nanoseconds(attempt.head_s))],
            error=attempt.detail if wrong else None,
        )
