"""What a running cluster listens on: on one machine, loopback, and its public port where it is."""

import os
import secrets
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import grpc
import psutil
import pytest

from orchestrator.cluster import local, processes, records
from orchestrator.cluster.records import TOKEN_VARIABLE, ClusterRecord
from orchestrator.config import load
from tests.integration.running_cluster import ROOT, predict_path
from tests.integration.test_cluster_life import eventually
from tests.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

KEY = secrets.token_hex(16)

CONFIG = """
cluster: {{name: sockets, host: {host}, port: {port}, cpus: 2, gpus: 0}}
auth:
  enabled: true
  keys:
    dev: {{secret: "${{SOCKETS_KEY}}"}}
models:
  echo:
    deployments:
      v1:
        runner: {{type: python, class: "replicas.examples.echo:Echo"}}
        resources: {{num_cpus: 0.1}}
    environments:
      production: {{deployment: v1, autoscaling: {{min_replica: 1, max_replica: 1}}}}
"""

GUARDED = ("ray::ServeReplica",)
"""Processes that Serve runs replicas in.

The gRPC server by which Serve's handles call a replica listens on all interfaces, whatever
the address of the node is, and no setting moves it. Without the cluster's token it answers
nobody. All other servers of Ray follow the node's address.
"""

ASKED = "/ray.serve.ASGIService/HandleRequest"

HAPROXY_SENDS = "haproxy"
"""Its UDP sockets send log lines; nobody reads them."""


class Listener(NamedTuple):
    """A socket that others could talk to."""

    process: str
    kind: socket.SocketKind
    address: str
    port: int


def processes_of(record: ClusterRecord) -> set[int]:
    found = processes.descendants(record.supervisor.pid) | {record.supervisor}
    found |= records.leftovers(record)
    assert TOKEN_VARIABLE in psutil.Process(record.supervisor.pid).environ()
    return {process.pid for process in found}


def listeners(record: ClusterRecord) -> set[Listener]:
    """All that anybody of the cluster listens on."""
    found = set()
    for pid in processes_of(record):
        try:
            process = psutil.Process(pid)
            name, connections = process.name(), process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        for each in connections:
            kind = socket.SocketKind(each.type)
            if each.status == psutil.CONN_LISTEN or (kind is socket.SOCK_DGRAM and not each.raddr):
                found.add(Listener(name, kind, each.laddr.ip, each.laddr.port))
    return found


def listeners_with_haproxy(record: ClusterRecord) -> set[Listener]:
    """The same; HAProxy is another process after each reload."""
    found: set[Listener] = set()

    def looked() -> bool:
        found.clear()
        found.update(listeners(record))
        return any(each.process == "haproxy" for each in found)

    eventually(looked)
    return found


def open_to_others(found: set[Listener]) -> set[Listener]:
    return {each for each in found if not each.address.startswith(("127.", "::1", "::ffff:127."))}


def answer_to_a_stranger(port: int, method: str) -> grpc.StatusCode:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(method)(b"", timeout=5)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"])
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, ClusterRecord]]:
    folder = tmp_path_factory.mktemp("sockets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCHESTRATOR_STATE_DIR", str(folder / "state"))
        patch.setenv("SOCKETS_KEY", KEY)
        patch.chdir(ROOT)
        file = folder / "cluster.yaml"
        file.write_text(CONFIG.format(host=request.param, port=free_port()))
        plan = local.plan_of(load(file, os.environ), file, os.environ)
        yield request.param, local.start(plan, detach=True)
        local.stop("sockets")


def test_only_the_public_port_and_what_a_token_guards_is_open_to_others(
    started: tuple[str, ClusterRecord],
) -> None:
    host, record = started
    port = urlsplit(record.url).port
    eventually(lambda: answers(record), 60)
    found = listeners_with_haproxy(record)
    print("\n".join(sorted(map(str, found))))
    outside = open_to_others(found)
    public = {each for each in outside if each.port == port}
    assert {(each.process, each.address) for each in public} == (
        set() if host == "127.0.0.1" else {("haproxy", host)}
    )
    rest = {each for each in outside - public if each.kind is socket.SOCK_STREAM}
    assert not {each for each in rest if not each.process.startswith(GUARDED)}
    datagrams = {each for each in outside if each.kind is socket.SOCK_DGRAM}
    assert {each.process for each in datagrams} <= {HAPROXY_SENDS}
    for each in sorted(rest):
        assert answer_to_a_stranger(each.port, ASKED) is grpc.StatusCode.UNAUTHENTICATED, each


def test_what_has_no_route_answers_nobody(started: tuple[str, ClusterRecord]) -> None:
    _, record = started
    first = int(record.settings["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"])
    eventually(lambda: answers(record), 60)
    ports: set[int] = set()

    def all_there() -> bool:
        ports.update(each.port for each in listeners(record) if first <= each.port < first + 250)
        return len(ports) >= 4

    eventually(all_there, 60)
    assert len(ports) == 4, "router, dispatcher, observatory and queue"
    ready = [port for port in ports if status_of(f"http://127.0.0.1:{port}/readyz") == 200]
    assert len(ready) == 1, "more than the router answer"
    rest = ports - set(ready)
    assert {status_of(f"http://127.0.0.1:{port}/status") for port in rest} == {404}


def answers(record: ClusterRecord) -> bool:
    return status_of(record.url + predict_path("echo"), b"{}") == 200


def status_of(url: str, body: bytes | None = None) -> int:
    headers = {"Authorization": f"Bearer dev.{KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
