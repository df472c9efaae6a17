"""From a point of an experiment and a seed to what is simulated, or replayed.

Each environment has a random stream of its own for each thing that is drawn, so that
another policy, or another environment beside it, changes neither its arrivals nor its
service times: points are compared on common random numbers.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.config.compiling import autoscaling_settings
from orchestrator.config.routing import queue_bounds, retry_rules
from orchestrator.lifecycle.retry import RetryRules
from orchestrator.lifecycle.settings import AutoscalingSettings, EnvironmentSettings, QueueSettings
from orchestrator.simulator.scenario import Callers, Scenario, SimulatedEnvironment
from orchestrator.simulator.service import service_model
from orchestrator.simulator.starts import starts
from orchestrator.traffic.distribution import draw
from orchestrator.traffic.source import arrivals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.simulator.experiment import Experiment, ExperimentEnvironment
    from orchestrator.traffic.arrival import Arrival
    from orchestrator.traffic.distribution import Distribution, Draw

SIMULATED_MODEL = "simulated"
"""Model and deployment of all environments, which only logs would show."""


class Purpose(IntEnum):
    """What a random stream is for. The numbers are part of every result: never change one."""

    ARRIVALS = 0
    SERVICE = 1
    STARTS = 2
    LIFETIME = 3
    DEADLINES = 4
    RETRIES = 5


def stream(seed: int, environment: str, purpose: Purpose) -> np.random.Generator:
    """A random stream that no other environment, purpose or seed has."""
    return np.random.default_rng(_sequence(seed, environment, purpose))


def arrivals_of(experiment: Experiment, name: str, seed: int, *, folder: Path) -> Iterator[Arrival]:
    """The requests of an environment, the same for a simulation and for a replay.

    Raises:
        TrafficError: its trace is missing; or, on the way, wrong at a row.
    """
    sequence = _sequence(seed, name, Purpose.ARRIVALS)
    number = int(sequence.generate_state(1, np.uint64)[0])
    return arrivals(experiment.environments[name].arrivals, number, folder=folder)


def scenario(experiment: Experiment, seed: int, *, folder: Path) -> Scenario:
    """What is simulated for a point of an experiment.

    Args:
        experiment: the point.
        seed: at least 0.
        folder: where its relative paths begin.

    Raises:
        TrafficError: a file that it names is missing or wrong.
    """
    return Scenario(
        environments=[
            _environment(experiment, name, seed, folder) for name in experiment.environments
        ],
        gpus=experiment.pool.gpus,
        duration_s=experiment.duration_seconds,
        unix_s=experiment.starts_at,
    )


def _sequence(seed: int, environment: str, purpose: Purpose) -> np.random.SeedSequence:
    # By its name, not its place: an environment more or less leaves the others as they are.
    name = int.from_bytes(hashlib.sha256(environment.encode()).digest()[:8])
    return np.random.SeedSequence(seed, spawn_key=(name, purpose))


def _environment(
    experiment: Experiment, name: str, seed: int, folder: Path
) -> SimulatedEnvironment:
    given = experiment.environments[name]

    def drawn(spec: Distribution, purpose: Purpose) -> Draw:
        return draw(spec, stream(seed, name, purpose), folder=folder)

    lifetime, callers = given.lifetime, given.callers
    deadline = callers.deadline_seconds
    return SimulatedEnvironment(
        name=name,
        settings=_settings(name, given),
        arrivals=arrivals_of(experiment, name, seed, folder=folder),
        service=service_model(given.service, stream(seed, name, Purpose.SERVICE), folder=folder),
        slots=given.concurrency,
        gpus=given.gpus,
        starts=starts(given.cold_start, stream(seed, name, Purpose.STARTS), folder=folder),
        lifetime=None if lifetime is None else drawn(lifetime, Purpose.LIFETIME),
        callers=Callers(
            deadline=None if deadline is None else drawn(deadline, Purpose.DEADLINES),
            retries=callers.retries,
            retry_after=drawn(callers.retry_after_seconds, Purpose.RETRIES),
        ),
        retry=RetryRules(**retry_rules(given.retry)),
        park_s=given.timeouts.park_seconds,
        predict_s=given.timeouts.predict_seconds,
        routers=given.routers,
        overhead_s=given.overhead_milliseconds / 1000,
        slot_overhead_s=given.slot_overhead_milliseconds / 1000,
    )


def _settings(name: str, given: ExperimentEnvironment) -> EnvironmentSettings:
    """What its queue goes by: compiled as for a cluster."""
    queue = queue_bounds(given.queue) | {"async_share": given.queue.async_share_percent / 100}
    scaling = autoscaling_settings(given.autoscaling, given.concurrency)
    return EnvironmentSettings(
        model=SIMULATED_MODEL,
        environment=name,
        deployment=SIMULATED_MODEL,
        queue=QueueSettings.from_mapping(queue),
        autoscaling=AutoscalingSettings.from_mapping(scaling),
        resources={"num_gpus": given.gpus},
    )
