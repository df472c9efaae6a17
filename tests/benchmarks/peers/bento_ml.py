"""BentoML: one API worker, in a virtual environment of its own.

BentoML pins other releases of OpenTelemetry than the ones used here, so it cannot live in the
project's environment. The benchmark makes one for it in ``.bench/bentoml`` the first time.
"""

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.peers.base import PROJECT, Peer, PeerError
from tests.benchmarks.ports import free_ports

VERSION = "1.4.39"
ENVIRONMENT = PROJECT / ".bench" / "bentoml"
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
        if installed_version() == VERSION:
            return
        pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip"]
        for command in (
            [sys.executable, "-m", "venv", str(ENVIRONMENT)],
            [*pip, "install", "--quiet", "--disable-pip-version-check", f"bentoml=={VERSION}"],
        ):
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode != 0:
                raise PeerError(
                    f"BentoML: its environment in {ENVIRONMENT} cannot be made: "
                    f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stderr[-800:]}"
                )

    def launch(self) -> subprocess.Popen[bytes]:
        (self._port,) = free_ports(1)
        # fmt: off
        command = [
            str(ENVIRONMENT / "bin" / "python"), "-m", "bentoml", "serve", "bento_ml_echo:Echo",
            "--working-dir", str(SERVERS), "--host", "127.0.0.1", "--port", str(self._port),
            "--api-workers", "1",
        ]
        # fmt: on
        return self.run_child(
            command, {"BENTOML_HOME": str(self.folder), "BENTOML_DO_NOT_TRACK": "True"}
        )


def installed_version() -> str | None:
    """The release in its environment; ``None`` without one."""
    for package in ENVIRONMENT.glob("lib/python*/site-packages/bentoml-*.dist-info"):
        return package.name.removeprefix("bentoml-").removesuffix(".dist-info")
    return None
