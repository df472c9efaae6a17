"""The peers: job queues for Python on Redis, each in an environment of its own.

They need releases of redis-py that exclude each other: SAQ < 8, arq < 6, taskiq ≥ 8. Each has
one worker process and one client process, at their documented settings for speed.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

from orchestrator.store.embedded import EmbeddedServer
from tests.benchmarks.asynchronous.jobs.client import STORE_VARIABLE
from tests.benchmarks.asynchronous.metrics import (
    ACCEPTED,
    ACCEPTED_RUNNING,
    COMPLETED,
    IDLE_START,
    Amounts,
    Figure,
)
from tests.benchmarks.asynchronous.systems.base import System
from tests.benchmarks.environments import Environment

MODULES = "tests.benchmarks.asynchronous.jobs"
# What redis-py reads answers with when it is there.
HIREDIS = "hiredis==3.5.0"
# The event loop of the asynchronous ones.
UVLOOP = "uvloop==0.23.0"


class QueueSystem(System):
    """One worker, and a client for each measurement.

    Attributes:
        release: version under test.
        requirements: exact ones, of its environment.
        worker: arguments of its interpreter that start its worker.
    """

    release: ClassVar[str]
    requirements: ClassVar[Sequence[str]]
    worker: ClassVar[Sequence[str]]

    def __init__(self, logs: Path) -> None:
        super().__init__(logs)
        self._environment = Environment(self.name, self.requirements)

    def prepare(self) -> None:
        """Make its environment; raises ``PeerError``."""
        self._environment.prepare()

    def version(self) -> str:
        return self.release

    def visit(self, amounts: Amounts) -> Iterator[Figure]:
        """Accepting without a worker first; then a store anew, with one."""
        accepted = self._client(self.new_store(), "accept", amounts.jobs)
        yield Figure(ACCEPTED, amounts.jobs / accepted["accepted_s"])
        store = self.new_store()
        worker = self._run(store, *self.worker)
        batch = self._client(store, "run", amounts.jobs, worker)
        yield Figure(ACCEPTED_RUNNING, amounts.jobs / batch["accepted_s"])
        yield Figure(COMPLETED, amounts.jobs / batch["completed_s"])
        singles = self._client(store, "idle", amounts.idle_jobs, worker)
        yield Figure(IDLE_START, 1000 * median(singles["starts_s"]))

    def _client(
        self, store: EmbeddedServer, phase: str, jobs: int, *needs: subprocess.Popen[bytes]
    ) -> dict[str, Any]:
        """What the client saw in one phase."""
        output = self.new_folder() / "seen.json"
        arguments = (f"{MODULES}.client", f"{self.name}_jobs", phase, str(jobs), str(output))
        self.finish(self._run(store, "-m", *arguments), *needs)
        seen: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        return seen

    def _run(self, store: EmbeddedServer, *arguments: str) -> subprocess.Popen[bytes]:
        socket = store.url.removeprefix("unix://")
        return self.start([self._environment.python, *arguments], {STORE_VARIABLE: socket})


class SaqSystem(QueueSystem):
    """64 jobs at a time."""

    name = "saq"
    label = "SAQ"
    release = "0.26.4"
    # It imports typing_extensions and does not say that it needs them.
    requirements = (
        f"saq[redis]=={release}",
        "redis==7.4.1",
        "typing_extensions==4.16.0",
        HIREDIS,
        UVLOOP,
    )
    worker = ("-m", "saq", f"{MODULES}.saq_jobs.settings", "--quiet")


class ArqSystem(QueueSystem):
    """64 jobs at a time; asks for new ones every 10 ms."""

    name = "arq"
    label = "arq"
    release = "0.28.0"
    requirements = (f"arq=={release}", "redis==5.3.1", HIREDIS, UVLOOP)
    # fmt: off
    worker = (
        "-m", "arq", f"{MODULES}.arq_jobs.WorkerSettings",
        "--custom-log-dict", f"{MODULES}.arq_jobs.WARNINGS_ONLY",
    )
    # fmt: on


class TaskiqSystem(QueueSystem):
    """100 jobs at a time (its default), acknowledged after their results are stored."""

    name = "taskiq"
    label = "taskiq + taskiq-redis"
    release = "0.13.0"
    # fmt: off
    requirements = (
        f"taskiq[orjson]=={release}", "taskiq-redis==1.2.4", "redis==8.1.0", "orjson==3.13.0",
        HIREDIS, UVLOOP,
    )
    worker = (
        "-m", "taskiq", "worker", f"{MODULES}.taskiq_jobs:broker",
        "--workers", "1", "--log-level", "WARNING",
    )
    # fmt: on

    def version(self) -> str:
        return f"{self.release}, 1.2.4"


class CelerySystem(QueueSystem):
    """16 threads in one process, without what only several workers need."""

    name = "celery"
    label = "Celery"
    release = "5.7.0"
    requirements = (f"celery[redis]=={release}", "kombu==5.7.0", "redis==8.1.0", HIREDIS)
    # fmt: off
    worker = (
        "-m", "celery", "--app", f"{MODULES}.celery_jobs", "worker",
        "--pool", "threads", "--concurrency", "16", "--loglevel", "WARNING",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    )
    # fmt: on
