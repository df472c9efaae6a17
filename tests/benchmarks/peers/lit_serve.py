"""LitServe: one API server process and one worker process, its defaults."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.peers.base import Peer
from tests.ports import free_port


class LitServePeer(Peer):
    """``LitServer(Echo(), workers_per_device=1)``."""

    name = "litserve"
    label = "LitServe"

    def __init__(self, logs: Path) -> None:
        super().__init__(logs)
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/predict"

    def version(self) -> str:
        return version("litserve")

    def launch(self) -> subprocess.Popen[bytes]:
        self._port = free_port()
        return self.run_child(
            [sys.executable, "-m", "tests.benchmarks.servers.lit_serve_echo", str(self._port)]
        )
