"""taskiq: ``taskiq worker tests.benchmarks.asynchronous.jobs.taskiq_jobs:broker``."""

import uvloop
from taskiq import AsyncTaskiqTask
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from tests.benchmarks.asynchronous.jobs import client

uvloop.install()

URL = f"unix://{client.store_socket()}"
# The broker that acknowledges: what a dead worker held is run again, as with ours.
broker = (
    RedisStreamBroker(URL, consumer_id="0")
    .with_result_backend(
        RedisAsyncResultBackend(URL, result_ex_time=3600, serializer=ORJSONSerializer())
    )
    .with_serializer(ORJSONSerializer())
)


@broker.task
async def noop() -> float:
    """The job."""
    return client.job_started()


class TaskiqClient:
    """``kiq``, then ``wait_result``."""

    async def enqueue(self) -> AsyncTaskiqTask[float]:
        return await noop.kiq()

    async def result(self, job: AsyncTaskiqTask[float]) -> float:
        found = await job.wait_result(
            check_interval=client.POLL_S, timeout=client.RESULT_PATIENCE_S
        )
        found.raise_for_error()
        return float(found.return_value)

    async def close(self) -> None:
        await broker.shutdown()


async def connect() -> TaskiqClient:
    """A client that has declared the stream."""
    await broker.startup()
    return TaskiqClient()
