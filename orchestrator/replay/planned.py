"""What is to be sent, and when: the arrivals of all environments with their bodies.

Reading a trace takes time in which no request could be sent, so a thread reads
ahead. The order of the draws is that of a simulation, so that the same experiment
and seed give each request the same time in both.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.replay.template import Numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from orchestrator.replay.template import Template
    from orchestrator.simulator.scenario import Draw
    from orchestrator.traffic.arrival import Arrival

BATCH: Final = 1_000
AHEAD: Final = 200
"""Batches that are read ahead: most replays are in memory before their first request."""


class Planned(NamedTuple):
    """One request to be sent.

    Attributes:
        at: seconds since the beginning.
        environment: index of its environment.
        number: among those of its environment, from 0.
        body: JSON; of an asynchronous one, the model's input.
        service_s: how long it will run; None: nobody knows.
        deadline_s: its caller gives up after so long; None: never.
        asynchronous: accepted for later.
    """

    at: float
    environment: int
    number: int
    body: bytes
    service_s: float | None = None
    deadline_s: float | None = None
    asynchronous: bool = False


@dataclass(frozen=True, slots=True)
class Traffic:
    """The requests of one environment, to be read once.

    Attributes:
        arrivals: in order.
        seconds_of: how long each runs, asked in their order; None: nobody knows before.
        deadline: after how long a caller gives up; None: as the arrival says.
        template: of the bodies.
    """

    arrivals: Iterator[Arrival]
    seconds_of: Callable[[Arrival], float] | None
    deadline: Draw | None
    template: Template


def planned_requests(
    traffic: Sequence[Traffic], duration_s: float | None = None
) -> Iterator[Planned]:
    """The requests of all environments, in the order of their times.

    Args:
        traffic: of each; `Planned.environment` is the place in this list.
        duration_s: none comes later; None: the arrivals end by themselves.
    """
    until = math.inf if duration_s is None else duration_s
    each = [_of_one(index, traffic, until) for index, traffic in enumerate(traffic)]
    return heapq.merge(*each, key=lambda planned: planned.at)


def _of_one(index: int, traffic: Traffic, until: float) -> Iterator[Planned]:
    seconds_of, deadline, encode = traffic.seconds_of, traffic.deadline, traffic.template.encode
    for number, arrival in enumerate(traffic.arrivals):
        if arrival.at > until:
            return
        service_s = None if seconds_of is None else seconds_of(arrival)
        numbers = Numbers(arrival.prompt_tokens, arrival.output_tokens, service_s)
        yield Planned(
            at=arrival.at,
            environment=index,
            number=number,
            body=encode(numbers),
            service_s=service_s,
            deadline_s=arrival.deadline_s if deadline is None else deadline(),
            asynchronous=arrival.asynchronous,
        )


class ReadAhead:
    """Reads on in a thread while the first are sent; an async iterator, to be used once.

    Args:
        planned: what to read.
    """

    def __init__(self, planned: Iterator[Planned]) -> None:
        self._planned = planned
        self._loop = asyncio.get_running_loop()
        self._batches: asyncio.Queue[list[Planned] | BaseException] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)
        self._over = False
        self._full = asyncio.Event()
        self._thread = threading.Thread(target=self._read, name="reading ahead", daemon=True)

    async def start(self) -> None:
        """Returns when as much is read as is kept, or all there is."""
        self._thread.start()
        await self._full.wait()

    def close(self) -> None:
        """Reads no further."""
        self._over = True
        self._room.release()

    async def __aiter__(self) -> AsyncIterator[Planned]:
        """The requests; raises what reading them raised, when it comes to that."""
        while True:
            batch = await self._batches.get()
            if isinstance(batch, BaseException):
                raise batch
            for each in batch:
                yield each
            self._room.release()
            if len(batch) < BATCH:
                return

    def _read(self) -> None:
        try:
            while not self._over:
                batch = list(itertools.islice(self._planned, BATCH))
                self._put(batch)
                if len(batch) < BATCH:
                    break
                if not self._room.acquire(blocking=False):
                    self._tell_full()
                    self._room.acquire()
        except Exception as error:  # noqa: BLE001 - told to whoever reads
            self._put(error)
        self._tell_full()

    def _put(self, batch: list[Planned] | BaseException) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._batches.put_nowait, batch)

    def _tell_full(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._full.set)
