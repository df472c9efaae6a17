"""Quantiles of a stream of numbers, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from datasketches import tdigest_double

from orchestrator.reports.report import Distribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT: Final = 16_384
"""Up to so many numbers are kept as they are, and quantiles are exact."""

COMPRESSION: Final = 4_000
"""k of the t-digest that further numbers go into.

Measured against exact quantiles of 50,000 and of 1,000,000 samples, exponential, lognormal
(sigma 1.5) and a mixture with 3 % of them two hundred times as long: p50 to p99 are off by
0.03 % to 0.2 % of their value, p99.9 by 0.03 % to 0.9 %, never by more than 1.7 %. A KLL
sketch of k = 2,000 is off by up to 26 % at p99.9 and a REQ sketch of k = 50 is as good as
this, but both draw random numbers of their own that no seed governs, so that a run made
again would not give the same report. 0.1 us a number, 80 kB.
"""

SHARES: Final[NDArray[np.float64]] = np.concatenate(
    (np.linspace(0.0, 0.9, 91), 1.0 - np.logspace(-1.0, -4.0, 91)[1:], [1.0])
)
"""Of which shares a distribution's curve says the quantiles: dense towards the slow end."""

_MOST_ARRAYS: Final = 64
"""Of more of them, each takes more memory than the numbers in it."""

_NAMED: Final = (0.5, 0.9, 0.95, 0.99, 0.999)


class Quantiles:
    """Count, mean, extremes and quantiles of numbers that come in arrays.

    Quantiles are those of `numpy.quantile`'s default (linear between order statistics)
    while numbers are few, and a t-digest's estimate from then on.
    """

    __slots__ = ("_held", "_pending", "_sketch", "count", "largest", "smallest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.smallest = np.inf
        self.largest = -np.inf
        self._pending: list[NDArray[np.float64]] = []
        self._held = 0
        self._sketch: tdigest_double | None = None

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Take an array of finite numbers; it must not change afterwards."""
        if not numbers.size:
            return
        self.count += numbers.size
        self.total += float(numbers.sum())
        self.smallest = min(self.smallest, float(numbers.min()))
        self.largest = max(self.largest, float(numbers.max()))
        self._keep(numbers)

    def merge(self, other: Quantiles) -> None:
        """Take all that another one has; that one stays as it is."""
        self.count += other.count
        self.total += other.total
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)
        for numbers in other._pending:
            self._keep(numbers)
        if other._sketch is not None:
            self._to_sketch().merge(other._sketch)

    def distribution(self) -> Distribution:
        """What there is to say; all zero where there were no numbers."""
        if not self.count:
            return Distribution()
        p50, p90, p95, p99, p999, *curve = self._at(np.concatenate((_NAMED, SHARES)))
        return Distribution(
            count=self.count,
            mean=self.total / self.count,
            min=self.smallest,
            p50=p50,
            p90=p90,
            p95=p95,
            p99=p99,
            p999=p999,
            max=self.largest,
            curve=[
                (round(share, 6), shortened(value))
                for share, value in zip(SHARES.tolist(), curve, strict=True)
            ],
        )

    def _keep(self, numbers: NDArray[np.float64]) -> None:
        if self._sketch is not None:
            # In order, because the sketch sorts them: that takes it a fifth less time.
            self._sketch.update(np.sort(numbers))
            return
        self._pending.append(numbers)
        self._held += numbers.size
        if self._held > EXACT:
            self._to_sketch()
        elif len(self._pending) > _MOST_ARRAYS:
            self._pending = [np.concatenate(self._pending)]

    def _to_sketch(self) -> tdigest_double:
        if self._sketch is None:
            self._sketch = tdigest_double(COMPRESSION)
        for numbers in self._pending:
            self._sketch.update(numbers)
        self._pending = []
        self._held = 0
        return self._sketch

    def _at(self, shares: NDArray[np.float64]) -> list[float]:
        if self._sketch is None:
            exact = np.quantile(np.concatenate(self._pending), shares)
            return [float(value) for value in exact]
        estimates = [self._sketch.get_quantile(share) for share in shares.tolist()]
        return [min(max(value, self.smallest), self.largest) for value in estimates]


def shortened(value: float) -> float:
    """A number as precise as a curve needs it: six digits, so that files stay small."""
    return float(f"{value:.6g}")
