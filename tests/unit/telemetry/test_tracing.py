"""Exporting to a collector that is there, down, slow, or refuses: nobody waits for it."""

from __future__ import annotations

import io
import json
import logging
import socket
import sys
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from orchestrator.telemetry import metrics, tracing
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.scaling_spans import decision_span
from orchestrator.telemetry.settings import TelemetrySettings
from orchestrator.telemetry.trace_context import Ids, TraceContext
from orchestrator.telemetry.tracing import Tracing
from tests.unit.telemetry.collector import Collector, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.telemetry.span import Span

SETTINGS = TelemetrySettings(sample_ratio=0.25)
IDS = Ids()
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "10"}


def span(reason: str = "because") -> Span:
    return decision_span(
        trace_id=IDS.trace_id().decode(),
        span_id=IDS.span_id().decode(),
        model="echo",
        environment="production",
        deployment="v1",
        at=time.time(),
        before=0,
        desired=1,
        reason=reason,
    )


def counted(registry: Registry) -> dict[str, float]:
    return {
        labels[1]: value
        for (name, labels), value in registry.take().counters.items()
        if name == metrics.SPANS.name
    }


@pytest.fixture(autouse=True)
def _fresh_complaints() -> Iterator[None]:
    """What was said in one test is said again in the next."""
    yield
    for name in tracing._EXPORTERS:
        logging.getLogger(name).filters.clear()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A URL at which nobody listens, and nobody else will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def opened(registry: Registry | None = None, /, **env: str) -> Tracing:
    return Tracing.from_environment("router", SETTINGS, registry, QUICK | env)


def test_spans_reach_the_collector_with_who_made_them(collector: Collector) -> None:
    registry = Registry()
    on = opened(
        registry,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=staging,service.name=other,a=b%20c",
        OTEL_SERVICE_NAME="inference",
    )
    assert on.on
    on.emit([span("one"), span("two")])
    path, headers, request = collector.requests.get(timeout=10)
    on.close()
    assert path == "/v1/traces"
    assert headers["content-type"] == "application/x-protobuf"
    assert names(request) == ["scale.decision"] * 2
    (resource,) = request.resource_spans
    told = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert told["service.name"] == "inference"
    assert told["orchestrator.part"] == "router"
    assert told["deployment.environment.name"] == "staging"
    assert told["a"] == "b c"
    assert len(told["service.instance.id"]) == 32
    assert told["service.version"]
    assert resource.scope_spans[0].scope.name == "orchestrator"
    assert counted(registry) == {"exported": 2}


def test_the_endpoint_of_traces_is_taken_as_it_is(collector: Collector) -> None:
    on = opened(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/otlp",
    )
    on.emit([span()])
    assert collector.requests.get(timeout=10)[0] == "/otlp"
    on.close()


def test_what_is_left_is_exported_at_the_end(collector: Collector) -> None:
    on = opened(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="60000")
    on.emit([span()])
    on.close()
    assert names(collector.next()) == ["scale.decision"]
    # After the end nothing is taken, and nothing fails.
    assert not on.on
    on.emit([span()])
    on.close()


def test_a_slow_collector_costs_spans_not_time(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "CLOSE_S", 0.2)
    collector.open.clear()
    registry = Registry()
    on = opened(registry, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_MAX_QUEUE_SIZE="50")
    on.emit([span()])
    assert collector.busy.wait(10)
    began = time.perf_counter()
    on.emit(span() for _ in range(1000))
    on.close()
    assert time.perf_counter() - began < 2
    # The one that it has is one of the fifty.
    assert counted(registry) == {"dropped": 951}
    collector.open.set()


def test_a_slow_collector_that_recovers_gets_what_comes_then(collector: Collector) -> None:
    collector.open.clear()
    registry = Registry()
    on = opened(registry, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_MAX_QUEUE_SIZE="5")
    on.emit([span()])
    assert collector.busy.wait(10)
    on.emit(span() for _ in range(10))
    collector.open.set()
    assert sum(len(names(collector.next())) for _ in range(2)) == 5
    on.close()
    assert counted(registry) == {"exported": 5, "dropped": 6}


def test_a_collector_that_is_down_is_a_failure_that_is_counted(
    closed_port: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0.1")
    registry = Registry()
    on = opened(
        registry,
        OTEL_EXPORTER_OTLP_ENDPOINT=closed_port,
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1",
    )
    on.emit(span() for _ in range(20))
    on.close()
    assert counted(registry) == {"failed": 20}
    # Twenty exports failed; the log says it once.
    complaints = [each for each in caplog.records if each.name.startswith("opentelemetry")]
    assert len(complaints) == 1


def test_a_collector_that_refuses_is_a_failure_too(collector: Collector) -> None:
    collector.answers = 400
    registry = Registry()
    on = opened(registry, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    on.emit([span()])
    on.close()
    assert counted(registry) == {"failed": 1}


def test_spans_go_over_grpc_where_that_is_asked_for() -> None:
    got: list[str] = []

    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
            got.extend(names(request))
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    register: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    register(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        on = opened(
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )
        on.emit([span()])
        on.close()
    finally:
        server.stop(0).wait()
    assert got == ["scale.decision"]


def test_the_console_is_an_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    on = opened(OTEL_TRACES_EXPORTER="console")
    on.emit([span()])
    on.close()
    assert json.loads(out.getvalue())["name"] == "scale.decision"


def test_without_an_endpoint_nothing_is_on_and_no_exporter_is_loaded() -> None:
    off = opened()
    assert not off.on
    assert not off.samples(IDS.trace_id(), TraceContext(b"1" * 32, b"1" * 16, 1))
    off.emit([span()])
    off.close()
    Tracing.off().close()


def test_an_exporter_that_cannot_be_made_is_told_and_left(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    off = opened(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    off.emit([span()])
    off.close()
    assert not off.on
    assert "traces are not exported" in caplog.text
    assert collector.url in caplog.text
    assert "soon" in caplog.text


def share(tracing: Tracing, parent: TraceContext | None) -> float:
    return sum(tracing.samples(IDS.trace_id(), parent) for _ in range(4000)) / 4000


SAMPLED = TraceContext(b"1" * 32, b"1" * 16, 3)
UNSAMPLED = TraceContext(b"1" * 32, b"1" * 16, 2)


@pytest.mark.parametrize(
    ("env", "root", "sampled", "unsampled"),
    [
        ({}, 0.25, 1.0, 0.0),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.5"}, 0.5, 1.0, 0.0),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, 1.0, 1.0, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0.0, 0.0, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0, 1.0, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0, 1.0, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, 1.0, 1.0, 0.0),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            *(0.5, 0.5, 0.5),
        ),
        # What cannot be used leaves the config's ratio.
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, 0.25, 1.0, 0.0),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
            *(0.25, 0.25, 0.25),
        ),
    ],
)
def test_which_traces_are_sampled(
    env: dict[str, str], root: float, sampled: float, unsampled: float
) -> None:
    on = opened(OTEL_TRACES_EXPORTER="console", **env)
    assert share(on, None) == pytest.approx(root, abs=0.05)
    assert share(on, SAMPLED) == pytest.approx(sampled, abs=0.05)
    assert share(on, UNSAMPLED) == pytest.approx(unsampled, abs=0.05)
    on.close()


def test_another_ratio_takes_effect_unless_the_environment_has_one() -> None:
    by_config = opened(OTEL_TRACES_EXPORTER="console")
    by_env = opened(OTEL_TRACES_EXPORTER="console", OTEL_TRACES_SAMPLER_ARG="0")
    for each in (by_config, by_env):
        each.configure(TelemetrySettings(sample_ratio=1.0))
    assert share(by_config, None) == 1.0
    assert share(by_env, None) == 0.0
    for each in (by_config, by_env):
        each.close()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'; it must be otlp"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is 'collector'; it must be a URL such as",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1:4318"},
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://host:99999"}, "it must be a URL such as"),
    ],
)
def test_values_without_which_nothing_can_be_exported(
    env: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert not opened(**env).on
    assert said in caplog.text
    assert "traces are not exported" in caplog.text


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "it must be http/protobuf or grpc"),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "x"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is 'x'"),
        ({"OTEL_TRACES_SAMPLER": "rarely"}, "it must be one of always_on, always_off"),
        ({"OTEL_TRACES_SAMPLER_ARG": "1%"}, "it must be a number from 0 to 1"),
        ({"OTEL_TRACES_SAMPLER_ARG": "nan"}, "it must be a number from 0 to 1"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "many"}, "OTEL_BSP_MAX_QUEUE_SIZE is 'many'"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "it must be a whole number above 0; it is 2048"),
        ({"OTEL_BSP_SCHEDULE_DELAY": "-1"}, "it must be a whole number above 0; it is 5000"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a"}, "it must be a list such as"),
    ],
)
def test_values_that_leave_the_default(
    env: dict[str, str],
    said: str,
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
) -> None:
    on = opened(**({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url} | env))
    assert on.on
    assert said in caplog.text
    on.emit([span()])
    on.close()
    assert names(collector.next()) == ["scale.decision"]


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_SDK_DISABLED": "True"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
    ],
)
def test_it_can_be_turned_off(env: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert not opened(**({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"} | env)).on
    assert not caplog.records
