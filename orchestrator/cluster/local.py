"""Starting, changing and ending local clusters.

A cluster belongs to its supervisor process, which `start` spawns and `stop`
signals. Both go by the cluster's record (`records`): a process is only
ever ended when it is the one that was written down, or carries the token that
this cluster's processes inherit. Other clusters, and anybody else's Ray, are
not looked at.
"""

import os
import secrets
import shutil
import signal
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.cluster import (
    gcs_store,
    keeping,
    member,
    processes,
    records,
    starting,
    storage,
    supervisor,
    ticket,
)
from orchestrator.cluster.cluster_plan import READY_SECONDS, ClusterPlan, plan_of
from orchestrator.cluster.machine import require_free_port, require_node_ip, require_open_files
from orchestrator.cluster.records import ClusterError, ClusterRecord, Phase
from orchestrator.cluster.settings import (
    LOOPBACK,
    NODE_LOSS_SETTINGS,
    PORTS,
    listening,
    serve_settings,
    shared_settings,
)
from orchestrator.cluster_secret import FILE_VARIABLE
from orchestrator.config.store_address import EMBEDDED

__all__ = [
    "READY_SECONDS",
    "ClusterPlan",
    "clean_up",
    "deploy",
    "describe_known",
    "discard",
    "log_path",
    "node_ip_of",
    "only_recorded",
    "plan_of",
    "recorded",
    "select",
    "start",
    "stop",
]

_APPLY_SECONDS = 60.0


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
    if running is not None and plan.gcs_store is not None:
        gcs_store.require(plan.gcs_store, os.environ)
        gcs_store.forget(plan.gcs_store, running.token, os.environ)
    clean_up(plan.name)
    serve_host, public = listening(plan.host, plan.node_ip)
    if plan.node_ip is not None:
        require_node_ip(plan.node_ip)
    require_free_port(public or serve_host, plan.port)
    require_open_files(plan.max_connections)
    if plan.embedded_store or plan.store != EMBEDDED:
        storage.require_store(plan.store, os.environ)
    storage.require_results(plan.results_url)
    gcs_store.require(plan.gcs_store, os.environ)
    record = _new_record(plan)
    written = supervisor.Plan(
        record=record,
        serve=plan.serve,
        embedded_store=plan.embedded_store,
        cpus=plan.cpus,
        gpus=plan.gpus,
        node_ip=plan.node_ip or LOOPBACK,
        labels=plan.labels,
        resources=plan.resources,
        ready_seconds=plan.ready_seconds,
        gcs_store=plan.gcs_store,
        ticket=_ticket(plan, record) if plan.node_ip is not None else None,
        secret_file=record.settings.get(FILE_VARIABLE) or os.environ.get(FILE_VARIABLE),
        parent=None if detach else os.getpid(),
    )
    records.write_json(records.folder_of(plan.name) / "plan.json", written)
    process = starting.spawn(record, "orchestrator.cluster.supervisor")
    try:
        return starting.await_ready(plan.name, process)
    except BaseException:
        starting.abandon(process)
        clean_up(plan.name)
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
        processes.wait_gone([record.supervisor], starting.STOP_SECONDS)
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
        left |= records.leftovers(record)
    stuck = processes.end(left, grace_seconds=keeping.END_GRACE_SECONDS)
    if stuck:
        pids = ", ".join(str(process.pid) for process in sorted(stuck, key=lambda p: p.pid))
        raise ClusterError(f'processes of cluster "{name}" would not end: {pids}')
    starting.collect()
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
    else:  # of a cluster of several nodes on one machine, the one that started it is meant
        running = [record for record in running if not record.joined] or running
    if len(running) == 1:
        return running[0]
    if name is not None:
        raise ClusterError(f'no cluster named "{name}" is running; {describe_known()}')
    if not running:
        raise ClusterError("no cluster is running; start one with `orchestrator up FILE`")
    raise ClusterError(f"several clusters are running; choose one with --name: {_names(running)}")


def node_ip_of(name: str) -> str | None:
    """The first node's address of a cluster of several that was started here."""
    record = records.read(name)
    return record.node_ip if record is not None else None


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
    return records.log_path(name)


def _names(records: list[ClusterRecord]) -> str:
    return ", ".join(record.name for record in records)


def _new_record(plan: ClusterPlan) -> ClusterRecord:
    token = secrets.token_hex(8)
    run_directory = starting.make_run_directory(plan.name)
    _, public = listening(plan.host, plan.node_ip)
    settings = serve_settings(
        run_directory=run_directory,
        token=token,
        node_ip=plan.node_ip or LOOPBACK,
        public=public,
        max_connections=plan.max_connections,
        drain_seconds=plan.drain_seconds,
        longest_request_seconds=plan.longest_request_seconds,
        others=[other for other in records.read_all() if other.running],
    )
    if plan.embedded_store:
        settings |= storage.store_settings(plan.store, plan.name, run_directory)
    if plan.node_ip is not None and FILE_VARIABLE not in os.environ:
        secret = records.folder_of(plan.name) / "cluster_secret"
        records.write_private(secret, f"{secrets.token_hex(32)}\n".encode())
        settings[FILE_VARIABLE] = str(secret)
    return ClusterRecord(
        name=plan.name,
        token=token,
        boot=processes.boot_id(),
        supervisor=starting.NOBODY,
        phase=Phase.STARTING,
        url=plan.url,
        config_path=plan.config_path,
        run_directory=str(run_directory),
        settings=settings,
        fixed=plan.fixed,
        node_ip=plan.node_ip,
    )


def _ticket(plan: ClusterPlan, record: ClusterRecord) -> ticket.Ticket:
    """What others join with; the supervisor adds what it alone knows."""
    common = NODE_LOSS_SETTINGS | shared_settings(
        max_connections=plan.max_connections,
        drain_seconds=plan.drain_seconds,
        longest_request_seconds=plan.longest_request_seconds,
    )
    ports = {name: record.settings[name] for name in PORTS}
    return ticket.Ticket(
        cluster=plan.name,
        gcs_address="",
        host=plan.host,
        port=plan.port,
        url=plan.url,
        settings=common | ports,
        ray_token="",
        cluster_secret="",
        variables=plan.variables,
        versions=ticket.versions(),
    )


def _apply(record: ClusterRecord, config: dict[str, Any]) -> None:
    """Join the cluster as a driver and hand Serve its new config."""
    took = f'cluster "{record.name}" did not take the config'
    member.drive(
        [record.gcs_address or ""],
        config,
        env=starting.environment_of(record),
        seconds=_APPLY_SECONDS,
        late=took,
        failed=took,
    )
