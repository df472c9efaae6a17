"""The `predictive` policy: replicas for the load that there will be once they have started.

It averages the requests in flight over buckets of time and forecasts the buckets to
come by exponential smoothing with a damped trend, and with an additive season where its
period is known. On top comes a quantile of the forecast's own recent errors, so that a
load that is hard to forecast gets more room. It never asks for less than the `concurrency`
policy would.

Sources: E. S. Gardner and E. McKenzie, "Forecasting trends in time series", 1985, for the
damped trend; P. R. Winters, "Forecasting sales by exponentially weighted moving averages",
1960, for the season; the notation, and the forms used here, are those of R. J. Hyndman and
G. Athanasopoulos, "Forecasting: principles and practice", 3rd edition, sections 8.2 and 8.3.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from orchestrator.lifecycle.scaling.load import LoadWindow
from orchestrator.lifecycle.scaling.policy import Seen, SettingError, Wish, replicas_for

Duration = Annotated[float, Gt(0)]
Weight = Annotated[float, Gt(0), Le(1)]
Quantile = Annotated[float, Gt(0), Lt(1)]
Bucket = Annotated[float, Ge(0.1)]
Count = Annotated[int, Ge(1), Le(10_000)]

NEGLIGIBLE = 0.05
"""Of a replica: so little of a forecast starts none. After a load has gone, its forecast
approaches zero and never gets there."""

MAX_SEASON_BUCKETS = 4320
"""Of a season; a day has so many of 20 s."""


@dataclass(slots=True, kw_only=True)
class Smoothing:
    """The forecast: level, damped trend and season of a series, one value after another.

    A season is learnt from its first whole period: its terms are the differences from
    that period's mean, as Winters begins. Until then there is none.

    Attributes:
        alpha: weight of the newest value in the level.
        beta: weight of the newest change of the level in the trend.
        gamma: weight of the newest value in its season's term.
        damping: what remains of the trend from one step to the next.
        season: steps of a season; 0: none.
        level: of the series now.
        trend: its change a step.
        count: values that came in.
    """

    alpha: float = 0.5
    beta: float = 0.1
    gamma: float = 0.3
    damping: float = 0.9
    season: int = 0
    level: float = 0.0
    trend: float = 0.0
    count: int = 0
    _terms: list[float] = field(init=False, repr=False, default_factory=list)
    _first: list[float] = field(init=False, repr=False, default_factory=list)

    def add(self, value: float) -> None:
        """The series' next value."""
        if not self.count:
            self.level = value
        term = self._term(self.count)
        carried = self.damping * self.trend
        before = self.level + carried
        level = self.alpha * (value - term) + (1 - self.alpha) * before
        self.trend = self.beta * (level - self.level) + (1 - self.beta) * carried
        self.level = level
        if self._terms:
            place = self.count % self.season
            self._terms[place] = self.gamma * (value - before) + (1 - self.gamma) * term
        self.count += 1
        if self.season and not self._terms:
            self._learn_season(value)

    def forecast(self, steps: int) -> float:
        """The value `steps` (≥ 1) after the last; it may be negative."""
        return self.level + self._drift(steps) + self._term(self.count + steps - 1)

    def peak(self, steps: int) -> float:
        """The largest of the next `steps` (≥ 1) values as they are forecast."""
        if not self._terms:
            # Without a season, the forecasts rise all the way or fall all the way.
            return max(self.forecast(1), self.forecast(steps))
        return max(self.forecast(step) for step in range(1, min(steps, self.season) + 1))

    def _drift(self, steps: int) -> float:
        if self.damping == 1:
            return steps * self.trend
        return self.trend * self.damping * (1 - self.damping**steps) / (1 - self.damping)

    def _term(self, index: int) -> float:
        return self._terms[index % self.season] if self._terms else 0.0

    def _learn_season(self, value: float) -> None:
        self._first.append(value)
        if len(self._first) == self.season:
            self.level, self.trend = math.fsum(self._first) / self.season, 0.0
            self._terms = [value - self.level for value in self._first]
            self._first = []


class ForecastErrors:
    """What forecasts were wrong by: the actual value less the forecast, the latest of them."""

    def __init__(self, most: int) -> None:
        self._errors: deque[float] = deque(maxlen=most)
        self._open: list[tuple[int, float]] = []

    def expect(self, index: int, forecast: float) -> None:
        """The value number `index` is forecast."""
        self._open.append((index, forecast))

    def came(self, index: int, value: float) -> None:
        """The value number `index`."""
        self._errors.extend(value - forecast for at, forecast in self._open if at == index)
        self._open = [(at, forecast) for at, forecast in self._open if at > index]

    def quantile(self, share: float) -> float:
        """The smallest error that so large a share does not exceed; 0 where there is none."""
        if not self._errors:
            return 0.0
        return sorted(self._errors)[math.ceil(share * len(self._errors) - 1e-9) - 1]


class Buckets:
    """Means of a value that changes in steps, over one stretch of time after the other."""

    def __init__(self, now: float, bucket_s: float) -> None:
        self._bucket_s = bucket_s
        self._ends = now + bucket_s
        self._since = now
        self._value = 0.0
        self._integral = 0.0

    def record(self, now: float, value: float) -> list[float]:
        """The value is `value` from now on; gives the means of the buckets that have ended."""
        ended = []
        while now >= self._ends:
            self._integral += self._value * (self._ends - self._since)
            ended.append(self._integral / self._bucket_s)
            self._since, self._integral = self._ends, 0.0
            self._ends += self._bucket_s
        self._integral += self._value * (now - self._since)
        self._since, self._value = now, value
        return ended


@dataclass(slots=True, kw_only=True)
class PredictivePolicy:
    """See the module. Times are seconds.

    Attributes:
        bucket: over which the load is averaged; a forecast is made at the end of each.
        trend_damping: what remains of a trend from one bucket to the next; 1: it goes on.
        alpha: weight of the newest bucket in the level.
        beta: weight of the newest change of the level in the trend.
        gamma: weight of the newest bucket in its term of the season.
        quantile: of the forecast's errors, which is added to it.
        errors: how many of the latest errors count.
        horizon: how far ahead; None: as long as starts were measured to take, and a bucket.
        season: period of the load, a whole number of buckets; None: it has none.
    """

    bucket: Bucket = 10.0
    trend_damping: Weight = 0.9
    alpha: Weight = 0.5
    beta: Weight = 0.1
    gamma: Weight = 0.3
    quantile: Quantile = 0.9
    errors: Count = 120
    horizon: Duration | None = None
    season: Duration | None = None
    _smoothing: Smoothing = field(init=False, repr=False)
    _errors: ForecastErrors = field(init=False, repr=False)
    _load: LoadWindow | None = field(init=False, repr=False, default=None)
    _buckets: Buckets | None = field(init=False, repr=False, default=None)
    _forecast: float = field(init=False, repr=False, default=0.0)
    _margin: float = field(init=False, repr=False, default=0.0)

    def __post_init__(self) -> None:
        self._smoothing = Smoothing(
            alpha=self.alpha,
            beta=self.beta,
            gamma=self.gamma,
            damping=self.trend_damping,
            season=self._season_buckets(),
        )
        self._errors = ForecastErrors(self.errors)

    def wish(self, now: float, seen: Seen) -> Wish:
        """See `Policy.wish`."""
        if self._load is None or self._buckets is None:
            self._load, self._buckets = LoadWindow(now), Buckets(now, self.bucket)
        self._load.record(now, seen.in_flight)
        horizon_s = self.horizon or (seen.startup_s or 0.0) + self.bucket
        for mean in self._buckets.record(now, seen.in_flight):
            self._take_in(mean, horizon_s)
        average = self._load.average(now, seen.scaling.window_s)
        reason = (
            f"{average:.2f} in flight over {seen.scaling.window_s:g} s, forecast within "
            f"{horizon_s:.3g} s {self._forecast:.2f} + {self._margin:.2f} for its errors, "
            f"{seen.per_replica:g} a replica"
        )
        ahead = self._forecast + self._margin - NEGLIGIBLE * seen.per_replica
        return Wish(replicas_for(max(average, ahead), seen.per_replica), reason)

    def _take_in(self, mean: float, horizon_s: float) -> None:
        smoothing = self._smoothing
        self._errors.came(smoothing.count, mean)
        smoothing.add(mean)
        # The bucket in which the horizon ends; the first that is to come is step 1.
        steps = math.floor(horizon_s / self.bucket + 1e-9) + 1
        self._errors.expect(smoothing.count + steps - 1, max(smoothing.forecast(steps), 0.0))
        # Replicas are needed on the way there, too: a peak may come and go before.
        self._forecast = max(smoothing.peak(steps), 0.0)
        # Where forecasts were too high, they stay so: too low is what callers feel.
        self._margin = max(self._errors.quantile(self.quantile), 0.0)

    def _season_buckets(self) -> int:
        if self.season is None:
            return 0
        buckets = round(self.season / self.bucket)
        if buckets < 2 or not math.isclose(buckets * self.bucket, self.season):
            rule = (
                f"must be a whole number of buckets, two at least; it is "
                f"{self.season / self.bucket:g} of {self.bucket:g} s"
            )
            raise SettingError(rule, "season")
        if buckets > MAX_SEASON_BUCKETS:
            rule = (
                f"must be {MAX_SEASON_BUCKETS} buckets at most, not {buckets} of "
                f"{self.bucket:g} s: set bucket to {self.season / MAX_SEASON_BUCKETS:g} or more"
            )
            raise SettingError(rule, "season")
        return buckets
