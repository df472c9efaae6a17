"""Asynchronous requests: what callers and dispatchers do to them, one script a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.async_request import LONGEST_RUN_S, AsyncState
from orchestrator.lifecycle.async_request import WebhookStatus as Webhook
from orchestrator.lifecycle.errors import AsyncQueueFull, IdempotencyConflict
from orchestrator.store import decoding
from orchestrator.store.decoding import SECOND, microseconds, milliseconds
from orchestrator.store.records import (
    Accepted,
    Backlog,
    Depth,
    Page,
    Waiting,
)
from orchestrator.store.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.store.connection import Connection
    from orchestrator.store.records import (
        Bounds,
        Claim,
        Error,
        Record,
        Result,
        Retention,
        Submission,
    )
    from orchestrator.telemetry.timeline import Run

_AFTERWARDS_S: Final = 7 * 86_400.0
"""How much longer than its longest life an open request stays known."""

_SWEEP: Final = 200
"""How many of each kind one `look` deals with at most."""

_WATCH_S: Final = 5.0
"""`Backlog.next_s` at most while others may be at work: one that dies is found by the end
of its lease, which a look from before it began does not know of."""

_RENEWALS: Final = 250
_PAGE: Final = 200
_FULL_RETRY_AFTER_S: Final = 5.0


class Requests:
    """All asynchronous requests. Every method may raise StoreUnreachable."""

    def __init__(self, connection: Connection, retention: Retention) -> None:
        self._steps = Steps(connection)
        self._keep_ms = milliseconds(retention.result_s)

    async def submit(self, submission: Submission) -> Accepted:
        """Accepts a request, durably; asking again with the same id changes nothing.

        Raises:
            AsyncQueueFull: one of the submission's bounds is reached.
            IdempotencyConflict: its idempotency key stands for another body.
        """
        s = submission
        idempotency, body = s.idempotency or ("", "")
        per_key = s.bounds.max_requests_per_key
        answer, *rest = await self._steps.run_on(
            "submit",
            s.request_id,
            idempotency,
            body,
            s.bounds.max_requests,
            s.bounds.max_bytes,
            "" if per_key is None else per_key,
            s.key,
            len(s.input),
            microseconds(s.priority * s.aging_s),
            microseconds(s.max_queue_s),
            milliseconds(_longest_life_s(s)),
            s.rules.max_attempts,
            s.priority,
            (Webhook.PENDING if s.webhook else Webhook.NOT_PROVIDED).value,
            decoding.host_of(s.webhook),
            decoding.about(s),
            s.input,
        )
        if answer == b"conflict":
            raise IdempotencyConflict
        if answer == b"full":
            raise AsyncQueueFull(_bound(rest[0].decode(), s.bounds), _FULL_RETRY_AFTER_S)
        return Accepted(rest[0].decode(), created=rest[1] == 1)

    async def get(self, request_id: str) -> Record | None:
        """A request, with its result and its runs; None: unknown."""
        rows = await self._steps.run_on("get", request_id)
        return None if rows is None else decoding.record(rows[0], rows[1:])

    async def cancel(self, request_id: str) -> tuple[bool, AsyncState] | None:
        """Whether it was canceled now, and the state that it is in; None: unknown."""
        row = await self._steps.run_on("cancel", request_id, self._keep_ms)
        return None if row is None else (row[0] == 1, AsyncState(row[1].decode()))

    async def depth(self, tag: str) -> Depth:
        """How many wait and run."""
        queued, in_progress = await self._steps.run("depth", tag)
        return Depth(queued, in_progress)

    async def look(self, tag: str, first: int) -> Backlog:
        """What there is to do; what has fallen due by itself is done first.

        Args:
            tag: of the environment.
            first: of how many of the requests in the queue's front to tell.
        """
        ready, sending, planned, *front = await self._steps.run(
            "look", tag, first, _SWEEP, microseconds(_WATCH_S), self._keep_ms
        )
        return Backlog(
            ready=ready,
            first=tuple(
                Waiting(age / SECOND, priority)
                for age, priority in zip(front[::2], front[1::2], strict=True)
            ),
            deliveries=sending,
            next_s=None if planned < 0 else planned / SECOND,
        )

    async def claim(self, tag: str, count: int, lease_s: float) -> list[Claim]:
        """Takes up to `count` requests to run them, best rank first."""
        rows = await self._steps.run("claim", tag, count, microseconds(lease_s), self._keep_ms)
        return [decoding.claim(row) for row in rows]

    async def renew(self, tag: str, claims: Sequence[tuple[str, int]], lease_s: float) -> list[str]:
        """Holds leases for another `lease_s`; the ids of those that are held no more.

        Args:
            tag: of the environment of all of them.
            claims: id and attempt of each.
            lease_s: from now.
        """
        lost: list[str] = []
        for start in range(0, len(claims), _RENEWALS):
            named = [word for claim in claims[start : start + _RENEWALS] for word in claim]
            rows = await self._steps.run("renew", tag, microseconds(lease_s), *named)
            lost += [row.decode() for row in rows]
        return lost

    async def succeed(
        self, request_id: str, attempt: int, result: Result, run: Run | None = None
    ) -> bool:
        """Ends a request with its result; False: the lease was not ours, nothing is changed.

        Asking again with the same attempt gives True again. What is told of the run is
        kept with the request.
        """
        return await self._steps.changed(
            "succeed",
            request_id,
            attempt,
            result.content_type,
            result.size,
            result.data or b"",
            result.reference or "",
            self._keep_ms,
            decoding.run_record(run),
        )

    async def fail(
        self, request_id: str, attempt: int, error: Error, run: Run | None = None
    ) -> bool:
        """Ends a request with an error; else as `succeed`."""
        return await self._steps.changed(
            "fail",
            request_id,
            attempt,
            error.code.value,
            error.message,
            self._keep_ms,
            decoding.run_record(run),
        )

    async def put_back(
        self,
        request_id: str,
        attempt: int,
        error: Error | None,
        pause_s: float,
        run: Run | None = None,
    ) -> bool:
        """Queues a request again; False: the lease was not ours, nothing is changed.

        Args:
            request_id: of a request that was claimed.
            attempt: the claim's.
            error: why it failed; it fails for good if that was its last attempt.
                None: the attempt did not run, and is not counted.
            pause_s: before it may be claimed again, as a look after that pause finds.
            run: what is told of it; not kept where it did not run.
        """
        return await self._steps.changed(
            "put_back",
            request_id,
            attempt,
            microseconds(pause_s),
            error.code.value if error else "",
            error.message if error else "",
            self._keep_ms,
            decoding.run_record(run),
        )

    async def list(
        self, tag: str, *, status: AsyncState | None = None, cursor: str | None = None, limit: int
    ) -> Page:
        """An environment's requests, newest first, without inputs and results.

        Args:
            tag: of the environment.
            status: only those in this state.
            cursor: of the page before; anything else is taken for the beginning.
            limit: at most as many, and no more than 200; fewer say nothing of the end.
        """
        states = [state.value for state in ([status] if status else AsyncState)]
        before = decoding.moment_before(cursor)
        on, *rows = await self._steps.run("list", tag, before, _page(limit), *states)
        return Page([decoding.record(row) for row in rows], decoding.cursor(on))


def _page(limit: int) -> int:
    return max(1, min(limit, _PAGE))


def _longest_life_s(s: Submission) -> float:
    """Seconds from each step to the latest moment at which a request must still be known."""
    attempts = s.rules.max_attempts
    return s.max_queue_s + attempts * (LONGEST_RUN_S + s.rules.max_delay_s) + _AFTERWARDS_S


def _bound(which: str, bounds: Bounds) -> str:
    match which:
        case "requests":
            return f"{bounds.max_requests} open requests"
        case "bytes":
            return f"{bounds.max_bytes} bytes of open requests"
        case _:
            return f"{bounds.max_requests_per_key} open requests per API key"
