"""Timelines on their way to the store: gathered, bounded, and written some at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.errors import NoStore, StoreUnreachable
from orchestrator.telemetry import metrics

if TYPE_CHECKING:
    from orchestrator.router.durable import DurablePlane
    from orchestrator.telemetry.instruments import Registry
    from orchestrator.telemetry.timeline import Timeline

logger: Final = logging.getLogger("orchestrator.router")

ROOM: Final = 1000
"""Timelines that wait at most; beyond that the oldest are lost."""

AT_ONCE: Final = 100
EVERY_S: Final = 0.5
"""Pause before a write, in which more may come."""

WRITE_S: Final = 5.0
BACKOFF_LAST_S: Final = 8.0
LAST_WRITE_S: Final = 1.0
"""How long an outbox that is closed tries to write what is left."""


class Outbox:
    """Writes kept timelines to the store. It costs nothing while there are none."""

    def __init__(self, plane: DurablePlane, registry: Registry, part: str) -> None:
        """An empty one.

        Args:
            plane: where the store is.
            registry: counts those that are lost.
            part: of the system, as that metric names it.
        """
        self._plane = plane
        self._lost = registry.counter(metrics.TIMELINES_LOST, part)
        self._waiting: deque[Timeline] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, timeline: Timeline) -> None:
        """Takes a timeline, to be written soon; where there is no store, it is let go."""
        if not self._plane.has_store or self._closed:
            return
        if len(self._waiting) >= ROOM:
            self._waiting.popleft()
            self._lost.add()
        self._waiting.append(timeline)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_all())

    async def close(self) -> None:
        """Writes what is left, if that takes no time. Never raises."""
        self._closed = True
        task, self._writing = self._writing, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        try:
            async with asyncio.timeout(LAST_WRITE_S):
                while self._waiting:
                    await self._write_some()
        except (StoreUnreachable, TimeoutError) as error:
            logger.warning("%d timelines were not kept: %s", len(self._waiting), error)
            self._lost.add(len(self._waiting))
            self._waiting.clear()

    async def _write_all(self) -> None:
        pause_s = EVERY_S
        while self._waiting:
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(WRITE_S):
                    await self._write_some()
                pause_s = EVERY_S
            except NoStore:
                self._waiting.clear()
            except (StoreUnreachable, TimeoutError) as error:
                pause_s = min(pause_s * 2, BACKOFF_LAST_S)
                logger.warning("timelines wait to be kept (%d): %s", len(self._waiting), error)
            except Exception:
                # Whatever is wrong with these must not keep others from being written.
                logger.exception("timelines could not be kept")
                self._lost.add(self._drop())
        self._writing = None

    async def _write_some(self) -> None:
        batch = [self._waiting[at] for at in range(min(AT_ONCE, len(self._waiting)))]
        with self._plane.open() as durable:
            await durable.store.timelines.add(batch)
        # Those that were lost meanwhile were the oldest: what is left may be others.
        written = {id(each) for each in batch}
        while self._waiting and id(self._waiting[0]) in written:
            self._waiting.popleft()

    def _drop(self) -> int:
        dropped = min(AT_ONCE, len(self._waiting))
        for _ in range(dropped):
            self._waiting.popleft()
        return dropped
