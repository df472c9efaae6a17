"""A collector: takes spans over OTLP, by HTTP and by gRPC, and keeps them for the test.

It speaks the protocol as it is on the wire, with OpenTelemetry's own messages, and
can be as bad as collectors are: hold its answers back, refuse, or not be there.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

PATIENCE_S = 30.0
HELD_AT_MOST_S = 60.0

Trace = list["ReceivedSpan"]


@dataclass(frozen=True)
class ReceivedSpan:
    """One span as it came over the wire. Times are Unix nanoseconds, ids hexadecimal.

    Attributes:
        kind: SERVER, CLIENT, ...
        parent_id: empty: it has none.
        events: names, times and attributes.
        links: trace and span ids.
        status: UNSET, OK or ERROR.
        message: of the status.
        resource: attributes of the process.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    tracestate: str
    start: int
    end: int
    attributes: dict[str, Any]
    events: list[tuple[str, int, dict[str, Any]]]
    links: list[tuple[str, str]]
    status: str
    message: str
    resource: dict[str, Any] = field(repr=False)

    @property
    def part(self) -> str:
        """Which of the orchestrator's processes sent it."""
        return str(self.resource["orchestrator.part"])

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e9


def decode(request: ExportTraceServiceRequest) -> Iterable[ReceivedSpan]:
    """The spans of one message."""
    for of_process in request.resource_spans:
        resource = _attributes(of_process.resource.attributes)
        for of_scope in of_process.scope_spans:
            for span in of_scope.spans:
                yield ReceivedSpan(
                    name=span.name,
                    kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    tracestate=span.trace_state,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    events=[
                        (each.name, each.time_unix_nano, _attributes(each.attributes))
                        for each in span.events
                    ],
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    status=trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix(
                        "STATUS_CODE_"
                    ),
                    message=span.status.message,
                    resource=resource,
                )


class OtlpReceiver:
    """The collector; an async context manager that listens while it is entered.

    Attributes:
        spans: all that came, in the order of their coming.
        exports: messages that were taken.
        refused: messages that were turned away.
        http_url: address of the endpoint, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
        grpc_url: the same, of gRPC.
    """

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.exports = 0
        self.refused = 0
        self.http_url = ""
        self.grpc_url = ""
        self._refusing = False
        self._go_on = asyncio.Event()
        self._go_on.set()
        self._changed = asyncio.Condition()
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._grpc: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        self._grpc = grpc.aio.server()
        add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]  # generated
            _GrpcService(self), self._grpc
        )
        self.grpc_url = f"http://127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        await self._grpc.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._go_on.set()
        await self._hang_up()
        if self._grpc is not None:
            await self._grpc.stop(grace=None)

    # What a test does to it

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Nothing listens; afterwards it does again, at the same address."""
        await self._hang_up()
        try:
            yield
        finally:
            await self._listen()

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """It takes messages and answers none of them until afterwards."""
        self._go_on.clear()
        try:
            yield
        finally:
            self._go_on.set()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """It answers 400, which no exporter tries again."""
        self._refusing = True
        try:
            yield
        finally:
            self._refusing = False

    # What a test sees

    def trace(self, trace_id: str) -> Trace:
        """The spans of a trace, by their beginning."""
        found = [span for span in self.spans if span.trace_id == trace_id]
        return sorted(found, key=lambda span: (span.start, span.end))

    async def until(
        self, condition: Callable[[], object], what: str, *, seconds: float = PATIENCE_S
    ) -> None:
        """Waits for something about the spans to become true."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            raise AssertionError(f"the collector has not seen {what} in {seconds:g} s") from None

    async def until_named(self, trace_id: str, *names: str, seconds: float = PATIENCE_S) -> Trace:
        """Waits for these spans of a trace, as many of each as it is named; gives the trace."""

        def complete() -> bool:
            had = [span.name for span in self.trace(trace_id)]
            return all(had.count(name) >= names.count(name) for name in names)

        try:
            await self.until(complete, "a whole trace", seconds=seconds)
        except AssertionError as error:
            had = [f"{span.part}:{span.name}" for span in self.trace(trace_id)]
            raise AssertionError(f"{error}: wanted {sorted(names)}, has {sorted(had)}") from None
        return self.trace(trace_id)

    # The wire

    async def take(self, message: ExportTraceServiceRequest) -> bool:
        """One message; False: it is refused."""
        async with asyncio.timeout(HELD_AT_MOST_S):
            await self._go_on.wait()
        if self._refusing:
            self.refused += 1
        else:
            self.exports += 1
            self.spans.extend(decode(message))
        async with self._changed:
            self._changed.notify_all()
        return not self._refusing

    async def _take_http(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("content-encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        if not await self.take(ExportTraceServiceRequest.FromString(body)):
            return web.Response(status=400)
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    async def _listen(self) -> None:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/traces", self._take_http)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.http_url = f"http://127.0.0.1:{self._port}"

    async def _hang_up(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


class _GrpcService(TraceServiceServicer):
    """The same over gRPC."""

    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    async def Export(  # noqa: N802  # the protocol's name
        self, request: ExportTraceServiceRequest, context: Any
    ) -> ExportTraceServiceResponse:
        if not await self._receiver.take(request):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")
        return ExportTraceServiceResponse()


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
