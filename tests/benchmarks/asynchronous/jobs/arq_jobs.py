"""arq: ``arq tests.benchmarks.asynchronous.jobs.arq_jobs.WorkerSettings`` is its worker."""

from typing import Any, ClassVar

import uvloop
from arq import ArqRedis, create_pool
from arq.connections import RedisSettings
from arq.jobs import Job

from tests.benchmarks.asynchronous.jobs import client

uvloop.install()

# A line for each job is its default; no system here writes one.
WARNINGS_ONLY: dict[str, Any] = {"version": 1, "disable_existing_loggers": False}
STORE = RedisSettings(unix_socket_path=client.store_socket())


async def noop(_context: Any) -> float:
    """The job."""
    return client.job_started()


class WorkerSettings:
    """Asks for work every 10 ms instead of every 500, 64 jobs at a time instead of 10."""

    functions: ClassVar = [noop]
    redis_settings = STORE
    max_jobs = 64
    poll_delay = 0.01
    log_results = False


class ArqClient:
    """``enqueue_job``, then ``Job.result``."""

    def __init__(self, pool: ArqRedis) -> None:
        self._pool = pool

    async def enqueue(self) -> Job:
        job = await self._pool.enqueue_job("noop")
        if job is None:
            raise RuntimeError("arq did not accept a job")
        return job

    async def result(self, job: Job) -> float:
        found: float = await job.result(client.RESULT_PATIENCE_S, poll_delay=client.POLL_S)
        return found

    async def close(self) -> None:
        await self._pool.aclose()


async def connect() -> ArqClient:
    """A client with a connection."""
    return ArqClient(await create_pool(STORE))
