"""The Queue deployment: a shell around the core's `EnvironmentQueue`, one per environment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.settings import EnvironmentSettings
from orchestrator.queues.handle import WATCH_S

if TYPE_CHECKING:
    from orchestrator.lifecycle.permits import Exchange, Reply
    from orchestrator.lifecycle.replica import ReplicaReport, ReportReply

TICK_S = 0.1

logger = logging.getLogger("ray.serve")


class Queue:
    """Takes calls from holders, replicas and the autoscaling policy; calls nobody.

    Serve calls `reconfigure` with the environment's settings before anybody
    else gets through, and again when they change.
    """

    def __init__(self) -> None:
        self._core: EnvironmentQueue | None = None
        self._watches: dict[str, tuple[str, int, asyncio.Future[Reply | None]]] = {}
        self._desired_changed = asyncio.Event()
        self._ticking: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Go by these settings from now on (see `orchestrator.config`: EnvironmentSettings)."""
        settings = EnvironmentSettings.from_mapping(user_config)
        if self._core is None:
            self._core = EnvironmentQueue(settings, os.urandom(6).hex(), time.monotonic())
            self._ticking = asyncio.create_task(self._tick())
        else:
            self._core.reconfigure(settings)
        self._tell()

    async def exchange(self, message: Exchange) -> Reply:
        """See `EnvironmentQueue.exchange`."""
        reply = self._ready.exchange(message, time.monotonic())
        self._tell()
        return reply

    async def watch(self, holder: str, term: str, acked: int) -> Reply | None:
        """Wait for news for a holder, at most `WATCH_S`; a newer watch replaces an older one."""
        now = time.monotonic()
        if not self._ready.renew(holder, now):
            return None
        news = self._ready.news(holder, term, acked, now)
        if news is not None:
            return news
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        old = self._watches.get(holder)
        if old is not None and not old[2].done():
            old[2].set_result(None)
        self._watches[holder] = mine = (term, acked, future)
        try:
            async with asyncio.timeout(WATCH_S):
                return await future
        except TimeoutError:
            return None
        finally:
            if self._watches.get(holder) is mine:
                del self._watches[holder]

    async def report(self, report: ReplicaReport) -> ReportReply:
        """See `EnvironmentQueue.report`."""
        reply = self._ready.report(report, time.monotonic())
        if report.reason is not None:
            settings = self._ready.settings
            logger.warning(
                "replica %s of %s.%s failed: %s",
                report.replica_id,
                settings.model,
                settings.environment,
                report.reason,
            )
        self._tell()
        return reply

    async def wake(self) -> None:
        """See `EnvironmentQueue.wake`."""
        self._ready.wake(time.monotonic())
        self._tell()

    async def describe(self) -> dict[str, Any]:
        """See `EnvironmentQueue.describe`."""
        return self._ready.describe(time.monotonic())

    async def desired(self, seen: int | None) -> tuple[int, bool]:
        """How many replicas there should be, and whether that may be fewer than there are.

        Held for at most `WATCH_S` while the number is still `seen`.
        """
        core = self._ready
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_S):
                while core.decision.desired == seen:
                    self._desired_changed.clear()
                    await self._desired_changed.wait()
        return core.decision.desired, core.settled(time.monotonic())

    @property
    def _ready(self) -> EnvironmentQueue:
        if self._core is None:
            raise RuntimeError("the queue has no settings yet: Serve calls reconfigure first")
        return self._core

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self._ready.tick(time.monotonic())
                self._tell()
            except Exception:
                # Losing one tick is better than losing the queue's clock.
                logger.exception("the queue's tick failed")

    def _tell(self) -> None:
        """Answer those watches for which there is news."""
        self._desired_changed.set()
        now = time.monotonic()
        for holder, (term, acked, future) in list(self._watches.items()):
            if future.done():
                continue
            news = self._ready.news(holder, term, acked, now)
            if news is not None:
                future.set_result(news)
