"""Starting a supervisor and waiting for its word, for a cluster as for a node that joins one."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

from orchestrator.cluster import keeping, processes, records
from orchestrator.cluster.records import ClusterError, ClusterRecord, Phase
from orchestrator.cluster.settings import RAY_TOKEN

STOP_SECONDS = keeping.DRAIN_GRACE_SECONDS + keeping.END_GRACE_SECONDS + 25
"""How long a supervisor may take to end what it started."""

NOBODY = processes.ProcessId(pid=0, started_ticks=0)
"""The supervisor of a record whose own is not started yet."""

_POLL_SECONDS = 0.05
_LOG_LINES = 15

_FOREIGN = frozenset({"RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_REDIS_ADDRESS"})
"""Variables that would lead our processes to somebody else's Ray, or its tables."""

_spawned: "list[subprocess.Popen[bytes]]" = []
"""Supervisors that this process is the parent of: it has to collect them when they end."""


def make_run_directory(name: str, ray_token: str | None = None) -> Path:
    """An empty directory for a cluster or a node, below one that only this user can write to.

    Args:
        name: of its record.
        ray_token: the cluster's, to be kept there; None: a new one.

    Raises:
        ClusterError: others can write to it.
    """
    directory = records.run_directory_of(name)
    directory.parent.mkdir(mode=0o700, exist_ok=True)
    status = directory.parent.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise ClusterError(f"{directory.parent} can be written to by other users; remove it")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    token = ray_token or secrets.token_hex(32)
    records.write_private(directory / RAY_TOKEN, token.encode("ascii"))
    return directory


def spawn(record: ClusterRecord, module: str) -> "subprocess.Popen[bytes]":
    """Start the supervisor of a record, the plan of which is in its folder."""
    with records.log_path(record.name).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", module, record.name],
            env=environment_of(record),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _spawned.append(process)
    return process


def await_ready(name: str, process: "subprocess.Popen[bytes]") -> ClusterRecord:
    """Wait until a supervisor says that what it started is ready.

    Raises:
        ClusterError: it failed, or ended before; says why.
    """
    while True:
        ended = process.poll() is not None
        record = records.read(name)
        if record is not None and record.phase is Phase.READY:
            return record
        if record is not None and record.phase is Phase.FAILED:
            what = "node" if record.joined else "cluster"
            raise ClusterError(
                f'{what} "{name}" did not start: {record.error} (log: {records.log_path(name)})'
            )
        if ended:
            raise ClusterError(
                f'the supervisor of "{name}" ended with status {process.returncode} before '
                f"it was ready; its last lines:\n{_log_tail(name)}"
            )
        time.sleep(_POLL_SECONDS)


def abandon(process: "subprocess.Popen[bytes]") -> None:
    """End the supervisor of a start that came to nothing."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()


def collect() -> None:
    """Let go of the supervisors of this process that have ended."""
    _spawned[:] = [process for process in _spawned if process.poll() is None]


def environment_of(record: ClusterRecord) -> dict[str, str]:
    """The environment for a process that belongs to the cluster."""
    environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    # Model classes are looked up from where the cluster was started, too.
    search = [str(Path.cwd()), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | record.settings | {"PYTHONPATH": os.pathsep.join(search)}


def _log_tail(name: str) -> str:
    with contextlib.suppress(OSError):
        lines = records.log_path(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])
    return "(no log)"
