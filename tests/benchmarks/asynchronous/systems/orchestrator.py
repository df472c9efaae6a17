"""This project: a cluster with one dispatcher, through its HTTP interface."""

import contextlib
import json
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from ruamel.yaml import YAML

from tests.benchmarks.asynchronous.http_load import PATIENCE_S, Batch, idle_starts, submit
from tests.benchmarks.asynchronous.jobs.client import WARM_UP_JOBS
from tests.benchmarks.asynchronous.metrics import (
    ACCEPTED,
    ACCEPTED_RUNNING,
    COMPLETED,
    COMPLETED_WEBHOOK,
    IDLE_START,
    Amounts,
    Figure,
)
from tests.benchmarks.asynchronous.systems.base import POLL_S, System
from tests.benchmarks.peers.base import PeerError, post
from tests.benchmarks.wrk import LoadGeneratorError, find_wrk
from tests.ports import free_port

CONFIG = Path(__file__).parents[1] / "cluster.yaml"
COMMAND = str(Path(sys.executable).parent / "orchestrator")
RUNS, WAITS = "noop", "held"
UP_PATIENCE_S = 180.0
DOWN_PATIENCE_S = 60.0
RECEIVER = "tests.benchmarks.asynchronous.receiver"


class OrchestratorSystem(System):
    """One router, one dispatcher, one replica of the no-op model with 64 slots."""

    name = "orchestrator"
    label = "orchestrator"
    stop_patience_s = 20.0

    def __init__(self, logs: Path) -> None:
        super().__init__(logs)
        self._wrk = ""
        self._port = 0
        self._folder: Path | None = None
        self._up = False

    def prepare(self) -> None:
        """Find the load generator; raises ``LoadGeneratorError``."""
        self._wrk = find_wrk()

    def version(self) -> str:
        return version("orchestrator-serve")

    def visit(self, amounts: Amounts) -> Iterator[Figure]:
        """Reading results first, then webhooks, single requests, and accepting alone."""
        self._start()
        jobs = amounts.jobs
        warm_up = min(jobs, WARM_UP_JOBS)
        self._submit(RUNS, warm_up, read_results=True)
        batch = self._submit(RUNS, jobs, read_results=True)
        yield Figure(ACCEPTED_RUNNING, jobs / (batch.all_accepted - batch.began))
        yield Figure(COMPLETED, jobs / (batch.finished - batch.began))
        receiver = self._start_receiver()
        self._deliver(f"{receiver}/warm-up", warm_up)
        yield Figure(COMPLETED_WEBHOOK, jobs / self._deliver(f"{receiver}/batch", jobs))
        starts = idle_starts(self._port, path(RUNS), amounts.idle_jobs)
        yield Figure(IDLE_START, 1000 * median(starts))
        self._submit(WAITS, warm_up)
        batch = self._submit(WAITS, jobs)
        yield Figure(ACCEPTED, jobs / (batch.all_accepted - batch.began))

    def stop(self) -> list[int]:
        """``orchestrator down``, then whatever it left, then its store."""
        try:
            if self._folder is not None:
                with contextlib.nullcontext() if self._up else contextlib.suppress(PeerError):
                    self._orchestrator("down", patience_s=DOWN_PATIENCE_S)
        finally:
            self._keep_logs()
            self._up, self._folder = False, None
            killed = super().stop()
        return killed

    def _start(self) -> None:
        """A cluster that has answered."""
        store = self.new_store()
        self._folder = self.new_folder()
        self._port = free_port()
        config = self._folder / "cluster.yaml"
        write_config(config, self._port, store.url)
        self._orchestrator("up", str(config), "--detach", patience_s=UP_PATIENCE_S)
        self._up = True
        for model in (RUNS, WAITS):
            self._await_answer(model)
        # Deliveries are signed, as they are in earnest.
        self._ask("POST", "/api/v1/webhook_secrets")

    def _await_answer(self, model: str) -> None:
        url = f"http://127.0.0.1:{self._port}/models/{model}/production/predict"
        deadline = time.monotonic() + UP_PATIENCE_S
        seen = "nothing was asked yet"
        while time.monotonic() < deadline:
            answer, seen = post(url, "{}")
            if isinstance(answer, dict) and "started" in answer:
                return
            time.sleep(POLL_S)
        raise self.failure(f"no right answer of {model} after {UP_PATIENCE_S:g} s ({seen})")

    def _submit(
        self, model: str, jobs: int, *, webhook: str | None = None, read_results: bool = False
    ) -> Batch:
        body: dict[str, object] = {"model_input": {}}
        if webhook is not None:
            body["webhook_endpoint"] = webhook
        url = f"http://127.0.0.1:{self._port}{path(model)}"
        try:
            return submit(self._wrk, url, body, jobs=jobs, read_results=read_results)
        except LoadGeneratorError as error:
            raise self.failure(str(error)) from error

    def _start_receiver(self) -> str:
        """Address of a receiver that listens."""
        port = free_port()
        child = self.start([sys.executable, "-m", RECEIVER, str(port)])
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + UP_PATIENCE_S
        while child.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                get(f"{url}/ready")
                return url
            time.sleep(POLL_S)
        raise self.failure("the webhook receiver does not listen")

    def _deliver(self, webhook: str, jobs: int) -> float:
        """Seconds from the first submission to the last webhook of ``jobs``."""
        batch = self._submit(RUNS, jobs, webhook=webhook)
        deadline = time.monotonic() + PATIENCE_S
        while (seen := get(webhook))["requests"] < jobs:
            if time.monotonic() > deadline:
                raise self.failure(f"of {jobs} webhooks {seen['requests']} were delivered")
            time.sleep(POLL_S)
        return float(seen["last"]) - batch.began

    def _ask(self, method: str, where: str) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{where}", method=method)
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError as error:
            with error:
                raise self.failure(
                    f"{method} {where}: status {error.code}: {error.read()[:300]!r}"
                ) from error
        except OSError as error:
            raise self.failure(f"{method} {where}: {error}") from error

    def _orchestrator(self, *arguments: str, patience_s: float) -> None:
        state = {"ORCHESTRATOR_STATE_DIR": str(self._state)}
        self.finish(self.start([COMMAND, *arguments], state), patience_s=patience_s)

    @property
    def _state(self) -> Path:
        if self._folder is None:
            raise RuntimeError("the cluster has no folder: it was not started")
        return self._folder / "state"

    def _keep_logs(self) -> None:
        """Copy the cluster's own logs beside the command's; its folder goes with ``stop``."""
        if self._folder is not None:
            for log in self._state.glob("*/*.log"):
                shutil.copy(log, self.processes.log_path.with_name(f"async-{self.name}-{log.name}"))


def path(model: str) -> str:
    """Where requests of ``model`` are handed in."""
    return f"/models/{model}/production/async_predict"


def get(url: str) -> dict[str, Any]:
    """The receiver's JSON answer; raises ``OSError``."""
    with urllib.request.urlopen(url, timeout=10) as response:
        answer: dict[str, Any] = json.loads(response.read())
    return answer


def write_config(target: Path, port: int, store: str) -> None:
    """``cluster.yaml`` with this port and store and a name that no other cluster has."""
    yaml = YAML()
    document = yaml.load(CONFIG.read_text(encoding="utf-8"))
    document["cluster"]["port"] = port
    document["cluster"]["name"] = f"bench-async-{port}"
    document["store"] = store
    with target.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
