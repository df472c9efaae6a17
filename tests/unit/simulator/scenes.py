"""Small simulations for tests: one line makes an environment, everything is recorded."""

from __future__ import annotations

import math
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from orchestrator.lifecycle.replica import Stage
from orchestrator.lifecycle.settings import (
    AutoscalingSettings,
    EnvironmentSettings,
    QueueSettings,
    StartupSettings,
)
from orchestrator.reports.measures import Ended, EnvironmentMeasures, RunMeasures
from orchestrator.simulator.engine import Summary, simulate
from orchestrator.simulator.scenario import Scenario, SimulatedEnvironment, Starts
from orchestrator.traffic.arrival import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.simulator.scenario import Batch, Draw

NAME = "m.production"


class Recorded(EnvironmentMeasures):
    """Keeps everything that it is told, one by one."""

    def __init__(self, *, gpus_per_replica: float, slots: int) -> None:
        super().__init__(gpus_per_replica=gpus_per_replica, slots=slots, measure_from_s=0.0)
        self.all: list[Ended] = []
        self.levels: list[tuple[float, float, float, float, dict[Stage, int]]] = []
        self.decisions: list[tuple[float, int, int]] = []
        self.starts: list[tuple[dict[Stage, float], bool]] = []
        self.stage_seconds: list[tuple[Stage, float]] = []
        self.load_s = 0.0

    def flush(self) -> None:
        self.all.extend(self.ended)
        super().flush()

    def sample(self, now, waiting, running, desired, stages: Mapping[Stage, int]) -> None:
        there = {stage: count for stage, count in stages.items() if count}
        self.levels.append((now, waiting, running, desired, there))
        super().sample(now, waiting, running, desired, stages)

    def replica_seconds(self, stage: Stage, seconds: float) -> None:
        self.stage_seconds.append((stage, seconds))
        super().replica_seconds(stage, seconds)

    def started(self, stages: Mapping[Stage, float], failed: bool) -> None:
        self.starts.append((dict(stages), failed))
        super().started(stages, failed)

    def decided(self, at: float, before: int, desired: int, reason: str) -> None:
        self.decisions.append((at, before, desired))
        super().decided(at, before, desired, reason)

    def load(self, load_s: float, span_s: float) -> None:
        self.load_s += load_s
        super().load(load_s, span_s)

    def seconds(self, stage: Stage) -> float:
        """Replica-seconds in a stage, in all."""
        return sum(seconds for at, seconds in self.stage_seconds if at is stage)


class Recorder(RunMeasures):
    """Measures a run, and keeps everything."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, Recorded] = {}
        self.gpus: list[tuple[float, float]] = []
        self.summary: Summary

    def environment(self, name: str, *, gpus_per_replica: float, slots: int) -> Recorded:
        super().environment(name, gpus_per_replica=gpus_per_replica, slots=slots)
        self.of[name] = Recorded(gpus_per_replica=gpus_per_replica, slots=slots)
        return self.of[name]

    def pool(self, now: float, in_use: float) -> None:
        self.gpus.append((now, in_use))
        super().pool(now, in_use)

    @property
    def only(self) -> Recorded:
        """That of the only environment."""
        (measures,) = self.of.values()
        return measures

    @property
    def ended(self) -> list[Ended]:
        """The requests of the only environment, in the order in which they ended."""
        return self.only.all


class Fixed:
    """Every request runs for so long; or each as its arrival says, where it does."""

    def __init__(self, seconds: float = 1.0, first_s: float | None = None) -> None:
        self.seconds = seconds
        self.first_s = first_s

    def draw(self, arrival: Arrival) -> tuple[float, float]:
        seconds = self.seconds if arrival.service_s is None else arrival.service_s
        return seconds, seconds if self.first_s is None else self.first_s


class SharedWork:
    """Requests with `prompt_tokens` seconds of work each; those together share the replica."""

    def __init__(self) -> None:
        self.left: dict[int, float] = {}
        self.at = 0.0

    def _advance(self, now: float) -> None:
        for key in self.left:
            self.left[key] -= (now - self.at) / len(self.left)
        self.at = now

    def begin(self, key: int, arrival: Arrival, now: float) -> float:
        self._advance(now)
        self.left[key] = float(arrival.prompt_tokens)
        return 0.5

    def leave(self, key: int, now: float) -> None:
        self._advance(now)
        del self.left[key]

    def next_end(self) -> float:
        return self.at + min(self.left.values(), default=math.inf) * len(self.left)

    def ended(self, now: float) -> list[int]:
        self._advance(now)
        over = [key for key, left in self.left.items() if left <= 1e-9]
        for key in over:
            del self.left[key]
        return over


class Sharing:
    """See `SharedWork`."""

    def batch(self) -> Batch:
        return SharedWork()


def each(*values: float, then: float = 1e9) -> Draw:
    """Gives these numbers one after the other, and then always the same."""
    return chain(values, repeat(then)).__next__


def starting(
    *,
    provisioning: float = 0.0,
    starting: float = 0.0,
    loading: float = 0.0,
    warming: float = 0.0,
    fails: Iterable[bool] = (),
) -> Starts:
    """Starts that all take the same."""
    values = (provisioning, starting, loading, warming)
    stages = (Stage.PROVISIONING, Stage.STARTING, Stage.LOADING, Stage.WARMING)
    return Starts(
        stages={stage: repeat(value).__next__ for stage, value in zip(stages, values, strict=True)},
        fails=chain(fails, repeat(False)).__next__,
    )


def environment(arrivals: Iterable[float | Arrival], **more: Any) -> SimulatedEnvironment:
    """An environment: settings go by their names, the rest to `SimulatedEnvironment`.

    One replica that is always there, unless something else is said; a second of
    service; a replica is full where all its slots are taken.
    """
    queue = {f: more.pop(f) for f in list(more) if f in QueueSettings.__dataclass_fields__}
    startup = {f: more.pop(f) for f in list(more) if f in StartupSettings.__dataclass_fields__}
    scaling = {f: more.pop(f) for f in list(more) if f in AutoscalingSettings.__dataclass_fields__}
    scaling = {
        "min_replica": 1,
        "max_replica": max(scaling.get("min_replica", 1), 1),
        "concurrency_target": more.get("slots", 1),
        "utilization": 1.0,
    } | scaling
    name = more.pop("name", NAME)
    return SimulatedEnvironment(
        name=name,
        settings=EnvironmentSettings(
            model="m",
            environment=name,
            deployment="v1",
            queue=QueueSettings(**queue),
            autoscaling=AutoscalingSettings(**scaling),
            startup=StartupSettings(**startup),
        ),
        arrivals=iter([at if isinstance(at, Arrival) else Arrival(at) for at in arrivals]),
        **({"service": Fixed()} | more),
    )


def end(request: Ended) -> tuple[str, float]:
    """How and when it ended, to the microsecond."""
    return request.outcome, round(request.at, 6)


def ends(ended: Iterable[Ended]) -> list[tuple[str, float]]:
    """The same of several."""
    return [end(request) for request in ended]


def play(*environments: SimulatedEnvironment, **scenario: Any) -> Recorder:
    """Simulates them together."""
    recorder = Recorder()
    whole = Scenario(environments=list(environments), **scenario)
    recorder.summary = simulate(whole, recorder)
    return recorder
