"""The last 15 minutes of an environment, in steps of 5 s.

A ring of fixed size; an environment in which nothing happens costs nothing until
it is looked at. Pure: steps are numbered by Unix time, `step_at`.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from typing import TYPE_CHECKING, Final

from orchestrator.telemetry.metrics import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STEP_S: Final = 5
STEPS: Final = 180
RECENT: Final = 12
"""Steps that rates and percentiles of an environment at a glance are taken over."""

SPARK_STEPS: Final = 3
"""Steps in one point of a sparkline."""

COUNTS: Final = ("requests", "errors", "cold")
GAUGES: Final = ("in_flight", "waiting", "ready", "desired")
SERIES: Final = (*COUNTS, "p50", "p95", *GAUGES)

_PERCENTILES: Final = frozenset({"p50", "p95"})
_RING: Final = STEPS + SPARK_STEPS + 1
"""So that whole points of a sparkline are there, too, and the step that is not over."""

_PEAKS: Final = frozenset({"in_flight", "waiting"})
"""Of these, a step has the highest value, so that none is missed; of others, the last."""

_FLAT: Final[dict[str, list[float | None]]] = {
    "requests": [0] * (STEPS // SPARK_STEPS),
    "waiting": [0] * (STEPS // SPARK_STEPS),
    "p95": [None] * (STEPS // SPARK_STEPS),
}


def step_at(now: float) -> int:
    """The step that a Unix time is in."""
    return int(now // STEP_S)


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value that a share of the observations is below; None: there are none.

    Within a bucket they are taken as evenly spread; above all bounds, as the last.
    """
    total = sum(counts)
    if not total:
        return None
    rank = share * total
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= rank:
            if index == len(bounds):
                return bounds[-1]
            low = bounds[index - 1] if index else 0.0
            return low + (bounds[index] - low) * (rank - below) / count
        below += count
    return bounds[-1]


class History:
    """See the module. To be given steps that never go back; one that does counts as the newest."""

    __slots__ = ("_changed", "_columns", "_counted", "_gauges", "_recent", "_spark", "_step")

    def __init__(self) -> None:
        self._step = -1
        self._counted = 0
        self._changed = 0
        self._columns: dict[str, array[float]] = {}
        self._gauges = dict.fromkeys(GAUGES, 0.0)
        self._spark: tuple[int, dict[str, list[float | None]]] | None = None
        # (step, counts, requests, errors): the distribution of each of the last steps.
        self._recent: deque[tuple[int, list[int], list[float]]] = deque(maxlen=RECENT)

    def count(
        self,
        step: int,
        requests: float,
        errors: float,
        cold: float,
        buckets: Sequence[int] = (),
    ) -> None:
        """So many more requests have ended, and what their durations are (`SECONDS`)."""
        slot = self._at(step)
        self._counted = self._changed = self._step
        columns = self._columns
        columns["requests"][slot] += requests
        columns["errors"][slot] += errors
        columns["cold"][slot] += cold
        if not self._recent or self._recent[-1][0] != self._step:
            self._recent.append((self._step, [0] * (len(SECONDS) + 1), [0.0, 0.0]))
        _, counts, sums = self._recent[-1]
        sums[0] += requests
        sums[1] += errors
        if len(buckets) == len(counts):
            counts[:] = [a + b for a, b in zip(counts, buckets, strict=True)]

    def gauge(self, step: int, **values: float) -> None:
        """How things are now; see `GAUGES`."""
        changed = {name: value for name, value in values.items() if self._gauges[name] != value}
        if not changed:
            return
        slot = self._at(step)
        for name, value in changed.items():
            column = self._columns[name]
            column[slot] = max(column[slot], value) if name in _PEAKS else value
        self._gauges.update(changed)
        self._changed = self._step

    def series(self, step: int, steps: int) -> dict[str, list[float | None]]:
        """The last steps before `step`, which is not over yet; each of the same length."""
        if self._step < 0:
            return {
                name: [None if name in _PERCENTILES else 0.0] * steps  # nothing ever happened
                for name in SERIES
            }
        self._at(step)
        slots = self._slots(self._step, steps)
        return {name: [_told(self._columns[name][slot]) for slot in slots] for name in SERIES}

    def spark(self, step: int) -> dict[str, list[float | None]]:
        """60 points over the last 15 minutes: requests a second, waiters, 95th percentile.

        Whole points only: they stay as they are until the next one is whole.
        """
        if self._step < 0:
            return _FLAT
        self._at(step)
        end = self._step - self._step % SPARK_STEPS
        if self._spark is None or self._spark[0] != end:
            self._spark = (end, self._make_spark(end))
        return self._spark[1]

    def _make_spark(self, end: int) -> dict[str, list[float | None]]:
        requests, waiting, p95 = (
            _unrolled(self._columns[name], end) for name in ("requests", "waiting", "p95")
        )
        seconds = STEP_S * SPARK_STEPS
        return {
            "requests": [round(sum(point) / seconds, 3) or 0 for point in _points(requests)],
            "waiting": [max(point) for point in _points(waiting)],
            "p95": [
                _told(max((value for value in point if not math.isnan(value)), default=math.nan))
                for point in _points(p95)
            ],
        }

    def recent(self, step: int) -> tuple[float, float, float, float | None]:
        """The last minute: requests, errors, those that waited for a start, 95th percentile."""
        requests = errors = 0.0
        counts = [0] * (len(SECONDS) + 1)
        for at, distribution, sums in self._recent:
            if step - RECENT < at <= step:
                requests += sums[0]
                errors += sums[1]
                counts = [a + b for a, b in zip(counts, distribution, strict=True)]
        cold = 0.0
        if requests:
            self._at(step)
            slots = self._slots(self._step + 1, RECENT)
            cold = sum(self._columns["cold"][slot] for slot in slots)
        return requests, errors, cold, quantile(SECONDS, counts, 0.95)

    @property
    def waits(self) -> bool:
        """Whether somebody waits, by what was last told."""
        return self._gauges["waiting"] > 0

    def lately(self, step: int) -> bool:
        """Whether anything was counted that `recent` is made from, or has just left it."""
        return step - self._counted <= RECENT + 1

    def quiet(self, step: int) -> bool:
        """Whether time alone changes nothing: what happened has left the sparklines, too."""
        return step - self._changed > STEPS + 2 * SPARK_STEPS

    def _at(self, step: int) -> int:
        """The place of a step, after everything up to it has been filled in."""
        if self._step < 0:
            self._columns = {
                name: array("f", [math.nan if name in _PERCENTILES else 0.0]) * _RING
                for name in SERIES
            }
            self._step = step
        if step > self._step:
            self._close()
        for missing in range(max(self._step + 1, step - _RING + 1), step + 1):
            slot = missing % _RING
            for name, column in self._columns.items():
                if name in _PERCENTILES:
                    column[slot] = math.nan
                else:
                    column[slot] = self._gauges.get(name, 0.0)
        self._step = max(self._step, step)
        return self._step % _RING

    def _close(self) -> None:
        """The step that was open is over: its percentiles are known."""
        if self._recent and self._recent[-1][0] == self._step:
            counts = self._recent[-1][1]
            slot = self._step % _RING
            self._columns["p50"][slot] = _or_nan(quantile(SECONDS, counts, 0.5))
            self._columns["p95"][slot] = _or_nan(quantile(SECONDS, counts, 0.95))

    def _slots(self, step: int, steps: int) -> list[int]:
        """The places of so many steps before one, oldest first; `_at` has been called."""
        return [number % _RING for number in range(step - min(steps, STEPS), step)]


def _unrolled(column: array[float], end: int) -> list[float]:
    """The `STEPS` values before a step, oldest first."""
    last, first = end % _RING, (end - STEPS) % _RING
    found = column[first:last] if first < last else column[first:] + column[:last]
    return found.tolist()


def _points(values: list[float]) -> Iterator[tuple[float, ...]]:
    """The steps of each point."""
    return zip(*(values[offset::SPARK_STEPS] for offset in range(SPARK_STEPS)), strict=True)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _told(value: float) -> float | None:
    """As it is shown: four digits are enough for a chart."""
    if math.isnan(value):
        return None
    return float(f"{value:.4g}") if value else 0
