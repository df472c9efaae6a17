"""Celery: ``celery --app tests.benchmarks.asynchronous.jobs.celery_jobs worker``."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from celery import Celery
from celery.result import AsyncResult

from tests.benchmarks.asynchronous.jobs import client

# More of them do not enqueue faster. Results are read on one thread, because they all come over
# one connection that the readers would have to share.
ENQUEUING_THREADS = 4
URL = f"redis+socket://{client.store_socket()}"

app = Celery("benchmark", broker=URL, backend=URL)
app.conf.update(
    worker_prefetch_multiplier=64,
    broker_pool_limit=ENQUEUING_THREADS,
    result_expires=3600,
)


@app.task
def noop() -> float:
    """The job."""
    return client.job_started()


class CeleryClient:
    """``delay``, then ``get``. Both block, so they run on threads."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._enqueuing = ThreadPoolExecutor(ENQUEUING_THREADS)
        self._reading = ThreadPoolExecutor(1)

    async def enqueue(self) -> AsyncResult:
        return await self._loop.run_in_executor(self._enqueuing, noop.delay)

    async def result(self, job: AsyncResult) -> float:
        found = await self._loop.run_in_executor(self._reading, job.get, client.RESULT_PATIENCE_S)
        return float(found)

    async def close(self) -> None:
        self._enqueuing.shutdown()
        self._reading.shutdown()


async def connect() -> CeleryClient:
    """A client; it connects with its first job."""
    return CeleryClient()
