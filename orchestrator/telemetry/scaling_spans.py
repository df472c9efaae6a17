"""What is exported of environments: starts of replicas, and decisions on how many there are.

replica.start                        a trace of its own; requests that waited link to it
└── PROVISIONING, STARTING, LOADING, WARMING
scale.decision                       a trace of its own, of no length
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from orchestrator.telemetry.span import Attribute, Span, nanoseconds
from orchestrator.telemetry.span_parts import about_of
from orchestrator.telemetry.trace_context import start_context

if TYPE_CHECKING:
    from collections.abc import Sequence


def start_spans(
    *,
    application: str,
    replica: str,
    model: str,
    environment: str,
    deployment: str,
    began: float,
    stages: Sequence[tuple[str, float]],
    failed: str = "",
) -> list[Span]:
    """The trace of a replica's start: `replica.start`, and a span for each stage.

    Its ids are those of `start_context`.

    Args:
        application: name of the environment's Serve application.
        replica: its id.
        model: the replica's.
        environment: the replica's.
        deployment: the replica's.
        began: Unix time of the first stage.
        stages: names and seconds, in order, the one that it failed in included.
        failed: why it did; empty: it did not.
    """
    trace_id, span_id = start_context(application, replica)
    about = about_of("", model, environment, deployment) | {"orchestrator.replica": replica}
    error = failed or None
    start = nanoseconds(began)
    spans: list[Span] = []
    for number, (stage, seconds) in enumerate(stages, 1):
        end = start + nanoseconds(seconds)
        broke = number == len(stages) and bool(failed)
        spans.append(
            Span(
                stage,
                trace_id=trace_id,
                span_id=hashlib.sha256(f"{span_id}\0{stage}\0{number}".encode()).hexdigest()[:16],
                parent_id=span_id,
                kind=SpanKind.INTERNAL,
                start_ns=start,
                end_ns=end,
                attributes=about | {"orchestrator.replica.stage": stage},
                error=error if broke else None,
            )
        )
        start = end
    result: dict[str, Attribute] = {"orchestrator.start.result": "failed" if failed else "ready"}
    root = Span(
        "replica.start",
        trace_id=trace_id,
        span_id=span_id,
        parent_id="",
        kind=SpanKind.INTERNAL,
        start_ns=nanoseconds(began),
        end_ns=start,
        attributes=about | result | ({"error.type": "start_failed"} if failed else {}),
        error=error,
    )
    return [root, *spans]


def decision_span(
    *,
    trace_id: str,
    span_id: str,
    model: str,
    environment: str,
    deployment: str,
    at: float,
    before: int,
    desired: int,
    reason: str,
) -> Span:
    """The span `scale.decision`: how many replicas are wanted, since when, and why.

    Args:
        trace_id: new, 32 hexadecimal digits.
        span_id: new, 16 hexadecimal digits.
        model: the environment's.
        environment: it.
        deployment: the environment's.
        at: Unix time.
        before: how many were wanted until then.
        desired: how many are.
        reason: sentence.
    """
    moment = nanoseconds(at)
    return Span(
        "scale.decision",
        trace_id=trace_id,
        span_id=span_id,
        parent_id="",
        kind=SpanKind.INTERNAL,
        start_ns=moment,
        end_ns=moment,
        attributes=about_of("", model, environment, deployment)
        | {
            "orchestrator.scale.from": before,
            "orchestrator.scale.to": desired,
            "orchestrator.scale.reason": reason,
        },
    )
