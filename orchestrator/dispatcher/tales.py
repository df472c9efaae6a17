"""What is told of tries to deliver webhooks: their metrics and their spans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orchestrator.lifecycle.webhook import Verdict
from orchestrator.telemetry.metrics import WEBHOOK_SECONDS, WEBHOOKS
from orchestrator.telemetry.trace_context import SAMPLED, TraceContext, traceparent

if TYPE_CHECKING:
    from orchestrator.dispatcher.telling import Telling
    from orchestrator.store.records import Delivery, Try


class Tale(msgspec.Struct, frozen=True):
    """A try that is being made.

    Attributes:
        trace: of the request.
        span_id: of the try.
        sampled: whether it is exported whatever comes of it.
        last_run: span id of the request's last run; empty: there was none.
    """

    trace: TraceContext
    span_id: str
    sampled: bool
    last_run: str

    def headers(self) -> dict[str, str]:
        """By which the receiver may go on with the trace."""
        flags = self.trace.flags | SAMPLED if self.sampled else self.trace.flags
        line = traceparent(self.trace.trace_id, self.span_id.encode(), flags)
        given = {"traceparent": line.decode()}
        if self.trace.tracestate:
            given["tracestate"] = self.trace.tracestate.decode()
        return given


class Tales:
    """Tells of the webhooks of all environments."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling

    def begin(self, delivery: Delivery) -> Tale:
        """A try begins."""
        telling, record = self._telling, delivery.record
        trace = telling.context(record.request_id, record.traceparent, record.tracestate)
        last = record.runs[-1] if record.runs else None
        kept = record.error is not None or (
            last is not None and (last.attempt > 1 or last.cold or bool(last.code))
        )
        return Tale(
            trace,
            telling.ids.span_id().decode(),
            # What is kept in any case can be told to the receiver beforehand.
            trace.sampled or (telling.on and (kept or delivery.attempt > 1)),
            last.span_id if last is not None else "",
        )

    def ended(self, delivery: Delivery, line: Try, verdict: Verdict, tale: Tale | None) -> None:
        """What became of one.

        Args:
            delivery: the webhook.
            line: for its log.
            verdict: STOP also where the schedule is used up.
            tale: None: it counts as a try, and was not made.
        """
        record, telling = delivery.record, self._telling
        at = (record.model, record.environment)
        telling.registry.counter(WEBHOOKS, *at, verdict.value).value += 1
        if tale is None:
            return
        seconds = telling.registry.histogram(WEBHOOK_SECONDS, *at)
        seconds.observe(line.seconds)
        if not telling.on or not (tale.sampled or verdict is not Verdict.DELIVERED):
            return
        # Costs a while to load, and nothing where no spans go anywhere.
        from orchestrator.telemetry.spans import webhook_span  # noqa: PLC0415

        error = line.error or f"the receiver answered {line.status}"
        telling.emit(
            [
                webhook_span(
                    trace=tale.trace,
                    span_id=tale.span_id,
                    request_id=record.request_id,
                    model=record.model,
                    environment=record.environment,
                    url=delivery.url,
                    number=delivery.attempt,
                    began=line.at,
                    seconds=line.seconds,
                    status=line.status or 0,
                    verdict=verdict.value,
                    error="" if verdict is Verdict.DELIVERED else error,
                    run_span_id=tale.last_run,
                )
            ]
        )
        trace_id = tale.trace.trace_id.decode()
        seconds.exemplify(line.seconds, trace_id, line.at + line.seconds)
