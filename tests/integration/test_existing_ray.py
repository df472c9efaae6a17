"""A Ray cluster that was started by `ray start`, not by us: deployed to, looked at, left again."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator.cluster import processes
from orchestrator.cluster.dashboard import Dashboard
from orchestrator.cluster.records import TOKEN_VARIABLE, ClusterError
from orchestrator.cluster.settings import serve_settings
from orchestrator.config.store_address import EMBEDDED_VARIABLE
from orchestrator.store.embedded import EmbeddedServer
from tests.integration.test_cluster_life import ROOT
from tests.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

T = TypeVar("T")

FILE = """
cluster: {{name: guest, port: {port}, max_connections: {connections}}}
models:
  echo:
    deployments:
      v1:
        runner: {{type: python, class: "{model}"}}
        resources: {{num_cpus: 0.1}}
    environments:
      production: {{deployment: v1, autoscaling: {{min_replica: 1, max_replica: {most}}}}}
"""


class PlainRay:
    """A head of its own on loopback, with the settings of `serve_settings` but nothing deployed.

    At 127.0.0.1 it stays the only node: Ray takes that address for this machine's public
    one, unless it is told that there are no other machines.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder = folder
        self.address = address
        self.port, self.gcs_port, self.dashboard_port = free_port(), free_port(), free_port()
        self.token = secrets.token_hex(8)
        (folder / "ray_token").write_text(secrets.token_hex(32))
        self.store = EmbeddedServer(folder / "data", folder / "store.sock")
        self.settings = {
            **serve_settings(
                run_directory=folder,
                token=self.token,
                max_connections=64,
                drain_seconds=2,
                longest_request_seconds=2400,
                others=[],
            ),
            EMBEDDED_VARIABLE: self.store.url,
            "PYTHONPATH": str(ROOT),
            # A node that is told to end would drain first; here nobody waits for it.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0" if address == "127.0.0.1" else "1",
        }
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def dashboard(self) -> str:
        return f"http://{self.address}:{self.dashboard_port}"

    @property
    def gcs(self) -> str:
        return f"{self.address}:{self.gcs_port}"

    def start(self) -> None:
        self.store.start()
        self._start_node(
            self.address,
            "--head",
            "--include-dashboard=true",
            f"--port={self.gcs_port}",
            f"--dashboard-host={self.address}",
            f"--dashboard-port={self.dashboard_port}",
            f"--ray-client-server-port={free_port()}",
            f"--temp-dir={self.folder / 'ray'}",
            "--num-cpus=2",
        )
        eventually(self.has_a_node, "the head's node is there")

    def has_a_node(self) -> bool:
        """Whether the dashboard answers and shows one."""
        try:
            return bool(Dashboard(self.dashboard, self.ray_token).nodes())
        except ClusterError:
            return False

    @property
    def ray_token(self) -> str:
        return (self.folder / "ray_token").read_text()

    def add_node(self, address: str, **resources: int) -> None:
        """Another node, which offers what is said."""
        offered = f"--resources={json.dumps(resources)}"
        self._start_node(address, f"--address={self.gcs}", "--num-cpus=1", offered)

    def _start_node(self, address: str, *options: str) -> None:
        with (self.folder / "log").open("ab") as log:
            started = subprocess.Popen(
                [
                    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
                    f"--node-ip-address={address}",
                    f"--dashboard-agent-listen-port={free_port()}",
                    "--object-store-memory=100000000",
                    *options,
                ],
                cwd="/",
                env={**os.environ, **self.settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(started)

    def end(self) -> None:
        left = processes.marked(TOKEN_VARIABLE, self.token)
        left |= processes.with_argument_below(self.folder)
        for started in self._started:
            left |= processes.descendants(started.pid)
            started.terminate()
        stuck = processes.end(left, grace_seconds=10)
        for started in self._started:
            started.wait(10)
        self.store.end()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not stuck

    def deploy_reports(self) -> None:
        """What somebody else runs there: an application of their own."""
        others = {
            "name": "reports",
            "route_prefix": "/reports",
            "import_path": "tests.integration.stand_in_app:build_app",
            "args": {},
            "deployments": [{"name": "Router", "user_config": {"greeting": "not ours"}}],
        }
        Dashboard(self.dashboard, self.ray_token).apply(
            {
                "proxy_location": "EveryNode",
                "http_options": {"host": "127.0.0.1", "port": self.port},
                "applications": [others],
            }
        )
        eventually(lambda: self.ask("/reports"), "the application of others answers")

    def ask(self, path: str, body: object = None) -> Any:
        """The answer of what listens at the public port; None where there is none."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data,
            {"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except OSError:
            return None


class Shell:
    """Runs `orchestrator` as somebody who knows the cluster's token."""

    def __init__(self, ray: PlainRay, directory: Path) -> None:
        self.ray = ray
        self.file = directory / "guest.yaml"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "RAY_AUTH_TOKEN_PATH": ray.settings["RAY_AUTH_TOKEN_PATH"],
            "ORCHESTRATOR_STATE_DIR": str(directory / "state"),
            "COLUMNS": "250",
        }
        self.write()

    def write(
        self,
        *,
        most: int = 1,
        connections: int = 64,
        model: str = "replicas.examples.echo:Echo",
        port: int | None = None,
    ) -> None:
        text = FILE.format(
            port=port or self.ray.port, connections=connections, model=model, most=most
        )
        self.file.write_text(text)

    def __call__(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "orchestrator.cli", *arguments],
            env=self.environment | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def refused(self, *arguments: str, **environment: str) -> str:
        done = self(*arguments, **environment)
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr


def eventually(probe: Callable[[], T | None], what: str, seconds: float = 90.0) -> T:
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := probe()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        pause.wait(0.1)
    return found


@contextmanager
def running(address: str = "127.0.0.1") -> Iterator[PlainRay]:
    # Short: Ray's and HAProxy's sockets lie in it.
    cluster = PlainRay(Path(tempfile.mkdtemp(prefix="ray-")), address)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="module")
def ray() -> Iterator[PlainRay]:
    with running() as cluster:
        yield cluster


@pytest.fixture
def two_nodes() -> Iterator[PlainRay]:
    """At addresses of their own, of which Linux has many on loopback."""
    with running("127.0.0.2") as cluster:
        cluster.add_node("127.0.0.3", spare=1)
        yield cluster


@pytest.fixture
def orchestrator(ray: PlainRay, tmp_path: Path) -> Shell:
    return Shell(ray, tmp_path)


def test_what_a_node_lacks_is_named_before_anything_is_deployed(orchestrator: Shell) -> None:
    orchestrator.write(connections=9999, model="no_such_package.model:Model")
    said = orchestrator.refused("deploy", str(orchestrator.file), "--address", orchestrator.ray.gcs)
    assert "RAY_SERVE_HAPROXY_MAXCONN" in said
    assert "set it to 9999 or more; it is 64" in said
    assert "module no_such_package.model" in said
    assert "127.0.0.1 (" in said


def test_a_wrong_token_and_a_wrong_place_are_told_apart(orchestrator: Shell) -> None:
    file, ray = str(orchestrator.file), orchestrator.ray
    wrong = {"RAY_AUTH_TOKEN": "0" * 64}
    assert "refuses Ray's token" in orchestrator.refused(
        "deploy", file, "--address", ray.dashboard, **wrong
    )
    assert "oken" in orchestrator.refused("deploy", file, "--address", ray.gcs, **wrong)
    nowhere = f"127.0.0.1:{free_port()}"
    assert "nothing answers" in orchestrator.refused(
        "deploy", file, "--address", f"http://{nowhere}"
    )
    assert "no Ray cluster answers" in orchestrator.refused("deploy", file, "--address", nowhere)


def test_as_a_guest_beside_somebody_elses_application(orchestrator: Shell) -> None:
    ray, file = orchestrator.ray, str(orchestrator.file)
    ray.deploy_reports()
    others = ray.ask("/reports")

    orchestrator.write(port=free_port())
    said = orchestrator.refused("deploy", file, "--address", ray.dashboard)
    assert f"Serve runs there with port {ray.port}" in said

    orchestrator.write()
    up = orchestrator("up", file, "--address", ray.dashboard)
    assert up.returncode == 0, up.stderr
    assert f"guest is ready at http://127.0.0.1:{ray.port}" in up.stdout
    assert "others' applications stay as they are: reports" in up.stdout
    predict = "/models/echo/environments/production/predict"
    assert ray.ask(predict, {"hello": "guest"}) == {"hello": "guest"}

    seen = json.loads(orchestrator("nodes", "--address", ray.gcs, "--json").stdout)["nodes"]
    (node,) = seen
    kinds = {part["kind"] for part in node["parts"]}
    assert kinds == {*("controller", "haproxy", "router", "dispatcher", "observatory")} | {
        *("queue", "replica", "other")
    }
    assert (node["head"], node["state"], node["total"]["CPU"]) == (True, "alive", 2.0)
    assert 0 < node["used"]["CPU"] <= 2
    table = orchestrator("nodes", "--address", ray.dashboard).stdout
    assert all(text in table for text in ("alive, head", "queue echo/production", "?/2"))

    orchestrator.write(most=2)
    again = orchestrator("deploy", file, "--address", ray.gcs)
    assert again.returncode == 0, again.stderr
    assert ray.ask(predict, {"hello": "again"}) == {"hello": "again"}
    assert ray.ask("/reports") == others, "deploying restarted what is not ours"

    said = orchestrator.refused("drain", node["address"], "--address", ray.gcs)
    assert "is the only node that stays" in said
    said = orchestrator.refused("drain", node["address"], "--address", ray.dashboard)
    assert "which cannot drain" in said

    left = orchestrator("undeploy", "--address", ray.dashboard)
    assert left.returncode == 0, left.stderr
    assert "dispatcher, echo.production, observatory, router" in left.stdout
    assert "others' stay: reports" in left.stdout
    eventually(lambda: ray.ask(predict, {}) is None, "nothing of ours answers")
    assert ray.ask("/reports") == others, "undeploying ended what is not ours"


# Plays a replica on a node of its own, until a line comes.
BUSY = """
import sys, ray
ray.init(address=sys.argv[1], namespace="serve", log_to_driver=False)
@ray.remote(num_cpus=0, resources={"spare": 1})
class Busy:
    def there(self):
        return ray.get_runtime_context().get_node_id()
busy = Busy.options(name="SERVE_REPLICA::busy.production#Replica#one").remote()
print(ray.get(busy.there.remote()), flush=True)
sys.stdin.readline()
ray.kill(busy)
sys.stdin.readline()
"""


def test_a_node_that_drains_ends_when_what_ran_there_has(
    two_nodes: PlainRay, tmp_path: Path
) -> None:
    ray, orchestrator = two_nodes, Shell(two_nodes, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, ray.gcs],
        env={**os.environ, **ray.settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as busy:
        assert busy.stdin is not None
        assert busy.stdout is not None
        node_id = busy.stdout.readline().strip()
        where = ("127.0.0.3", "--address", ray.gcs)

        def seen() -> dict[str, Any]:
            nodes = json.loads(orchestrator("nodes", "--address", ray.gcs, "--json").stdout)
            return next(node for node in nodes["nodes"] if node["id"] == node_id)

        assert (seen()["state"], seen()["head"]) == ("alive", False)
        assert seen()["parts"] == [{"kind": "replica", "of": "busy/production", "count": 1}]
        said = orchestrator.refused("drain", "--this-node", "--deadline", "9", *where[1:])
        assert "no node of the cluster runs on this machine" in said
        said = orchestrator.refused("drain", "127.0.0.2", "--deadline", "9", *where[1:])
        assert "is the head" in said
        said = orchestrator.refused("drain", *where, "--deadline", "60", "--reason", "scale-in")
        assert "no longer idle; 1 of Serve's processes run there" in said.replace(".;", ";")
        assert seen()["state"] == "alive"

        waiting = subprocess.Popen(
            [
                *(sys.executable, "-m", "orchestrator.cli", "drain", *where),
                *("--deadline", "60", "--wait"),
            ],
            env=orchestrator.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        eventually(lambda: seen()["state"] == "draining", "Ray drains the node")
        assert 0 < seen()["deadline_seconds"] <= 60
        assert waiting.poll() is None, "it did not wait for what runs there"
        busy.stdin.write("\n")
        busy.stdin.flush()
        said, _ = waiting.communicate(timeout=100)
        assert waiting.returncode == 0, said
        assert "is empty" in said
        eventually(lambda: seen()["state"] == "dead", "Ray ends a node that is empty")
        busy.stdin.write("\n")
