"""A request's place in a trace: what comes in, what replicas and dispatchers are told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from orchestrator.store.keys import tag_of
from orchestrator.telemetry import metrics
from orchestrator.telemetry.otel_environment import Variables
from orchestrator.telemetry.timeline import RequestFilter
from orchestrator.telemetry.tracing import Output, Tracing
from tests.unit.router.harness import respond, table
from tests.unit.router.test_proxying import Recorder as Replica
from tests.unit.router.test_retries import Scripted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from orchestrator.store import Store
    from orchestrator.store.embedded import EmbeddedServer
    from tests.unit.router.conftest import Rig

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{PARENT}-01"

TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


async def _ask(rig: Rig, *headers: tuple[str, str], path: str = "predict", body: str = "{}") -> int:
    """Asks with headers that may be there more than once."""
    reader, writer = await rig.connect()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    target = f"/models/echo/production/{path}"
    writer.write(
        f"POST {target} HTTP/1.1\r\nhost: a\r\n{lines}content-length: {len(body)}\r\n\r\n{body}".encode(
            "latin-1"
        )
    )
    status = int((await reader.readline()).split()[1])
    await rig.idle.wait()
    return status


def _given(replica: Replica, name: str, at: int = -1) -> list[str]:
    headers = replica.scopes[at]["headers"]
    return [value.decode("latin-1") for key, value in headers if key.decode() == name]


def _parts(replica: Replica, at: int = -1) -> tuple[str, str, str]:
    """Trace id, span id and flags that the replica was told; one header, whatever came."""
    (value,) = _given(replica, "traceparent", at)
    found = TRACEPARENT.fullmatch(value)
    assert found is not None, value
    return found[1], found[2], found[3]


@pytest.fixture
async def replica(rig: Rig) -> Replica:
    replica = Replica()
    await rig.replica(replica, slots=4)
    return replica


# What comes in


async def test_without_a_context_a_trace_begins(rig: Rig, replica: Replica) -> None:
    await _ask(rig)
    await _ask(rig)
    first, second = _parts(replica, 0), _parts(replica, 1)
    assert first[0] != second[0]
    assert first[1] != second[1]
    assert first[2] == "02"  # random, and not sampled
    newest, oldest = await rig.app.recorder.recent(RequestFilter())
    assert (newest.trace_id, oldest.trace_id) == (second[0], first[0])
    assert oldest.attempts[0].span_id == first[1]
    assert oldest.span_id not in first


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
async def test_a_context_goes_on_under_a_new_parent(rig: Rig, replica: Replica, flags: str) -> None:
    await _ask(rig, ("Traceparent", f"00-{TRACE}-{PARENT}-{flags}"), ("tracestate", "a=1,b=2"))
    trace, span, told = _parts(replica)
    assert (trace, told) == (TRACE, flags)
    assert span != PARENT
    assert _given(replica, "tracestate") == ["a=1,b=2"]
    (it,) = await rig.app.recorder.recent(RequestFilter())
    assert (it.trace_id, it.parent_id, it.tracestate) == (TRACE, PARENT, "a=1,b=2")


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", GIVEN), ("traceparent", GIVEN)],
        [("traceparent", f"{GIVEN},{GIVEN}")],
        [("traceparent", GIVEN.upper())],
        [("traceparent", f"00-{'0' * 32}-{PARENT}-01")],
        [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
        [("traceparent", f"ff-{TRACE}-{PARENT}-01")],
        [("traceparent", f"{GIVEN}-more")],
        [("traceparent", "")],
        [("traceparent", "x" * 10_000)],
        [],
    ],
)
async def test_a_context_that_is_none_begins_a_trace_and_takes_its_state_with_it(
    rig: Rig, replica: Replica, headers: list[tuple[str, str]]
) -> None:
    assert await _ask(rig, *headers, ("tracestate", "a=1")) == 200
    trace, _, flags = _parts(replica)
    assert trace != TRACE
    assert flags == "02"
    assert not _given(replica, "tracestate")


async def test_a_later_version_is_read_as_far_as_it_is_known(rig: Rig, replica: Replica) -> None:
    await _ask(rig, ("traceparent", f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like"))
    assert _parts(replica)[::2] == (TRACE, "01")


async def test_states_in_several_headers_are_one(rig: Rig, replica: Replica) -> None:
    await _ask(rig, ("traceparent", GIVEN), ("tracestate", "a=1"), ("tracestate", "b=2, c=3"))
    assert _given(replica, "tracestate") == ["a=1,b=2,c=3"]


@pytest.mark.parametrize("state", ["=1", "a", "A=1", ",".join(f"k{n}=1" for n in range(33))])
async def test_a_state_that_is_none_is_dropped_alone(
    rig: Rig, replica: Replica, state: str
) -> None:
    assert await _ask(rig, ("traceparent", GIVEN), ("tracestate", state)) == 200
    assert _parts(replica)[0] == TRACE
    assert not _given(replica, "tracestate")


async def test_header_bombs_are_dropped(rig: Rig, replica: Replica) -> None:
    bombs = [("tracestate", "," * 10_000), ("baggage", "a=1," * 5_000)]
    assert await _ask(rig, ("traceparent", GIVEN), *bombs) == 200
    assert _parts(replica)[0] == TRACE
    assert not _given(replica, "tracestate")
    assert not _given(replica, "baggage")


# What is passed on


async def test_baggage_stays_here_unless_the_config_says_otherwise(
    rig: Rig, replica: Replica
) -> None:
    baggage = [("baggage", "user=1"), ("baggage", "plan=free")]
    await _ask(rig, ("traceparent", GIVEN), *baggage)
    assert not _given(replica, "baggage")
    rig.configure(telemetry={"forward_baggage": True})
    await _ask(rig, *baggage)
    assert _given(replica, "baggage") == ["user=1,plan=free"]
    await _ask(rig, ("baggage", "x" * 10_000))
    assert not _given(replica, "baggage")


async def test_each_attempt_is_another_span(rig: Rig) -> None:
    bad, good = Scripted(503), Replica()
    bad_headers: list[Any] = []

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        bad_headers.extend(scope["headers"])
        await bad(scope, receive, send)

    await rig.replica(noting, name="bad")
    await rig.replica(good, name="good")
    await _ask(rig, ("traceparent", f"00-{TRACE}-{PARENT}-00"))
    first = dict(bad_headers)[b"traceparent"].decode()
    trace, span, flags = _parts(good)
    assert first.startswith(f"00-{TRACE}-")
    assert (trace, flags) == (TRACE, "00")
    assert span not in first


async def test_what_is_submitted_goes_on_in_the_trace(durable: Rig, store: Store) -> None:
    body = '{"model_input": {}}'
    headers = [("traceparent", GIVEN), ("tracestate", "a=1")]
    assert await _ask(durable, *headers, path="async_predict", body=body) == 201
    (it,) = await durable.app.recorder.recent(RequestFilter())
    (claim,) = await store.requests.claim(tag_of("echo", "production"), 1, 30.0)
    assert claim.traceparent == f"00-{TRACE}-{it.submit_span_id}-01"
    assert claim.tracestate == "a=1"
    assert (it.kind, it.async_id, it.outcome) == ("submit", claim.request_id, "answered")
    assert it.submit_span_id not in (it.span_id, PARENT, "")
    registry = durable.app.recorder.registry
    assert registry.counter(metrics.ASYNC_SUBMITTED, "echo", "production").value == 1


# What is exported


class Exported:
    """An exporter in memory, as the SDK has it, behind the router's own tracing."""

    def __init__(self, rig: Rig, ratio: float, **env: str) -> None:
        self.spans = InMemorySpanExporter()
        registry = rig.app.recorder.registry
        output = Output(self.spans, Resource.get_empty(), "router", registry)
        self.tracing = Tracing(Variables.read({"OTEL_BSP_SCHEDULE_DELAY": "10", **env}), output)
        rig.app._tracing = self.tracing
        rig.app.configure(table(telemetry={"sample_ratio": ratio}))
        self._rig = rig

    def finished(self) -> dict[str, list[ReadableSpan]]:
        """The spans by name, when all are out; nothing more is exported."""
        self._rig.app.recorder.flush()
        self.tracing.close()
        found: dict[str, list[ReadableSpan]] = {}
        for span in self.spans.get_finished_spans():
            found.setdefault(span.name, []).append(span)
        return found


async def test_a_sampled_request_is_exported_and_its_replica_told(
    rig: Rig, replica: Replica
) -> None:
    exported = Exported(rig, 1.0)
    await _ask(rig)
    trace, span, flags = _parts(replica)
    assert flags == "03"
    spans = exported.finished()
    (request,), (attempt,) = spans["request"], spans["attempt"]
    assert request.kind is SpanKind.SERVER
    assert request.context is not None
    assert attempt.context is not None
    assert f"{attempt.context.trace_id:032x}" == f"{request.context.trace_id:032x}" == trace
    assert f"{attempt.context.span_id:016x}" == span
    assert attempt.parent is not None
    assert attempt.parent.span_id == request.context.span_id


async def test_one_that_is_not_sampled_is_not_exported(rig: Rig, replica: Replica) -> None:
    exported = Exported(rig, 0.0)
    await _ask(rig)
    assert _parts(replica)[2] == "02"
    assert not exported.finished()


async def test_the_caller_decides_where_it_did(rig: Rig, replica: Replica) -> None:
    exported = Exported(rig, 1.0)
    await _ask(rig, ("traceparent", f"00-{TRACE}-{PARENT}-00"))
    assert _parts(replica)[2] == "00"
    await _ask(rig, ("traceparent", GIVEN))
    assert _parts(replica)[2] == "01"
    (request,) = exported.finished()["request"]
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT


async def test_a_retry_is_exported_whatever_the_ratio(rig: Rig) -> None:
    exported = Exported(rig, 0.0)
    good = Replica()
    await rig.replica(Scripted(503), name="bad")
    await rig.replica(good, name="good")
    await _ask(rig)
    assert _parts(good)[2] == "03"  # so that the replica's span is exported, too
    (it,) = await rig.app.recorder.recent(RequestFilter())
    assert [attempt.sampled for attempt in it.attempts] == [False, True]
    spans = exported.finished()
    assert (len(spans["request"]), len(spans["attempt"]), len(spans["queue.wait"])) == (1, 2, 1)


async def test_a_failure_is_exported_whatever_the_caller_says(rig: Rig) -> None:
    exported = Exported(rig, 0.0)

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, 500, b"{}")

    await rig.replica(broken)
    await _ask(rig, ("traceparent", f"00-{TRACE}-{PARENT}-00"))
    (request,) = exported.finished()["request"]
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 500
    assert request.attributes["orchestrator.kept"] == "error"


async def test_histograms_name_traces_that_are_exported(rig: Rig, replica: Replica) -> None:
    exported = Exported(rig, 1.0)
    await _ask(rig)
    trace = _parts(replica)[0]
    batch = rig.app.recorder.registry.take()
    part = batch.histograms[metrics.REQUEST_SECONDS.name, ("echo", "production")]
    assert [each.trace_id for each in part.exemplars.values()] == [trace]
    exported.finished()


async def test_tokens_are_read_of_answers_that_are_sampled(rig: Rig) -> None:
    usage = b'{"id": "x", "usage": {"prompt_tokens": 5, "completion_tokens": 7}}'
    await rig.replica(Replica(body=usage))
    exported = Exported(rig, 1.0)
    async with rig.http.post(f"{rig.url}/v1/chat/completions", json={"model": "echo"}) as response:
        assert await response.read() == usage
    await rig.idle.wait()
    (it,) = await rig.app.recorder.recent(RequestFilter())
    assert (it.operation, it.input_tokens, it.output_tokens) == ("chat", 5, 7)
    exported.finished()


# What is kept


async def test_what_is_kept_is_in_the_store(durable: Rig, store: Store) -> None:
    await durable.replica(Scripted(500))
    assert await _ask(durable, ("x-request-id", "broken")) == 500
    assert await _ask(durable, ("x-request-id", "fine")) == 200
    await durable.app.recorder.outbox.close()
    (it,) = await store.timelines.get("broken")
    assert (it.kept, it.status, it.attempts[0].replica) == ("error", 500, "r1")
    assert not await store.timelines.get("fine")


async def test_without_a_store_nothing_waits_for_one(rig: Rig) -> None:
    await rig.replica(Scripted(500))
    await _ask(rig)
    rig.app.recorder.flush()
    assert len(rig.app.recorder.outbox) == 0


async def test_a_store_that_is_away_loses_the_oldest(
    rig: Rig, store_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.router.outbox.ROOM", 3)
    rig.configure(store="unix:///nowhere/at/all")
    for number in range(5):
        status, _ = await rig.ask("POST", "/models/nope/x/predict", x_request_id=f"id-{number}")
        assert status == 404
    await rig.replica(Scripted(*[500] * 5))
    for number in range(5):
        assert await _ask(rig, ("x-request-id", f"id-{number}")) == 500
    rig.app.recorder.flush()
    assert [each.request_id for each in rig.app.recorder.outbox._waiting] == [
        "id-2",
        "id-3",
        "id-4",
    ]
    lost = rig.app.recorder.registry.counter(metrics.TIMELINES_LOST, "router")
    assert lost.value == 2
    await rig.app.recorder.outbox.close()
    assert lost.value == 5
