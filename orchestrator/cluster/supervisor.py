"""The process that a local cluster lives and ends with.

    python -m orchestrator.cluster.supervisor NAME

reads the plan that `orchestrator.cluster.local.start` left in the cluster's folder,
starts the embedded store where the cluster has one, Ray and Serve below itself,
reports how far it came in the cluster's record, waits for SIGTERM or SIGINT, and
ends everything that it started, the store last. The settings of Ray Serve are in its environment already: they are read when ray is
imported, which is why that happens late and only here.
"""

import fcntl
import logging
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from orchestrator.cluster import processes, records, storage
from orchestrator.cluster.records import ClusterError, ClusterRecord, Phase
from orchestrator.cluster.settings import TOKEN_VARIABLE
from orchestrator.cluster.store_keeper import StoreKeeper
from orchestrator.store.embedded import EmbeddedServerError

log = logging.getLogger("orchestrator.cluster.supervisor")

ROUTER_APPLICATION = "router"

DRAIN_GRACE_SECONDS = 15.0
"""How long requests in flight may go on when a cluster is ended."""

END_GRACE_SECONDS = 5.0
"""How long a process that is left over has between SIGTERM and SIGKILL."""

_POLL_SECONDS = 0.1
_SURVEY_SECONDS = 1.0
# Nothing large passes through Ray's object store here; its default is a third
# of the machine's memory.
_OBJECT_STORE_BYTES = 200_000_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to start. `serve` is a `ServeDeploySchema` as a dict."""

    record: ClusterRecord
    serve: dict[str, Any]
    embedded_store: bool
    cpus: int
    gpus: int | None
    node_ip: str | None
    ready_seconds: float
    parent: int | None  # end when this process does; None: go on without it


class Stopped(Exception):  # noqa: N818  # not an error: somebody asked for it
    """SIGTERM or SIGINT came while the cluster was being started."""


class Supervisor:
    """Starts one cluster, watches over its processes, ends it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._record = plan.record
        self._started: set[processes.ProcessId] = set()
        self._stop = threading.Event()
        self._client: Any = None
        self._store: StoreKeeper | None = None

    def run(self) -> int:
        """The whole life of the cluster; the exit status."""
        error: str | None = None
        try:
            self._start()
            self._watch()
        except Stopped:
            log.info("asked to stop while starting")
        except ClusterError as failure:
            error = str(failure)
        except Exception as failure:  # whatever Ray raises is a reason to end what it started
            log.exception("the cluster could not be started")
            error = f"{type(failure).__name__}: {failure}"
        if error is not None:
            self._report(phase=Phase.FAILED, error=error)
        self._end()
        return 0 if error is None else 1

    def request_stop(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Signal handler: end the cluster at the next opportunity."""
        self._stop.set()

    def _start(self) -> None:
        self._report(phase=Phase.STARTING)
        self._start_store()
        self._proceed()
        import ray  # noqa: PLC0415  # reads its settings when imported

        ray.init(
            address="local",
            namespace="serve",
            num_cpus=self._plan.cpus,
            num_gpus=self._plan.gpus,
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address=self._plan.node_ip,
            _temp_dir=str(Path(self._record.run_directory) / "ray"),
        )
        handle_stop_signals(self)  # Ray put its own in their place
        self._proceed()
        self._report(gcs_address=ray.get_runtime_context().gcs_address)
        self._deploy()
        self._await_ready()
        self._report(phase=Phase.READY)

    def _start_store(self) -> None:
        """Start the embedded store; its address is in the environment that Ray inherits."""
        if not self._plan.embedded_store:
            return
        run_directory = Path(self._record.run_directory)
        self._store = StoreKeeper(storage.embedded_server(self._record.name, run_directory))
        try:
            self._store.start()
        except EmbeddedServerError as error:
            raise ClusterError(str(error)) from error
        self._survey()

    def _deploy(self) -> None:
        from ray import serve  # noqa: PLC0415
        from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415

        schema = ServeDeploySchema.model_validate(self._plan.serve)
        self._client = serve_client(
            lambda: serve.start(
                proxy_location=schema.proxy_location,
                http_options=schema.http_options.model_dump(),
            )
        )
        self._proceed()
        self._client.deploy_apps(schema)

    def _await_ready(self) -> None:
        """Wait for the router's own word that it can take requests."""
        deadline = time.monotonic() + self._plan.ready_seconds
        answer = "no answer"
        while time.monotonic() < deadline:
            self._proceed()
            self._survey()
            require_router_deployed()
            answer = readiness(self._record.url)
            if answer == "":
                return
            self._stop.wait(_POLL_SECONDS)
        raise ClusterError(
            f"{self._record.url}/readyz did not answer 200 within "
            f"{self._plan.ready_seconds:.0f} s: {answer}"
        )

    def _watch(self) -> None:
        """Keep the record of what was started true until somebody asks to stop."""
        while not self._stop.wait(_SURVEY_SECONDS):
            self._survey()

    def _survey(self) -> None:
        processes.reap_zombies()
        below = processes.descendants(os.getpid())
        known = {process for process in self._started if processes.alive(process)}
        if below | known != self._started:
            self._started = below | known
            records.write_processes(self._record.name, self._started)

    def _end(self) -> None:
        """End Serve, Ray and the store in order, then whatever of them is left, by id."""
        log.info("ending")
        self._survey()
        if self._record.phase is not Phase.FAILED:
            self._report(phase=Phase.STOPPING)
        overdue = threading.Timer(DRAIN_GRACE_SECONDS + 15, self._kill_all)
        overdue.daemon = True
        overdue.start()
        try:
            self._end_in_order()
        except Exception:  # the rest is ended by id all the same
            log.exception("Ray did not end in order")
        if self._store is not None:
            self._store.end()
        overdue.cancel()
        left = self._started | leftovers(self._record) | processes.descendants(os.getpid())
        left = {process for process in left - {self._record.supervisor} if processes.alive(process)}
        log.info("Ray has ended; %d processes are left over", len(left))
        stuck = processes.end(left, grace_seconds=END_GRACE_SECONDS)
        processes.reap_zombies()
        log.info("ended")
        if stuck:
            log.error("could not end %s", sorted(process.pid for process in stuck))
            records.write_processes(self._record.name, stuck)

    def _end_in_order(self) -> None:
        if "ray" not in sys.modules:
            return
        import ray  # noqa: PLC0415

        if self._client is not None:
            self._client.shutdown(timeout_s=DRAIN_GRACE_SECONDS)
        ray.shutdown()

    def _kill_all(self) -> None:
        for process in processes.descendants(os.getpid()) | self._started:
            processes.send(process, signal.SIGKILL)

    def _proceed(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _report(self, **changes: Any) -> None:
        self._record = msgspec.structs.replace(self._record, **changes)
        records.write(self._record)


def leftovers(record: ClusterRecord) -> set[processes.ProcessId]:
    """Processes of a cluster that are told by what they were started with.

    Its token is in the environment of each, and HAProxy, which outlives the
    actor that started it, has its config file in the cluster's own directory.
    """
    found = processes.marked(TOKEN_VARIABLE, record.token)
    found |= processes.with_argument_below(Path(record.run_directory))
    return found - {record.supervisor}


def serve_client(connect: Any) -> Any:
    """Connect to Serve and give its controller client, through which configs are applied."""
    from ray.serve.context import _get_global_client  # noqa: PLC0415

    connect()
    return _get_global_client()


def require_router_deployed() -> None:
    """Raise ClusterError when Serve has given up on the router's application."""
    from ray import serve  # noqa: PLC0415

    router = serve.status().applications.get(ROUTER_APPLICATION)
    if router is not None and router.status in {"DEPLOY_FAILED", "UNHEALTHY"}:
        raise ClusterError(f"the router could not be deployed: {router.message.strip()}")


def readiness(url: str) -> str:
    """Empty when `url`/readyz answers 200, else what it said instead."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310  # http
            return "" if answer.status == 200 else f"status {answer.status}"
    except urllib.error.HTTPError as error:
        return f"status {error.code}: {error.read(500).decode(errors='replace').strip()}"
    except OSError as error:
        return str(error)


def handle_stop_signals(supervisor: Supervisor) -> None:
    """Let SIGTERM and SIGINT ask `supervisor` to end the cluster."""
    signal.signal(signal.SIGTERM, supervisor.request_stop)
    signal.signal(signal.SIGINT, supervisor.request_stop)


def main(name: str) -> int:
    """Run the supervisor of the cluster `name`; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = records.folder_of(name)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("another supervisor of %s holds %s", name, lock.name)  # noqa: TRY400
            return 2
        plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)
        me = processes.identify(os.getpid())
        if me is None:
            raise RuntimeError("/proc does not know this process")
        record = msgspec.structs.replace(plan.record, supervisor=me)
        supervisor = Supervisor(msgspec.structs.replace(plan, record=record))
        handle_stop_signals(supervisor)
        processes.adopt_orphans()
        if plan.parent is not None:
            processes.end_with_parent(plan.parent)
        return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
