"""Sums over time in a bounded number of bins, which become wider as a run goes on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BINS: Final = 600
"""A run has at most so many bins, and once it is long at least half as many."""

FIRST_WIDTH_S: Final = 0.1

_MOST_BUFFERED: Final = 1_024

_ROUNDING: Final = 1e-9
"""Less than this of a bin, or of a second, is an error of rounding."""


class Bins:
    """Rows of sums, each in the same bins; all bins double their width where time outgrows them.

    Attributes:
        width_s: of a bin, seconds.
    """

    __slots__ = ("_sums", "width_s")

    def __init__(self, rows: int) -> None:
        self.width_s = FIRST_WIDTH_S
        self._sums: Floats = np.zeros((rows, BINS))

    def reach(self, until: float) -> None:
        """Make room up to a moment, itself included."""
        while until >= self.width_s * BINS:
            self._double()

    def add(self, row: int, at: Floats, amounts: Floats | None = None) -> None:
        """Add amounts (one each where none are given) at moments; before 0 counts as 0."""
        if not at.size:
            return
        self.reach(float(at.max()))
        index = np.clip(at / self.width_s, 0, BINS - 1).astype(np.intp)
        self._sums[row] += np.bincount(index, weights=amounts, minlength=BINS)

    def integrate(self, at: Floats, values: Floats) -> None:
        """Add the integrals of step functions.

        Args:
            at: shape (n + 1,), rising moments, the first not below 0.
            values: shape (rows, n): each row's value from `at[i]` to `at[i + 1]`.
        """
        self.reach(float(at[-1]))
        first, last = int(at[0] / self.width_s), int(at[-1] / self.width_s)
        edges = np.clip(np.arange(first, last + 2) * self.width_s, at[0], at[-1])
        seconds = np.diff(at)
        for row, steps in enumerate(values):
            risen = np.concatenate(([0.0], np.cumsum(steps * seconds)))
            self._sums[row, first : last + 1] += np.diff(np.interp(edges, at, risen))

    def widen(self, width_s: float) -> None:
        """Make the bins at least so wide."""
        while self.width_s < width_s:
            self._double()

    def merge(self, other: Bins) -> None:
        """Add another's sums; that one stays as it is."""
        self.widen(other.width_s)
        sums, width_s = other._sums, other.width_s
        while width_s < self.width_s:
            sums, width_s = _halved(sums), width_s * 2
        self._sums += sums

    def up_to(self, until: float) -> Floats:
        """The sums of the bins that begin before a moment, shape (rows, bins).

        What was added at the moment or later is in the last of them.
        """
        used = len(self.seconds(until))
        sums = self._sums[:, :used].copy()
        sums[:, -1] += self._sums[:, used:].sum(axis=1)
        return sums

    def seconds(self, until: float) -> Floats:
        """How many seconds of each of these bins lie before the moment."""
        self.reach(until)
        used = max(math.ceil(until / self.width_s - _ROUNDING), 1)
        widths: Floats = np.full(used, self.width_s)
        widths[-1] = max(until - (used - 1) * self.width_s, _ROUNDING)
        return widths

    def _double(self) -> None:
        self._sums = _halved(self._sums)
        self.width_s *= 2


class Levels:
    """Values that change in steps, each with its time-weighted sums in `Bins` and its largest.

    Attributes:
        bins: the integrals over time; a row for each value.
        peaks: the largest of each so far.
    """

    __slots__ = ("_at", "_values", "bins", "peaks")

    def __init__(self, rows: int) -> None:
        self.bins = Bins(rows)
        self.peaks: Floats = np.zeros(rows)
        self._at: list[float] = [0.0]
        self._values: list[tuple[float, ...]] = [(0.0,) * rows]

    def set(self, now: float, values: tuple[float, ...]) -> None:
        """They are so from now on; `now` never falls."""
        self._at.append(now)
        self._values.append(values)
        if len(self._at) >= _MOST_BUFFERED:
            self.flush(now)

    def flush(self, now: float) -> None:
        """Bring the bins up to a moment, which is not before the last change."""
        values = np.asarray(self._values, dtype=np.float64).T
        at = np.asarray([*self._at, max(now, self._at[-1])])
        np.maximum(self.peaks, values.max(axis=1), out=self.peaks)
        self.bins.integrate(at, values)
        self._at = [float(at[-1])]
        self._values = self._values[-1:]

    def merge(self, other: Levels) -> None:
        """Add another's values, both brought up to the same moment.

        When each was largest is not known, so the peaks of the sum are not: they stay.
        """
        self.bins.merge(other.bins)


def _halved(sums: Floats) -> Floats:
    pairs = sums.reshape(len(sums), BINS // 2, 2).sum(axis=2)
    return np.concatenate((pairs, np.zeros_like(pairs)), axis=1)
