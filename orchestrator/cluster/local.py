"""Starting, changing and ending local clusters.

A cluster belongs to its supervisor process, which `start` spawns and `stop`
signals. Both go by the cluster's record (`records`): a process is only
ever ended when it is the one that was written down, or carries the token that
this cluster's processes inherit. Other clusters, and anybody else's Ray, are
not looked at.
"""

import contextlib
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.cluster import processes, records, storage, supervisor
from orchestrator.cluster.records import ClusterError, ClusterRecord, Phase
from orchestrator.cluster.settings import require_free_port, serve_settings
from orchestrator.config import Config, compile_serve
from orchestrator.config.cluster import is_loopback
from orchestrator.config.store_address import EMBEDDED

READY_SECONDS = 120.0
"""How long a cluster may take until its router answers."""

_APPLY_SECONDS = 60.0
_STOP_SECONDS = supervisor.DRAIN_GRACE_SECONDS + supervisor.END_GRACE_SECONDS + 25
_POLL_SECONDS = 0.05

_spawned: "list[subprocess.Popen[bytes]]" = []
"""Supervisors that this process is the parent of: it has to collect them when they end."""

_FOREIGN = frozenset({"RAY_ADDRESS", "RAY_AUTH_TOKEN"})
"""Variables that would lead our processes to somebody else's Ray."""

_LOG_LINES = 15


class ClusterPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster to start, or the state that a running one is to be brought to."""

    name: str
    host: str
    port: int
    config_path: str
    serve: dict[str, Any]
    fixed: dict[str, Any]
    cpus: int
    store: str = EMBEDDED
    results_url: str = ""
    gpus: int | None = None
    max_connections: int = 4096
    drain_seconds: float = 2.0
    longest_request_seconds: float = 2400.0
    ready_seconds: float = READY_SECONDS

    @property
    def url(self) -> str:
        """Where this machine reaches the cluster."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def plan_of(config: Config, path: Path, env: Mapping[str, str]) -> ClusterPlan:
    """What `config` asks of a local cluster.

    Raises:
        ConfigError: a secret that the config refers to is missing.
    """
    cluster, router = config.cluster, config.router
    folder = storage.results_folder(cluster.name) if config.store == EMBEDDED else None
    return ClusterPlan(
        name=cluster.name,
        host=cluster.host,
        port=cluster.port,
        config_path=str(path.absolute()),
        serve=compile_serve(config, env, results_folder=folder),
        fixed={
            **{f"cluster.{key}": value for key, value in cluster.model_dump().items()},
            "router.drain_seconds": router.drain_seconds,
            # Its processes have the address out of the environment they were started with.
            "store": config.store,
        },
        cpus=cluster.cpus or _enough_cpus(config),
        store=config.store,
        results_url=config.results.url or "",
        gpus=cluster.gpus,
        max_connections=cluster.max_connections,
        drain_seconds=router.drain_seconds,
        longest_request_seconds=config.longest_request_seconds,
    )


def start(plan: ClusterPlan, *, detach: bool) -> ClusterRecord:
    """Start a cluster and wait until its router answers.

    With `detach` the cluster goes on when this process ends; without, it ends
    with it.

    Raises:
        ClusterError: it runs already, the port is taken, its store does not answer,
            or it did not become ready; in each case nothing that was started is
            left running.
    """
    records.make_folder(plan.name)
    running = records.read(plan.name)
    if running is not None and running.running:
        raise ClusterError(
            f'a cluster named "{plan.name}" runs already at {running.url} (supervisor '
            f"{running.supervisor.pid}); end it with `orchestrator down --name {plan.name}` "
            "or set another `cluster.name`"
        )
    clean_up(plan.name)
    require_free_port(plan.host, plan.port)
    storage.require_store(plan.store, os.environ)
    storage.require_results(plan.results_url)
    record = _new_record(plan)
    records.write_json(
        records.folder_of(plan.name) / "plan.json",
        supervisor.Plan(
            record=record,
            serve=plan.serve,
            embedded_store=plan.store == EMBEDDED,
            cpus=plan.cpus,
            gpus=plan.gpus,
            node_ip="127.0.0.1" if is_loopback(plan.host) else None,
            ready_seconds=plan.ready_seconds,
            parent=None if detach else os.getpid(),
        ),
    )
    process = _spawn(record)
    try:
        return _await_ready(plan, process)
    except BaseException:
        _abandon(plan.name, process)
        raise


def stop(name: str) -> ClusterRecord:
    """End a cluster and make sure that nothing of it is left.

    Raises:
        ClusterError: there is no such cluster, or a process of it would not end.
    """
    record = records.read(name)
    if record is None:
        raise ClusterError(f'no cluster named "{name}" is recorded; {describe_known()}')
    if record.running:
        processes.send(record.supervisor, signal.SIGTERM)
        processes.wait_gone([record.supervisor], _STOP_SECONDS)
    clean_up(name)
    return record


def discard(name: str) -> None:
    """Delete the asynchronous requests and results of a cluster that does not run.

    Raises:
        ClusterError: it runs.
    """
    record = records.read(name)
    if record is not None and record.running:
        raise ClusterError(f'cluster "{name}" still runs; its data is in use')
    storage.discard(name)


def clean_up(name: str) -> None:
    """End what is left of a cluster, its supervisor included, and forget it.

    Raises:
        ClusterError: a process of it would not end.
    """
    record = records.read(name)
    if record is None:
        return
    left = set(records.read_processes(name))
    if record.boot == processes.boot_id():
        left |= {record.supervisor, *processes.descendants_of(record.supervisor)}
        left |= supervisor.leftovers(record)
    stuck = processes.end(left, grace_seconds=supervisor.END_GRACE_SECONDS)
    if stuck:
        pids = ", ".join(str(process.pid) for process in sorted(stuck, key=lambda p: p.pid))
        raise ClusterError(f'processes of cluster "{name}" would not end: {pids}')
    _collect()
    shutil.rmtree(record.run_directory, ignore_errors=True)
    records.forget(name)


def deploy(plan: ClusterPlan) -> ClusterRecord:
    """Bring a running cluster to another config; only what changed restarts.

    Raises:
        ClusterError: it does not run, or the change needs a restart.
    """
    record = select(plan.name)
    changes = [
        f"{key}: {record.fixed.get(key)!r} -> {value!r}"
        for key, value in plan.fixed.items()
        if record.fixed.get(key) != value
    ]
    if changes:
        raise ClusterError(
            "these are set when a cluster starts and cannot change while it runs "
            f"(`orchestrator down`, then `up`): {'; '.join(changes)}"
        )
    _apply(record, plan.serve)
    changed = msgspec.structs.replace(record, config_path=plan.config_path)
    records.write(changed)
    return changed


def select(name: str | None) -> ClusterRecord:
    """The running cluster of that name, or the only one there is.

    Raises:
        ClusterError: it does not run, or the choice is not clear.
    """
    running = [record for record in records.read_all() if record.running]
    if name is not None:
        running = [record for record in running if record.name == name]
    if len(running) == 1:
        return running[0]
    if name is not None:
        raise ClusterError(f'no cluster named "{name}" is running; {describe_known()}')
    if not running:
        raise ClusterError("no cluster is running; start one with `orchestrator up FILE`")
    raise ClusterError(f"several clusters are running; choose one with --name: {_names(running)}")


def recorded(name: str) -> bool:
    """Whether there is something of a cluster that `stop` could end."""
    return records.read(name) is not None


def only_recorded() -> str | None:
    """The cluster that `down` means when none is named; None where nothing is recorded.

    Raises:
        ClusterError: the choice is not clear.
    """
    known = records.read_all()
    known = [record for record in known if record.running] or known
    if len(known) > 1:
        raise ClusterError(f"several clusters are recorded; choose with --name: {_names(known)}")
    return known[0].name if known else None


def describe_known() -> str:
    """A clause that names the clusters that run."""
    running = [record for record in records.read_all() if record.running]
    return f"running: {_names(running)}" if running else "none is running"


def log_path(name: str) -> Path:
    """The supervisor's log."""
    return records.folder_of(name) / "supervisor.log"


def _names(records: list[ClusterRecord]) -> str:
    return ", ".join(record.name for record in records)


def _enough_cpus(config: Config) -> int:
    """The machine's CPUs, and at least enough for routers, dispatchers and any one replica."""
    largest = max(
        deployment.resources.num_cpus
        for model in config.models.values()
        for deployment in model.deployments.values()
    )
    ours = (config.router.replicas + config.dispatcher.replicas) * 0.1
    return max(os.cpu_count() or 1, math.ceil(ours + largest))


def _new_record(plan: ClusterPlan) -> ClusterRecord:
    token = secrets.token_hex(8)
    run_directory = _make_run_directory(plan.name)
    nobody = processes.ProcessId(pid=0, started_ticks=0)
    settings = serve_settings(
        run_directory=run_directory,
        token=token,
        loopback=is_loopback(plan.host),
        max_connections=plan.max_connections,
        drain_seconds=plan.drain_seconds,
        longest_request_seconds=plan.longest_request_seconds,
        others=[other for other in records.read_all() if other.running],
    )
    return ClusterRecord(
        name=plan.name,
        token=token,
        boot=processes.boot_id(),
        supervisor=nobody,
        phase=Phase.STARTING,
        url=plan.url,
        config_path=plan.config_path,
        run_directory=str(run_directory),
        settings=settings | storage.store_settings(plan.store, plan.name, run_directory),
        fixed=plan.fixed,
    )


def _make_run_directory(name: str) -> Path:
    """An empty directory for this cluster below one that only this user can write to."""
    directory = records.run_directory_of(name)
    directory.parent.mkdir(mode=0o700, exist_ok=True)
    status = directory.parent.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise ClusterError(f"{directory.parent} can be written to by other users; remove it")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    token = directory / "ray_token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32), encoding="ascii")
    return directory


def _spawn(record: ClusterRecord) -> "subprocess.Popen[bytes]":
    with log_path(record.name).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "orchestrator.cluster.supervisor", record.name],
            env=_environment(record),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _spawned.append(process)
    return process


def _collect() -> None:
    """Let go of the supervisors of this process that have ended."""
    _spawned[:] = [process for process in _spawned if process.poll() is None]


def _await_ready(plan: ClusterPlan, process: "subprocess.Popen[bytes]") -> ClusterRecord:
    while True:
        ended = process.poll() is not None
        record = records.read(plan.name)
        if record is not None and record.phase is Phase.READY:
            return record
        if record is not None and record.phase is Phase.FAILED:
            raise ClusterError(
                f'cluster "{plan.name}" did not start: {record.error} (log: {log_path(plan.name)})'
            )
        if ended:
            raise ClusterError(
                f'the supervisor of "{plan.name}" ended with status {process.returncode} before '
                f"the cluster was ready; its last lines:\n{_log_tail(plan.name)}"
            )
        time.sleep(_POLL_SECONDS)


def _abandon(name: str, process: "subprocess.Popen[bytes]") -> None:
    """End a start that came to nothing."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()
    clean_up(name)


def _log_tail(name: str) -> str:
    with contextlib.suppress(OSError):
        lines = log_path(name).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])
    return "(no log)"


def _apply(record: ClusterRecord, config: dict[str, Any]) -> None:
    """Join the cluster as a driver and hand Serve its new config."""
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "orchestrator.cluster.driver", record.gcs_address or ""],
            env=_environment(record),
            input=msgspec.json.encode(config),
            capture_output=True,
            timeout=_APPLY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ClusterError(
            f'cluster "{record.name}" did not take the config within {_APPLY_SECONDS:.0f} s'
        ) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ClusterError(
            f'cluster "{record.name}" did not take the config: '
            f"{said[-1] if said else f'status {done.returncode}'}"
        )


def _environment(record: ClusterRecord) -> dict[str, str]:
    """The environment for a process that belongs to the cluster."""
    environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    # Model classes are looked up from where the cluster was started, too.
    search = [str(Path.cwd()), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | record.settings | {"PYTHONPATH": os.pathsep.join(search)}
