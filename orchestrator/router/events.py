"""Server-sent events: all environments at first, then those that change."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.errors import ObservatoryUnreachable, TooManyWatchers
from orchestrator.router.feed import POLL_S, overview_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from orchestrator.router.auth import Reach
    from orchestrator.router.directory import Directory
    from orchestrator.router.feed import Feed, Place

MOST: Final = 100
"""Streams at a router."""

HEARTBEAT_S: Final = 10.0
LONGEST_S: Final = 600.0
"""After so long a stream ends, and its reader comes again: maybe to another router."""


class Events:
    """The streams of one router."""

    def __init__(self, feed: Feed, directory: Callable[[], Directory | None]) -> None:
        self._feed = feed
        self._directory = directory
        self._open = 0
        self._over = asyncio.Event()

    def end(self) -> None:
        """Ends all streams: the router is going."""
        self._over.set()

    async def open(self, directory: Directory, reach: Reach) -> AsyncGenerator[bytes, None]:
        """Another stream.

        Raises:
            TooManyWatchers: there are as many as may be.
            ObservatoryUnreachable: there would be nothing to tell.
        """
        await self._feed.refresh(directory)
        if self._open >= MOST:
            raise TooManyWatchers(MOST)
        return self._counted(reach)

    async def _counted(self, reach: Reach) -> AsyncGenerator[bytes, None]:
        # From its first piece on: one that nobody begins to read is never closed either.
        self._open += 1
        try:
            async for piece in self._stream(reach):
                yield piece
        finally:
            self._open -= 1

    async def _stream(self, reach: Reach) -> AsyncGenerator[bytes, None]:
        began = spoke = time.monotonic()
        told: dict[Place, int] = {}
        first, reachable = True, True
        while time.monotonic() - began < LONGEST_S:
            update = self._update(reach, told, first=first)
            now = time.monotonic()
            if update is not None:
                first, spoke = False, now
                yield update
            elif now - spoke >= HEARTBEAT_S:
                spoke = now
                yield b": \n\n"
            if await self._is_over(POLL_S):
                return
            directory = self._directory()
            if directory is None:
                return
            try:
                await self._feed.refresh(directory)
                reachable = True
            except ObservatoryUnreachable as error:
                if reachable:
                    reachable = False
                    yield b": %s\n\n" % str(error).encode()

    def _update(self, reach: Reach, told: dict[Place, int], *, first: bool) -> bytes | None:
        """What this reader has not been told; None: nothing."""
        rows = dict(self._feed.seen_by(reach))
        changed = [row for place, row in rows.items() if told.get(place) != row.version]
        gone = [place for place in told if place not in rows]
        if not (changed or gone or first):
            return None
        for row in changed:
            told[row.model, row.environment] = row.version
        for place in gone:
            del told[place]
        data = overview_json(self._feed.version, time.time(), changed, gone, full=first)
        return b"event: overview\ndata: %s\n\n" % data

    async def _is_over(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True
