"""Calls to the observatory, each with a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from orchestrator.observatory.protocol import (
    ANSWER_S,
    CALL_S,
    LONGEST_WAIT_S,
    WATCH_S,
    ObservatoryUnavailable,
)
from orchestrator.serve_calls import ServeCalls

if TYPE_CHECKING:
    from orchestrator.observatory.protocol import (
        Ack,
        Logs,
        LogsAsked,
        Overview,
        Query,
        Recent,
        Sighted,
    )
    from orchestrator.telemetry.timeline import RequestFilter

APPLICATION = "observatory"
DEPLOYMENT = "Observatory"

READ_TIMEOUT_S = 5.0
"""For what takes the observatory some work."""

METRICS_TIMEOUT_S = 9.0
"""Within the 10 s that Prometheus waits for a scrape by default."""


class ObservatoryHandle:
    """The observatory of the cluster; used on one event loop. Implements `Observatory`."""

    def __init__(self) -> None:
        self._call = ServeCalls(DEPLOYMENT, APPLICATION, "the observatory", ObservatoryUnavailable)

    # For sources

    async def push(self, message: bytes) -> Ack:
        """See `Hub`."""
        return cast("Ack", await self._call("push", CALL_S, message))

    async def watch(self, source_id: str) -> list[Query]:
        """See `Hub`."""
        call = self._call("watch", WATCH_S + CALL_S, source_id)
        return cast("list[Query]", await call)

    async def answer(self, source_id: str, query_id: int, payload: bytes | None) -> None:
        """See `Hub`."""
        await self._call("answer", CALL_S, source_id, query_id, payload)

    # For routers

    async def metrics(self, accept: str) -> tuple[str, bytes]:
        """See `Observatory`."""
        return cast("tuple[str, bytes]", await self._call("metrics", METRICS_TIMEOUT_S, accept))

    async def overview(self, since: int) -> Overview:
        """See `Observatory`."""
        return cast("Overview", await self._call("overview", READ_TIMEOUT_S, since))

    async def history(self, model: str, environment: str, minutes: int) -> bytes | None:
        """See `Observatory`."""
        call = self._call("history", READ_TIMEOUT_S, model, environment, minutes)
        return cast("bytes | None", await call)

    async def starts(self, model: str, environment: str) -> list[dict[str, Any]]:
        """See `Observatory`."""
        call = self._call("starts", READ_TIMEOUT_S, model, environment)
        return cast("list[dict[str, Any]]", await call)

    async def requests(self, wanted: RequestFilter) -> Recent:
        """See `Observatory`."""
        return cast("Recent", await self._call("requests", ANSWER_S + READ_TIMEOUT_S, wanted))

    async def request(self, request_id: str) -> Sighted:
        """See `Observatory`."""
        return cast("Sighted", await self._call("request", ANSWER_S + READ_TIMEOUT_S, request_id))

    async def logs(
        self,
        model: str,
        environment: str,
        replica: str,
        asked: dict[str, LogsAsked],
        default: LogsAsked,
    ) -> Logs:
        """See `Observatory`."""
        timeout_s = ANSWER_S + LONGEST_WAIT_S + READ_TIMEOUT_S
        call = self._call("logs", timeout_s, model, environment, replica, asked, default)
        return cast("Logs", await call)
