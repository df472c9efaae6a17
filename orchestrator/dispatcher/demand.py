"""What a lane asks of its environment's queue: places in line, and permits at hand.

Each acquisition stands in line where the request ranks for which it stands, so
that the queue grants by the order of the requests and sees as much demand as
there is. A permit is for whichever request is the best when it is used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.lifecycle.errors import ParkTimeout, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.dispatcher.permits import Permit, Permits

logger: Final = logging.getLogger("ray.serve")

PATIENCE_S: Final = 3600.0
"""An acquisition that came to nothing for so long is made anew."""

REFUSED_S: Final = 1.0
"""Pause after a refusal that does not say how long to wait."""

SAME_PLACE_S: Final = 0.25
"""Ranks this close are taken for the same: ages are measured anew at every look."""


class Place(NamedTuple):
    """Where a request ranks.

    Attributes:
        rank: `arrived` plus what its level costs; the smaller the better.
        arrived: when it was accepted, on `time.monotonic()`'s scale.
        level: of priority; 0 is synchronous work.
    """

    rank: float
    arrived: float
    level: int


class Demand:
    """The acquisitions and the permits at hand of one lane.

    Attributes:
        hand: permits that are here and not used yet.
    """

    def __init__(self, permits: Permits, changed: Callable[[], None]) -> None:
        """No demand.

        Args:
            permits: of the environment.
            changed: called when a permit has come, when an acquisition has ended
                without one, and when a pause is over.
        """
        self.hand: list[Permit] = []
        self._permits = permits
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._line: dict[asyncio.Task[None], Place] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Acquisitions in line."""
        return len(self._line)

    @property
    def paused(self) -> bool:
        """Whether nothing should be asked now."""
        return self._pause is not None or self._closed

    def take(self) -> bool:
        """Takes a permit that was kept here; False where there is none."""
        permit = self._permits.try_acquire()
        if permit is None:
            return False
        self.hand.append(permit)
        return True

    def stand(self, place: Place) -> None:
        """Stands in line for a permit."""
        task = self._loop.create_task(self._acquire(place))
        self._line[task] = place
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def match(self, wanted: Iterable[Place]) -> deque[Place]:
        """Withdraws acquisitions that stand where no request ranks (any more).

        Args:
            wanted: places of the requests that are ready.

        Returns:
            Those places of `wanted` where none stands yet, best first.
        """
        line = deque(sorted(self._line.items(), key=_rank))
        free: deque[Place] = deque()
        for place in sorted(wanted):
            while line and line[0][1].rank < place.rank - SAME_PLACE_S:
                self._leave(line.popleft()[0])
            if line and line[0][1].rank <= place.rank + SAME_PLACE_S:
                line.popleft()
            else:
                free.append(place)
        for task, _ in line:
            self._leave(task)
        return free

    def withdraw(self, count: int) -> None:
        """Leaves the line with the `count` acquisitions that rank last."""
        if count >= len(self._line):
            last = list(self._line)
        else:
            last = [task for task, _ in sorted(self._line.items(), key=_rank)[-count:]]
        for task in last:
            self._leave(task)

    def pause(self, seconds: float) -> None:
        """Asks for nothing for a while; what is at hand may be used."""
        self.withdraw(len(self._line))
        until = self._loop.time() + seconds
        if self._closed or (self._pause is not None and self._pause.when() >= until):
            return
        if self._pause is not None:
            self._pause.cancel()
        self._pause = self._loop.call_at(until, self._resume)

    def give_back(self) -> None:
        """Lets go of the line and of what is at hand."""
        self.withdraw(len(self._line))
        hand, self.hand = self.hand, []
        for permit in hand:
            self._permits.release(permit)

    async def close(self) -> None:
        """Lets go of everything, for good."""
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        self.give_back()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.give_back()

    def _leave(self, task: asyncio.Task[None]) -> None:
        # Out of the count at once, though the task takes a step of the loop to end.
        if self._line.pop(task, None) is not None:
            task.cancel()

    def _resume(self) -> None:
        self._pause = None
        self._changed()

    async def _acquire(self, place: Place) -> None:
        task = asyncio.current_task()
        try:
            try:
                permit = await self._permits.acquire(
                    deadline=time.monotonic() + PATIENCE_S, ticket=place.arrived, level=place.level
                )
            finally:
                if task is not None:
                    self._line.pop(task, None)
            self.hand.append(permit)
        except ParkTimeout:
            pass
        except RequestError as refusal:
            # The requests stay where they are; their own time limit is what ends them.
            self.pause(getattr(refusal, "retry_after_s", REFUSED_S))
        except Exception:
            logger.exception("an acquisition failed")
            self.pause(REFUSED_S)
        self._changed()


def _rank(standing: tuple[asyncio.Task[None], Place]) -> float:
    return standing[1].rank
