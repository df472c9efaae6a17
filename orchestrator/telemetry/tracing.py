"""Where a process's spans go: over OTLP, as the standard `OTEL_*` variables say.

One per process. Nothing here waits for a collector: spans go into a bounded queue
that a thread empties, and what finds no room is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from typing import TYPE_CHECKING, Final, Self

from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from orchestrator.telemetry import metrics
from orchestrator.telemetry.otel_environment import Variables
from orchestrator.telemetry.span import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

    from orchestrator.telemetry.instruments import Registry
    from orchestrator.telemetry.settings import TelemetrySettings
    from orchestrator.telemetry.trace_context import TraceContext

logger: Final = logging.getLogger(__name__)

CLOSE_S: Final = 2.0
"""How long the end of a process waits for the last spans."""

COMPLAIN_EVERY_S: Final = 60.0
"""A collector that is down is told about so often, not with each batch."""

_EXPORTERS: Final = (
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)
"""Loggers of what can go wrong with a collector."""


class Tracing:
    """Exports spans, or does nothing at all.

    Attributes:
        on: whether there is anywhere to export to.
    """

    __slots__ = ("_bound", "_emitted", "_limit", "_output", "_processor", "_variables", "on")

    def __init__(self, variables: Variables, output: Output | None) -> None:
        """Use `from_environment`, or `off`."""
        self.on = output is not None
        self._variables = variables
        self._output = output
        self._emitted = 0
        self._limit = variables.queue_size
        self._bound = 0
        self._processor: BatchSpanProcessor | None = None
        if output is not None:
            self._processor = BatchSpanProcessor(
                output,
                max_queue_size=variables.queue_size,
                schedule_delay_millis=variables.schedule_delay_ms,
                max_export_batch_size=variables.batch_size,
            )

    @classmethod
    def off(cls) -> Self:
        """One that exports nothing."""
        return cls(Variables.off(), None)

    @classmethod
    def from_environment(
        cls,
        part: str,
        settings: TelemetrySettings,
        registry: Registry | None,
        env: Mapping[str, str] = os.environ,
    ) -> Self:
        """Exports as the variables say; they win over the settings. Never raises.

        It is on only where an endpoint, or the exporter itself, is named. A value that
        cannot be used is told in the log, with what would be right.

        Args:
            part: which part of the system the process is, one of `metrics.PARTS`.
            settings: the config's; see also `configure`.
            registry: where spans are counted; None: nowhere.
            env: variables. The exporters themselves read certificates, headers,
                compression and time-outs from the process's own.
        """
        variables = Variables.read(env)
        exporter = variables.exporter()
        if exporter is None:
            made = cls(variables, None)
        else:
            resource = variables.resource(part, uuid.uuid4().hex)
            made = cls(variables, Output(exporter, resource, part, registry))
            _complain_seldom()
            logger.info("traces of this process go to %s", variables.target)
        made.configure(settings)
        return made

    def configure(self, settings: TelemetrySettings) -> None:
        """Goes by other settings from now on."""
        ratio = self._variables.ratio
        # The convention of opentelemetry's samplers: the last 8 bytes decide, so that
        # all parts of a trace, and other systems that sample by ratio, decide alike.
        self._bound = round((settings.sample_ratio if ratio is None else ratio) * 2**64)

    def samples(self, trace_id: bytes, parent: TraceContext | None) -> bool:
        """Whether a request's trace is exported, however it ends.

        Args:
            trace_id: 32 hexadecimal digits.
            parent: the caller's context; None: the trace begins here.
        """
        if not self.on:
            return False
        if parent is not None and self._variables.parent_based:
            return parent.flags & 1 == 1
        return int(trace_id[16:], 16) < self._bound

    def emit(self, spans: Iterable[ReadableSpan]) -> None:
        """Exports spans some time soon, or drops and counts them. Never waits, never raises."""
        processor, output = self._processor, self._output
        if processor is None or output is None:
            return
        for span in spans:
            # What is exported right now counts, too: it has not been taken yet.
            if self._emitted - output.completed >= self._limit:
                output.dropped += 1
            else:
                self._emitted += 1
                processor.on_end(span)

    def close(self) -> None:
        """Exports what is left, and gives up after `CLOSE_S`. No more spans after this."""
        processor, self._processor, self.on = self._processor, None, False
        if processor is None:
            return
        # The processor's own way to end waits for longer, and has no time-out.
        ending = threading.Thread(target=processor.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(CLOSE_S)
        if self._output is not None:
            self._output.tell()


class Output(SpanExporter):
    """Hands spans to an exporter, in the processor's thread, and counts what became of them.

    Attributes:
        completed: spans that it is done with; only its thread changes it.
        dropped: spans that found no room; only the process's event loop changes it.
    """

    def __init__(
        self, exporter: SpanExporter, resource: Resource, part: str, registry: Registry | None
    ) -> None:
        self.completed = 0
        self.dropped = 0
        self._exporter = exporter
        self._resource = resource
        self._failed = 0
        self._told = [0, 0, 0]
        self._counters = (
            None
            if registry is None
            else [
                registry.counter(metrics.SPANS, part, result)
                for result in ("exported", "failed", "dropped")
            ]
        )
        if registry is not None:
            registry.before_take(self.tell)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Exports a batch; an error of the exporter is a failure like others."""
        for span in spans:
            if isinstance(span, Span):
                span.made_by(self._resource)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        except Exception:
            logger.exception("the exporter of traces failed")
        if result is not SpanExportResult.SUCCESS:
            self._failed += len(spans)
        self.completed += len(spans)
        return result

    def tell(self) -> None:
        """Brings the counters up to date; called where the registry is used."""
        if self._counters is None:
            return
        # In this order: what failed is part of what is completed.
        failed = self._failed
        now = [self.completed - failed, failed, self.dropped]
        for counter, before, count in zip(self._counters, self._told, now, strict=True):
            if count > before:
                counter.add(count - before)
        self._told = [max(pair) for pair in zip(self._told, now, strict=True)]

    def shutdown(self) -> None:
        """Ends the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held here."""
        return self._exporter.force_flush(timeout_millis)


class _Seldom(logging.Filter):
    """Lets one record of each level pass every `COMPLAIN_EVERY_S`."""

    def __init__(self) -> None:
        super().__init__()
        self._next: dict[int, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next.get(record.levelno, 0.0):
            return False
        self._next[record.levelno] = now + COMPLAIN_EVERY_S
        return True


def _complain_seldom() -> None:
    for name in _EXPORTERS:
        exporter = logging.getLogger(name)
        if not any(isinstance(each, _Seldom) for each in exporter.filters):
            exporter.addFilter(_Seldom())
