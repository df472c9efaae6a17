"""What a point of an experiment asks of a live cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.config.problems import listed, suggestion
from orchestrator.replay.errors import ReplayError
from orchestrator.replay.planned import Traffic
from orchestrator.replay.target import place_of, target_of
from orchestrator.replay.template import Template
from orchestrator.simulator.compiling import Purpose, scenario, stream
from orchestrator.simulator.service import service_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.replay.target import Place
    from orchestrator.simulator.experiment import Experiment, ExperimentEnvironment
    from orchestrator.simulator.scenario import SimulatedEnvironment
    from orchestrator.simulator.service import SecondsOf, Service


@dataclass(frozen=True, slots=True)
class Live:
    """One environment to be replayed.

    Attributes:
        place: where it is in the cluster.
        traffic: its requests.
        simulated: what a simulation is made from, but for the arrivals, which are used up.
        wanted: its settings in the experiment.
    """

    place: Place
    traffic: Traffic
    simulated: SimulatedEnvironment
    wanted: ExperimentEnvironment


def targets_of(
    experiment: Experiment, seed: int, *, folder: Path, only: str | None = None
) -> list[Live]:
    """The environments of an experiment, ready to be replayed.

    Their random numbers are those of a simulation with the same seed.

    Args:
        experiment: one of its points.
        seed: at least 0.
        folder: where its relative paths begin.
        only: the name of the one that is wanted; None: all.

    Raises:
        ReplayError: there is no such environment, or a request's body cannot be made.
        TrafficError: a trace is missing or wrong.
    """
    known = list(experiment.environments)
    if only is not None and only not in known:
        hint = suggestion(only, known) or f"; there is {listed(known)}"
        raise ReplayError(f'the experiment has no environment "{only}"{hint}')
    return [
        _live(experiment, simulated, seed, folder)
        for simulated in scenario(experiment, seed, folder=folder).environments
        if only in (None, simulated.name)
    ]


def _live(experiment: Experiment, simulated: SimulatedEnvironment, seed: int, folder: Path) -> Live:
    name = simulated.name
    wanted = experiment.environments[name]
    target = target_of(name, wanted.target)
    template = Template(target.body)
    seconds_of: SecondsOf | None = None
    if _runs_alone(wanted.service):
        rng = stream(seed, name, Purpose.SERVICE)
        seconds_of = service_seconds(wanted.service, rng, folder=folder)
    elif "service_seconds" in template.names:
        raise ReplayError(
            f"environments.{name}.target.body has $service_seconds, but how long a request runs "
            "depends here on what else runs (service.tokens has per_running); give a body for a "
            "model that takes its own time, or a service without per_running"
        )
    traffic = Traffic(simulated.arrivals, seconds_of, simulated.callers.deadline, template)
    return Live(place_of(name, target), traffic, simulated, wanted)


def _runs_alone(service: Service) -> bool:
    """Whether the time of a request depends on the request alone."""
    tokens = service.tokens
    return tokens is None or not (tokens.first_token.per_running or tokens.per_token.per_running)
