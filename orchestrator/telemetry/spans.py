"""What is exported of requests: each record as spans, under the names of OpenTelemetry's conventions.

    request (server)                     one HTTP request at a router
     ├── queue.wait                      a stay in line; linked to the replica.start it waited for
     ├── attempt (client)                one replica's try
     │    └── predict (server)           in the replica
     └── submit (producer)               an asynchronous request was accepted
          ├── run (consumer)             one run of it, linked to submit
          │    ├── queue.wait
          │    └── attempt (client) ── predict (server)
          └── webhook.deliver (client)   one try, linked to the last run

Attributes that have no convention begin with `orchestrator.`. Nothing of a body, a
query, or a key beyond its prefix is among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from orchestrator.lifecycle.request import Outcome
from orchestrator.telemetry.span import (
    Attribute,
    Span,
    State,
    http_method,
    link,
    nanoseconds,
    server_of,
)
from orchestrator.telemetry.span_parts import Family, about_of, messaging, stream_events
from orchestrator.telemetry.timeline import Wait, WaitReason
from orchestrator.telemetry.timeline import failed as has_failed

if TYPE_CHECKING:
    from opentelemetry.trace.span import TraceState

    from orchestrator.telemetry.timeline import Run, Timeline
    from orchestrator.telemetry.trace_context import TraceContext


def request_spans(timeline: Timeline, application: str = "") -> list[Span]:
    """The spans of a request that has ended: `request`, and below it where it was.

    Args:
        timeline: of the request, complete.
        application: name of the environment's Serve application, for the links to
            starts; empty: as the config names it.
    """
    began = nanoseconds(timeline.began)
    end = began + nanoseconds(timeline.seconds)
    state = State(timeline.tracestate)
    about = about_of(timeline.request_id, timeline.model, timeline.environment, timeline.deployment)
    family = Family(timeline.trace_id, timeline.span_id, state, about)
    application = application or f"{timeline.model}.{timeline.environment}"
    spans = [_request(timeline, began, end, about, state)]
    spans += [family.wait(began, wait, application) for wait in timeline.waits]
    spans += [
        family.attempt(
            began, attempt, timeline.method, retried=attempt is not timeline.attempts[-1]
        )
        for attempt in timeline.attempts
    ]
    if timeline.submit_span_id:
        spans.append(
            Span(
                "submit",
                trace_id=timeline.trace_id,
                span_id=timeline.submit_span_id,
                parent_id=timeline.span_id,
                kind=SpanKind.PRODUCER,
                start_ns=began,
                end_ns=end,
                state=state,
                attributes=about
                | messaging(
                    "send",
                    "submit",
                    timeline.model,
                    timeline.environment,
                    timeline.async_id or timeline.request_id,
                ),
            )
        )
    return spans


def run_spans(
    run: Run,
    *,
    trace: TraceContext,
    application: str,
    model: str,
    environment: str,
    request_id: str,
    deployment: str = "",
    retried: bool = False,
) -> list[Span]:
    """The spans of one run of an asynchronous request: `run`, and its wait and attempt.

    Args:
        run: it, ended.
        trace: the request's; its parent is the span `submit`.
        application: name of the environment's Serve application.
        model: the request's.
        environment: the request's.
        request_id: of the asynchronous request.
        deployment: empty: not known.
        retried: whether another run follows.
    """
    began = nanoseconds(run.began)
    trace_id, submit = trace.trace_id.decode(), trace.parent_id.decode()
    state = State(trace.tracestate.decode())
    about = about_of(request_id, model, environment, deployment)
    family = Family(trace_id, run.span_id, state, about)
    attributes = about | messaging("process", "run", model, environment, request_id)
    attributes["orchestrator.run.attempt"] = run.attempt
    attributes["orchestrator.dispatcher"] = run.source
    if run.code:
        attributes["error.type"] = run.code
    spans = [
        Span(
            "run",
            trace_id=trace_id,
            span_id=run.span_id,
            parent_id=submit,
            remote_parent=True,
            kind=SpanKind.CONSUMER,
            start_ns=began,
            end_ns=began + nanoseconds(run.seconds),
            state=state,
            attributes=attributes,
            links=[link(trace_id, submit)] if submit else (),
            error=run.message if run.code else None,
        )
    ]
    if run.wait_span_id:
        spans.append(family.wait(began, _wait_of(run), application))
    if run.tried.span_id:
        spans.append(family.attempt(began, run.tried, "POST", retried=retried))
    return spans


def webhook_span(
    *,
    trace: TraceContext,
    span_id: str,
    request_id: str,
    model: str,
    environment: str,
    url: str,
    number: int,
    began: float,
    seconds: float,
    status: int,
    verdict: str,
    error: str = "",
    run_span_id: str = "",
) -> Span:
    """The span `webhook.deliver` of one try.

    Args:
        trace: the request's; its parent is the span `submit`.
        span_id: of this try.
        request_id: of the asynchronous request.
        model: the request's.
        environment: the request's.
        url: the receiver's; only its host and port are told.
        number: of the try; 1 is the first.
        began: Unix time.
        seconds: how long it took.
        status: the receiver's answer; 0: there was none.
        verdict: what came of it, one of a closed set.
        error: sentence; empty: it was delivered.
        run_span_id: of the last run; empty: there was none, or it is not known.
    """
    start = nanoseconds(began)
    attributes: dict[str, Attribute] = {
        **about_of(request_id, model, environment, ""),
        **server_of(url),
        "http.request.method": "POST",
        "orchestrator.webhook.try": number,
        "orchestrator.webhook.verdict": verdict,
    }
    if number > 1:
        attributes["http.request.resend_count"] = number - 1
    if status:
        attributes["http.response.status_code"] = status
    if error:
        attributes["error.type"] = str(status) if status else verdict
    trace_id = trace.trace_id.decode()
    return Span(
        "webhook.deliver",
        trace_id=trace_id,
        span_id=span_id,
        parent_id=trace.parent_id.decode(),
        remote_parent=True,
        kind=SpanKind.CLIENT,
        start_ns=start,
        end_ns=start + nanoseconds(seconds),
        state=State(trace.tracestate.decode()),
        attributes=attributes,
        links=[link(trace_id, run_span_id)] if run_span_id else (),
        error=error or None,
    )


def predict_span(
    *,
    trace: TraceContext,
    span_id: str,
    request_id: str,
    model: str,
    environment: str,
    deployment: str,
    replica: str,
    method: str,
    path: str,
    began: float,
    seconds: float,
    status: int,
    chunks: int = 0,
    first_byte_s: float | None = None,
    error: str = "",
) -> Span:
    """The span `predict`: one request in the replica.

    Args:
        trace: the request's; its parent is the span `attempt`.
        span_id: of this one.
        request_id: as in `x-request-id`; empty: there was none.
        model: the replica's.
        environment: the replica's.
        deployment: the replica's.
        replica: its id.
        method: of HTTP.
        path: of HTTP, without its query.
        began: Unix time.
        seconds: to the last byte of the answer.
        status: as answered; 0: no head went out.
        chunks: pieces of a stream; 0: the answer went out whole.
        first_byte_s: seconds after `began`, of a stream.
        error: sentence; empty: none.
    """
    start = nanoseconds(began)
    end = start + nanoseconds(seconds)
    attributes: dict[str, Attribute] = {
        **about_of(request_id, model, environment, deployment),
        **http_method(method),
        "url.path": path,
        "url.scheme": "http",
        "orchestrator.replica": replica,
    }
    if status:
        attributes["http.response.status_code"] = status
    if error or status >= 500:
        attributes["error.type"] = str(status) if status >= 500 else "cut"
    if chunks:
        attributes["orchestrator.stream.chunks"] = chunks
    return Span(
        "predict",
        trace_id=trace.trace_id.decode(),
        span_id=span_id,
        parent_id=trace.parent_id.decode(),
        remote_parent=True,
        kind=SpanKind.SERVER,
        start_ns=start,
        end_ns=end,
        state=State(trace.tracestate.decode()),
        attributes=attributes,
        events=stream_events(start, first_byte_s, end, chunks),
        error=error if error or status >= 500 else None,
    )


def _request(
    timeline: Timeline, began: int, end: int, about: dict[str, Attribute], state: TraceState
) -> Span:
    wrong = has_failed(timeline)
    first_byte = timeline.first_byte_s
    return Span(
        "request",
        trace_id=timeline.trace_id,
        span_id=timeline.span_id,
        parent_id=timeline.parent_id,
        remote_parent=True,
        kind=SpanKind.SERVER,
        start_ns=began,
        end_ns=end,
        state=state,
        attributes=about | _told(timeline, wrong=wrong),
        events=stream_events(began, first_byte, end, timeline.chunks),
        error=(timeline.error or timeline.outcome) if wrong else None,
    )


def _told(timeline: Timeline, *, wrong: bool) -> dict[str, Attribute]:
    """The attributes of `request`."""
    told: dict[str, Attribute] = {
        **http_method(timeline.method),
        "url.path": timeline.path,
        "url.scheme": "http",
        "http.request.body.size": timeline.bytes_in,
        "http.response.body.size": timeline.bytes_out,
        "orchestrator.outcome": timeline.outcome,
        "orchestrator.router": timeline.source,
        "orchestrator.attempts": len(timeline.attempts),
        "orchestrator.cold_start": timeline.cold_start,
    }
    if timeline.status:
        told["http.response.status_code"] = timeline.status
    if wrong:
        answered = timeline.outcome == Outcome.ANSWERED
        told["error.type"] = str(timeline.status) if answered else timeline.outcome
    if timeline.key:
        told["orchestrator.key"] = timeline.key
    if timeline.kept:
        told["orchestrator.kept"] = timeline.kept
    if timeline.async_id:
        told["orchestrator.async_id"] = timeline.async_id
    if timeline.chunks:
        told["orchestrator.stream.chunks"] = timeline.chunks
        told["orchestrator.stream.longest_gap_s"] = timeline.longest_gap_s
    if timeline.operation:
        # The conventions' list of providers is open: the one that answers is this system.
        told["gen_ai.provider.name"] = "orchestrator"
        told["gen_ai.operation.name"] = timeline.operation
        told["gen_ai.request.model"] = timeline.model
    if timeline.input_tokens is not None:
        told["gen_ai.usage.input_tokens"] = timeline.input_tokens
    if timeline.output_tokens is not None:
        told["gen_ai.usage.output_tokens"] = timeline.output_tokens
    return told


def _wait_of(run: Run) -> Wait:
    """The time that an asynchronous request was in the queue before a run of it."""
    return Wait(
        reason=WaitReason.NO_REPLICA if run.cold else WaitReason.NO_SLOT,
        at_s=-run.waited_s,
        seconds=run.waited_s,
        span_id=run.wait_span_id,
        replica=run.tried.replica,
        cold=run.cold,
    )
