"""The observatory itself: takes in what sources tell, and answers routers.

One event loop uses it. What takes long (the exposition of 1,000 environments) runs
in a thread, so that sources are not kept waiting by it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from orchestrator.observatory import rows
from orchestrator.observatory.environments import Environments
from orchestrator.observatory.exposition import Exposition, format_of
from orchestrator.observatory.inquiries import Inquiries
from orchestrator.observatory.protocol import (
    ANSWER_S,
    LOGS,
    REQUEST,
    REQUESTS,
    Found,
    Logs,
    Part,
    Push,
    Recent,
    ReplicaLogs,
    Sighted,
)
from orchestrator.observatory.sources import Sources
from orchestrator.observatory.totals import Totals
from orchestrator.telemetry import metrics
from orchestrator.telemetry.instruments import Batch, Histogram, HistogramPart
from orchestrator.telemetry.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.observatory.protocol import Ack, LogsAsked, Overview, Query
    from orchestrator.observatory.totals import Key
    from orchestrator.telemetry.timeline import RequestFilter

logger: Final = logging.getLogger("ray.serve")

TICK_S: Final = 1.0
EXPOSED_FOR_S: Final = 1.0
"""Scrapes within so long get the same exposition: many scrapers cost as much as one."""

MOST_FORMATS: Final = 8
"""Formats of the exposition that are held."""

AT_ONCE: Final = 500
"""Series added up before others get their turn on the event loop."""

PART: Final = "observatory"

_push: Final = msgspec.msgpack.Decoder(Push)
_batch: Final = msgspec.msgpack.Decoder(Batch)
_timelines: Final = msgspec.msgpack.Decoder(list[Timeline])
_found: Final = msgspec.msgpack.Decoder(Found)
_encode: Final = msgspec.msgpack.encode


class ObservatoryHub:
    """See the module; implements `Observatory`. `start` begins to keep time."""

    def __init__(
        self,
        version: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """An observatory that has heard nothing yet.

        Args:
            version: of this software.
            clock: monotonic seconds.
            wall: Unix time.
        """
        self._version = version
        self._clock = clock
        self._wall = wall
        self._sources = Sources()
        self._totals = Totals()
        self._environments = Environments(wall())
        self._inquiries = Inquiries()
        self._ticking: asyncio.Task[None] | None = None
        self._exposed: dict[str, tuple[float, asyncio.Task[tuple[str, bytes]]]] = {}

    def start(self) -> None:
        """Begins to notice who has gone silent; needs the running loop."""
        self._ticking = asyncio.get_running_loop().create_task(self._ticks(), name="ticks")

    async def close(self) -> None:
        """Ends."""
        tasks: list[asyncio.Task[Any]] = [task for _, task in self._exposed.values()]
        if self._ticking is not None:
            tasks.append(self._ticking)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Sources

    async def push(self, message: bytes) -> Ack:
        """See `Hub`. Raises `msgspec.DecodeError` for what is no push."""
        push = _push.decode(message)
        now = self._clock()
        known, news, ack = self._sources.hear(push, now)
        if not news:
            return ack
        source = push.source
        try:
            batch = _batch.decode(push.batch)
        except msgspec.DecodeError as error:
            logger.warning("a batch of %s %s cannot be read: %s", source.part, source.id, error)
            return ack
        if push.gauges and not known.superseded:
            known.gauges = batch.gauges
        wall = self._wall()
        for number, part in enumerate(_parts(batch)):
            if number:
                await asyncio.sleep(0)
            self._totals.add(part)
            self._environments.count(part, wall)
        if source.part == Part.QUEUE and not known.superseded and rows.LIVE in push.state:
            self._environments.observe(source.model, source.environment, known.state, wall)
        if push.within_s <= 0:
            self._inquiries.drop(source.id)
        return ack

    async def watch(self, source_id: str) -> list[Query]:
        """See `Hub`."""
        return await self._inquiries.watch(source_id)

    async def answer(self, source_id: str, query_id: int, payload: bytes | None) -> None:
        """See `Hub`."""
        self._inquiries.answer(source_id, query_id, payload)

    def tick(self) -> None:
        """Lets go of sources and environments that have gone silent."""
        for known in self._sources.expire(self._clock()):
            source = known.source
            logger.info("%s %s is silent", source.part, source.replica or source.id)
            self._inquiries.drop(source.id)
        speaking = {(k.source.model, k.source.environment) for k in self._sources.of((Part.QUEUE,))}
        for model, environment in self._environments.expire(speaking, self._wall()):
            self._totals.forget(model, environment)

    async def _ticks(self) -> None:
        loop = asyncio.get_running_loop()
        lag = Histogram(metrics.LOOP_LAG_SECONDS.buckets)
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            lag.observe(max(loop.time() - due, 0.0))
            key = (metrics.LOOP_LAG_SECONDS.name, (PART,))
            self._totals.add(Batch(histograms={key: HistogramPart(lag.counts, lag.total)}))
            lag = Histogram(metrics.LOOP_LAG_SECONDS.buckets)
            try:
                self.tick()
            except Exception:
                # Losing one tick is better than losing the clock.
                logger.exception("the observatory's tick failed")

    # What routers ask

    async def metrics(self, accept: str) -> tuple[str, bytes]:
        """See `Observatory`."""
        kind = format_of(accept)
        now = self._clock()
        made = self._exposed.get(kind)
        if made is None or (made[1].done() and now - made[0] >= EXPOSED_FOR_S):
            if len(self._exposed) >= MOST_FORMATS:
                self._exposed.clear()  # the formats are few; their spellings are the caller's
            everything = Exposition(self._totals.counters, self._totals.histograms, self._gauges())
            task = asyncio.create_task(asyncio.to_thread(everything.written, accept))
            made = self._exposed[kind] = (now, task)
        return await asyncio.shield(made[1])

    def _gauges(self) -> dict[Key, float]:
        """Gauges of all sources, summed where their labels are the same; and our own."""
        gauges: dict[Key, float] = {}
        parts = dict.fromkeys(metrics.PARTS, 0)
        parts[PART] = 1
        versions = {self._version}
        for known in self._sources:
            for key, value in known.gauges.items():
                gauges[key] = gauges.get(key, 0.0) + value
            parts[known.source.part] = parts.get(known.source.part, 0) + 1
            versions.add(known.source.version)
        for part, count in parts.items():
            gauges[metrics.PROCESSES.name, (part,)] = float(count)
        for version in versions - {""}:
            gauges[metrics.BUILD_INFO.name, (version,)] = 1.0
        return gauges

    async def overview(self, since: int) -> Overview:
        """See `Observatory`."""
        return await self._environments.overview(since, self._wall)

    async def history(self, model: str, environment: str, minutes: int) -> bytes | None:
        """See `Observatory`."""
        return self._environments.history(model, environment, minutes, self._wall())

    async def starts(self, model: str, environment: str) -> list[dict[str, Any]]:
        """See `Observatory`."""
        return rows.starts(self._environments.state(model, environment), self._wall())

    async def requests(self, wanted: RequestFilter) -> Recent:
        """See `Observatory`."""
        routers = self._ids((Part.ROUTER,))
        argument = _encode(wanted)
        answers, missing = await self._ask_all(routers, REQUESTS, argument)
        found: list[Timeline] = []
        for answer in answers:
            try:
                found += _timelines.decode(answer)
            except msgspec.DecodeError as error:
                logger.warning("timelines that cannot be read: %s", error)
                missing += 1
        found.sort(key=lambda timeline: timeline.began + timeline.seconds, reverse=True)
        return Recent(found[: wanted.limit], len(routers), missing)

    async def request(self, request_id: str) -> Sighted:
        """See `Observatory`."""
        sources = self._ids((Part.ROUTER, Part.DISPATCHER))
        answers, missing = await self._ask_all(sources, REQUEST, request_id.encode())
        together = Found()
        for answer in answers:
            try:
                found = _found.decode(answer)
            except msgspec.DecodeError as error:
                logger.warning("a request that cannot be read: %s", error)
                missing += 1
                continue
            together.live += found.live
            together.ended += found.ended
        together.ended.sort(key=lambda timeline: timeline.began, reverse=True)
        return Sighted(together, missing)

    async def logs(
        self,
        model: str,
        environment: str,
        replica: str,
        asked: dict[str, LogsAsked],
        default: LogsAsked,
    ) -> Logs:
        """See `Observatory`."""
        replicas = {
            known.source.id: known.source.replica or known.source.id
            for known in self._sources.of((Part.REPLICA,), model, environment, replica)
        }
        questions = {
            source_id: _encode(asked.get(name, default)) for source_id, name in replicas.items()
        }
        answers, missing = await self._ask(questions, LOGS, default.wait_s + ANSWER_S)
        told = [ReplicaLogs(replicas[source_id], lines) for source_id, lines in answers.items()]
        state = self._environments.state(model, environment)
        live: dict[str, Any] = rows.section(state, rows.LIVE, {})
        failed = rows.last_failure(state)
        return Logs(
            told,
            missing,
            [str(line) for line in live.get("log_tail") or ()],
            str(failed.get("replica", "")),
            float(failed.get("at", 0.0)),
        )

    def _ids(self, parts: Sequence[str]) -> list[str]:
        return [known.source.id for known in self._sources.of(parts)]

    async def _ask_all(
        self, sources: Sequence[str], name: str, argument: bytes
    ) -> tuple[list[bytes], int]:
        """Asks sources the same; the answers in time, and how many are missing."""
        answers, missing = await self._ask(dict.fromkeys(sources, argument), name, ANSWER_S)
        return list(answers.values()), missing

    async def _ask(
        self, questions: Mapping[str, bytes], name: str, within_s: float
    ) -> tuple[dict[str, bytes], int]:
        """Asks sources; their answers by their ids, and how many are missing."""
        if not questions:
            return {}, 0
        futures = {
            source_id: self._inquiries.ask(source_id, name, argument)
            for source_id, argument in questions.items()
        }
        try:
            await asyncio.wait(futures.values(), timeout=within_s)
        finally:
            self._inquiries.forget(*futures.values())
        answers = {
            source_id: answer
            for source_id, future in futures.items()
            if future.done() and (answer := future.result()) is not None
        }
        return answers, len(futures) - len(answers)


def _parts(batch: Batch) -> Iterator[Batch]:
    """A batch in parts that take a few milliseconds each."""
    if len(batch.counters) + len(batch.histograms) <= AT_ONCE:
        yield batch
        return
    counters, histograms = iter(batch.counters.items()), iter(batch.histograms.items())
    while some := dict(islice(counters, AT_ONCE)):
        yield Batch(counters=some)
    while measured := dict(islice(histograms, AT_ONCE)):
        yield Batch(histograms=measured)
