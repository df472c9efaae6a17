"""What may end a call besides its answer: its deadlines, and its caller going away.

Both strike by cancelling the call's task with a reason, so they reach it wherever
it waits: in line, for the replica, or for a slow caller to read. A call that is
over within some milliseconds pays for one timer and nothing else.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lifecycle.errors import (
    CallerGone,
    ChunkGapTimeout,
    DeadlineExceeded,
    FirstByteTimeout,
    PredictTimeout,
    RequestError,
)

if TYPE_CHECKING:
    from orchestrator.lifecycle.request import RequestLife
    from orchestrator.router.body import Receive
    from orchestrator.router.table import Timeouts

_NEVER: Final = math.inf


class CallClock:
    """The deadlines of one call and the watch over its caller.

    Made and used within the call's task; times are `time.monotonic()`. Between
    `start` and `stop`, an `asyncio.CancelledError` in that task that leaves
    `struck` set came from here, and `absorb` turns it into its reason.

    Attributes:
        deadline: when the caller's own deadline strikes; infinite without one.
        deadline_field: the header that set it.
        struck: why the call was ended from here; None if it was not.
    """

    __slots__ = (
        "_first_byte_at",
        "_gap_at",
        "_handle",
        "_handle_at",
        "_life",
        "_looked",
        "_loop",
        "_receive",
        "_run_until",
        "_task",
        "_timeouts",
        "_watch",
        "deadline",
        "deadline_field",
        "struck",
    )

    def __init__(
        self,
        receive: Receive,
        timeouts: Timeouts,
        deadline: tuple[float, str] | None,
        life: RequestLife,
    ) -> None:
        self.deadline, self.deadline_field = deadline if deadline is not None else (_NEVER, "")
        self.struck: RequestError | None = None
        self._life = life
        self._receive = receive
        self._timeouts = timeouts
        self._run_until = _NEVER
        self._first_byte_at = _NEVER
        self._gap_at = _NEVER
        self._looked = False
        self._handle: asyncio.TimerHandle | None = None
        self._handle_at = _NEVER
        self._watch: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._loop = asyncio.get_running_loop()

    def start(self, first_look_s: float, now: float) -> None:
        """Begins: nothing strikes before the first look."""
        self._task = asyncio.current_task()
        delay = min(first_look_s, max(0.0, self.deadline - now))
        self._handle = self._loop.call_later(delay, self._look)

    def stop(self) -> None:
        """Ends: nothing strikes any more."""
        self._task = None
        if self._handle is not None:
            self._handle.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def begin_attempt(self, now: float) -> float:
        """A replica is given the request; returns the seconds that it has for it."""
        timeouts = self._timeouts
        self._run_until = now + timeouts.predict_s
        if timeouts.first_byte_s is not None:
            self._first_byte_at = now + timeouts.first_byte_s
        if self._looked:
            self._rearm()
        return min(self._run_until, self.deadline) - now

    def end_attempt(self) -> None:
        """The attempt failed: no limit of it holds any more."""
        self._run_until = self._first_byte_at = self._gap_at = _NEVER

    def await_chunk(self) -> None:
        """The next piece of the body is waited for."""
        gap = self._timeouts.chunk_gap_s
        if gap is not None and self._first_byte_at == _NEVER:
            self._gap_at = time.monotonic() + gap
            if self._looked and self._gap_at < self._handle_at:
                self._rearm()

    def chunk_came(self) -> None:
        """A piece of the body came; the time that the caller takes for it is its own."""
        self._first_byte_at = self._gap_at = _NEVER

    def strike(self, error: RequestError) -> None:
        """Ends the call with an error, once, if it is not over."""
        if self._task is not None and self.struck is None:
            self.struck = error
            self._task.cancel()

    def absorb(self) -> RequestError | None:
        """After a CancelledError: the reason if it came from here and from nowhere else."""
        if self.struck is None or self._task is None or self._task.uncancel() > 0:
            return None
        return self.struck

    def _look(self) -> None:
        self._looked = True
        self._handle = None
        self._handle_at = _NEVER
        if self._watch is None:
            self._watch = self._loop.create_task(self._watch_caller())
        self._rearm()

    def _rearm(self) -> None:
        at, error = self._next()
        if at == _NEVER:
            return
        delay = at - time.monotonic()
        if delay <= 0:
            self.strike(error)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle_at = at
        self._handle = self._loop.call_later(delay, self._look)

    def _next(self) -> tuple[float, RequestError]:
        timeouts = self._timeouts
        limits: list[tuple[float, RequestError]] = [
            (self.deadline, DeadlineExceeded(self.deadline_field, self._life.attempts)),
            (self._run_until, PredictTimeout(timeouts.predict_s)),
            (self._first_byte_at, FirstByteTimeout(timeouts.first_byte_s or 0.0)),
            (self._gap_at, ChunkGapTimeout(timeouts.chunk_gap_s or 0.0)),
        ]
        return min(limits, key=lambda limit: limit[0])

    async def _watch_caller(self) -> None:
        # The body has been read, so all that can still come is that the caller goes.
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.strike(CallerGone())
                return
