"""How a replica reaches its environment's queue: the one thing that replicas use of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from orchestrator.queues.handle import QueueHandle

if TYPE_CHECKING:
    from orchestrator.lifecycle.replica import ReplicaReport, ReportReply


class Reporter(Protocol):
    """Where a replica's reports go."""

    async def report(self, report: ReplicaReport) -> ReportReply:
        """Deliver one report; raises where it could not be."""


class QueueReporter:
    """Reports to the queue of an application through Serve.

    `report` raises `orchestrator.queues.handle.QueueUnavailable`.
    """

    def __init__(self, application: str) -> None:
        self._queue = QueueHandle(application)

    async def report(self, report: ReplicaReport) -> ReportReply:
        """Deliver one report."""
        return await self._queue.report(report)
