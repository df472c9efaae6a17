"""Requests that are made up: renewal processes at a rate that changes with time.

Gaps are drawn from a gamma distribution with mean 1 (shape 1 / cv², so that cv 1 is a
Poisson process) and laid along the expected number of requests rather than along time:
the n-th request comes when the integral of the rate has reached the sum of the first n
gaps. Method: Gerhardt and Nelson, "Transforming renewal processes for simulation of
nonstationary arrival processes", INFORMS Journal on Computing 21(4), 2009. The first
gap is drawn from the equilibrium distribution, as for somebody who comes at no special
moment, so that the expected number of requests up to any time is that integral exactly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from orchestrator.traffic.rows import BATCH, Floats, Rows
from orchestrator.traffic.settings import LEAST_RATE, Diurnal, Gamma, Poisson, Spike, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

Generated = Poisson | Gamma | Diurnal | Step | Spike

PIECES: Final = 1440
"""A sine is made of so many straight pieces of its integral: a day of minutes."""

LEAST_CV: Final = 0.001
"""For less of it, gaps are as good as equal."""


class Profile:
    """A rate that is constant from one moment to the next, and its integral.

    Args:
        times: moments at which the rate changes, ascending from 0.
        expected: the integral of the rate up to each of them.
        after: what comes after the last one: a constant rate, 0 for nothing any more.
        repeats: whether it begins anew at the last one instead.
    """

    def __init__(
        self, times: Floats, expected: Floats, *, after: float = 0.0, repeats: bool = False
    ) -> None:
        self._times = times
        self._expected = expected
        self._after = after
        self._repeats = repeats

    @property
    def total(self) -> float:
        """Requests to be expected in all; may be `inf`."""
        return math.inf if self._repeats or self._after else float(self._expected[-1])

    def expected(self, at: float) -> float:
        """Requests to be expected until then."""
        turns, at = divmod(at, self._times[-1]) if self._repeats else (0.0, at)
        beyond = max(at - float(self._times[-1]), 0.0) * self._after
        within = float(np.interp(at, self._times, self._expected))
        return turns * float(self._expected[-1]) + within + beyond

    def when(self, expected: Floats) -> Floats:
        """The moments at which so many requests are to be expected: `expected`'s inverse."""
        last = self._expected[-1]
        if self._repeats:
            turns, within = np.divmod(expected, last)
            found = turns * self._times[-1] + np.interp(within, self._expected, self._times)
            return np.asarray(found)
        found = np.interp(expected, self._expected, self._times)
        if self._after:
            beyond = np.maximum(expected - last, 0.0)
            found = found + beyond / self._after
        return np.asarray(found)


def profile(source: Generated, rate_scale: float = 1.0) -> Profile:
    """The rate of a generator, times `rate_scale`."""
    if isinstance(source, Diurnal):
        return _sine(source, rate_scale)
    if isinstance(source, Step):
        seconds = np.array([step.seconds for step in source.steps])
        rates = np.array([step.rate for step in source.steps]) * rate_scale
        return Profile(_sums(seconds), _sums(seconds * rates))
    if isinstance(source, Spike):
        rate, peak = source.rate * rate_scale, source.peak_rate * rate_scale
        rate = rate if rate >= LEAST_RATE else 0.0
        times = np.array([0.0, source.at_seconds, source.at_seconds + source.seconds])
        return Profile(times, _sums(np.diff(times) * np.array([rate, peak])), after=rate)
    return Profile(np.zeros(1), np.zeros(1), after=source.rate * rate_scale)


def generate(
    source: Generated,
    rng: Generator,
    *,
    rate_scale: float = 1.0,
    begin_s: float = 0.0,
    end_s: float = math.inf,
) -> Iterator[Rows]:
    """Requests of a generator from `begin_s` until before `end_s`, in its own time."""
    shape = profile(source, rate_scale)
    most = min(shape.total, shape.expected(end_s) if math.isfinite(end_s) else math.inf)
    reached, first = shape.expected(begin_s), True
    cv = 1.0 if isinstance(source, Poisson) else float(source.cv)
    cv = cv if cv >= LEAST_CV else 0.0
    while True:
        gaps = _gaps(rng, cv)
        if first:
            gaps[0] = _first_gap(rng, cv)
            first = False
        counts = reached + np.cumsum(gaps)
        reached = float(counts[-1])
        within = counts[: np.searchsorted(counts, most, side="left")]
        if within.size:
            yield Rows(at=shape.when(within))
        if within.size < counts.size:
            return


def _gaps(rng: Generator, cv: float) -> Floats:
    """Gaps with mean 1."""
    if cv == 0:
        return np.ones(BATCH)
    if cv == 1:
        return rng.standard_exponential(BATCH)
    return rng.gamma(cv**-2, cv**2, BATCH)


def _first_gap(rng: Generator, cv: float) -> float:
    """From no special moment to the next request: a share, by chance, of a gap.

    Longer gaps are hit more often: of a gamma distribution with shape k, the gap that is
    hit has shape k + 1 and the same scale.
    """
    hit = rng.gamma(cv**-2 + 1, cv**2) if cv else 1.0
    return float(rng.random() * hit)


def _sine(source: Diurnal, rate_scale: float) -> Profile:
    times = np.linspace(0.0, source.period_seconds, PIECES + 1)
    turn = 2 * math.pi / source.period_seconds
    swing = (source.peak_rate - source.mean_rate) / turn
    wave = np.sin(turn * (times - source.peak_at_seconds))
    expected = source.mean_rate * times + swing * (wave - wave[0])
    # Rounding must not turn a valley without requests into a step back.
    return Profile(times, np.maximum.accumulate(expected) * rate_scale, repeats=True)


def _sums(parts: Floats) -> Floats:
    """The sums of the first none, one, two ... of them."""
    return np.concatenate([np.zeros(1), np.cumsum(parts)])
