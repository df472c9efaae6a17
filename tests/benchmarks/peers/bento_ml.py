"""BentoML: one API worker, in a virtual environment of its own.

BentoML pins other releases of OpenTelemetry than the ones used here, so it cannot live in the
project's environment. The benchmark makes one for it in ``.bench/bentoml`` the first time.
"""

import subprocess
from pathlib import Path

from tests.benchmarks.environments import Environment
from tests.benchmarks.peers.base import PROJECT, Peer
from tests.ports import free_port

VERSION = "1.4.39"
ENVIRONMENT = Environment("bentoml", [f"bentoml=={VERSION}"])
SERVERS = PROJECT / "tests" / "benchmarks" / "servers"


class BentoMLPeer(Peer):
    """``bentoml serve`` of an async echo service, ``workers=1``."""

    name = "bentoml"
    label = "BentoML"

    def __init__(self, logs: Path) -> None:
        super().__init__(logs)
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/predict"

    def version(self) -> str:
        return VERSION

    def prepare(self) -> None:
        """Make the environment unless the right one is there; raises ``PeerError``."""
        ENVIRONMENT.prepare()

    def launch(self) -> subprocess.Popen[bytes]:
        self._port = free_port()
        # fmt: off
        command = [
            ENVIRONMENT.python, "-m", "bentoml", "serve", "bento_ml_echo:Echo",
            "--working-dir", str(SERVERS), "--host", "127.0.0.1", "--port", str(self._port),
            "--api-workers", "1",
        ]
        # fmt: on
        return self.run_child(
            command, {"BENTOML_HOME": str(self.folder), "BENTOML_DO_NOT_TRACK": "True"}
        )
