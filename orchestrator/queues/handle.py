"""Calls to an environment's queue, each with a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from orchestrator.serve_calls import ServeCalls

if TYPE_CHECKING:
    from orchestrator.lifecycle.permits import Exchange, Reply
    from orchestrator.lifecycle.replica import ReplicaReport, ReportReply

QUEUE = "Queue"
"""Name of the queue's deployment in its environment's application."""

CALL_TIMEOUT_S = 2.0
WATCH_S = 1.0
"""How long a watch is held open at the queue: well within a lease, and a queue that is replaced
ends only when none is left."""


class QueueUnavailable(Exception):  # noqa: N818 - a fact, like those of `lifecycle.errors`
    """The queue did not answer in time, or died with the call."""


class QueueHandle:
    """The queue of one application, by its name; used on one event loop."""

    def __init__(self, application: str) -> None:
        self.application = application
        called = f"queue of {application}"
        self._call = ServeCalls(QUEUE, application, called, QueueUnavailable)

    async def exchange(self, message: Exchange) -> Reply:
        """A holder's summary for the queue's reply."""
        return cast("Reply", await self._call("exchange", CALL_TIMEOUT_S, message))

    async def watch(self, holder: str, term: str, acked: int) -> Reply | None:
        """What a holder must hear at once; None where there was nothing for `WATCH_S`."""
        call = self._call("watch", WATCH_S + CALL_TIMEOUT_S, holder, term, acked)
        return cast("Reply | None", await call)

    async def report(self, report: ReplicaReport) -> ReportReply:
        """A replica's report."""
        return cast("ReportReply", await self._call("report", CALL_TIMEOUT_S, report))

    async def wake(self) -> None:
        """Ask for a replica."""
        await self._call("wake", CALL_TIMEOUT_S)

    async def describe(self) -> dict[str, Any]:
        """The state of the environment, for operators."""
        return cast("dict[str, Any]", await self._call("describe", CALL_TIMEOUT_S))

    async def ahead(self, holder: str, age_s: float) -> int:
        """How many at other holders rank before a waiter of a holder, by its rank's age."""
        return cast("int", await self._call("ahead", CALL_TIMEOUT_S, holder, age_s))

    async def desired(self, seen: tuple[int, bool] | None) -> tuple[int, bool]:
        """Replicas wanted, and whether the queue has settled; held while it is still `seen`."""
        call = self._call("desired", WATCH_S + CALL_TIMEOUT_S, seen)
        return cast("tuple[int, bool]", await call)
