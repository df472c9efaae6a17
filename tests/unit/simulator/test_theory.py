"""The simulator against what can be computed without it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from orchestrator.lifecycle.replica import Stage
from orchestrator.lifecycle.settings import AutoscalingSettings, EnvironmentSettings
from orchestrator.reports.measures import RunMeasures
from orchestrator.simulator.engine import simulate
from orchestrator.simulator.scenario import Scenario, SimulatedEnvironment, Starts
from orchestrator.simulator.service import Service, service_model
from orchestrator.traffic.arrival import Arrival
from tests.unit.simulator import keep_alive
from tests.unit.simulator.queueing import (
    BATCHES,
    NAME,
    SEEDS,
    Floats,
    Queue,
    erlang_c,
    first_come_first_served,
    interval,
    mean_wait_fixed,
    mean_wait_markov,
    poisson,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.simulator.queueing import Kept

RATE = 100.0
"""Requests that one slot serves per second: many to a tick, which is what costs time."""


def exponential(count: int, rng: np.random.Generator) -> Floats:
    return rng.exponential(1 / RATE, count)


def fixed(count: int, _: np.random.Generator) -> Floats:
    return np.full(count, 1 / RATE)


def long_tailed(count: int, rng: np.random.Generator) -> Floats:
    return rng.lognormal(-math.log(RATE), 2.0, count)


def little(kept: Kept) -> None:
    """The mean number present is the rate times the mean latency."""
    present = kept.load_s / kept.span_s
    rate = len(kept.all) / kept.span_s
    latency_s = math.fsum(ended.latency_s for ended in kept.all) / len(kept.all)
    assert present == pytest.approx(rate * latency_s, rel=1e-6)


# Request by request


@pytest.mark.parametrize(
    ("replicas", "slots", "service"),
    [
        (1, 1, exponential),
        (1, 1, long_tailed),
        (4, 1, exponential),
        (1, 4, fixed),
        (3, 2, long_tailed),
        (10, 10, exponential),
    ],
)
def test_every_request_waits_for_as_long_as_the_first_free_slot_makes_it(
    replicas: int, slots: int, service: Callable[[int, np.random.Generator], Floats]
) -> None:
    rng = np.random.default_rng([replicas, slots])
    count = 5_000
    service_s = service(count, rng)
    at = poisson(0.85 * replicas * slots / float(service_s.mean()), count, rng)
    queue = Queue(at, service_s, replicas, slots)
    kept = run(queue)
    assert kept.waits == pytest.approx(first_come_first_served(queue), abs=1e-9)
    little(kept)


# On average

PER_BATCH = {0.5: 1_200, 0.8: 3_000, 0.9: 5_000}
"""Requests in a batch: the busier, the longer one depends on the one before."""


@pytest.mark.parametrize("rho", PER_BATCH)
@pytest.mark.parametrize(
    ("replicas", "slots", "service"),
    [
        pytest.param(1, 1, exponential, id="M/M/1"),
        pytest.param(4, 1, exponential, id="M/M/4, four replicas"),
        pytest.param(1, 4, exponential, id="M/M/4, four slots"),
        pytest.param(1, 1, fixed, id="M/D/1"),
    ],
)
def test_waits_are_those_of_queueing_theory(
    rho: float,
    replicas: int,
    slots: int,
    service: Callable[[int, np.random.Generator], Floats],
) -> None:
    servers, size = replicas * slots, PER_BATCH[rho]
    count = (1 + BATCHES) * size  # the first fills the queue, and is not measured
    mean_waits, shares_waiting = [], []
    for seed in SEEDS:
        rng = np.random.default_rng([seed, round(10 * rho), servers, service is fixed])
        at = poisson(rho * servers * RATE, count, rng)
        kept = run(Queue(at, service(count, rng), replicas, slots))
        little(kept)
        for waits in kept.waits[size:].reshape(BATCHES, size) * RATE:
            mean_waits.append(float(waits.mean()))
            shares_waiting.append(float((waits > 0).mean()))
    share, half_of_share = interval(shares_waiting)
    assert share == pytest.approx(erlang_c(servers, rho), abs=half_of_share)
    assert half_of_share < 0.025
    wait, half_of_wait = interval(mean_waits)
    expected = mean_wait_fixed(rho) if service is fixed else mean_wait_markov(servers, rho)
    assert wait == pytest.approx(expected, abs=half_of_wait)
    assert half_of_wait < 0.3 * expected


def test_littles_law_holds_through_cold_starts_batches_and_asynchronous_requests() -> None:
    rng = np.random.default_rng(3)
    count = 4_000
    at = np.cumsum(rng.gamma(0.2, 1.0, count))
    columns = zip(at, rng.integers(1, 2_000, count), rng.integers(1, 300, count), strict=True)
    arrivals = [
        Arrival(float(t), int(prompt), int(output), asynchronous=number % 5 == 0)
        for number, (t, prompt, output) in enumerate(columns)
    ]
    scaling = AutoscalingSettings(
        max_replica=6, concurrency_target=8, window_s=10.0, scale_down_delay_s=20.0
    )
    tokens = {
        "first_token": {"base": 0.1, "per_prompt_token": 2e-4, "per_running": 0.01},
        "per_token": {"base": 0.01, "per_running": 0.002},
    }
    environment = SimulatedEnvironment(
        name=NAME,
        settings=EnvironmentSettings("model", "production", "v1", autoscaling=scaling, slots=8),
        arrivals=iter(arrivals),
        service=service_model(Service.model_validate({"tokens": tokens}), rng),
        slots=8,
        starts=Starts(stages={Stage.LOADING: lambda: 7.0}),
        routers=2,
    )
    measures = RunMeasures()
    summary = simulate(Scenario(environments=[environment]), measures)
    found = measures.report(span_s=summary.span_s).environments[NAME]
    assert found.outcomes == {"answered": count}
    assert 0 < found.cold < count
    assert 0 < found.asynchronous < count
    assert found.little is not None
    assert found.little.present == pytest.approx(found.little.rate_times_latency, rel=1e-6)


# On recorded traffic


@pytest.mark.parametrize(
    ("name", "keep_alive_s", "window_s"),
    [
        ("azure code", 1.05, 0.0),
        ("azure code", 10.05, 0.0),
        ("azure code", 30.05, 10.05),
        ("azure code", 120.05, 0.0),
        ("mooncake conversation", 1.05, 0.0),
        ("mooncake conversation", 1.05, 1.75),  # its gaps are of 3 s, more or less
        ("servegen client", 1.05, 0.0),
        ("servegen client", 10.05, 0.0),
        ("servegen client", 30.05, 10.05),
    ],
)
def test_requests_are_cold_just_as_the_times_of_a_recorded_trace_imply(
    name: str, keep_alive_s: float, window_s: float
) -> None:
    at = keep_alive.times(name)
    found = keep_alive.simulated(at, keep_alive_s, window_s)
    expected = keep_alive.implied(at, keep_alive_s, window_s)
    assert np.array_equal(found, expected)
    assert 1 < expected.sum() < at.size


def test_the_report_has_the_share_of_cold_requests_that_the_times_imply() -> None:
    at = keep_alive.times("azure code")
    measures = RunMeasures()
    summary = simulate(keep_alive.scenario(at, 5.05, 0.0), measures)
    found = measures.report(span_s=summary.span_s).environments[NAME]
    assert found.requests == at.size
    assert found.share_cold == keep_alive.implied(at, 5.05, 0.0).mean()
