"""Joining a cluster that another machine started, with the file that it wrote for that."""

import os
import secrets
from pathlib import Path

import msgspec

from orchestrator.cluster import local, node_supervisor, processes, records, starting, ticket
from orchestrator.cluster.machine import require_free_port, require_node_ip, require_open_files
from orchestrator.cluster.records import ClusterError, ClusterRecord, Phase
from orchestrator.cluster.settings import MAX_CONNECTIONS, listening, node_settings
from orchestrator.cluster.ticket import Ticket
from orchestrator.cluster_secret import FILE_VARIABLE

READY_SECONDS = 60.0
"""How long a node may take until the cluster knows it."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a node brings. None: as many as the machine has.

    Attributes:
        node_ip: its address, by which all other nodes reach it.
        labels: for `placement` and `node_labels`.
        resources: amounts of custom resources.
    """

    node_ip: str
    cpus: int | None = None
    gpus: int | None = None
    labels: dict[str, str] = {}
    resources: dict[str, float] = {}


def join(file: Path, offer: Offer, *, detach: bool) -> ClusterRecord:
    """Start a node of the cluster that wrote `file`, and wait until the cluster knows it.

    With `detach` the node goes on when this process ends; without, it ends with it.

    Raises:
        ClusterError: this machine does not fit, the cluster cannot be reached or does not
            take it, or the address or port is taken; nothing that was started is left.
    """
    read = ticket.read(file)
    ticket.require_fit(read)
    require_node_ip(offer.node_ip)
    name = f"{read.cluster}@{offer.node_ip}"
    records.make_folder(name)
    running = records.read(name)
    if running is not None and running.running:
        raise ClusterError(
            f'this node has joined already as "{name}"; `orchestrator down --name {name}` ends it'
        )
    local.clean_up(name)
    _, public = listening(read.host, offer.node_ip)
    require_free_port(public or read.host, read.port)
    require_open_files(int(read.settings[MAX_CONNECTIONS]))
    plan = _plan(name, read, offer, file, None if detach else os.getpid())
    records.write_json(records.folder_of(name) / "plan.json", plan)
    process = starting.spawn(plan.record, "orchestrator.cluster.node_supervisor")
    try:
        return starting.await_ready(name, process)
    except BaseException:
        starting.abandon(process)
        local.clean_up(name)
        raise


def _plan(
    name: str, read: Ticket, offer: Offer, file: Path, parent: int | None
) -> node_supervisor.Plan:
    token = secrets.token_hex(8)
    run_directory = starting.make_run_directory(name, read.ray_token)
    _, public = listening(read.host, offer.node_ip)
    settings = read.settings | node_settings(
        run_directory=run_directory, token=token, node_ip=offer.node_ip, public=public
    )
    if FILE_VARIABLE not in os.environ:
        secret = records.folder_of(name) / "cluster_secret"
        records.write_private(secret, read.cluster_secret.encode())
        settings[FILE_VARIABLE] = str(secret)
    record = ClusterRecord(
        name=name,
        token=token,
        boot=processes.boot_id(),
        supervisor=starting.NOBODY,
        phase=Phase.STARTING,
        url=read.url,
        config_path=str(file.absolute()),
        run_directory=str(run_directory),
        settings=settings,
        fixed={},
        node_ip=offer.node_ip,
        joined=True,
    )
    return node_supervisor.Plan(
        record=record,
        parent=parent,
        gcs_address=read.gcs_address,
        node_ip=offer.node_ip,
        cpus=offer.cpus,
        gpus=offer.gpus,
        labels=offer.labels,
        resources=offer.resources,
        ready_seconds=READY_SECONDS,
    )
