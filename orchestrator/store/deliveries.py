"""Webhooks: what a dispatcher does to them, their logs and the dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.store import decoding
from orchestrator.store.decoding import microseconds, milliseconds
from orchestrator.store.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.store.connection import Connection
    from orchestrator.store.records import DeadLetter, Delivery, Retention, Try

_LOOKED_AT: Final = 300
"""How many due webhooks one `claim` looks at, most of them perhaps of busy hosts."""

_PAGE: Final = 200


class Deliveries:
    """Webhooks of ended requests. Every method may raise StoreUnreachable.

    Whoever claims a delivery names its attempt at its end. Unlike a request's attempts
    these start again (`defer`, `replay`), which at worst sends a webhook twice.
    """

    def __init__(self, connection: Connection, retention: Retention) -> None:
        self._steps = Steps(connection)
        self._keep_ms = milliseconds(retention.result_s)
        self._dead_ms = milliseconds(retention.dead_letter_s)

    async def claim(
        self, tag: str, count: int, lease_s: float, busy_hosts: Sequence[str] = ()
    ) -> list[Delivery]:
        """Takes up to `count` webhooks that are due, longest due first.

        Args:
            tag: of the environment.
            count: at most as many.
            lease_s: after that they are due again, as another attempt.
            busy_hosts: receivers' hosts that are to be left out, in lower case.
        """
        rows = await self._steps.run(
            "delivery_claim", tag, count, microseconds(lease_s), _LOOKED_AT, *busy_hosts
        )
        return [decoding.delivery(row) for row in rows]

    async def delivered(self, request_id: str, attempt: int, line: Try) -> bool:
        """It got there; False: the lease was not ours, nothing is changed.

        Asking again with the same attempt gives True again.
        """
        return await self._steps.changed(
            "delivery_delivered", request_id, attempt, decoding.log_line(line), self._keep_ms
        )

    async def retry(self, request_id: str, attempt: int, line: Try, pause_s: float) -> bool:
        """It did not get there, and is due again after a pause, as a look then finds.

        False as for `delivered`.
        """
        return await self._steps.changed(
            "delivery_retry", request_id, attempt, decoding.log_line(line), microseconds(pause_s)
        )

    async def give_up(self, request_id: str, attempt: int, line: Try, reason: str) -> bool:
        """It did not get there and goes to the dead letters; else as `delivered`."""
        return await self._steps.changed(
            "delivery_give_up",
            request_id,
            attempt,
            decoding.log_line(line),
            reason,
            self._dead_ms,
            self._keep_ms,
        )

    async def defer(self, request_id: str, attempt: int, pause_s: float) -> bool:
        """It was not tried, and is due again after a pause; the attempt is not counted."""
        return await self._steps.changed(
            "delivery_defer", request_id, attempt, microseconds(pause_s)
        )

    async def log(self, request_id: str) -> list[Try]:
        """Its latest tries, at most 32, oldest first."""
        return decoding.log(await self._steps.run_on("delivery_log", request_id) or [])

    async def dead_letters(
        self, tag: str, *, cursor: str | None = None, limit: int
    ) -> tuple[list[DeadLetter], str | None]:
        """An environment's dead letters, newest first, and the cursor of the next page.

        Args:
            tag: of the environment.
            cursor: of the page before; anything else is taken for the beginning.
            limit: at most as many, and no more than 200.
        """
        on, *rows = await self._steps.run(
            "dead_letters", tag, decoding.moment_before(cursor), max(1, min(limit, _PAGE))
        )
        return [decoding.dead_letter(row) for row in rows], decoding.cursor(on)

    async def dead_letter(self, request_id: str) -> DeadLetter | None:
        """One of the dead letters; None: there is no such."""
        row = await self._steps.run_on("dead_letter", request_id)
        return None if row is None else decoding.dead_letter(row)

    async def replay(self, request_id: str) -> bool:
        """Makes a dead letter due again, its tries from the beginning; False: it is none."""
        return await self._steps.changed("replay", request_id, self._keep_ms)

    async def drop(self, request_id: str) -> bool:
        """Takes a request out of the dead letters; its webhook stays FAILED."""
        return await self._steps.changed("drop", request_id, self._keep_ms)
