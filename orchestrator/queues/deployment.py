"""The Queue deployment: a shell around the core's `EnvironmentQueue`, one per environment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.lifecycle.environment_queue import EnvironmentQueue
from orchestrator.lifecycle.settings import EnvironmentSettings
from orchestrator.observatory.handle import ObservatoryHandle
from orchestrator.queues.handle import WATCH_S
from orchestrator.queues.telling import Telling
from orchestrator.telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from orchestrator.lifecycle.permits import Exchange, Reply
    from orchestrator.lifecycle.replica import ReplicaReport, ReportReply
    from orchestrator.observatory.protocol import Hub

TICK_S = 0.1

TROUBLE_LOG_S = 60.0
"""A policy may fail at every tick, with other words each time."""

logger = logging.getLogger("ray.serve")


class Queue:
    """Takes calls from holders, replicas and the autoscaling policy; calls the observatory alone.

    Serve calls `reconfigure` with the environment's settings before anybody
    else gets through, and again when they change.
    """

    _core: EnvironmentQueue | None = None
    _telling: Telling | None = None
    _ticking: asyncio.Task[None] | None = None
    _trouble: str = ""
    _silent_until: float = float("-inf")
    _wanted: tuple[int, bool] | None = None

    def __init__(self, make_hub: Callable[[], Hub] = ObservatoryHandle) -> None:
        """A queue without settings.

        Args:
            make_hub: gives the observatory.
        """
        self._make_hub = make_hub
        self._watches: dict[str, tuple[str, int, asyncio.Future[Reply | None]]] = {}
        self._wanted_changed = asyncio.Event()

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Go by these settings from now on (see `orchestrator.config`: EnvironmentSettings)."""
        settings = EnvironmentSettings.from_mapping(user_config)
        telemetry = msgspec.convert(user_config.get("telemetry", {}), TelemetrySettings)
        if self._core is None or self._telling is None:
            name = os.urandom(6).hex()
            self._core = EnvironmentQueue(settings, name, time.monotonic(), time.time())
            self._telling = Telling(self._core, telemetry, self._make_hub())
            self._telling.start()
            self._ticking = asyncio.create_task(self._tick())
        else:
            self._core.reconfigure(settings)
            self._telling.configure(telemetry)
        self._tell()

    async def close(self) -> None:
        """Stop deciding, and tell what has not been told."""
        ticking, self._ticking = self._ticking, None
        if ticking is None or self._telling is None:
            return
        ticking.cancel()
        await asyncio.wait({ticking})
        await self._telling.close()

    def __del__(self) -> Coroutine[Any, Any, None] | None:
        """What Serve calls, and awaits, to end a queue; the interpreter gets None."""
        return None if self._ticking is None else self.close()

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

    async def ahead(self, holder: str, age_s: float) -> int:
        """See `EnvironmentQueue.ahead`."""
        return self._ready.ahead(holder, age_s, time.monotonic())

    async def desired(self, seen: tuple[int, bool] | None) -> tuple[int, bool]:
        """How many replicas there should be, and whether that may be fewer than there are.

        Held for at most `WATCH_S` while it is still what was `seen`.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WATCH_S):
                while (wanted := self._want()) == seen:
                    self._wanted_changed.clear()
                    await self._wanted_changed.wait()
                return wanted
        return self._want()

    def _want(self) -> tuple[int, bool]:
        core = self._ready
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
                self._decide()
                self._tell()
                if self._telling is not None:
                    self._telling.note()
            except Exception:
                # Losing one tick is better than losing the queue's clock.
                logger.exception("the queue's tick failed")

    def _decide(self) -> None:
        """The core's tick; tells of what is wrong with the scaling policies, and of its end."""
        core, now = self._ready, time.monotonic()
        core.tick(now, time.time())
        trouble = core.autoscaler.trouble
        if trouble == self._trouble or now < self._silent_until:
            return
        self._trouble, self._silent_until = trouble, now + TROUBLE_LOG_S
        log = logger.error if trouble else logger.info
        said = trouble or "its scaling policies work again"
        log("%s.%s: %s", core.settings.model, core.settings.environment, said)

    def _tell(self) -> None:
        """Answer those watches for which there is news."""
        wanted = self._want()
        if wanted != self._wanted:
            self._wanted = wanted
            self._wanted_changed.set()
        now = time.monotonic()
        for holder, (term, acked, future) in list(self._watches.items()):
            if future.done():
                continue
            news = self._ready.news(holder, term, acked, now)
            if news is not None:
                future.set_result(news)
