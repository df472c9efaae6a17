"""The process that a node which joined a cluster lives and ends with.

    python -m orchestrator.cluster.node_supervisor NAME

reads the plan that `orchestrator.cluster.joining.join` left in the node's folder, starts
a Ray node below itself, waits for SIGTERM or SIGINT, and ends everything that it started.
On its way out Ray drains the node: what runs there has `DRAIN_GRACE_SECONDS` to finish.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from orchestrator.cluster import keeping
from orchestrator.cluster.keeping import DRAIN_GRACE_SECONDS, Keeper, handle_stop_signals
from orchestrator.cluster.records import ClusterError, Phase
from orchestrator.cluster.supervisor import OBJECT_STORE_BYTES

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.2
_LAST_LINES = 15


class Plan(keeping.Plan, frozen=True, kw_only=True):
    """The node to start."""

    gcs_address: str
    node_ip: str
    cpus: int | None
    gpus: int | None
    labels: dict[str, str]
    resources: dict[str, float]
    ready_seconds: float


class NodeSupervisor(Keeper):
    """Starts one Ray node, watches over its processes, ends it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.record)
        self._plan = plan
        self._ray: subprocess.Popen[bytes] | None = None
        self._output = Path(plan.record.run_directory) / "ray.log"

    def start(self) -> None:
        """Start the node, and wait until the cluster's control service knows it."""
        self.report(phase=Phase.STARTING)
        control = _Control(self._plan.gcs_address)
        handle_stop_signals(self)
        self.proceed()
        with self._output.open("wb") as output:
            self._ray = subprocess.Popen(  # noqa: S603  # Ray's own command
                _ray_start(self._plan, Path(self.record.run_directory) / "ray"),
                env=os.environ
                | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(DRAIN_GRACE_SECONDS)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._await_joined(control)
        self.report(phase=Phase.READY, gcs_address=self._plan.gcs_address)

    def watch(self) -> None:
        """Keep the record true; ClusterError when the node has ended."""
        super().watch()
        self._require_node()

    def end_in_order(self) -> None:
        """Let Ray drain the node and end it."""
        if self._ray is None or self._ray.poll() is not None:
            return
        self._ray.terminate()
        try:
            self._ray.wait(DRAIN_GRACE_SECONDS + keeping.END_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._ray.kill()
            self._ray.wait()

    def _await_joined(self, control: "_Control") -> None:
        deadline = time.monotonic() + self._plan.ready_seconds
        while not control.knows(self._plan.node_ip, self.record.run_directory):
            self.survey()
            self._require_node()
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the cluster at {self._plan.gcs_address} did not take the node within "
                    f"{self._plan.ready_seconds:.0f} s; the last lines of Ray's:\n{self._said()}"
                )
            self.proceed(_POLL_SECONDS)

    def _require_node(self) -> None:
        if self._ray is not None and self._ray.poll() is not None:
            raise ClusterError(
                f"Ray's node has ended with status {self._ray.returncode}: the cluster's control "
                "service gave it up or cannot be reached, or one of its processes died; its last "
                f"lines:\n{self._said()}"
            )

    def _said(self) -> str:
        lines = self._output.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([line for line in lines if line.strip()][-_LAST_LINES:])


class _Control:
    """The cluster's control service, asked directly: there is no node here yet."""

    def __init__(self, address: str) -> None:
        """Connects.

        Raises:
            ClusterError: it cannot be reached, or does not take this machine's token.
        """
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        except OSError as error:
            raise ClusterError(
                f"the cluster cannot be reached at {address}: {error}; is it running, and does a "
                "firewall let this machine through?"
            ) from error
        import ray  # noqa: PLC0415  # reads its settings when imported
        from ray._raylet import GcsClient  # type: ignore[attr-defined] # noqa: PLC0415 # compiled

        try:
            self._client: Any = GcsClient(address=address)
            self._client.get_all_node_info(timeout=_ANSWER_SECONDS)
        except ray.exceptions.AuthenticationError as error:
            raise ClusterError(
                f"the cluster at {address} refuses the token of this join file: the cluster was "
                "started again since it was written; take the file that is there now"
            ) from error
        except (ray.exceptions.RayError, RuntimeError) as error:
            raise ClusterError(f"{address} does not answer as a Ray cluster: {error}") from error

    def knows(self, node_ip: str, run_directory: str) -> bool:
        """Whether the node of that address whose files are in that folder is alive."""
        found = self._client.get_all_node_info(timeout=_ANSWER_SECONDS).values()
        return any(
            node.state == 0  # GcsNodeInfo.ALIVE
            and node.node_manager_address == node_ip
            and node.raylet_socket_name.startswith(f"{run_directory}/")
            for node in found
        )


def _ray_start(plan: Plan, folder: Path) -> list[str]:
    options: dict[str, object] = {
        "address": plan.gcs_address,
        "node-ip-address": plan.node_ip,
        "temp-dir": folder,
        "object-store-memory": OBJECT_STORE_BYTES,
        # Ray's default is one port for all nodes of a machine.
        "dashboard-agent-listen-port": 0,
        "num-cpus": plan.cpus,
        "num-gpus": plan.gpus,
        "labels": ",".join(f"{key}={value}" for key, value in plan.labels.items()) or None,
        "resources": json.dumps(plan.resources) if plan.resources else None,
    }
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    return [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *given]


if __name__ == "__main__":
    sys.exit(keeping.keep(sys.argv[1], Plan, NodeSupervisor))
