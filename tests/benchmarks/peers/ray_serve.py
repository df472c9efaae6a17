"""Ray Serve's two-deployment composition, with its own Python proxy (the default)."""

import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.peers.base import Peer
from tests.ports import free_port

SERVER = "tests.benchmarks.servers.ray_serve_composition"


class RayServePeer(Peer):
    """Ingress deployment → model deployment by handle.

    At its defaults, but for two things that favour it: no access log, and 128 instead of 5
    ongoing requests per replica, so that 64 connections do not wait.
    """

    name = "ray_serve"
    label = "Ray Serve"
    start_timeout_s = 120.0

    def __init__(self, logs: Path) -> None:
        super().__init__(logs)
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def version(self) -> str:
        return version("ray")

    def settings(self) -> Mapping[str, str]:
        """Environment variables of this cluster."""
        return {
            "RAY_USAGE_STATS_ENABLED": "0",
            # The defaults, said so that the caller's shell cannot change them.
            "RAY_SERVE_ENABLE_HA_PROXY": "0",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0",
        }

    def launch(self) -> subprocess.Popen[bytes]:
        self._port = free_port()
        return self.run_child([sys.executable, "-m", SERVER, str(self._port)], self.settings())
