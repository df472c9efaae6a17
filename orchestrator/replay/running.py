"""A whole replay: from what is to be replayed, and an address, to a report."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.http_connection import Connection
from orchestrator.replay.connections import most_under_way, open_session
from orchestrator.replay.environment import LiveEnvironment
from orchestrator.replay.lags import Lags
from orchestrator.replay.levels import Sampler, period_s
from orchestrator.replay.pacing import OpenLoop
from orchestrator.replay.planned import ReadAhead, planned_requests
from orchestrator.replay.probe import differences, probe
from orchestrator.replay.validity import faults
from orchestrator.reports.measures import RunMeasures
from orchestrator.reports.report import LIVE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from orchestrator.replay.environment import OnEnded
    from orchestrator.replay.planned import Planned
    from orchestrator.replay.targets import Live
    from orchestrator.reports.report import RunReport

LEAD_S: Final = 0.1
"""From when all is ready to the run's zero."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is: seconds since its zero, and requests."""

    now: float
    sent: int
    ended: int


class Replay:
    """Replays the requests of some environments against a cluster, once.

    Create it on the event loop that runs it.

    Args:
        targets: the environments.
        url: where the cluster listens.
        key: `prefix.secret`; None: it asks for none.
        duration_s: no request is sent later; None: until they end.
        key_from: where the key comes from, for messages.
        on_ended: is told of each request that has ended.

    Attributes:
        ids: what the ids of all its synchronous requests begin with; the name of their
            environment and their number there follow.
    """

    def __init__(
        self,
        targets: Sequence[Live],
        url: str,
        key: str | None,
        *,
        duration_s: float | None = None,
        key_from: str = "ORCHESTRATOR_API_KEY",
        on_ended: OnEnded = lambda _planned, _ended: None,
    ) -> None:
        self._targets = targets
        self._url = url
        self._key = key
        self._duration_s = duration_s
        self._key_from = key_from
        self._on_ended = on_ended
        self._now = asyncio.get_running_loop().time
        self._zero = self._now()
        self._most = most_under_way()
        self._loop = OpenLoop(self._clock, self._most)
        self._lags = Lags()
        self.ids = f"replay-{secrets.token_hex(4)}-"
        self._environments: list[LiveEnvironment] = []
        self._samplers: list[Sampler] = []

    def stop(self) -> None:
        """Ends it now: a report is made of what was until then."""
        self._loop.stop()

    def progress(self) -> Progress:
        """How far it is."""
        ended = sum(each.ended for each in self._environments)
        return Progress(self._clock(), self._lags.count, ended)

    async def check(self) -> list[str]:
        """What the cluster does otherwise than the experiment says, one sentence each.

        Raises:
            ReplayError: the replay cannot begin.
        """
        notes = []
        async with Connection(self._url, self._key) as connection:
            for target in self._targets:
                found = await probe(connection, target.place, self._key_from)
                notes += [f"{target.place}: {each}" for each in differences(found, target.wanted)]
        return notes

    async def run(self, *, measure_from_s: float = 0.0, **about: Any) -> RunReport:
        """Sends all requests, waits for the last to end, and gives the report.

        Args:
            measure_from_s: requests that arrive earlier are not measured.
            about: what the report is to say of itself (see `RunMeasures.report`).

        Raises:
            ReplayError: the cluster does not answer before the first request.
            TrafficError: the trace cannot be read any further.
        """
        measures = RunMeasures(measure_from_s=measure_from_s)
        began_s = time.process_time()
        async with (
            open_session(self._url, self._key) as session,
            Connection(self._url, self._key) as connection,
            self._read_ahead() as planned,
        ):
            for live in self._targets:
                simulated = live.simulated
                measured = measures.environment(
                    simulated.name, gpus_per_replica=simulated.gpus, slots=simulated.slots
                )
                self._environments.append(
                    LiveEnvironment(
                        live,
                        measured,
                        session,
                        connection,
                        ids=f"{self.ids}{simulated.name}-",
                        clock=self._clock,
                        on_ended=self._on_ended,
                    )
                )
            with _without_pauses():
                await self._begin(connection)
                async with self._sampled(measures):
                    cut = await self._send(planned)
                    span_s = self._clock()
        for environment in self._environments:
            environment.levels.close(span_s)
        report = measures.report(
            kind=LIVE,
            span_s=span_s,
            cpu_s=time.process_time() - began_s,
            lag=self._lags.described(),
            **about,
        )
        return self._judged(report, cut)

    async def _send(self, planned: AsyncIterator[Planned]) -> int:
        """Sends all and waits for their ends; how many were cut off."""
        try:
            await self._loop.run(planned, self._one)
            await self._loop.drain()
            await self._loop.pause((self._duration_s or 0.0) - self._clock())
        finally:
            cut = await self._loop.cancel()
        return cut

    async def _one(self, planned: Planned) -> None:
        self._lags.add(self._clock() - planned.at)
        await self._environments[planned.environment].send(planned)

    @contextlib.asynccontextmanager
    async def _read_ahead(self) -> AsyncIterator[AsyncIterator[Planned]]:
        """The requests; as many as are kept are in memory by now."""
        traffic = [target.traffic for target in self._targets]
        ahead = ReadAhead(planned_requests(traffic, self._duration_s))
        try:
            await ahead.start()
            yield aiter(ahead)
        finally:
            ahead.close()

    async def _begin(self, connection: Connection) -> None:
        """The levels before the first request, and the run's zero."""
        for environment in self._environments:
            found = await probe(connection, environment.place, self._key_from)
            environment.levels.begin(found["live"])
        self._zero = self._now() + LEAD_S

    @contextlib.asynccontextmanager
    async def _sampled(self, measures: RunMeasures) -> AsyncIterator[None]:
        """Samples all environments until it is left."""

        def count_gpus() -> None:
            taken = sum(each.levels.gpus_taken for each in self._environments)
            measures.pool(max(self._clock(), 0.0), taken)

        count_gpus()
        period = period_s(len(self._environments))
        self._samplers = [
            Sampler(each.look, each.levels, self._clock, period, count_gpus)
            for each in self._environments
        ]
        tasks = [asyncio.create_task(sampler.run()) for sampler in self._samplers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()  # it never ends but by an error of the program

    def _clock(self) -> float:
        """Seconds since the run's zero."""
        return self._now() - self._zero

    def _judged(self, report: RunReport, cut: int) -> RunReport:
        """The report, which says whether it is valid."""
        medians = [found.latency.p50 for found in report.environments.values()]
        found = list(
            faults(
                lags=self._lags,
                median_s=min(medians, default=0.0),
                waited=self._loop.waited,
                most=self._most,
                missed=sum(sampler.missed for sampler in self._samplers),
                asked=sum(sampler.asked for sampler in self._samplers),
                stopped=self._loop.stopped,
                cut=cut,
            )
        )
        report.valid, report.reason = not found, "; ".join(found)
        return report


@contextlib.contextmanager
def _without_pauses() -> Iterator[None]:
    """What was read ahead is not looked through by the garbage collector while we send."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
