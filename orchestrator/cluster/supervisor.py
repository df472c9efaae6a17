"""The process that a local cluster lives and ends with.

    python -m orchestrator.cluster.supervisor NAME

reads the plan that `orchestrator.cluster.local.start` left in the cluster's folder,
starts the embedded store where the cluster has one, Ray and Serve below itself,
reports how far it came in the cluster's record, waits for SIGTERM or SIGINT, and
ends everything that it started, the store last. The settings of Ray Serve are in its
environment already: they are read when ray is imported, which is why that happens
late and only here.
"""

import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.cluster import gcs_store, keeping, records, storage, ticket
from orchestrator.cluster.gcs_keeper import GcsKeeper
from orchestrator.cluster.keeping import DRAIN_GRACE_SECONDS, Keeper, handle_stop_signals
from orchestrator.cluster.records import ClusterError, Phase
from orchestrator.cluster.settings import RAY_TOKEN
from orchestrator.cluster.store_keeper import StoreKeeper
from orchestrator.cluster.ticket import Ticket
from orchestrator.store.embedded import EmbeddedServerError

ROUTER_APPLICATION = "router"

OBJECT_STORE_BYTES = 200_000_000
"""Nothing large passes through Ray's object store here; its default is a third of the memory."""

_POLL_SECONDS = 0.1


class Plan(keeping.Plan, frozen=True, kw_only=True):
    """What to start. `serve` is a `ServeDeploySchema` as a dict."""

    serve: dict[str, Any]
    embedded_store: bool
    cpus: int
    gpus: int | None
    node_ip: str
    ready_seconds: float
    labels: dict[str, str]
    resources: dict[str, float]
    gcs_store: str | None = None
    ticket: Ticket | None = None  # for others to join with, but for what is known later
    secret_file: str | None = None


class Supervisor(Keeper):
    """Starts one cluster, watches over its processes, ends it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.record)
        self._plan = plan
        self._client: Any = None
        self._store: StoreKeeper | None = None
        self._gcs: GcsKeeper | None = None
        self._secret = b""

    def start(self) -> None:
        """Start the store, Ray and Serve, and wait until a router answers."""
        self.report(phase=Phase.STARTING)
        self._start_store()
        self.proceed()
        self._start_ray()
        self.proceed()
        self._deploy()
        self._await_ready()
        self._write_ticket()
        self.report(phase=Phase.READY)

    def watch(self) -> None:
        """Keep the record, Ray's control service and what others join with up."""
        super().watch()
        if self._gcs is not None:
            self._gcs.look()
        self._write_ticket()

    def end_in_order(self) -> None:
        """End Serve, Ray and the store."""
        if "ray" in sys.modules:
            import ray  # noqa: PLC0415

            if self._client is not None:
                self._client.shutdown(timeout_s=DRAIN_GRACE_SECONDS)
            ray.shutdown()
            if self._plan.gcs_store is not None:
                gcs_store.forget(self._plan.gcs_store, self.record.token, os.environ)
        if self._store is not None:
            self._store.end()

    def _start_store(self) -> None:
        """Start the embedded store; its address is in the environment that Ray inherits."""
        if not self._plan.embedded_store:
            return
        run_directory = Path(self.record.run_directory)
        self._store = StoreKeeper(storage.embedded_server(self.record.name, run_directory))
        try:
            self._store.start()
        except EmbeddedServerError as error:
            raise ClusterError(str(error)) from error
        self.survey()

    def _start_ray(self) -> None:
        credentials: dict[str, Any] = {}
        if self._plan.gcs_store is not None:
            server = gcs_store.server_at(self._plan.gcs_store, os.environ)
            os.environ |= server.variables(self.record.token)
            credentials = server.credentials()
        import ray  # noqa: PLC0415  # reads its settings when imported

        try:
            ray.init(
                address="local",
                namespace="serve",
                num_cpus=self._plan.cpus,
                num_gpus=self._plan.gpus,
                resources=self._plan.resources or None,
                labels=self._plan.labels or None,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                _node_ip_address=self._plan.node_ip,
                _temp_dir=str(Path(self.record.run_directory) / "ray"),
                **credentials,
            )
        finally:
            handle_stop_signals(self)  # Ray put its own in their place
        if self._plan.gcs_store is not None:
            self._gcs = GcsKeeper()
        self.report(gcs_address=ray.get_runtime_context().gcs_address)

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
        self.proceed()
        self._client.deploy_apps(schema)

    def _await_ready(self) -> None:
        """Wait for the router's own word that it can take requests."""
        deadline = time.monotonic() + self._plan.ready_seconds
        answer = "no answer"
        while time.monotonic() < deadline:
            self.survey()
            require_router_deployed()
            answer = readiness(self.record.url)
            if answer == "":
                return
            self.proceed(_POLL_SECONDS)
        raise ClusterError(
            f"{self.record.url}/readyz did not answer 200 within "
            f"{self._plan.ready_seconds:.0f} s: {answer}"
        )

    def _write_ticket(self) -> None:
        """Write what others join with, and again when the secret has changed."""
        if self._plan.ticket is None or self._plan.secret_file is None:
            return
        try:
            secret = Path(self._plan.secret_file).read_bytes()
        except OSError:  # it is just being replaced
            return
        if secret == self._secret:
            return
        self._secret = secret
        token = Path(self.record.run_directory) / RAY_TOKEN
        whole = msgspec.structs.replace(
            self._plan.ticket,
            gcs_address=self.record.gcs_address or "",
            ray_token=token.read_text(encoding="ascii"),
            cluster_secret=secret.decode(),
        )
        records.write_json(records.folder_of(self.record.name) / ticket.FILE, whole)


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


if __name__ == "__main__":
    sys.exit(keeping.keep(sys.argv[1], Plan, Supervisor))
