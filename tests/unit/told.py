"""What a process tells, where a test can see it: the real `Tracing`, and the real observatory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestrator.observatory.hub import ObservatoryHub
from orchestrator.telemetry.otel_environment import Variables
from orchestrator.telemetry.tracing import Output, Tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from orchestrator.observatory.protocol import Ack


class Exported:
    """Spans go into memory instead of over a wire. `spans` ends the tracing, so that nothing is on its way any more."""

    def __init__(self, part: str) -> None:
        self._memory = InMemorySpanExporter()
        variables = Variables.read({"OTEL_TRACES_EXPORTER": "console"})
        self.tracing = Tracing(variables, Output(self._memory, Resource({}), part, None))

    @property
    def spans(self) -> list[ReadableSpan]:
        self.tracing.close()
        return list(self._memory.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]


class HeardHub(ObservatoryHub):
    """Says when it has first heard of a process."""

    def __init__(self) -> None:
        super().__init__()
        self._heard = asyncio.Event()

    async def push(self, message: bytes) -> Ack:
        ack = await super().push(message)
        self._heard.set()
        return ack

    async def until_heard(self) -> None:
        async with asyncio.timeout(20):
            await self._heard.wait()
