"""The tour of `orchestrator demo`: what the system does, each step with its times.

It goes by the models of `configs/quickstart.yaml`: `llm` (two seconds to load,
OpenAI-compatible) and `worker` (two slots a replica, half a second a request,
more replicas wanted than there are logical GPUs).
"""

import asyncio
import signal
import statistics
import time
from collections.abc import Coroutine
from typing import Any

import psutil
from rich.console import Console
from rich.live import Live
from rich.table import Table

from orchestrator import cluster, overview, processes
from orchestrator.cluster_record import ClusterError, ClusterRecord
from orchestrator.http_client import Answer, CallError, ClusterClient
from orchestrator.overview import milliseconds

SLEEPER, WORKER, ENVIRONMENT = "llm", "worker", "production"
QUEUED_REQUESTS = 40
KILLED_REQUESTS = 16

_POLL_SECONDS = 0.25
_ROW_SECONDS = 1.0
_SCALE_DOWN_SECONDS = 60.0
_CHAT = {
    "model": SLEEPER,
    "max_tokens": 24,
    "messages": [{"role": "user", "content": "What happens to a request that finds no replica?"}],
}


def show(plan: cluster.ClusterPlan, console: Console, api_key: str | None) -> None:
    """Start the cluster of `plan`, show the tour on `console`, end the cluster.

    Raises:
        ClusterError: it could not be started or ended, or lacks the tour's models.
        CallError: a request of the tour failed.
    """
    applications = {application["name"] for application in plan.serve["applications"]}
    for model in (SLEEPER, WORKER):
        if f"{model}.{ENVIRONMENT}" not in applications:
            raise ClusterError(f'the tour needs the model "{model}"; see configs/quickstart.yaml')
    begun = time.perf_counter()
    console.rule("a cluster from one file")
    with console.status(f"starting {plan.name} from {plan.config_path} …"):
        record = cluster.start(plan, detach=False)
    console.print(f"{record.url} ready after {milliseconds(time.perf_counter() - begun)}")
    try:
        asyncio.run(_tour(record, console, api_key))
    finally:
        console.rule("stop")
        stopping = time.perf_counter()
        started = processes.descendants_of(record.supervisor) | {record.supervisor}
        with console.status("stopping …"):
            cluster.stop(record.name)
        left = sum(processes.alive(process) for process in started)
        console.print(
            f"{len(started)} processes ended, {left} left, "
            f"after {milliseconds(time.perf_counter() - stopping)}"
        )
    console.print(f"the whole tour took {milliseconds(time.perf_counter() - begun)}")


async def _tour(record: ClusterRecord, console: Console, api_key: str | None) -> None:
    async with ClusterClient(record.url, api_key) as client:
        await _cold_and_warm(client, console)
        await _stream(client, console)
        await _queue_and_scale(client, console)
        await _kill_a_replica(client, console, record)
        await _back_to_zero(client, console)


async def _cold_and_warm(client: ClusterClient, console: Console) -> None:
    console.rule("a request to a sleeping model, and the same again")
    cold = await client.post("/v1/chat/completions", _CHAT)
    live = (await client.environment(SLEEPER, ENVIRONMENT))["live"]
    warm = await client.post("/v1/chat/completions", _CHAT)
    table = _table("request", "status", "answered in", "in the queue", "cold start")
    for name, answer in (("first, no replica", cold), ("second, warm", warm)):
        table.add_row(
            name,
            str(answer.status),
            milliseconds(answer.seconds),
            milliseconds(answer.waited_seconds),
            "yes" if answer.cold_start else "no",
        )
    console.print(table)
    stages = _table("stage of the cold start", "took")
    reported: dict[str, float] = live["replicas"][0]["stages"]
    before = max(cold.waited_seconds - sum(reported.values()), 0.0)
    for stage, seconds in {"placed, process started": before, **reported}.items():
        stages.add_row(stage, milliseconds(seconds))
    console.print(stages)


async def _stream(client: ClusterClient, console: Console) -> None:
    console.rule("a stream, chunk by chunk")
    answer = await client.post("/v1/chat/completions", _CHAT | {"stream": True})
    gaps = answer.gaps_seconds
    table = _table("first chunk after", "chunks", "median gap", "longest gap", "whole")
    table.add_row(
        milliseconds(answer.first_chunk_seconds),
        str(len(answer.chunk_seconds)),
        milliseconds(statistics.median(gaps)) if gaps else "",
        milliseconds(max(gaps)) if gaps else "",
        milliseconds(answer.seconds),
    )
    console.print(table)


async def _queue_and_scale(client: ClusterClient, console: Console) -> None:
    console.rule(f"{QUEUED_REQUESTS} requests at once, 2 slots a replica")
    requests = asyncio.gather(*_requests(client, QUEUED_REQUESTS))
    table = _table("after", "waiting", "running", "ready", "desired", "note")
    begun = time.perf_counter()
    seen, shown_at = None, 0.0
    with Live(table, console=console, auto_refresh=False) as screen:
        while not requests.done():
            live = (await client.environment(WORKER, ENVIRONMENT))["live"]
            ready, desired = overview.ready_replicas(live), live["desired"]
            after = time.perf_counter() - begun
            if (ready, desired) != seen or after - shown_at >= _ROW_SECONDS:
                seen, shown_at = (ready, desired), after
                row = (live["waiting"], live["in_use"], ready, desired, overview.note(live))
                table.add_row(milliseconds(after), *map(str, row))
                screen.update(table, refresh=True)
            await asyncio.wait([requests], timeout=_POLL_SECONDS)
    console.print()
    _print_outcomes(console, await requests)


async def _kill_a_replica(client: ClusterClient, console: Console, record: ClusterRecord) -> None:
    console.rule("kill -9 of a replica in the middle of requests")
    requests = asyncio.gather(*_requests(client, KILLED_REQUESTS))
    victim = None
    while not requests.done() and victim is None:
        live = (await client.environment(WORKER, ENVIRONMENT))["live"]
        if live["in_use"]:
            victim = _a_replica_process(record)
        else:
            await asyncio.wait([requests], timeout=_POLL_SECONDS)
    if victim is None or not processes.send(victim, signal.SIGKILL):
        raise ClusterError("found no replica at work to kill")
    console.print(f"killed process {victim.pid} with {live['in_use']} requests running")
    _print_outcomes(console, await requests)


async def _back_to_zero(client: ClusterClient, console: Console) -> None:
    console.rule("back to zero")
    begun = time.perf_counter()
    awake = {SLEEPER, WORKER}
    with console.status("no more requests; waiting for the scale-down delay …"):
        while awake and time.perf_counter() - begun < _SCALE_DOWN_SECONDS:
            for model in sorted(awake):
                found = await client.environment(model, ENVIRONMENT)
                if not found["live"]["replicas"] and not found["live"]["desired"]:
                    awake.discard(model)
                    after = milliseconds(time.perf_counter() - begun)
                    console.print(f"{model}: {found['status']} after {after}")
            await asyncio.sleep(_POLL_SECONDS)
    if awake:
        raise ClusterError(f"{', '.join(sorted(awake))} did not scale to zero")


def _requests(client: ClusterClient, count: int) -> list[Coroutine[Any, Any, Answer | CallError]]:
    async def one(number: int) -> Answer | CallError:
        try:
            return await client.predict(WORKER, ENVIRONMENT, {"request": number})
        except CallError as error:
            return error

    return [one(number) for number in range(count)]


def _print_outcomes(console: Console, outcomes: list[Answer | CallError]) -> None:
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, CallError)]
    table = _table("answered", "failed", "tried again", "median", "slowest")
    times = [answer.seconds for answer in answers]
    table.add_row(
        str(len(answers)),
        str(len(failures)),
        str(sum(answer.attempts > 1 for answer in answers)),
        milliseconds(statistics.median(times)) if times else "",
        milliseconds(max(times)) if times else "",
    )
    console.print(table)
    if failures:
        raise failures[0]


def _a_replica_process(record: ClusterRecord) -> processes.ProcessId | None:
    """A process of this cluster that is a replica of the worker; Ray names them so."""
    title = f"ray::ServeReplica:{WORKER}.{ENVIRONMENT}:Replica"
    for process in sorted(processes.descendants_of(record.supervisor), key=lambda p: p.pid):
        try:
            command = " ".join(psutil.Process(process.pid).cmdline())
        except psutil.NoSuchProcess:
            continue
        if command.startswith(title):
            return process
    return None


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    return table
