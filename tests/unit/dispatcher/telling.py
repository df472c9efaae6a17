"""A way to tell whose spans stay in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestrator.dispatcher.telling import Telling
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.otel_environment import Variables
from orchestrator.telemetry.tracing import Output, Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from orchestrator.telemetry.instruments import Batch
    from orchestrator.telemetry.settings import TelemetrySettings


class Told:
    """What a dispatcher told.

    Attributes:
        telling: for the dispatcher.
    """

    def __init__(self, *, on: bool = True) -> None:
        self._exporter = InMemorySpanExporter()
        self._tracing: Tracing | None = None
        self._on = on
        self.telling = Telling("d1", Registry(), self._make)

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """All that were exported, by their start; nothing is exported afterwards."""
        if self._tracing is not None:
            self._tracing.close()
        spans = [one for one in self._exporter.get_finished_spans() if name in ("", one.name)]
        return sorted(spans, key=lambda span: span.start_time or 0)

    def batch(self) -> Batch:
        """What was counted since the last time."""
        return self.telling.registry.take()

    def _make(self, settings: TelemetrySettings, registry: Registry) -> Tracing:
        output = Output(self._exporter, Resource.get_empty(), "dispatcher", registry)
        self._tracing = Tracing(Variables.off(), output) if self._on else Tracing.off()
        self._tracing.configure(settings)
        return self._tracing


def span_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def trace_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def parent_id(span: ReadableSpan) -> str:
    return f"{span.parent.span_id:016x}" if span.parent is not None else ""


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})
