"""One asynchronous request, from its submission to its end.

Its end is waited for by long-polling, and then its timeline is read once, which
knows how long it stood in the queue: three exchanges a request. A webhook would
come at a bounded pace, and need an address that the cluster may call.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
import msgspec

from orchestrator.lifecycle.request import Outcome
from orchestrator.replay.outcomes import FROM_A_ROUTER, async_outcome_of, outcome_of
from orchestrator.reports.measures import Ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.replay.call import Record
    from orchestrator.replay.planned import Planned
    from orchestrator.replay.target import Place

POLL_S: Final = 30
"""How long one question is held by the cluster where the request has not ended."""

PAUSE_S: Final = 1.0
"""Before a question that failed is asked again."""

PATIENCE: Final = 30
"""Questions that fail in a row before a request counts as lost."""

LONGEST_IN_QUEUE_S: Final = 259_200
"""As long as the API allows: what waits too long is for the experiment to see."""

_OPEN: Final = frozenset({"QUEUED", "IN_PROGRESS"})


class _Unanswered(Exception):  # noqa: N818 - private, a fact
    """No sensible answer."""


class Submissions:
    """Hands over the asynchronous requests of one environment, and follows each.

    Args:
        session: to the cluster.
        place: of the environment.
        clock: seconds since the beginning.
        record: is told of each request that has ended.

    Attributes:
        unanswered: requests that got no answer, or whose end could not be learned.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        place: Place,
        clock: Callable[[], float],
        record: Record,
    ) -> None:
        self._session = session
        self._path = place.submit
        self._clock = clock
        self._record = record
        self.unanswered = 0

    async def send(self, planned: Planned) -> None:
        """Submits one, waits for its end, and records what became of it."""
        outcome, runs, attempts = Outcome.FAILED_INTERNAL, [], 0
        at = math.nan
        try:
            accepted = await self._submit(planned)
            if isinstance(accepted, Outcome):
                outcome = accepted
            else:
                found = await self._end_of(accepted, planned)
                at = self._clock()
                attempts = int(found["attempts"])
                outcome = async_outcome_of(found["status"], _error_code(found), runs=attempts)
                runs = await self._runs(accepted)
        except _Unanswered:
            self.unanswered += 1
        at = self._clock() if math.isnan(at) else at
        service_s = float(runs[-1]["seconds"]) if runs else 0.0
        latency_s = at - planned.at
        ended = Ended(
            at=at,
            latency_s=latency_s,
            # Where its timeline is not known any more: all but its service.
            wait_s=sum(float(run["waited_s"]) for run in runs) if runs else latency_s,
            first_byte_s=math.nan,
            service_s=service_s,
            outcome=outcome.value,
            cold=any(run["cold"] for run in runs),
            attempts=attempts,
            asynchronous=True,
        )
        self._record(planned, ended)

    async def _submit(self, planned: Planned) -> str | Outcome:
        """The id of the accepted request, or why it was not accepted."""
        body = msgspec.json.encode(
            {
                "model_input": msgspec.Raw(planned.body),
                "max_time_in_queue_seconds": LONGEST_IN_QUEUE_S,
            }
        )
        status, answer, from_a_router = await self._ask("POST", self._path, data=body)
        if status == 201:
            return str(answer["request_id"])
        return outcome_of(status, answer, from_a_router=from_a_router)

    async def _end_of(self, request_id: str, planned: Planned) -> dict[str, Any]:
        """The request once it has ended; cancelled at its caller's deadline."""
        path = f"/async_request/{quote(request_id, safe='')}"
        leaves = math.inf if planned.deadline_s is None else planned.at + planned.deadline_s
        failed = 0
        while failed < PATIENCE:
            left = leaves - self._clock()
            if left <= 0:
                await self._ask("DELETE", path)
                leaves = math.inf
            wait = f"{max(min(left, POLL_S), 0.01):.3f}"
            try:
                status, found, _ = await self._ask("GET", path, params={"wait": wait})
            except _Unanswered:
                status, found = 0, None
            if status == 200 and found["status"] not in _OPEN:
                return dict(found)
            if status != 200:
                failed += 1
                await asyncio.sleep(PAUSE_S)
            else:
                failed = 0
        raise _Unanswered

    async def _runs(self, request_id: str) -> list[dict[str, Any]]:
        """Its runs, as its timeline has them; none where that cannot be had."""
        path = f"/api/v1/requests/{quote(request_id, safe='')}/timeline"
        try:
            status, found, _ = await self._ask("GET", path)
        except _Unanswered:
            return []
        return list(found["raw"]["runs"]) if status == 200 else []

    async def _ask(self, method: str, path: str, **options: Any) -> tuple[int, Any, bool]:
        """Status, JSON of the body (None: it is none), and whether a router said so."""
        try:
            async with self._session.request(method, path.lstrip("/"), **options) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise _Unanswered from error
        try:
            found = msgspec.json.decode(body)
        except msgspec.DecodeError:
            found = None
        return response.status, found, FROM_A_ROUTER in response.headers


def _error_code(found: dict[str, Any]) -> str:
    errors = found["errors"]
    return str(errors[-1]["code"]) if errors else ""
