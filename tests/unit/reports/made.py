"""Reports of runs that nobody ran: a queue in front of servers, reckoned in a few lines."""

from __future__ import annotations

import heapq
import math

import numpy as np

from orchestrator.lifecycle.replica import Stage
from orchestrator.reports.measures import Ended, EnvironmentMeasures, RunMeasures
from orchestrator.reports.report import SIMULATED, Report, RunReport, assemble

SPAN_S = 3600.0
LOADING_S = 20.0


def a_report(
    labels: dict[str, int], *, seeds: tuple[int, ...] = (1, 2, 3), name: str = "made-up"
) -> Report:
    """A report of settings that differ in how many replicas run, by label."""
    runs = [
        a_run(label, seed, replicas=replicas)
        for label, replicas in labels.items()
        for seed in seeds
    ]
    return assemble(name, runs, "What <b>replicas</b> & seeds do.")


def a_run(
    label: str = "one",
    seed: int = 1,
    *,
    replicas: int = 4,
    kind: str = SIMULATED,
    environments: tuple[str, ...] = ("llm.production",),
    price: float | None = 2.5,
    rate: float = 1.5,
    **about: object,
) -> RunReport:
    """A run of an hour with a wave of traffic; service takes a second on average."""
    measures = RunMeasures(seed=seed)
    for number, environment in enumerate(environments):
        found = measures.environment(environment, gpus_per_replica=1.0, slots=2)
        _live(found, np.random.default_rng((seed, number)), replicas, rate / (number + 1))
    measures.pool(0.0, float(replicas * len(environments)))
    return measures.report(
        span_s=SPAN_S,
        kind=kind,
        label=label,
        parameters={"replicas": replicas},
        price_per_gpu_hour=price,
        gpus=replicas * len(environments) + 2.0,
        events=1000,
        cpu_s=0.5,
        **about,  # type: ignore[arg-type]
    )


def _live(
    measures: EnvironmentMeasures, random: np.random.Generator, replicas: int, rate: float
) -> None:
    """First come, first served, by as many servers as there are slots."""
    gaps = random.exponential(1.0 / rate, int(SPAN_S * rate * 2))
    at = np.cumsum(gaps)
    at = at[at < SPAN_S - 200]
    keep = random.random(len(at)) < 0.55 + 0.45 * np.sin(at / SPAN_S * 4 * math.pi)
    free = [LOADING_S] * (replicas * 2)
    measures.sample(0.0, 0, 0, replicas, {Stage.LOADING: replicas})
    ended = []
    for arrival in at[keep].tolist():
        begins = max(arrival, heapq.heappop(free))
        service = float(random.gamma(2.0, 0.5))
        heapq.heappush(free, begins + service)
        ended.append(_answered(arrival, begins, service))
    measures.ended += sorted(ended)
    measures.arrived(len(ended))
    _levels(measures, ended, replicas)
    for _ in range(replicas):
        measures.started({Stage.PROVISIONING: 0.0, Stage.LOADING: LOADING_S}, failed=False)
        measures.replica_seconds(Stage.LOADING, LOADING_S)
        measures.replica_seconds(Stage.READY, SPAN_S - LOADING_S)
    measures.decided(0.0, 0, replicas, f"{replicas} are <wanted>")
    measures.load(sum(each.latency_s for each in ended), SPAN_S)


def _answered(arrival: float, begins: float, service: float) -> Ended:
    return Ended(
        at=begins + service,
        latency_s=begins + service - arrival,
        wait_s=begins - arrival,
        first_byte_s=begins + service / 3 - arrival,
        service_s=service,
        outcome="answered",
        cold=arrival < LOADING_S,
        attempts=1,
        asynchronous=False,
    )


def _levels(measures: EnvironmentMeasures, ended: list[Ended], replicas: int) -> None:
    """Waiting and running, each time that one of them changes."""
    changes = []
    for each in ended:
        begins = each.at - each.service_s
        changes.append((begins - each.wait_s, 1, 0))
        changes.append((begins, -1, 1))
        changes.append((each.at, 0, -1))
    waiting = running = 0
    for at, more_waiting, more_running in sorted(changes):
        waiting += more_waiting
        running += more_running
        stage = Stage.READY if at >= LOADING_S else Stage.LOADING
        measures.sample(at, waiting, running, replicas, {stage: replicas})
