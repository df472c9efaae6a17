"""Counts, sums, distributions and levels of requests and replicas; can be added up."""

from __future__ import annotations

from collections import Counter
from itertools import compress, repeat
from typing import TYPE_CHECKING, Final

import numpy as np

from orchestrator.lifecycle.replica import Stage
from orchestrator.lifecycle.request import Outcome
from orchestrator.reports.bins import Bins, Levels
from orchestrator.reports.quantiles import Quantiles, shortened
from orchestrator.reports.report import (
    Decisions,
    EnvironmentReport,
    Little,
    Peaks,
    Series,
    Starts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from orchestrator.reports.measures import Ended

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

SHOWN: Final = (
    Stage.PROVISIONING,
    Stage.STARTING,
    Stage.LOADING,
    Stage.WARMING,
    Stage.READY,
    Stage.DRAINING,
)
"""Stages whose replicas are counted over time, in the order of their rows."""

_SERVING: Final = frozenset({Stage.READY, Stage.DRAINING})
_WITHOUT_GPU: Final = frozenset({Stage.PROVISIONING, Stage.STOPPED, Stage.FAILED})
_ANSWER: Final = frozenset({Outcome.ANSWERED.value})
_REJECTED: Final = frozenset(found.value for found in Outcome if found.name.startswith("REJECTED"))

_ARRIVALS, _ANSWERED, _LATENCY = range(3)
_WAITING, _RUNNING, _DESIRED, _FIRST_STAGE = range(4)


class Tally:
    """What was counted of one environment, or of several added up.

    Attributes:
        levels: rows: waiting, running, desired, then the stages `SHOWN`.
        arrived, decisions: how many.
        load_s: integral of requests present, over `load_span_s` seconds.
    """

    def __init__(self, measure_from_s: float) -> None:
        self.levels = Levels(_FIRST_STAGE + len(SHOWN))
        self.arrived = 0
        self.decisions = 0
        self.load_s = 0.0
        self.load_span_s = 0.0
        self._from_s = measure_from_s
        self._merged = False
        self._flows = Bins(3)
        self._outcomes: Counter[str] = Counter()
        self._cold = self._waited = self._retried = self._asynchronous = 0
        self._latency, self._wait = Quantiles(), Quantiles()
        self._first_byte, self._service = Quantiles(), Quantiles()
        self._starts = Quantiles()
        self._failed_starts = 0
        self._ended = 0
        self._latency_s = self._service_s = self._arrival_s = 0.0
        self._replica_seconds: dict[str, float] = {}
        self._gpu_seconds = self._slot_seconds = 0.0

    def take(self, ended: Sequence[Ended]) -> None:
        """Count requests that ended."""
        columns = _Columns(ended)
        self._whole_run(columns)
        if self._from_s > 0.0:
            measured = columns.arrivals >= self._from_s
            if not measured.all():
                columns = _Columns(list(compress(ended, measured.tolist())))
        self._count(columns)
        self._distribute(columns)

    def replica(self, stage: Stage, seconds: float, *, gpus: float, slots: int) -> None:
        """A replica of so many GPUs and slots spent so long in a stage."""
        name = stage.value
        self._replica_seconds[name] = self._replica_seconds.get(name, 0.0) + seconds
        if stage not in _WITHOUT_GPU:
            self._gpu_seconds += seconds * gpus
        if stage in _SERVING:
            self._slot_seconds += seconds * slots

    def started(self, seconds: float, *, failed: bool) -> None:
        """A start ended after so long."""
        if failed:
            self._failed_starts += 1
        else:
            self._starts.add(np.array([seconds]))

    def merge(self, other: Tally) -> None:
        """Add what another counted, up to the same moment; that one stays as it is."""
        self._merged = True
        self.levels.merge(other.levels)
        self._flows.merge(other._flows)
        self._outcomes.update(other._outcomes)
        for mine, its in zip(self._distributions(), other._distributions(), strict=True):
            mine.merge(its)
        self.arrived += other.arrived
        self.decisions += other.decisions
        self.load_s += other.load_s
        self.load_span_s = max(self.load_span_s, other.load_span_s)
        self._cold += other._cold
        self._waited += other._waited
        self._retried += other._retried
        self._asynchronous += other._asynchronous
        self._failed_starts += other._failed_starts
        self._ended += other._ended
        self._latency_s += other._latency_s
        self._service_s += other._service_s
        self._arrival_s += other._arrival_s
        for stage, seconds in other._replica_seconds.items():
            self._replica_seconds[stage] = self._replica_seconds.get(stage, 0.0) + seconds
        self._gpu_seconds += other._gpu_seconds
        self._slot_seconds += other._slot_seconds

    def report(self, span_s: float, price: float | None) -> EnvironmentReport:
        """What it comes to, but for single starts and decisions.

        Args:
            span_s: when the run ended; the levels are flushed up to it.
            price: of a GPU, by the hour; None: not known.
        """
        self._align(span_s)
        requests = self._outcomes.total()
        return EnvironmentReport(
            requests=requests,
            outcomes=dict(self._outcomes.most_common()),
            cold=self._cold,
            share_cold=self._cold / requests if requests else 0.0,
            waited=self._waited,
            retried=self._retried,
            asynchronous=self._asynchronous,
            latency=self._latency.distribution(),
            wait=self._wait.distribution(),
            first_byte=self._first_byte.distribution(),
            service=self._service.distribution(),
            arrived=max(self.arrived, self._ended),
            mean_arrival_s=self._arrival_s / self._ended if self._ended else 0.0,
            series=self._series(span_s),
            peaks=self._peaks(span_s),
            replica_seconds=self._replica_seconds,
            gpu_seconds=self._gpu_seconds,
            busy_share=self._service_s / self._slot_seconds if self._slot_seconds else None,
            cost=None if price is None else self._gpu_seconds / 3600 * price,
            little=self._little(),
            starts=Starts(
                count=self._starts.count + self._failed_starts,
                failed=self._failed_starts,
                seconds=self._starts.distribution(),
            ),
            decisions=Decisions(count=self.decisions),
        )

    def _whole_run(self, columns: _Columns) -> None:
        self._ended += len(columns.outcomes)
        self._latency_s += float(columns.latency.sum())
        self._service_s += float(columns.service.sum())
        self._arrival_s += float(columns.arrivals.sum())
        answered = columns.answered
        ends = columns.at[answered]
        self._flows.add(_ARRIVALS, columns.arrivals)
        self._flows.add(_ANSWERED, ends)
        self._flows.add(_LATENCY, ends, columns.latency[answered])

    def _count(self, columns: _Columns) -> None:
        self._outcomes.update(columns.counts)
        self._waited += int(np.count_nonzero(columns.wait > 0.0))
        self._cold += columns.cold.count(True)
        self._asynchronous += columns.asynchronous.count(True)
        attempts = columns.attempts
        self._retried += len(attempts) - attempts.count(0) - attempts.count(1)

    def _distribute(self, columns: _Columns) -> None:
        answered = columns.answered
        first_byte = columns.first_byte[answered]
        self._latency.add(columns.latency[answered])
        self._wait.add(columns.wait[columns.queued])
        self._first_byte.add(first_byte[~np.isnan(first_byte)])
        self._service.add(columns.service[answered])

    def _distributions(self) -> tuple[Quantiles, ...]:
        return self._latency, self._wait, self._first_byte, self._service, self._starts

    def _series(self, span_s: float) -> Series:
        flows = self._flows.up_to(span_s)
        answered = [round(count) for count in flows[_ANSWERED].tolist()]
        levels = [[shortened(mean) for mean in row] for row in self._means(span_s).tolist()]
        return Series(
            bin_s=self._flows.width_s,
            arrivals=[round(count) for count in flows[_ARRIVALS].tolist()],
            answered=answered,
            latency=[
                shortened(seconds / count) if count else None
                for seconds, count in zip(flows[_LATENCY].tolist(), answered, strict=True)
            ],
            waiting=levels[_WAITING],
            running=levels[_RUNNING],
            desired=levels[_DESIRED],
            stages={
                stage.value: row
                for stage, row in zip(SHOWN, levels[_FIRST_STAGE:], strict=True)
                if any(row)
            },
        )

    def _align(self, span_s: float) -> None:
        """Give flows and levels the same bins, with room for the whole run."""
        flows, levels = self._flows, self.levels.bins
        flows.reach(span_s)
        levels.reach(span_s)
        flows.widen(levels.width_s)
        levels.widen(flows.width_s)

    def _means(self, span_s: float) -> Floats:
        bins = self.levels.bins
        return bins.up_to(span_s) / bins.seconds(span_s)

    def _peaks(self, span_s: float) -> Peaks:
        peaks = self.levels.peaks.tolist()
        if self._merged:
            peaks = [shortened(most) for most in self._means(span_s).max(axis=1).tolist()]
        return Peaks(
            waiting=peaks[_WAITING],
            running=peaks[_RUNNING],
            desired=peaks[_DESIRED],
            ready=peaks[_FIRST_STAGE + SHOWN.index(Stage.READY)],
        )

    def _little(self) -> Little | None:
        if not self.load_span_s:
            return None
        return Little(
            present=self.load_s / self.load_span_s,
            rate_times_latency=self._latency_s / self.load_span_s,
        )


class _Columns:
    """Requests that ended, field by field.

    Attributes:
        answered, queued: which of them were answered, and which not turned away at once:
            masks, or a slice where it is all of them, as it mostly is.
    """

    def __init__(self, ended: Sequence[Ended]) -> None:
        fields = zip(*ended, strict=True) if ended else repeat(())
        self.at, self.latency, self.wait, self.first_byte, self.service = (
            np.fromiter(next(fields), np.float64, len(ended)) for _ in range(5)
        )
        self.outcomes: tuple[str, ...] = next(fields)
        self.cold: tuple[bool, ...] = next(fields)
        self.attempts: tuple[int, ...] = next(fields)
        self.asynchronous: tuple[bool, ...] = next(fields)
        self.arrivals = self.at - self.latency
        self.counts = Counter(self.outcomes)
        self.answered = self._which(self.counts.keys() - _ANSWER)
        self.queued = self._which(self.counts.keys() & _REJECTED)

    def _which(self, others: set[str]) -> Mask | slice:
        """Those that ended otherwise than so."""
        if not others:
            return slice(None)
        return np.array([outcome not in others for outcome in self.outcomes])
