"""What is written down about a local cluster, so that a later command finds it.

One folder a cluster, or a node that joined one, below the state directory:

    <state directory>/<name>/
        cluster.json      a `ClusterRecord`, replaced whole at each change
        processes.json    what the supervisor started, refreshed while it runs
        plan.json         what the supervisor was told to start
        join.json         with which other machines join, see `ticket`
        cluster_secret    by which replicas know routers and dispatchers
        supervisor.log    its output
        lock              held by the supervisor for as long as it lives
        store/            data of an embedded store; stays when the cluster is ended
        results/          large results beside it
"""

import hashlib
import os
import tempfile
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from orchestrator.cluster.processes import (
    ProcessId,
    alive,
    boot_id,
    marked,
    with_argument_below,
)

T = TypeVar("T")

TOKEN_VARIABLE = "ORCHESTRATOR_CLUSTER_TOKEN"  # noqa: S105  # an identity, not a secret


class ClusterError(Exception):
    """A cluster cannot be started, reached, changed or ended; the message says why."""


class Phase(Enum):
    """How far a cluster has come. `FAILED` and a missing record are the two ends."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


class ClusterRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One local cluster as its supervisor last described it."""

    name: str
    token: str  # unique per start; every process of the cluster inherits it
    boot: str
    supervisor: ProcessId
    phase: Phase
    url: str
    config_path: str
    run_directory: str
    settings: dict[str, str]  # RAY_SERVE_* and the like, which each driver must share
    fixed: dict[str, Any]  # the part of the config that only a restart changes
    gcs_address: str | None = None
    error: str | None = None
    node_ip: str | None = None  # the address among several nodes; None: it is the only one
    joined: bool = False  # a node of a cluster that another machine started

    @property
    def running(self) -> bool:
        """Whether its supervisor lives, whatever the phase."""
        return self.boot == boot_id() and alive(self.supervisor)


def leftovers(record: ClusterRecord) -> set[ProcessId]:
    """Processes of a cluster that are told by what they were started with.

    Its token is in the environment of each, and HAProxy, which outlives the
    actor that started it, has its config file in the cluster's own directory.
    """
    found = marked(TOKEN_VARIABLE, record.token)
    found |= with_argument_below(Path(record.run_directory))
    return found - {record.supervisor}


class StartedProcesses(msgspec.Struct, frozen=True):
    """What a supervisor has started and not yet seen end."""

    boot: str
    processes: list[ProcessId]


def state_directory() -> Path:
    """Where records are kept: `$ORCHESTRATOR_STATE_DIR`, else the XDG state directory."""
    explicit = os.environ.get("ORCHESTRATOR_STATE_DIR")
    if explicit:
        return Path(explicit).absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "orchestrator"


def folder_of(name: str) -> Path:
    """The folder of the cluster `name`, whether or not it exists."""
    return state_directory() / name


def log_path(name: str) -> Path:
    """The log of a cluster's supervisor."""
    return folder_of(name) / "supervisor.log"


def make_folder(name: str) -> Path:
    """The folder of the cluster `name`, made if it does not exist.

    Raises:
        ClusterError: it cannot be made; says what is in the way.
    """
    folder = folder_of(name)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ClusterError(
            f"cannot make the folder {folder} for the cluster's state: {error.strerror}; "
            "move away what is there, or set ORCHESTRATOR_STATE_DIR to a folder of yours"
        ) from error
    return folder


def run_directory_of(name: str) -> Path:
    """A short path for sockets: Linux allows 107 characters, and Ray adds 58 of its own."""
    key = hashlib.sha256(str(folder_of(name)).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"orch-{os.getuid()}" / key


def read(name: str) -> ClusterRecord | None:
    """The record of a cluster, or None where there is none (or none of this version)."""
    return _read(folder_of(name) / "cluster.json", ClusterRecord)


def read_processes(name: str) -> list[ProcessId]:
    """What the supervisor last said it had started; empty after a reboot."""
    started = _read(folder_of(name) / "processes.json", StartedProcesses)
    return started.processes if started is not None and started.boot == boot_id() else []


def read_all() -> list[ClusterRecord]:
    """Every recorded cluster, by name."""
    directory = state_directory()
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    return [record for name in names if (record := read(name)) is not None]


def write(record: ClusterRecord) -> None:
    """Replace a cluster's record."""
    write_json(folder_of(record.name) / "cluster.json", record)


def write_processes(name: str, processes: set[ProcessId]) -> None:
    """Replace the list of what a supervisor has started."""
    ordered = sorted(processes, key=lambda process: process.pid)
    write_json(
        folder_of(name) / "processes.json", StartedProcesses(boot=boot_id(), processes=ordered)
    )


def forget(name: str) -> None:
    """Remove a cluster's record; its log stays for whoever asks what happened."""
    for file in ("cluster.json", "processes.json", "plan.json", "join.json", "cluster_secret"):
        (folder_of(name) / file).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, msgspec.json.encode(value))


def write_private(path: Path, content: bytes) -> None:
    """Replace a file whole by one that nobody else can read."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(draft, "xb", opener=_private) as file:  # it takes no opener
        file.write(content)
    draft.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
