"""How late requests were sent, in constant memory."""

from __future__ import annotations

import math
from typing import Final

_SMALLEST_S: Final = 1e-5
_GROWTH: Final = 1.04
"""From one bucket's upper bound to the next: a percentile is at most 4 % too high."""

_STEP: Final = math.log(_GROWTH)
_BUCKETS: Final = math.ceil(math.log(3600 / _SMALLEST_S) / _STEP) + 1


class Lags:
    """Seconds between when a request was due and when it was sent.

    Attributes:
        count: how many were sent.
        longest_s: the longest of them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.longest_s = 0.0
        self._buckets = [0] * _BUCKETS

    def add(self, seconds: float) -> None:
        """One was sent so late; less than 0 counts as in time."""
        self.count += 1
        self.longest_s = max(self.longest_s, seconds)
        over = math.log(seconds / _SMALLEST_S) / _STEP if seconds > _SMALLEST_S else 0.0
        self._buckets[min(math.ceil(over), _BUCKETS - 1)] += 1

    def within(self, share: float) -> float:
        """Seconds within which `share` (0..1) of them were sent; 0 where none was."""
        wanted = share * self.count
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                return min(_SMALLEST_S * _GROWTH**index, self.longest_s)
        return 0.0

    def described(self) -> dict[str, float]:
        """Seconds, as a report has them."""
        return {"p50": self.within(0.5), "p99": self.within(0.99), "max": self.longest_s}
