"""What a simulation is made from, as plain objects. Times are seconds.

`orchestrator.simulator.experiment` makes one from each point of an experiment's file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from orchestrator.lifecycle.retry import RetryRules

if TYPE_CHECKING:
    from orchestrator.lifecycle.replica import Stage
    from orchestrator.lifecycle.settings import EnvironmentSettings
    from orchestrator.traffic.arrival import Arrival

Draw = Callable[[], float]
"""Gives the next number of a random sequence of its own."""


class ServiceModel(Protocol):
    """Requests whose time does not depend on what else runs in the replica."""

    def draw(self, arrival: Arrival) -> tuple[float, float]:
        """Seconds until a request is answered, and until its first byte, from when it starts.

        Called once a request, in the order of arrival, so that runs with the same seed
        and other policies give each request the same time.
        """


class Batch(Protocol):
    """The requests that run together in one replica and slow each other down.

    Keys are the caller's; times are readings of the simulation's clock.
    """

    def begin(self, key: int, arrival: Arrival, now: float) -> float:
        """A request starts; gives the seconds until its first byte."""

    def leave(self, key: int, now: float) -> None:
        """A request is cancelled."""

    def next_end(self) -> float:
        """When the next request ends if nothing else begins or leaves; `inf`: none runs."""

    def ended(self, now: float) -> list[int]:
        """Takes out those that have ended by now."""


@runtime_checkable
class BatchModel(Protocol):
    """Requests that slow each other down, as a language model's do."""

    def batch(self) -> Batch:
        """An empty replica."""


@dataclass(slots=True, kw_only=True)
class Starts:
    """How replicas start.

    Attributes:
        stages: seconds for each of PROVISIONING (beyond the wait for a GPU), STARTING,
            LOADING and WARMING; a stage that is not named takes no time.
        fails: whether a start fails (at the end of LOADING).
    """

    stages: Mapping[Stage, Draw] = field(default_factory=dict)
    fails: Callable[[], bool] = lambda: False


@dataclass(slots=True, kw_only=True)
class Callers:
    """What callers do.

    Attributes:
        deadline: seconds after which one gives up; None: as the arrival says, or never.
        retries: how often one comes back after it was rejected or evicted (429, 503, 529).
        retry_after: seconds until it comes back.
    """

    deadline: Draw | None = None
    retries: int = 0
    retry_after: Draw = lambda: 1.0


@dataclass(slots=True, kw_only=True)
class SimulatedEnvironment:
    """One environment of a simulation.

    Attributes:
        name: `model.environment`.
        settings: what its queue goes by, as in a cluster.
        arrivals: its requests, in order.
        service: how long they run.
        slots: requests that one replica runs at once.
        gpus: GPUs that one replica takes; may be a fraction.
        starts: how its replicas start.
        lifetime: seconds from READY until a replica dies; None: none dies.
        callers: what its callers do.
        retry: as in a cluster.
        park_s: how long a request waits at most.
        predict_s: how long it runs at most.
        routers: how many routers share its synchronous requests (one holder each).
        overhead_s: what router and network add to a request's latency outside its permit.
        slot_overhead_s: what they add to the time for which it holds its permit.
    """

    name: str
    settings: EnvironmentSettings
    arrivals: Iterator[Arrival]
    service: ServiceModel | BatchModel
    slots: int = 1
    gpus: float = 1.0
    starts: Starts = field(default_factory=Starts)
    lifetime: Draw | None = None
    callers: Callers = field(default_factory=Callers)
    retry: RetryRules = field(default_factory=RetryRules)
    park_s: float = 1200.0
    predict_s: float = 1200.0
    routers: int = 1
    overhead_s: float = 0.0
    slot_overhead_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Scenario:
    """A whole simulation.

    Attributes:
        environments: at least one; they share the GPUs.
        gpus: GPUs that there are; None: as many as are wanted.
        duration_s: no request arrives later; None: the arrivals end by themselves.
        unix_s: the time of day at which the virtual clock is 0.
        tick_s: period of a queue's tick, as in a cluster.
        control_s: how long a decision takes to reach the replicas at most (Serve's loop).
    """

    environments: list[SimulatedEnvironment]
    gpus: float | None = None
    duration_s: float | None = None
    unix_s: float = 0.0
    tick_s: float = 0.1
    control_s: float = 0.1
