"""What becomes of each request as a record: its timeline, its metrics, its spans.

`open` begins a record and `close` ends it, once each and in this order. In between,
the request is among those that are under way, and can be looked up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.lifecycle.request import Outcome, State
from orchestrator.observatory.protocol import REQUEST, REQUESTS, Found, Live
from orchestrator.router.exchange import OTHER
from orchestrator.router.measures import Measures
from orchestrator.router.records import Records, decode, encode, fields_of
from orchestrator.router.trail import Trail
from orchestrator.telemetry import metrics
from orchestrator.telemetry.keeping import SlowestShare, keep_reason
from orchestrator.telemetry.settings import TelemetrySettings
from orchestrator.telemetry.spans import request_spans
from orchestrator.telemetry.timeline import KeepReason, RequestFilter, Timeline
from orchestrator.telemetry.trace_context import RANDOM, SAMPLED, Ids, traceparent
from orchestrator.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.router.endpoint import Endpoint
    from orchestrator.router.exchange import Exchange
    from orchestrator.router.outbox import Outbox
    from orchestrator.store.records import Accepted
    from orchestrator.telemetry.instruments import Counter, Registry

logger: Final = logging.getLogger("orchestrator.router")

AT_ONCE: Final = 16
"""Requests that have ended and are recorded together.

One by one costs 4 us more for each (the instructions have to be fetched anew), and so
do more than that (what they left behind has to).
"""

AT_LATEST_S: Final = 0.5
"""After its end, a request is recorded."""

MOST_LIVE: Final = 20
"""Requests of one id that are told of, while they are under way."""

_ANSWERED: Final = Outcome.ANSWERED
_NAMES: Final = {outcome: outcome.value for outcome in Outcome}
_FAILED_FROM: Final = 499
_NEVER_SLOW: Final = SlowestShare(0.0)
_filter: Final = msgspec.msgpack.Decoder(RequestFilter)


class Recorder:
    """The records of a router's requests. Used on one event loop.

    Attributes:
        source: name of the router, unlike that of any other process.
        registry: where metrics are counted.
        outbox: what is to be kept in the store.
        ids: for traces and spans.
        live: requests that are under way.
        records: those that have ended.
    """

    def __init__(self, source: str, registry: Registry, outbox: Outbox) -> None:
        self.source = source
        self.registry = registry
        self.outbox = outbox
        self.ids = Ids()
        self.live: set[Exchange] = set()
        self._fresh: list[tuple[bytes, bytes, bytes]] = []
        self._settings = TelemetrySettings()
        self.records = Records(self._settings.recent)
        self._tracing = Tracing.off()
        self._measures: dict[tuple[str, str], Measures] = {}
        self._rejected: dict[Outcome, Counter] = {}
        self._ended: list[tuple[Exchange, float, int, BaseException | None]] = []
        self._timer: asyncio.TimerHandle | None = None
        registry.before_take(self.flush)

    def configure(self, settings: TelemetrySettings, tracing: Tracing) -> None:
        """Goes by other settings from the next request on."""
        self._tracing = tracing
        tracing.configure(settings)
        self.records.resize(settings.recent)
        for measures in self._measures.values():
            measures.judge_by(settings.slowest_share)
        self._settings = settings

    # One request

    def open(self, request: Exchange) -> None:
        """A request whose head has been read: it gets its place in a trace."""
        if not self._fresh:
            self._fresh = self.ids.requests()
        trace_id, request.span_id, request.attempt_id = self._fresh.pop()
        parent = request.head.trace
        flags = RANDOM
        if parent is not None:
            trace_id, flags = parent.trace_id, parent.flags
        request.trace_id = trace_id
        tracing = self._tracing
        if tracing.on:
            request.sampled = tracing.samples(trace_id, parent)
            flags = flags & ~SAMPLED | request.sampled
        request.flags = flags
        self.live.add(request)

    def trail(self, request: Exchange, endpoint: Endpoint, lines: bytes) -> Trail:
        """The trail of a call; `lines` as `headers.context_lines` makes them."""
        measures = endpoint.measures or self._measure(endpoint)
        return Trail(request, lines, self.ids, measures, keeps=self._tracing.on)

    def hand_over(self, request: Exchange) -> tuple[str, str]:
        """`traceparent` and `tracestate` of an asynchronous request that is submitted."""
        request.submit_id = submit_id = self.ids.span_id()
        parent = request.head.trace
        state = b"" if parent is None else parent.tracestate
        carried = traceparent(request.trace_id, submit_id, request.flags)
        return carried.decode("ascii"), state.decode("latin-1")

    def handed_over(self, request: Exchange, accepted: Accepted) -> None:
        """The store has accepted it, or had before, by its idempotency key."""
        request.async_id = accepted.request_id
        endpoint = request.endpoint
        if accepted.created and endpoint is not None:
            (endpoint.measures or self._measure(endpoint)).submitted()

    def close(self, request: Exchange, error: BaseException | None, status: int) -> None:
        """A request that has ended: counted, remembered, and exported or kept if it is to be.

        All that is done some of them at a time, which costs half as much as one by one,
        between other work; at once where something went wrong.

        Args:
            request: in state `ENDED`, or never let in.
            error: what ended it; None: an answer.
            status: as answered; 499: the caller had gone.
        """
        self.live.discard(request)
        if request.public and error is None:
            return
        seconds = time.monotonic() - request.started
        waiting = self._ended
        waiting.append((request, seconds, status, error))
        # What it was asked and answered may be large, and is not waited with.
        request.call = None
        if error is not None or status >= _FAILED_FROM or len(waiting) >= AT_ONCE:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AT_LATEST_S, self.flush)

    def flush(self) -> None:
        """Does what is to be done for those that have ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._ended = self._ended, []
        for request, seconds, status, error in waiting:
            try:
                self._settle(request, seconds, status, error)
            except Exception:
                # A record that cannot be made must not take others with it.
                identity = request.head.request_id.decode("ascii")
                logger.exception("request %s was not recorded", identity)

    def _settle(
        self, request: Exchange, seconds: float, status: int, error: BaseException | None
    ) -> None:
        life, endpoint = request.life, request.endpoint
        outcome = life.outcome or Outcome.FAILED_INTERNAL
        record = encode(fields_of(request, self.source, seconds, _NAMES[outcome], status, error))
        other = request.kind == OTHER
        if endpoint is None:
            if outcome is not _ANSWERED:
                self._count_rejected(outcome)
            slowest = _NEVER_SLOW
        else:
            measures = endpoint.measures or self._measure(endpoint)
            measures.ended(request, outcome, seconds)
            slowest = measures.slowest_of(request.kind)
        kept: KeepReason | None
        plain = life.attempts <= 1 and not life.cold_start and not other
        if plain and outcome is _ANSWERED and status < _FAILED_FROM:
            # Most are such, and `keep_reason` has no more to ask of them.
            kept = KeepReason.SLOW if slowest.slow(seconds) else None
        else:
            kept = keep_reason(decode(record), slowest)
        if kept is not None or request.sampled:
            record = self._look_closer(decode(record), kept, endpoint)
        self.records.add(record, other=other)

    def _look_closer(
        self, timeline: Timeline, kept: KeepReason | None, endpoint: Endpoint | None
    ) -> bytes:
        """A request that is exported or kept; gives its record."""
        if kept is not None:
            timeline.kept = kept
            self.outbox.add(timeline)
        if self._tracing.on:
            application = ""
            if endpoint is not None:
                application = endpoint.settings.application
                if endpoint.measures is not None:
                    endpoint.measures.exemplify(timeline)
            self._tracing.emit(request_spans(timeline, application))
        return encode(timeline)

    def _count_rejected(self, outcome: Outcome) -> None:
        counter = self._rejected.get(outcome)
        if counter is None:
            counter = self.registry.counter(metrics.REJECTED, outcome.value)
            self._rejected[outcome] = counter
        counter.value += 1

    def _measure(self, endpoint: Endpoint) -> Measures:
        """The instruments of an environment's first request."""
        names = (endpoint.model, endpoint.name)
        measures = self._measures.get(names)
        if measures is None:
            measures = self._measures[names] = Measures(self.registry, *names)
            measures.judge_by(self._settings.slowest_share)
        endpoint.measures = measures
        return measures

    # Questions

    def answers(self) -> dict[str, Callable[[bytes], Awaitable[bytes]]]:
        """What this router answers to the observatory (see its `protocol`)."""
        return {REQUESTS: self._answer_requests, REQUEST: self._answer_request}

    async def find(self, request_id: str) -> Found:
        """All that is known here of the requests of one id."""
        asked = request_id.encode("utf-8")
        found = [each for each in self.live if each.head.request_id == asked][:MOST_LIVE]
        # One that ends while others are looked at is among those that have ended.
        live = [await self._look(each) for each in found if each in self.live]
        wanted = RequestFilter(request_id=request_id, limit=MOST_LIVE)
        return Found(live, await self.recent(wanted))

    async def recent(self, wanted: RequestFilter) -> list[Timeline]:
        """Requests that have ended lately and fit, newest first."""
        self.flush()
        return await self.records.select(wanted)

    async def _answer_requests(self, argument: bytes) -> bytes:
        return encode(await self.recent(_filter.decode(argument)))

    async def _answer_request(self, argument: bytes) -> bytes:
        return encode(await self.find(argument.decode("utf-8")))

    async def _look(self, request: Exchange) -> Live:
        """A request that is under way, as it is before the first await."""
        seconds = time.monotonic() - request.started
        state = request.life.state
        call = request.call
        status = request.status if call is None else call.status
        fields = fields_of(request, self.source, seconds, state.value, status, None)
        timeline = decode(encode(fields))
        since_s, replica, ahead = 0.0, "", None
        trail = request.trail
        if trail is not None:
            if trail.waiting is not None:
                since_s = trail.waiting.at_s
            elif trail.running:
                replica = trail.permit.replica_id
                since_s = trail.at_s
                if state is State.ANSWERING and trail.head_s is not None:
                    since_s += trail.head_s
            if state is State.PARKED and call is not None and request.endpoint is not None:
                ahead = await request.endpoint.permits.place(call)
        since = timeline.began + since_s
        return Live(timeline=timeline, since=since, replica=replica, ahead=ahead)
