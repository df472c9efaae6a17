"""The replicas of one environment, and what starts and ends them: Serve under the virtual clock.

Serve's controller takes what the queue decided in its loop. It ends replicas that
start up first, then the newest. The rest is `replicas.deployment`: a replica reports
each of its stages, drains until no permit is out for it, and waits after a start
that failed before the next may be tried. The two mirror each other.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.replica import STARTUP_STAGES, Stage
from orchestrator.simulator.clock import on_grid
from orchestrator.simulator.gpus import Claim
from orchestrator.simulator.replica import Replica

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.lifecycle.replica import ReplicaReport, ReportReply
    from orchestrator.reports.measures import EnvironmentMeasures
    from orchestrator.simulator.clock import Agenda
    from orchestrator.simulator.gpus import GpuPool
    from orchestrator.simulator.request import Request
    from orchestrator.simulator.scenario import SimulatedEnvironment

DRAIN_POLL_S: Final = 0.1
"""How often a replica that drains asks whether permits are out for it."""

_NEXT: Final = dict(
    zip(STARTUP_STAGES, (*STARTUP_STAGES[1:], Stage.READY), strict=True),
)


class Fleet:
    """The replicas of one environment.

    Attributes:
        replicas: those that are not gone.
        stages: how many are in each stage.
        version: another number whenever `stages` changed.
    """

    def __init__(
        self,
        spec: SimulatedEnvironment,
        agenda: Agenda,
        gpus: GpuPool,
        measures: EnvironmentMeasures,
        replicas: dict[str, Replica],
        *,
        report: Callable[[ReplicaReport], ReportReply],
        lost: Callable[[Request], None],
        settle: Callable[[], None],
        fewer: Callable[[], None],
    ) -> None:
        """No replica.

        Args:
            spec: the environment.
            agenda: the clock.
            gpus: that the replicas take.
            measures: told of stages that have ended.
            replicas: those that are not gone, by name, oldest first; kept up to date here.
            report: takes a replica's report to the queue.
            lost: called with each request whose replica has died.
            settle: lets holders and queue talk about what has happened.
            fewer: called when one has gone that may have to be replaced.
        """
        self.replicas = replicas
        self.stages: Counter[Stage] = Counter()
        self.version = 0
        self._spec = spec
        self._agenda = agenda
        self._gpus = gpus
        self._measures = measures
        self._report_to_queue = report
        self._lost = lost
        self._settle = settle
        self._fewer = fewer
        self._wanted: dict[str, Replica] = {}
        self._made = 0

    def scale(self, desired: int) -> None:
        """Starts and ends replicas until as many are there, or on their way, as are desired."""
        while len(self._wanted) < desired:
            self._make()
        excess = len(self._wanted) - desired
        if excess > 0:
            newest_first = sorted(self._wanted.values(), key=lambda replica: -replica.number)
            # Stable: among those that start up, and among the others, the newest first.
            newest_first.sort(key=lambda replica: replica.stage is Stage.READY)
            for replica in newest_first[:excess]:
                self._call_off(replica)

    def heartbeat(self) -> None:
        """Every process says that it is there."""
        for replica in list(self.replicas.values()):
            if replica.stage not in (Stage.PROVISIONING, Stage.FAILED):
                self._report(replica)

    def close(self) -> None:
        """Accounts for the stages that the end of the simulation cuts off."""
        for replica in self.replicas.values():
            self._measures.replica_seconds(replica.stage, self._agenda.now - replica.since)

    # Starting

    def _make(self) -> None:
        self._made += 1
        starts = self._spec.starts
        # All at once and in this order: the stages of one start may belong together.
        plan = {s: starts.stages[s]() if s in starts.stages else 0.0 for s in STARTUP_STAGES}
        replica = Replica(
            f"{self._spec.name}#{self._made}",
            self._made,
            plan,
            fails=starts.fails(),
            now=self._agenda.now,
        )
        self.replicas[replica.name] = self._wanted[replica.name] = replica
        self.stages[Stage.PROVISIONING] += 1
        self.version += 1
        replica.claim = Claim(self._spec.gpus, partial(self._plan_next, replica))
        self._gpus.ask(replica.claim)

    def _plan_next(self, replica: Replica) -> None:
        replica.due = self._agenda.now + replica.plan[replica.stage]
        self._agenda.at(replica.due, self._advance_at, replica)

    def _advance_at(self, replica: Replica) -> None:
        now = self._agenda.now
        if replica.due != now:
            return
        if replica.stage is Stage.LOADING and replica.fails:
            self._enter(replica, Stage.FAILED)
            reply = self._report(replica)
            replica.due = now + reply.retry_in_s
            self._agenda.at(replica.due, self._give_up_at, replica)
            self._settle()
            return
        if replica.stage is Stage.PROVISIONING:
            replica.born = now
        self._enter(replica, _NEXT[replica.stage])
        self._report(replica)
        if replica.stage is not Stage.READY:
            self._plan_next(replica)
        elif self._spec.lifetime is not None:
            replica.due = now + self._spec.lifetime()
            self._agenda.at(replica.due, self._die_at, replica)
        self._settle()

    def _give_up_at(self, replica: Replica) -> None:
        """It has waited after its failed start: Serve may try the next."""
        if replica.due == self._agenda.now:
            self._remove(replica)
            self._fewer()

    # Ending

    def _die_at(self, replica: Replica) -> None:
        if replica.due != self._agenda.now:
            return
        self._enter(replica, Stage.FAILED)
        self._report(replica)
        self._remove(replica)
        # Everybody has heard of it before its requests look for another one.
        self._settle()
        for request in list(replica.running):
            self._lost(request)
        self._fewer()
        self._settle()

    def _call_off(self, replica: Replica) -> None:
        del self._wanted[replica.name]
        was = replica.stage
        if was in (Stage.PROVISIONING, Stage.FAILED):
            # No process has reported, or its queue knows that it has failed.
            self._remove(replica)
            return
        if was is not Stage.READY:
            replica.due = -1.0
        self._enter(replica, Stage.DRAINING)
        if was is not Stage.READY:
            self._report(replica)
            self._stop(replica)
            return
        replica.when_empty = self._plan_poll
        self._poll_at(replica)

    def _plan_poll(self, replica: Replica) -> None:
        """It asks again when it would have next, by its own period."""
        since = replica.since
        _, at = on_grid(self._agenda.now, DRAIN_POLL_S, since)
        self._agenda.at(at if at > since else since + DRAIN_POLL_S, self._poll_again_at, replica)

    def _poll_again_at(self, replica: Replica) -> None:
        self._poll_at(replica)
        self._settle()

    def _poll_at(self, replica: Replica) -> None:
        if replica.stage is not Stage.DRAINING:
            return
        reply = self._report(replica)
        if replica.running:
            return
        if reply.permits_out:
            # Kept by a holder that is about to hear that it drains.
            self._agenda.at(self._agenda.now + DRAIN_POLL_S, self._poll_again_at, replica)
            return
        self._stop(replica)

    def _stop(self, replica: Replica) -> None:
        self._enter(replica, Stage.STOPPED)
        self._report(replica)
        self._remove(replica)

    # Inside

    def _enter(self, replica: Replica, stage: Stage) -> None:
        now, left = self._agenda.now, replica.stage
        spent = now - replica.since
        self._measures.replica_seconds(left, spent)
        if left is not Stage.PROVISIONING:
            replica.stages[left] = spent
        self.stages[left] -= 1
        self.stages[stage] += 1
        self.version += 1
        replica.stage = stage
        replica.since = now

    def _report(self, replica: Replica) -> ReportReply:
        spec = self._spec
        report = replica.report(spec.settings.deployment, spec.slots, self._agenda.now)
        return self._report_to_queue(report)

    def _remove(self, replica: Replica) -> None:
        """It is gone, and its GPUs are free."""
        self._measures.replica_seconds(replica.stage, self._agenda.now - replica.since)
        self.stages[replica.stage] -= 1
        self.version += 1
        replica.due = -1.0
        replica.when_empty = None
        del self.replicas[replica.name]
        self._wanted.pop(replica.name, None)
        self._gpus.give_back(replica.claim)
