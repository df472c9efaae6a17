"""What a source of requests is like, and what looks wrong with it."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.traffic.rows import Floats, Rows

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0

HIGHEST_RATE: Final = 100_000.0
"""Requests per second that no trace of a model has."""

LOWEST_RATE: Final = 1 / DAY_S
"""Requests per second: one a day."""

MOST_TOKENS: Final = 10_000_000
"""Tokens of one request that no model takes."""


class Suspicion(NamedTuple):
    """Something that is allowed, but probably not meant.

    Attributes:
        what: what was seen.
        hint: what may be the cause.
    """

    what: str
    hint: str


class Survey(NamedTuple):
    """What requests are like.

    Attributes:
        requests: how many there are.
        span_s: from the first to the last.
        rate: requests per second over the span; 0 where there is no span.
        cv: coefficient of variation of the gaps; nan for less than two of them.
        busiest_minute: requests in the busiest minute.
        idle_share: share of the span's minutes in which none came.
        environments: requests by environment, where the source names any.
        complete: whether all were read, rather than the first so many.
        suspicions: what looks wrong, to be shown before a run.
    """

    requests: int
    span_s: float
    rate: float
    cv: float
    busiest_minute: int
    idle_share: float
    environments: Mapping[str, int]
    complete: bool
    suspicions: tuple[Suspicion, ...]


class _Tally:
    """Sums over requests, piece by piece."""

    def __init__(self) -> None:
        self.requests = 0
        self.first = self.last = 0.0
        self.longest_prompt = 0
        self.minutes: Counter[int] = Counter()
        self.environments: Counter[str] = Counter()
        self._squares = 0.0

    def add(self, rows: Rows) -> None:
        if not self.requests:
            self.first = self.last = float(rows.at[0])
            gaps: Floats = np.diff(rows.at)
        else:
            gaps = np.diff(rows.at, prepend=self.last)
        self.requests += len(rows)
        self.last = float(rows.at[-1])
        self._squares += float(gaps @ gaps)
        minutes, counts = np.unique(np.floor(rows.at / MINUTE_S), return_counts=True)
        self.minutes.update(dict(zip(minutes.tolist(), counts.tolist(), strict=True)))
        if rows.environment is not None:
            self.environments.update(rows.environment.tolist())
        if rows.prompt_tokens is not None:
            self.longest_prompt = max(self.longest_prompt, int(rows.prompt_tokens.max()))

    @property
    def span_s(self) -> float:
        return self.last - self.first

    @property
    def cv(self) -> float:
        """Of the gaps; their mean is the span over their number."""
        gaps = self.requests - 1
        mean = self.span_s / gaps if gaps > 1 else 0.0
        if not mean:
            return math.nan
        return math.sqrt(max(self._squares / gaps - mean**2, 0.0)) / mean

    @property
    def idle_share(self) -> float:
        minutes = math.floor(self.last / MINUTE_S) - math.floor(self.first / MINUTE_S) + 1
        return 1 - len(self.minutes) / minutes


def survey(rows: Iterable[Rows], most: int, suspicions: list[Suspicion]) -> Survey:
    """What requests are like.

    Args:
        rows: the requests, in order.
        most: where to stop.
        suspicions: what looked wrong while they were read; read after them.
    """
    tally, complete = _Tally(), True
    for part in rows:
        room = most - tally.requests
        tally.add(part.take(slice(room)))
        if len(part) >= room:
            complete = False
            break
    if not tally.requests:
        nothing = Suspicion("there are no requests", "the part that is cut out may lie behind them")
        return Survey(0, 0.0, 0.0, math.nan, 0, 0.0, {}, complete, (*suspicions, nothing))
    rate = (tally.requests - 1) / tally.span_s if tally.span_s else 0.0
    return Survey(
        requests=tally.requests,
        span_s=tally.span_s,
        rate=rate,
        cv=tally.cv,
        busiest_minute=max(tally.minutes.values()),
        idle_share=tally.idle_share,
        environments=dict(tally.environments),
        complete=complete,
        suspicions=(*suspicions, *_odd(tally, rate)),
    )


def _odd(tally: _Tally, rate: float) -> list[Suspicion]:
    """What is odd about the numbers."""
    found = []
    units = "the times may be in another unit than `unit` says, or time_scale is not meant so"
    if tally.requests > 1 and not tally.span_s:
        found.append(Suspicion(f"all {tally.requests:,} requests come at the same moment", units))
    elif rate > HIGHEST_RATE:
        found.append(Suspicion(f"{rate:,.0f} requests come per second on average", units))
    elif tally.requests > 1 and rate < LOWEST_RATE:
        days = 1 / rate / DAY_S
        found.append(Suspicion(f"a request comes only every {days:,.1f} days on average", units))
    if tally.longest_prompt > MOST_TOKENS:
        what = f"a prompt has {tally.longest_prompt:,} tokens"
        found.append(Suspicion(what, "another column may be meant"))
    return found
