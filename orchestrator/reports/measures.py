"""Measures a run, simulated or live, while it goes on, in memory that its length does not raise.

The shells append one `Ended` for each request and tell of changes; `RunMeasures.report`
makes the report of it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from orchestrator.reports.bins import Levels
from orchestrator.reports.quantiles import shortened
from orchestrator.reports.report import (
    SIMULATED,
    Decision,
    EnvironmentReport,
    PoolReport,
    RunReport,
    Start,
)
from orchestrator.reports.tally import SHOWN, Tally

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.lifecycle.replica import Stage

FLUSH_AT: Final = 8_192
"""An environment's `ended` should be flushed when it is so long."""

KEPT: Final = 500
"""Starts, and decisions, that are kept one by one: the last."""


class Ended(NamedTuple):
    """A request's whole life, as it is known when it ends.

    Attributes:
        at: when it ended, seconds since the run's zero.
        latency_s: from its arrival to its end, as its caller saw it.
        wait_s: in line, over all its permits.
        first_byte_s: from its arrival to the first byte of its answer; nan: there was none.
        service_s: for which its (last) permit was held; 0.0: it never had one.
        outcome: value of an `orchestrator.lifecycle.request.Outcome`.
        cold: no replica was ready at some moment of its waiting.
        attempts: how many replicas were given it.
        asynchronous: it was accepted for later.
    """

    at: float
    latency_s: float
    wait_s: float
    first_byte_s: float
    service_s: float
    outcome: str
    cold: bool
    attempts: int
    asynchronous: bool


class EnvironmentMeasures:
    """What is measured of one environment. Made by `RunMeasures.environment`.

    Attributes:
        ended: requests that ended since the last flush; append to it, and call `flush`
            when it has `FLUSH_AT`.
    """

    __slots__ = ("_decisions", "_gpus", "_levels", "_slots", "_starts", "_tally", "ended")

    def __init__(self, *, gpus_per_replica: float, slots: int, measure_from_s: float) -> None:
        self.ended: list[Ended] = []
        self._gpus = gpus_per_replica
        self._slots = slots
        self._tally = Tally(measure_from_s)
        self._levels: tuple[float, ...] | None = None
        self._starts: deque[Start] = deque(maxlen=KEPT)
        self._decisions: deque[Decision] = deque(maxlen=KEPT)

    def flush(self) -> None:
        """Count the requests that ended, and forget them one by one."""
        if self.ended:
            self._tally.take(self.ended)
            self.ended.clear()

    def sample(
        self,
        now: float,
        waiting: float,
        running: float,
        desired: float,
        stages: Mapping[Stage, int],
    ) -> None:
        """Levels that hold from now until the next sample; before the first one they are 0.

        Args:
            now: seconds since the run's zero; never less than the time before.
            waiting: requests in line.
            running: requests that hold a permit.
            desired: replicas that are wanted.
            stages: replicas in each stage; a stage that is not named has none.
        """
        levels = (waiting, running, desired, *(stages.get(stage, 0) for stage in SHOWN))
        if levels != self._levels:
            self._levels = levels
            self._tally.levels.set(now, levels)

    def replica_seconds(self, stage: Stage, seconds: float) -> None:
        """A replica spent so long in a stage that has ended, or is cut off by the run's end."""
        self._tally.replica(stage, seconds, gpus=self._gpus, slots=self._slots)

    def started(self, stages: Mapping[Stage, float], failed: bool) -> None:  # noqa: FBT001
        """A start has ended: seconds in each of its stages, and whether it failed."""
        self._tally.started(sum(stages.values()), failed=failed)
        told = {stage.value: seconds for stage, seconds in stages.items()}
        self._starts.append(Start(stages=told, failed=failed))

    def decided(self, at: float, before: int, desired: int, reason: str) -> None:
        """Another number of replicas is wanted."""
        self._tally.decisions += 1
        self._decisions.append(Decision(at=at, before=before, desired=desired, reason=reason))

    def arrived(self, count: int = 1) -> None:
        """So many requests arrived; may be told in bulk, also of those not measured."""
        self._tally.arrived += count

    def load(self, load_s: float, span_s: float) -> None:
        """The run's integral of requests present, in request-seconds, over its span."""
        self._tally.load_s += load_s
        self._tally.load_span_s = span_s

    def close(self, span_s: float) -> Tally:
        """All that was measured, brought up to the run's end."""
        self.flush()
        self._tally.levels.flush(span_s)
        return self._tally

    def report(self, span_s: float, price: float | None) -> EnvironmentReport:
        """What the environment came to.

        Args:
            span_s: when the run ended.
            price: of a GPU, by the hour; None: not known.
        """
        report = self.close(span_s).report(span_s, price)
        report.slots, report.gpus_per_replica = self._slots, self._gpus
        report.starts.kept = list(self._starts)
        report.decisions.kept = list(self._decisions)
        return report


class RunMeasures:
    """What is measured of one run.

    Args:
        measure_from_s: requests that arrived earlier are left out of counts and distributions.
        seed: the run's, for its report.
    """

    def __init__(self, *, measure_from_s: float = 0.0, seed: int = 0) -> None:
        self._measure_from_s = measure_from_s
        self._seed = seed
        self._environments: dict[str, EnvironmentMeasures] = {}
        self._pool = Levels(1)

    def environment(self, name: str, *, gpus_per_replica: float, slots: int) -> EnvironmentMeasures:
        """Begin to measure another environment.

        Args:
            name: `model.environment`.
            gpus_per_replica: that a replica takes; may be a fraction.
            slots: requests that a replica runs at once.

        Raises:
            ValueError: one of the name is measured already.
        """
        if name in self._environments:
            raise ValueError(f"environment {name!r} is measured already")
        measures = EnvironmentMeasures(
            gpus_per_replica=gpus_per_replica, slots=slots, measure_from_s=self._measure_from_s
        )
        self._environments[name] = measures
        return measures

    def pool(self, now: float, in_use: float) -> None:
        """GPUs that are taken from now until the next call."""
        self._pool.set(now, (in_use,))

    def report(
        self,
        *,
        span_s: float,
        kind: str = SIMULATED,
        label: str = "",
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        price_per_gpu_hour: float | None = None,
        gpus: float | None = None,
        cpu_s: float = 0.0,
        events: int = 0,
        valid: bool = True,
        reason: str = "",
        lag: Mapping[str, float] | None = None,
    ) -> RunReport:
        """What the run came to. Call it once, at the end: nothing may be measured after it.

        The arguments are those of `RunReport`. The last levels hold until `span_s`, the
        run's end; `gpus` is how many there were, None where as many as were wanted; the
        seed is the one given at the beginning where none is given here.
        """
        reports = {
            name: found.report(span_s, price_per_gpu_hour)
            for name, found in self._environments.items()
        }
        return RunReport(
            kind=kind,
            label=label,
            parameters=dict(parameters or {}),
            seed=self._seed if seed is None else seed,
            span_s=span_s,
            measure_from_s=self._measure_from_s,
            cpu_s=cpu_s,
            events=events,
            environments=reports,
            total=self._total(span_s, price_per_gpu_hour),
            pool=self._pool_report(span_s, gpus),
            price_per_gpu_hour=price_per_gpu_hour,
            valid=valid,
            reason=reason,
            lag=None if lag is None else dict(lag),
        )

    def _total(self, span_s: float, price: float | None) -> EnvironmentReport | None:
        if len(self._environments) < 2:
            return None
        total = Tally(self._measure_from_s)
        for found in self._environments.values():
            total.merge(found.close(span_s))
        return total.report(span_s, price)

    def _pool_report(self, span_s: float, gpus: float | None) -> PoolReport:
        self._pool.flush(span_s)
        bins = self._pool.bins
        seconds = bins.up_to(span_s)[0]
        return PoolReport(
            gpus=gpus,
            gpu_seconds=float(seconds.sum()),
            peak=float(self._pool.peaks[0]),
            bin_s=bins.width_s,
            in_use=[shortened(mean) for mean in seconds / bins.seconds(span_s)],
        )
