"""Runs a scenario: discrete events under a virtual clock.

Who decides what is not decided here: `orchestrator.lifecycle` does, as in a cluster.
What stands in for the cluster around it: `environment` and `client` (the shells of
queue and holders), `calls` (routers), `lane` (the dispatcher), `fleet` (Serve and the
replicas), `gpus` (the machines), `execution` (the models).

Left out: the time that messages and the processors of routers and queue take (a
scenario adds it to each request, as measured), lost messages, which machine a replica
is on, and requests that a replica itself turns away.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.simulator.clock import Agenda
from orchestrator.simulator.environment import Environment
from orchestrator.simulator.gpus import ROUNDING, GpuPool

if TYPE_CHECKING:
    from orchestrator.reports.measures import RunMeasures
    from orchestrator.simulator.scenario import Scenario


class Summary(NamedTuple):
    """What a simulation came to, beside its measures.

    Attributes:
        span_s: virtual seconds from its zero to its end.
        events: how much happened.
        requests: how many arrived; one whose caller came back counts once.
        cpu_s: processor seconds that it took.
        trouble: what was wrong with a scaling policy, the first of all; empty: nothing.
    """

    span_s: float
    events: int
    requests: int
    cpu_s: float
    trouble: str = ""


def simulate(scenario: Scenario, measures: RunMeasures) -> Summary:
    """Runs a scenario to its end.

    It ends when no request arrives any more and all have ended, but not before
    `duration_s`; replicas are accounted for until then. It always ends where the
    arrivals do: no request waits for longer than `park_s` or runs for longer than
    `predict_s`. The same scenario gives the same result, to the last bit.

    Args:
        scenario: what is simulated; its arrivals and draws are used up.
        measures: told of everything that is measured; still empty.

    Raises:
        ValueError: there is no environment, or two have one name, or a replica is
            larger than the pool, or arrivals are not in order.
    """
    _check(scenario)
    began = time.process_time()
    agenda = Agenda()
    gpus = GpuPool(scenario.gpus, lambda in_use: measures.pool(agenda.now, in_use))
    environments: list[Environment] = []

    def over() -> None:
        if all(environment.over for environment in environments):
            agenda.at(max(agenda.now, scenario.duration_s or 0.0), agenda.end)

    for spec in scenario.environments:
        own = measures.environment(spec.name, gpus_per_replica=spec.gpus, slots=spec.slots)
        environments.append(Environment(spec, scenario, agenda, gpus, own, over=over))
    for environment in environments:
        environment.begin()
    agenda.run()
    for environment in environments:
        environment.close()
    return Summary(
        span_s=agenda.now,
        events=agenda.happened,
        requests=sum(environment.requests for environment in environments),
        cpu_s=time.process_time() - began,
        trouble=next((each.trouble for each in environments if each.trouble), ""),
    )


def _check(scenario: Scenario) -> None:
    if not scenario.environments:
        raise ValueError("a scenario needs at least one environment")
    names = [spec.name for spec in scenario.environments]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two environments are called {name!r}")
    for spec in scenario.environments:
        if scenario.gpus is not None and spec.gpus > scenario.gpus + ROUNDING:
            raise ValueError(
                f"{spec.name}: one replica takes {spec.gpus:g} GPUs, and there are {scenario.gpus:g}"
            )
