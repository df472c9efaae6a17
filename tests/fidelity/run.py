"""The cluster, the calibration, and for each seed a replay and a simulation."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.http_client import ClusterClient
from orchestrator.replay.running import Replay
from orchestrator.replay.targets import targets_of
from orchestrator.reports.report import assemble
from orchestrator.simulator.loading import Plan, Point, load
from orchestrator.simulator.running import run_point
from tests.fidelity.calibration import Calibration, Called, calibration
from tests.integration.running_cluster import RunningCluster, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.replay.planned import Planned
    from orchestrator.reports.measures import Ended
    from orchestrator.reports.report import Report, RunReport
    from orchestrator.simulator.experiment import Experiment

HERE = Path(__file__).parent
EXPERIMENT = HERE.parents[1] / "configs" / "experiments" / "fidelity.yaml"
ENVIRONMENT = "timed"
MODEL, PLACE = "timed", "production"

CALIBRATION_SEED = 1000
"""That no comparison uses."""

_BEFORE_OTHERS = -10
"""Niceness; it takes rights to have one below 0."""

QUIET_S = 120.0
"""How long the last replica may take to go."""


class Fidelity(NamedTuple):
    """What came of it.

    Attributes:
        report: every run, live and simulated.
        calibration: what the simulations knew of the machine.
    """

    report: Report
    calibration: Calibration


async def compare(
    folder: Path, seeds: Sequence[int], settings: Sequence[str], say: Callable[[str], None]
) -> Fidelity:
    """Brings a cluster up, does all of it, and ends it.

    Args:
        folder: for the cluster's state and the recorded starts.
        seeds: one replay and one simulation each.
        settings: `path=value` over the experiment.
        say: told of what is done.
    """
    plan = load(EXPERIMENT, settings)
    cluster = RunningCluster.prepare(HERE / "cluster.yaml", folder, "")
    configure(cluster.config, plan.points[0].experiment)
    try:
        say("starting the cluster")
        await cluster.up()
        with _callers_first():
            async with ClusterClient(cluster.url, cluster.key("dev")) as client:
                live = LiveRuns(cluster, client, plan)
                say("calibrating")
                found = await live.calibrate()
                say(f"measured: {found.overheads}, {len(found.starts)} starts")
                runs = []
                for seed in seeds:
                    say(f"replaying with seed {seed}")
                    runs.append(await live.replay(seed))
    finally:
        left = await cluster.down()
    if left:
        raise RuntimeError(f"processes of the cluster are left: {left}")
    recorded = folder / "starts.json"
    recorded.write_text(json.dumps(found.starts), encoding="utf-8")
    measured = found.settings(ENVIRONMENT, str(recorded))
    simulated = load(EXPERIMENT, [*settings, *measured])
    runs += [run_point(simulated.points[0], seed, simulated.folder) for seed in seeds]
    return Fidelity(assemble(plan.name, runs, plan.description), found)


@contextlib.contextmanager
def _callers_first() -> Iterator[None]:
    """This process, which is the callers, goes before the cluster's where the system allows it.

    They would not be on the cluster's machine: without that, a replica's start, which
    takes all processors of a small one, would make requests late.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _BEFORE_OTHERS)
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def configure(config: dict[str, Any], experiment: Experiment) -> None:
    """Gives the cluster's environment the experiment's settings."""
    wanted = experiment.environments[ENVIRONMENT]
    model = config["models"][MODEL]
    [deployment] = model["deployments"].values()
    deployment["concurrency"] = wanted.concurrency
    for section in ("autoscaling", "queue", "retry", "timeouts"):
        model["environments"][PLACE][section] = getattr(wanted, section).model_dump(
            mode="json", exclude_defaults=True
        )


class LiveRuns:
    """Replays against one cluster, each from no replica on.

    Args:
        cluster: a running one.
        client: of it.
        plan: the experiment, of one point.
    """

    def __init__(self, cluster: RunningCluster, client: ClusterClient, plan: Plan) -> None:
        self._cluster = cluster
        self._client = client
        self._plan = plan

    @property
    def _point(self) -> Point:
        return self._plan.points[0]

    async def calibrate(self) -> Calibration:
        """A replay with a seed of its own; what it showed of the machine."""
        calls: list[Called] = []

        def keep(planned: Planned, ended: Ended) -> None:
            calls.append(Called(planned, ended))

        await self._until_zero()
        replay = self._replay(CALIBRATION_SEED, keep)
        await replay.run()
        live = (await self._client.environment(MODEL, PLACE))["live"]
        ids = f"{replay.ids}{ENVIRONMENT}-"
        return await calibration(self._client, live["starts"], calls, ids)

    async def replay(self, seed: int) -> RunReport:
        """One of the runs that are compared."""
        await self._until_zero()
        experiment = self._point.experiment
        return await self._replay(seed, lambda _planned, _ended: None).run(
            measure_from_s=experiment.measure_from_seconds,
            label=self._point.label,
            seed=seed,
            gpus=experiment.pool.gpus,
        )

    def _replay(self, seed: int, on_ended: Callable[[Planned, Ended], None]) -> Replay:
        experiment = self._point.experiment
        targets = targets_of(experiment, seed, folder=self._plan.folder)
        return Replay(
            targets,
            self._cluster.url,
            self._cluster.key("dev"),
            duration_s=experiment.duration_seconds,
            on_ended=on_ended,
        )

    async def _until_zero(self) -> None:
        async def asleep() -> bool:
            live = (await self._client.environment(MODEL, PLACE))["live"]
            return not (live["replicas"] or live["desired"] or live["provisioning"]["count"])

        await eventually(asleep, "no replica is left", seconds=QUIET_S)
