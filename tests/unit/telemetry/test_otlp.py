"""The encoder, held against opentelemetry's own."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind

from orchestrator.telemetry.otlp import encode
from orchestrator.telemetry.span import SCHEMA_URL, Span, State, event, link

RESOURCE = Resource({"service.name": "orchestrator", "orchestrator.part": "router"}, SCHEMA_URL)

TRACE_IDS = st.integers(1, 2**128 - 1).map("{:032x}".format)
SPAN_IDS = st.integers(1, 2**64 - 1).map("{:016x}".format)
TIMES = st.integers(0, 2**63)
TEXTS = st.text(max_size=150)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["a", "orchestrator.request_id", "http.request.method", "é", "k" * 200]),
    st.one_of(
        TEXTS,
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.sampled_from([0, 1, 0.0, -0.0, 1.0, -1, 127, 128]),
        st.floats(allow_nan=False),
    ),
)
STATES = st.sampled_from(["", "congo=t61", "a=1,b@@c=2"]).map(State)
LINKS = st.lists(
    st.builds(lambda trace, span, kept: link(trace, span, **kept), TRACE_IDS, SPAN_IDS, ATTRIBUTES),
    max_size=2,
)
EVENTS = st.lists(st.builds(event, TEXTS, TIMES, ATTRIBUTES), max_size=2)
SPANS = st.builds(
    Span,
    TEXTS,
    trace_id=TRACE_IDS,
    span_id=SPAN_IDS,
    parent_id=st.just("") | SPAN_IDS,
    kind=st.sampled_from(SpanKind),
    start_ns=TIMES,
    end_ns=TIMES,
    attributes=ATTRIBUTES,
    remote_parent=st.booleans(),
    state=STATES,
    links=LINKS,
    events=EVENTS,
    error=st.none() | TEXTS,
)


def read(message: bytes) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.ParseFromString(message)
    return request


@settings(max_examples=60, deadline=None)
@given(st.lists(SPANS, min_size=1, max_size=3))
def test_it_is_the_message_that_opentelemetry_would_send(spans: list[Span]) -> None:
    for each in spans:
        each.made_by(RESOURCE)
    assert read(encode(spans)) == encode_spans(spans)


def test_text_that_is_none_does_not_lose_a_span() -> None:
    fields: dict[str, Any] = {"start_ns": 1, "end_ns": 2, "kind": SpanKind.SERVER}
    broken = Span(
        "request",
        trace_id="4b" * 16,
        span_id="1a" * 8,
        parent_id="",
        attributes={"url.path": "/\udcff"},
        error="\udcff",
        **fields,
    )
    (resource,) = read(encode([broken])).resource_spans
    (span,) = resource.scope_spans[0].spans
    assert span.attributes[0].value.string_value == "/?"
    assert span.status.message == "?"


def test_nothing_is_no_span() -> None:
    assert not [
        span
        for resource in read(encode([])).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
