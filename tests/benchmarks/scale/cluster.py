"""A cluster of its own for one section, and what its processes use."""

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
from ruamel.yaml import YAML

from orchestrator.cluster.records import ClusterRecord
from tests.benchmarks.peers.orchestrator import OrchestratorPeer
from tests.benchmarks.processes import cpu_seconds
from tests.ports import free_port

W = TypeVar("W")

POLL_S = 0.2
ROUTERS, DISPATCHERS, QUEUES = "routers", "dispatchers", "queues"
REPLICAS, OBSERVATORY, CONTROLLER = "replicas", "observatory", "controller"
RAY, LOAD_BALANCER, STORE, OTHER = "ray itself", "load balancer", "store", "other"

_TITLES = (
    ("ray::ServeReplica:router:Router", ROUTERS),
    ("ray::ServeReplica:dispatcher:Dispatcher", DISPATCHERS),
    ("ray::ServeReplica:observatory:", OBSERVATORY),
    ("ray::ServeController", CONTROLLER),
)
"""By how a process's command line begins."""

_CONTAINS = (
    ("gcs_server", RAY),
    ("raylet", RAY),
    ("haproxy", LOAD_BALANCER),
    ("HAProxyManager", LOAD_BALANCER),
    ("ProxyActor", LOAD_BALANCER),
    ("valkey", STORE),
    ("ray", RAY),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of one kind use.

    Attributes:
        processes: how many there are.
        cpu_s: processor seconds so far.
        megabytes: memory that is theirs alone (USS), 1 MB = 1,000,000 bytes.
    """

    processes: int = 0
    cpu_s: float = 0.0
    megabytes: float = 0.0


class ScaleCluster(OrchestratorPeer):
    """`orchestrator up` with a config that is made for the purpose."""

    name = "scale"
    label = "orchestrator"
    start_timeout_s = 300.0

    def __init__(self, logs: Path, config: dict[str, Any]) -> None:
        super().__init__(logs)
        self._config = config

    def launch(self) -> None:
        """Bring it up detached."""
        self._port = free_port()
        self._config = {
            **self._config,
            "cluster": {
                "name": f"scale-{self._port}",
                "port": self._port,
                **self._config.get("cluster", {}),
            },
        }
        self._run("up", self._written(), "--detach")
        self._up = True

    def start(self) -> None:
        """Start, and wait for nothing but the router."""
        self.launch()

    def change(self, changes: Mapping[str, Any]) -> None:
        """Deploy the config with other sections."""
        self._config = {**self._config, **changes}
        self._run("deploy", self._written())

    def record(self) -> ClusterRecord:
        """What is written down about it."""
        (path,) = (self.folder / "state").glob("*/cluster.json")
        return msgspec.json.decode(path.read_bytes(), type=ClusterRecord)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    def ask(self, path: str) -> Any:
        """The JSON that a GET answers; None where that is no 200."""
        url = f"http://127.0.0.1:{self._port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.loads(response.read())
        except (urllib.error.HTTPError, OSError, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            return None

    def wait_until(self, condition: Callable[[], object], what: str, *, seconds: float) -> float:
        """Wait; gives the seconds that it took, or raises ``PeerError``."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise self.failure(f"not within {seconds:g} s: {what}")
            time.sleep(POLL_S)
        return time.monotonic() - began

    def wait_for_count(self, kind: str, count: int, *, seconds: float = 120.0) -> None:
        """Wait until there are so many processes of a kind."""
        what = f"{count} {kind}"
        self.wait_until(lambda: len(self.of_kind(kind)) == count, what, seconds=seconds)

    def of_kind(self, kind: str) -> list[psutil.Process]:
        """Its live processes of a kind."""
        return [process for process in self.processes.members() if kind_of(process) == kind]

    def usage(self, *, memory: bool = True) -> dict[str, Usage]:
        """What each kind of its processes has used so far."""
        found: dict[str, Usage] = defaultdict(Usage)
        for process in self.processes.members():
            kind, had = kind_of(process), 0.0
            with contextlib.suppress(psutil.Error):
                had = process.memory_full_info().uss / 1e6 if memory else 0.0
            old = found[kind]
            found[kind] = Usage(
                old.processes + 1, old.cpu_s + cpu_seconds(process), old.megabytes + had
            )
        return dict(found)

    def cost_of(self, work: Callable[[], W], kinds: Sequence[str]) -> tuple[W, dict[str, float]]:
        """What some work gives, and the processor seconds that each kind of process spent on it."""
        before = self.usage(memory=False)
        done = work()
        after = self.usage(memory=False)
        none = Usage()
        return done, {
            kind: after.get(kind, none).cpu_s - before.get(kind, none).cpu_s for kind in kinds
        }

    def _written(self) -> str:
        path = self.folder / "scale.yaml"
        with path.open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(self._config, file)
        return str(path)


def kind_of(process: psutil.Process) -> str:
    """Which part a process is."""
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return OTHER
    for title, kind in _TITLES:
        if command.startswith(title):
            return kind
    if command.startswith("ray::ServeReplica:"):
        return QUEUES if ":Queue" in command else REPLICAS
    return next((kind for part, kind in _CONTAINS if part in command), OTHER)


def model(
    concurrency: int = 64, *, class_path: str = "replicas.examples.echo:Echo", replicas: int = 1
) -> dict[str, Any]:
    """A model's section: so many replicas, always; none: it sleeps until it is called."""
    scaling = {"min_replica": replicas, "max_replica": max(1, replicas)}
    return {
        "deployments": {
            "v1": {
                "runner": {"type": "python", "class": class_path},
                "resources": {"num_cpus": 0.1},
                "concurrency": concurrency,
            }
        },
        "environments": {"production": {"deployment": "v1", "autoscaling": scaling}},
    }
