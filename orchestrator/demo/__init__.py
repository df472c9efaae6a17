"""The tour of `orchestrator demo`: what the system does, each step with its times.

It goes by the models of `configs/quickstart.yaml`: `echo`, `llm` (two seconds to
load, OpenAI-compatible) and `worker` (two slots a replica, half a second a request,
more replicas wanted than there are logical GPUs), and by its short pauses between
tries of a webhook.
"""

import asyncio
import time

from rich.console import Console

from orchestrator.cluster import local, processes
from orchestrator.cluster.records import ClusterError, ClusterRecord
from orchestrator.demo import answered_at_once, answered_later
from orchestrator.demo.tour import ENVIRONMENT, MODELS, Tour
from orchestrator.http_client import ClusterClient
from orchestrator.overview import milliseconds

__all__ = ["show"]


def show(plan: local.ClusterPlan, console: Console, api_key: str | None) -> None:
    """Start the cluster of `plan`, show the tour on `console`, end the cluster.

    Raises:
        ClusterError: it could not be started or ended, or lacks the tour's models.
        CallError: a request of the tour failed.
    """
    applications = {application["name"] for application in plan.serve["applications"]}
    for model in MODELS:
        if f"{model}.{ENVIRONMENT}" not in applications:
            raise ClusterError(f'the tour needs the model "{model}"; see configs/quickstart.yaml')
    begun = time.perf_counter()
    console.rule("a cluster from one file")
    with console.status(f"starting {plan.name} from {plan.config_path} …"):
        record = local.start(plan, detach=False)
    console.print(f"{record.url} ready after {milliseconds(time.perf_counter() - begun)}")
    try:
        asyncio.run(_tour(plan, record, console, api_key))
    finally:
        console.rule("stop")
        stopping = time.perf_counter()
        started = processes.descendants_of(record.supervisor) | {record.supervisor}
        with console.status("stopping …"):
            local.stop(record.name)
        left = sum(processes.alive(process) for process in started)
        console.print(
            f"{len(started)} processes ended, {left} left, "
            f"after {milliseconds(time.perf_counter() - stopping)}"
        )
    console.print(f"the whole tour took {milliseconds(time.perf_counter() - begun)}")


async def _tour(
    plan: local.ClusterPlan, record: ClusterRecord, console: Console, api_key: str | None
) -> None:
    async with ClusterClient(record.url, api_key) as client:
        tour = Tour(client, console, record, plan)
        await answered_at_once.cold_and_warm(tour)
        await answered_at_once.stream(tour)
        await answered_at_once.queue_and_scale(tour)
        await answered_at_once.kill_a_replica(tour)
        await answered_at_once.back_to_zero(tour)
        await answered_later.kill_the_dispatcher(tour)
        await answered_later.a_failing_receiver(tour)
