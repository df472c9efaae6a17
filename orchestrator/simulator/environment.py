"""One environment of a simulation: its arrivals, and what its cluster does periodically.

Its parts: `talk` has the queue and the holders, `calls` and `lane` the requests,
`fleet` the replicas, `telling` the measures.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.permits import WorkClass
from orchestrator.lifecycle.replica import Stage
from orchestrator.lifecycle.retry import RetryBudget
from orchestrator.simulator.calls import Calls
from orchestrator.simulator.client import Client
from orchestrator.simulator.clock import NEVER, on_grid
from orchestrator.simulator.fleet import Fleet
from orchestrator.simulator.lane import Lane
from orchestrator.simulator.request import Request
from orchestrator.simulator.scenario import BatchModel
from orchestrator.simulator.talk import Talk
from orchestrator.simulator.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.reports.measures import EnvironmentMeasures
    from orchestrator.simulator.client import Owner
    from orchestrator.simulator.clock import Agenda
    from orchestrator.simulator.gpus import GpuPool
    from orchestrator.simulator.replica import Replica
    from orchestrator.simulator.scenario import Scenario, SimulatedEnvironment
    from orchestrator.traffic.arrival import Arrival

HEARTBEAT_S: Final = 4.0
"""Often enough for nobody to be suspected. A cluster's are more frequent: messages get lost."""

CAN_REST: Final = frozenset({"concurrency", "panic"})
"""Policies that want no replica only once all that they remember is no load: until there is
some, they go on like that. Others may have a clock of their own."""


class Environment:
    """See the module.

    Attributes:
        requests: how many have arrived.
        over: no more arrive, and all have ended.
    """

    def __init__(
        self,
        spec: SimulatedEnvironment,
        scenario: Scenario,
        agenda: Agenda,
        gpus: GpuPool,
        measures: EnvironmentMeasures,
        *,
        over: Callable[[], None],
    ) -> None:
        """An environment before its first arrival.

        Args:
            spec: what it is.
            scenario: that it is part of.
            agenda: the clock.
            gpus: that it shares with others.
            measures: its own.
            over: called once, when it is over.
        """
        self.requests = 0
        self.over = False
        self._spec = spec
        self._agenda = agenda
        self._tick_s = scenario.tick_s
        self._control_s = scenario.control_s
        self._tell_over = over
        self._talk = Talk(spec, scenario, agenda, decided=self._plan_control)
        settle = self._settle = self._talk.settle
        replicas: dict[str, Replica] = {}
        self._calls = Calls(spec, agenda, measures, replicas, settle=settle, over=self._check_over)
        self._fleet = Fleet(
            spec,
            agenda,
            gpus,
            measures,
            replicas,
            report=self._talk.report,
            lost=self._calls.lost,
            settle=settle,
            fewer=self._plan_control,
        )
        self._telling = Telling(measures, self._talk, self._fleet)
        routers = [self._router(f"router-{n}") for n in range(spec.routers)]
        self._talk.clients.extend(routers)
        self._next_router = cycle(routers).__next__
        self._draw = None if isinstance(spec.service, BatchModel) else spec.service.draw
        self._arrivals = iter(spec.arrivals)
        self._arrive_until = NEVER if scenario.duration_s is None else scenario.duration_s
        self._all_arrived = False
        self._control_planned = False
        self._ticks = 0
        self._beats_at = 0.0
        self._resting = False
        self.trouble = ""
        policies = spec.settings.autoscaling.policies
        self._can_rest = all(policy.name in CAN_REST for policy in policies)

    def begin(self) -> None:
        """Plans what happens first."""
        self._agenda.at(0.0, self._tick_at)
        self._plan_arrival()

    def close(self) -> None:
        """Accounts for everything up to now, the end of the simulation."""
        now = self._agenda.now
        self._telling.tell(now, self.requests)
        self._telling.close(now)
        self._fleet.close()

    # Arrivals

    def _plan_arrival(self) -> None:
        arrival = next(self._arrivals, None)
        if arrival is None or arrival.at > self._arrive_until:
            self._all_arrived = True
            self._check_over()
            return
        if not arrival.at >= self._agenda.now:
            raise ValueError(
                f"{self._spec.name}: arrival {self.requests + 1} comes at {arrival.at:g} s, "
                f"before {self._agenda.now:g} s: arrivals must be in order of time"
            )
        self._agenda.at(arrival.at, self._arrive_at, arrival)

    def _arrive_at(self, arrival: Arrival) -> None:
        self.requests += 1
        self._calls.open += 1
        if self._resting:
            self._wake()
        request = self._make_request(arrival)
        if arrival.asynchronous:
            self._lane().submit(request)
            self._settle()
        else:
            self._calls.submit(request)
            if request.client.core.urgent:
                self._settle()
        self._plan_arrival()

    def _make_request(self, arrival: Arrival) -> Request:
        # Drawn in order of arrival, whatever becomes of the request.
        service_s, first_s = self._draw(arrival) if self._draw is not None else (0.0, 0.0)
        callers = self._spec.callers
        patience_s = callers.deadline() if callers.deadline is not None else arrival.deadline_s
        return Request(
            self.requests,
            arrival,
            self._lane().client if arrival.asynchronous else self._next_router(),
            deadline=NEVER if patience_s is None else arrival.at + patience_s,
            returns=0 if arrival.asynchronous else callers.retries,
            service_s=service_s,
            first_s=first_s,
        )

    def _check_over(self) -> None:
        if self._all_arrived and not self._calls.open and not self.over:
            self.over = True
            self._tell_over()

    # Holders

    def _router(self, name: str) -> Client:
        retry = self._spec.retry
        # Nobody spends it where no replica can die.
        mortal = self._spec.lifetime is not None
        budget = RetryBudget(retry.budget_ratio, retry.budget_window_s) if mortal else None
        return self._client(name, WorkClass.SYNC, self._calls, budget)

    def _client(
        self, name: str, work: WorkClass, owner: Owner, budget: RetryBudget | None = None
    ) -> Client:
        return Client(
            name,
            work,
            self._spec.settings.queue,
            agenda=self._agenda,
            queue=self._talk.queue,
            owner=owner,
            settle=self._settle,
            budget=budget,
        )

    def _lane(self) -> Lane:
        """That of its asynchronous requests, made for the first of them."""
        lane = self._talk.lane
        if lane is None:
            spec = self._spec
            lane = Lane(
                self._agenda,
                self._calls,
                spec.settings,
                slots=spec.slots,
                park_s=spec.park_s,
                ready=lambda: self._fleet.stages[Stage.READY] > 0,
                settle=self._settle,
            )
            lane.client = self._client("dispatcher", WorkClass.ASYNC, lane)
            self._talk.lane = self._calls.lane = lane
            self._talk.clients.append(lane.client)
        return lane

    # What happens periodically

    def _tick_at(self, _: object) -> None:
        now = self._agenda.now
        if now >= self._beats_at:
            self._beats_at = now + HEARTBEAT_S
            self._fleet.heartbeat()
        self._talk.tick()
        self.trouble = self.trouble or self._talk.queue.autoscaler.trouble
        self._telling.tell(now, self.requests)
        if self._can_rest and self._is_empty():
            self._resting = True
            return
        self._ticks += 1
        self._agenda.at(self._ticks * self._tick_s, self._tick_at)

    def _is_empty(self) -> bool:
        """Whether ticks change nothing until the next arrival."""
        busy = self._calls.open or self._talk.desired or self._fleet.replicas
        return not (busy or self._talk.queue.holders)

    def _wake(self) -> None:
        self._resting = False
        self._ticks, at = on_grid(self._agenda.now, self._tick_s)
        self._agenda.at(at, self._tick_at)

    def _plan_control(self) -> None:
        """The controller looks halfway between two ticks.

        So a decision takes half of `control_s` on average, as where the two do not know
        of each other, whether it is made at a tick or at an arrival.
        """
        if self._control_planned:
            return
        self._control_planned = True
        now, period = self._agenda.now, self._control_s
        at = on_grid(now, period, period / 2)[1] if period else now
        self._agenda.at(at, self._control_at)

    def _control_at(self, _: object) -> None:
        self._control_planned = False
        self._fleet.scale(self._talk.desired)
        self._settle()
