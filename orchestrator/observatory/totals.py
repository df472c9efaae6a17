"""Sums over all sources, since the observatory was started: they only grow.

When it is restarted they begin at 0 again, as those of any process that is
scraped; what is read from them allows for that. One thread changes them; another
may read `counters` and `histograms` meanwhile, whose values are replaced whole.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from orchestrator.telemetry.instruments import Batch, Exemplar, HistogramPart, Labels

    Key = tuple[str, Labels]

logger: Final = logging.getLogger("ray.serve")

ENVIRONMENT_LABELS: Final = ("model", "environment")


class Observed(NamedTuple):
    """What a histogram observed; the count of the last bucket is of what is above all bounds."""

    counts: list[int]
    total: float
    exemplars: dict[int, Exemplar]


class Totals:
    """See the module."""

    def __init__(self) -> None:
        self.counters: dict[Key, float] = {}
        self.histograms: dict[Key, Observed] = {}

    def add(self, batch: Batch) -> None:
        """Takes in what a source counted and measured since the last time."""
        counters = self.counters
        for key, amount in batch.counters.items():
            counters[key] = counters.get(key, 0.0) + amount
        for key, part in batch.histograms.items():
            self.histograms[key] = self._with(key, part)

    def forget(self, model: str, environment: str) -> None:
        """An environment has been gone for long."""
        for series in (self.counters, self.histograms):
            for key in [key for key in series if key[1][:2] == (model, environment)]:
                del series[key]

    def _with(self, key: Key, part: HistogramPart) -> Observed:
        old = self.histograms.get(key)
        if old is None:
            return Observed(part.counts, part.total, part.exemplars)
        if len(old.counts) != len(part.counts):
            # Of another release, with other bounds: it cannot be added.
            logger.warning("%s of a process of another version is left out", key[0])
            return old
        return Observed(
            [a + b for a, b in zip(old.counts, part.counts, strict=True)],
            old.total + part.total,
            {**old.exemplars, **part.exemplars} if part.exemplars else old.exemplars,
        )
