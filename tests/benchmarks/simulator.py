"""How many requests the simulator runs a second, and whether its memory grows with them.

    python -m tests.benchmarks.simulator

Processor time counts, so that a busy machine does not change the outcome much. The end
is a failure where the service level is missed: 50,000 requests a second on one core in
the plain case, everything included, and the same memory for ten times the requests.
"""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.lifecycle.settings import AutoscalingSettings, EnvironmentSettings
from orchestrator.reports.measures import RunMeasures
from orchestrator.simulator.engine import Summary, simulate
from orchestrator.simulator.scenario import Scenario, SimulatedEnvironment
from orchestrator.traffic.arrival import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED_PER_S = 50_000
MOST_GROWTH_MB = 16.0
ROUNDS = 3
DRAWN_AT_ONCE = 4096


@dataclass(frozen=True)
class Case:
    """Poisson arrivals, exponential service, warm replicas."""

    what: str
    requests: int = 100_000
    rate: float = 1000.0
    service_s: float = 0.04
    replicas: int = 8
    slots: int = 8
    routers: int = 1
    environments: int = 1

    @property
    def utilization(self) -> float:
        """Share of the slots that are taken on average."""
        return self.rate * self.service_s / (self.replicas * self.slots)


PLAIN = Case("plain")
CASES = (
    PLAIN,
    replace(PLAIN, what="nearly full: most wait", service_s=0.06),
    replace(PLAIN, what="one slot a replica", replicas=64, slots=1),
    replace(PLAIN, what="two routers", routers=2),
    replace(PLAIN, what="two routers, nearly full", routers=2, service_s=0.06, requests=20_000),
    replace(PLAIN, what="ten environments", environments=10),
    replace(
        PLAIN, what="few requests, so that ticks count", rate=5.0, service_s=2.0, requests=5_000
    ),
)


class Exponential:
    """Service times with a given mean."""

    def __init__(self, mean_s: float, rng: np.random.Generator) -> None:
        self._next = numbers(mean_s, rng).__next__

    def draw(self, arrival: Arrival) -> tuple[float, float]:
        """See `ServiceModel.draw`."""
        seconds = self._next()
        return seconds, seconds


def numbers(mean: float, rng: np.random.Generator) -> Iterator[float]:
    """Exponential random numbers without an end."""
    while True:
        yield from rng.exponential(mean, DRAWN_AT_ONCE).tolist()


def poisson(rate: float, rng: np.random.Generator) -> Iterator[Arrival]:
    """Poisson arrivals without an end."""
    at = 0.0
    for gap in numbers(1 / rate, rng):
        at += gap
        yield Arrival(at)


def run(case: Case) -> Summary:
    """Simulates it, measures included."""
    each = case.requests // case.environments
    scenario = Scenario(environments=[])
    for n in range(case.environments):
        rng = np.random.default_rng((7, n))
        scaling = AutoscalingSettings(
            min_replica=case.replicas,
            max_replica=case.replicas,
            concurrency_target=case.slots,
            utilization=1.0,
        )
        scenario.environments.append(
            SimulatedEnvironment(
                name=f"model.{n}",
                settings=EnvironmentSettings("model", str(n), "v1", autoscaling=scaling),
                arrivals=islice(poisson(case.rate, rng), each),
                service=Exponential(case.service_s, rng),
                slots=case.slots,
                routers=case.routers,
            )
        )
    measures = RunMeasures()
    summary = simulate(scenario, measures)
    measures.report(span_s=summary.span_s)
    return summary


def best_of(case: Case, rounds: int) -> float:
    """Requests a second of processor time; the best round, which others disturbed least."""
    return max(summary.requests / summary.cpu_s for summary in (run(case) for _ in range(rounds)))


def memory_growth_mb() -> float:
    """Megabytes by which the peak of 1,000,000 requests is above that of 100,000.

    To be called before anything larger has run in this process.
    """
    run(PLAIN)
    before = peak_mb()
    run(replace(PLAIN, requests=10 * PLAIN.requests))
    return peak_mb() - before


def peak_mb() -> float:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Measures everything; the exit status."""
    growth = memory_growth_mb()
    print(f"{'':36}{'slots taken':>12}{'requests/s':>12}")
    reached = {case: best_of(case, ROUNDS) for case in CASES}
    for case, per_s in reached.items():
        print(f"{case.what:36}{case.utilization:12.0%}{per_s:12,.0f}")
    print(f"\npeak memory, from 100,000 requests to 1,000,000: {growth:+.1f} MB")
    fast, flat = reached[PLAIN] >= WANTED_PER_S, growth <= MOST_GROWTH_MB
    if not fast:
        print(f"MISSED: {WANTED_PER_S:,} requests/s in the plain case")
    if not flat:
        print(f"MISSED: at most {MOST_GROWTH_MB:g} MB more for ten times the requests")
    return 0 if fast and flat else 1


if __name__ == "__main__":
    sys.exit(main())
