"""Stops the work on a request whose caller has hung up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

WATCH_AFTER_SECONDS = 0.02
"""A request that takes longer is worth a task that waits for its caller to hang up."""


class Watch:
    """Cancels the task `owner` when the caller of its request hangs up.

    To be made when the request's body has been read, and stopped before the
    answer is complete: afterwards the server reports a disconnect in any case.

    Attributes:
        gone: the caller hung up, and the owner was cancelled for it.
    """

    __slots__ = ("_listener", "_loop", "_owner", "_receive", "_timer", "gone")

    def __init__(self, receive: Receive, owner: asyncio.Task[Any] | None = None) -> None:
        self.gone = False
        self._receive = receive
        self._owner = owner or asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._listener: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(WATCH_AFTER_SECONDS, self._start)

    def stop(self) -> None:
        """The owner is not cancelled any more."""
        self._owner = None
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
            self._listener = None

    def _start(self) -> None:
        if self._owner is not None:
            self._listener = self._loop.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._owner is not None:
            self.gone = True
            self._owner.cancel()
