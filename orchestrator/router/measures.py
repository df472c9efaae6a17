"""What a router measures of one environment, at hand where it is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.request import Outcome
from orchestrator.router.exchange import CALL, SUBMIT
from orchestrator.router.trail import NOT_RUN
from orchestrator.telemetry import metrics
from orchestrator.telemetry.keeping import SlowestShare

if TYPE_CHECKING:
    from orchestrator.lifecycle.request import RequestLife
    from orchestrator.router.exchange import Exchange
    from orchestrator.router.trail import Trail
    from orchestrator.telemetry.instruments import Counter, Registry
    from orchestrator.telemetry.timeline import Timeline

SHED: Final = {
    Outcome.REJECTED_QUEUE_FULL: "queue_full",
    Outcome.REJECTED_NO_FREE_SLOT: "no_free_slot",
}
"""Outcomes that mean a lack of room, and the reason that a metric gives for them."""

_GAVE_UP: Final = frozenset(each for each in Outcome if each.startswith("evicted"))

SYNC: Final = "sync"
"""Value of the label `class` of all that a router runs."""

ASYNC_FULL: Final = "async_queue_full"
"""The reason where the store has no room for another asynchronous request."""


class Measures:
    """Instruments of one environment; made when its first request comes.

    A counter is made when it is first counted: most outcomes never are.

    Attributes:
        request, wait, attempt, first_byte, gap: histograms of seconds.
    """

    __slots__ = (
        "_environment",
        "_model",
        "_outcomes",
        "_registry",
        "_share",
        "_slowest_calls",
        "_slowest_submissions",
        "attempt",
        "first_byte",
        "gap",
        "request",
        "wait",
    )

    def __init__(self, registry: Registry, model: str, environment: str) -> None:
        self._registry = registry
        self._model = model
        self._environment = environment
        self._outcomes: dict[Outcome, Counter] = {}
        self._share = 0.0
        self._slowest_calls = self._slowest_submissions = SlowestShare(0.0)
        self.request = registry.histogram(metrics.REQUEST_SECONDS, model, environment)
        self.wait = registry.histogram(metrics.QUEUE_WAIT_SECONDS, model, environment, SYNC)
        self.attempt = registry.histogram(metrics.ATTEMPT_SECONDS, model, environment, SYNC)
        self.first_byte = registry.histogram(metrics.FIRST_BYTE_SECONDS, model, environment)
        self.gap = registry.histogram(metrics.CHUNK_GAP_SECONDS, model, environment)

    def judge_by(self, share: float) -> None:
        """That share of calls, and of submissions, counts as slow from now on."""
        if share != self._share:
            self._share = share
            self._slowest_calls = SlowestShare(share)
            self._slowest_submissions = SlowestShare(share)

    def slowest_of(self, kind: str) -> SlowestShare:
        """The slowest share of requests of a kind; it has to be asked for each of them."""
        return self._slowest_submissions if kind == SUBMIT else self._slowest_calls

    def ended(self, request: Exchange, outcome: Outcome, seconds: float) -> None:
        """A request has ended, after so many seconds."""
        counter = self._outcomes.get(outcome)
        if counter is None:
            counter = self._outcomes[outcome] = self._counter(metrics.REQUESTS, outcome.value)
        counter.value += 1
        if (reason := SHED.get(outcome)) is not None:
            self._counter(metrics.SHED, ASYNC_FULL if request.kind == SUBMIT else reason).add()
        trail, life = request.trail, request.life
        if trail is None:
            return
        self.request.observe(seconds)
        if trail.number == 1 and not trail.failure:
            self.attempt.observe(trail.seconds)
            if life.waited_s:
                self.wait.observe(life.waited_s)
            else:
                self.wait.counts[0] += 1  # as `observe(0.0)` does
        else:
            self._tried(trail, life)
        if trail.chunks and trail.first_byte_s is not None:
            self.first_byte.observe(trail.first_byte_s)
        if life.cold_start:
            self._counter(metrics.COLD_STARTS).add()

    def _tried(self, trail: Trail, life: RequestLife) -> None:
        """A call that had more than one attempt, or none."""
        outcomes = trail.outcomes()
        for failure, seconds in outcomes:
            if failure not in NOT_RUN:
                self.attempt.observe(seconds)
        for failure, _ in outcomes[:-1]:
            self._counter(metrics.RETRIES, failure).add()
        if trail.number or life.outcome in _GAVE_UP:
            self.wait.observe(life.waited_s)

    def exemplify(self, timeline: Timeline) -> None:
        """Names the trace of a call that was measured, and is exported."""
        if timeline.kind != CALL:
            return
        trace_id, at = timeline.trace_id, timeline.began + timeline.seconds
        self.request.exemplify(timeline.seconds, trace_id, at)
        if timeline.attempts:
            self.attempt.exemplify(timeline.attempts[-1].seconds, trace_id, at)
        if timeline.waits and timeline.attempts:
            self.wait.exemplify(sum(wait.seconds for wait in timeline.waits), trace_id, at)
        if timeline.chunks:
            self.gap.exemplify(timeline.longest_gap_s, trace_id, at)
            if timeline.first_byte_s is not None:
                self.first_byte.exemplify(timeline.first_byte_s, trace_id, at)

    def submitted(self) -> None:
        """An asynchronous request was accepted."""
        self._counter(metrics.ASYNC_SUBMITTED).add()

    def _counter(self, metric: metrics.Metric, *labels: str) -> Counter:
        return self._registry.counter(metric, self._model, self._environment, *labels)
