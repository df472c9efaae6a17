"""SAQ: ``saq tests.benchmarks.asynchronous.jobs.saq_jobs.settings`` is its worker."""

import asyncio
from typing import Any

import uvloop
from saq import Job, Status
from saq.queue.redis import RedisQueue

from tests.benchmarks.asynchronous.jobs import client

uvloop.install()

queue = RedisQueue.from_url(f"unix://{client.store_socket()}", max_concurrent_ops=client.ENQUEUERS)


async def noop(_context: Any) -> float:
    """The job."""
    return client.job_started()


# Its sweep, every 60 s by default, aborts jobs that a worker has taken but not yet marked active.
settings = {
    "queue": queue,
    "functions": [noop],
    "concurrency": 64,
    "timers": {"sweep": 3600},
}


class SaqClient:
    """``queue.enqueue``, then ``job.refresh`` until it is complete."""

    async def enqueue(self) -> Job:
        job = await queue.enqueue("noop")
        if job is None:
            raise RuntimeError("SAQ did not accept a job")
        return job

    async def result(self, job: Job) -> float:
        async with asyncio.timeout(client.RESULT_PATIENCE_S):
            await job.refresh()
            while not job.completed:
                await asyncio.sleep(client.POLL_S)
                await job.refresh()
        if job.status != Status.COMPLETE:
            raise RuntimeError(f"SAQ did not complete a job: {job.status}: {job.error}")
        return float(job.result)

    async def close(self) -> None:
        await queue.disconnect()


async def connect() -> SaqClient:
    """A client; it connects with its first job."""
    return SaqClient()
