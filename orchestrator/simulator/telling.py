"""Tells an environment's measures what has changed since it was last told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.lifecycle.chronicle import Change

if TYPE_CHECKING:
    from orchestrator.reports.measures import EnvironmentMeasures
    from orchestrator.simulator.fleet import Fleet
    from orchestrator.simulator.talk import Talk


class Telling:
    """Tells at each tick; levels in between are as coarse as that."""

    def __init__(self, measures: EnvironmentMeasures, talk: Talk, fleet: Fleet) -> None:
        self._measures = measures
        self._talk = talk
        self._fleet = fleet
        self._arrived = 0
        self._chronicled = 0
        self._levels = (0, 0, 0, 0)

    def tell(self, now: float, arrived: int) -> None:
        """What is different now; `arrived`: requests so far."""
        if arrived != self._arrived:
            self._measures.arrived(arrived - self._arrived)
            self._arrived = arrived
        if self._talk.queue.chronicle.version != self._chronicled:
            self._tell_of_replicas()
        waiting = running = 0
        for client in self._talk.clients:
            waiting += len(client.core.line)
            running += client.core.in_use
        if self._talk.lane is not None:
            waiting += len(self._talk.lane)
        desired = self._talk.desired
        levels = (waiting, running, desired, self._fleet.version)
        if levels != self._levels:
            self._levels = levels
            self._measures.sample(now, waiting, running, desired, self._fleet.stages)

    def close(self, now: float) -> None:
        """The run has ended: for how long its requests were there, in all."""
        load_s = sum(client.core.summary(now).load_s for client in self._talk.clients)
        if self._talk.lane is not None:
            load_s += self._talk.lane.load_s
        self._measures.load(load_s, now)
        self._measures.flush()

    def _tell_of_replicas(self) -> None:
        chronicle = self._talk.queue.chronicle
        self._chronicled = chronicle.version
        for news in chronicle.take():
            if isinstance(news, Change):
                self._measures.decided(news.at, news.before, news.desired, news.reason)
            else:
                self._measures.started(news.stages, news.reason is not None)
