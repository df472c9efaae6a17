"""Requests whose callers wait: cold starts, streams, the queue, a kill, back to zero."""

import asyncio
import signal
import statistics
import time
from collections.abc import Coroutine
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from orchestrator import overview
from orchestrator.cluster import processes
from orchestrator.cluster.records import ClusterError
from orchestrator.demo.tour import ENVIRONMENT, POLL_SECONDS, SLEEPER, WORKER, Tour, table
from orchestrator.http_client import Answer, CallError, ClusterClient
from orchestrator.overview import milliseconds

QUEUED_REQUESTS = 40
KILLED_REQUESTS = 16

_ROW_SECONDS = 1.0
_SCALE_DOWN_SECONDS = 60.0
_CHAT = {
    "model": SLEEPER,
    "max_tokens": 24,
    "messages": [{"role": "user", "content": "What happens to a request that finds no replica?"}],
}


async def cold_and_warm(tour: Tour) -> None:
    """The first request wakes a model, the second finds it awake."""
    client, console = tour.client, tour.console
    console.rule("a request to a sleeping model, and the same again")
    cold = await client.post("/v1/chat/completions", _CHAT)
    live = (await client.environment(SLEEPER, ENVIRONMENT))["live"]
    warm = await client.post("/v1/chat/completions", _CHAT)
    shown = table("request", "status", "answered in", "in the queue", "cold start")
    for name, answer in (("first, no replica", cold), ("second, warm", warm)):
        shown.add_row(
            name,
            str(answer.status),
            milliseconds(answer.seconds),
            milliseconds(answer.waited_seconds),
            "yes" if answer.cold_start else "no",
        )
    console.print(shown)
    stages = table("stage of the cold start", "took")
    for stage, seconds in live["replicas"][0]["stages"].items():
        stages.add_row(stage, milliseconds(seconds))
    console.print(stages)


async def stream(tour: Tour) -> None:
    """The chunks of an answer come as the model makes them."""
    client, console = tour.client, tour.console
    console.rule("a stream, chunk by chunk")
    answer = await client.post("/v1/chat/completions", _CHAT | {"stream": True})
    gaps = answer.gaps_seconds
    shown = table("first chunk after", "chunks", "median gap", "longest gap", "whole")
    shown.add_row(
        milliseconds(answer.first_chunk_seconds),
        str(len(answer.chunk_seconds)),
        milliseconds(statistics.median(gaps)) if gaps else "",
        milliseconds(max(gaps)) if gaps else "",
        milliseconds(answer.seconds),
    )
    console.print(shown)


async def queue_and_scale(tour: Tour) -> None:
    """More requests than slots wait, and more replicas start."""
    client, console = tour.client, tour.console
    console.rule(f"{QUEUED_REQUESTS} requests at once, 2 slots a replica")
    requests = asyncio.gather(*_requests(client, QUEUED_REQUESTS))
    shown = table("after", "waiting", "running", "ready", "desired", "note")
    begun = time.perf_counter()
    seen, shown_at = None, 0.0
    with Live(shown, console=console, auto_refresh=False) as screen:
        while not requests.done():
            live = (await client.environment(WORKER, ENVIRONMENT))["live"]
            ready, desired = overview.ready_replicas(live), live["desired"]
            after = time.perf_counter() - begun
            if (ready, desired) != seen or after - shown_at >= _ROW_SECONDS:
                seen, shown_at = (ready, desired), after
                note = escape(overview.note(live))
                row = (live["waiting"], live["in_use"], ready, desired, note)
                shown.add_row(milliseconds(after), *map(str, row))
                screen.update(shown, refresh=True)
            await asyncio.wait([requests], timeout=POLL_SECONDS)
    console.print()
    _print_outcomes(console, await requests)


async def kill_a_replica(tour: Tour) -> None:
    """What ran on a replica that dies runs on another one."""
    client, console = tour.client, tour.console
    console.rule("kill -9 of a replica in the middle of requests")
    requests = asyncio.gather(*_requests(client, KILLED_REQUESTS))
    victim = None
    while not requests.done() and victim is None:
        live = (await client.environment(WORKER, ENVIRONMENT))["live"]
        if live["in_use"]:
            victim = tour.replica_process(f"{WORKER}.{ENVIRONMENT}:Replica")
        else:
            await asyncio.wait([requests], timeout=POLL_SECONDS)
    if victim is None or not processes.send(victim, signal.SIGKILL):
        raise ClusterError("found no replica at work to kill")
    console.print(f"killed process {victim.pid} with {live['in_use']} requests running")
    _print_outcomes(console, await requests)


async def back_to_zero(tour: Tour) -> None:
    """Models without requests are put to sleep."""
    client, console = tour.client, tour.console
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
            await asyncio.sleep(POLL_SECONDS)
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
    shown = table("answered", "failed", "tried again", "median", "slowest")
    times = [answer.seconds for answer in answers]
    shown.add_row(
        str(len(answers)),
        str(len(failures)),
        str(sum(answer.attempts > 1 for answer in answers)),
        milliseconds(statistics.median(times)) if times else "",
        milliseconds(max(times)) if times else "",
    )
    console.print(shown)
    if failures:
        raise failures[0]
