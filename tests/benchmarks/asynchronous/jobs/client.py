"""What a peer's client process does: enqueue jobs, wait for their results, tell the times.

``python -m tests.benchmarks.asynchronous.jobs.client MODULE run|accept|idle JOBS OUTPUT`` writes
one JSON object into the file OUTPUT. Times are seconds.
"""

import asyncio
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

STORE_VARIABLE = "BENCHMARK_STORE_SOCKET"
# As many as the load generator holds connections to the systems that speak HTTP.
ENQUEUERS = 64
# Results are read in the order of submission, so that few of them wait at any time; every
# waiter more is one more that asks the store again and again.
WAITERS = 8
# How often those peers ask for a result that offer only to ask.
POLL_S = 0.01
RESULT_PATIENCE_S = 60.0
WARM_UP_JOBS = 256
# Between two single jobs, at random, so that no rhythm of a polling worker is met.
IDLE_PAUSES_S = (0.05, 0.15)


def store_socket() -> str:
    """Path of the store's unix socket."""
    return os.environ[STORE_VARIABLE]


def job_started() -> float:
    """The whole job: when it began, on the clock that all processes of a machine share."""
    return time.monotonic()


class Client(Protocol):
    """One peer's natural way to enqueue a job and to wait for what it gives back."""

    async def enqueue(self) -> Any:
        """Durably accepted when this returns; gives what ``result`` takes."""

    async def result(self, job: Any) -> float:
        """What ``job_started`` returned in the worker; raises ``RuntimeError`` if it failed."""

    async def close(self) -> None:
        """Close its connections."""


async def enqueue_all(client: Client, jobs: int) -> list[Any]:
    """``jobs`` jobs from ``ENQUEUERS`` tasks, each with one call under way; in any order."""
    left = iter(range(jobs))
    accepted: list[Any] = []

    async def enqueue_some() -> None:
        for _ in left:
            accepted.append(await client.enqueue())  # noqa: PERF401  # one list of many tasks

    await asyncio.gather(*(enqueue_some() for _ in range(ENQUEUERS)))
    return accepted


async def read_all(client: Client, accepted: Sequence[Any]) -> None:
    """Every result, read by ``WAITERS`` tasks."""
    left = iter(accepted)

    async def read_some() -> None:
        for job in left:
            await client.result(job)

    await asyncio.gather(*(read_some() for _ in range(WAITERS)))


async def worker_ready(client: Client) -> None:
    """Return when a job succeeded; those that a worker loses while it starts do not count."""
    async with asyncio.timeout(RESULT_PATIENCE_S):
        while True:
            try:
                await client.result(await client.enqueue())
            except RuntimeError:
                await asyncio.sleep(POLL_S)
            else:
                return


async def run(client: Client, jobs: int) -> dict[str, Any]:
    """From the first enqueue to the last acceptance and to the last result."""
    await worker_ready(client)
    await read_all(client, await enqueue_all(client, min(jobs, WARM_UP_JOBS)))
    began = time.monotonic()
    accepted = await enqueue_all(client, jobs)
    all_accepted = time.monotonic()
    await read_all(client, accepted)
    return {"accepted_s": all_accepted - began, "completed_s": time.monotonic() - began}


async def accept(client: Client, jobs: int) -> dict[str, Any]:
    """From the first enqueue to the last acceptance; for a store without a worker."""
    await enqueue_all(client, min(jobs, WARM_UP_JOBS))
    began = time.monotonic()
    await enqueue_all(client, jobs)
    return {"accepted_s": time.monotonic() - began}


async def idle(client: Client, jobs: int) -> dict[str, Any]:
    """One job after the other, each from before the enqueue to its first instruction."""
    pauses = random.Random(0)
    starts: list[float] = []
    for _ in range(jobs):
        began = time.monotonic()
        started = await client.result(await client.enqueue())
        starts.append(started - began)
        await asyncio.sleep(pauses.uniform(*IDLE_PAUSES_S))
    return {"starts_s": starts}


PHASES = {"run": run, "accept": accept, "idle": idle}


def main() -> None:
    """Do what the command line says."""
    module, phase, jobs, output = sys.argv[1:]
    # By its name, so that tasks are called here what they are called in the worker.
    connect = importlib.import_module(f"tests.benchmarks.asynchronous.jobs.{module}").connect

    async def measure() -> dict[str, Any]:
        client: Client = await connect()
        try:
            return await PHASES[phase](client, int(jobs))
        finally:
            await client.close()

    Path(output).write_text(json.dumps(asyncio.run(measure())), encoding="utf-8")


if __name__ == "__main__":
    main()
