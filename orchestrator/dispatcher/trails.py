"""What is told of the runs of one lane: their records, their metrics, their spans."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from orchestrator.dispatcher.run import Answered, Failed, NotRun, followed
from orchestrator.telemetry.keeping import SlowestShare
from orchestrator.telemetry.metrics import ASYNC_RUNS, ATTEMPT_SECONDS, QUEUE_WAIT_SECONDS
from orchestrator.telemetry.timeline import LONGEST_SENTENCE, Attempt, Run
from orchestrator.telemetry.trace_context import SAMPLED, traceparent

if TYPE_CHECKING:
    from orchestrator.dispatcher.permits import Permit
    from orchestrator.dispatcher.run import Outcome
    from orchestrator.dispatcher.telling import Telling
    from orchestrator.store.records import Claim
    from orchestrator.telemetry.instruments import Counter
    from orchestrator.telemetry.trace_context import TraceContext

ASYNC: Final = "async"
"""Value of the label `class`."""

OK: Final = "ok"
"""Value of the label `code` of a run that succeeded."""

DROPPED: Final = "DROPPED"
"""In place of an `ErrorCode`, in spans only: the store was told nothing of that run."""


class Trail:
    """What is known of a run, from its claim to the report of its end.

    Attributes:
        claim: what is run.
        run: its record; the store gets it with the report.
        trace: of its request.
        began: `time.monotonic()` of the claim.
        over: whether its attempt is.
    """

    __slots__ = ("began", "claim", "over", "run", "trace")

    def __init__(self, claim: Claim, run: Run, trace: TraceContext, began: float) -> None:
        self.claim = claim
        self.run = run
        self.trace = trace
        self.began = began
        self.over = False

    def head(self, status: int) -> None:
        """The head of the replica's answer is in."""
        tried = self.run.tried
        tried.status = status
        tried.head_s = time.monotonic() - self.began

    def lines(self) -> bytes:
        """The header lines by which the replica goes on with the trace."""
        tried, trace = self.run.tried, self.trace
        flags = trace.flags | SAMPLED if tried.sampled else trace.flags
        line = traceparent(trace.trace_id, tried.span_id.encode(), flags)
        if trace.tracestate:
            return b"traceparent: %b\r\ntracestate: %b\r\n" % (line, trace.tracestate)
        return b"traceparent: %b\r\n" % line


class Trails:
    """Tells of the runs of one environment."""

    def __init__(self, telling: Telling, model: str, environment: str) -> None:
        """Nothing to tell yet.

        Args:
            telling: of the process.
            model: the model's name.
            environment: the environment's name.
        """
        self.application = ""
        self._telling = telling
        self._model = model
        self._environment = environment
        registry = telling.registry
        self._waits = registry.histogram(QUEUE_WAIT_SECONDS, model, environment, ASYNC)
        self._attempts = registry.histogram(ATTEMPT_SECONDS, model, environment, ASYNC)
        self._codes: dict[str, Counter] = {}
        self._share = telling.settings.slowest_share
        self._slowest = SlowestShare(self._share)

    def begin(self, claim: Claim, permit: Permit) -> Trail:
        """A run begins."""
        telling = self._telling
        trace = telling.context(claim.request_id, claim.traceparent, claim.tracestate)
        span_id = telling.ids.span_id
        cold = permit.cold_start
        number = claim.run
        tried = Attempt(
            number,
            permit.replica_id,
            permit.address,
            0.0,
            span_id().decode(),
            # What is kept in any case can be told to the replica beforehand.
            trace.sampled or (telling.on and (cold or number > 1)),
        )
        run = Run(
            attempt=number,
            source=telling.source,
            span_id=span_id().decode(),
            began=time.time(),
            seconds=0.0,
            waited_s=claim.waited_s,
            cold=cold,
            wait_span_id=span_id().decode(),
            tried=tried,
        )
        self._waits.observe(claim.waited_s)
        return Trail(claim, run, trace, time.monotonic())

    def attempted(self, trail: Trail, outcome: Outcome | None) -> None:
        """Its attempt is over.

        Args:
            trail: of the run.
            outcome: of the attempt; None: it was ended from here.
        """
        run, tried = trail.run, trail.run.tried
        run.seconds = tried.seconds = time.monotonic() - trail.began
        trail.over = True
        match outcome:
            case Failed():
                tried.failure = outcome.kind
                tried.detail = outcome.message[:LONGEST_SENTENCE]
            case NotRun():
                tried.failure = "capacity"
                return
            case None:
                tried.failure = "drained"
                return
        self._attempts.observe(tried.seconds)

    def reported(self, trail: Trail, outcome: Outcome | None) -> None:
        """The store knows of its end; None: it is not told, since the request is not ours."""
        run = trail.run
        match outcome:
            case Answered() | Failed():
                self._count(run.code or OK)
            case NotRun():
                return  # it is told of when it runs
            case None:
                run.code, run.tried.failure = DROPPED, "gone"
                run.message = "it was canceled, or its lease was lost"
        if self._telling.on:
            self._emit(trail, outcome)

    def _emit(self, trail: Trail, outcome: Outcome | None) -> None:
        run = trail.run
        slow = not run.code and self._slow(run.seconds)
        if not (trail.trace.sampled or run.code or run.attempt > 1 or run.cold or slow):
            return
        # Costs a while to load, and nothing where no spans go anywhere.
        from orchestrator.telemetry.spans import run_spans  # noqa: PLC0415

        self._telling.emit(
            run_spans(
                run,
                trace=trail.trace,
                application=self.application,
                model=self._model,
                environment=self._environment,
                request_id=trail.claim.request_id,
                deployment=trail.claim.deployment,
                retried=isinstance(outcome, Failed) and followed(trail.claim, outcome),
            )
        )
        ended, trace_id = run.began + run.seconds, trail.trace.trace_id.decode()
        self._attempts.exemplify(run.tried.seconds, trace_id, ended)
        self._waits.exemplify(run.waited_s, trace_id, run.began)

    def _slow(self, seconds: float) -> bool:
        share = self._telling.settings.slowest_share
        if share != self._share:
            self._share, self._slowest = share, SlowestShare(share)
        return self._slowest.slow(seconds)

    def _count(self, code: str) -> None:
        counter = self._codes.get(code)
        if counter is None:
            registry = self._telling.registry
            counter = registry.counter(ASYNC_RUNS, self._model, self._environment, code)
            self._codes[code] = counter
        counter.value += 1
