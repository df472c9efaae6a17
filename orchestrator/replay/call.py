"""One synchronous request, as its caller sees it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from orchestrator.lifecycle.request import Outcome
from orchestrator.replay.outcomes import COMES_BACK, FROM_A_ROUTER, outcome_of
from orchestrator.reports.measures import Ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.replay.planned import Planned
    from orchestrator.replay.target import Place
    from orchestrator.simulator.scenario import Callers

    Record = Callable[[Planned, Ended], None]

GRACE_S: Final = 1.0
"""After its deadline, how long a caller waits for the cluster to say so, before it leaves."""


class Answered:
    """One exchange over HTTP, as far as it got.

    Attributes:
        began: reading of the clock when it was sent.
        status: of HTTP; 0: no head of an answer came.
        outcome: what it amounts to.
        first_byte_at: reading of the clock at the first byte of the body; nan: none came.
        waited_s, attempts, cold: as the router says.
    """

    __slots__ = ("attempts", "began", "cold", "first_byte_at", "outcome", "status", "waited_s")

    def __init__(self, began: float) -> None:
        self.began = began
        self.status = 0
        self.outcome = Outcome.FAILED_INTERNAL
        self.first_byte_at = math.nan
        self.waited_s = 0.0
        self.attempts = 0
        self.cold = False

    def read_head(self, response: aiohttp.ClientResponse) -> None:
        """The head of an answer has come."""
        headers = response.headers
        self.status = response.status
        self.waited_s = float(headers.get("x-queue-wait-ms", 0)) / 1000
        self.attempts = int(headers.get("x-baseten-model-prediction-attempts", 0))
        self.cold = headers.get("x-cold-start") == "true"


class Calls:
    """Sends the synchronous requests of one environment.

    Args:
        session: to the cluster.
        place: of the environment.
        ids: what the ids of its requests begin with; then comes the number.
        callers: what callers do: how often they come back, and when.
        clock: seconds since the beginning.
        record: is told of each request that has ended.

    Attributes:
        unanswered: exchanges that got no answer: connections refused or broken.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        place: Place,
        *,
        ids: str,
        callers: Callers,
        clock: Callable[[], float],
        record: Record,
    ) -> None:
        self._session = session
        self._path = place.predict.lstrip("/")
        self._ids = ids
        self._callers = callers
        self._clock = clock
        self._record = record
        self.unanswered = 0

    async def send(self, planned: Planned) -> None:
        """Sends one, again where its caller comes back, and records what became of it.

        Latency counts from when it was due, so that one that was sent late looks late,
        and not the cluster fast. Its time of service is what is left of its last
        exchange beside the wait: with what router and network take.
        """
        waited_s, attempts, cold, back = 0.0, 0, False, 0
        while True:
            answered = await self._exchange(planned)
            waited_s += answered.waited_s
            attempts += answered.attempts
            cold = cold or answered.cold
            if answered.status not in COMES_BACK or back >= self._callers.retries:
                break
            back += 1
            await asyncio.sleep(self._callers.retry_after())
        now = self._clock()
        held_s = max(now - answered.began - answered.waited_s, 0.0)
        ended = Ended(
            at=now,
            latency_s=now - planned.at,
            wait_s=waited_s,
            first_byte_s=answered.first_byte_at - planned.at,
            service_s=held_s if answered.attempts else 0.0,
            outcome=answered.outcome.value,
            cold=cold,
            attempts=attempts,
            asynchronous=False,
        )
        self._record(planned, ended)

    async def _exchange(self, planned: Planned) -> Answered:
        """One exchange with the cluster."""
        answered = Answered(self._clock())
        headers, leaves_s = self._headers(planned, answered.began)
        try:
            async with (
                asyncio.timeout(leaves_s),
                self._session.post(self._path, data=planned.body, headers=headers) as response,
            ):
                answered.read_head(response)
                body = await self._read_body(answered, response)
        except TimeoutError:
            # The cluster did not say whether it ran by then; it may have.
            answered.outcome = Outcome.FAILED_DEADLINE
        except aiohttp.ClientPayloadError:
            answered.outcome = Outcome.FAILED_REPLICA_LOST
        except (aiohttp.ClientError, OSError):
            self.unanswered += 1
        else:
            answered.outcome = outcome_of(
                answered.status,
                _json(body) if answered.status >= 400 else None,
                from_a_router=FROM_A_ROUTER in response.headers,
            )
        return answered

    def _headers(self, planned: Planned, now: float) -> tuple[dict[str, str], float | None]:
        """What the cluster is told beside the body, and when the caller leaves by itself."""
        headers = {"x-request-id": f"{self._ids}{planned.number}"}
        if planned.deadline_s is None:
            return headers, None
        left_ms = max(math.ceil((planned.at + planned.deadline_s - now) * 1000), 1)
        headers["request-timeout-ms"] = str(left_ms)
        return headers, left_ms / 1000 + GRACE_S

    async def _read_body(self, answered: Answered, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        async for chunk in response.content.iter_any():
            if not parts:
                answered.first_byte_at = self._clock()
            parts.append(chunk)
        return b"".join(parts)


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
