"""Requests that share a replica as a language model's do: the more run, the slower each.

A request first reads its prompt, which takes `first_s + first_per_prompt_s * prompt
tokens + first_per_running_s * others that ran when it began`, and ends with its first
token. Its further tokens follow one each `token_s + token_per_running_s * (running - 1)`
seconds, where `running` counts all that run, those that read their prompts too: the
pace changes, within a token as well, whenever that number does.

All that write do so at one pace. So there is one count of the tokens that a request
would have written had it been there from the beginning, the progress; a request ends
when the progress reaches what it was at its first token plus the tokens that were to
follow. This is processor sharing in virtual time, as in Parekh and Gallager, "A
generalized processor sharing approach to flow control" (1993). An event costs
O(log n) in the number that run, plus those that finish reading before the next end.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.traffic.errors import TrafficError

if TYPE_CHECKING:
    from orchestrator.traffic.arrival import Arrival

ROUNDING_S: Final = 1e-9
"""An end so little ahead is now: what `next_end` says is rounded."""


@dataclass(frozen=True, slots=True)
class TokenPace:
    """How fast a replica reads and writes, seconds; see the module."""

    first_s: float = 0.0
    first_per_prompt_s: float = 0.0
    first_per_running_s: float = 0.0
    token_s: float = 0.0
    token_per_running_s: float = 0.0

    def first(self, arrival: Arrival, others: int) -> float:
        """Seconds until the first token where `others` run already.

        Raises:
            TrafficError: the arrival has no tokens.
        """
        if not arrival.prompt_tokens and not arrival.output_tokens:
            raise TrafficError(
                "arrivals",
                None,
                f"the request at {arrival.at:g} s has no tokens, and its service is by tokens",
                "a trace with tokens, or arrivals.tokens",
            )
        return (
            self.first_s
            + self.first_per_prompt_s * arrival.prompt_tokens
            + self.first_per_running_s * others
        )

    def gap(self, running: int) -> float:
        """Seconds between two tokens of a request where so many run, itself included."""
        return self.token_s + self.token_per_running_s * (running - 1)

    def alone(self, arrival: Arrival) -> float:
        """Seconds that a request takes with a replica to itself.

        Raises:
            TrafficError: the arrival has no tokens.
        """
        return self.first(arrival, 0) + further(arrival) * self.gap(1)


def further(arrival: Arrival) -> int:
    """Tokens after the first, which every answer has."""
    return max(arrival.output_tokens - 1, 0)


class _Reading(NamedTuple):
    """A request before its first token; ordered by when that comes."""

    first_at: float
    serial: int
    key: int
    further: int


class _Writing(NamedTuple):
    """A request after its first token; ordered by the progress at which it ends."""

    target: float
    serial: int
    key: int


class TokenBatch:
    """The requests of one replica (see `orchestrator.simulator.scenario.Batch`)."""

    __slots__ = (
        "_done",
        "_gap",
        "_now",
        "_pace",
        "_progress",
        "_reading",
        "_running",
        "_serial",
        "_writing",
    )

    def __init__(self, pace: TokenPace) -> None:
        self._pace = pace
        self._gap = 0.0
        self._now = 0.0
        self._progress = 0.0
        self._serial = 0
        self._running: dict[int, _Reading] = {}
        self._reading: list[_Reading] = []  # sorted
        self._writing: list[_Writing] = []  # a heap; those that have left are still in it
        self._done: list[int] = []

    def begin(self, key: int, arrival: Arrival, now: float) -> float:
        """A request starts; gives the seconds until its first token.

        Raises:
            ValueError: `key` runs already.
            TrafficError: the arrival has no tokens.
        """
        if key in self._running:
            raise ValueError(f"request {key} runs already")
        self._advance(now)
        first = self._pace.first(arrival, len(self._running))
        self._serial += 1
        entry = _Reading(now + first, self._serial, key, further(arrival))
        insort(self._reading, entry)
        self._running[key] = entry
        self._changed()
        return first

    def leave(self, key: int, now: float) -> None:
        """A request is cancelled.

        Raises:
            KeyError: `key` does not run.
        """
        self._advance(now)
        if key in self._done:
            self._done.remove(key)
            return
        entry = self._running.pop(key)
        if entry.first_at > self._now:
            del self._reading[bisect_left(self._reading, entry)]
        self._changed()

    def next_end(self) -> float:
        """When the next request ends if nothing else begins or leaves; `inf`: none runs."""
        if self._done:
            return self._now
        soonest = self._next_written()
        for entry in self._reading:
            if entry.first_at >= soonest:
                break
            soonest = min(soonest, entry.first_at + entry.further * self._gap)
        return soonest

    def ended(self, now: float) -> list[int]:
        """Takes out those that have ended by now, in order."""
        self._advance(now)
        done, self._done = self._done, []
        return done

    def _advance(self, now: float) -> None:
        """Live through all first tokens and ends up to now, in order."""
        while True:
            first_at = self._reading[0].first_at if self._reading else math.inf
            end_at = self._next_written()
            if first_at <= min(end_at, now):
                self._move(first_at)
                self._first_token()
            elif end_at <= now + ROUNDING_S:
                self._now = min(end_at, now)
                self._last_token()
            else:
                break
        self._move(now)

    def _move(self, now: float) -> None:
        """Everybody who writes does so until now, at the present pace."""
        if now > self._now:
            if self._writing and self._gap > 0:
                self._progress += (now - self._now) / self._gap
            self._now = now

    def _next_written(self) -> float:
        """When the next of those who write ends, at the present pace."""
        writing = self._writing
        while writing:
            target, serial, key = writing[0]
            entry = self._running.get(key)
            if entry is not None and entry.serial == serial:
                return self._now + max(target - self._progress, 0.0) * self._gap
            heapq.heappop(writing)
        return math.inf

    def _first_token(self) -> None:
        _, serial, key, more = self._reading.pop(0)
        if more:
            heapq.heappush(self._writing, _Writing(self._progress + more, serial, key))
        else:
            self._end(key)

    def _last_token(self) -> None:
        target, _, key = heapq.heappop(self._writing)
        # Exactly, so that rounding does not add up.
        self._progress = max(target, self._progress)
        self._end(key)

    def _end(self, key: int) -> None:
        del self._running[key]
        self._done.append(key)
        self._changed()

    def _changed(self) -> None:
        """Another number runs."""
        running = len(self._running)
        if running:
            self._gap = self._pace.gap(running)
        else:
            self._progress = 0.0
            self._writing.clear()


class TokenBatches:
    """Replicas that work at one pace (see `orchestrator.simulator.scenario.BatchModel`)."""

    def __init__(self, pace: TokenPace) -> None:
        self.pace = pace

    def batch(self) -> TokenBatch:
        """An empty replica."""
        return TokenBatch(self.pace)
