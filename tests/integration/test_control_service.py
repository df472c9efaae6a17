"""Ray's control service dies, and its tables do not: requests go on, and scaling again."""

import contextlib
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from orchestrator.cluster import local, processes
from orchestrator.cluster.records import ClusterRecord
from orchestrator.config import load
from orchestrator.store.embedded import find_program
from tests.integration.running_cluster import ROOT, predict_path
from tests.integration.test_cluster_life import eventually
from tests.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

CONFIG = """
cluster: {{name: control, port: {port}, cpus: 2, gpus: 0, gcs_store: "redis://127.0.0.1:{gcs}"}}
models:
  awake:
    deployments: &deployments
      v1:
        runner: {{type: python, class: "replicas.examples.echo:Echo"}}
        resources: {{num_cpus: 0.1}}
    environments:
      production: {{deployment: v1, autoscaling: {{min_replica: 1, max_replica: 1}}}}
  asleep:
    deployments: *deployments
    environments:
      production: {{deployment: v1, autoscaling: {{max_replica: 1}}}}
"""


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[int]:
    """The port of the server that keeps Ray's tables."""
    port = free_port()
    command = [str(find_program()), "--port", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen([*command, "--dir", str(tmp_path), "--appendonly", "yes"]) as server:
        eventually(lambda: listens(port))
        yield port
        server.terminate()


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def answers(record: ClusterRecord, model: str) -> bool:
    request = urllib.request.Request(record.url + predict_path(model), data=b"{}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bool(answer.status == 200)


def control_service(record: ClusterRecord) -> processes.ProcessId | None:
    for process in processes.descendants_of(record.supervisor):
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(process.pid).name() == "gcs_server":
                return process
    return None


def test_a_control_service_that_is_killed_comes_back_and_nothing_is_left_at_the_end(
    tables: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(ROOT)
    file = tmp_path / "cluster.yaml"
    file.write_text(CONFIG.format(port=free_port(), gcs=tables))
    record = local.start(local.plan_of(load(file, os.environ), file, os.environ), detach=True)
    try:
        assert answers(record, "awake")
        first = control_service(record)
        assert first is not None
        processes.send(first, signal.SIGKILL)
        processes.wait_gone([first], 10)
        assert answers(record, "awake"), "requests need it"
        eventually(lambda: control_service(record) not in (first, None))
        assert answers(record, "asleep"), "no replica starts"
        with redis.Redis(port=tables, driver_info=None) as client:
            assert list(client.scan_iter(f"RAY{record.token}@*"))
    finally:
        local.stop("control")
    with redis.Redis(port=tables, driver_info=None) as client:
        assert not client.keys()
