"""One environment while its requests are replayed: sends, records, looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.lifecycle.permits import WorkClass
from orchestrator.replay.call import Calls
from orchestrator.replay.later import Submissions
from orchestrator.replay.levels import LiveLevels
from orchestrator.reports.measures import FLUSH_AT

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from orchestrator.http_connection import Connection
    from orchestrator.replay.planned import Planned
    from orchestrator.replay.targets import Live
    from orchestrator.reports.measures import Ended, EnvironmentMeasures

    OnEnded = Callable[[Planned, Ended], None]

_SYNC = WorkClass.SYNC.name.lower()


class LiveEnvironment:
    """The two sides of an environment: its callers, and its replicas and line.

    Args:
        live: what is to be replayed.
        measures: of the environment.
        session: for requests, and `connection`: for questions about it.
        connection: to the same cluster.
        ids: what the ids of its requests begin with.
        clock: seconds since the beginning.
        on_ended: is told of each request that has ended.

    Attributes:
        ended: how many have.
        levels: what was seen of its replicas and its line.
    """

    def __init__(
        self,
        live: Live,
        measures: EnvironmentMeasures,
        session: aiohttp.ClientSession,
        connection: Connection,
        *,
        ids: str,
        clock: Callable[[], float],
        on_ended: OnEnded,
    ) -> None:
        self.place = live.place
        self._measures = measures
        self._connection = connection
        self._on_ended = on_ended
        self._submitted = 0
        self._calls = Calls(
            session,
            live.place,
            ids=ids,
            callers=live.simulated.callers,
            clock=clock,
            record=self._record,
        )
        self._submissions = Submissions(session, live.place, clock, self._record)
        self.ended = 0
        self.levels = LiveLevels(measures, live.simulated.gpus)

    async def send(self, planned: Planned) -> None:
        """Sends one request and follows it to its end."""
        self._measures.arrived()
        if planned.asynchronous:
            self._submitted += 1
            await self._submissions.send(planned)
        else:
            await self._calls.send(planned)

    async def look(self) -> dict[str, Any]:
        """Its live state; raises `CallError`."""
        live: dict[str, Any] = (await self._connection.get(self.place.read))["live"]
        if self._submitted:
            # Of what waits in the store, the line shows no more than could run at once.
            depth = await self._connection.get(self.place.depth)
            in_line = live["classes"][_SYNC]["waiting"]
            live["waiting"] = in_line + depth["num_queued_requests"]
        return live

    def _record(self, planned: Planned, ended: Ended) -> None:
        self.ended += 1
        measured = self._measures.ended
        measured.append(ended)
        if len(measured) >= FLUSH_AT:
            self._measures.flush()
        self._on_ended(planned, ended)
