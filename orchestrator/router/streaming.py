"""Answers of the router's own that come piece by piece, for as long as somebody reads them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.errors import CallerGone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from orchestrator.router.body import Receive
    from orchestrator.router.responses import Send

STALLED_S: Final = 5.0
"""A caller that has not made room for the next piece for so long is cut."""

PIECE_BYTES: Final = 64 * 1024
"""Longer pieces are sent in parts, each with that deadline: a slow line is not a stalled one."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer with status 200 and a body without an end that is known.

    Attributes:
        content_type: of the body.
        pieces: the body; asked for the next one when the one before has been taken, so
            that no more than one is ever held. Closed when the caller has gone.
        headers: more of them.
    """

    content_type: bytes
    pieces: AsyncGenerator[bytes, None]
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def send(
        self, receive: Receive, send: Send, more_headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Sends it, to its end or until the caller goes.

        Raises:
            CallerGone: it stopped reading; the connection is to be cut.
        """
        head = {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", self.content_type),
                (b"cache-control", b"no-store"),
                # Asks proxies not to collect it.
                (b"x-accel-buffering", b"no"),
                *self.headers,
                *more_headers,
            ],
        }
        gone = asyncio.ensure_future(_gone(receive))
        sending = asyncio.ensure_future(self._send_all(head, send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        finally:
            for task in (gone, sending):
                task.cancel()
            await asyncio.wait({gone, sending})
            with contextlib.suppress(Exception):
                await self.pieces.aclose()

    async def _send_all(self, head: dict[str, Any], send: Send) -> None:
        try:
            async with asyncio.timeout(STALLED_S):
                await send(head)
            async for piece in self.pieces:
                for start in range(0, len(piece), PIECE_BYTES):
                    part = piece[start : start + PIECE_BYTES]
                    message = {"type": "http.response.body", "body": part, "more_body": True}
                    async with asyncio.timeout(STALLED_S):
                        await send(message)
        except TimeoutError:
            raise CallerGone from None
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
