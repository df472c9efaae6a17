"""What a dispatcher tells with: its instruments, its way to export spans, its new ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from orchestrator.telemetry import trace_context
from orchestrator.telemetry.instruments import Registry
from orchestrator.telemetry.settings import TelemetrySettings
from orchestrator.telemetry.trace_context import SAMPLED, Ids, TraceContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PART: Final = "dispatcher"


class Tracing(Protocol):
    """What exports spans (`orchestrator.telemetry.tracing`)."""

    @property
    def on(self) -> bool:
        """Whether spans go anywhere."""

    def samples(self, trace_id: bytes, parent: TraceContext | None) -> bool:
        """Whether a trace that begins here is exported."""

    def emit(self, spans: Iterable[Any]) -> None:
        """Exports spans, or drops and counts them; never waits."""

    def configure(self, settings: TelemetrySettings) -> None:
        """Goes by other settings."""

    def close(self) -> None:
        """Exports what is left, for a bounded time."""


class Telling:
    """Of one process.

    Attributes:
        source: name of the dispatcher.
        registry: its instruments.
        settings: what it goes by.
        ids: new ids of spans.
    """

    def __init__(
        self,
        source: str = "",
        registry: Registry | None = None,
        make_tracing: Callable[[TelemetrySettings, Registry], Tracing] | None = None,
    ) -> None:
        """Nothing is told before `configure`.

        Args:
            source: name of the dispatcher.
            registry: where it counts; None: in one that nobody reads.
            make_tracing: makes what exports spans; None: nothing does.
        """
        self.source = source
        self.registry = registry or Registry()
        self.settings = TelemetrySettings()
        self.ids = Ids()
        self._make_tracing = make_tracing
        self._tracing: Tracing | None = None

    @property
    def on(self) -> bool:
        """Whether spans go anywhere."""
        return self._tracing is not None and self._tracing.on

    def configure(self, settings: TelemetrySettings) -> None:
        """Goes by other settings."""
        self.settings = settings
        if self._tracing is not None:
            self._tracing.configure(settings)
        elif self._make_tracing is not None:
            self._tracing = self._make_tracing(settings, self.registry)

    def context(self, request_id: str, parent: str, state: str) -> TraceContext:
        """The trace of an asynchronous request, whose parent is what handed it over.

        Args:
            request_id: its id: that of the trace too, where no other was kept with it.
            parent: its `traceparent`, as it was accepted.
            state: its `tracestate`.
        """
        found = trace_context.read(
            parent.encode("latin-1", "replace") if parent else None,
            state.encode("latin-1", "replace") if state else None,
        )
        if found is not None:
            return found
        trace_id = request_id.encode()
        sampled = self._tracing is not None and self._tracing.samples(trace_id, None)
        return TraceContext(trace_id, b"", SAMPLED if sampled else 0)

    def emit(self, spans: Iterable[Any]) -> None:
        """Exports spans; to be called where it is `on`."""
        if self._tracing is not None:
            self._tracing.emit(spans)

    def close(self) -> None:
        """Exports what is left, for a bounded time."""
        if self._tracing is not None:
            self._tracing.close()
