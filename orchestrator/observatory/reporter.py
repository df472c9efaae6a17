"""Tells the observatory what a process counts and measures, and answers its questions.

Whatever goes wrong here stays here: an observatory that is away, slow or new costs
its sources nothing but a line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from orchestrator.observatory.protocol import (
    CALL_S,
    HEARTBEAT_S,
    LONGEST_WAIT_S,
    WATCH_S,
    ObservatoryUnavailable,
    Push,
    encoded,
)
from orchestrator.telemetry.instruments import Batch, Histogram, HistogramPart
from orchestrator.telemetry.metrics import LOOP_LAG_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orchestrator.observatory.protocol import Ack, Hub, Query, Source
    from orchestrator.telemetry.instruments import Labels, Registry

    Answerer = Callable[[bytes], Awaitable[bytes]]
    """Answers a question, from its argument to the answer (see `protocol`)."""

logger: Final = logging.getLogger("ray.serve")

LAG_EVERY_S: Final = 0.5
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_LAST_S: Final = 5.0
LAST_WORDS_S: Final = 1.0
"""How long a source that ends tries to say what it has not said yet."""

AT_ONCE: Final = 500
"""Histograms read before others get their turn on the event loop: half a millisecond."""

ANSWERS_AT_ONCE: Final = 16
LONGEST_ANSWER: Final = 8 << 20


class Reporter:
    """A source. To be started on the event loop that fills its registry."""

    def __init__(
        self,
        hub: Hub,
        source: Source,
        registry: Registry,
        *,
        state: Callable[[], Mapping[str, bytes]] | None = None,
        answers: Mapping[str, Answerer] | None = None,
    ) -> None:
        """A source that has told nothing yet.

        Args:
            hub: where it tells.
            source: who it is.
            registry: what it tells; nobody else may take from it.
            state: sections of its state by name, asked for each second. Only those
                that differ from what was told are told, so none should hold an age.
            answers: which questions it answers.
        """
        self._hub = hub
        self._source = source
        self._registry = registry
        self._state = state
        self._answers = dict(answers or {})
        self._seq = 1
        self._pending: bytes | None = None
        self._pending_state: dict[str, bytes] = {}
        self._pending_gauges: dict[tuple[str, Labels], float] = {}
        self._told_state: dict[str, bytes] = {}
        self._told_gauges: dict[tuple[str, Labels], float] | None = None
        self._told_at = -HEARTBEAT_S
        self._pause_s = 1.0
        self._lag = Histogram(LOOP_LAG_SECONDS.buckets)
        self._lag_timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._answering: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begins to tell and to answer; needs the running loop."""
        loop = asyncio.get_running_loop()
        self._lag_timer = loop.call_later(LAG_EVERY_S, self._measure_lag, loop.time() + LAG_EVERY_S)
        self._tasks.append(loop.create_task(self._pushes(), name="observatory: pushes"))
        if self._answers:
            self._tasks.append(loop.create_task(self._watches(), name="observatory: watches"))

    async def close(self) -> None:
        """Tells what is left, if that takes no time, and ends. Never raises."""
        if self._lag_timer is not None:
            self._lag_timer.cancel()
            self._lag_timer = None
        tasks = [*self._tasks, *self._answering]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LAST_WORDS_S):
                    if self._pending is not None:
                        self._heard(await self._hub.push(self._pending))
                    self._pending = self._message(self._taken(), {}, last=True)
                    self._heard(await self._hub.push(self._pending))

    # Telling

    async def _pushes(self) -> None:
        backoff = BACKOFF_FIRST_S
        while True:
            try:
                if self._pending is None:
                    await self._collect()
                if self._pending is not None:
                    async with asyncio.timeout(CALL_S + 1):
                        self._heard(await self._hub.push(self._pending))
            except (ObservatoryUnavailable, TimeoutError) as error:
                logger.debug("not told: %s", error)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, BACKOFF_LAST_S)
                continue
            except Exception:
                # Nothing may end this task: nothing would be told any more.
                logger.exception("telling the observatory failed")
                await asyncio.sleep(BACKOFF_LAST_S)
                continue
            backoff = BACKOFF_FIRST_S
            await asyncio.sleep(self._pause_s)

    async def _collect(self) -> None:
        """Makes the next push, if there is anything to tell."""
        batch = Batch()
        state: dict[str, bytes] = {}
        try:
            steps = self._registry.taking(AT_ONCE)
            batch = next(steps)
            for _ in steps:
                await asyncio.sleep(0)
            if self._state is not None:
                told = self._told_state
                state = {k: v for k, v in self._state().items() if told.get(k) != v}
        except BaseException:
            self._registry.put_back(batch)
            raise
        changed = batch.counters or batch.histograms or state or batch.gauges != self._told_gauges
        if changed or time.monotonic() - self._told_at >= self._heartbeat_s:
            self._pending = self._message(batch, state)

    @property
    def _heartbeat_s(self) -> float:
        return HEARTBEAT_S * self._pause_s

    def _taken(self) -> Batch:
        try:
            return self._registry.take()
        except Exception:
            logger.exception("what this process counted cannot be read")
            return Batch()

    def _message(self, batch: Batch, state: dict[str, bytes], *, last: bool = False) -> bytes:
        lag = self._lag
        if any(lag.counts):
            key = (LOOP_LAG_SECONDS.name, (self._source.part,))
            batch.histograms[key] = HistogramPart(lag.counts, lag.total)
            self._lag = Histogram(LOOP_LAG_SECONDS.buckets)
        gauges = batch.gauges
        with_gauges = gauges != self._told_gauges
        if not with_gauges:
            batch.gauges = {}
        self._pending_gauges, self._pending_state = gauges, state
        push = Push(
            self._source,
            self._seq,
            0.0 if last else self._heartbeat_s,
            encoded(batch),
            with_gauges,
            state,
        )
        return msgspec.msgpack.encode(push)

    def _heard(self, ack: Ack) -> None:
        self._seq += 1
        self._pending = None
        self._told_at = time.monotonic()
        self._pause_s = ack.pause_s
        if ack.known:
            self._told_gauges = self._pending_gauges
            self._told_state.update(self._pending_state)
        else:
            # It has begun anew, and is told everything by the next push.
            self._told_gauges = None
            self._told_state = {}

    def _measure_lag(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._lag.observe(max(now - due, 0.0))
        self._lag_timer = loop.call_at(now + LAG_EVERY_S, self._measure_lag, now + LAG_EVERY_S)

    # Answering

    async def _watches(self) -> None:
        backoff = BACKOFF_FIRST_S
        while True:
            try:
                async with asyncio.timeout(WATCH_S + CALL_S + 1):
                    queries = await self._hub.watch(self._source.id)
            except (ObservatoryUnavailable, TimeoutError) as error:
                logger.debug("not asked: %s", error)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, BACKOFF_LAST_S)
                continue
            except Exception:
                logger.exception("listening to the observatory failed")
                await asyncio.sleep(BACKOFF_LAST_S)
                continue
            backoff = BACKOFF_FIRST_S
            for query in queries:
                self._take_up(query)

    def _take_up(self, query: Query) -> None:
        if len(self._answering) >= ANSWERS_AT_ONCE:
            # Whoever asks has a deadline, and says that this source is missing.
            return
        task = asyncio.get_running_loop().create_task(self._answer(query))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, query: Query) -> None:
        payload: bytes | None = None
        answerer = self._answers.get(query.name)
        try:
            if answerer is not None:
                async with asyncio.timeout(LONGEST_WAIT_S + CALL_S):
                    payload = await answerer(query.argument)
                if len(payload) > LONGEST_ANSWER:
                    logger.warning("%s: an answer of %d bytes", query.name, len(payload))
                    payload = None
        except TimeoutError:
            logger.warning("%s: not answered in time", query.name)
        except Exception:
            logger.exception("%s: not answered", query.name)
        with contextlib.suppress(ObservatoryUnavailable, TimeoutError):
            async with asyncio.timeout(CALL_S + 1):
                await self._hub.answer(self._source.id, query.id, payload)
