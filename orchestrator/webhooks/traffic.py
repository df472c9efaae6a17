"""What is under way to receivers, and how much may be: one of these in a process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.lifecycle.webhook import Breaker, BreakerRules, BreakerState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

logger = logging.getLogger("ray.serve")

PER_HOST: Final = 16
HOSTS: Final = 10_000
"""Breakers that are kept; the one that was longest of no use goes first."""

RESULT_BYTES: Final = 128 << 20
"""Of results that were read to be sent, in all; a larger one goes alone."""

BUSY_S: Final = 1.0
"""How long a webhook is put off that was claimed although its receiver is busy: by somebody
who did not know."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A webhook that may be sent; to be handed back with what came of it."""

    host: str
    number: int


@dataclass(frozen=True, slots=True)
class Held:
    """A webhook that may not be sent now.

    Attributes:
        pause_s: seconds after which it is worth asking again.
        failing: whether that is because its receiver fails.
    """

    pause_s: float
    failing: bool


class Traffic:
    """Bounds what goes to each host, keeps breakers, and bounds results held in memory.

    Args:
        per_host: webhooks under way to one host at most; may be changed at any time.
        rules: of the breakers.
        clock: seconds.

    Attributes:
        per_host: as given.
    """

    def __init__(
        self,
        per_host: int = PER_HOST,
        rules: BreakerRules | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        result_bytes: int = RESULT_BYTES,
    ) -> None:
        self.per_host = per_host
        self._rules = rules if rules is not None else BreakerRules()
        self._clock = clock
        self._under_way: dict[str, int] = {}
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()
        self._curious: dict[Callable[[], None], None] = {}
        self._bytes = result_bytes
        self._bytes_used = 0
        self._bytes_wanted: deque[tuple[int, asyncio.Future[None]]] = deque()

    def busy(self) -> list[str]:
        """The hosts that can take nothing until something that is under way there has ended.

        They have as much as may be, or a single webhook that finds out whether they work.
        """
        return [
            host
            for host, count in self._under_way.items()
            if count >= self.per_host or self._probed(host)
        ]

    def room(self) -> int:
        """How many webhooks may come next, whosever they are, without filling a host over."""
        open_hosts = (self.per_host - count for count in self._under_way.values())
        return min((room for room in open_hosts if room > 0), default=self.per_host)

    def tell_when_free(self, hear: Callable[[], None]) -> None:
        """Calls `hear`, once, when a host that is busy may not be so any more."""
        self._curious[hear] = None

    def enter(self, host: str) -> Passage | Held:
        """Asks whether a webhook may be sent to a host now."""
        now = self._clock()
        breaker = self._breaker(host)
        wait_s = breaker.wait_s(now)
        if wait_s:
            if breaker.state is BreakerState.HALF_OPEN:
                return Held(BUSY_S, failing=False)
            return Held(wait_s, failing=True)
        if self._under_way.get(host, 0) >= self.per_host:
            return Held(BUSY_S, failing=False)
        self._under_way[host] = self._under_way.get(host, 0) + 1
        return Passage(host, breaker.admit(now))

    def leave(self, passage: Passage, *, alive: bool | None) -> None:
        """A webhook is not under way any more.

        Args:
            passage: as `enter` gave it.
            alive: whether its receiver works; None: nothing was learnt about it.
        """
        host, now = passage.host, self._clock()
        count = self._under_way.pop(host)
        if count > 1:
            self._under_way[host] = count - 1
        breaker = self._breaker(host)
        state, pauses = breaker.state, breaker.pauses
        was_busy = count >= self.per_host or state is BreakerState.HALF_OPEN
        if alive:
            breaker.succeeded()
        elif alive is None:
            breaker.abandoned(passage.number, now)
        else:
            breaker.failed(passage.number, now)
        if breaker.pauses > pauses:
            logger.warning("webhooks: %s fails and is paused %.0f s", host, breaker.wait_s(now))
        elif alive and state is not BreakerState.CLOSED:
            logger.info("webhooks: %s works again", host)
        if was_busy:
            curious, self._curious = self._curious, {}
            for hear in curious:
                hear()

    @contextlib.asynccontextmanager
    async def holding(self, size: int) -> AsyncIterator[None]:
        """Room in memory for `size` bytes of a result, after waiting in line for it."""
        size = min(size, self._bytes)
        if self._bytes_wanted or self._bytes_used + size > self._bytes:
            granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._bytes_wanted.append((size, granted))
            try:
                await granted
            except asyncio.CancelledError:
                if granted.cancelled():
                    self._bytes_wanted = deque(w for w in self._bytes_wanted if w[1] is not granted)
                else:
                    self._bytes_used -= size
                self._grant()
                raise
        else:
            self._bytes_used += size
        try:
            yield
        finally:
            self._bytes_used -= size
            self._grant()

    def _grant(self) -> None:
        while self._bytes_wanted and self._bytes_used + self._bytes_wanted[0][0] <= self._bytes:
            size, granted = self._bytes_wanted.popleft()
            if not granted.cancelled():
                self._bytes_used += size
                granted.set_result(None)

    def _probed(self, host: str) -> bool:
        breaker = self._breakers.get(host)
        return breaker is not None and breaker.state is BreakerState.HALF_OPEN

    def _breaker(self, host: str) -> Breaker:
        breaker = self._breakers.get(host)
        if breaker is None:
            breaker = self._breakers[host] = Breaker(self._rules)
            if len(self._breakers) > HOSTS:
                self._breakers.popitem(last=False)
        self._breakers.move_to_end(host)
        return breaker
