"""Spans as a collector gets them: encoded by opentelemetry's own encoder, and read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1 import trace_pb2

from orchestrator.telemetry import scaling_spans, spans
from orchestrator.telemetry.timeline import Attempt, Run, Timeline, Wait
from orchestrator.telemetry.trace_context import TraceContext, start_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.telemetry.span import Span

TRACE, REQUEST, CALLER, SUBMIT = "4b" * 16, "1a" * 8, "2b" * 8, "9c" * 8
BEGAN = 1_800_000_000.25
SECOND = 1_000_000_000

Kind = trace_pb2.Span.SpanKind


class Got:
    """One span, as it came over the wire."""

    def __init__(self, span: trace_pb2.Span) -> None:
        self.name = span.name
        self.kind = span.kind
        self.trace_id = span.trace_id.hex()
        self.span_id = span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.state = span.trace_state
        self.times = (span.start_time_unix_nano, span.end_time_unix_nano)
        self.offsets = tuple(round(at / SECOND - BEGAN, 3) for at in self.times)
        self.attributes: dict[str, Any] = {
            each.key: getattr(each.value, each.value.WhichOneof("value"))
            for each in span.attributes
        }
        self.links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
        self.events = {
            event.name: round(event.time_unix_nano / SECOND - BEGAN, 3) for event in span.events
        }
        self.failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
        self.message = span.status.message
        self.remote_parent = bool(
            span.flags & trace_pb2.SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
        )


def received(made: Sequence[Span]) -> list[Got]:
    message = encode_spans(made).SerializeToString()
    request = type(encode_spans([]))()
    request.ParseFromString(message)
    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    assert scope.scope.name == "orchestrator"
    return [Got(span) for span in scope.spans]


def timeline(**fields: Any) -> Timeline:
    shared: dict[str, Any] = {
        "request_id": "req-1",
        "kind": "call",
        "source": "router-a",
        "trace_id": TRACE,
        "span_id": REQUEST,
        "began": BEGAN,
        "seconds": 4.0,
        "method": "POST",
        "path": "/models/echo/production/predict",
        "status": 200,
        "outcome": "answered",
        "model": "echo",
        "environment": "production",
        "deployment": "v1",
        "bytes_in": 12,
        "bytes_out": 34,
    }
    return Timeline(**(shared | fields))


ABOUT = {
    "orchestrator.request_id": "req-1",
    "orchestrator.model": "echo",
    "orchestrator.environment": "production",
    "orchestrator.deployment": "v1",
}


def test_a_cold_retried_request_as_one_trace() -> None:
    record = timeline(
        parent_id=CALLER,
        tracestate="congo=t61,foo@@bar=1",
        key="team-a",
        kept="retry",
        cold_start=True,
        waits=[
            Wait("no_replica", 0.5, 2.0, "3c" * 8, "replica-1", cold=True),
            Wait("recalled", 3.0, 0.25, "3d" * 8, "replica-2"),
        ],
        attempts=[
            Attempt(
                *(1, "replica-1", "http://127.0.0.1:9001", 2.5, "4d" * 8, True),
                seconds=0.4,
                status=0,
                failure="connection",
                detail="the replica hung up",
            ),
            Attempt(
                *(2, "replica-2", "http://10.0.0.7:9002", 3.25, "4e" * 8, True),
                head_s=3.5,
                seconds=0.75,
                status=200,
            ),
        ],
    )
    request, cold, recalled, first, second = received(spans.request_spans(record))

    assert [each.name for each in (request, cold, recalled, first, second)] == [
        *("request", "queue.wait", "queue.wait", "attempt", "attempt")
    ]
    assert {each.trace_id for each in (request, cold, first, second)} == {TRACE}
    assert (request.span_id, request.parent_id, request.remote_parent) == (REQUEST, CALLER, True)
    assert {each.parent_id for each in (cold, recalled, first, second)} == {REQUEST}
    assert request.kind == Kind.SPAN_KIND_SERVER
    assert cold.kind == Kind.SPAN_KIND_INTERNAL
    assert first.kind == Kind.SPAN_KIND_CLIENT
    assert {each.state for each in (request, cold, first)} == {"congo=t61,foo@@bar=1"}

    assert request.offsets == (0.0, 4.0)
    assert (cold.offsets, recalled.offsets) == ((0.5, 2.5), (3.0, 3.25))
    assert (first.offsets, second.offsets) == ((2.5, 2.9), (3.25, 4.0))
    assert second.events == {"response_head": 3.5}

    assert cold.links == [start_context("echo.production", "replica-1")]
    assert recalled.links == []
    assert not request.failed

    assert request.attributes == ABOUT | {
        "http.request.method": "POST",
        "url.path": "/models/echo/production/predict",
        "url.scheme": "http",
        "http.request.body.size": 12,
        "http.response.body.size": 34,
        "http.response.status_code": 200,
        "orchestrator.outcome": "answered",
        "orchestrator.router": "router-a",
        "orchestrator.attempts": 2,
        "orchestrator.cold_start": True,
        "orchestrator.key": "team-a",
        "orchestrator.kept": "retry",
    }
    assert cold.attributes == ABOUT | {
        "orchestrator.queue.wait_reason": "no_replica",
        "orchestrator.cold_start": True,
        "orchestrator.replica": "replica-1",
    }
    assert first.attributes == ABOUT | {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": 9001,
        "url.scheme": "http",
        "orchestrator.replica": "replica-1",
        "orchestrator.attempt.outcome": "connection",
        "orchestrator.retry.reason": "connection",
        "error.type": "connection",
    }
    assert (first.failed, first.message) == (True, "the replica hung up")
    assert second.attributes["orchestrator.attempt.outcome"] == "answered"
    assert second.attributes["http.request.resend_count"] == 1
    assert "orchestrator.retry.reason" not in second.attributes


def test_a_stream_has_its_first_and_last_byte_as_events() -> None:
    record = timeline(first_byte_s=0.5, chunks=7, longest_gap_s=0.2)
    (made,) = spans.request_spans(record)
    (request,) = received([made])
    assert request.events == {"first_byte": 0.5, "last_byte": 4.0}
    assert request.attributes["orchestrator.stream.chunks"] == 7
    assert made.events[1].attributes == {"orchestrator.stream.chunks": 7}


def test_an_answer_that_came_whole_has_none() -> None:
    (request,) = received(spans.request_spans(timeline(first_byte_s=0.5)))
    assert request.events == {}
    assert "orchestrator.stream.chunks" not in request.attributes


@pytest.mark.parametrize(
    ("fields", "error_type", "message"),
    [
        (
            {"status": 503, "outcome": "evicted_park_timeout", "error": "waited too long"},
            "evicted_park_timeout",
            "waited too long",
        ),
        ({"status": 499, "outcome": "failed_caller_gone"}, *["failed_caller_gone"] * 2),
        ({"status": 500, "outcome": "answered"}, "500", "answered"),
        ({"status": 0, "outcome": "failed_internal", "error": "x"}, "failed_internal", "x"),
    ],
)
def test_failures_are_errors(fields: dict[str, Any], error_type: str, message: str) -> None:
    (request,) = received(spans.request_spans(timeline(**fields)))
    assert (request.failed, request.message) == (True, message)
    assert request.attributes["error.type"] == error_type


@pytest.mark.parametrize("status", [200, 404, 429])
def test_what_the_caller_did_wrong_is_not(status: int) -> None:
    (request,) = received(spans.request_spans(timeline(status=status)))
    assert not request.failed
    assert "error.type" not in request.attributes


def test_a_method_of_ones_own_is_told_as_such() -> None:
    (request,) = received(spans.request_spans(timeline(method="BREW")))
    assert request.attributes["http.request.method"] == "_OTHER"
    assert request.attributes["http.request.method_original"] == "BREW"


def test_what_is_known_of_generative_models() -> None:
    record = timeline(operation="chat", input_tokens=0, output_tokens=17)
    (request,) = received(spans.request_spans(record))
    told = {key: value for key, value in request.attributes.items() if key.startswith("gen_ai.")}
    assert told == {
        "gen_ai.provider.name": "orchestrator",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "echo",
        "gen_ai.usage.input_tokens": 0,
        "gen_ai.usage.output_tokens": 17,
    }


def test_an_unusable_address_is_left_out() -> None:
    record = timeline(attempts=[Attempt(1, "r", "http://[::1:99", 0.0, "4d" * 8)])
    _, attempt = received(spans.request_spans(record))
    assert "server.address" not in attempt.attributes


def test_a_request_without_a_caller_in_a_trace_is_the_root() -> None:
    (request,) = received(spans.request_spans(timeline(status=404, model="", environment="")))
    assert request.parent_id == ""
    assert "orchestrator.model" not in request.attributes


def test_a_clock_that_was_set_back_makes_no_negative_span() -> None:
    (request,) = received(spans.request_spans(timeline(seconds=-1.0)))
    assert request.times[0] == request.times[1]


def test_a_submission_is_a_message_sent() -> None:
    record = timeline(kind="submit", status=202, submit_span_id=SUBMIT, async_id="async-1")
    request, submit = received(spans.request_spans(record))
    assert request.attributes["orchestrator.async_id"] == "async-1"
    assert submit.name == "submit"
    assert submit.kind == Kind.SPAN_KIND_PRODUCER
    assert (submit.span_id, submit.parent_id) == (SUBMIT, REQUEST)
    assert submit.attributes == ABOUT | {
        "messaging.system": "orchestrator",
        "messaging.operation.type": "send",
        "messaging.operation.name": "submit",
        "messaging.destination.name": "echo/production",
        "messaging.message.id": "async-1",
    }


STORED = TraceContext(TRACE.encode(), SUBMIT.encode(), 1, b"congo=t61")


def run(**fields: Any) -> Run:
    shared: dict[str, Any] = {
        "attempt": 2,
        "source": "dispatcher-a",
        "span_id": "5f" * 8,
        "began": BEGAN,
        "seconds": 1.5,
        "waited_s": 3.0,
        "cold": True,
        "wait_span_id": "5e" * 8,
        "tried": Attempt(
            *(1, "replica-1", "http://127.0.0.1:9001", 0.5, "5d" * 8, True),
            seconds=1.0,
            status=200,
        ),
    }
    return Run(**(shared | fields))


def spans_of(record: Run) -> list[Got]:
    return received(
        spans.run_spans(
            record,
            trace=STORED,
            application="echo.production",
            model="echo",
            environment="production",
            request_id="async-1",
        )
    )


def test_a_run_continues_the_trace_of_its_submission_and_links_to_it() -> None:
    made, wait, attempt = spans_of(run())
    assert (made.name, made.kind) == ("run", Kind.SPAN_KIND_CONSUMER)
    assert {made.trace_id, wait.trace_id, attempt.trace_id} == {TRACE}
    assert made.parent_id == SUBMIT
    assert made.remote_parent
    assert made.links == [(TRACE, SUBMIT)]
    assert made.state == "congo=t61"
    assert {wait.parent_id, attempt.parent_id} == {made.span_id}
    assert (made.offsets, wait.offsets, attempt.offsets) == ((0.0, 1.5), (-3.0, 0.0), (0.5, 1.5))
    assert wait.links == [start_context("echo.production", "replica-1")]
    assert wait.attributes["orchestrator.queue.wait_reason"] == "no_replica"
    assert made.attributes == {
        "orchestrator.request_id": "async-1",
        "orchestrator.model": "echo",
        "orchestrator.environment": "production",
        "messaging.system": "orchestrator",
        "messaging.operation.type": "process",
        "messaging.operation.name": "run",
        "messaging.destination.name": "echo/production",
        "messaging.message.id": "async-1",
        "orchestrator.run.attempt": 2,
        "orchestrator.dispatcher": "dispatcher-a",
    }


def test_a_run_that_failed_says_how() -> None:
    made, wait, attempt = spans_of(
        run(
            cold=False,
            code="MODEL_ERROR",
            message="the model answered 500",
            tried=Attempt(
                *(1, "replica-1", "http://127.0.0.1:9001", 0.5, "5d" * 8),
                status=500,
                failure="status",
                detail="500",
            ),
        )
    )
    assert (made.failed, made.message) == (True, "the model answered 500")
    assert made.attributes["error.type"] == "MODEL_ERROR"
    assert wait.links == []
    assert wait.attributes["orchestrator.queue.wait_reason"] == "no_slot"
    assert attempt.failed
    assert attempt.attributes["error.type"] == "500"


def test_a_run_that_reached_no_replica_has_no_attempt() -> None:
    record = run(wait_span_id="", tried=Attempt(1, "", "", 0.0, ""), code="X", message="m")
    (made,) = spans_of(record)
    assert made.failed


def webhook(**fields: Any) -> Got:
    shared: dict[str, Any] = {
        "trace": STORED,
        "span_id": "6a" * 8,
        "request_id": "async-1",
        "model": "echo",
        "environment": "production",
        "url": "https://user:secret@hooks.example/in/token?key=secret",
        "number": 1,
        "began": BEGAN,
        "seconds": 0.25,
        "status": 204,
        "verdict": "delivered",
    }
    (got,) = received([spans.webhook_span(**(shared | fields))])
    return got


def test_a_webhook_tells_where_it_went_but_no_secret() -> None:
    made = webhook(run_span_id="5f" * 8)
    assert (made.name, made.kind) == ("webhook.deliver", Kind.SPAN_KIND_CLIENT)
    assert (made.trace_id, made.parent_id) == (TRACE, SUBMIT)
    assert made.links == [(TRACE, "5f" * 8)]
    assert made.offsets == (0.0, 0.25)
    assert made.attributes == {
        "orchestrator.request_id": "async-1",
        "orchestrator.model": "echo",
        "orchestrator.environment": "production",
        "server.address": "hooks.example",
        "server.port": 443,
        "url.scheme": "https",
        "http.request.method": "POST",
        "http.response.status_code": 204,
        "orchestrator.webhook.try": 1,
        "orchestrator.webhook.verdict": "delivered",
    }


def test_a_webhook_that_was_not_taken() -> None:
    refused = webhook(number=3, status=503, verdict="retry", error="answered 503")
    assert (refused.failed, refused.message) == (True, "answered 503")
    assert refused.attributes["error.type"] == "503"
    assert refused.attributes["http.request.resend_count"] == 2
    silent = webhook(status=0, verdict="unreachable", error="no answer")
    assert silent.attributes["error.type"] == "unreachable"
    assert "http.response.status_code" not in silent.attributes


def predict(**fields: Any) -> Got:
    shared: dict[str, Any] = {
        "trace": TraceContext(TRACE.encode(), ("4d" * 8).encode(), 1),
        "span_id": "7a" * 8,
        "request_id": "req-1",
        "model": "echo",
        "environment": "production",
        "deployment": "v1",
        "replica": "replica-1",
        "method": "POST",
        "path": "/predict",
        "began": BEGAN,
        "seconds": 2.0,
        "status": 200,
    }
    (got,) = received([spans.predict_span(**(shared | fields))])
    return got


def test_a_replica_s_own_span_is_below_the_attempt() -> None:
    made = predict(chunks=3, first_byte_s=0.5)
    assert (made.name, made.kind) == ("predict", Kind.SPAN_KIND_SERVER)
    assert (made.parent_id, made.remote_parent) == ("4d" * 8, True)
    assert made.events == {"first_byte": 0.5, "last_byte": 2.0}
    assert made.attributes == ABOUT | {
        "http.request.method": "POST",
        "url.path": "/predict",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "orchestrator.replica": "replica-1",
        "orchestrator.stream.chunks": 3,
    }


def test_a_model_that_failed() -> None:
    raised = predict(status=500, error="ValueError: no")
    assert (raised.failed, raised.message) == (True, "ValueError: no")
    assert raised.attributes["error.type"] == "500"
    broke_off = predict(status=200, error="the stream broke off", chunks=2, first_byte_s=0.1)
    assert broke_off.failed
    assert broke_off.attributes["error.type"] == "cut"


def start(**fields: Any) -> list[Got]:
    shared: dict[str, Any] = {
        "application": "echo.production",
        "replica": "replica-1",
        "model": "echo",
        "environment": "production",
        "deployment": "v1",
        "began": BEGAN,
        "stages": [("PROVISIONING", 1.0), ("STARTING", 0.5), ("LOADING", 2.0)],
    }
    return received(scaling_spans.start_spans(**(shared | fields)))


def test_a_start_has_a_span_for_each_stage_end_to_end() -> None:
    root, *stages = start()
    assert (root.trace_id, root.span_id) == start_context("echo.production", "replica-1")
    assert root.parent_id == ""
    assert [stage.name for stage in stages] == ["PROVISIONING", "STARTING", "LOADING"]
    assert root.offsets == (0.0, 3.5)
    assert [stage.offsets for stage in stages] == [(0.0, 1.0), (1.0, 1.5), (1.5, 3.5)]
    assert {stage.parent_id for stage in stages} == {root.span_id}
    assert len({stage.span_id for stage in [root, *stages]}) == 4
    assert root.attributes["orchestrator.start.result"] == "ready"
    assert not any(each.failed for each in [root, *stages])


def test_a_start_that_failed_did_so_in_its_last_stage() -> None:
    root, *stages = start(failed="no such file")
    assert (root.failed, root.message) == (True, "no such file")
    assert root.attributes["orchestrator.start.result"] == "failed"
    assert [stage.failed for stage in stages] == [False, False, True]


def test_a_decision_is_a_moment() -> None:
    (made,) = received(
        [
            scaling_spans.decision_span(
                trace_id=TRACE,
                span_id=REQUEST,
                model="echo",
                environment="production",
                deployment="v1",
                at=BEGAN,
                before=0,
                desired=2,
                reason="2 requests wait",
            )
        ]
    )
    assert made.name == "scale.decision"
    assert made.offsets == (0.0, 0.0)
    assert made.attributes["orchestrator.scale.from"] == 0
    assert made.attributes["orchestrator.scale.to"] == 2
    assert made.attributes["orchestrator.scale.reason"] == "2 requests wait"
