"""Tells the environment's queue where a replica is in its life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from orchestrator.lifecycle.replica import ReplicaReport, ReportReply, Stage, may_follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.queues.reports import Reporter

logger = logging.getLogger("ray.serve")

HEARTBEAT_SECONDS = 1.0
RETRY_SECONDS = 0.1
REPORT_TIMEOUT_SECONDS = 5.0
FAILURE_REPORT_SECONDS = 10.0


class StageReports:
    """Every change of stage, in order, and a heartbeat in between.

    A report that fails is tried again soon, as the then current state: the queue
    may be restarting, and what it missed is in the `stages` of the next report.
    Reports are sent beside the work that they tell of, so that a slow queue does
    not slow a start down.
    """

    def __init__(
        self,
        reporter: Reporter,
        *,
        replica_id: str,
        deployment: str,
        slots: int,
        in_flight: Callable[[], int | None],
    ) -> None:
        self._reporter = reporter
        self._replica_id = replica_id
        self._deployment = deployment
        self._slots = slots
        self._in_flight = in_flight
        self._born = self._entered = time.monotonic()
        self._stage = Stage.STARTING
        self._stages: dict[Stage, float] = {}
        self._address: str | None = None
        self._reason: str | None = None
        self._log_tail: tuple[str, ...] = ()
        self._outbox: deque[ReplicaReport] = deque([self._snapshot()])
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def stage(self) -> Stage:
        """The stage that the replica is in now."""
        return self._stage

    @property
    def stages(self) -> dict[Stage, float]:
        """Seconds spent in each stage that has ended."""
        return dict(self._stages)

    def enter(self, stage: Stage, *, address: str | None = None) -> None:
        """Moves on to `stage` and lets the queue know; `address` from READY on.

        Raises:
            ValueError: the replica's life does not go that way.
        """
        if not may_follow(self._stage, stage):
            raise ValueError(f"a replica does not go from {self._stage} to {stage}")
        now = time.monotonic()
        self._stages[self._stage] = now - self._entered
        self._entered = now
        self._stage = stage
        self._address = address or self._address
        self._outbox.append(self._snapshot())
        self._wake.set()

    async def fail(self, reason: str, log_tail: tuple[str, ...]) -> ReportReply | None:
        """Enters FAILED and waits until the queue knows; None if it cannot be told."""
        self._reason, self._log_tail = reason, log_tail
        self.enter(Stage.FAILED)
        await self.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAILURE_REPORT_SECONDS):
                while True:
                    reply = await self.send()
                    if reply is not None:
                        return reply
                    await asyncio.sleep(RETRY_SECONDS)
        return None

    async def send(self) -> ReportReply | None:
        """Reports the current state now; None if that failed."""
        try:
            return await self._deliver(self._snapshot())
        except Exception as error:  # noqa: BLE001 - whatever a dying queue or Ray may raise
            logger.debug("report of %s failed: %s", self._stage, error)
            return None

    async def stop(self) -> None:
        """Ends the heartbeat; what was not delivered yet is left to `send`."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def _snapshot(self) -> ReplicaReport:
        return ReplicaReport(
            replica_id=self._replica_id,
            deployment=self._deployment,
            stage=self._stage,
            slots=self._slots,
            address=self._address,
            in_flight=self._in_flight(),
            stages=dict(self._stages),
            age_s=time.monotonic() - self._born,
            reason=self._reason,
            log_tail=self._log_tail,
        )

    async def _deliver(self, report: ReplicaReport) -> ReportReply:
        async with asyncio.timeout(REPORT_TIMEOUT_SECONDS):
            return await self._reporter.report(report)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            pause = HEARTBEAT_SECONDS
            try:
                if self._outbox:
                    await self._deliver(self._outbox[0])
                    self._outbox.popleft()
                else:
                    await self._deliver(self._snapshot())
            except Exception as error:  # noqa: BLE001 - whatever a dying queue or Ray may raise
                logger.warning("the queue could not be told of %s: %r", self._stage, error)
                self._outbox.clear()
                pause = RETRY_SECONDS
            if not self._outbox:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
