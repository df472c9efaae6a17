"""Counters, gauges and histograms of one process, cheap to fill and sent on as differences.

`Registry.take` gives what has happened since the last time, so that whoever adds it
up has totals that only grow, also when a process ends. One event loop uses a
registry; nothing here is locked.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.telemetry.metrics import Metric

Labels = tuple[str, ...]
"""Values of a metric's labels, in the order of `Metric.labels`."""


class Exemplar(msgspec.Struct, array_like=True, frozen=True):
    """One observation whose trace can be looked at; `at` is Unix time."""

    trace_id: str
    value: float
    at: float


class HistogramPart(msgspec.Struct, array_like=True):
    """What a histogram observed: counts per bucket (the last one is above all bounds)."""

    counts: list[int]
    total: float
    exemplars: dict[int, Exemplar] = {}


class Batch(msgspec.Struct, array_like=True):
    """What happened since the last batch; keys are (name of the metric, values of its labels).

    Attributes:
        counters: by how much they grew.
        histograms: what they observed.
        gauges: what they are.
    """

    counters: dict[tuple[str, Labels], float] = {}
    histograms: dict[tuple[str, Labels], HistogramPart] = {}
    gauges: dict[tuple[str, Labels], float] = {}


class Counter:
    """Something that is counted; `add` may be called, or `value` changed, directly."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        """So many more."""
        self.value += amount


class Histogram:
    """Something that is measured."""

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def observe(self, value: float) -> None:
        """One observation, in the metric's unit."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def exemplify(self, value: float, trace_id: str, at: float) -> None:
        """Names the trace of an observation that was made."""
        self.exemplars[bisect_left(self.bounds, value)] = Exemplar(trace_id, value, at)


class Registry:
    """The instruments of a process."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, Labels], Counter] = {}
        self._histograms: dict[tuple[str, Labels], Histogram] = {}
        self._gauges: dict[tuple[str, Labels], Callable[[], float]] = {}
        self._before_take: list[Callable[[], None]] = []

    def counter(self, metric: Metric, *labels: str) -> Counter:
        """The counter with these values of the metric's labels; the same each time."""
        key = (metric.name, labels)
        found = self._counters.get(key)
        if found is None:
            found = self._counters[key] = Counter()
        return found

    def histogram(self, metric: Metric, *labels: str) -> Histogram:
        """The histogram with these values of the metric's labels; the same each time."""
        key = (metric.name, labels)
        found = self._histograms.get(key)
        if found is None:
            found = self._histograms[key] = Histogram(metric.buckets)
        return found

    def gauge(self, metric: Metric, read: Callable[[], float], *labels: str) -> None:
        """Reads a gauge whenever a batch is taken."""
        self._gauges[metric.name, labels] = read

    def before_take(self, update: Callable[[], None]) -> None:
        """Has `update` called before a batch is taken: for what is counted in another thread."""
        self._before_take.append(update)

    def take(self) -> Batch:
        """What happened since the last time; it is not told again."""
        steps = self.taking(sys.maxsize)
        batch = next(steps)
        for _ in steps:  # to its end
            pass
        return batch

    def taking(self, at_once: int) -> Iterator[Batch]:
        """As `take`, in steps of so many histograms: thousands take milliseconds.

        Yields the same batch after each step; it is whole when there are no more. If it
        does not come to that, it is to be put back.
        """
        for update in self._before_take:
            update()
        batch = Batch()
        for key, counter in self._counters.items():
            if counter.value:
                batch.counters[key] = counter.value
                counter.value = 0.0
        for number, (key, histogram) in enumerate(list(self._histograms.items()), 1):
            if number % at_once == 0:
                yield batch
            if any(histogram.counts):
                batch.histograms[key] = HistogramPart(
                    histogram.counts, histogram.total, histogram.exemplars
                )
                histogram.counts = [0] * len(histogram.counts)
                histogram.total = 0.0
                histogram.exemplars = {}
        batch.gauges = {key: read() for key, read in self._gauges.items()}
        yield batch

    def put_back(self, batch: Batch) -> None:
        """A batch that could not be told: it is part of the next one."""
        for key, value in batch.counters.items():
            self._counters[key].value += value
        for key, part in batch.histograms.items():
            histogram = self._histograms[key]
            histogram.counts = [a + b for a, b in zip(histogram.counts, part.counts, strict=True)]
            histogram.total += part.total
            histogram.exemplars = {**part.exemplars, **histogram.exemplars}
