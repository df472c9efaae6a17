"""The course of a request: `orchestrator.router.call` under the virtual clock.

Every request that comes in ends here, once, as one `Ended`. Methods that end in
`_at` are planned; they leave the environment settled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.async_request import ErrorCode
from orchestrator.lifecycle.holder import Refusal
from orchestrator.lifecycle.line import Waiter
from orchestrator.lifecycle.request import Outcome
from orchestrator.lifecycle.retry import Failure, Verdict
from orchestrator.reports.measures import FLUSH_AT, Ended
from orchestrator.simulator.execution import Batched, Limits, Solo
from orchestrator.simulator.request import NOBODY
from orchestrator.simulator.scenario import BatchModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.lifecycle.holder import Permit
    from orchestrator.reports.measures import EnvironmentMeasures
    from orchestrator.simulator.clock import Agenda
    from orchestrator.simulator.execution import Execution
    from orchestrator.simulator.lane import Lane
    from orchestrator.simulator.replica import Replica
    from orchestrator.simulator.request import Request
    from orchestrator.simulator.scenario import SimulatedEnvironment

COME_BACK: Final = frozenset(
    {
        Outcome.REJECTED_QUEUE_FULL,
        Outcome.REJECTED_NO_FREE_SLOT,
        Outcome.EVICTED_PARK_TIMEOUT,
        Outcome.EVICTED_UNHEALTHY,
    }
)
"""Answered with 429, 503 or 529: the caller may ask again."""

_REFUSED: Final = {
    Refusal.FULL: Outcome.REJECTED_QUEUE_FULL,
    Refusal.NO_SLOT: Outcome.REJECTED_NO_FREE_SLOT,
    Refusal.TIMEOUT: Outcome.EVICTED_PARK_TIMEOUT,
    Refusal.UNHEALTHY: Outcome.EVICTED_UNHEALTHY,
}

_ANSWERED: Final = Outcome.ANSWERED.value


class Calls:
    """The requests of one environment that are under way.

    Attributes:
        open: those that have come in and not ended, with those whose callers will come back.
        lane: of asynchronous requests; None: there was none yet.
    """

    def __init__(
        self,
        spec: SimulatedEnvironment,
        agenda: Agenda,
        measures: EnvironmentMeasures,
        replicas: Mapping[str, Replica],
        *,
        settle: Callable[[], None],
        over: Callable[[], None],
    ) -> None:
        """None is under way.

        Args:
            spec: the environment.
            agenda: the clock.
            measures: told of every end.
            replicas: those that there are, by name.
            settle: lets holders and queue talk about what has happened.
            over: called when none is under way any more.
        """
        self.open = 0
        self.lane: Lane | None = None
        self._agenda = agenda
        self._measures = measures
        self._ended = measures.ended
        self._replicas = replicas
        self._settle = settle
        self._over = over
        self._rules = spec.retry
        self._retry_after = spec.callers.retry_after
        self._park_s = spec.park_s
        self._overhead_s = spec.overhead_s
        self._execution = self._make_execution(spec, agenda)

    def _make_execution(self, spec: SimulatedEnvironment, agenda: Agenda) -> Execution:
        limits = Limits(spec.predict_s, spec.slot_overhead_s)
        if isinstance(spec.service, BatchModel):
            return Batched(agenda, limits, spec.service, finish=self.finish_at, cut=self.cut_at)
        return Solo(agenda, limits, finish=self.finish_at, cut=self.cut_at)

    # From its coming in to its permit

    def submit(self, request: Request) -> None:
        """A synchronous request comes to its router."""
        now = self._agenda.now
        client = request.client
        request.life.admit()
        if client.budget is not None:
            client.budget.request(now)
        permit = client.core.take(now)
        if permit is not None:
            self.run(request, permit)
            return
        request.life.park()
        self._wait(request, Waiter(now, min(now + self._park_s, request.deadline)))

    def granted(self, request: Request, waiter: Waiter, permit: Permit) -> None:
        """One that waited has got its permit."""
        request.waited_s += self._agenda.now - request.waits_since
        request.cold = request.cold or waiter.cold
        self.run(request, permit)

    def refused(self, request: Request, waiter: Waiter, refusal: Refusal) -> None:
        """One that waited was turned away."""
        now = self._agenda.now
        request.waited_s += now - request.waits_since
        request.cold = request.cold or waiter.cold
        self._turn_away(request, refusal)

    def _wait(self, request: Request, waiter: Waiter) -> None:
        refusal = request.client.wait(request, waiter)
        if refusal is not None:
            self._turn_away(request, refusal)

    def _turn_away(self, request: Request, refusal: Refusal) -> None:
        now = self._agenda.now
        until, request.elsewhere_until = request.elsewhere_until, None
        if refusal is Refusal.TIMEOUT and request.deadline <= now:
            self.end_by_deadline(request)
        elif until is not None and refusal in (Refusal.TIMEOUT, Refusal.NO_SLOT):
            # None elsewhere, so far.
            self._agenda.at(min(max(until, now), request.deadline), self._anywhere_at, request)
        else:
            self.end(request, _REFUSED[refusal])

    # Running

    def run(self, request: Request, permit: Permit) -> None:
        """It has a permit: its replica begins with it."""
        request.permit = permit
        request.replica = replica = self._replicas[permit.replica_id]
        request.began = self._agenda.now
        request.life.run()
        self._execution.begin(request, replica)

    def finish_at(self, request: Request) -> None:
        """It has run to its end."""
        now = self._agenda.now
        if request.finishes_at != now:
            return
        request.finishes_at = math.nan
        replica = request.replica
        del replica.running[request]
        life = request.life
        life.answer()
        life.end(Outcome.ANSWERED)
        client = request.client
        client.release(request.permit)
        came = request.arrival.at
        overhead_s = self._overhead_s
        first_s = min(request.first_byte_at, now) - came + overhead_s
        self._ended.append(
            Ended(
                now + overhead_s,
                now - came + overhead_s,
                request.waited_s,
                first_s,
                now - request.began,
                _ANSWERED,
                request.cold,
                request.attempts,
                request.arrival.asynchronous,
            )
        )
        if len(self._ended) >= FLUSH_AT:
            self._measures.flush()
        if replica.when_empty is not None and not replica.running:
            replica.when_empty(replica)
        self._closed()
        if client.core.urgent or request.arrival.asynchronous:
            self._settle()

    def cut_at(self, request: Request) -> None:
        """It ran for too long, or its caller's deadline has come."""
        if request.cut_at != self._agenda.now:
            return
        self._stop(request)
        if request.deadline <= self._agenda.now:
            self.end_by_deadline(request)
        elif not self._again_later(request, ErrorCode.MODEL_PREDICT_TIMEOUT):
            self.end(request, Outcome.FAILED_TIMEOUT)
        self._settle()

    def lost(self, request: Request) -> None:
        """Its replica has died."""
        now = self._agenda.now
        begun = now >= request.first_byte_at
        if request.arrival.asynchronous or begun:
            # What has begun to answer breaks off. Only the dispatcher may start anew then.
            self._stop(request, failed=not begun)
            if not self._again_later(request, ErrorCode.MODEL_UNAVAILABLE):
                self.end(request, Outcome.FAILED_REPLICA_LOST)
            return
        request.connection_failures += 1
        again = self._may_try_again(request, now)
        self._stop(request, failed=again)
        if not again:
            self.end(request, Outcome.FAILED_REPLICA_LOST)
            return
        request.first_byte_at = math.inf
        request.avoid |= {request.permit.replica_id}
        request.elsewhere_until = now + self._rules.pause_s(request.life.attempts)
        request.life.park()
        self._acquire(request, request.avoid, request.elsewhere_until)

    def _again_later(self, request: Request, error: ErrorCode) -> bool:
        return self.lane is not None and self.lane.again(request, error)

    def _stop(self, request: Request, *, failed: bool = False) -> None:
        """It runs no more; its permit goes on."""
        request.finishes_at = request.cut_at = math.nan
        request.held_s = self._agenda.now - request.began
        replica = request.replica
        del replica.running[request]
        self._execution.leave(request)
        request.client.release(request.permit, failed=failed)
        if replica.when_empty is not None and not replica.running:
            replica.when_empty(replica)

    def _may_try_again(self, request: Request, now: float) -> bool:
        verdict = self._rules.judge(
            Failure.CONNECTION,
            connection_failures=request.connection_failures,
            pause_s=0.0,
            elapsed_s=now - request.came,
            left_s=request.deadline - now,
        )
        budget = request.client.budget
        return verdict is Verdict.RETRY and (budget is None or budget.spend(now))

    def _acquire(self, request: Request, avoid: frozenset[str], limit: float) -> None:
        """Once more, at its old place in line."""
        permit = request.client.core.take(self._agenda.now, avoid)
        if permit is not None:
            self.run(request, permit)
            return
        waiter = Waiter(request.came, min(limit, request.deadline), avoid=avoid)
        self._wait(request, waiter)

    def _anywhere_at(self, request: Request) -> None:
        """No other replica had room within the pause that was due: any will do now."""
        now = self._agenda.now
        if request.deadline <= now:
            self.end_by_deadline(request)
        else:
            self._acquire(request, NOBODY, now + self._park_s)
        self._settle()

    # The end

    def end_by_deadline(self, request: Request) -> None:
        """Its caller has given up."""
        tried = request.life.attempts > 0
        self.end(request, Outcome.FAILED_DEADLINE if tried else Outcome.EVICTED_DEADLINE)

    def end(self, request: Request, outcome: Outcome) -> None:
        """It has ended without a whole answer; its caller may come back."""
        now = self._agenda.now
        request.life.end(outcome)
        if outcome in COME_BACK and request.returns > 0:
            returns_at = now + self._retry_after()
            if returns_at < request.deadline:
                request.returns -= 1
                self._agenda.at(returns_at, self._come_back_at, request)
                return
        came = request.arrival.at
        began_to_answer = request.first_byte_at <= now
        self._ended.append(
            Ended(
                at=now,
                latency_s=now - came,
                wait_s=request.waited_s,
                first_byte_s=request.first_byte_at - came if began_to_answer else math.nan,
                service_s=request.held_s,
                outcome=outcome.value,
                cold=request.cold,
                attempts=request.attempts,
                asynchronous=request.arrival.asynchronous,
            )
        )
        if len(self._ended) >= FLUSH_AT:
            self._measures.flush()
        self._closed()

    def _closed(self) -> None:
        self.open -= 1
        if not self.open:
            self._over()

    def _come_back_at(self, request: Request) -> None:
        request.come_back(self._agenda.now)
        self.submit(request)
        self._settle()
