"""This project: ``orchestrator up`` with ``configs/bench.yaml``."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.benchmarks.peers.base import PROJECT, Peer, PeerError
from tests.ports import free_port

CONFIG = PROJECT / "configs" / "bench.yaml"
MODELS = ("echo", "slots4", "slots16-10ms", "slots64-10ms")
COMMAND = str(Path(sys.executable).parent / "orchestrator")


class OrchestratorPeer(Peer):
    """A cluster of its own: its own port, state directory and files."""

    name = "orchestrator"
    label = "orchestrator"
    start_timeout_s = 180.0
    stop_timeout_s = 60.0

    def __init__(self, logs: Path) -> None:
        super().__init__(logs)
        self._port = 0
        self._up = False

    @property
    def url(self) -> str:
        return self.model_url("echo")

    def model_url(self, model: str) -> str:
        """Where to run ``model`` of ``configs/bench.yaml``."""
        return f"http://127.0.0.1:{self._port}/models/{model}/production/predict"

    def version(self) -> str:
        return version("orchestrator-serve")

    def environment(self) -> dict[str, str]:
        """Variables of the command, and so of the cluster."""
        return {"ORCHESTRATOR_STATE_DIR": str(self.folder / "state")}

    def changes(self) -> dict[str, Any]:
        """Sections that replace those of the file."""
        return {}

    def launch(self) -> None:
        """Bring the cluster up detached: the command ends, the cluster stays."""
        self._port = free_port()
        config = self.folder / "bench.yaml"
        write_config(config, self._port, self.changes())
        self._run("up", str(config), "--detach")
        self._up = True

    def deploy(self, changes: Mapping[str, Any]) -> None:
        """Bring the running cluster to the file with other sections."""
        config = self.folder / "bench.yaml"
        write_config(config, self._port, changes)
        self._run("deploy", str(config))

    def start(self) -> None:
        """Start, and wait until every model of the file answers."""
        super().start()
        for model in MODELS:
            self.wait_for_answer(self.model_url(model), None)

    def stop(self) -> list[int]:
        """``orchestrator down``, then whatever it left.

        ``down`` must succeed after an ``up`` that did; after one that failed or was interrupted
        it is only tried, so that the first failure is the one that is seen.
        """
        try:
            if self._folder is not None:
                with contextlib.nullcontext() if self._up else contextlib.suppress(PeerError):
                    self._run("down")
        finally:
            self._up = False
            self._keep_logs()
            killed = super().stop()
        return killed

    def _keep_logs(self) -> None:
        """Copy the cluster's own logs beside the command's; its folder goes with ``stop``."""
        for log in self.folder.glob("state/*/*.log"):
            shutil.copy(log, self.processes.log_path.with_name(f"{self.name}-{log.name}"))

    def _run(self, *arguments: str) -> None:
        child = self.run_child([COMMAND, *arguments], self.environment())
        patience = self.start_timeout_s if arguments[0] == "up" else self.stop_timeout_s
        try:
            code = child.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            raise self.failure(f"`orchestrator {arguments[0]}` took over {patience:g} s") from None
        if code != 0:
            raise self.failure(f"`orchestrator {arguments[0]}` ended with exit code {code}")


def write_config(path: Path, port: int, changes: Mapping[str, Any] | None = None) -> None:
    """``configs/bench.yaml`` with ``port``, a name that no other cluster has, and ``changes``."""
    yaml = YAML()
    document = yaml.load(CONFIG.read_text(encoding="utf-8"))
    document["cluster"]["port"] = port
    document["cluster"]["name"] = f"bench-{port}"
    document.update(changes or {})
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
