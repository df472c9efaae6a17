"""Traces as a collector gets them over the wire: which spans, below which, when, and about what."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from orchestrator.telemetry.trace_context import start_context
from tests.integration.gates import Gates
from tests.integration.otlp_receiver import OtlpReceiver, ReceivedSpan, Trace
from tests.integration.running_cluster import Reply, RunningCluster, eventually
from tests.integration.webhook_receiver import WebhookReceiver

APPLICATION = "traced.cold"
CLOCKS_S = 0.05
"""How far moments of two processes of one machine may be apart: each measures on its own clock."""


@dataclass(frozen=True)
class Caller:
    """Who begins a trace, as its `traceparent` says."""

    sampled: bool = True
    trace_id: str = field(default_factory=lambda: secrets.token_hex(16))
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def headers(self) -> dict[str, str]:
        return {"traceparent": f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"}


def named(trace: Trace, name: str) -> list[ReceivedSpan]:
    return [span for span in trace if span.name == name]


def only(trace: Trace, name: str, *, below: ReceivedSpan | None = None) -> ReceivedSpan:
    """The one span of this name, or the one below another."""
    found = named(trace, name)
    if below is not None:
        found = [span for span in found if span.parent_id == below.span_id]
    assert len(found) == 1, [(span.part, span.name, span.parent_id) for span in trace]
    return found[0]


def within(inner: ReceivedSpan, outer: ReceivedSpan) -> bool:
    slack = CLOCKS_S * 1e9
    return inner.start >= outer.start - slack and inner.end <= outer.end + slack


def one_after_another(spans: Iterable[ReceivedSpan]) -> bool:
    slack = CLOCKS_S * 1e9
    return all(a.end <= b.start + slack for a, b in itertools.pairwise(spans))


def about(span: ReceivedSpan, **expected: Any) -> None:
    """The span has these attributes; `__` stands for a dot."""
    wanted = {name.replace("__", "."): value for name, value in expected.items()}
    assert {name: span.attributes.get(name) for name in wanted} == wanted, span


# Synchronous requests


async def test_a_warm_request_is_a_request_an_attempt_and_a_predict(
    cluster: RunningCluster, collector: OtlpReceiver
) -> None:
    await cluster.until("traced", lambda live: live["replicas"], "a replica")
    await cluster.predict("traced")
    caller = Caller()

    reply = await cluster.predict("traced", {"label": "warm"}, headers=caller.headers)

    trace = await collector.until_named(caller.trace_id, "request", "attempt", "predict")
    request, attempt, predict = (only(trace, n) for n in ("request", "attempt", "predict"))
    # It stands in line for a moment where no permit was at hand in its router.
    assert {span.name for span in trace} <= {"request", "queue.wait", "attempt", "predict"}
    assert (request.parent_id, request.kind, request.part) == (caller.span_id, "SERVER", "router")
    assert (attempt.parent_id, attempt.kind) == (request.span_id, "CLIENT")
    assert (predict.parent_id, predict.kind) == (attempt.span_id, "SERVER")
    assert (attempt.part, predict.part) == ("router", "replica")
    assert within(attempt, request)
    assert within(predict, attempt)
    about(
        request,
        http__request__method="POST",
        http__response__status_code=200,
        url__path="/models/traced/environments/production/predict",
        orchestrator__request_id=reply.headers["x-request-id"],
        orchestrator__model="traced",
        orchestrator__environment="production",
        orchestrator__deployment="v1",
        orchestrator__outcome="answered",
        orchestrator__cold_start=False,
        orchestrator__key="dev",
    )
    about(attempt, http__response__status_code=200, orchestrator__attempt__outcome="answered")
    about(predict, http__response__status_code=200)
    assert predict.attributes["orchestrator.replica"] == attempt.attributes["orchestrator.replica"]
    assert {span.status for span in trace} == {"UNSET"}
    assert request.resource["service.name"] == "orchestrator"
    assert request.resource["service.instance.id"] != predict.resource["service.instance.id"]


async def test_what_the_caller_does_not_sample_is_not_exported(
    cluster: RunningCluster, collector: OtlpReceiver
) -> None:
    await cluster.predict("traced")
    quiet, loud = Caller(sampled=False), Caller()

    await cluster.predict("traced", headers=quiet.headers)
    # Several, so that each of the two routers and the replica export one after the quiet one.
    for _ in range(8):
        await cluster.predict("traced", headers=loud.headers)

    await collector.until_named(loud.trace_id, *("request", "attempt", "predict") * 8)
    assert collector.trace(quiet.trace_id) == []


async def test_a_cold_request_is_kept_and_linked_to_the_start_it_waited_for(
    cluster: RunningCluster, collector: OtlpReceiver
) -> None:
    caller = Caller(sampled=False)
    await cluster.until_zero("traced/cold")

    reply = await cluster.predict("traced/cold", headers=caller.headers)

    assert (reply.status, reply.headers["x-cold-start"]) == (200, "true")
    trace = await collector.until_named(
        caller.trace_id, "request", "queue.wait", "attempt", "predict"
    )
    request = only(trace, "request")
    wait, attempt = only(trace, "queue.wait", below=request), only(trace, "attempt", below=request)
    assert only(trace, "predict").parent_id == attempt.span_id
    assert one_after_another([wait, attempt])
    about(wait, orchestrator__queue__wait_reason="no_replica", orchestrator__cold_start=True)
    about(request, orchestrator__cold_start=True, orchestrator__kept="cold_start")
    replica = attempt.attributes["orchestrator.replica"]
    start = await the_start(collector, replica)
    assert wait.links == [(start.trace_id, start.span_id)]
    assert start.start <= wait.end
    assert abs(start.end - wait.end) < 2e9


async def the_start(collector: OtlpReceiver, replica: str) -> ReceivedSpan:
    """The span `replica.start` of a replica; its stages are below it, in their order."""
    trace_id, span_id = start_context(APPLICATION, replica)
    stages = ("STARTING", "LOADING", "WARMING")
    trace = await collector.until_named(trace_id, "replica.start", *stages)
    start = only(trace, "replica.start")
    assert (start.span_id, start.parent_id, start.part) == (span_id, "", "queue")
    below = [span for span in trace if span.parent_id == start.span_id]
    assert [span.name for span in below if span.name != "PROVISIONING"] == list(stages)
    assert one_after_another(below)
    assert all(within(stage, start) for stage in below)
    about(
        start,
        orchestrator__model="traced",
        orchestrator__environment="cold",
        orchestrator__replica=replica,
        orchestrator__start__result="ready",
    )
    return start


async def test_a_retry_has_an_attempt_for_each_replica_and_says_why(
    cluster: RunningCluster, collector: OtlpReceiver, gates: Gates
) -> None:
    caller = Caller(sampled=False)
    with gates.held("lost") as gate:
        sent = cluster.send("traced/cold", {"gate": "lost"}, headers=caller.headers)
        (visit,) = await gate.until_arrived(1)
        cluster.kill(cluster.own(visit.pid))
        await gate.until_arrived(2)
        gate.open()
        reply = await sent

    assert reply.status == 200
    trace = await collector.until_named(caller.trace_id, "request", "attempt", "attempt", "predict")
    request = only(trace, "request")
    first, second = named(trace, "attempt")
    again = next(span for span in named(trace, "queue.wait") if span.start >= first.start)
    assert {first.parent_id, second.parent_id, again.parent_id} == {request.span_id}
    assert one_after_another([first, again, second])
    about(
        first,
        orchestrator__attempt__outcome="connection",
        orchestrator__retry__reason="connection",
        http__request__resend_count=None,
    )
    assert first.status == "ERROR"
    about(second, http__request__resend_count=1, http__response__status_code=200)
    assert first.attributes["orchestrator.replica"] != second.attributes["orchestrator.replica"]
    about(again, orchestrator__queue__wait_reason="recalled")
    about(request, orchestrator__attempts=2, orchestrator__kept="retry")
    # The killed replica cannot tell of the first one.
    assert only(trace, "predict").parent_id == second.span_id


async def test_a_stream_tells_of_its_first_and_last_byte_and_its_chunks(
    cluster: RunningCluster, collector: OtlpReceiver
) -> None:
    caller = Caller()

    await cluster.predict("traced", {"gate": "stream", "stream": 4}, headers=caller.headers)

    trace = await collector.until_named(caller.trace_id, "request", "attempt", "predict")
    # On their way to the router, chunks may become one.
    for name, fewest in (("request", 1), ("predict", 4)):
        span = only(trace, name)
        (first, first_at, _), (last, last_at, of_last) = span.events
        assert (first, last) == ("first_byte", "last_byte")
        assert span.start <= first_at <= last_at <= span.end
        chunks = of_last["orchestrator.stream.chunks"]
        assert chunks >= fewest
        assert span.attributes["orchestrator.stream.chunks"] == chunks


async def test_a_failure_is_kept_and_both_sides_say_that_it_is_one(
    cluster: RunningCluster, collector: OtlpReceiver
) -> None:
    caller = Caller(sampled=False)

    reply = await cluster.predict(
        "traced", {"fail": 1, "label": caller.trace_id}, headers=caller.headers
    )

    assert reply.status == 500
    trace = await collector.until_named(caller.trace_id, "request", "attempt", "predict")
    failed = {span.name for span in trace if span.status == "ERROR"}
    assert failed == {"request", "attempt", "predict"}
    about(only(trace, "request"), error__type="500", orchestrator__kept="error")
    about(only(trace, "predict"), error__type="500")
    assert only(trace, "predict").parent_id == only(trace, "attempt").span_id


async def test_decisions_to_scale_are_traces_with_their_reason(
    cluster: RunningCluster, collector: OtlpReceiver
) -> None:
    await cluster.predict("steady")

    def decided() -> list[ReceivedSpan]:
        return [
            span
            for span in collector.spans
            if span.name == "scale.decision"
            and span.attributes["orchestrator.model"] == "steady"
            and span.attributes["orchestrator.scale.to"] == 1
        ]

    await collector.until(decided, "a decision for a replica of steady")
    span = decided()[0]
    assert (span.parent_id, span.part, span.start) == ("", "queue", span.end)
    about(span, orchestrator__scale__from=0, orchestrator__environment="production")
    assert span.attributes["orchestrator.scale.reason"]


# Asynchronous requests


async def test_one_trace_of_a_cold_asynchronous_request_with_a_retry_and_a_webhook(
    cluster: RunningCluster, collector: OtlpReceiver
) -> None:
    caller = Caller()
    await cluster.until_zero("traced/cold")
    async with WebhookReceiver() as receiver:
        request_id = await submit(
            cluster, caller, {"fail": 1, "label": caller.trace_id}, receiver.url(failures=1)
        )
        ended = await cluster.ask("GET", f"/async_request/{request_id}", params={"wait": "60"})
        assert ended.json["status"] == "SUCCEEDED", ended.body
        await receiver.until_tried(2)

    trace = await collector.until_named(
        caller.trace_id,
        *("request", "submit"),
        *("run", "attempt", "predict") * 2,
        "queue.wait",
        *("webhook.deliver",) * 2,
    )
    assert {span.trace_id for span in trace} == {caller.trace_id}
    request, submitted = only(trace, "request"), only(trace, "submit")
    runs, deliveries = named(trace, "run"), named(trace, "webhook.deliver")

    # Whose child each one is, and what it is linked to.
    assert (request.parent_id, request.kind) == (caller.span_id, "SERVER")
    assert (submitted.parent_id, submitted.kind) == (request.span_id, "PRODUCER")
    assert [run.kind for run in runs] == ["CONSUMER"] * 2
    for run in runs:
        assert run.parent_id == submitted.span_id
        assert run.links == [(caller.trace_id, submitted.span_id)]
        attempt = only(trace, "attempt", below=run)
        predict = only(trace, "predict", below=attempt)
        assert (attempt.kind, predict.kind) == ("CLIENT", "SERVER")
        assert within(attempt, run)
        assert within(predict, attempt)
    for delivery in deliveries:
        assert (delivery.parent_id, delivery.kind) == (submitted.span_id, "CLIENT")
        assert delivery.links == [(caller.trace_id, runs[-1].span_id)]
    wait = only(trace, "queue.wait", below=runs[0])
    replica = only(trace, "attempt", below=runs[0]).attributes["orchestrator.replica"]
    start = await the_start(collector, replica)
    assert wait.links == [(start.trace_id, start.span_id)]

    # Which process tells of it.
    parts = {span.name: span.part for span in trace}
    assert parts == {
        "request": "router",
        "submit": "router",
        "run": "dispatcher",
        "queue.wait": "dispatcher",
        "attempt": "dispatcher",
        "predict": "replica",
        "webhook.deliver": "dispatcher",
    }

    # When.
    assert one_after_another([submitted, runs[0], runs[1], deliveries[0], deliveries[1]])
    assert runs[1].start - runs[0].end >= 0.2e9
    assert deliveries[1].start - deliveries[0].end >= 0.4e9
    assert abs(wait.start - submitted.end) < 1e9
    assert start.end <= runs[0].start + CLOCKS_S * 1e9

    # About what.
    about(request, http__response__status_code=201, orchestrator__async_id=request_id)
    messaging = {
        "messaging__system": "orchestrator",
        "messaging__destination__name": "traced/cold",
        "messaging__message__id": request_id,
    }
    about(submitted, messaging__operation__type="send", **messaging)
    for number, run in enumerate(runs, 1):
        about(run, messaging__operation__type="process", **messaging)
        about(run, orchestrator__run__attempt=number, orchestrator__request_id=request_id)
    assert [run.status for run in runs] == ["ERROR", "UNSET"]
    about(runs[0], error__type="MODEL_PREDICT_ERROR")
    about(wait, orchestrator__queue__wait_reason="no_replica")
    about(only(trace, "attempt", below=runs[0]), http__response__status_code=500)
    about(only(trace, "attempt", below=runs[1]), http__response__status_code=200)
    assert [d.attributes["http.response.status_code"] for d in deliveries] == [503, 204]
    assert [d.attributes["orchestrator.webhook.try"] for d in deliveries] == [1, 2]
    assert [d.status for d in deliveries] == ["ERROR", "UNSET"]

    # The receiver can go on with the trace.
    assert [head["traceparent"] for head in receiver.heads] == [
        f"00-{caller.trace_id}-{delivery.span_id}-01" for delivery in deliveries
    ]


async def submit(cluster: RunningCluster, caller: Caller, body: Any, webhook: str) -> str:
    """Hands a request over to the environment that sleeps; gives its id."""
    reply = await cluster.ask(
        "POST",
        "/models/traced/environments/cold/async_predict",
        json={
            "model_input": body,
            "webhook_endpoint": webhook,
            "inference_retry_config": {
                "max_attempts": 3,
                "initial_delay_ms": 300,
                "max_delay_ms": 300,
            },
        },
        headers=caller.headers,
    )
    assert reply.status == 201, reply.body
    return str(reply.json["request_id"])


# A collector that is no help


async def spans_counted(cluster: RunningCluster, *results: str) -> float:
    """How many spans of routers had one of these results, as `/metrics` says."""
    reply = await cluster.ask(
        "GET", "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert reply.status == 200, reply.body
    families = text_string_to_metric_families(  # type: ignore[no-untyped-call]
        reply.body.decode()
    )
    return sum(
        float(sample.value)
        for family in families
        for sample in family.samples
        if sample.name == "orchestrator_spans_total"
        and sample.labels["part"] == "router"
        and sample.labels["result"] in results
    )


async def burst(cluster: RunningCluster, count: int) -> list[Reply]:
    """So many sampled requests at once."""
    return await asyncio.gather(
        *(cluster.predict("traced", headers=Caller().headers) for _ in range(count))
    )


@pytest.mark.parametrize("manner", ["away", "holding", "refusing"])
async def test_a_collector_that_is_down_slow_or_refuses_costs_spans_and_no_request(
    cluster: RunningCluster, collector: OtlpReceiver, manner: str
) -> None:
    await cluster.predict("traced")
    before = await spans_counted(cluster, "dropped", "failed")
    began = time.monotonic()
    async with getattr(collector, manner)():
        # 800 spans; each of the two routers has room for 100.
        for _ in range(4):
            replies = await burst(cluster, 100)
            assert {reply.status for reply in replies} == {200}
        assert time.monotonic() - began < 30
        if manner != "refusing":

            async def dropped() -> bool:
                return await spans_counted(cluster, "dropped") > 0

            await eventually(dropped, "drops in /metrics")

    async def lost() -> bool:
        return await spans_counted(cluster, "dropped", "failed") > before

    await eventually(lost, "lost spans in /metrics")
    caller = Caller()

    # It is used again once it is back, by both routers.
    async def exported() -> bool:
        await cluster.predict("traced", headers=caller.headers)
        requests = named(collector.trace(caller.trace_id), "request")
        return len({span.attributes["orchestrator.router"] for span in requests}) == 2

    await eventually(exported, "an export after it was back")
