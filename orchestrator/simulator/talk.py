"""The talk between an environment's queue and its holders. Its messages take no time.

After each event the shells call `settle`: whoever has something urgent to say says
it, whoever must hear something at once hears it, until nobody has any more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.environment_queue import EnvironmentQueue

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.lifecycle.replica import ReplicaReport, ReportReply
    from orchestrator.simulator.client import Client
    from orchestrator.simulator.clock import Agenda
    from orchestrator.simulator.lane import Lane
    from orchestrator.simulator.scenario import Scenario, SimulatedEnvironment

MOST_ROUNDS: Final = 10_000
"""Of talk at one moment; more means that it never ends."""


class Talk:
    """See the module.

    Attributes:
        queue: the environment's.
        clients: holders, with what drives them.
        lane: of asynchronous work; None: there was none yet.
        desired: replicas that the queue wants.
    """

    def __init__(
        self,
        spec: SimulatedEnvironment,
        scenario: Scenario,
        agenda: Agenda,
        *,
        decided: Callable[[], None],
    ) -> None:
        """A queue that knows nobody.

        Args:
            spec: the environment.
            scenario: that it is part of.
            agenda: the clock.
            decided: called when another number of replicas is wanted.
        """
        settings = replace(spec.settings, slots=spec.slots)
        self.queue = EnvironmentQueue(settings, spec.name, agenda.now, scenario.unix_s)
        self.clients: list[Client] = []
        self.lane: Lane | None = None
        self.desired = 0
        self._agenda = agenda
        self._decided = decided
        self._news = False

    def settle(self) -> None:
        """Lets holders and queue talk until nobody has anything urgent to say."""
        rounds = 0
        while self._round():
            rounds += 1
            if rounds > MOST_ROUNDS:
                raise RuntimeError(f"{self.queue.name}: holders and queue do not stop talking")
        desired = self.queue.decision.desired
        if desired != self.desired:
            self.desired = desired
            self._decided()

    def tick(self) -> None:
        """See `EnvironmentQueue.tick`."""
        self.queue.tick(self._agenda.now)
        self._news = True
        self.settle()

    def report(self, report: ReplicaReport) -> ReportReply:
        """See `EnvironmentQueue.report`; what follows from it is settled later."""
        self._news = True
        return self.queue.report(report, self._agenda.now)

    def _round(self) -> bool:
        """Everybody says what is urgent, and hears what there is; False: there was nothing."""
        clients = self.clients
        if self.lane is not None:
            self.lane.fill()
        spoken = False
        for client in clients:
            if client.core.urgent:
                client.exchange()
                spoken = True
        if self._news or (spoken and len(clients) > 1):
            self._news = False
            for client in clients:
                spoken = client.listen() or spoken
        return spoken
