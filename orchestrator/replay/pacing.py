"""Sends requests at their times, whatever became of those before: an open loop.

A closed loop, in which a caller waits for its answer before it asks again, hides
what a slow system does to those who would have come meanwhile ("coordinated
omission"). Here nobody waits; what is sent late all the same, because this process
had no time, is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

AT_ONCE: Final = 16
"""Requests that are sent before answers have their turn, where many are due together."""

_RESOLUTION_S: Final = 0.001
"""Of the event loop's timers. Waiting for less is not possible, but by spinning, which
would take the processor from the cluster where it runs on the same machine."""


class Due(Protocol):
    """What is to be sent."""

    @property
    def at(self) -> float:
        """Seconds since the beginning; never less than of the one before."""


T = TypeVar("T", bound=Due)


class OpenLoop:
    """Sends what is due, and keeps those that are under way.

    Args:
        clock: seconds since the beginning.
        most: requests under way at once at most; one more has to wait, and is late.

    Attributes:
        waited: how often one had to wait for that reason.
    """

    def __init__(self, clock: Callable[[], float], most: int) -> None:
        self._clock = clock
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self.waited = 0

    @property
    def under_way(self) -> int:
        """Requests that were sent and have not ended."""
        return len(self._tasks)

    def stop(self) -> None:
        """Sends no more."""
        self._stop.set()
        self._room.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    async def run(
        self, planned: AsyncIterator[T], send: Callable[[T], Coroutine[Any, Any, None]]
    ) -> None:
        """Sends all, each at its time, and returns when the last was sent, or on `stop`.

        Args:
            planned: in the order of their times.
            send: what a task is made of for each. What it raises ends the loop, and is
                raised by `drain`: it is an error of the program, and no outcome.
        """
        in_a_row = 0
        async for each in planned:
            if await self._until(each.at):
                in_a_row = 0
            while len(self._tasks) >= self._most and not self.stopped:
                self.waited += 1
                self._room.clear()
                await self._room.wait()
            if self.stopped:
                return
            task = asyncio.create_task(send(each))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            in_a_row += 1
            if in_a_row % AT_ONCE == 0:
                await asyncio.sleep(0)

    async def drain(self) -> None:
        """Returns when all that were sent have ended, or on `stop`."""
        while self._tasks and not self.stopped:
            self._room.clear()
            await self._room.wait()
        if self._failure is not None:
            raise self._failure

    async def pause(self, seconds: float) -> None:
        """Waits, where it is more than 0, or until `stop`."""
        if seconds > 0:
            await self._until(self._clock() + seconds)

    async def cancel(self) -> int:
        """Ends those that are under way; how many."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(tasks)

    async def _until(self, at: float) -> bool:
        """Waits for a time; whether there was anything to wait for."""
        waited = False
        while (left := at - self._clock()) > 0 and not self.stopped:
            waited = True
            pause = math.ceil(left / _RESOLUTION_S) * _RESOLUTION_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stop.wait()
        return waited

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.set()
        if not task.cancelled() and self._failure is None:
            self._failure = task.exception()
            if self._failure is not None:
                self.stop()
