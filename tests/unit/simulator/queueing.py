"""Queues of the textbooks as scenarios, what theory says of them, and how to measure it."""

from __future__ import annotations

import heapq
import math
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from orchestrator.lifecycle.settings import AutoscalingSettings, EnvironmentSettings
from orchestrator.simulator.engine import simulate
from orchestrator.simulator.scenario import Scenario, SimulatedEnvironment
from orchestrator.simulator.service import Recorded
from orchestrator.traffic.arrival import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.reports.measures import Ended, RunMeasures

Floats = NDArray[np.float64]

FIRST_S = 10.0
"""When the first request may come: the replicas are there by then."""

NAME = "model.production"


class Kept:
    """Measures of one environment that keep every request: as `EnvironmentMeasures`."""

    def __init__(self) -> None:
        self.all: list[Ended] = []
        self.ended: list[Ended] = []
        self.load_s = math.nan
        self.span_s = math.nan

    def environment(self, _name: str, **_facts: Any) -> Kept:
        return self

    def flush(self) -> None:
        self.all += self.ended
        self.ended.clear()

    def load(self, load_s: float, span_s: float) -> None:
        self.load_s, self.span_s = load_s, span_s

    def __getattr__(self, _name: str) -> Any:
        """Whatever else is told is not kept."""
        return lambda *_args, **_facts: None

    @property
    def waits(self) -> Floats:
        """Seconds in line of each request, in the order of arrival."""
        came = sorted((ended.at - ended.latency_s, ended.wait_s) for ended in self.all)
        return np.array([wait for _, wait in came])


class Queue(NamedTuple):
    """Requests at given times that run for given times, in so many replicas of so many slots."""

    at: Floats
    service_s: Floats
    replicas: int
    slots: int

    def arrivals(self) -> Iterator[Arrival]:
        columns = zip(self.at.tolist(), repeat(0), repeat(0), self.service_s.tolist(), strict=False)
        return map(Arrival._make, ((*values, None, False, "") for values in columns))


def run(queue: Queue) -> Kept:
    """Simulates it with its replicas always warm."""
    scaling = AutoscalingSettings(
        min_replica=queue.replicas,
        max_replica=queue.replicas,
        concurrency_target=queue.slots,
        utilization=1.0,
    )
    environment = SimulatedEnvironment(
        name=NAME,
        settings=EnvironmentSettings("model", "production", "v1", autoscaling=scaling),
        arrivals=queue.arrivals(),
        service=Recorded(None),
        slots=queue.slots,
        park_s=math.inf,
        predict_s=math.inf,
    )
    kept = Kept()
    simulate(Scenario(environments=[environment]), cast("RunMeasures", kept))
    return kept


def poisson(rate: float, count: int, rng: np.random.Generator) -> Floats:
    """Times of a Poisson process."""
    times: Floats = FIRST_S + np.cumsum(rng.exponential(1 / rate, count))
    return times


def first_come_first_served(queue: Queue) -> Floats:
    """What each request waits where any free slot takes the first in line.

    Kiefer and Wolfowitz, "On the theory of queues with many servers" (1955): the
    workloads of the slots are all that there is to know.
    """
    free_at = [0.0] * (queue.replicas * queue.slots)
    waits = []
    for at, service_s in zip(queue.at.tolist(), queue.service_s.tolist(), strict=True):
        begins = max(at, free_at[0])
        heapq.heapreplace(free_at, begins + service_s)
        waits.append(begins - at)
    return np.array(waits)


# What theory says, in units of the mean service time; `servers` slots, each `rho` busy


def erlang_c(servers: int, rho: float) -> float:
    """Probability that a request waits in M/M/c (Erlang, 1917)."""
    load = servers * rho
    full = load**servers / math.factorial(servers) / (1 - rho)
    return full / (full + sum(load**k / math.factorial(k) for k in range(servers)))


def mean_wait_markov(servers: int, rho: float) -> float:
    """Mean wait in M/M/c."""
    return erlang_c(servers, rho) / (servers * (1 - rho))


def mean_wait_fixed(rho: float) -> float:
    """Mean wait in M/D/1 (Pollaczek and Khinchine)."""
    return rho / (2 * (1 - rho))


# Confidence

BATCHES = 5
SEEDS = (1, 2, 3, 4, 5)
T_99 = 2.797
"""Student's t, two-sided 99 %, with 24 degrees of freedom: five batches of each of five seeds."""


def interval(batches: list[float]) -> tuple[float, float]:
    """Mean of 25 independent values, and half the width of its 99 % confidence interval."""
    if len(batches) != BATCHES * len(SEEDS):
        raise ValueError(f"the quantile is that of {BATCHES * len(SEEDS)} values")
    return float(np.mean(batches)), T_99 * float(np.std(batches, ddof=1)) / math.sqrt(len(batches))
