"""The `queue_delay` policy: as few replicas as keep the wait in line below an objective.

Two conditions, and the larger number of the two:

1. In the long run: with so many slots in one line, the rate of arrivals, and the mean
   service time, Erlang's second formula lets at most `1 - quantile` of the requests wait
   longer than the objective (see `orchestrator.lifecycle.scaling.erlang`).
2. Right now: the line that there is, drained by all the slots at once, is gone within
   the objective and the time that a replica takes to start. A replica that comes
   now can shorten no wait before that.

The formula takes arrivals at random and exponential service times. Real arrivals come in
bursts; the second condition answers those, and so does the rate, which is the larger of
that over the window and that over its last tenth.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from annotated_types import Gt, Lt

from orchestrator.lifecycle.scaling.erlang import servers_for_wait
from orchestrator.lifecycle.scaling.load import LoadWindow
from orchestrator.lifecycle.scaling.policy import Seen, Wish, replicas_for

Duration = Annotated[float, Gt(0)]
Share = Annotated[float, Gt(0), Lt(1)]

_SHORT = 0.1
"""The short window, as a part of the long one: a surge shows there first."""

_SAMPLES = 200
"""How many counts a window keeps."""

_SLACK = 0.05
"""By which part a window may be longer than asked for, so that it begins at a count."""


class ArrivalRate:
    """Arrivals per second over a sliding window and over its last tenth, from a count that rises.

    It keeps at most some 200 counts, whatever the window is and however often it is asked.
    """

    def __init__(self, now: float, arrived: float, window_s: float) -> None:
        self._window_s = window_s
        self._counts: deque[tuple[float, float]] = deque([(now, arrived)])
        self._recent: deque[tuple[float, float]] = deque([(now, arrived)])

    def record(self, now: float, arrived: float) -> float:
        """The larger of the two rates, where `arrived` have come in since the beginning.

        While there is less to look back on than the tenth, it is taken for the whole of
        it: one request in the first moment makes no high rate.
        """
        short_s = self._window_s * _SHORT
        return max(
            self._rate(self._counts, now, arrived, self._window_s),
            self._rate(self._recent, now, arrived, short_s),
        )

    def _rate(
        self, counts: deque[tuple[float, float]], now: float, arrived: float, window_s: float
    ) -> float:
        """The rate over a window; takes down the count of now."""
        start = now - window_s
        while len(counts) > 1 and counts[1][0] <= start:
            counts.popleft()
        if now - counts[-1][0] >= window_s / _SAMPLES:
            counts.append((now, arrived))
        since, before = counts[0]
        # Between two counts that are far apart, nothing is known of when they came: lately.
        looked_s = min(now - since, window_s * (1 + _SLACK))
        return (arrived - before) / max(looked_s, self._window_s * _SHORT)


class _Facts(NamedTuple):
    """All that the number depends on, so that it is computed anew only where one changed."""

    rate: float
    service_s: float
    startup_s: float
    waiting: int
    slots: int
    max_replica: int


@dataclass(slots=True, kw_only=True)
class QueueDelayPolicy:
    """See the module.

    Attributes:
        objective: seconds that a request may wait in line.
        quantile: share of the requests that must not wait longer.
        window: seconds over which arrivals are counted; it should be longer than a
            request runs, lest a pause between arrivals looks like the end of the load.
    """

    objective: Duration = 1.0
    quantile: Share = 0.95
    window: Duration = 60.0
    _load: LoadWindow | None = field(init=False, repr=False, default=None)
    _arrivals: ArrivalRate | None = field(init=False, repr=False, default=None)
    _known: _Facts | None = field(init=False, repr=False, default=None)
    _wish: Wish = field(init=False, repr=False, default_factory=lambda: Wish(0, ""))

    def wish(self, now: float, seen: Seen) -> Wish:
        """See `Policy.wish`."""
        if self._load is None or self._arrivals is None:
            self._load = LoadWindow(now)
            self._arrivals = ArrivalRate(now, seen.arrived, self.window)
        self._load.record(now, seen.in_flight)
        rate = self._arrivals.record(now, seen.arrived)
        if not seen.service_s:
            return self._by_concurrency(now, seen, self._load)
        facts = _Facts(
            rate=rate,
            service_s=seen.service_s,
            startup_s=seen.startup_s or 0.0,
            waiting=seen.waiting,
            slots=max(min(seen.slots, seen.scaling.concurrency_target), 1),
            max_replica=seen.scaling.max_replica,
        )
        if facts != self._known:
            self._known, self._wish = facts, self._decide(facts)
        return self._wish

    @staticmethod
    def _by_concurrency(now: float, seen: Seen, load: LoadWindow) -> Wish:
        window_s = seen.scaling.window_s
        average = load.average(now, window_s)
        return Wish(
            replicas_for(average, seen.per_replica),
            f"no service time known yet: {average:.2f} in flight over {window_s:g} s, "
            f"{seen.per_replica:g} a replica",
        )

    def _decide(self, facts: _Facts) -> Wish:
        steady = self._for_rate(facts)
        drain_s = self.objective + facts.startup_s
        draining = replicas_for(facts.waiting * facts.service_s / drain_s, facts.slots)
        if draining <= steady.replicas:
            return steady
        return Wish(
            draining,
            f"{facts.waiting} in line of {facts.service_s:.3g} s each: {draining} replicas "
            f"drain them within {drain_s:.3g} s",
        )

    def _for_rate(self, facts: _Facts) -> Wish:
        if not facts.rate:
            return Wish(0, f"no request in {self.window:g} s")
        most = facts.max_replica * facts.slots
        seen = f"{facts.rate:.2f} requests/s of {facts.service_s:.3g} s"
        load = facts.rate * facts.service_s
        if load >= most:
            stable = math.floor(load / facts.slots) + 1
            return Wish(
                stable,
                f"{seen} cannot be met: {facts.max_replica} replicas have {most} slots, and "
                f"{load:.2f} are busy on average",
            )
        servers = servers_for_wait(
            facts.rate,
            facts.service_s,
            self.objective,
            1 - self.quantile,
            step=facts.slots,
            at_most=most,
        )
        goal = f"{100 * self.quantile:g} % wait {self.objective:g} s at most"
        if servers is None:
            return Wish(
                facts.max_replica,
                f"{seen}: fewer than {goal}, even with {facts.max_replica} replicas",
            )
        return Wish(servers // facts.slots, f"{seen}: {goal} with {servers} slots")
